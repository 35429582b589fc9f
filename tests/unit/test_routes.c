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

static struct job job;
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
	site_route(r, &job);
	if (job.status)
		assert_int_equal(job.call, CALL_NONE);
	job.total = 42;
	job.today = 3;
	test_free(r);
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
		     "{\"visits\":42,\"today\":3,"
		     "\"time\":\"2026-11-20T12:00:00+01:00\"}");
	ask("GET /visits.json", "Accept: text/plain\r\n");
	assert_int_equal(job.reason, REASON_READ);
	assert_reply(200, JSON,
		     "{\"visits\":42,\"today\":3,"
		     "\"time\":\"2026-11-20T12:00:00+01:00\"}");
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
		"X-Moz: prefetch\r\n",
		"Purpose: x\r\nX-Moz: prefetch\r\n",
	};
	static const char *const others[] = {
		"Purpose: preview\r\n", "Purpose:\r\n",
		"Purpose: prefetching\r\n", "X-Purpose: prefetch\r\n"};

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
		assert_true(has("Allow: GET, HEAD, OPTIONS"));
		assert_true(has("Access-Control-Allow-Methods: "
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
					    "/visits/",	   "/Visits",
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
			/* The contract's, once it is served. */
			if (k == 1 && i == 1)
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
			job.error = site_keep_error(error);
			assert_true(strlen(job.error) <= 2000);
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
	assert_int_equal(job.call, CALL_CHANGE);
	route("POST /items",
	      "Content-Type: Application/JSON ; charset=utf-8\r\n");
	assert_int_equal(job.status, 0);
	ask("POST /items", "Content-Type: text/plain\r\n");
	assert_int_equal(status(), 415);
	ask("POST /items",
	    "Content-Type: text/plain\r\nContent-Length: 65537\r\n");
	assert_int_equal(status(), 413);
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
		job.body = slice_of(rows[i].body);
		site_change(&job);
		render();
		if (status() != 400)
			print_error("%s\n", rows[i].body);
		assert_int_equal(status(), 400);
		assert_true(has("Content-Type: " JSON));
		assert_non_null(strstr(body, rows[i].field));
	}
	route("POST /items", "");
	sprintf(large, "{\"name\":\"%0201d\"}", 0);
	job.body = slice_of(large);
	site_change(&job);
	assert_int_equal(job.status, 400);
	route("POST /items", "");
	sprintf(large, "{\"name\":\"a\",\"description\":\"%010001d\"}", 0);
	job.body = slice_of(large);
	site_change(&job);
	assert_int_equal(job.status, 400);
	test_free(large);
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
