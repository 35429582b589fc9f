/*
 * grow.h - arrays that grow
 */
#ifndef UTIL_GROW_H
#define UTIL_GROW_H

#include <stddef.h>

/*
 * Room for `need` elements of `size` bytes: `memory`, which has room for *cap
 * (NULL and 0 at first), or a larger piece that takes its place and its
 * content, at least twice as large. The caller frees it. NULL with errno:
 * ENOMEM, and nothing has changed.
 */
void *grow(void *memory, size_t *cap, size_t need, size_t size);

#endif
