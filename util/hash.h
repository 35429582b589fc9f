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

/* The key is drawn at the first call. This process knows it, and those that it
 * forks later, and nobody else. */
uint64_t hash_wide(struct slice text);

static inline uint32_t hash_name(struct slice name)
{
	return (uint32_t)hash_wide(name);
}

#endif
