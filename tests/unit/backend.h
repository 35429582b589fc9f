/*
 * backend.h - an empty store for tests/unit/test_store.c: one file for each
 * kind, backend_$(STORE).c
 */
#ifndef TESTS_UNIT_BACKEND_H
#define TESTS_UNIT_BACKEND_H

#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/settings.h"

#include <stdbool.h>

/* Makes one in the folder of unit.h, and fills in where it is. */
void backend_begin(struct settings *settings);
void backend_end(void);

/* Whether the store holds something, looked at from outside. */
bool backend_has_something(void);

/* A turn of one tally; a status comes with a reason. */
static inline struct tally add(const char *counter, int64_t n)
{
	struct tally t = {.counter = slice_of(counter),
			  .n = n,
			  .total = -1,
			  .today = -1,
			  .status = -1};

	store_add(&t, 1);
	if (t.status)
		assert_true(t.error && *t.error);
	return t;
}

#endif
