/*
 * hash.h - a keyed hash for the tables of names (SipHash-1-3)
 *
 * Names are made by visitors. With a hash that is the same everywhere, 10,000
 * names that collide take 50,000,000 comparisons whenever a table is read, and
 * cost a turn nine times the CPU.
 */
#ifndef UTIL_HASH_H
#define UTIL_HASH_H

#include "util/slice.h"

#include <stdint.h>

/* The key is drawn at the first call and is known to this process (and to those
 * that it forks later) alone. */
uint32_t hash_name(struct slice name);

#endif
