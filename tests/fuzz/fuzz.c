#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

/* Around the limits of parse.h: 4, 100, 4096, 8192, 16384 and 65536. */
static const size_t counts[10] = {
	1, 4, 16, 98, 256, 4090, 8160, 16370, 33000, 65530,
};

_Noreturn void fuzz_fail(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

char *fuzz_copy(const char *bytes, size_t len)
{
	char *copy = malloc(len);

	must(copy || len == 0);
	if (len > 0)
		memcpy(copy, bytes, len);
	return copy;
}

bool fuzz_is_in(char c, const char *set)
{
	return c != '\0' && strchr(set, c);
}

static void put_byte(struct fuzz_text *text, char byte, size_t max)
{
	if (text->len < max)
		text->bytes[text->len++] = byte;
}

/* Once more what begins at `from`, `count` times. */
static void put_again(struct fuzz_text *text, size_t from, size_t count,
		      size_t max)
{
	size_t end = text->len;

	for (; count > 0 && end > from && text->len < max; count--)
		for (size_t i = from; i < end; i++)
			put_byte(text, text->bytes[i], max);
}

/* Where the last line begins, be it whole or not. */
static size_t line_start(const struct fuzz_text *text)
{
	size_t at = text->len;

	if (at > 0)
		at--;
	while (at > 0 && text->bytes[at - 1] != '\n')
		at--;
	return at;
}

static void put_split(struct fuzz_text *text)
{
	size_t n = text->splits_len;

	if (text->len > 0 && n < FUZZ_SPLITS_MAX &&
	    (n == 0 || text->splits[n - 1] < text->len))
		text->splits[text->splits_len++] = text->len;
}

static bool is_count(const uint8_t *data, size_t size, size_t at)
{
	return at < size && data[at] >= '0' && data[at] <= '9';
}

/* What a backslash before data[at] means; gives what is behind it. */
static size_t put_escape(struct fuzz_text *text, const uint8_t *data,
			 size_t size, size_t at, size_t max)
{
	uint8_t c = data[at++];

	if (c == '/') {
		put_split(text);
	} else if (is_count(&c, 1, 0) && at < size) {
		for (size_t i = 0; i < counts[c - '0']; i++)
			put_byte(text, (char)data[at], max);
		at++;
	} else if ((c == 'l' || c == 'a') && is_count(data, size, at)) {
		put_again(text, c == 'l' ? line_start(text) : 0,
			  counts[data[at] - '0'], max);
		at++;
	} else {
		put_byte(text, (char)c, max);
	}
	return at;
}

void fuzz_expand(struct fuzz_text *text, const uint8_t *data, size_t size,
		 size_t max)
{
	text->len = text->splits_len = 0;
	if (max > FUZZ_TEXT_MAX)
		max = FUZZ_TEXT_MAX;
	for (size_t at = 0; at < size;) {
		uint8_t c = data[at++];

		if (c == '\\' && at < size)
			at = put_escape(text, data, size, at, max);
		else
			put_byte(text, (char)c, max);
	}
	/* A cut at the very end cuts nothing. */
	if (text->splits_len > 0 &&
	    text->splits[text->splits_len - 1] == text->len)
		text->splits_len--;
}
