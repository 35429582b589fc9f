/*
 * lines.h - a file of lines that only grows: `items`
 *
 * 1. Line number n is what was appended as the n-th. Lines never move.
 * 2. A line is appended whole and under LOCK_EX; a tail that is no whole line
 *    was never answered, and is cut off before the next append.
 * 3. Whole lines are read without a lock: they do not change. A file that was
 *    replaced or has become shorter (somebody's editor) is read anew.
 *
 * Calls give 0, or -1 with errno.
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
 * Appends a line: `len` bytes that end in a newline. Waits for the lock until
 * `deadline` (clock_ms): ETIMEDOUT. Gives 1 when there are `max` lines already.
 * Before its number, lines->len, is told to anybody: lines_sync.
 */
int lines_append(struct lines *lines, const char *line, size_t len, size_t max,
		 int64_t deadline);
int lines_sync(struct lines *lines);

/* The bytes of line `n` (from 1, up to lines->len) with its newline. */
size_t lines_line_size(const struct lines *lines, size_t n);
/* Reads them into `buf`. EIO: they are not there any more. */
int lines_read_line(const struct lines *lines, size_t n, char *buf);

/* Closes it and forgets what is known. */
void lines_close(struct lines *lines);

#endif
