#include "util/hash.h"

#include "util/clock.h"

#include <stdbool.h>
#include <sys/random.h>
#include <unistd.h>

static struct {
	uint64_t a, b;
	bool is_drawn;
} key;

static void hash_draw_key(void)
{
	if (getrandom(&key, 2 * sizeof(key.a), GRND_NONBLOCK) < 0) {
		key.a = (uint64_t)clock_ms();
		key.b = (uint64_t)getpid();
	}
	key.is_drawn = true;
}

static uint64_t hash_rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static void hash_mix(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = hash_rotate(v[1], 13) ^ v[0];
	v[0] = hash_rotate(v[0], 32);
	v[2] += v[3];
	v[3] = hash_rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = hash_rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = hash_rotate(v[1], 17) ^ v[2];
	v[2] = hash_rotate(v[2], 32);
}

uint64_t hash_wide(struct slice name)
{
	uint64_t word, last = (uint64_t)name.n << 56;

	if (!key.is_drawn)
		hash_draw_key();
	uint64_t v[4] = {
		key.a ^ 0x736f6d6570736575u, key.b ^ 0x646f72616e646f6du,
		key.a ^ 0x6c7967656e657261u, key.b ^ 0x7465646279746573u};
	for (; name.n >= sizeof(word); name = slice_after(name, sizeof(word))) {
		memcpy(&word, name.p, sizeof(word));
		v[3] ^= word;
		hash_mix(v);
		v[0] ^= word;
	}
	for (size_t i = 0; i < name.n; i++)
		last |= (uint64_t)(unsigned char)name.p[i] << 8 * i;
	v[3] ^= last;
	hash_mix(v);
	v[0] ^= last;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		hash_mix(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
