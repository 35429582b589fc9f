#include "util/json.h"

#include "util/hash.h"
#include "util/utf8.h"

#include <stdint.h>
#include <stdlib.h>

/* A two-character escape for `c`, or 0. */
static char json_short_escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return 0;
	}
}

size_t json_write_string(char *out, struct slice text)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)text.p;
	const unsigned char *end = p + text.n;
	char *to = out;

	*to++ = '"';
	while (p < end) {
		size_t n = utf8_length((const char *)p, (size_t)(end - p));
		char escape = json_short_escape(*p);

		if (n == 0) {
			memcpy(to, "\xef\xbf\xbd", 3);
			to += 3;
			p++;
		} else if (escape) {
			*to++ = '\\';
			*to++ = escape;
			p++;
		} else if (*p < ' ' || *p == 0x7f) {
			memcpy(to, "\\u00", 4);
			to[4] = hex[*p >> 4];
			to[5] = hex[*p & 15];
			to += 6;
			p++;
		} else {
			memcpy(to, p, n);
			to += n;
			p += n;
		}
	}
	*to++ = '"';
	return (size_t)(to - out);
}

/*
 * Reading: one function for each rule of the grammar. A function gives false at
 * the first fault; `why` describes it, and `p` is where it is.
 */
struct reader {
	const char *start, *p, *end;
	char *to; /* where the next string is decoded */
	const char *why;
	int depth;
};

/* A value that was read. */
struct value {
	enum json_kind kind;
	struct slice text;
};

static bool json_fault(struct reader *in, const char *why)
{
	in->why = why;
	return false;
}

static void json_skip_space(struct reader *in)
{
	while (in->p < in->end && (*in->p == ' ' || *in->p == '\t' ||
				   *in->p == '\n' || *in->p == '\r'))
		in->p++;
}

static bool json_at(const struct reader *in, char c)
{
	return in->p < in->end && *in->p == c;
}

/* Takes `c`, if it is next. */
static bool json_take(struct reader *in, char c)
{
	if (!json_at(in, c))
		return false;
	in->p++;
	return true;
}

static bool json_is_digit(const struct reader *in)
{
	return in->p < in->end && *in->p >= '0' && *in->p <= '9';
}

static bool json_read_digits(struct reader *in)
{
	if (!json_is_digit(in))
		return json_fault(in, "a digit is missing in a number");
	while (json_is_digit(in))
		in->p++;
	return true;
}

/* [ minus ] int [ frac ] [ exp ] */
static bool json_read_number(struct reader *in)
{
	json_take(in, '-');
	if (json_take(in, '0')) {
		if (json_is_digit(in))
			return json_fault(in, "a number begins with 0");
	} else if (!json_read_digits(in)) {
		return false;
	}
	if (json_take(in, '.') && !json_read_digits(in))
		return false;
	if (!json_take(in, 'e') && !json_take(in, 'E'))
		return true;
	if (!json_take(in, '+'))
		json_take(in, '-');
	return json_read_digits(in);
}

static bool json_read_word(struct reader *in, struct slice word)
{
	if ((size_t)(in->end - in->p) < word.n ||
	    memcmp(in->p, word.p, word.n) != 0)
		return json_fault(in, "no JSON value");
	in->p += word.n;
	return true;
}

/* The four digits of \uXXXX. */
static bool json_read_hex(struct reader *in, uint32_t *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++, in->p++) {
		char c = in->p < in->end ? ascii_lower(*in->p) : '\0';

		if (c >= '0' && c <= '9')
			*code = *code * 16 + (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			*code = *code * 16 + (uint32_t)(c - 'a' + 10);
		else
			return json_fault(in, "\\u without four hex digits");
	}
	return true;
}

