/*
 * What is served: from the bytes of a request to those of its reply, with the
 * store's part done by hand.
 */
#include "http/parse.h"
#include "site/site.h"
#include "store/store.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 32768 };

static const struct moment moment = {
	.now = 1795172400,
	.date = "Fri, 20 Nov 2026 11:00:00 GMT",
	.local = "2026-11-20T12:00:00+01:00",
};

static struct settings settings;
static const struct process process = {.workers = 1};
static struct job job;
static char room[SITE_ROOM];
static char text[REPLY_MAX + 1]; /* the last reply */
static const char *body;	 /* of it */

/* The part of the loop that is after the store's call. */
static void render(void)
{
	struct http_reply reply;
	/* The scratch may be used up to its last byte, and not beyond. */
	char *scratch = guard_end() - SITE_SCRATCH;

	site_answer(&job, &moment, &reply, scratch);
	assert_true(http_reply_bound(&reply) <= REPLY_MAX);
	size_t n = http_reply_write(text, &reply, moment.date);
	text[n] = '\0';
	body = strstr(text, "\r\n\r\n") + 4;
}

/* A request with these field lines, as it is routed. */
static void route(const char *line, const char *fields)
{
	struct http_request *r = test_malloc(sizeof(*r));
	static char bytes[16384];

	snprintf(bytes, sizeof(bytes), "%s HTTP/1.1\r\nHost: a\r\n%s\r\n", line,
		 fields);
	request_read(r, bytes);
	memset(&job, 0xa5, sizeof(job));
	site_route(r, moment.now, &job, room);
	if (job.status)
		assert_int_equal(job.call, CALL_NONE);
	job.total = 42;
	job.today = 3;
	test_free(r);
}

/* The body of the request that was routed; its texts are decoded into exactly
 * the room that they may need. */
static void read_body(const char *bytes)
{
	site_read_body(&job, slice_of(bytes), guard_end() - strlen(bytes));
	if (job.status)
		assert_int_equal(job.call, CALL_NONE);
}

static void ask(const char *line, const char *fields)
{
	route(line, fields);
	render();
}

static int status(void)
{
	assert_memory_equal(text, "HTTP/1.1 ", 9);
	return atoi(text + 9);
}

/* Whether the head of the reply has this whole line. */
static bool has(const char *line)
{
	char whole[512];
	const char *at;

	snprintf(whole, sizeof(whole), "\r\n%s\r\n", line);
	at = strstr(text, whole);
	return at && at < body;
}

static void assert_reply(int wanted, const char *type, const char *wanted_body)
{
	char line[128];

	if (status() != wanted || strcmp(body, wanted_body) != 0)
		print_error("%s\n", text);
	assert_int_equal(status(), wanted);
	assert_string_equal(body, wanted_body);
	snprintf(line, sizeof(line), "Content-Type: %s", type);
	assert_true(has(line));
	snprintf(line, sizeof(line), "Content-Length: %zu", strlen(body));
	assert_true(has(line));
	assert_true(has("X-Content-Type-Options: nosniff"));
}

#define PLAIN "text/plain; charset=utf-8"
#define JSON  "application/json"
#define PAGE  "text/html; charset=utf-8"

static const char fresh[] =
	"Cache-Control: max-age=0, no-cache, no-store, must-revalidate";
static const char cors[] = "Access-Control-Allow-Origin: *";
static const char vary[] = "Vary: Accept";

static void test_home(void **state)
{
	(void)state;
	ask("GET /", "");
	assert_int_equal(job.call, CALL_ADD);
	assert_slice(job.counter, STORE_HOME);
	assert_int_equal(job.reason, REASON_COUNTED);
	assert_reply(200, PLAIN, "2026-11-20T12:00:00+01:00\nvisits: 42\n");
	assert_true(has(fresh));
	assert_true(has("X-Visit-Counted: 1"));
	assert_true(has(cors));
	assert_true(has(vary));
	assert_null(strstr(text, "ETag"));

	ask("GET /?a=b", "Accept: application/json\r\n");
	assert_int_equal(job.reason, REASON_COUNTED);
	assert_reply(200, JSON,
		     "{\"visits\":42,\"today\":3,"
		     "\"time\":\"2026-11-20T12:00:00+01:00\"}");
	assert_true(has(cors));
	assert_true(has("X-Visit-Counted: 1"));

	ask("GET http://a", "");
	assert_reply(200, PLAIN, "2026-11-20T12:00:00+01:00\nvisits: 42\n");
}

static void test_home_page(void **state)
{
	const char *policy;

	(void)state;
	ask("GET /", "Accept: text/html\r\n");
	assert_int_equal(status(), 200);
	assert_true(has("Content-Type: " PAGE));
	assert_true(has(fresh));
	assert_true(has(vary));
	assert_true(has("X-Visit-Counted: 1"));
	policy = strstr(text, "\r\nContent-Security-Policy: ");
	assert_true(policy && policy < body);
	assert_null(strstr(text, "unsafe"));
	assert_non_null(strstr(body, "<!doctype html>"));
	assert_non_null(strstr(body, ">42<"));
	assert_non_null(strstr(body, ">3<"));
	assert_non_null(strstr(body, "2026-11-20T12:00:00+01:00"));
	assert_null(strstr(body, "{{"));
	assert_null(strstr(body, "}}"));
	assert_non_null(strstr(body, "</html>"));
}

