/*
 * grow.h - arrays that grow
 */
#ifndef UTIL_GROW_H
#define UTIL_GROW_H

#include <stddef.h>

/*
 * Makes room for `need` elements of `size` bytes in `memory`, which has room
 * for *cap elements (NULL and 0 at first). Gives the memory, reallocated to at
 * least twice its size if it was too small; the caller frees it. NULL with
 * errno (ENOMEM): memory and *cap are unchanged.
 */
void *grow(void *memory, size_t *cap, size_t need, size_t size);

#endif
