/*
 * Strict where a difference in reading could be used to smuggle a request
 * (RFC 9112 11.2), tolerant where the RFC asks for it. The first thing wrong
 * in the order of the bytes decides between errors of syntax; a version or
 * method that is not ours is said only of a head that is otherwise in order.
 */
#include "http/bytes.h"

#include "util/number.h"

#include <arpa/inet.h>
#include <netinet/in.h>

const struct slice http_method_names[HTTP_METHODS] = {
	[HTTP_GET] = {"GET", 3},       [HTTP_HEAD] = {"HEAD", 4},
	[HTTP_POST] = {"POST", 4},     [HTTP_PUT] = {"PUT", 3},
	[HTTP_DELETE] = {"DELETE", 6}, [HTTP_OPTIONS] = {"OPTIONS", 7},
	[HTTP_PATCH] = {"PATCH", 5},
};

#define ALPHA  (BYTE_TOKEN | BYTE_TARGET | BYTE_VALUE | BYTE_HOST)
#define A_TO_F (ALPHA | BYTE_HEX)
#define MARK   (BYTE_TARGET | BYTE_VALUE)

#define X4(c)  c, c, c, c
#define X16(c) X4(c), X4(c), X4(c), X4(c)

/* clang-format off */
const unsigned char byte_kinds[256] = {
	/* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, BYTE_VALUE /* tab */, 0, 0, 0, 0, 0, 0,
	/* 10 */ X16(0),
	/*  !"# */ BYTE_VALUE, ALPHA, MARK, BYTE_TOKEN | BYTE_VALUE,
	/* $%&' */ X4(ALPHA),
	/* ()*+ */ MARK | BYTE_HOST, MARK | BYTE_HOST, ALPHA, ALPHA,
	/* ,-./ */ MARK, ALPHA, ALPHA, MARK,
	/* 0-7 */ X4(A_TO_F), X4(A_TO_F),
	/* 89:; */ A_TO_F, A_TO_F, MARK, MARK | BYTE_HOST,
	/* <=>? */ MARK, MARK | BYTE_HOST, MARK, MARK,
	/* @A-G */ MARK, X4(A_TO_F), A_TO_F, A_TO_F, ALPHA,
	/* H-W */ X16(ALPHA),
	/* XYZ[ */ ALPHA, ALPHA, ALPHA, MARK,
	/* \]^_ */ BYTE_VALUE, MARK, BYTE_TOKEN | MARK, ALPHA,
	/* `a-g */ BYTE_TOKEN | MARK, X4(A_TO_F), A_TO_F, A_TO_F, ALPHA,
	/* h-w */ X16(ALPHA),
	/* xyz{ */ ALPHA, ALPHA, ALPHA, MARK,
	/* |}~  */ BYTE_TOKEN | MARK, MARK, ALPHA, 0,
	/* 80 */ X16(BYTE_VALUE), X16(BYTE_VALUE), X16(BYTE_VALUE), X16(BYTE_VALUE),
	/* c0 */ X16(BYTE_VALUE), X16(BYTE_VALUE), X16(BYTE_VALUE), X16(BYTE_VALUE),
};
/* clang-format on */

static int parse_skip_empty_lines(struct bytes *in)
{
	for (int lines = 0; in->p < in->end && *in->p == '\r'; lines++) {
		if (lines == HTTP_EMPTY_LINES_MAX)
			return bytes_fail(in, 400,
					  "empty lines before the request");
		int done = bytes_read_line_end(in, "");
		if (done <= 0)
			return done;
	}
	return in->p < in->end;
}

static enum http_method parse_find_method(struct slice name)
{
	for (int i = 0; i < HTTP_METHODS; i++)
		if (slice_equal(name, http_method_names[i]))
			return (enum http_method)i;
	return HTTP_METHODS;
}

/* "[::1]" at the start of `text`: its length, or 0. What RFC 3986 keeps for
 * future versions of IP, nobody has. */
static size_t parse_ip_literal_length(struct slice text)
{
	unsigned char address[sizeof(struct in6_addr)];
	char literal[INET6_ADDRSTRLEN];
	size_t n = 1;

	while (n < text.n && text.p[n] != ']')
		n++;
	if (n == text.n || n > sizeof(literal))
		return 0;
	memcpy(literal, text.p + 1, n - 1);
	literal[n - 1] = '\0';
	return inet_pton(AF_INET6, literal, address) == 1 ? n + 1 : 0;
}

