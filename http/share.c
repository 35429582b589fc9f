#include "http/share.h"

#include <stdatomic.h>
#include <sys/mman.h>

enum {
	STUCK_MS = 10, /* a turn that takes longer */
	SLACK = 4,     /* connections beyond the least, and an eighth of it */
};

struct share_slot {
	_Alignas(64) _Atomic size_t held; /* a cache line of its own */
	_Atomic int64_t awake_since;	  /* 0: asleep in epoll_wait */
	_Atomic bool lives;
};

int share_open(struct share *share, int len)
{
	size_t size = (size_t)len * sizeof(*share->slots);

	*share = (struct share){.len = len, .own = -1};
	share->slots = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return share->slots == MAP_FAILED ? -1 : 0;
}

void share_enter(struct share *share, int own)
{
	share->own = own;
	share_tell(share, 0, 0);
	share->slots[own].lives = true;
}

void share_leave(const struct share *share, int slot)
{
	share->slots[slot].lives = false;
}

/* Hints, not facts: nothing is ordered by them. */
void share_tell(const struct share *share, size_t held, int64_t now)
{
	struct share_slot *slot = &share->slots[share->own];

	atomic_store_explicit(&slot->held, held, memory_order_relaxed);
	atomic_store_explicit(&slot->awake_since, now, memory_order_relaxed);
}

bool share_is_alone(const struct share *share)
{
	for (int i = 0; i < share->len; i++)
		if (i != share->own && share->slots[i].lives)
			return false;
	return true;
}

bool share_is_over(const struct share *share, size_t held, int64_t now)
{
	size_t least = held;

	for (int i = 0; i < share->len; i++) {
		struct share_slot *slot = &share->slots[i];
		int64_t since = atomic_load_explicit(&slot->awake_since,
						     memory_order_relaxed);
		size_t its =
			atomic_load_explicit(&slot->held, memory_order_relaxed);

		/* Its own slot still says what it held when the turn began. */
		if (i != share->own && slot->lives && its < least &&
		    (since == 0 || now - since <= STUCK_MS))
			least = its;
	}
	return held > least + SLACK + least / 8;
}