/* The largest numbers fit, too. */
static void test_largest(void **state)
{
	static const char *const accepts[] = {"", "Accept: text/html\r\n",
					      "Accept: application/json\r\n"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		route("GET /", accepts[i]);
		job.total = job.today = INT64_MAX;
		render();
		assert_int_equal(status(), 200);
		assert_non_null(strstr(body, "9223372036854775807"));
		/* What the loop reckons with. */
		assert_true(strlen(text) <= job.size + 1024);
	}
}

static void test_visits(void **state)
{
	(void)state;
	ask("GET /visits", "");
	assert_int_equal(job.call, CALL_ADD);
	assert_int_equal(job.reason, REASON_READ);
	assert_slice(job.counter, STORE_HOME);
	assert_reply(200, PLAIN, "42\n");
	assert_true(has(fresh));
	assert_true(has("X-Visit-Counted: 0; reason=read"));
	assert_true(has(vary));

	ask("GET /visits", "Accept: application/json\r\n");
	assert_reply(200, JSON,
		     "{\"counter\":\"homepage\",\"value\":42,\"today\":3}");
	ask("GET /visits.json", "Accept: text/plain\r\n");
	assert_int_equal(job.reason, REASON_READ);
	assert_reply(200, JSON,
		     "{\"counter\":\"homepage\",\"value\":42,\"today\":3}");
	assert_false(has(vary));
	ask("GET /visits.txt", "Accept: application/json\r\n");
	assert_reply(200, PLAIN, "42\n");
	assert_false(has(vary));
	/* Escapes are decoded first. */
	ask("GET /%76isits%2ejson", "");
	assert_int_equal(status(), 200);
	assert_true(has("Content-Type: " JSON));
}

static void test_health(void **state)
{
	char wanted[256];

	(void)state;
	ask("GET /health", "");
	assert_int_equal(job.call, CALL_PING);
	snprintf(wanted, sizeof(wanted), "{\"status\":\"ok\",\"store\":\"%s\"}",
		 store_name);
	assert_reply(200, JSON, wanted);
	assert_true(has("Cache-Control: no-store"));
	assert_null(strstr(text, "X-Visit-Counted"));
	ask("GET /health", "Accept: */*\r\n");
	assert_reply(200, JSON, wanted);
	ask("GET /health", "Accept: text/plain\r\n");
	assert_reply(200, PLAIN, "ok\n");

	route("GET /health", "");
	job.status = 503;
	job.error = "disk \"a\" is full";
	render();
	snprintf(wanted, sizeof(wanted),
		 "{\"status\":\"unavailable\",\"store\":\"%s\","
		 "\"error\":\"disk \\\"a\\\" is full\"}",
		 store_name);
	assert_reply(503, JSON, wanted);
	assert_true(has("Retry-After: 1"));
	assert_true(has("Cache-Control: no-store"));
}

static void test_static(void **state)
{
	(void)state;
	ask("GET /robots.txt", "Accept: application/json\r\n");
	assert_int_equal(job.call, CALL_NONE);
	assert_int_equal(status(), 200);
	assert_true(has("Content-Type: " PLAIN));
	assert_non_null(strstr(body, "User-agent:"));
	ask("GET /favicon.ico", "");
	assert_int_equal(job.call, CALL_NONE);
	assert_int_equal(status(), 200);
	assert_memory_equal(body, "\0\0\1\0", 4);
	assert_null(strstr(text, "X-Visit-Counted"));
}

/* HEAD has the headers of GET and no body, and never counts. */
static void test_head(void **state)
{
	static const char *const paths[] = {"/visits",	"/visits.json",
					    "/health",	"/robots.txt",
					    "/nothing", "/items/1"};
	char line[64], got[REPLY_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		snprintf(line, sizeof(line), "GET %s", paths[i]);
		ask(line, "");
		size_t head = (size_t)(body - text);
		memcpy(got, text, head);
		snprintf(line, sizeof(line), "HEAD %s", paths[i]);
		ask(line, "");
		assert_int_equal(strlen(text), head);
		assert_memory_equal(text, got, head);
	}
	ask("HEAD /", "Accept: text/html\r\n");
	assert_int_equal(job.call, CALL_ADD);
	assert_int_equal(job.reason, REASON_HEAD);
	assert_int_equal(status(), 200);
	assert_string_equal(body, "");
	assert_false(has("Content-Length: 0"));
	assert_true(has("X-Visit-Counted: 0; reason=head"));
}