/* host [":" [port]], RFC 9110 7.2 and RFC 3986 3.2 */
static bool parse_is_authority(struct slice text)
{
	const char *p = text.p, *end = text.p + text.n;

	if (p < end && *p == '[') {
		p += parse_ip_literal_length(text);
		if (p == text.p)
			return false;
	} else {
		while (p < end && byte_is(*p, BYTE_HOST)) {
			if (*p == '%' &&
			    (end - p < 3 || !byte_is(p[1], BYTE_HEX) ||
			     !byte_is(p[2], BYTE_HEX)))
				return false;
			p++;
		}
		if (p == text.p)
			return false;
	}
	if (p == end)
		return true;
	if (*p++ != ':')
		return false;
	int64_t port = 0;
	struct slice digits = {p, (size_t)(end - p)};
	return digits.n == 0 || (number_read(digits, &port) && port <= 65535);
}

/* Escapes in the path are whole; none anywhere means NUL, CR or LF. */
static const char *parse_check_escapes(struct slice path, struct slice target)
{
	const char *end = target.p + target.n;
	const char *path_end = path.p + path.n;
	const char *p = target.p;

	while ((p = memchr(p, '%', (size_t)(end - p)))) {
		bool whole = end - p >= 3 && byte_is(p[1], BYTE_HEX) &&
			     byte_is(p[2], BYTE_HEX);

		if (!whole && p >= path.p && p < path_end)
			return "a bad escape in the path";
		if (whole) {
			int byte = ascii_hex_value(p[1]) * 16 +
				   ascii_hex_value(p[2]);

			if (byte == 0 || byte == '\r' || byte == '\n')
				return "an escaped control byte in the target";
		}
		p++;
	}
	return NULL;
}

/* "http://" or "https://" in any case: its length, or 0 */
static size_t parse_scheme_length(struct slice target)
{
	static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};

	for (int i = 0; i < 2; i++) {
		size_t n = schemes[i].n;

		if (target.n >= n &&
		    slice_same_word((struct slice){target.p, n}, schemes[i]))
			return n;
	}
	return 0;
}

/* How many bytes of `text` come before the first one out of `stops`. */
static size_t parse_span_until(struct slice text, const char *stops)
{
	size_t n = 0;

	while (n < text.n && !strchr(stops, text.p[n]))
		n++;
	return n;
}

/* Splits the target into path and query (RFC 9112 3.2). */
static int parse_read_target(struct bytes *in, struct slice target,
			     struct http_request *r)
{
	size_t scheme = parse_scheme_length(target);
	struct slice rest = target;

	if (r->method == HTTP_METHODS) { /* CONNECT's is an authority */
		r->path = target;
		return 1;
	}
	if (slice_equal(target, SLICE("*"))) {
		if (r->method != HTTP_OPTIONS)
			return bytes_fail(in, 400,
					  "the target * is for OPTIONS");
		r->path = target;
		return 1;
	}
	if (scheme) {
		struct slice authority = slice_after(target, scheme);

		authority.n = parse_span_until(authority, "/?");
		if (!parse_is_authority(authority))
			return bytes_fail(in, 400,
					  "a bad authority in the target");
		rest = slice_after(target, scheme + authority.n);
	} else if (target.p[0] != '/') {
		return bytes_fail(in, 400, "the target does not begin with /");
	}
	r->path = (struct slice){rest.p, parse_span_until(rest, "?")};
	if (r->path.n < rest.n)
		r->query = slice_after(rest, r->path.n + 1);
	const char *why = parse_check_escapes(r->path, target);
	if (why)
		return bytes_fail(in, 400, why);
	if (r->path.n == 0) /* RFC 9112 3.2.4, RFC 3986 6.2.3 */
		r->path = r->method == HTTP_OPTIONS && !r->query.p ? SLICE("*")
								   : SLICE("/");
	return 1;
}

/* HTTP/1.1: one digit each. *major and r->minor are as sent. */
static int parse_read_version(struct bytes *in, struct http_request *r,
			      int *major)
{
	static const char form[] = "HTTP/";
	size_t have = (size_t)(in->end - in->p);

	for (size_t i = 0; i < have && i < 8; i++) {
		bool good = i < 5    ? in->p[i] == form[i]
			    : i == 6 ? in->p[i] == '.'
				     : in->p[i] >= '0' && in->p[i] <= '9';
		if (!good)
			return bytes_fail(in, 400, "a bad HTTP version");
	}
	if (have <= 8)
		return 0;
	*major = in->p[5] - '0';
	r->minor = in->p[7] - '0';
	in->p += 8;
	return bytes_read_line_end(in, "a bad HTTP version");
}

