/*
 * Request heads. Each row is parsed with its last byte directly before memory
 * that may not be read, at every split point, and with bytes behind it.
 */
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOST "Host: a\r\n"
#define END  "\r\n"

/* A text that may hold NULs. */
#define BYTES(text) .bytes = text, .len = sizeof(text) - 1

enum { INCOMPLETE = 1 };

struct row {
	const char *bytes;
	size_t len;
	int status; /* 0: a whole head; INCOMPLETE; or the refusal */
	/* Of a whole one: */
	enum http_method method;
	const char *path;  /* NULL: "/" */
	const char *query; /* NULL: none */
	bool old;	   /* HTTP/1.0 */
	bool close;
	bool chunked;
	bool expects_continue, expects_unknown;
	int64_t length;
	size_t fields; /* 0: not looked at */
	size_t empty;  /* bytes of empty lines before it */
};

/* The whole line of API.md that a group holds stands above it. */
static const struct row rows[] = {
	/* Ordinary ones */
	{BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), .fields = 1},
	{BYTES("GET / HTTP/1.0\r\n\r\n"), .old = true, .close = true},
	{BYTES("HEAD /visits HTTP/1.1\r\n" HOST END), .method = HTTP_HEAD,
	 .path = "/visits"},
	{BYTES("POST /items HTTP/1.1\r\n" HOST "Content-Length: 12\r\n\r\n"),
	 .method = HTTP_POST, .path = "/items", .length = 12, .fields = 2},
	{BYTES("PUT /visits HTTP/1.1\r\n" HOST END), .method = HTTP_PUT,
	 .path = "/visits"},
	{BYTES("DELETE /visits/a HTTP/1.1\r\n" HOST END), .method = HTTP_DELETE,
	 .path = "/visits/a"},
	{BYTES("PATCH /visits/a HTTP/1.1\r\n" HOST END), .method = HTTP_PATCH,
	 .path = "/visits/a"},
	{BYTES("OPTIONS / HTTP/1.1\r\n" HOST END), .method = HTTP_OPTIONS},
	{BYTES(""), .status = INCOMPLETE},
	{BYTES("\r\n"), .status = INCOMPLETE},
	{BYTES("GET / HTTP/1.1\r\n" HOST), .status = INCOMPLETE},

	/* Request line: a version, and one space and nothing else between */
	{BYTES("GET /\r\n\r\n"), .status = 400},
	{BYTES("GET / \r\n\r\n"), .status = 400},
	{BYTES("GET\r\n\r\n"), .status = 400},
	{BYTES("GET \r\n\r\n"), .status = 400},
	{BYTES("GET HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES(" GET / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET  / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /  HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET\t/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /\tHTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1 \r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\t\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1 x\r\n" HOST END), .status = 400},
	{BYTES("GET /a b HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\rHost: a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\n\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\r\n\n"), .status = 400},
	{BYTES("\nGET / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("\rGET / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("\0GET / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("G\0T / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("G(T / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("G\xc3\xa9T / HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), .status = 400},

	/* Methods are case-sensitive; what nobody knows is 501 */
	{BYTES("get / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("Get / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("GETT / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("GE / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("CONNECT a:80 HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("TRACE / HTTP/1.1\r\n" HOST END), .status = 501},
	{BYTES("PROPFIND / HTTP/1.1\r\n" HOST END), .status = 501},

	/* Empty lines before a request are skipped, a few */
	{BYTES("\r\nGET / HTTP/1.1\r\n" HOST END), .empty = 2},
	{BYTES("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST END), .empty = 8},
	{BYTES("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n" HOST END),
	 .status = 400},
	{BYTES("\r\n \r\nGET / HTTP/1.1\r\n" HOST END), .status = 400},

	/* Targets: control bytes, raw non-ASCII, fragment, backslash, %00 */
	{BYTES("GET /\x01 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /\x7f HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /\xc3\xa9 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /?\xff HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /#a HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /?a#b HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /a\\b HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET \\ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%00 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /a%0d%0ab HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%0D HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%0A HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /?a=%0d%0aSet-Cookie: HTTP/1.1\r\n" HOST END),
	 .status = 400},
	{BYTES("GET /?%00 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /% HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%4 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%4?1 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%zz HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%g0 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%4G HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET visits HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET ?a HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET a:80 HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET /%41%2f%7E HTTP/1.1\r\n" HOST END), .path = "/%41%2f%7E"},
	{BYTES("GET //a//b/ HTTP/1.1\r\n" HOST END), .path = "//a//b/"},
	{BYTES("GET /../a HTTP/1.1\r\n" HOST END), .path = "/../a"},
	{BYTES("GET /? HTTP/1.1\r\n" HOST END), .query = ""},
	{BYTES("GET /a?b=c&d?e/f HTTP/1.1\r\n" HOST END), .path = "/a",
	 .query = "b=c&d?e/f"},
	{BYTES("GET /?100% HTTP/1.1\r\n" HOST END), .query = "100%"},
	{BYTES("GET /a:b@c;d=e,f HTTP/1.1\r\n" HOST END),
	 .path = "/a:b@c;d=e,f"},

	/* OPTIONS * is fine, GET * is 400 */
	{BYTES("OPTIONS * HTTP/1.1\r\n" HOST END), .method = HTTP_OPTIONS,
	 .path = "*"},
	{BYTES("GET * HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("POST * HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("OPTIONS ** HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("OPTIONS *?a HTTP/1.1\r\n" HOST END), .status = 400},

	/* Absolute form: any case, empty path; no userinfo, no bad port */
	{BYTES("GET http://a/ HTTP/1.1\r\n" HOST END)},
	{BYTES("GET http://a HTTP/1.1\r\n" HOST END)},
	{BYTES("GET HTTP://A.example:80/b?c HTTP/1.1\r\n" HOST END),
	 .path = "/b", .query = "c"},
	{BYTES("GET hTTps://a/b HTTP/1.1\r\n" HOST END), .path = "/b"},
	{BYTES("GET http://a?b HTTP/1.1\r\n" HOST END), .query = "b"},
	{BYTES("GET http://[::1]:8080/b HTTP/1.1\r\n" HOST END), .path = "/b"},
	{BYTES("GET http://a:/b HTTP/1.1\r\n" HOST END), .path = "/b"},
	{BYTES("OPTIONS http://a HTTP/1.1\r\n" HOST END),
	 .method = HTTP_OPTIONS, .path = "*"},
	{BYTES("OPTIONS http://a/ HTTP/1.1\r\n" HOST END),
	 .method = HTTP_OPTIONS},
	{BYTES("GET http://u@a/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://u:p@a/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://a:b/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://a:65536/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://a:99999999999999999999/ HTTP/1.1\r\n" HOST END),
	 .status = 400},
	{BYTES("GET http://a:-1/ HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http:// HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http:///b HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://:80/b HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http:/a HTTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET http://a HTTP/1.1\r\n" END), .status = 400},

	/* Versions */
	{BYTES("GET / http/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/01.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.10\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1,1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.x\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP 1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTPS/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / FTP/1.1\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/0.9\r\n" HOST END), .status = 505},
	{BYTES("GET / HTTP/2.0\r\n" HOST END), .status = 505},
	{BYTES("GET / HTTP/2.0\r\n" END), .status = 505},
	{BYTES("GET / HTTP/9.9\r\n" HOST END), .status = 505},
	{BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), .status = 505},
	{BYTES("GET / HTTP/1.2\r\n" HOST END)},
	{BYTES("GET / HTTP/1.9\r\n" HOST END)},
	{BYTES("GET / HTTP/1.9\r\n" END), .status = 400},

	/* Several wrong: 400 before 505 before 501 */
	{BYTES("BREW / HTTP/2.0\r\n" HOST END), .status = 505},
	{BYTES("BREW / HTTP/1.1\r\n" END), .status = 400},
	{BYTES("BREW / HTTP/2.0\r\nHost: a b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/2.0\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
	 .status = 505},
	{BYTES("GET / HTTP/2.0\r\nTransfer-Encoding: gzip\r\n\r\n"),
	 .status = 400},
	{BYTES("BREW / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	 .status = 501},

	/* Host: exactly one in 1.1, none needed in 1.0 */
	{BYTES("GET / HTTP/1.1\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nX-Host: a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.0\r\n" HOST HOST END), .status = 400},
	{BYTES("GET / HTTP/1.0\r\n" HOST END), .old = true, .close = true},
	{BYTES("GET / HTTP/1.1\r\nHost:\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: \t \r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.0\r\nHost:\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\tb\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\1b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a?b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a\"\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: <a>\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: :80\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a:+1\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a: 80\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a:18446744073709551696\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: []\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: [::1]a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a%4\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a%zz\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost: a_b\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:80\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: [::1]:\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: a:\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: a:0\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHOST:\t a.example \t\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\nHost: %41~!$&'()*+;=\r\n\r\n")},

	/* Fields: empty values, inner tabs, tab as space, bytes over 0x7f */
	{BYTES("GET / HTTP/1.1\r\n" HOST "X:\r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: \t \r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X:a\tb\tc\r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X:\ta\t\r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: \x80\xff\r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a:b:c\r\n\r\n"), .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST "!#$%&'*+-.^_`|~0aZ: x\r\n\r\n"),
	 .fields = 2},
	{BYTES("GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X\t: y\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X Y: z\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X/Y: z\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X\xff: z\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X\0Y: z\r\n\r\n"), .status = 400},
	/* obs-fold */
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n X: a\r\n" HOST END), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST " \r\n\r\n"), .status = 400},
	/* Control bytes, bare CR, bare LF */
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\0b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\x1f\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\r\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "X: a\nY: b\r\n\r\n"), .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "\rX: a\r\n\r\n"), .status = 400},

	/* Content-Length is decimal digits and nothing else */
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\n" HOST "content-LENGTH:\t010 \r\n\r\n"),
	 .length = 10},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 9223372036854775807\r\n\r\n"),
	 .length = INT64_MAX},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 000000000000000000000000000000010\r\n\r\n"),
	 .length = 10},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 9223372036854775808\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 18446744073709551617\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 0x10\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 1_0\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 5, 6\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 5;\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: 5.0\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: \"5\"\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Content-Length: \xb2\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Content-Length: 5\r\nX: y\r\ncontent-length: 6\r\n\r\n"),
	 .status = 400},
	{BYTES("GET / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"), .old = true,
	 .close = true, .length = 5},

	/* Transfer-Encoding */
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
	 .method = HTTP_POST, .chunked = true},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "transfer-encoding:\tCHUNKED \r\n\r\n"),
	 .method = HTTP_POST, .chunked = true},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: , chunked ,\r\n\r\n"),
	 .method = HTTP_POST, .chunked = true},
	{BYTES("POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Content-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
	       "Transfer-Encoding: chunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n"
	       "Transfer-Encoding: chunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: identity\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: chunked, chunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: chunked, gzip\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: chunked, identity\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: gzip, chunked\r\n\r\n"),
	 .status = 501},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: xchunked\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: chunked;a=b\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: \"chunked\"\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: ,\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n"
	       "Content-Length: 5\r\n\r\n"),
	 .status = 400},
	{BYTES("POST / HTTP/1.1\r\n" HOST
	       "Transfer-Encoding: \vchunked\r\n\r\n"),
	 .status = 400},

	/* Expect: 417 for another one; ignored in 1.0 */
	{BYTES("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n\r\n"),
	 .method = HTTP_POST, .expects_continue = true},
	{BYTES("POST / HTTP/1.1\r\n" HOST "expect: 100-Continue\r\n\r\n"),
	 .method = HTTP_POST, .expects_continue = true},
	{BYTES("POST / HTTP/1.1\r\n" HOST "Expect: tea\r\n\r\n"),
	 .method = HTTP_POST, .expects_unknown = true},
	{BYTES("POST / HTTP/1.0\r\n" HOST "Expect: 100-continue\r\n\r\n"),
	 .method = HTTP_POST, .old = true, .close = true},
	{BYTES("POST / HTTP/1.0\r\n" HOST "Expect: tea\r\n\r\n"),
	 .method = HTTP_POST, .old = true, .close = true},

	/* Upgrade is ignored */
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")},

	/* Connection */
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n"),
	 .close = true},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection: CLOSE\r\n\r\n"),
	 .close = true},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection: te,\tclose\r\n\r\n"),
	 .close = true},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Connection: te\r\nConnection: close\r\n\r\n"),
	 .close = true},
	{BYTES("GET / HTTP/1.1\r\n" HOST
	       "Connection: keep-alive, close\r\n\r\n"),
	 .close = true},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n")},
	{BYTES("GET / HTTP/1.1\r\n" HOST "Connection:\r\n\r\n")},
	{BYTES("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
	 .old = true},
	{BYTES("GET / HTTP/1.0\r\nConnection: a, keep-alive ,b\r\n\r\n"),
	 .old = true},
	{BYTES("GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n"),
	 .old = true, .close = true},
	{BYTES("GET / HTTP/1.0\r\nConnection: close\r\n\r\n"), .old = true,
	 .close = true},
};

