/*
 * slice.h - a run of bytes that somebody else owns
 *
 * A slice is valid as long as the buffer that it points into.
 */
#ifndef UTIL_SLICE_H
#define UTIL_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n; /* bytes */
};

/* A string literal as a slice; _INIT where a constant is asked for. */
#define SLICE_INIT(literal)                  \
	{                                    \
		literal, sizeof(literal) - 1 \
	}
#define SLICE(literal) ((struct slice)SLICE_INIT(literal))

static inline struct slice slice_of(const char *text)
{
	return (struct slice){text, strlen(text)};
}

static inline struct slice slice_between(const char *start, const char *end)
{
	return (struct slice){start, (size_t)(end - start)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* The value of a hexadecimal digit. */
static inline int ascii_hex_value(char c)
{
	return c <= '9' ? c - '0' : ascii_lower(c) - 'a' + 10;
}

/* Equal but for the case of ASCII letters: field names, tokens. */
static inline bool slice_same_word(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

/* What is behind the first `n` bytes, n <= text.n. */
static inline struct slice slice_after(struct slice text, size_t n)
{
	/* No arithmetic on the NULL of an empty slice: C11 6.5.6. */
	return (struct slice){n ? text.p + n : text.p, text.n - n};
}

/* Without the spaces and tabs around it: OWS of RFC 9110 5.6.3. */
static inline struct slice slice_trim(struct slice text)
{
	while (text.n > 0 && (*text.p == ' ' || *text.p == '\t'))
		text = slice_after(text, 1);
	while (text.n > 0 &&
	       (text.p[text.n - 1] == ' ' || text.p[text.n - 1] == '\t'))
		text.n--;
	return text;
}

/* Takes what comes before the first `mark` (or all) off `text`, trimmed. */
static inline struct slice slice_take(struct slice *text, char mark)
{
	const char *end = text->n ? memchr(text->p, mark, text->n) : NULL;
	size_t n = end ? (size_t)(end - text->p) : text->n;
	struct slice part = {text->p, n};

	*text = slice_after(*text, end ? n + 1 : n);
	return slice_trim(part);
}

#endif