static void test_prefetch(void **state)
{
	static const char *const fetches[] = {
		"Sec-Purpose: prefetch\r\n",
		"sec-purpose: PREFETCH\r\n",
		"Sec-Purpose: prefetch;prerender\r\n",
		"Sec-Purpose: prefetch;anonymous-client-ip\r\n",
		"Purpose: prefetch\r\n",
		"Purpose: preview\r\n",
		"X-Purpose: preview\r\n",
		"X-Moz: prefetch\r\n",
		"Purpose: x\r\nX-Moz: prefetch\r\n",
	};
	static const char *const others[] = {
		"X-Moz: preview\r\n", "Purpose:\r\n",
		"Sec-Purpose: preview\r\n", "Purpose: prefetching\r\n",
		"X-Purpose: prefetch\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(fetches) / sizeof(*fetches); i++) {
		ask("GET /", fetches[i]);
		assert_int_equal(job.call, CALL_ADD);
		assert_int_equal(job.reason, REASON_PREFETCH);
		assert_int_equal(status(), 200);
		assert_true(has("X-Visit-Counted: 0; reason=prefetch"));
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		ask("GET /", others[i]);
		assert_int_equal(job.reason, REASON_COUNTED);
	}
	ask("GET /visits", "Purpose: prefetch\r\n");
	assert_int_equal(job.reason, REASON_READ);
}

/* OPTIONS: 204 with Allow and what browsers ask before (CORS) */
static void test_options(void **state)
{
	static const char *const paths[] = {
		"/",	   "/visits",	   "/visits.json",
		"/health", "/favicon.ico", "/robots.txt"};
	char line[64];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		snprintf(line, sizeof(line), "OPTIONS %s", paths[i]);
		ask(line, "Origin: http://b\r\n"
			  "Access-Control-Request-Method: GET\r\n");
		assert_int_equal(job.call, CALL_NONE);
		assert_int_equal(status(), 204);
		assert_string_equal(body, "");
		bool is_set = strncmp(paths[i], "/visits", 7) == 0;
		assert_true(has(is_set ? "Allow: GET, HEAD, PUT, OPTIONS"
				       : "Allow: GET, HEAD, OPTIONS"));
		assert_true(has(is_set ? "Access-Control-Allow-Methods: "
					 "GET, HEAD, PUT, OPTIONS"
				       : "Access-Control-Allow-Methods: "
					 "GET, HEAD, OPTIONS"));
		assert_true(has(cors));
		assert_non_null(strstr(text, "Access-Control-Allow-Headers: "));
		assert_null(strstr(text, "Content-Length"));
		assert_null(strstr(text, "Content-Type:"));
	}
	/* A browser's Accept does not take CORS away. */
	ask("OPTIONS /", "Accept: text/html\r\n");
	assert_int_equal(status(), 204);
	assert_true(has(cors));
	ask("OPTIONS *", "");
	assert_int_equal(status(), 204);
	assert_non_null(strstr(text, "\r\nAllow: GET, HEAD, "));
	ask("OPTIONS /nothing", "");
	assert_int_equal(status(), 404);
}

static void test_not_found(void **state)
{
	static const char *const paths[] = {"/nothing",	   "//",
					    "/gets",	   "/Visits",
					    "/visits.xml", "/visits.JSON",
					    "/.json",	   "/health.json",
					    "/index.html", "/visits.json.txt",
					    "/favicon",	   "/%2f",
					    "/visits%20",  "/..",
					    "/./visits",   "/a%ff"};
	char line[8000];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		snprintf(line, sizeof(line), "GET %s", paths[i]);
		ask(line, "");
		if (status() != 404)
			print_error("%s\n", paths[i]);
		assert_int_equal(status(), 404);
		assert_int_equal(job.call, CALL_NONE);
		assert_null(strstr(text, "X-Visit-Counted"));
	}
	/* Long ones, with and without escapes */
	for (size_t n = 50; n < 7900; n += 13) {
		memcpy(line, "GET /%76", 9);
		memset(line + 8, 'x', n);
		line[8 + n] = '\0';
		ask(line, "");
		assert_int_equal(status(), 404);
	}
}

/* An error follows the representation asked for. */
static void test_error_media(void **state)
{
	(void)state;
	ask("GET /nothing", "");
	assert_int_equal(status(), 404);
	assert_true(has("Content-Type: " PLAIN));
	assert_memory_equal(body, "404 Not Found: ", 15);
	assert_int_equal(body[strlen(body) - 1], '\n');
	assert_true(has(cors));
	ask("GET /nothing", "Accept: application/json\r\n");
	assert_true(has("Content-Type: " JSON));
	assert_memory_equal(body, "{\"error\":\"", 10);
	assert_int_equal(body[strlen(body) - 1], '}');
	assert_true(has(cors));
	assert_true(has(vary));
	ask("GET /nothing", "Accept: text/html\r\n");
	assert_true(has("Content-Type: " PAGE));
	assert_non_null(strstr(body, "<title>404 Not Found</title>"));
	assert_non_null(strstr(text, "Content-Security-Policy: "));
}

