/*
 * day.h - how many visits of a total came today
 *
 * A store keeps the base of a day: the total before its first visit. A total
 * that was set, and a file that somebody has edited, may leave a base above the
 * total or below zero.
 */
#ifndef STORE_DAY_H
#define STORE_DAY_H

#include "util/date.h"
#include "util/number.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stdint.h>

/*
 * Whether that day was over when this program was made: the clock is wrong, as
 * that of a machine that boots in 1970. Its visits count, and for no day: none
 * is begun, none is changed, and today's visits are 0, since nobody knows which
 * day it is. Takes a day that date_know_day has filled in. A clock that is
 * wrong and later is taken as it is: no line or row is thrown away for its
 * date.
 */
bool day_precedes_build(const struct date_day *today);

/* total - base, clamped to 0 .. INT64_MAX. */
int64_t day_count(int64_t total, int64_t base);

/* a - b, clamped to -INT64_MAX .. INT64_MAX. */
int64_t day_difference(int64_t a, int64_t b);

/* Reads a base, which may have a minus sign. False: it is no number. */
bool day_read_base(struct slice text, int64_t *base);

/*
 * A day and its base as a text, "2026-11-20 41", without a newline: `date` has
 * DATE_DAY_SIZE bytes. Writes DAY_LINE_MAX bytes at most; gives the length.
 */
enum { DAY_LINE_MAX = DATE_DAY_SIZE + 2 + NUMBER_MAX };
size_t day_write_line(char *out, const char *date, int64_t base);

/* Reads such a text; its date stands at line.p. False: it is none. */
bool day_read_line(struct slice line, int64_t *base);

#endif