/* method SP target SP version CRLF */
static int parse_read_line(struct bytes *in, struct http_request *r, int *major)
{
	struct slice method, target;
	int more;

	more = bytes_read_run(in, BYTE_TOKEN, &method);
	if (!more)
		return 0;
	if (method.n == 0 || *in->p != ' ')
		return bytes_fail(in, 400, "a bad method");
	r->method =
		parse_find_method(method); /* a refusal of HEAD has no body */
	in->p++;
	more = bytes_read_run(in, BYTE_TARGET, &target);
	if (!more)
		return 0;
	if (*in->p == '\r')
		return bytes_fail(in, 400,
				  "no HTTP version in the request line");
	if (target.n == 0 || *in->p != ' ')
		return bytes_fail(in, 400, "a bad byte in the target");
	in->p++;
	more = parse_read_version(in, r, major);
	return more > 0 ? parse_read_target(in, target, r) : more;
}

/* What a name of this length sets in r->name_lengths. */
static uint64_t parse_length_bit(struct slice name)
{
	return UINT64_C(1) << (name.n & 63);
}

/* The header section and the empty line behind it. */
static int parse_read_fields(struct bytes *in, struct http_request *r)
{
	for (;;) {
		if (in->p == in->end)
			return 0;
		if (*in->p == '\r')
			return bytes_read_line_end(in, "");
		if (r->fields_len == HTTP_FIELDS_MAX)
			return bytes_fail(in, 431,
					  "more than 100 header fields");
		struct http_field *field = &r->fields[r->fields_len];
		int done = bytes_read_field(in, field);
		if (done <= 0)
			return done;
		r->name_lengths |= parse_length_bit(field->name);
		r->fields_len++;
	}
}

bool http_list_next(struct slice *list, struct slice *element)
{
	while (list->n > 0) {
		*element = slice_take(list, ',');
		if (element->n > 0)
			return true;
	}
	return false;
}

/* What the fields say about the message itself, gathered while reading. */
struct framing {
	int hosts, lengths, codings;
	bool close, keep_alive;
	bool unknown_coding;
};

static int parse_use_host(struct bytes *in, struct http_request *r,
			  struct framing *f, struct slice value)
{
	(void)r;
	if (f->hosts++ > 0)
		return bytes_fail(in, 400, "more than one Host");
	if (!parse_is_authority(value))
		return bytes_fail(in, 400, "a bad Host");
	return 1;
}

static int parse_use_connection(struct bytes *in, struct http_request *r,
				struct framing *f, struct slice value)
{
	struct slice option;

	(void)in;
	(void)r;
	while (http_list_next(&value, &option)) {
		f->close |= slice_same_word(option, SLICE("close"));
		f->keep_alive |= slice_same_word(option, SLICE("keep-alive"));
	}
	return 1;
}

static int parse_use_length(struct bytes *in, struct http_request *r,
			    struct framing *f, struct slice value)
{
	if (f->lengths++ > 0)
		return bytes_fail(in, 400, "more than one Content-Length");
	if (!number_read(value, &r->content_length))
		return bytes_fail(in, 400, "a bad Content-Length");
	return 1;
}

/* Only "chunked" is known, and it has to be the last coding (RFC 9112 6.1). */
static int parse_use_coding(struct bytes *in, struct http_request *r,
			    struct framing *f, struct slice value)
{
	struct slice coding;

	if (f->codings++ > 0)
		return bytes_fail(in, 400, "more than one Transfer-Encoding");
	while (http_list_next(&value, &coding)) {
		if (r->chunked)
			return bytes_fail(in, 400, "a coding after chunked");
		if (slice_same_word(coding, SLICE("chunked")))
			r->chunked = true;
		else
			f->unknown_coding = true;
	}
	/* RFC 9112 6.3: where such a body ends is not known. */
	return r->chunked ? 1
			  : bytes_fail(in, 400,
				       "a Transfer-Encoding that does not end "
				       "in chunked");
}

static int parse_use_expect(struct bytes *in, struct http_request *r,
			    struct framing *f, struct slice value)
{
	struct slice expectation;

	(void)in;
	(void)f;
	while (http_list_next(&value, &expectation)) {
		if (slice_same_word(expectation, SLICE("100-continue")))
			r->expects_continue = true;
		else
			r->expects_unknown = true;
	}
	return 1;
}

