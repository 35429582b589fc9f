#include "store/index.h"

#include <stdlib.h>

enum { FIRST_CAP = 1024 /* slots; a power of two, as all that follow */ };

struct index_slot {
	uint32_t hash;
	uint32_t row; /* plus one; 0: free */
};

static void index_place(struct index_slot *slots, size_t cap,
			struct index_slot slot)
{
	size_t at = slot.hash & (cap - 1);

	while (slots[at].row)
		at = (at + 1) & (cap - 1);
	slots[at] = slot;
}

static int index_grow(struct index *index, size_t cap)
{
	struct index_slot *slots = calloc(cap, sizeof(*slots));

	if (!slots)
		return -1;
	for (size_t i = 0; i < index->cap; i++)
		if (index->slots[i].row)
			index_place(slots, cap, index->slots[i]);
	free(index->slots);
	index->slots = slots;
	index->cap = cap;
	return 0;
}

int index_reserve(struct index *index, size_t rows)
{
	size_t cap = index->cap ? index->cap : FIRST_CAP;

	while (rows * 3 >= cap * 2)
		cap *= 2;
	return cap > index->cap ? index_grow(index, cap) : 0;
}

void index_prefetch(const struct index *index, uint32_t hash)
{
	if (index->cap > 0)
		__builtin_prefetch(&index->slots[hash & (index->cap - 1)]);
}

int index_add(struct index *index, uint32_t hash, size_t row)
{
	if (index_reserve(index, index->len + 1) < 0)
		return -1;
	index_place(index->slots, index->cap,
		    (struct index_slot){hash, (uint32_t)row + 1});
	index->len++;
	return 0;
}

int index_next(const struct index *index, uint32_t hash, size_t *cursor,
	       size_t *row)
{
	if (index->cap == 0)
		return 0;
	for (;; ++*cursor) {
		size_t at = (hash + *cursor) & (index->cap - 1);
		struct index_slot slot = index->slots[at];

		if (!slot.row)
			return 0;
		if (slot.hash != hash)
			continue;
		*row = slot.row - 1;
		++*cursor;
		return 1;
	}
}

void index_free(struct index *index)
{
	free(index->slots);
	*index = (struct index){.len = 0};
}