static void test_method_not_allowed(void **state)
{
	static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};
	static const char *const paths[] = {"/", "/visits", "/health",
					    "/robots.txt"};
	char line[64];

	(void)state;
	for (size_t i = 0; i < 4; i++)
		for (size_t k = 0; k < 4; k++) {
			if (k == 1 && i == 1) /* PUT /visits */
				continue;
			snprintf(line, sizeof(line), "%s %s", methods[i],
				 paths[k]);
			ask(line, "");
			assert_int_equal(status(), 405);
			assert_int_equal(job.call, CALL_NONE);
			assert_non_null(strstr(text, "\r\nAllow: GET, HEAD, "));
			assert_null(strstr(text, "X-Visit-Counted"));
		}
}

/* The first of 404, 405, 417, 413 */
static void test_order(void **state)
{
	static const char *const fields =
		"Expect: tea\r\nContent-Length: 65537\r\n";

	(void)state;
	ask("POST /nothing", fields);
	assert_int_equal(status(), 404);
	ask("POST /", fields);
	assert_int_equal(status(), 405);
	ask("GET /", fields);
	assert_int_equal(status(), 417);
	ask("GET /", "Content-Length: 65537\r\n");
	assert_int_equal(status(), 413);
	ask("GET /", "Content-Length: 9223372036854775807\r\n");
	assert_int_equal(status(), 413);
	ask("GET /", "Content-Length: 65536\r\n");
	assert_int_equal(status(), 200);
	assert_int_equal(job.reason, REASON_COUNTED);
}

static void test_store_is_down(void **state)
{
	static const struct {
		const char *accept, *type, *body;
	} rows[] = {
		{"", PLAIN,
		 "503 Service Unavailable: store unavailable: \"x\" <&>\n"},
		{"Accept: application/json\r\n", JSON,
		 "{\"error\":\"store unavailable: \\\"x\\\" <&>\"}"},
	};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		route("GET /", rows[i].accept);
		job.status = 503;
		job.error = "store unavailable: \"x\" <&>";
		render();
		assert_reply(503, rows[i].type, rows[i].body);
		assert_true(has("Retry-After: 1"));
		assert_null(strstr(text, "X-Visit-Counted"));
	}
	route("GET /", "Accept: text/html\r\n");
	job.status = 503;
	job.error = "<script>&";
	render();
	assert_null(strstr(body, "<script>"));
	assert_non_null(strstr(body, "&lt;script>&amp;"));
}

/* A reason of any length and with any bytes fits its buffers. */
static void test_long_error(void **state)
{
	static const char *const accepts[] = {"", "Accept: text/html\r\n",
					      "Accept: application/json\r\n"};
	static const char fills[] = "x<\x01\"\xff";
	char *error = test_malloc(20001);

	(void)state;
	error[20000] = '\0';
	for (size_t fill = 0; fill < sizeof(fills) - 1; fill++)
		for (size_t i = 0; i < 6; i++) {
			memset(error, fills[fill], 20000);
			route(i < 3 ? "GET /" : "GET /health", accepts[i % 3]);
			job.status = 503;
			job.error = error;
			render();
			assert_int_equal(status(), 503);
		}
	test_free(error);
}

/* What could not be parsed: the answer is text, or what Accept said. */
static void test_refuse(void **state)
{
	struct http_request *r = test_malloc(sizeof(*r));
	const char *why;
	static const char bytes[] = "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n"
				    "Accept: application/json\r\n\r\n";

	(void)state;
	memset(&job, 0xa5, sizeof(job));
	site_refuse(&job, NULL, 400, "a bad byte");
	assert_int_equal(job.call, CALL_NONE);
	assert_false(job.keep_alive);
	render();
	assert_reply(400, PLAIN, "400 Bad Request: a bad byte\n");
	assert_int_equal(http_parse(bytes, sizeof(bytes) - 1, r, &why), -400);
	memset(&job, 0xa5, sizeof(job));
	site_refuse(&job, r, 400, "a bad byte");
	render();
	assert_reply(400, JSON, "{\"error\":\"a bad byte\"}");
	test_free(r);
}

static void test_keep_alive(void **state)
{
	(void)state;
	route("GET /", "");
	assert_true(job.keep_alive);
	assert_int_equal(job.minor, 1);
	route("GET /", "Connection: close\r\n");
	assert_false(job.keep_alive);
	route("GET /nothing", "");
	assert_true(job.keep_alive);
}

static void test_items(void **state)
{
	static const char *const bad[] = {
		"0",  "01",	"a", "1a", "-1", "%20", "9223372036854775808",
		"1/", "1.json", "+1"};
	char line[64];

	(void)state;
	route("GET /items/7", "");
	assert_int_equal(job.call, CALL_ITEM);
	assert_int_equal(job.id, 7);
	job.item = SLICE("{\"id\":7,\"name\":\"a\",\"description\":null}");
	render();
	assert_reply(200, JSON,
		     "{\"id\":7,\"name\":\"a\",\"description\":null}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		snprintf(line, sizeof(line), "GET /items/%s", bad[i]);
		ask(line, "");
		assert_int_equal(status(), 404);
		assert_true(job.call == CALL_NONE);
	}
	ask("GET /items/", "");
	assert_int_equal(status(), 404);
	ask("GET /items", "");
	assert_int_equal(status(), 405);
	assert_true(has("Allow: POST, OPTIONS"));
	ask("POST /items/7", "");
	assert_int_equal(status(), 405);

	route("POST /items", "Content-Length: 5\r\n");
	assert_int_equal(job.status, 0);
	assert_int_equal(job.call, CALL_CREATE);
	route("POST /items",
	      "Content-Type: Application/JSON ; charset=utf-8\r\n");
	assert_int_equal(job.status, 0);
	ask("POST /items", "Content-Type: text/plain\r\n");
	assert_int_equal(status(), 415);
	ask("POST /items",
	    "Content-Type: text/plain\r\nContent-Length: 65537\r\n");
	assert_int_equal(status(), 413);
}

