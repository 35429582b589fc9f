/*
 * balance.h - which worker takes the next connection
 *
 * All workers watch one listener, made by the master, so that neither a dead
 * nor a stuck worker delays or drops a connection (one listener for each, by
 * SO_REUSEPORT, made half of the new connections wait while one of two workers
 * was stuck: p99 972 ms, here 0.2 ms; tests/bench/listeners.py). But then
 * whoever is awake takes what comes: 128 keep-alive connections all went to one
 * worker of two. Two rules spread them (62 to 66 each way at worst):
 *
 * 1. After a turn that accepted, a worker takes the listener out of its epoll
 *    and puts it back: at the end of the kernel's queue of waiters.
 * 2. A worker that holds more than its share leaves it out for a millisecond.
 *
 * No wake-up is lost: EPOLLEXCLUSIVE woke nobody else for the first connection,
 * so a woken worker always takes that one; and putting the listener back looks
 * at the queue anew.
 */
#ifndef TURN_BALANCE_H
#define TURN_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A slot has one writer, the worker that lives in it. */
struct balance_slot;

struct balance {
	struct balance_slot *slots; /* shared by all processes */
	int len;
	int own; /* this worker's */
};

/* For `len` workers that may live at a time. In the master, before it forks.
 * -1 with errno. */
int balance_open(struct balance *balance, int len);

/* In a worker: takes slot `own`. */
void balance_enter(struct balance *balance, int own);

/* In the master, when the worker is dead; or by the worker, when it accepts no
 * more: nobody is compared with it. */
void balance_leave(const struct balance *balance, int slot);

/* The worker holds that many connections, and at `now` (clock_ms) it is awake;
 * 0: it goes to sleep. */
void balance_tell(const struct balance *balance, size_t held, int64_t now);

/* Whether no other worker takes connections: there is nobody to share with. */
bool balance_is_alone(const struct balance *balance);

/* Whether `held` is more than this worker's share at `now`. A worker that is
 * stuck in its turn is not compared with. */
bool balance_is_over(const struct balance *balance, size_t held, int64_t now);

#endif