static bool same(const char *what, long long got, long long wanted)
{
	if (got != wanted)
		print_error("%s is %lld, and not %lld\n", what, got, wanted);
	return got == wanted;
}

static bool same_text(const char *what, struct slice got, const char *wanted)
{
	bool ok = slice_equal(got, slice_of(wanted));

	if (!ok)
		print_error("%s is \"%.*s\", and not \"%s\"\n", what,
			    (int)got.n, got.p ? got.p : "", wanted);
	return ok;
}

static bool is_as_wanted(const struct http_request *r, const struct row *row)
{
	const char *line = row->bytes + row->empty;
	size_t line_len = (size_t)(strchr(line, '\r') - line);
	bool ok = same("the method", r->method, row->method);

	ok &= same_text("the path", r->path, row->path ? row->path : "/");
	ok &= same_text("the query", r->query, row->query ? row->query : "");
	ok &= same("the minor version", r->minor, row->old ? 0 : 1);
	ok &= same("keep_alive", r->keep_alive, !row->close);
	ok &= same("chunked", r->chunked, row->chunked);
	ok &= same("content_length", r->content_length, row->length);
	ok &= same("expects_continue", r->expects_continue,
		   row->expects_continue);
	ok &= same("expects_unknown", r->expects_unknown, row->expects_unknown);
	if (row->fields)
		ok &= same("fields_len", (long long)r->fields_len,
			   (long long)row->fields);
	ok &= same("the length of the line", (long long)r->line.n,
		   (long long)line_len);
	ok &= r->line.n == line_len && memcmp(r->line.p, line, line_len) == 0;
	return ok;
}