static void assert_counter(const char *line, const char *name,
			   enum reason reason)
{
	route(line, "");
	if (job.status)
		print_error("%s: %d %s\n", line, job.status, job.error);
	assert_int_equal(job.status, 0);
	assert_int_equal(job.call, CALL_ADD);
	assert_slice(job.counter, name);
	assert_int_equal(job.reason, reason);
}

/* Which counter a path means, escapes decoded and one suffix taken off. */
static void test_names(void **state)
{
	static const struct {
		const char *line, *name;
	} rows[] = {
		{"GET /hit", "homepage"},
		{"GET /hit.json", "homepage"},
		{"GET /hit/homepage", "homepage"},
		{"GET /%68it/homep%61ge%2etxt", "homepage"},
		{"GET /hit/a", "a"},
		{"GET /hit/A", "A"},
		{"GET /hit/blog/post-1", "blog/post-1"},
		{"GET /hit/a~._-9", "a~._-9"},
		{"GET /hit/%61%2Db", "a-b"},
		{"GET /hit/a.json", "a"},
		{"GET /hit/a.txt", "a"},
		{"GET /hit/a.txt.txt", "a.txt"},
		{"GET /hit/a.json.txt", "a.json"},
		{"GET /hit/a.svg.txt", "a.svg"},
		{"GET /hit/a.gif.json", "a.gif"},
		{"GET /hit/a.shields.json.txt", "a.shields.json"},
		{"GET /hit/a.shields", "a.shields"},
		{"GET /hit/a.html", "a.html"},
		{"GET /hit/a.JSON", "a.JSON"},
		{"GET /hit/...", "..."},
		{"GET /hit/..a/b..", "..a/b.."},
		{"GET /hit/hit", "hit"},
		{"GET /hit/a?b=c.json", "a"},
	};
	char line[512], name[STORE_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_counter(rows[i].line, rows[i].name, REASON_COUNTED);
	assert_counter("GET /visits/a/b", "a/b", REASON_READ);
	assert_counter("GET /visits/homepage", "homepage", REASON_READ);
	assert_counter("GET /get/a.json", "a", REASON_READ);
	assert_counter("HEAD /hit/a", "a", REASON_HEAD);
	/* The longest name, plain and with nothing but escapes */
	memset(name, 'A', STORE_NAME_MAX);
	name[STORE_NAME_MAX] = '\0';
	snprintf(line, sizeof(line), "GET /hit/%s.shields.json.txt", name);
	route(line, "");
	assert_int_equal(job.status, 400);
	snprintf(line, sizeof(line), "GET /hit/%s.json", name);
	assert_counter(line, name, REASON_COUNTED);
	char *to = line + sprintf(line, "GET /hit/");
	for (int i = 0; i < STORE_NAME_MAX; i++)
		to += sprintf(to, "%%41");
	sprintf(to, "%%2ejson");
	assert_counter(line, name, REASON_COUNTED);
	assert_int_equal(job.media, MEDIA_JSON);
}

/* What can be no name is 400, on every method, and the connection goes on. */
static void test_bad_names(void **state)
{
	static const char *const names[] = {
		"",	  "/",	      "a//",   "/a",	     "a//b",
		".",	  "..",	      "a/..",  "./a",	     "a/./b",
		"a%2Fb",  "a%2fb",    "a%20b", "a%c3",	     "a%25b",
		"%2f",	  "a%2F.txt", ".txt",  ".json",	     "a//.json",
		"%2e%2e", "a/%2e",    "a%5c",  "a%e2%80%8b", "a%c2%a0b",
		"a%3cb",  "a%22"};
	static const char *const methods[] = {
		"GET /hit/",	"HEAD /visits/",   "GET /get/",
		"PUT /visits/", "DELETE /visits/", "PATCH /hit/",
		"OPTIONS /hit/"};
	char line[8000];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		for (size_t k = 0; k < 7; k++) {
			sprintf(line, "%s%s", methods[k], names[i]);
			ask(line, "");
			if (status() != 400)
				print_error("%s\n", line);
			assert_int_equal(status(), 400);
			assert_int_equal(job.call, CALL_NONE);
			assert_true(job.keep_alive);
			assert_null(strstr(text, "X-Visit-Counted"));
		}
	for (size_t n = STORE_NAME_MAX + 1; n < 7900; n += 131)
		for (int escaped = 0; escaped < 2; escaped++) {
			char *to = line + sprintf(line, escaped ? "GET /h%%69t/"
								: "GET /hit/");

			memset(to, 'x', n);
			to[n] = '\0';
			ask(line, "");
			assert_int_equal(status(), 400);
			assert_non_null(strstr(body, "over 100 bytes"));
		}
}

/* The badges' suffixes are theirs: nothing is counted under them. */
static void test_reserved(void **state)
{
	static const char *const paths[] = {"/hit.svg",
					    "/hit/a.svg",
					    "/hit/a.gif",
					    "/visits.gif",
					    "/visits/a.svg",
					    "/visits.shields.json",
					    "/get/a.shields.json",
					    "/hit/a.txt.svg"};
	static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
	char line[64];

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		for (size_t k = 0; k < 4; k++) {
			sprintf(line, "%s %s", methods[k], paths[i]);
			ask(line, "");
			assert_int_equal(status(), 404);
			assert_int_equal(job.call, CALL_NONE);
		}
}

static void test_named(void **state)
{
	static const char named[] =
		"{\"counter\":\"blog/post-1\",\"value\":42,\"today\":3}";

	(void)state;
	ask("GET /hit/blog/post-1", "");
	assert_reply(200, JSON, named);
	assert_true(has(fresh));
	assert_true(has("X-Visit-Counted: 1"));
	assert_true(has(vary));
	assert_null(strstr(text, "Set-Cookie"));
	ask("GET /visits/blog/post-1", "");
	assert_reply(200, PLAIN, "42\n");
	ask("GET /get/blog/post-1.txt", "");
	assert_reply(200, PLAIN, "42\n");
	assert_false(has(vary));
	ask("GET /hit/blog/post-1.json", "");
	assert_reply(200, JSON, named);
	ask("GET /visits/blog/post-1", "Accept: application/json\r\n");
	assert_reply(200, JSON, named);
	assert_true(has("X-Visit-Counted: 0; reason=read"));
	ask("GET /hit/blog/post-1", "Accept: text/html\r\n");
	assert_int_equal(status(), 200);
	assert_non_null(strstr(body, "<h1>Visits of blog/post-1</h1>"));
	assert_non_null(strstr(body, "href=\"../../visits/blog/post-1.json\""));
	assert_non_null(strstr(text, "Content-Security-Policy: "));
	assert_null(strstr(body, "{{"));
	assert_true(strlen(text) <= job.size + 1024);
	ask("GET /hit.json", "");
	assert_non_null(
		strstr(body, "{\"counter\":\"homepage\",\"value\":42,"));
	ask("GET /get", "");
	assert_non_null(
		strstr(body, "{\"counter\":\"homepage\",\"value\":42,"));
	ask("GET /hit.txt", "");
	assert_reply(200, PLAIN, "42\n");
	ask("POST /hit/blog/post-1/", "Content-Length: 5\r\n");
	assert_int_equal(job.reason, REASON_COUNTED);
	assert_reply(200, JSON, named);
	assert_true(has("Cross-Origin-Resource-Policy: cross-origin"));
	assert_true(has("Access-Control-Expose-Headers: X-Visit-Counted"));
	/* What a name has, and HTML and references do not take */
	ask("GET /visits/a%26b'%C3%A4", "Accept: text/html\r\n");
	assert_non_null(strstr(body, "<h1>Visits of a&amp;b'\xc3\xa4</h1>"));
	assert_non_null(strstr(body, "href=\"../visits/a%26b%27%C3%A4.json\""));
	assert_null(strstr(text, "Cross-Origin-Resource-Policy"));
}

/* A counter that is not there: a read says so, others show 0. */
static void test_unknown(void **state)
{
	static const struct {
		const char *line, *fields;
		int status;
		const char *body;
	} rows[] = {
		{"GET /visits/x.json", "", 404,
		 "{\"error\":\"no counter \\\"x\\\"\"}"},
		{"GET /get/x", "", 404,
		 "{\"error\":\"no counter \\\"x\\\"\",\"value\":null}"},
		{"GET /get/x.txt", "", 404,
		 "404 Not Found: no counter \"x\"\n"},
		{"HEAD /visits/x", "", 404, ""},
		{"HEAD /hit/x.txt", "", 200, ""},
		{"GET /hit/x.json", "Purpose: prefetch\r\n", 200,
		 "{\"counter\":\"x\",\"value\":0,\"today\":0}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		route(rows[i].line, rows[i].fields);
		site_unknown(&job);
		render();
		assert_int_equal(status(), rows[i].status);
		assert_string_equal(body, rows[i].body);
	}
}

/* PUT and DELETE: 405 before 403 and 401, and these before the body */
static void test_admin(void **state)
{
	static const char *const others[] = {
		"",
		"Authorization: Bearer\r\n",
		"Authorization: Bearer \r\n",
		"Authorization: secret\r\n",
		"Authorization: Basic secret\r\n",
		"Authorization: Bearer Secret\r\n",
		"Authorization: Bearer secre\r\n",
		"Authorization: Bearer secrets\r\n",
		"Authorization: Bearer secretsecret\r\n",
		"Authorization: Bearer secret secret\r\n",
		"Authorization: Bearer, secret\r\n",
		"Authorization: Bearersecret\r\n",
		"Authorization: Bearer secret\r\nAuthorization: x\r\n",
		"X-Authorization: Bearer secret\r\n",
	};
	static const char *const own[] = {
		"Authorization: Bearer secret\r\n",
		"authorization: bEARER secret\r\n",
		"Authorization:  Bearer   secret \r\n"};
	static const enum site_call calls[] = {CALL_SET, CALL_SET, CALL_DROP};
	static const char *const lines[] = {"PUT /visits", "PUT /visits/a",
					    "DELETE /visits/a"};
	static const char bad[] = "Content-Type: text/plain\r\n"
				  "Content-Length: 65537\r\n";

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		settings.admin_token = NULL;
		ask(lines[i], own[0]);
		assert_int_equal(status(), 403);
		ask(lines[i], bad);
		assert_int_equal(status(), 403);
		settings.admin_token = "secret";
		for (size_t k = 0; k < sizeof(others) / sizeof(*others); k++) {
			ask(lines[i], others[k]);
			assert_int_equal(status(), 401);
			assert_true(has("WWW-Authenticate: Bearer"));
			assert_true(has("Content-Type: " JSON));
			assert_null(strstr(text, "secret"));
			assert_int_equal(job.call, CALL_NONE);
		}
		ask(lines[i], bad);
		assert_int_equal(status(), 401);
		for (size_t k = 0; k < sizeof(own) / sizeof(*own); k++) {
			route(lines[i], own[k]);
			assert_int_equal(job.status, 0);
			assert_int_equal(job.call, calls[i]);
			assert_slice(job.counter, i ? "a" : STORE_HOME);
		}
	}
	ask("DELETE /visits", "");
	assert_int_equal(status(), 405);
	assert_true(has("Allow: GET, HEAD, PUT, OPTIONS"));
	ask("DELETE /visits/homepage", own[0]);
	assert_int_equal(status(), 405);
	assert_true(has("Allow: GET, HEAD, PUT, OPTIONS"));
	ask("PUT /hit/a", own[0]);
	assert_int_equal(status(), 405);
	ask("PUT /get/a", own[0]);
	assert_int_equal(status(), 405);
	ask("POST /visits/a", own[0]);
	assert_int_equal(status(), 405);
	assert_true(has("Allow: GET, HEAD, PUT, DELETE, OPTIONS"));
	ask("OPTIONS /visits/a", "");
	assert_int_equal(status(), 204);
	assert_true(has("Access-Control-Allow-Methods: "
			"GET, HEAD, PUT, DELETE, OPTIONS"));
	settings.admin_token = NULL;
}

static void test_put_bodies(void **state)
{
	static const char *const bodies[] = {
		"",
		"7",
		"{}",
		"{\"Value\":1}",
		"{\"value\":null}",
		"{\"value\":\"1\"}",
		"{\"value\":true}",
		"{\"value\":[1]}",
		"{\"value\":-1}",
		"{\"value\":-0}",
		"{\"value\":1.0}",
		"{\"value\":1e3}",
		"{\"value\":01}",
		"{\"value\":9223372036854775808}",
		"{\"value\":1,\"value\":1}",
	};
	static const char token[] = "Authorization: Bearer secret\r\n";

	(void)state;
	settings.admin_token = "secret";
	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		route("PUT /visits/a", token);
		read_body(bodies[i]);
		render();
		if (status() != 400)
			print_error("%s\n", bodies[i]);
		assert_int_equal(status(), 400);
		assert_true(has("Content-Type: " JSON));
		assert_non_null(strstr(body, i > 1 && i != 12 && i != 14
						     ? "\\\"value\\\" is "
						     : "the body: "));
	}
	ask("PUT /visits/a", "Authorization: Bearer secret\r\n"
			     "Content-Type: text/plain\r\n");
	assert_int_equal(status(), 415);
	settings.admin_token = NULL;
}

