/*
 * edit.h - a file that somebody's editor may be at work on
 *
 * A shell's `echo 5 > visits` empties the file and then writes it. A file that
 * looks odd (emptied, cut short, half a row) is therefore left alone, with its
 * lock released, until it has stayed the same for EDIT_MS.
 */
#ifndef STORE_FILE_EDIT_H
#define STORE_FILE_EDIT_H

#include "store/file/disk.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Zeroed, no edit has been seen. */
struct edit {
	off_t size;
	struct timespec changed;
	int64_t over_at; /* clock_ms(); 0: no edit is waited for */
};

/*
 * Whether an odd file has stayed the same for long enough. Called under its
 * lock; of a missing file, without. The wait lasts from call to call: a call
 * with too little time leaves the rest of it to the next one, and what stays
 * odd is waited for once.
 */
bool edit_is_over(struct edit *e, const struct disk_file *file);

/* The file does not look odd any more. */
void edit_forget(struct edit *e);

/*
 * Between two looks at an odd file, without its lock: waits for a moment. Gives
 * 0, or 503 (failure.h) when `until` (clock_ms) has passed.
 */
int edit_wait(const struct disk_file *file, int64_t until);

#endif
