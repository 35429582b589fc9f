/*
 * index.h - where the rows of names are: a hash table of their hashes
 * (hash_name)
 *
 * The names themselves stay on disk, and what is found here is to be checked by
 * the name on the row: 8 bytes a slot, at most 2/3 of the slots taken.
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

/* Begins to bring the place of a hash into the CPU's cache: who adds a hundred
 * rows at a time waits for memory once, and not a hundred times. */
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
