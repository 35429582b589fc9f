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

#endif