static bool is_inside(struct slice slice, const char *bytes, size_t len)
{
	return !slice.p || slice.n == 0 ||
	       (slice.p >= bytes && slice.p + slice.n <= bytes + len) ||
	       /* "/" and "*" of an absolute form without a path */
	       slice.n == 1;
}

/* Parses `len` bytes at the guard page; the request's slices are in them. */
static ssize_t parse(const char *bytes, size_t len, struct http_request *r)
{
	const char *copy = guard_copy(bytes, len);
	const char *why = NULL;
	ssize_t n;

	memset(r, 0xa5, sizeof(*r));
	n = http_parse(copy, len, r, &why);
	assert_true(n <= (ssize_t)len);
	if (n < 0)
		assert_true(why && *why && strlen(why) < 80);
	assert_true(is_inside(r->line, copy, len));
	if (n <= 0)
		return n;
	assert_true(is_inside(r->path, copy, len));
	assert_true(is_inside(r->query, copy, len));
	assert_true(r->fields_len <= HTTP_FIELDS_MAX);
	for (size_t i = 0; i < r->fields_len; i++) {
		assert_true(is_inside(r->fields[i].name, copy, len));
		assert_true(is_inside(r->fields[i].value, copy, len));
	}
	return n;
}

/* The next split point: all of them in a short request, else those near its
 * start, its end and the limits, and a sample between. */
