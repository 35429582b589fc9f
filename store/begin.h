/*
 * begin.h - what the log is told of the total at the start
 */
#ifndef STORE_BEGIN_H
#define STORE_BEGIN_H

#include <stdint.h>

/*
 * For store_look, once the store has answered: tells the log the home counter's
 * total, after `where`, the store's own words for where it is kept. Nothing, if
 * the store cannot say it now.
 */
void begin_tell(const char *where);

/* The same for a store that has found the total by itself; 0: there is none. */
void begin_tell_total(const char *where, int64_t total);

#endif
