#include "store/postgres/array.h"

#include "util/grow.h"
#include "util/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Makes room for `n` more bytes. */
static bool array_reserve(struct array *a, size_t n)
{
	char *text = grow(a->text, &a->cap, a->len + n, 1);

	if (text)
		a->text = text;
	else
		a->is_short = 1;
	return text != NULL;
}

void array_begin(struct array *a)
{
	a->len = 0;
	a->is_short = 0;
	if (array_reserve(a, 1))
		a->text[a->len++] = '{';
}

/* The comma before an element, and room for `n` bytes of it. */
static bool array_next(struct array *a, size_t n)
{
	if (a->is_short || !array_reserve(a, n + 1))
		return false;
	if (a->len > 1)
		a->text[a->len++] = ',';
	return true;
}

void array_add_text(struct array *a, struct slice text)
{
	if (!text.p) {
		if (array_next(a, 4)) {
			memcpy(a->text + a->len, "NULL", 4);
			a->len += 4;
		}
		return;
	}
	if (!array_next(a, 2 * text.n + 2))
		return;
	char *to = a->text + a->len;
	*to++ = '"';
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			*to++ = '\\';
		*to++ = text.p[i];
	}
	*to++ = '"';
	a->len = (size_t)(to - a->text);
}

void array_add_number(struct array *a, int64_t value)
{
	if (array_next(a, NUMBER_MAX))
		a->len += number_write(a->text + a->len, value);
}

int array_end(struct array *a)
{
	if (a->is_short || !array_reserve(a, 2)) {
		errno = ENOMEM;
		return -1;
	}
	a->text[a->len++] = '}';
	a->text[a->len] = '\0';
	return 0;
}

void array_free(struct array *a)
{
	free(a->text);
	*a = (struct array){.len = 0};
}
