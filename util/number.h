/*
 * number.h - decimal numbers, read strictly and written fast
 */
#ifndef UTIL_NUMBER_H
#define UTIL_NUMBER_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NUMBER_MAX = 20 }; /* bytes that number_write may need */

/*
 * Reads decimal digits and nothing else (no sign, no space; leading zeros are
 * fine) into *value. False when `text` is empty, holds another byte, or
 * exceeds 2^63-1; *value is then untouched.
 */
bool number_read(struct slice text, int64_t *value);

/* Writes `value` >= 0 in decimal at `out`, without a NUL; gives its length. */
size_t number_write(char *out, int64_t value);

/* Writes the last two decimal digits of `value`, with a leading zero. */
void number_write_2(char *out, int value);

#endif
