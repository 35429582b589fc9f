/*
 * count.h - the totals of counters
 */
#ifndef STORE_REDIS_COUNT_H
#define STORE_REDIS_COUNT_H

#include "store/store.h"

#include <stddef.h>

/* Forgets what this process knows of counters. */
void redis_forget_all(void);

/*
 * Fills a tally from the replies to redis_get_total, whose result `command` is;
 * `key` is that of the total. Gives 0, with the tally's status 0 or 404, or 503
 * with fail().
 */
int redis_take_total(struct tally *t, size_t command, const char *key);

/* Adds no visit to the home counter, as visits are added: the same commands and
 * rights. Gives 0, or 503 with fail(). */
int redis_probe(void);

/* Tells the log of the status of a call about a counter. */
void redis_tell(int status);

#endif