/* The cookie that a counted answer sets is known again, for its counter and
 * its time only. */
static void test_repeat(void **state)
{
	static const struct {
		long long then;
		const char *before, *after;
		enum reason reason;
	} rows[] = {
		{0, "", "", REASON_REPEAT},
		{-59, "", "", REASON_REPEAT},
		{-60, "", "", REASON_COUNTED},
		{1, "", "", REASON_COUNTED},
		{0, "a=b; ", "; c=d", REASON_REPEAT},
		{0, "a=b;", ";", REASON_REPEAT},
		{0, "", "x", REASON_COUNTED},
		{0, "x", "", REASON_COUNTED},
		{0, "a=", "", REASON_COUNTED},
	};
	char fields[256], name[32];
	const char *at;

	(void)state;
	settings.repeat_window = 60;
	ask("GET /hit/a", "");
	at = strstr(text, "\r\nSet-Cookie: visitd-");
	assert_true(at && at < body);
	assert_non_null(strstr(at, "=1795172400; Max-Age=60; Path=/; "
				   "SameSite=Lax; HttpOnly\r\n"));
	snprintf(name, sizeof(name), "%.23s", at + 14);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		snprintf(fields, sizeof(fields), "Cookie: %s%s=%lld%s\r\n",
			 rows[i].before, name,
			 (long long)moment.now + rows[i].then, rows[i].after);
		ask("GET /hit/a", fields);
		if (job.reason != rows[i].reason)
			print_error("%s\n", fields);
		assert_int_equal(job.reason, rows[i].reason);
		assert_true(has(job.reason == REASON_REPEAT
					? "X-Visit-Counted: 0; reason=repeat"
					: "X-Visit-Counted: 1"));
		assert_int_equal(!strstr(text, "Set-Cookie"),
				 job.reason == REASON_REPEAT);
	}
	snprintf(fields, sizeof(fields), "Cookie: %s=1795172400\r\n", name);
	ask("GET /hit/b", fields);
	assert_int_equal(job.reason, REASON_COUNTED);
	ask("GET /", fields);
	assert_int_equal(job.reason, REASON_COUNTED);
	assert_non_null(strstr(text, "\r\nSet-Cookie: visitd-"));
	ask("HEAD /hit/a", fields);
	assert_int_equal(job.reason, REASON_HEAD);
	ask("GET /visits/a", "");
	assert_null(strstr(text, "Set-Cookie"));
	route("GET /hit/a", "");
	job.status = 503;
	render();
	assert_null(strstr(text, "Set-Cookie"));
	settings.repeat_window = 0;
	ask("GET /hit/a", fields);
	assert_int_equal(job.reason, REASON_COUNTED);
}

