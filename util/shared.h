/*
 * shared.h - memory shared by the master and its workers
 */
#ifndef UTIL_SHARED_H
#define UTIL_SHARED_H

#include <stddef.h>

/*
 * Maps `size` zeroed bytes that this process shares with the processes that it
 * forks later. NULL with errno. Values that one process writes and another one
 * reads without a lock must be _Atomic.
 */
void *shared_make(size_t size);

/* Unmaps it in this process. */
void shared_drop(void *memory, size_t size);

#endif
