/*
 * counters.h - the file store's counters with names, kept in a table
 *
 * For store.c alone. Statuses and reasons are those of store.h;
 * what is called a deadline is a time of clock_ms().
 */
#ifndef STORE_FILE_COUNTERS_H
#define STORE_FILE_COUNTERS_H

#include "store/file/disk.h"
#include "store/store.h"

/* Both must outlive it. */
void counters_open(const struct settings *settings, struct folder *folder);
void counters_close(void);

/* Those of the tallies that are not of the home counter: one lock and one sync
 * for all of them. */
void counters_add(struct tally *tallies, size_t len, int64_t deadline);
int counters_set(struct slice name, int64_t value, int64_t deadline);
int counters_drop(struct slice name, int64_t deadline);
int counters_each(void (*each)(struct slice counter, int64_t total,
			       void *context),
		  void *context, int64_t deadline);

/* From the next counters_open on: a table that others have left is read, and
 * not mended. */
void counters_only_look(void);

/* Whether the table can be used. */
int counters_look(int64_t deadline);

struct disk_file *counters_file(void);

#endif