static char *json_put_utf8(char *to, uint32_t code)
{
	if (code < 0x80) {
		*to++ = (char)code;
		return to;
	}
	if (code < 0x800) {
		*to++ = (char)(0xc0 | code >> 6);
	} else {
		if (code < 0x10000) {
			*to++ = (char)(0xe0 | code >> 12);
		} else {
			*to++ = (char)(0xf0 | code >> 18);
			*to++ = (char)(0x80 | (code >> 12 & 0x3f));
		}
		*to++ = (char)(0x80 | (code >> 6 & 0x3f));
	}
	*to++ = (char)(0x80 | (code & 0x3f));
	return to;
}

/* After "\u"; two of them for what is beyond U+FFFF. */
static bool json_read_code(struct reader *in)
{
	uint32_t code, low;

	if (!json_read_hex(in, &code))
		return false;
	if (code >= 0xdc00 && code <= 0xdfff)
		return json_fault(in, "a lone surrogate");
	if (code >= 0xd800 && code <= 0xdbff) {
		if (!json_take(in, '\\') || !json_take(in, 'u'))
			return json_fault(in, "a lone surrogate");
		if (!json_read_hex(in, &low))
			return false;
		if (low < 0xdc00 || low > 0xdfff)
			return json_fault(in, "a lone surrogate");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	in->to = json_put_utf8(in->to, code);
	return true;
}

/* After the backslash. */
static bool json_read_escape(struct reader *in)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *name;

	if (json_take(in, 'u'))
		return json_read_code(in);
	name = in->p < in->end && *in->p ? strchr(names, *in->p) : NULL;
	if (!name)
		return json_fault(in, "an escape that JSON does not know");
	*in->to++ = bytes[name - names];
	in->p++;
	return true;
}

/* After the opening quote; decoded at in->to, which moves behind it. */
static bool json_read_string(struct reader *in, struct slice *text)
{
	const char *start = in->to;

	while (!json_take(in, '"')) {
		if (in->p == in->end)
			return json_fault(in, "a string without an end");
		if (json_take(in, '\\')) {
			if (!json_read_escape(in))
				return false;
			continue;
		}
		if ((unsigned char)*in->p < ' ')
			return json_fault(in, "a control byte in a string");
		size_t n = utf8_length(in->p, (size_t)(in->end - in->p));
		if (n == 0)
			return json_fault(in, "a byte that is no UTF-8");
		memcpy(in->to, in->p, n);
		in->to += n;
		in->p += n;
	}
	*text = (struct slice){start, (size_t)(in->to - start)};
	return true;
}

static bool json_read_value(struct reader *in, struct value *value);

/* "name" : value, with the space around them. */
static bool json_read_member(struct reader *in, struct slice *name,
			     struct value *value)
{
	json_skip_space(in);
	if (!json_take(in, '"'))
		return json_fault(in, "the name of a member is missing");
	if (!json_read_string(in, name))
		return false;
	json_skip_space(in);
	if (!json_take(in, ':'))
		return json_fault(in, "a colon is missing");
	return json_read_value(in, value);
}

/* The members that the caller looks for, and hashes of all names read. */
struct wanted {
	struct json_member *members;
	size_t len;
	uint64_t *names;
	size_t names_len;
};

static void json_keep(struct wanted *wanted, struct slice name,
		      const struct value *value)
{
	wanted->names[wanted->names_len++] = hash_wide(name);
	for (size_t i = 0; i < wanted->len; i++) {
		struct json_member *member = &wanted->members[i];

		if (slice_equal(member->name, name)) {
			member->kind = value->kind;
			member->value = value->text;
		}
	}
}

/* After "{"; `wanted` NULL: only looked through. */
static bool json_read_members(struct reader *in, struct wanted *wanted)
{
	do {
		char *to = in->to;
		struct slice name;
		struct value value;

		if (!json_read_member(in, &name, &value))
			return false;
		if (wanted)
			json_keep(wanted, name, &value);
		else
			in->to = to; /* the strings are not needed */
	} while (json_take(in, ','));
	return true;
}

