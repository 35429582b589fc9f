#include "turn/balance.h"

#include "util/shared.h"

#include <stdatomic.h>

enum {
	STUCK_MS = 10, /* a longer turn counts as stuck */
	SLACK = 4,     /* connections above the minimum, plus an eighth */
};

struct balance_slot {
	_Alignas(64) _Atomic size_t held; /* one cache line a slot */
	_Atomic int64_t awake_since;	  /* 0: asleep in epoll_wait */
	_Atomic bool lives;
};

int balance_open(struct balance *balance, int len)
{
	*balance = (struct balance){.len = len, .own = -1};
	balance->slots = shared_make((size_t)len * sizeof(*balance->slots));
	return balance->slots ? 0 : -1;
}

void balance_enter(struct balance *balance, int own)
{
	balance->own = own;
	balance_tell(balance, 0, 0);
	balance->slots[own].lives = true;
}

void balance_leave(const struct balance *balance, int slot)
{
	balance->slots[slot].lives = false;
}

/* These values are hints: no other memory access is ordered by them. */
void balance_tell(const struct balance *balance, size_t held, int64_t now)
{
	struct balance_slot *slot = &balance->slots[balance->own];

	atomic_store_explicit(&slot->held, held, memory_order_relaxed);
	atomic_store_explicit(&slot->awake_since, now, memory_order_relaxed);
}

bool balance_is_alone(const struct balance *balance)
{
	for (int i = 0; i < balance->len; i++)
		if (i != balance->own && balance->slots[i].lives)
			return false;
	return true;
}

bool balance_is_over(const struct balance *balance, size_t held, int64_t now)
{
	size_t least = held;

	for (int i = 0; i < balance->len; i++) {
		struct balance_slot *slot = &balance->slots[i];
		int64_t since = atomic_load_explicit(&slot->awake_since,
						     memory_order_relaxed);
		size_t its =
			atomic_load_explicit(&slot->held, memory_order_relaxed);

		/* The worker's own slot holds the value of the turn's begin. */
		if (i != balance->own && slot->lives && its < least &&
		    (since == 0 || now - since <= STUCK_MS))
			least = its;
	}
	return held > least + SLACK + least / 8;
}
