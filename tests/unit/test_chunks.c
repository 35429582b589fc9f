/*
 * Chunked bodies: each is decoded whole, in two pieces of every size, and byte
 * by byte, always with the last byte that has come before a guard page.
 */
#include "http/chunks.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define BYTES(text) .bytes = text, .len = sizeof(text) - 1

struct row {
	const char *bytes;
	size_t len;
	int result;	  /* 1, 0 or minus the status */
	const char *body; /* of result 1 and 0: what is decoded; NULL: "" */
	const char *rest; /* of result 1: what stands behind it; NULL: "" */
};

static const struct row rows[] = {
	{BYTES("0\r\n\r\n"), .result = 1},
	{BYTES("5\r\nhello\r\n0\r\n\r\n"), .result = 1, .body = "hello"},
	{BYTES("1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"), .result = 1,
	 .body = "abcdef"},
	{BYTES("a\r\n0123456789\r\n0\r\n\r\n"), .result = 1,
	 .body = "0123456789"},
	{BYTES("A\r\n0123456789\r\n0\r\n\r\n"), .result = 1,
	 .body = "0123456789"},
	{BYTES("0000000000000005\r\nhello\r\n000\r\n\r\n"), .result = 1,
	 .body = "hello"},
	{BYTES("4\r\n\r\n\r\n\r\n0\r\n\r\n"), .result = 1, .body = "\r\n\r\n"},
	{BYTES("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), .result = 1,
	 .body = "0\r\n\r\n"},
	/* A pipelined request stays where it is. */
	{BYTES("1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), .result = 1,
	 .body = "a", .rest = "GET / HTTP/1.1\r\n\r\n"},
	{BYTES("0\r\n\r\n0\r\n\r\n"), .result = 1, .rest = "0\r\n\r\n"},
	{BYTES("0\r\n\r\n\r\n"), .result = 1, .rest = "\r\n"},
	/* Extensions and trailers are read and dropped. */
	{BYTES("5;a=b\r\nhello\r\n0;c\r\n\r\n"), .result = 1, .body = "hello"},
	{BYTES("5 ; a = \"b;c\"\r\nhello\r\n0\r\n\r\n"), .result = 1,
	 .body = "hello"},
	{BYTES("0\r\nX: y\r\n\r\n"), .result = 1},
	{BYTES("1\r\na\r\n0\r\nX:\r\nContent-Length: 5\r\n\r\nGET"),
	 .result = 1, .body = "a", .rest = "GET"},
	/* More is needed. */
	{BYTES(""), .result = 0},
	{BYTES("5"), .result = 0},
	{BYTES("5\r"), .result = 0},
	{BYTES("5;a"), .result = 0},
	{BYTES("5\r\nhel"), .result = 0, .body = "hel"},
	{BYTES("5\r\nhello"), .result = 0, .body = "hello"},
	{BYTES("5\r\nhello\r\n"), .result = 0, .body = "hello"},
	{BYTES("5\r\nhello\r\n0\r\n"), .result = 0, .body = "hello"},
	{BYTES("5\r\nhello\r\n0\r\nX: y\r\n"), .result = 0, .body = "hello"},
	{BYTES("5\r\nhello\r\n0\r\nX: y\r\n\r"), .result = 0, .body = "hello"},
	/* Sizes are hexadecimal digits alone. */
	{BYTES("\r\n"), .result = -400},
	{BYTES("\n"), .result = -400},
	{BYTES("x\r\n"), .result = -400},
	{BYTES(" 5\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5 \r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("+5\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("-5\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("-0\r\n\r\n"), .result = -400},
	{BYTES("0x5\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5_0\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5,\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5h\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5\0\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("\xb2\r\n"), .result = -400},
	{BYTES(";a\r\n\r\n"), .result = -400},
	{BYTES("5;a\t\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a=\"b\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("00000000000000005\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("10000000000000000\r\n"), .result = -400},
	{BYTES("10000000000000005\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("ffffffffffffffff\r\n"), .result = -413},
	{BYTES("fffffffffffffffff\r\n"), .result = -400},
	{BYTES("7fffffffffffffff\r\n"), .result = -413},
	{BYTES("1\r\na\r\nffffffffffffffff\r\n"), .result = -413},
	{BYTES("10001\r\n"), .result = -413},
	/* Extensions have a name, and a value if they have an "=". */
	{BYTES("5;\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a \r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a b\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a=\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;=b\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a=\"b\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a=\"b\\\"\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5 a=b\r\nhello\r\n0\r\n\r\n"), .result = -400},
	/* Line ends are CR LF. */
	{BYTES("5\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5\rhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5\r\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a\x01\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5;a\x7f\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("5\r\nhello0\r\n\r\n"), .result = -400},
	{BYTES("5\r\nhello\n0\r\n\r\n"), .result = -400},
	{BYTES("5\r\nhello\r0\r\n\r\n"), .result = -400},
	{BYTES("5\r\nhello!\r\n0\r\n\r\n"), .result = -400},
	{BYTES("6\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("4\r\nhello\r\n0\r\n\r\n"), .result = -400},
	{BYTES("0\r\n\n"), .result = -400},
	{BYTES("0\n\r\n"), .result = -400},
	{BYTES("0\r\n\rX"), .result = -400},
	/* Trailers are fields like any other. */
	{BYTES("0\r\nX y\r\n\r\n"), .result = -400},
	{BYTES("0\r\nX : y\r\n\r\n"), .result = -400},
	{BYTES("0\r\n X: y\r\n\r\n"), .result = -400},
	{BYTES("0\r\nX: y\n\r\n"), .result = -400},
	{BYTES("0\r\nX: y\r\n z\r\n\r\n"), .result = -400},
	{BYTES("0\r\nX: \x01\r\n\r\n"), .result = -400},
	{BYTES("0\r\nGET / HTTP/1.1\r\n\r\n"), .result = -400},
};

/* A decoder under way, and where its bytes stand. */
struct run {
	struct http_chunks chunks;
	char *body;
	size_t have;
	int result;
};

static void feed(struct run *run, const char *bytes, size_t len)
{
	char *body = guard_end() - run->have - len;

	if (run->have > 0)
		memmove(body, run->body, run->have);
	if (len > 0)
		memcpy(body + run->have, bytes, len);
	run->body = body;
	run->have += len;
	run->result = http_dechunk(&run->chunks, body, &run->have);
	assert_true(run->chunks.len <= run->have);
	assert_true(run->chunks.len <= HTTP_BODY_MAX);
	assert_true(body + run->have <= guard_end());
}

/* `fed` of the row's bytes have been; what must be true now. */
static bool is_right(const struct run *run, const struct row *row, size_t fed)
{
	const char *body = row->body ? row->body : "";
	const char *rest = row->rest ? row->rest : "";
	bool last = fed == row->len || run->result != 0;

	if (run->result < 0)
		return run->result == row->result;
	if (last && run->result != row->result)
		return false;
	if (row->result < 0) /* not yet */
		return run->result == 0;
	if (run->chunks.len > strlen(body) ||
	    memcmp(run->body, body, run->chunks.len) != 0)
		return false;
	/* Encoded bytes are read, or still there, or have not come. */
	if (run->chunks.used + run->have - run->chunks.len != fed)
		return false;
	if (last && run->chunks.len != strlen(body))
		return false;
	if (run->result == 0)
		return true;
	size_t rest_here = run->have - run->chunks.len;
	size_t rest_len = rest_here + (row->len - fed);
	return rest_len == strlen(rest) &&
	       memcmp(run->body + run->chunks.len, rest, rest_here) == 0;
}

static bool check_in_steps(const struct row *row, size_t first, size_t step)
{
	struct run run = {.result = 0};
	size_t fed = 0;

	while (run.result == 0) {
		size_t n = fed == 0 && first > 0 ? first : step;

		if (n > row->len - fed)
			n = row->len - fed;
		feed(&run, row->bytes + fed, n);
		fed += n;
		if (!is_right(&run, row, fed)) {
			print_error("%zu bytes, then %zu by %zu, of \"%.200s\" "
				    "(%zu): after %zu %d\n",
				    first, step, step, row->bytes, row->len,
				    fed, run.result);
			return false;
		}
		if (fed == row->len)
			break;
	}
	return true;
}

static bool check(const struct row *row)
{
	size_t stride =
		(row->len < 4096 ? 1 : row->len / 499) * (size_t)unit_share();
	bool ok = true;

	for (size_t first = 0; ok && first <= row->len; first += stride)
		ok = check_in_steps(row, first, row->len ? row->len : 1);
	for (size_t step = stride; ok && step <= 3 * stride;
	     step += (size_t)unit_share())
		ok = check_in_steps(row, 0, step);
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

/* A size line is judged when it is whole or too long, and not waited for
 * without bound. */
static void test_bounded_lines(void **state)
{
	static const struct {
		const char *start;
		char fill;
		size_t most; /* bytes of fill that may be waited behind */
		int status;
	} lines[] = {
		{"", '0', 16, -400},	       {"5;", 'a', 4096, -400},
		{"5 ", ' ', 4096, -400},       {"0\r\nX", 'a', 16384, -431},
		{"0\r\nX:", 'a', 16384, -431}, {"0\r\nX: ", ' ', 16384, -431},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct run run = {.result = 0};
		size_t n = 0;

		feed(&run, lines[i].start, strlen(lines[i].start));
		while (run.result == 0 && n <= lines[i].most + 1) {
			feed(&run, &lines[i].fill, 1);
			n++;
		}
		assert_int_equal(run.result, lines[i].status);
	}
}

/* `size` bytes of body in chunks of `chunk` */
static struct row body_row(char *bytes, char *body, size_t size, size_t chunk)
{
	char *p = bytes;

	for (size_t i = 0; i < size; i++)
		body[i] = (char)('a' + i % 23);
	body[size] = '\0';
	for (size_t at = 0; at < size; at += chunk) {
		size_t n = size - at < chunk ? size - at : chunk;

		p += sprintf(p, "%zx\r\n", n);
		memcpy(p, body + at, n);
		p += n;
		p += sprintf(p, "\r\n");
	}
	p += sprintf(p, "0\r\n\r\nrest");
	return (struct row){.bytes = bytes,
			    .len = (size_t)(p - bytes),
			    .result = size > HTTP_BODY_MAX ? -413 : 1,
			    .body = body,
			    .rest = "rest"};
}

static void test_body_limit(void **state)
{
	static const size_t chunks[] = {1, 100, 4096, 65535, 65536, 70000};
	char *bytes = test_malloc(512 * 1024);
	char *body = test_malloc(HTTP_BODY_MAX + 16);

	(void)state;
	for (size_t size = HTTP_BODY_MAX - 1; size <= HTTP_BODY_MAX + 1; size++)
		for (size_t i = 0; i < sizeof(chunks) / sizeof(*chunks); i++) {
			struct row row = body_row(bytes, body, size, chunks[i]);

			assert_true(check_in_steps(&row, 0, row.len));
			assert_true(check_in_steps(&row, 0, 1461));
			assert_true(check_in_steps(&row, 65537, 4093));
		}
	test_free(bytes);
	test_free(body);
}

static void test_extension_limits(void **state)
{
	char *bytes = test_malloc(65536);

	(void)state;
	for (size_t n = 4094; n <= 4098; n++) {
		char *p = bytes;

		*p++ = '0';
		memset(p, 'a', n);
		*p = ';';
		memcpy(p + n, "\r\n\r\n", 4);
		const struct row row = {.bytes = bytes,
					.len = n + 5,
					.result = n > 4096 ? -400 : 1};
		assert_true(check(&row));
	}
	/* Of all chunks together: 16 KiB. */
	for (size_t chunks = 15; chunks <= 18; chunks++) {
		char *p = bytes;

		for (size_t i = 0; i < chunks; i++) {
			*p++ = '1';
			memset(p, 'a', 1024);
			*p = ';';
			p += 1024;
			memcpy(p, "\r\nx\r\n", 5);
			p += 5;
		}
		memcpy(p, "0\r\n\r\n", 5);
		struct row row = {.bytes = bytes,
				  .len = (size_t)(p + 5 - bytes),
				  .result = chunks > 16 ? -400 : 1,
				  .body = "xxxxxxxxxxxxxxxx"};
		if (chunks < 16)
			row.body++;
		assert_true(check(&row));
	}
	test_free(bytes);
}

static void test_trailer_limit(void **state)
{
	char *bytes = test_malloc(65536);

	(void)state;
	for (size_t line = 64; line <= 16384; line *= 16)
		for (size_t over = 0; over < 2; over++) {
			size_t left = HTTP_SECTION_MAX + over;
			char *p = bytes;

			memcpy(p, "0\r\n", 3);
			p += 3;
			while (left > 0) {
				size_t n = left < line + 8 ? left : line;

				memcpy(p, "X:", 2);
				memset(p + 2, 'y', n - 4);
				memcpy(p + n - 2, "\r\n", 2);
				p += n;
				left -= n;
			}
			memcpy(p, "\r\n", 2);
			const struct row row = {.bytes = bytes,
						.len = (size_t)(p + 2 - bytes),
						.result = over ? -431 : 1};
			assert_true(check(&row));
		}
	test_free(bytes);
}

/* Random bodies in random chunks, fed in random pieces. */
static void test_random(void **state)
{
	uint64_t seed = 20261120;
	char bytes[16384], body[2048];

	(void)state;
	for (int round = 0; round < 2000 / unit_share(); round++) {
		size_t size = random_next(&seed) % 1500;
		size_t chunk = 1 + random_next(&seed) % 600;
		struct run run = {.result = 0};
		size_t fed = 0;
		struct row row = body_row(bytes, body, size, chunk);

		while (run.result == 0) {
			size_t n = 1 + random_next(&seed) % 200;

			if (n > row.len - fed)
				n = row.len - fed;
			feed(&run, bytes + fed, n);
			fed += n;
			assert_true(is_right(&run, &row, fed));
		}
		assert_int_equal(run.result, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_bounded_lines),
		cmocka_unit_test(test_body_limit),
		cmocka_unit_test(test_extension_limits),
		cmocka_unit_test(test_trailer_limit),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
