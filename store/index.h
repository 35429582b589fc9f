/*
 * index.h - a hash table from the hash of a name (hash_name) to rows
 *
 * The names stay on disk: the caller compares the name on each row that is
 * found. A slot has 8 bytes; at most 2/3 of the slots are in use.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "util/slice.h"

#include <stddef.h>
#include <stdint.h>

/* Zeroed, it is empty. */
struct index {
	struct index_slot *slots;
	size_t cap, len;
};

/* Makes room for so many rows at once. 0, or -1 with errno: ENOMEM. */
int index_reserve(struct index *index, size_t rows);

/* Prefetches the slot of a hash. A caller that adds a hundred rows prefetches
 * all of them first and waits for memory once. */
void index_prefetch(const struct index *index, uint32_t hash);

/* Adds a row, which must be under 2^32-1. 0, or -1 with errno: ENOMEM. */
int index_add(struct index *index, uint32_t hash, size_t row);

/*
 * The rows of names with this hash, one after another: *cursor is 0 at first.
 * 1, or 0 when there are no more.
 */
int index_next(const struct index *index, uint32_t hash, size_t *cursor,
	       size_t *row);

/* Empties it and frees its memory. */
void index_free(struct index *index);

#endif
