#include "store/index.h"

#include "util/clock.h"

#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum { FIRST_CAP = 1024 /* slots; a power of two, as all that follow */ };

struct index_slot {
	uint32_t hash;
	uint32_t row; /* plus one; 0: free */
};

static struct {
	uint64_t a, b;
	bool is_drawn;
} key;

/* Names are made by visitors: with a hash that is the same everywhere 10,000
 * that collide would take 50,000,000 reads whenever the table is read. */
static void draw_key(void)
{
	if (getrandom(&key, 2 * sizeof(key.a), GRND_NONBLOCK) < 0) {
		key.a = (uint64_t)clock_ms();
		key.b = (uint64_t)getpid();
	}
	key.is_drawn = true;
}

static uint64_t turn(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = turn(v[1], 13) ^ v[0];
	v[0] = turn(v[0], 32);
	v[2] += v[3];
	v[3] = turn(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = turn(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = turn(v[1], 17) ^ v[2];
	v[2] = turn(v[2], 32);
}

/* SipHash-1-3. */
uint32_t index_hash(struct slice name)
{
	uint64_t word, last = (uint64_t)name.n << 56;

	if (!key.is_drawn)
		draw_key();
	uint64_t v[4] = {
		key.a ^ 0x736f6d6570736575u, key.b ^ 0x646f72616e646f6du,
		key.a ^ 0x6c7967656e657261u, key.b ^ 0x7465646279746573u};
	for (; name.n >= sizeof(word); name = slice_after(name, sizeof(word))) {
		memcpy(&word, name.p, sizeof(word));
		v[3] ^= word;
		mix(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < name.n; i++)
		last |= (uint64_t)(unsigned char)name.p[i] << 8 * i;
	v[3] ^= last;
	mix(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		mix(v);
	return (uint32_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static void place(struct index_slot *slots, size_t cap, struct index_slot slot)
{
	size_t at = slot.hash & (cap - 1);

	while (slots[at].row)
		at = (at + 1) & (cap - 1);
	slots[at] = slot;
}

static int grow(struct index *index, size_t cap)
{
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

int index_reserve(struct index *index, size_t rows)
{
	size_t cap = index->cap ? index->cap : FIRST_CAP;

	while (rows * 3 >= cap * 2)
		cap *= 2;
	return cap > index->cap ? grow(index, cap) : 0;
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
