/*
 * row.h - a line of the table of counters, 512 bytes
 *
 *     |                  42 2026-11-20 blog/post-1        (100)           3
 * ...| total (20)           day        name                 30 columns of 12
 *
 * The total is right-aligned, and "-" when the counter was dropped; the day is
 * that of its last visit; the columns are its visits on that day, on the day
 * before it, and so on. Spaces fill it, a newline ends it: one sector of a
 * disk, and so one atomic write. These calls are pure.
 */
#ifndef STORE_FILE_ROW_H
#define STORE_FILE_ROW_H

#include "util/date.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	ROW_SIZE = 512,
	ROW_DAYS = 30,
	ROW_DROPPED = -1, /* in the place of a total */
};

/* A line with a total of 0, and no visit yet on `day`. The name is a legal one.
 */
void row_make(char *row, struct slice name, const struct date_day *day);

/* Whether all of it is as these calls write it. */
bool row_is_whole(const char *row);

/*
 * Whether up to ROW_SIZE bytes, without a newline, may be what a crash has left
 * of a row: its beginning, NULs, or NULs behind its beginning. Not if nothing
 * but spaces is missing, and not what somebody may have written.
 */
bool row_is_torn(const char *bytes, size_t n);

/* Of a whole row; the name points into it. */
int64_t row_total(const char *row);
struct slice row_name(const char *row);

/* A total, or ROW_DROPPED. */
void row_set_total(char *row, int64_t total);

/*
 * How many of its visits came on that day, which is today. A row of a later day
 * (the clock was ahead, or went back) has a column of today for 30 days; one
 * that is later still counts as one of today.
 */
int64_t row_today(const char *row, const struct date_day *today);

/* Notes n visits of today. The total is not touched. A row of a later day keeps
 * that day as long as it has a column of today. A day has 99999999999 at most.
 */
void row_count(char *row, int64_t n, const struct date_day *today);

/*
 * A row from a line, without its newline, that somebody may have written by
 * hand: "TOTAL NAME", or "TOTAL DAY NAME" and up to 30 columns, with any number
 * of spaces and tabs between them. Gives what is wrong with it as a phrase, or
 * NULL.
 */
const char *row_parse(char *row, struct slice line,
		      const struct date_day *today);

/* Makes one counter of two rows of one name: the higher total (no number is
 * given twice), and the visits of the later day. */
void row_merge(char *row, const char *other);

#endif
