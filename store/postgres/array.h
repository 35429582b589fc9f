/*
 * array.h - arrays of PostgreSQL as texts: {"a","b\"c",NULL}
 */
#ifndef STORE_POSTGRES_ARRAY_H
#define STORE_POSTGRES_ARRAY_H

#include "util/slice.h"

#include <stddef.h>
#include <stdint.h>

/* A text that grows, used again for each call; zeroed at first. */
struct array {
	char *text; /* ends in a NUL after array_end */
	size_t len, cap;
	int is_short; /* of memory: array_end gives -1 */
};

void array_begin(struct array *a);
/* An element; NULL if text.p is NULL. The text has no NUL inside. */
void array_add_text(struct array *a, struct slice text);
void array_add_number(struct array *a, int64_t value);
/* Gives 0, or -1 with errno: ENOMEM. */
int array_end(struct array *a);

void array_free(struct array *a);

#endif