static size_t next_split(size_t k, size_t len)
{
	if (len < 4096 || k < 64 || len - k <= 64 ||
	    (k > HTTP_LINE_MAX - 32 && k < HTTP_LINE_MAX + 32) ||
	    (k > HTTP_SECTION_MAX - 32 && k < HTTP_SECTION_MAX + 64))
		return k + 1;
	k += 61;
	return len - k < 64 ? len - 64 : k;
}

/* What every row must do; false with a message when it does not. */
static bool check(const struct row *row)
{
	struct http_request *r = test_malloc(sizeof(*r));
	static const char behind[] = "GET /next HTTP/1.1\r\nHost: b\r\n\r\n";
	bool whole = row->status == 0, ok = true;
	ssize_t wanted = whole			     ? (ssize_t)row->len
			 : row->status == INCOMPLETE ? 0
						     : -row->status;
	ssize_t before = 0;

	for (size_t k = 0; ok && k < row->len; k = next_split(k, row->len)) {
		ssize_t n = parse(row->bytes, k, r);
		bool good = n == 0 || (n < 0 && n == wanted);

		if (!good || (before < 0 && n != before)) {
			print_error("its first %zu bytes give %zd\n", k, n);
			ok = false;
		}
		before = n;
	}
	ok = ok && same("the result", parse(row->bytes, row->len, r), wanted);
	if (ok && whole)
		ok = is_as_wanted(r, row);
	if (ok && row->status != INCOMPLETE) {
		char *both = test_malloc(row->len + sizeof(behind));

		memcpy(both, row->bytes, row->len);
		memcpy(both + row->len, behind, sizeof(behind));
		ok = same("the result with a request behind it",
			  parse(both, row->len + sizeof(behind) - 1, r),
			  wanted);
		test_free(both);
	}
	test_free(r);
	if (!ok)
		print_error("for \"%.300s\" (%zu bytes)\n", row->bytes,
			    row->len);
	return ok;
}

