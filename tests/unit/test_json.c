#include "tests/unit/unit.h"
#include "util/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes at the guard page into the room that is promised to be enough. */
static struct slice write_at_guard(const char *text, size_t len)
{
	char *out = guard_end() - (6 * len + 2);
	size_t n = json_write_string(out, (struct slice){text, len});

	assert_true(n <= 6 * len + 2);
	return (struct slice){out, n};
}

static void test_written(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *wanted;
	} rows[] = {
#define ROW(text, wanted) {text, sizeof(text) - 1, wanted}
		ROW("", "\"\""),
		ROW("abc", "\"abc\""),
		ROW("a\"b", "\"a\\\"b\""),
		ROW("a\\b", "\"a\\\\b\""),
		ROW("a/b", "\"a/b\""),
		ROW("\n\r\t", "\"\\n\\r\\t\""),
		ROW("\0", "\"\\u0000\""),
		ROW("\x1f", "\"\\u001f\""),
		ROW("\x7f", "\"\\u007f\""),
		ROW("\xc3\xa9", "\"\xc3\xa9\""),
		ROW("\xe2\x82\xac", "\"\xe2\x82\xac\""),
		ROW("\xf0\x9f\x98\x80", "\"\xf0\x9f\x98\x80\""),
		/* Invalid UTF-8: U+FFFD for each byte that is no part */
		ROW("\x80", "\"\xef\xbf\xbd\""),
		ROW("a\xff"
		    "b",
		    "\"a\xef\xbf\xbd"
		    "b\""),
		ROW("\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""),
		ROW("\xc3", "\"\xef\xbf\xbd\""),
		ROW("\xc3\"", "\"\xef\xbf\xbd\\\"\""),
		ROW("\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\""),
		ROW("\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""),
		ROW("\xf4\x90\x80\x80",
		    "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_slice(write_at_guard(rows[i].text, rows[i].len),
			     rows[i].wanted);
}

/* Whether the whole text is UTF-8, by RFC 3629's table of byte sequences. */
static bool is_utf8(const unsigned char *p, size_t n)
{
	while (n > 0) {
		size_t len = *p < 0x80 ? 1 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
		unsigned long code = len == 1 ? *p : *p & (0xffu >> (len + 1));
		static const unsigned long least[] = {0, 0, 0x80, 0x800,
						      0x10000};

		if ((*p >= 0x80 && *p < 0xc0) || *p >= 0xf8 || len > n)
			return false;
		for (size_t i = 1; i < len; i++) {
			if ((p[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | (p[i] & 0x3f);
		}
		if (code < least[len] || code > 0x10ffff ||
		    (code >= 0xd800 && code < 0xe000))
			return false;
		p += len;
		n -= len;
	}
	return true;
}

/* What is written is a JSON string whatever the bytes are. */
static bool is_json_string(struct slice json)
{
	if (json.n < 2 || json.p[0] != '"' || json.p[json.n - 1] != '"')
		return false;
	if (!is_utf8((const unsigned char *)json.p, json.n))
		return false;
	for (size_t i = 1; i < json.n - 1; i++) {
		unsigned char c = (unsigned char)json.p[i];

		if (c < ' ' || c == '"')
			return false;
		if (c != '\\')
			continue;
		c = (unsigned char)json.p[++i];
		if (c == 0 || i == json.n - 1 || !strchr("\"\\/bfnrtu", c))
			return false;
		if (c == 'u' &&
		    (i + 4 >= json.n - 1 ||
		     strspn(json.p + i + 1, "0123456789abcdefABCDEF") < 4))
			return false;
	}
	return true;
}

static void test_every_byte(void **state)
{
	(void)state;
	for (int a = 0; a < 256; a++) {
		char one[3] = {(char)a, 0, 0};

		assert_true(is_json_string(write_at_guard(one, 1)));
		for (int b = 0; b < 256; b++) {
			one[1] = (char)b;
			assert_true(is_json_string(write_at_guard(one, 2)));
			one[2] = 'x';
			assert_true(is_json_string(write_at_guard(one, 3)));
		}
	}
}

static void test_random_bytes(void **state)
{
	static const unsigned char bytes[] = {0xe0, 0xed, 0xf0, 0xf4, 0x80,
					      0x8f, 0x90, 0x9f, 0xa0, 0xbf,
					      0xc2, 'a',  '"',	0xf1, 0xe1};
	uint64_t seed = 20261120;
	char text[12];

	(void)state;
	for (int i = 0; i < 200000 / unit_share(); i++) {
		size_t n = 1 + random_next(&seed) % sizeof(text);

		for (size_t k = 0; k < n; k++)
			text[k] =
				(char)bytes[random_next(&seed) % sizeof(bytes)];
		struct slice json = write_at_guard(text, n);
		assert_true(is_json_string(json));
		/* What is valid comes through as it is. */
		if (is_utf8((const unsigned char *)text, n) &&
		    !memchr(text, '"', n)) {
			assert_int_equal(json.n, n + 2);
			assert_memory_equal(json.p + 1, text, n);
		}
	}
}

/*
 * Reading
 */

static const char *read_one(const char *text, size_t len,
			    struct json_member *members, size_t members_len,
			    size_t *at)
{
	static char buffer[JSON_TEXT_MAX];
	const char *copy = guard_copy(text, len);

	*at = len + 1;
	const char *why = json_read_object((struct slice){copy, len}, members,
					   members_len, buffer, at);
	if (why)
		assert_true(*at <= len);
	return why;
}

struct doc {
	const char *text;
	size_t len;
};
#define DOC(text)                      \
	{                              \
		text, sizeof(text) - 1 \
	}

static const struct doc good[] = {
	DOC("{}"),
	DOC(" \t\r\n{ \t\r\n} \t\r\n"),
	DOC("{\"a\":1}"),
	DOC("{\"a\" : 1 , \"b\" : 2}"),
	DOC("{\"\":1}"),
	DOC("{\"a\":null,\"b\":true,\"c\":false}"),
	DOC("{\"a\":[],\"b\":[1,2,[3,{}]],\"c\":{\"d\":{}}}"),
	DOC("{\"a\":0,\"b\":-0,\"c\":-1,\"d\":1.5,\"e\":1e5,\"f\":1E+5}"),
	DOC("{\"a\":1.25e-10,\"b\":-0.0,\"c\":0e0}"),
	DOC("{\"a\":123456789012345678901234567890123456789012345678901}"),
	DOC("{\"a\":1e999999999}"),
	DOC("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"}"),
	DOC("{\"a\":\"\\ud83d\\ude00\",\"b\":\"\\uD83D\\uDE00\"}"),
	DOC("{\"a\":\"\\u0000\"}"),
	DOC("{\"a\":\"\x7f\xc2\x80\xf4\x8f\xbf\xbf\"}"),
	DOC("{\"a\":\"\xef\xbb\xbf\"}"),
	DOC("{\"a\":{\"a\":1,\"b\":{\"a\":1}}}"),
};

static const struct doc bad[] = {
	DOC(""),
	DOC(" "),
	DOC("{"),
	DOC("}"),
	DOC("[]"),
	DOC("1"),
	DOC("\"a\""),
	DOC("null"),
	DOC("{}{}"),
	DOC("{} x"),
	DOC("{}\0"),
	DOC("\xef\xbb\xbf{}"),
	DOC("{\"a\"}"),
	DOC("{\"a\":}"),
	DOC("{\"a\":1,}"),
	DOC("{,\"a\":1}"),
	DOC("{\"a\":1 \"b\":2}"),
	DOC("{\"a\":1;\"b\":2}"),
	DOC("{a:1}"),
	DOC("{'a':1}"),
	DOC("{1:1}"),
	DOC("{\"a\":'b'}"),
	DOC("{\"a\":tru}"),
	DOC("{\"a\":True}"),
	DOC("{\"a\":NULL}"),
	DOC("{\"a\":nullx}"),
	DOC("{\"a\":NaN}"),
	DOC("{\"a\":Infinity}"),
	DOC("{\"a\":undefined}"),
	DOC("{\"a\":01}"),
	DOC("{\"a\":+1}"),
	DOC("{\"a\":-}"),
	DOC("{\"a\":.5}"),
	DOC("{\"a\":5.}"),
	DOC("{\"a\":1e}"),
	DOC("{\"a\":1e+}"),
	DOC("{\"a\":0x10}"),
	DOC("{\"a\":1_0}"),
	DOC("{\"a\":--1}"),
	DOC("{\"a\":[1,]}"),
	DOC("{\"a\":[,1]}"),
	DOC("{\"a\":[1 2]}"),
	DOC("{\"a\":[1}"),
	DOC("{\"a\":[}"),
	DOC("{\"a\":{]}"),
	DOC("{\"a\":\"b}"),
	DOC("{\"a\":\"\n\"}"),
	DOC("{\"a\":\"\t\"}"),
	DOC("{\"a\":\"\0\"}"),
	DOC("{\"a\":\"\x1f\"}"),
	DOC("{\"a\":\"\\x41\"}"),
	DOC("{\"a\":\"\\'\"}"),
	DOC("{\"a\":\"\\u12\"}"),
	DOC("{\"a\":\"\\u12g4\"}"),
	DOC("{\"a\":\"\\U0041\"}"),
	DOC("{\"a\":\"\\"),
	DOC("{\"a\":\"\\\"}"),
	DOC("{\"a\":\"\\ud83d\"}"),
	DOC("{\"a\":\"\\ude00\"}"),
	DOC("{\"a\":\"\\ude00\\ud83d\"}"),
	DOC("{\"a\":\"\\ud83d\\u0041\"}"),
	DOC("{\"a\":\"\\ud83dx\"}"),
	DOC("{\"a\":\"\x80\"}"),
	DOC("{\"a\":\"\xff\"}"),
	DOC("{\"a\":\"\xc0\x80\"}"),
	DOC("{\"a\":\"\xc3\"}"),
	DOC("{\"a\":\"\xe2\x82\"}"),
	DOC("{\"a\":\"\xed\xa0\x80\"}"),
	DOC("{\"a\":\"\xf4\x90\x80\x80\"}"),
	DOC("{\"\xff\":1}"),
	DOC("{\"a\":1,\"a\":2}"),
	DOC("{\"a\":1,\"\\u0061\":2}"),
	DOC("{\"x\":1,\"a\":1,\"x\":2}"),
	DOC("{/**/}"),
	DOC("{}//"),
	DOC("{\v}"),
	DOC("{\xc2\xa0}"),
};

static void test_grammar(void **state)
{
	struct json_member a = {.name = SLICE("a")};
	size_t at;
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		const char *why =
			read_one(good[i].text, good[i].len, &a, 1, &at);
		if (why) {
			print_error("%s: %s at %zu\n", good[i].text, why, at);
			wrong++;
		}
		/* No beginning of an object is one. */
		size_t end = good[i].len;
		while (good[i].text[end - 1] != '}')
			end--;
		for (size_t k = 0; k < end; k++)
			assert_non_null(read_one(good[i].text, k, &a, 1, &at));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (!read_one(bad[i].text, bad[i].len, &a, 1, &at)) {
			print_error("%s was taken\n", bad[i].text);
			wrong++;
		}
	assert_int_equal(wrong, 0);
}

static void test_members(void **state)
{
	static const char text[] =
		"{ \"x\": {\"name\":\"no\"}, \"n\\u0061me\":\"B\\u00e4r\\n\","
		"\"number\":-12.50e+3, \"yes\":true, \"nothing\":null,"
		"\"list\":[1, \"a\"], \"object\":{\"b\":[]}}";
	struct json_member m[] = {
		{.name = SLICE("name")},    {.name = SLICE("number")},
		{.name = SLICE("yes")},	    {.name = SLICE("nothing")},
		{.name = SLICE("list")},    {.name = SLICE("object")},
		{.name = SLICE("missing")},
	};
	size_t at;

	(void)state;
	assert_null(read_one(text, sizeof(text) - 1, m, 7, &at));
	assert_int_equal(m[0].kind, JSON_STRING);
	assert_slice(m[0].value, "B\xc3\xa4r\n");
	assert_int_equal(m[1].kind, JSON_NUMBER);
	assert_slice(m[1].value, "-12.50e+3");
	assert_int_equal(m[2].kind, JSON_BOOL);
	assert_slice(m[2].value, "true");
	assert_int_equal(m[3].kind, JSON_NULL);
	assert_int_equal(m[4].kind, JSON_ARRAY);
	assert_slice(m[4].value, "[1, \"a\"]");
	assert_int_equal(m[5].kind, JSON_OBJECT);
	assert_slice(m[5].value, "{\"b\":[]}");
	assert_int_equal(m[6].kind, JSON_MISSING);
}

static void test_depth(void **state)
{
	struct json_member a = {.name = SLICE("a")};
	char *text = test_malloc(200000);
	size_t at;

	(void)state;
	/* The object itself is the first of JSON_DEPTH_MAX. */
	for (size_t depth = 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
		char *p = text + sprintf(text, "{\"a\":");

		memset(p, '[', depth - 1);
		p += depth - 1;
		*p++ = '1';
		memset(p, ']', depth - 1);
		p += depth - 1;
		*p++ = '}';
		const char *why =
			read_one(text, (size_t)(p - text), &a, 1, &at);
		assert_true(!why == (depth <= JSON_DEPTH_MAX));
	}
	memset(text, '[', 65000);
	memcpy(text, "{\"a\":", 5);
	assert_non_null(read_one(text, 65000, &a, 1, &at));
	for (size_t i = 0; i + 5 <= 65000; i += 5)
		memcpy(text + i, "{\"a\":", 5);
	assert_non_null(read_one(text, 65000, &a, 1, &at));
	test_free(text);
}

/* Each code point, as it is and as an escape, there and back. */
static void test_every_code_point(void **state)
{
	struct json_member a = {.name = SLICE("a")};
	char text[64], raw[5], json[64];
	size_t at;

	(void)state;
	for (unsigned long code = 0; code <= 0x10ffff;
	     code += (unsigned long)unit_share()) {
		size_t n;

		if (code >= 0xd800 && code < 0xe000)
			continue;
		if (code < 0x80) {
			n = 1;
			raw[0] = (char)code;
		} else if (code < 0x800) {
			n = 2;
			raw[0] = (char)(0xc0 | code >> 6);
		} else if (code < 0x10000) {
			n = 3;
			raw[0] = (char)(0xe0 | code >> 12);
		} else {
			n = 4;
			raw[0] = (char)(0xf0 | code >> 18);
		}
		for (size_t i = 1; i < n; i++)
			raw[i] =
				(char)(0x80 | (code >> 6 * (n - 1 - i) & 0x3f));
		size_t len = json_write_string(json, (struct slice){raw, n});
		int all = sprintf(text, "{\"a\":%.*s}", (int)len, json);
		assert_null(read_one(text, (size_t)all, &a, 1, &at));
		assert_int_equal(a.value.n, n);
		assert_memory_equal(a.value.p, raw, n);
		if (code < 0x10000)
			all = sprintf(text, "{\"a\":\"\\u%04lx\"}", code);
		else
			all = sprintf(text, "{\"a\":\"\\u%04lX\\u%04lX\"}",
				      0xd800 + ((code - 0x10000) >> 10),
				      0xdc00 + ((code - 0x10000) & 0x3ff));
		assert_null(read_one(text, (size_t)all, &a, 1, &at));
		assert_int_equal(a.value.n, n);
		assert_memory_equal(a.value.p, raw, n);
	}
}

/* Any byte in the place of any other: no crash, and prefixes are not taken. */
static void test_changed(void **state)
{
	static const char text[] = "{\"a\":\"b\\u00e4\\n\",\"c\":[-1.5e+3,{}],"
				   "\"d\":true,\"e\":null,\"\xc3\xa4\":0}";
	struct json_member a = {.name = SLICE("a")};
	char changed[sizeof(text)];
	size_t at;

	(void)state;
	assert_null(read_one(text, sizeof(text) - 1, &a, 1, &at));
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		for (int byte = 0; byte < 256; byte++) {
			memcpy(changed, text, sizeof(text));
			changed[i] = (char)byte;
			read_one(changed, sizeof(text) - 1, &a, 1, &at);
			read_one(changed, i + 1, &a, 1, &at);
		}
}

/* Very many members: a name twice is found, in time. */
static void test_many_members(void **state)
{
	struct json_member a = {.name = SLICE("a")};
	char *text = test_malloc(JSON_TEXT_MAX + 64);
	size_t at;

	(void)state;
	char *p = text + sprintf(text, "{\"a\":1");
	for (int i = 0; p - text < JSON_TEXT_MAX - 32; i++)
		p += sprintf(p, ",\"%d\":1", i);
	char *end = p;
	p += sprintf(p, "}");
	assert_null(read_one(text, (size_t)(p - text), &a, 1, &at));
	p = end + sprintf(end, ",\"77\":1}");
	assert_non_null(read_one(text, (size_t)(p - text), &a, 1, &at));
	test_free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_random_bytes),
		cmocka_unit_test(test_grammar),
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_every_code_point),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_many_members),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