/* Bodies that are refused before the store is asked, and what is said. */
static void test_item_bodies(void **state)
{
	static const struct {
		const char *body, *field;
	} rows[] = {
		{"", "body"},
		{"x", "body"},
		{"[]", "body"},
		{"{\"name\":\"a\"", "body"},
		{"{\"name\":\"a\",\"name\":\"b\"}", "body"},
		{"{\"name\":\"\xff\"}", "body"},
		{"{}", "name"},
		{"{\"description\":\"a\"}", "name"},
		{"{\"name\":null}", "name"},
		{"{\"name\":5}", "name"},
		{"{\"name\":[\"a\"]}", "name"},
		{"{\"name\":\"\"}", "name"},
		{"{\"name\":\"a\",\"description\":5}", "description"},
		{"{\"name\":\"a\",\"description\":false}", "description"},
		{"{\"name\":\"a\",\"description\":{}}", "description"},
	};
	char *large = test_malloc(12000);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		route("POST /items", "");
		read_body(rows[i].body);
		render();
		if (status() != 400)
			print_error("%s\n", rows[i].body);
		assert_int_equal(status(), 400);
		assert_true(has("Content-Type: " JSON));
		assert_non_null(strstr(body, rows[i].field));
	}
	route("POST /items", "");
	sprintf(large, "{\"name\":\"%0201d\"}", 0);
	read_body(large);
	assert_int_equal(job.status, 400);
	route("POST /items", "");
	sprintf(large, "{\"name\":\"a\",\"description\":\"%010001d\"}", 0);
	read_body(large);
	assert_int_equal(job.status, 400);
	test_free(large);
}

