#include "store/index.h"

#include <stdlib.h>

enum { FIRST_CAP = 1024 /* slots; a power of two, as all that follow */ };

struct index_slot {
	uint32_t hash;
	uint32_t row; /* plus one; 0: free */
};

uint32_t index_hash(struct slice name)
{
	uint32_t h = 2166136261; /* FNV-1a */

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619;
	/* The low bits choose the slot: let the high ones take part. */
	return h ^ h >> 15;
}

static void place(struct index_slot *slots, size_t cap, struct index_slot slot)
{
	size_t at = slot.hash & (cap - 1);

	while (slots[at].row)
		at = (at + 1) & (cap - 1);
	slots[at] = slot;
}

static int grow(struct index *index)
{
	size_t cap = index->cap ? index->cap * 2 : FIRST_CAP;
	struct index_slot *slots = calloc(cap, sizeof(*slots));

	if (!slots)
		return -1;
	for (size_t i = 0; i < index->cap; i++)
		if (index->slots[i].row)
			place(slots, cap, index->slots[i]);
	free(index->slots);
	index->slots = slots;
	index->cap = cap;
	return 0;
}

int index_add(struct index *index, uint32_t hash, size_t row)
{
	if (index->len * 3 >= index->cap * 2 && grow(index) < 0)
		return -1;
	place(index->slots, index->cap,
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
