/*
 * text.h - texts put together in a buffer that is large enough
 */
#ifndef UTIL_TEXT_H
#define UTIL_TEXT_H

#include "util/number.h"
#include "util/slice.h"

/* Each writes at `to` and gives the end of it. */
static inline char *text_put(char *to, struct slice text)
{
	if (text.n > 0)
		memcpy(to, text.p, text.n);
	return to + text.n;
}

static inline char *text_put_number(char *to, int64_t value)
{
	return to + number_write(to, value);
}

/* Escapes what HTML takes for a tag, an entity or the end of an attribute. At
 * most 5 bytes for one. */
static inline char *text_put_html(char *to, struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		switch (text.p[i]) {
		case '<':
			to = text_put(to, SLICE("&lt;"));
			break;
		case '&':
			to = text_put(to, SLICE("&amp;"));
			break;
		default:
			*to++ = text.p[i];
		}
	}
	return to;
}

#endif