static void test_rows(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		wrong += !check(&rows[i]);
	assert_int_equal(wrong, 0);
}

/* "GET /aaa HTTP/1.1" of `len` bytes */
static void test_line_limit(void **state)
{
	static const struct {
		size_t len;
		int status;
	} lens[] = {
		{8191, 0}, {8192, 0}, {8193, 414}, {8194, 414}, {9000, 414}};
	char *bytes = test_malloc(16384);

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		size_t fill = lens[i].len - strlen("GET / HTTP/1.1");
		char *path = test_malloc(fill + 2);

		path[0] = '/';
		memset(path + 1, 'a', fill);
		path[fill + 1] = '\0';
		sprintf(bytes, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path);
		const struct row row = {.bytes = bytes,
					.len = strlen(bytes),
					.status = lens[i].status,
					.path = path};
		assert_true(check(&row));
		test_free(path);
	}
	test_free(bytes);
}

/* A line that does not end is refused as soon as it is over the limit, whatever
 * part of it is long. */
static void test_line_without_end(void **state)
{
	static const char *const starts[] = {"", "GET ", "GET /", "GET /?"};
	struct http_request *r = test_malloc(sizeof(*r));
	char bytes[HTTP_LINE_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		memset(bytes, 'a', sizeof(bytes));
		memcpy(bytes, starts[i], strlen(starts[i]));
		assert_int_equal(parse(bytes, HTTP_LINE_MAX, r), 0);
		assert_int_equal(parse(bytes, HTTP_LINE_MAX + 1, r),
				 i == 0 ? -501 : -414);
	}
	test_free(r);
}

/* Field lines of `len` bytes in all, each of at most `line` bytes. */
static struct row section_row(char *bytes, size_t len, size_t line, int status)
{
	char *p = bytes + sprintf(bytes, "GET / HTTP/1.1\r\nHost: a\r\n");
	size_t fields = 1;

	for (size_t left = len - strlen("Host: a\r\n"); left > 0; fields++) {
		size_t n = left < line + 5 ? left : line;

		memcpy(p, "X: ", 3);
		memset(p + 3, 'b', n - 5);
		memcpy(p + n - 2, "\r\n", 2);
		p += n;
		left -= n;
	}
	memcpy(p, "\r\n", 3);
	return (struct row){.bytes = bytes,
			    .len = (size_t)(p + 2 - bytes),
			    .status = status,
			    .fields = fields};
}

static void test_section_limit(void **state)
{
	char *bytes = test_malloc(65536);

	(void)state;
	for (size_t line = 200; line <= 20000; line *= 10) {
		struct row row = section_row(bytes, 16383, line, 0);

		assert_true(check(&row));
		row = section_row(bytes, 16384, line, 0);
		assert_true(check(&row));
		row = section_row(bytes, 16385, line, 431);
		assert_true(check(&row));
		row = section_row(bytes, 20000, line, 431);
		row.len -= 2;
		assert_true(check(&row));
	}
	test_free(bytes);
}

