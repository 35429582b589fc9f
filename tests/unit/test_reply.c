/* Replies byte for byte, written into exactly the room that they may need. */
#include "http/reply.h"
#include "tests/unit/unit.h"
#include "util/date.h"

#include <stdio.h>
#include <string.h>

static const char date[] = "Sun, 06 Nov 1994 08:49:37 GMT";

static void assert_written(const struct http_reply *reply, const char *wanted)
{
	size_t bound = http_reply_bound(reply);
	char *out = guard_end() - bound;
	size_t n = http_reply_write(out, reply, date);

	if (n != strlen(wanted) || memcmp(out, wanted, n) != 0)
		print_error("%.*s\nand not\n%s\n", (int)n, out, wanted);
	assert_int_equal(n, strlen(wanted));
	assert_memory_equal(out, wanted, n);
	assert_true(n <= bound);
}

static void test_ordinary(void **state)
{
	struct http_reply reply = {
		.status = 200,
		.type = SLICE("text/plain; charset=utf-8"),
		.body = SLICE("42\n"),
		.vary = SLICE("Vary: Accept\r\n"),
		.own = SLICE("A: b\r\nC: d\r\n"),
	};

	(void)state;
	assert_written(&reply, "HTTP/1.1 200 OK\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Type: text/plain; charset=utf-8\r\n"
			       "Content-Length: 3\r\n"
			       "Vary: Accept\r\n"
			       "A: b\r\n"
			       "C: d\r\n"
			       "\r\n"
			       "42\n");
	/* HEAD: the same, without the body */
	reply.head = true;
	assert_written(&reply, "HTTP/1.1 200 OK\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Type: text/plain; charset=utf-8\r\n"
			       "Content-Length: 3\r\n"
			       "Vary: Accept\r\n"
			       "A: b\r\n"
			       "C: d\r\n"
			       "\r\n");
}

static void test_connection(void **state)
{
	struct http_reply reply = {.status = 404, .body = SLICE("x")};

	(void)state;
	assert_written(&reply, "HTTP/1.1 404 Not Found\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Length: 1\r\n\r\nx");
	reply.close = true;
	assert_written(&reply, "HTTP/1.1 404 Not Found\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Length: 1\r\n"
			       "Connection: close\r\n\r\nx");
	/* Close is the last word. */
	reply.keep_alive = true;
	assert_written(&reply, "HTTP/1.1 404 Not Found\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Length: 1\r\n"
			       "Connection: close\r\n\r\nx");
	reply.close = false;
	assert_written(&reply, "HTTP/1.1 404 Not Found\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Length: 1\r\n"
			       "Connection: keep-alive\r\n\r\nx");
}

/* RFC 9110 8.6: no Content-Length on 204 */
static void test_no_content(void **state)
{
	const struct http_reply reply = {
		.status = 204,
		.own = SLICE("Allow: GET, HEAD, OPTIONS\r\n"),
	};

	(void)state;
	assert_written(&reply, "HTTP/1.1 204 No Content\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Allow: GET, HEAD, OPTIONS\r\n\r\n");
}

static void test_empty_body(void **state)
{
	const struct http_reply reply = {.status = 200};

	(void)state;
	assert_written(&reply, "HTTP/1.1 200 OK\r\n"
			       "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
			       "Content-Length: 0\r\n\r\n");
}

/* A body may hold any bytes. */
static void test_binary_body(void **state)
{
	char body[256];
	const struct http_reply reply = {.status = 200,
					 .body = {body, sizeof(body)}};

	(void)state;
	for (int i = 0; i < 256; i++)
		body[i] = (char)i;
	char *out = guard_end() - http_reply_bound(&reply);
	size_t n = http_reply_write(out, &reply, date);
	assert_memory_equal(out + n - sizeof(body), body, sizeof(body));
}

static const struct {
	int status;
	const char *reason;
} reasons[] = {
	{200, "OK"},
	{201, "Created"},
	{204, "No Content"},
	{400, "Bad Request"},
	{401, "Unauthorized"},
	{403, "Forbidden"},
	{404, "Not Found"},
	{405, "Method Not Allowed"},
	{408, "Request Timeout"},
	{413, "Content Too Large"},
	{414, "URI Too Long"},
	{415, "Unsupported Media Type"},
	{417, "Expectation Failed"},
	{431, "Request Header Fields Too Large"},
	{500, "Internal Server Error"},
	{501, "Not Implemented"},
	{503, "Service Unavailable"},
	{505, "HTTP Version Not Supported"},
	{507, "Insufficient Storage"},
};
enum { REASONS = sizeof(reasons) / sizeof(*reasons) };

static void test_reasons(void **state)
{
	char wanted[128];

	(void)state;
	for (size_t i = 0; i < REASONS; i++) {
		const struct http_reply reply = {.status = reasons[i].status};

		assert_slice(http_reason(reasons[i].status), reasons[i].reason);
		snprintf(wanted, sizeof(wanted), "HTTP/1.1 %d %s\r\n",
			 reasons[i].status, reasons[i].reason);
		char *out = guard_end() - http_reply_bound(&reply);
		http_reply_write(out, &reply, date);
		assert_memory_equal(out, wanted, strlen(wanted));
	}
	/* What is not in the table is our own fault. */
	assert_slice(http_reason(299), "Internal Server Error");
}

/* Whatever is in a reply, it fits: the guard page would tell. */
static void test_bound(void **state)
{
	static const size_t sizes[] = {0, 1, 9, 10, 99, 100, 9999, 100000};
	char *text = test_malloc(200000);

	(void)state;
	memset(text, 'x', 200000);
	for (size_t i = 0; i < REASONS; i++)
		for (size_t size = 0; size < 8; size++)
			for (unsigned flags = 0; flags < 32; flags++) {
				const struct slice some = {text, sizes[size]};
				struct http_reply reply = {
					.status = reasons[i].status,
					.close = flags & 1,
					.keep_alive = flags & 2,
					.head = flags & 4,
				};

				if (reply.status != 204)
					reply.body = some;
				if (flags & 8)
					reply.type = some;
				if (flags & 16)
					reply.common = reply.vary =
						reply.cache = reply.own =
							(struct slice){
								text, size * 3};
				size_t bound = http_reply_bound(&reply);
				char *out = guard_end() - bound;
				assert_true(http_reply_write(out, &reply,
							     date) <= bound);
			}
	test_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ordinary),
		cmocka_unit_test(test_connection),
		cmocka_unit_test(test_no_content),
		cmocka_unit_test(test_empty_body),
		cmocka_unit_test(test_binary_body),
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