/* After "[". */
static bool json_read_elements(struct reader *in)
{
	do {
		char *to = in->to;
		struct value value;

		if (!json_read_value(in, &value))
			return false;
		in->to = to;
	} while (json_take(in, ','));
	return true;
}

/* After "{" or "[", up to its end. */
static bool json_read_nested(struct reader *in, char end, struct wanted *wanted)
{
	if (++in->depth > JSON_DEPTH_MAX)
		return json_fault(in, "nested too deep");
	json_skip_space(in);
	if (!json_at(in, end)) {
		if (!(end == '}' ? json_read_members(in, wanted)
				 : json_read_elements(in)))
			return false;
	}
	if (!json_take(in, end))
		return json_fault(in, "a comma or the end is missing");
	in->depth--;
	return true;
}

/* A value and the space around it. */
static bool json_read_value(struct reader *in, struct value *value)
{
	const char *start;
	bool good = false;

	json_skip_space(in);
	start = in->p;
	if (json_take(in, '"')) {
		value->kind = JSON_STRING;
		good = json_read_string(in, &value->text);
		json_skip_space(in);
		return good;
	}
	if (json_take(in, '{')) {
		value->kind = JSON_OBJECT;
		good = json_read_nested(in, '}', NULL);
	} else if (json_take(in, '[')) {
		value->kind = JSON_ARRAY;
		good = json_read_nested(in, ']', NULL);
	} else if (json_at(in, '-') || json_is_digit(in)) {
		value->kind = JSON_NUMBER;
		good = json_read_number(in);
	} else if (json_at(in, 'n')) {
		value->kind = JSON_NULL;
		good = json_read_word(in, SLICE("null"));
	} else {
		value->kind = JSON_BOOL;
		good = json_read_word(in, json_at(in, 't') ? SLICE("true")
							   : SLICE("false"));
	}
	value->text = (struct slice){start, (size_t)(in->p - start)};
	json_skip_space(in);
	return good;
}

/* For qsort. */
static int json_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Names are compared by their keyed 64-bit hashes. */
static bool json_has_duplicate(struct wanted *wanted)
{
	qsort(wanted->names, wanted->names_len, sizeof(*wanted->names),
	      json_compare);
	for (size_t i = 1; i < wanted->names_len; i++)
		if (wanted->names[i] == wanted->names[i - 1])
			return true;
	return false;
}

static bool json_read_text(struct reader *in, struct wanted *wanted)
{
	if (in->end - in->p >= 3 && memcmp(in->p, "\xef\xbb\xbf", 3) == 0)
		return json_fault(in, "a byte order mark");
	json_skip_space(in);
	if (!json_take(in, '{'))
		return json_fault(in, "no JSON object");
	if (!json_read_nested(in, '}', wanted))
		return false;
	json_skip_space(in);
	if (in->p < in->end)
		return json_fault(in, "bytes behind the JSON object");
	if (json_has_duplicate(wanted))
		return json_fault(in, "a member that is there twice");
	return true;
}

const char *json_read_object(struct slice text, struct json_member *members,
			     size_t len, char *buffer, size_t *fault_at)
{
	/* The shortest member is "":0, with its comma: five bytes. */
	static uint64_t names[JSON_TEXT_MAX / 5 + 1];
	struct wanted wanted = {.members = members, .len = len, .names = names};
	struct reader in = {.start = text.p,
			    .p = text.p,
			    .end = text.p + text.n,
			    .to = buffer};

	*fault_at = 0;
	if (text.n > JSON_TEXT_MAX)
		return "longer than 65536 bytes";
	for (size_t i = 0; i < len; i++)
		members[i].kind = JSON_MISSING;
	if (text.n > 0 && json_read_text(&in, &wanted))
		return NULL;
	*fault_at = (size_t)(in.p - in.start);
	return text.n > 0 ? in.why : "no JSON object";
}
