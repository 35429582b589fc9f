/*
 * history.h - the file `history`: what the home total was when each day began
 *
 * A line a day, "2026-11-20 41\n". All calls are made under the lock of
 * `visits`, which is the lock of this file, too.
 *
 * 1. A day's line is appended before the first visit of that day is answered.
 *    Lines are found by date, not by order, since a clock may be ahead and may
 *    go back: a missing date is appended, and no line is cut for its date. A
 *    clock that is wrong for sure (day.h) appends none.
 * 2. A line that a clock wrote that was ahead does not hold when its day comes
 * at last, or all visits since then would be of that day. It shows: the last
 *    day before it stands behind it, and began with a higher total. The day
 * gets another line; of two lines of a date the last one holds.
 * 3. A day without a line had no visits. Dates are local ones.
 * 4. A tail that is no whole line was never answered: it is cut off. A last
 *    line that is whole and no date and number is not understood, and nothing
 *    is written behind it.
 * 5. To set the total takes two files, and a process may be killed at any
 *    point. So what is about to happen is noted in a tail, "set 41 1000;",
 *    first; then the total is written; then a file with all lines moved by the
 *    difference takes the place of this one. Whoever finds the tail looks at
 * the total: it is the new one, and the lines are to be moved, or the set was
 * not done. (All lines: what was set is no visit of any day, and a clock that
 *    was wrong may make any of them today's.)
 * 6. Reading is bounded: lines are looked for in the last HISTORY_WINDOW bytes,
 *    which hold five years.
 */
#ifndef STORE_FILE_HISTORY_H
#define STORE_FILE_HISTORY_H

#include "store/file/disk.h"
#include "util/date.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

enum { HISTORY_WINDOW = 65536 /* bytes */ };

struct history {
	struct disk_file file;
	struct stat seen; /* of the file when it was last read, */
	int64_t day;	  /* which day's line was looked for then, */
	off_t whole;	  /* and the bytes of whole lines */
	bool torn;	  /* there is a tail behind them, */
	int64_t from, to; /* of a set (invariant 5), unless they are equal */
	bool has_base;	  /* the day has a line: */
	int64_t base;	  /* the total when it began */
	struct date_day today;
};

/*
 * Takes in the line of today, which is `now`, where the total is `total`. With
 * `may_write` a tail is cut off, or the set that it tells of is finished. Gives
 * 0, or -1 with errno; EBADMSG: invariant 4.
 */
int history_look(struct history *history, time_t now, int64_t total,
		 bool may_write);

/* Then: begins today before its first visit, unless it has begun or is not
 * known; `total` is the total before that visit. Gives 0, or -1 with errno. */
int history_begin_day(struct history *history, int64_t total);

/* Whether the day needs no line any more. */
bool history_has_day(const struct history *history);

/* How many of `total` came today: 0 on a day without a line, and on one that is
 * not known. */
int64_t history_today(const struct history *history, int64_t total);

/*
 * For a total that is set, after history_look with may_write: notes it before
 * the total is written, on disk unless that is SYNC_NO; then, with the total on
 * disk, moves the lines. Give 0, or -1 with errno.
 */
int history_begin_set(struct history *history, int64_t from, int64_t to,
		      enum sync_mode sync);
int history_end_set(struct history *history);

/* Before answering: brings appended lines to disk, with SYNC_ALWAYS. Gives 0,
 * or 503 with the reason noted. */
int history_settle(struct history *history, enum sync_mode sync);

#endif
