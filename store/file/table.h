/*
 * table.h - the file `counters`: a row of 512 bytes a counter
 *
 * 1. Everything happens under LOCK_EX of the file that the path names.
 * 2. Rows never move, shrink or change their name: a drop marks the row, and
 *    only the same name takes it up again. New names are appended. So what a
 *    process knows of the table (name -> row) stays true, and it catches up by
 *    the file's size; compaction is a new file that is renamed into place.
 * 3. What others do to the file is found out: another file, or a shorter one,
 *    is read anew; a row is used only if its name is the one looked for; before
 *    a name counts as unknown, the table is read anew, once a second at most
 *    (and for no more than a twentieth of the time, if it is a large one).
 * 4. A file that somebody's editor has written is parsed by lines, and a fresh
 *    table takes its place. One that is being written (it shrank, or has half a
 *    row) is left alone until it has stayed the same for a moment.
 *    Two rows of one name become one.
 * 5. A tail that is the beginning of a row, or NULs, was never answered: it is
 *    cut off. A line that is not understood is never overwritten: 503 until it
 *    is.
 *
 * Calls give 0 or an HTTP status, with the reason noted (failure.h).
 */
#ifndef STORE_FILE_TABLE_H
#define STORE_FILE_TABLE_H

#include "store/file/disk.h"
#include "store/index.h"
#include "store/file/row.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* A file that an editor may be at work on. */
struct table_edit {
	off_t size;
	struct timespec changed;
	int64_t over_at; /* clock_ms(); 0: there is none */
};

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
	int64_t anew_at; /* when it may be read anew for a name, clock_ms() */
	struct table_edit edit;
	struct table_garbage garbage;
	struct date_day today;
	bool is_late; /* the last wait for the lock was in vain */
};

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

/* Brings what was written to disk, after unlocking and before answering. */
int table_sync(struct table *table);

/* All rows, read anew, in memory that the caller frees; *rows their number.
 * Under the lock. */
int table_read(struct table *table, char **bytes, size_t *rows);

/* Closes it and forgets what is known. */
void table_close(struct table *table);

#endif
