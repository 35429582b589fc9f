/*
 * balance.h - which worker takes the next connection
 *
 * All workers watch one listening socket, opened by the master, so that a dead
 * or stuck worker neither delays nor drops a connection. (With one socket a
 * worker, by SO_REUSEPORT, half of the new connections waited while one of two
 * workers was stuck: p99 972 ms, here 0.2 ms; tests/bench/listeners.py.) But
 * the kernel prefers the worker that is awake: 128 keep-alive connections all
 * went to one worker of two. Two rules spread them (62 to 66 at worst):
 *
 * 1. After a turn that accepted, a worker removes the listener from its epoll
 *    set and adds it again, at the end of the kernel's queue of waiters.
 * 2. A worker that holds more than its share leaves it out for a millisecond.
 *
 * No wake-up is lost: EPOLLEXCLUSIVE wakes one worker for a connection, and a
 * woken worker always accepts it; adding the listener again reports connections
 * that are in its queue.
 */
#ifndef TURN_BALANCE_H
#define TURN_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each slot is written by one worker. */
struct balance_slot;

struct balance {
	struct balance_slot *slots; /* shared by all processes */
	int len;
	int own; /* this worker's */
};

/* Allocates slots for `len` workers that run at the same time. Called in the
 * master before it forks. Gives 0, or -1 with errno. */
int balance_open(struct balance *balance, int len);

/* Called in a worker: slot `own` is its own from now on. */
void balance_enter(struct balance *balance, int own);

/* Frees a slot. Called by the worker when it stops accepting, or by the master
 * when the worker is dead. */
void balance_leave(const struct balance *balance, int slot);

/* Publishes how many connections this worker holds, and the time (clock_ms) at
 * which it woke up; `now` is 0 before it sleeps in epoll_wait. */
void balance_tell(const struct balance *balance, size_t held, int64_t now);

/* Whether no other worker accepts connections. */
bool balance_is_alone(const struct balance *balance);

/* Whether `held` connections are more than this worker's share at `now`
 * (clock_ms). Workers that are stuck in a turn are left out of account. */
bool balance_is_over(const struct balance *balance, size_t held, int64_t now);

#endif
