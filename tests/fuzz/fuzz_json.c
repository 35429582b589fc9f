/*
 * json_read_object and json_write_string: no byte outside, valid UTF-8, and
 * what was read is read again from what is written of it.
 */
#include "tests/fuzz/fuzz.h"
#include "util/json.h"

#include <stdlib.h>

enum { WANTED = 4 };

static struct fuzz_text text;

struct reading {
	struct json_member members[WANTED];
	const char *why;
	size_t fault_at;
	char *bytes, *buffer;
	size_t len;
};

static void read_object(struct reading *r, const char *bytes, size_t len)
{
	static const struct slice names[WANTED] = {
		SLICE_INIT("name"), SLICE_INIT("description"),
		SLICE_INIT("value"), SLICE_INIT("")};

	for (size_t i = 0; i < WANTED; i++)
		r->members[i] = (struct json_member){.name = names[i]};
	r->bytes = fuzz_copy(bytes, len);
	r->buffer = malloc(len);
	r->len = len;
	r->why = json_read_object((struct slice){r->bytes, len}, r->members,
				  WANTED, r->buffer, &r->fault_at);
	must(!r->why || (*r->why && r->fault_at <= len));
}

static void release(struct reading *r)
{
	free(r->bytes);
	free(r->buffer);
}

/* RFC 3629 by its code points. */
static bool is_utf8(struct slice s)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};

	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i++];
		int more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		uint32_t code = more ? c & (0x3fu >> more) : c;

		if ((c >= 0x80 && c < 0xc0) || c >= 0xf8)
			return false;
		for (int k = 0; k < more; k++, i++) {
			if (i == s.n || ((unsigned char)s.p[i] & 0xc0) != 0x80)
				return false;
			code = code << 6 | ((unsigned char)s.p[i] & 0x3f);
		}
		if (code < least[more] || code > 0x10ffff ||
		    (code >= 0xd800 && code <= 0xdfff))
			return false;
	}
	return true;
}

static bool is_inside(struct slice part, const char *bytes, size_t len)
{
	return part.p >= bytes && part.n <= len &&
	       (size_t)(part.p - bytes) <= len - part.n;
}

/* How deep the brackets outside of strings go. */
static int depth_of(const char *p, size_t len)
{
	int depth = 0, deepest = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted && p[i] == '\\')
			i++;
		else if (p[i] == '"')
			quoted = !quoted;
		else if (!quoted && fuzz_is_in(p[i], "[{"))
			deepest = ++depth > deepest ? depth : deepest;
		else if (!quoted && fuzz_is_in(p[i], "]}"))
			depth--;
	}
	must(depth == 0 && !quoted);
	return deepest;
}

/* Of what is in order, every high surrogate is before a low one, and no low one
 * is alone. */
static void check_pairs(const char *p, size_t len)
{
	bool high = false;

	for (size_t i = 0; i < len; i++) {
		bool was_high = high;
		unsigned long code;
		char digits[5] = "";

		high = false;
		if (p[i] != '\\') {
			must(!was_high);
			continue;
		}
		must(++i < len);
		if (p[i] != 'u') {
			must(!was_high);
			continue;
		}
		must(len - i > 4);
		memcpy(digits, p + i + 1, 4);
		code = strtoul(digits, NULL, 16);
		high = code >> 10 == 0xd800 >> 10;
		must((code >> 10 == 0xdc00 >> 10) == was_high);
		i += 4;
	}
	must(!high);
}

static void check_written(struct slice string)
{
	char *out = malloc(6 * string.n + 2);
	size_t n = json_write_string(out, string);

	must(n >= 2 && n <= 6 * string.n + 2);
	must(out[0] == '"' && out[n - 1] == '"');
	must(is_utf8((struct slice){out, n}));
	for (size_t i = 0; i < n; i++)
		must((unsigned char)out[i] >= ' ' && out[i] != 0x7f);
	if (n + 9 <= JSON_TEXT_MAX) {
		char *object = malloc(n + 9);
		struct reading again;

		memcpy(object, "{\"name\":", 8);
		memcpy(object + 8, out, n);
		object[8 + n] = '}';
		read_object(&again, object, n + 9);
		must(!again.why);
		must(again.members[0].kind == JSON_STRING);
		if (is_utf8(string))
			must(slice_equal(again.members[0].value, string));
		release(&again);
		free(object);
	}
	free(out);
}

static void check_member(const struct reading *r, const struct json_member *m)
{
	struct slice value = m->value;
	char first = value.n > 0 ? value.p[0] : '\0';

	if (m->kind == JSON_MISSING)
		return;
	if (m->kind == JSON_STRING) {
		must(is_inside(value, r->buffer, r->len));
		must(is_utf8(value));
		check_written(value);
		return;
	}
	must(is_inside(value, r->bytes, r->len) && value.n > 0);
	must(m->kind != JSON_NULL || slice_equal(value, SLICE("null")));
	must(m->kind != JSON_BOOL || slice_equal(value, SLICE("true")) ||
	     slice_equal(value, SLICE("false")));
	must(m->kind != JSON_ARRAY ||
	     (first == '[' && value.n > 1 && value.p[value.n - 1] == ']'));
	must(m->kind != JSON_OBJECT ||
	     (first == '{' && value.n > 1 && value.p[value.n - 1] == '}'));
	for (size_t i = 0; m->kind == JSON_NUMBER && i < value.n; i++)
		must(fuzz_is_in(value.p[i], "0123456789+-.eE"));
}

/* A text that is an object is none any more with bytes around it. */
static void check_around(const struct reading *r)
{
	static char longer[JSON_TEXT_MAX + 3];
	struct reading around;

	if (r->len + 3 > JSON_TEXT_MAX)
		return;
	memcpy(longer, " ", 1);
	memcpy(longer + 1, r->bytes, r->len);
	memcpy(longer + 1 + r->len, "\n,", 2);
	read_object(&around, longer, r->len + 2);
	must(!around.why);
	release(&around);
	read_object(&around, longer, r->len + 3);
	must(around.why);
	release(&around);
	struct slice trimmed = slice_trim((struct slice){r->bytes, r->len});
	read_object(&around, trimmed.p, trimmed.n - 1);
	must(around.why || fuzz_is_in(trimmed.p[trimmed.n - 1], "\r\n"));
	release(&around);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reading r;

	/* As it is: the backslashes are JSON's. */
	read_object(&r, (const char *)data, size);
	if (!r.why) {
		must(is_utf8((struct slice){r.bytes, r.len}));
		must(depth_of(r.bytes, r.len) <= JSON_DEPTH_MAX);
		check_pairs(r.bytes, r.len);
		for (size_t i = 0; i < WANTED; i++)
			check_member(&r, &r.members[i]);
		check_around(&r);
	}
	release(&r);
	check_written((struct slice){(const char *)data, size});
	/* And written out: to the limits of length and depth. */
	fuzz_expand(&text, data, size, JSON_TEXT_MAX + 10);
	read_object(&r, text.bytes, text.len);
	if (!r.why)
		must(depth_of(r.bytes, r.len) <= JSON_DEPTH_MAX);
	must(!r.why || r.len <= JSON_TEXT_MAX || r.fault_at == 0);
	must(r.why || r.len <= JSON_TEXT_MAX);
	release(&r);
	return 0;
}
