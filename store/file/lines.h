/*
 * lines.h - a file of lines that only grows: `items`
 *
 * 1. Line number n is what was appended as the n-th. Lines never move.
 * 2. A line is appended whole and under LOCK_EX; a tail that is no whole line
 *    was never answered, and is cut off before the next append.
 * 3. Whole lines are read without a lock: they do not change. A file that was
 *    replaced or has become shorter (somebody's editor) is read anew.
 *
 * Calls give 0, or -1 with errno, where nothing else is said.
 */
#ifndef STORE_FILE_LINES_H
#define STORE_FILE_LINES_H

#include "store/file/disk.h"

#include <stddef.h>
#include <stdint.h>

struct lines {
	struct disk_file file;
	off_t *ends; /* where each line ends, behind its newline */
	size_t len;  /* lines that are known */
	size_t cap;  /* that there is room for */
	off_t size;  /* bytes of them: what is behind is a tail, or new */
};

/* Takes in the lines that have come. A missing file has none. */
int lines_catch_up(struct lines *lines);

/*
 * Appends lines: `len` of them in `text`, line number i of it ending, with its
 * newline, before text + ends[i]; as many as there is room for below `max`. All
 * of them in one write, or none. Waits for the lock until `deadline`
 * (clock_ms). Gives 0 and how many were appended, or 503 with the reason noted.
 * Before their numbers, which end with lines->len, are told to anybody:
 * disk_settle.
 */
int lines_append(struct lines *lines, const char *text, const size_t *ends,
		 size_t len, size_t max, int64_t deadline, size_t *appended);

/* The bytes of line `n` (from 1, up to lines->len) with its newline. */
size_t lines_line_size(const struct lines *lines, size_t n);
/* Reads them into `buf`. EIO: they are not there any more. */
int lines_read_line(const struct lines *lines, size_t n, char *buf);

/* Closes it and forgets what is known. */
void lines_close(struct lines *lines);

#endif