/* To heed another field here: a row, and a function like those above. */
static const struct use {
	struct slice name;
	int (*use)(struct bytes *in, struct http_request *r, struct framing *f,
		   struct slice value);
} uses[] = {
	{{"host", 4}, parse_use_host},
	{{"connection", 10}, parse_use_connection},
	{{"content-length", 14}, parse_use_length},
	{{"transfer-encoding", 17}, parse_use_coding},
	{{"expect", 6}, parse_use_expect},
};

static int parse_use_field(struct bytes *in, struct http_request *r,
			   struct framing *f, const struct http_field *field)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (slice_same_word(field->name, uses[i].name))
			return uses[i].use(in, r, f, field->value);
	return 1;
}

static int parse_check_framing(struct bytes *in, struct http_request *r,
			       int major)
{
	struct framing f = {0};

	for (size_t i = 0; i < r->fields_len; i++) {
		int done = parse_use_field(in, r, &f, &r->fields[i]);

		if (done < 0)
			return done;
	}
	bool old = major == 1 && r->minor == 0;
	if (major == 1 && !old && f.hosts == 0)
		return bytes_fail(in, 400, "no Host");
	if (f.codings && f.lengths)
		return bytes_fail(in, 400,
				  "Content-Length with Transfer-Encoding");
	if (f.codings && old)
		return bytes_fail(in, 400, "Transfer-Encoding in HTTP/1.0");
	if (major != 1)
		return bytes_fail(in, 505, "this server speaks HTTP/1.1");
	if (f.unknown_coding)
		return bytes_fail(in, 501,
				  "no transfer coding but chunked is known");
	if (r->method == HTTP_METHODS)
		return bytes_fail(in, 501, "this method is not known");
	if (old)
		r->expects_continue = r->expects_unknown = false;
	else
		r->minor = 1;
	r->keep_alive = !f.close && (r->minor == 1 || f.keep_alive);
	return 1;
}

/* Whether what has been read, or waits without an end, is over its limit. */
static int parse_check_size(struct bytes *in, const char *start, size_t max,
			    int status, const char *why)
{
	return (size_t)(in->p - start) > max ? bytes_fail(in, status, why) : 0;
}

static int parse_read_head(struct bytes *in, struct http_request *r)
{
	int major = 1, done, over;

	done = parse_skip_empty_lines(in);
	if (done <= 0)
		return done;
	const char *line = in->p;
	done = parse_read_line(in, r, &major);
	/* The line's end is two bytes; one that has not come yet, none. */
	over = parse_check_size(in, line, HTTP_LINE_MAX + (done > 0 ? 2 : 0),
				414, "the request line is over 8192 bytes");
	if (over < 0 && !memchr(line, ' ', HTTP_LINE_MAX))
		over = bytes_fail(in, 501, "no method is that long");
	size_t ended = done > 0 ? 2 : 0;
	r->line = (struct slice){line, (size_t)(in->p - line) - ended};
	if (over < 0 || done <= 0)
		return over < 0 ? over : done;
	const char *section = in->p;
	done = parse_read_fields(in, r);
	over = parse_check_size(in, section,
				HTTP_SECTION_MAX + (done > 0 ? 2 : 0), 431,
				"the header section is over 16384 bytes");
	if (over < 0 || done <= 0)
		return over < 0 ? over : done;
	return parse_check_framing(in, r, major);
}

ssize_t http_parse(const char *buf, size_t len, struct http_request *r,
		   const char **why)
{
	struct bytes in = {.p = buf, .end = buf + len};

	/* All but the fields, which fields_len bounds: clearing 3 KiB for
	 * every request would cost more than parsing a short one. */
	memset(r, 0, offsetof(struct http_request, fields));
	int done = parse_read_head(&in, r);
	*why = in.why;
	return done > 0 ? in.p - buf : done;
}

const struct http_field *http_field_next(const struct http_request *r,
					 struct slice name, size_t *at)
{
	/* Most look-ups are in vain, and end here. */
	if (!(r->name_lengths & parse_length_bit(name)))
		return NULL;
	while (*at < r->fields_len) {
		const struct http_field *field = &r->fields[(*at)++];

		if (slice_same_word(field->name, name))
			return field;
	}
	return NULL;
}

struct slice http_field_value(const struct http_request *r, struct slice name)
{
	size_t at = 0;
	const struct http_field *field = http_field_next(r, name, &at);

	return field ? field->value : (struct slice){NULL, 0};
}
