/*
 * table.h - the file `counters`: a row of 512 bytes a counter
 *
 * 1. Everything happens under LOCK_EX of the file that the path names.
 * 2. Rows never move, shrink or change their name: a drop marks the row, and
 *    only the same name takes it up again. New names are appended. So what a
 *    process knows of the table (name -> row) stays true, and it catches up by
 *    the file's size; compaction is a new file that is renamed into place.
 * 3. What others do to the file is found out: another file, or a shorter one,
 *    is read anew; a row is used only if its name is the one looked for. A row
 *    that was given another name in place is found when some rows are compared
 *    with the index, before a name counts as unknown: CHUNK_ROWS for each
 *    time that the table is locked, in turns. So a small table is compared as
 *    a whole, and a large one costs no visit more than a few dozen
 *    microseconds. (To read 100,000 rows takes 40 to 50 ms under the lock.)
 * 4. What a crash or an editor has left is mended (mend.h). A file that is in
 *    an editor is left alone meanwhile (edit.h).
 *
 * Calls give 0 or an HTTP status, with the reason noted (failure.h).
 */
#ifndef STORE_FILE_TABLE_H
#define STORE_FILE_TABLE_H

#include "store/file/disk.h"
#include "store/file/edit.h"
#include "store/file/row.h"
#include "store/index.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A line that was not understood, and the file then: it is not read again
 * before it has changed. */
struct table_garbage {
	size_t line; /* 0: there is none */
	const char *fault;
	unsigned opened;
	off_t size;
	struct timespec changed;
	int64_t until; /* clock_ms() */
};

/* Zeroed but for file.path and file.fd = -1, nothing is known of it. */
struct table {
	struct disk_file file;
	unsigned opened; /* which opening of the file the rest is about */
	struct index index;
	bool is_known;	 /* all rows are in the index */
	size_t rows;	 /* that are in the index */
	size_t dropped;	 /* of them, as far as this process knows */
	size_t scan_at;	 /* the row at which the next comparison begins */
	bool is_scanned; /* one was made since the table was locked */
	bool only_looks; /* what others have left is read, and not mended */
	struct edit edit;
	struct table_garbage garbage;
	struct date_day today;
};

/* Beside the statuses: the file is not as this program writes it, or not as the
 * index says. */
enum { TABLE_ODD = -1 };

/*
 * Locks the table and catches up, until `deadline` (clock_ms). Without
 * `create`, a missing file is an empty table, and there is nothing to unlock.
 */
int table_lock(struct table *table, bool create, int64_t deadline);
void table_unlock(struct table *table);

/* The row of a name, of ROW_SIZE bytes, and its number: 404 if there is none. A
 * dropped one is found. */
int table_find(struct table *table, struct slice name, char *row,
	       size_t *number);

/* Writes a row in the place of `old`, all of it or nothing. */
int table_write(struct table *table, size_t number, const char *row,
		const char *old);

/* Appends a row, of a name that was not found; 507 when there are `max`. */
int table_append(struct table *table, const char *row, size_t max);

/* All rows, read anew, in memory that the caller frees; *rows their number.
 * Under the lock. */
int table_read(struct table *table, char **bytes, size_t *rows);

/* Closes it and forgets what is known. */
void table_close(struct table *table);

/*
 * For mend.c
 */

/* Forgets what is known, but not the file. */
void table_forget(struct table *table);

/* The row of a name by the index: 0, 404, 503, or TABLE_ODD. */
int table_look_up(const struct table *t, struct slice name, char *row,
		  size_t *number);

/* Notes that the file is being edited. Gives 503. */
int table_fail_edited(const struct table *t);

/* Where row number `rows` begins. */
off_t table_offset(size_t rows);

#endif