/* A field that does not end is refused as soon as it is over the limit. */
static void test_section_without_end(void **state)
{
	static const char head[] = "GET / HTTP/1.1\r\n";
	enum { HEAD = sizeof(head) - 1 };
	static const char *const starts[] = {"", "X:", "X: y"};
	struct http_request *r = test_malloc(sizeof(*r));
	char bytes[HEAD + HTTP_SECTION_MAX + 1];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		memset(bytes, 'a', sizeof(bytes));
		memcpy(bytes, head, HEAD);
		memcpy(bytes + HEAD, starts[i], strlen(starts[i]));
		assert_int_equal(parse(bytes, sizeof(bytes) - 1, r), 0);
		assert_int_equal(parse(bytes, sizeof(bytes), r), -431);
	}
	test_free(r);
}

static void test_fields_limit(void **state)
{
	char *bytes = test_malloc(65536);

	(void)state;
	for (size_t fields = 99; fields <= 102; fields++) {
		char *p =
			bytes + sprintf(bytes, "GET / HTTP/1.1\r\nHost: a\r\n");

		for (size_t i = 1; i < fields; i++)
			p += sprintf(p, "X%zu: %zu\r\n", i, i);
		p += sprintf(p, "\r\n");
		const struct row row = {.bytes = bytes,
					.len = (size_t)(p - bytes),
					.status = fields > 100 ? 431 : 0,
					.fields = fields};
		assert_true(check(&row));
	}
	test_free(bytes);
}

/* Which bytes may stand where, by RFC 9110 5.5, 5.6.2 and RFC 3986. */
#define ALNUM                        \
	"0123456789"                 \
	"ABCDEFGHIJKLMNOPQRSTUVWXYZ" \
	"abcdefghijklmnopqrstuvwxyz"
#define TCHAR ALNUM "!#$%&'*+-.^_`|~"

static bool is_one_of(int byte, const char *set)
{
	return byte != 0 && strchr(set, byte);
}

static bool may_be_in_target(int byte)
{
	return byte > ' ' && byte < 0x7f && byte != '#' && byte != '\\';
}

static bool may_be_in_name(int byte)
{
	return is_one_of(byte, TCHAR);
}

static bool may_be_in_value(int byte)
{
	return byte == '\t' || (byte >= ' ' && byte != 0x7f);
}

static bool may_be_in_host(int byte)
{
	return is_one_of(byte, ALNUM "-._~!$&'()*+;=");
}

static bool may_be_in_method(int byte)
{
	return is_one_of(byte, TCHAR);
}

static void test_every_byte(void **state)
{
	static const struct {
		const char *before, *behind;
		bool (*may)(int byte);
		int status; /* where the byte may stand: 0, or a refusal */
		const char *also; /* bytes that are judged otherwise */
	} places[] = {
		{"GET /a", "b HTTP/1.1\r\nHost: a\r\n\r\n", may_be_in_target, 0,
		 "% "},
		{"GET /?a", "b HTTP/1.1\r\nHost: a\r\n\r\n", may_be_in_target,
		 0, " "},
		{"GET / HTTP/1.1\r\nHost: a\r\nX", "Y: z\r\n\r\n",
		 may_be_in_name, 0, ":"},
		{"GET / HTTP/1.1\r\nHost: a\r\n", "Y: z\r\n\r\n",
		 may_be_in_name, 0, ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: y", "z\r\n\r\n",
		 may_be_in_value, 0, ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nX:", "\r\n\r\n", may_be_in_value,
		 0, ""},
		{"GET / HTTP/1.1\r\nHost: a", "b\r\n\r\n", may_be_in_host, 0,
		 "%:"},
		{"G", "T / HTTP/1.1\r\nHost: a\r\n\r\n", may_be_in_method, 501,
		 "E "},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r", "", NULL, 400, "\n"},
		{"GET / HTTP/1.1\r\nHost: a\r", "X: y\r\n\r\n", NULL, 400,
		 "\n"},
	};
	struct http_request *r = test_malloc(sizeof(*r));
	char bytes[256];

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		size_t before = strlen(places[i].before);
		size_t behind = strlen(places[i].behind);
		size_t len = before + 1 + behind;

		for (int byte = 0; byte < 256; byte++) {
			bool may = places[i].may && places[i].may(byte);

			if (is_one_of(byte, places[i].also))
				continue;
			memcpy(bytes, places[i].before, before);
			bytes[before] = (char)byte;
			memcpy(bytes + before + 1, places[i].behind, behind);
			ssize_t n = parse(bytes, len, r);
			ssize_t wanted = !may		    ? -400
					 : places[i].status ? -places[i].status
							    : (ssize_t)len;
			if (n != wanted)
				print_error("byte %#x behind \"%s\"\n",
					    (unsigned)byte, places[i].before);
			assert_int_equal(n, wanted);
		}
	}
	test_free(r);
}

