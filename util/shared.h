/*
 * shared.h - memory that the master makes and all workers see
 */
#ifndef UTIL_SHARED_H
#define UTIL_SHARED_H

#include <stddef.h>

/*
 * `size` bytes of zeros, which this process shares with those that it forks
 * from now on. They last as long as the last of them. NULL with errno. What is
 * written there by one process and read by another is to be _Atomic.
 */
void *shared_make(size_t size);

/* Lets go of them in this process. */
void shared_drop(void *memory, size_t size);

#endif