/* The reply to a long query fits into what the job asks for; no byte before or
 * behind the path is looked at. */
static void test_base_path(void **state)
{
	static char line[HTTP_LINE_MAX + 1] = "GET /counter?";

	(void)state;
	settings.base_path = "/counter";
	ask("GET /counter/hit/a:b/", "Accept: text/html\r\n");
	assert_int_equal(status(), 200);
	assert_slice(job.counter, "a:b");
	assert_non_null(strstr(body, "href=\"../../visits/a%3Ab.json\""));
	ask("GET /c", "");
	assert_int_equal(status(), 404);
	ask("OPTIONS *", "");
	assert_int_equal(status(), 204);
	memset(line + strlen(line), 'x', 8000);
	ask(line, "");
	assert_int_equal(status(), 308);
	assert_true(job.size >= strlen(text));
	assert_non_null(strstr(text, "\r\nLocation: counter/?xxx"));
	settings.base_path = NULL;
	ask(line, "");
	assert_int_equal(status(), 404);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_home_page),
		cmocka_unit_test(test_largest),
		cmocka_unit_test(test_visits),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_static),
		cmocka_unit_test(test_head),
		cmocka_unit_test(test_prefetch),
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_not_found),
		cmocka_unit_test(test_error_media),
		cmocka_unit_test(test_method_not_allowed),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_store_is_down),
		cmocka_unit_test(test_long_error),
		cmocka_unit_test(test_refuse),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_items),
		cmocka_unit_test(test_item_bodies),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_named),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_admin),
		cmocka_unit_test(test_put_bodies),
		cmocka_unit_test(test_repeat),
		cmocka_unit_test(test_base_path),
	};

	site_open(&settings, &process);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