/*
 * With any byte of a request changed to any other: once its first k bytes have
 * a result, more bytes do not change it.
 */
static void test_prefixes_of_changed_requests(void **state)
{
	static const char good[] = "PUT /a%41?b HTTP/1.1\r\nHost: a:1\r\n"
				   "Content-Length: 5\r\n"
				   "Connection: close\r\n\r\n";
	enum { LEN = sizeof(good) - 1 };
	struct http_request *r = test_malloc(sizeof(*r));
	char bytes[LEN];

	(void)state;
	for (size_t at = 0; at < LEN; at++) {
		for (int byte = 0; byte < 256; byte++) {
			ssize_t first = 0;

			memcpy(bytes, good, LEN);
			bytes[at] = (char)byte;
			/* What comes before it is no news. */
			for (size_t k = at; k <= LEN; k++) {
				ssize_t n = parse(bytes, k, r);

				if (first != 0 && n != first)
					print_error(
						"byte %zu is %#x: %zu bytes "
						"give %zd, before %zd\n",
						at, (unsigned)byte, k, n,
						first);
				assert_true(first == 0 || n == first);
				assert_true(n <= 0 || (size_t)n <= k);
				first = n;
			}
		}
	}
	test_free(r);
}

/* Bytes drawn from the pieces of which requests are made. */
static void test_random_bytes(void **state)
{
	static const char *const pieces[] = {"GET",
					     " ",
					     "/",
					     "*",
					     "HTTP/1.1",
					     "HTTP/1.0",
					     "\r\n",
					     "\r",
					     "\n",
					     ":",
					     "Host",
					     "a",
					     "Content-Length",
					     "5",
					     "chunked",
					     "Transfer-Encoding",
					     ",",
					     "\t",
					     "?",
					     "%41",
					     "%",
					     "http://",
					     "[::1]",
					     "@",
					     "Host: a\r\n",
					     " HTTP/1.1\r\n",
					     "\r\n\r\n",
					     "\xff",
					     "GET / HTTP/1.1\r\nHost: a\r\n",
					     "Connection: close\r\n",
					     "Expect: 100-continue\r\n"};
	enum { PIECES = sizeof(pieces) / sizeof(*pieces) };
	struct http_request *r = test_malloc(sizeof(*r));
	uint64_t seed = 20261120;
	char bytes[1024];

	(void)state;
	for (int run = 0; run < 20000; run++) {
		size_t len = 0, count = 1 + random_next(&seed) % 16;
		ssize_t first = 0;

		for (size_t i = 0; i < count; i++) {
			const char *piece = pieces[random_next(&seed) % PIECES];

			memcpy(bytes + len, piece, strlen(piece));
			len += strlen(piece);
		}
		for (size_t k = 0; k <= len; k++) {
			ssize_t n = parse(bytes, k, r);

			assert_true(first == 0 || n == first);
			first = n;
		}
	}
	test_free(r);
}

static void test_pipeline(void **state)
{
	static const char bytes[] = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n"
				    "\r\nHEAD /2 HTTP/1.1\r\nHost: b\r\n\r\n"
				    "GET /3 HTTP/1.0\r\n\r\n"
				    "GET /4 HT";
	struct http_request *r = test_malloc(sizeof(*r));
	const char *copy = guard_copy(bytes, sizeof(bytes) - 1);
	const char *why, *end = copy + sizeof(bytes) - 1;
	static const char *const paths[] = {"/1", "/2", "/3"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		ssize_t n = http_parse(copy, (size_t)(end - copy), r, &why);

		assert_true(n > 0);
		assert_slice(r->path, paths[i]);
		copy += n;
	}
	assert_int_equal(http_parse(copy, (size_t)(end - copy), r, &why), 0);
	test_free(r);
}

