/*
 * history.h - the file `history`: what the home total was when each day began
 *
 * A line a day, "2026-11-20 41\n". All calls are made under the lock of
 * `visits`, which is the lock of this file, too.
 *
 * 1. A day's line is appended before the first visit of that day is answered,
 *    and only if its date is later than the last one's: a clock that went back
 *    changes nothing.
 * 2. A day without a line had no visits. Dates are local ones.
 * 3. A tail that is no whole line was never answered: it is cut off. A last
 *    line that is whole and no date and number is not understood, and nothing
 *    is written behind it.
 */
#ifndef STORE_FILE_HISTORY_H
#define STORE_FILE_HISTORY_H

#include "store/file/disk.h"
#include "util/date.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

struct history {
	struct disk_file file;
	struct stat seen;	  /* of the file when it was last read */
	bool torn;		  /* a tail is to be cut off, when counting */
	bool has_last;		  /* there is a last line: */
	char last[DATE_DAY_SIZE]; /* its day, */
	int64_t base;		  /* the total when that day began, */
	off_t last_at;		  /* and where it stands */
	struct date_day today;
};

/*
 * Takes in the line of today, which is `now`. `counting`: the day's first
 * visit comes with this call, so its line is appended with `total`, the total
 * before it. Gives 0, or -1 with errno; EBADMSG: invariant 3.
 */
int history_open_day(struct history *history, time_t now, bool counting,
		     int64_t total);

/* How many of `total` came today: 0 on a day without a line. */
int64_t history_today(const struct history *history, int64_t total);

/* Moves today's base by `by`, after history_open_day: for a total that is set.
 */
int history_move(struct history *history, int64_t by);

/* Before answering: brings appended lines to disk, with SYNC_ALWAYS. Gives 0,
 * or 503 with the reason noted. */
int history_settle(struct history *history, enum sync_mode sync);

#endif
