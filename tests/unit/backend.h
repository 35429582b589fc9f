/*
 * backend.h - an empty store for tests/unit/test_store.c: one file for each
 * kind, backend_$(STORE).c
 */
#ifndef TESTS_UNIT_BACKEND_H
#define TESTS_UNIT_BACKEND_H

#include "util/settings.h"

#include <stdbool.h>

/* Makes one in the folder of unit.h, and fills in where it is. */
void backend_begin(struct settings *settings);
void backend_end(void);

/* Whether the store holds something, looked at from outside. */
bool backend_has_something(void);

#endif
