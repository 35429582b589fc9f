/*
 * cache.h - totals and items that a Redis keeps for the PostgreSQL store
 *
 * PostgreSQL is the truth; this is never asked where it matters, and whatever
 * happens to it, nobody is told of an error: a call that fails finds nothing.
 * It has a short timeout of its own, and a breaker.
 *
 * | key                            | what                                   |
 * | ------------------------------ | -------------------------------------- |
 * | visit_counter:NAME             | the total                              |
 * | visit_day:{visit_counter:NAME} | today, and the total when it began     |
 * | visit_gone:{visit_counter:NAME}| a tombstone: somebody sets or drops it |
 * | item:7                         | an item as JSON, without its id        |
 *
 * Only totals begin with visit_counter: since a name may have a colon, and
 * "x:day" is a counter.
 *
 * 1. A total that is kept never goes backwards: one script compares and sets. A
 *    lower one does not renew the time that the higher one lives, either.
 * 2. Before and after a total is set or dropped, what is kept of it goes, and
 *    for twice STORE_TIMEOUT nothing is kept: a reader that found the old one
 *    may still be on its way to keep it.
 * 3. Who could not refresh a total does not read it from here until it has
 *    been refreshed, or has died.
 */
#ifndef STORE_POSTGRES_CACHE_H
#define STORE_POSTGRES_CACHE_H

#include "store/store.h"
#include "util/date.h"

/* Without REDIS_HOST there is no cache, and the calls do nothing. `epoll` is
 * where its connection is watched. */
void cache_open(const struct settings *settings, int epoll);
void cache_close(void);

/*
 * Looks for the totals of tallies that are only read. What is found has its
 * total and today and status 0. Gives whether all of them were.
 */
bool cache_get_totals(struct tally *tallies, size_t len,
		      const struct date_day *today);

/* Keeps the totals of tallies whose status is 0. */
void cache_put_totals(const struct tally *tallies, size_t len,
		      const struct date_day *today);

/* A total is about to be set or dropped; and again, when it was. */
void cache_bury(struct slice counter);

/* Looks for items: those that are found have status 0 and their JSON, which is
 * valid until the next call; the others keep 404. Gives whether all were. */
bool cache_get_items(struct item *items, size_t len);

/* Keeps those whose status is 0. */
void cache_put_items(const struct item *items, size_t len);

/* As net_tick. */
int cache_tick(void);

#endif