/* What the access log shows of a request that is refused. */
static void test_line_of_a_bad_request(void **state)
{
	static const char bad_field[] = "GET /a HTTP/1.1\r\nHost : a\r\n\r\n";
	static const char bad_target[] = "GET /a#b HTTP/1.1\r\n";
	static const char bad_method[] = "\x16\x03\x01";
	struct http_request *r = test_malloc(sizeof(*r));

	(void)state;
	assert_int_equal(parse(bad_field, sizeof(bad_field) - 1, r), -400);
	assert_slice(r->line, "GET /a HTTP/1.1");
	assert_int_equal(parse(bad_target, sizeof(bad_target) - 1, r), -400);
	assert_slice(r->line, "GET /a");
	assert_int_equal(parse(bad_method, sizeof(bad_method) - 1, r), -400);
	assert_slice(r->line, "");
	test_free(r);
}

static void test_fields(void **state)
{
	struct http_request *r = test_malloc(sizeof(*r));
	const struct http_field *field;
	size_t at = 0;

	(void)state;
	request_read(r, "GET / HTTP/1.1\r\nHost: a\r\nAccept: 1\r\nB:\r\n"
			"ACCEPT:\t2 \t\r\naccept:3 4\r\nAcceptt: 5\r\n\r\n");
	field = http_field_next(r, SLICE("accept"), &at);
	assert_non_null(field);
	assert_slice(field->name, "Accept");
	assert_slice(field->value, "1");
	field = http_field_next(r, SLICE("accept"), &at);
	assert_non_null(field);
	assert_slice(field->name, "ACCEPT");
	assert_slice(field->value, "2");
	field = http_field_next(r, SLICE("aCCept"), &at);
	assert_non_null(field);
	assert_slice(field->value, "3 4");
	assert_null(http_field_next(r, SLICE("accept"), &at));
	assert_null(http_field_next(r, SLICE("accept"), &at));
	assert_int_equal(at, r->fields_len);

	assert_slice(http_field_value(r, SLICE("accept")), "1");
	assert_slice(http_field_value(r, SLICE("b")), "");
	assert_non_null(http_field_value(r, SLICE("b")).p);
	assert_null(http_field_value(r, SLICE("c")).p);
	assert_null(http_field_value(r, SLICE("accep")).p);
	test_free(r);
}

/* A name of any length is found, and one a byte longer or shorter is none. */
static void test_field_names(void **state)
{
	struct http_request *r = test_malloc(sizeof(*r));
	char text[512], name[201];

	(void)state;
	memset(name, 'x', sizeof(name));
	for (int n = 2; n < 200; n++) {
		snprintf(text, sizeof(text),
			 "GET / HTTP/1.1\r\nHost: a\r\n%.*s: 1\r\n\r\n", n,
			 name);
		request_read(r, text);
		for (int of = n - 1; of <= n + 1; of++) {
			struct slice asked = {name, (size_t)of};

			assert_int_equal(http_field_value(r, asked).n, of == n);
		}
	}
	test_free(r);
}

static void test_list(void **state)
{
	static const struct {
		const char *list;
		const char *elements[5];
	} lists[] = {
		{"", {NULL}},
		{" ", {NULL}},
		{",", {NULL}},
		{" , ,\t,", {NULL}},
		{"a", {"a"}},
		{" a ", {"a"}},
		{"a,b", {"a", "b"}},
		{"a, b ,\tc\t", {"a", "b", "c"}},
		{",,a,, b c ,", {"a", "b c"}},
		{"a;q=1, b=\"x\"", {"a;q=1", "b=\"x\""}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
		size_t n = strlen(lists[i].list);
		struct slice list = {guard_copy(lists[i].list, n), n};
		struct slice element;

		for (int k = 0; lists[i].elements[k]; k++) {
			assert_true(http_list_next(&list, &element));
			assert_slice(element, lists[i].elements[k]);
		}
		assert_false(http_list_next(&list, &element));
		assert_false(http_list_next(&list, &element));
	}
}

static void test_method_names(void **state)
{
	(void)state;
	for (int i = 0; i < HTTP_METHODS; i++)
		assert_true(http_method_names[i].n ==
			    strlen(http_method_names[i].p));
	assert_slice(http_method_names[HTTP_GET], "GET");
	assert_slice(http_method_names[HTTP_OPTIONS], "OPTIONS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_line_without_end),
		cmocka_unit_test(test_section_limit),
		cmocka_unit_test(test_section_without_end),
		cmocka_unit_test(test_fields_limit),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_prefixes_of_changed_requests),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_line_of_a_bad_request),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_field_names),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_method_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
