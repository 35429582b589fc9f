/*
 * visits.h - the home counter's file `visits`, and its `history`
 *
 * Statuses and reasons are those of store.h; `until` is a time of clock_ms().
 */
#ifndef STORE_FILE_VISITS_H
#define STORE_FILE_VISITS_H

#include "store/file/disk.h"
#include "store/store.h"

/* Sets the paths and the folders that they stand in, and where the last total
 * is put that was read or written (NULL: nowhere). All of them must outlive it.
 */
void visits_open(const struct settings *settings, const char *path,
		 struct folder *folder, const char *history_path,
		 struct folder *history_folder, _Atomic int64_t *last_total);
void visits_close(void);

/* Counts the visits of the home counter's tally, or reads it: fills it in. */
void visits_add(struct tally *t, int64_t until);

/* Sets the total. Gives 0 or 503. */
int visits_set(int64_t value, int64_t until);

/* Whether a visit could be counted: with `probe` by writing the number again,
 * up to the disk, and asking for room where a file would grow or be made; else
 * by reading it. Gives 0 or 503. */
int visits_look(int64_t until, bool probe);

/* Whether a visit would find room, without any change. Gives 0 or 503. */
int visits_check_room(int64_t until);

/* Whether the last look found a number. */
bool visits_has_number(void);

/* Whether the file at the path holds a number that is not below `total`,
 * without its lock. */
bool visits_reaches(int64_t total);

/* The file, and its history, for what is done to all files. */
struct disk_file *visits_file(void);
struct disk_file *visits_history_file(void);

#endif
