#include "util/grow.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

enum { GROW_FIRST = 64 /* elements of a new array */ };

void *grow(void *memory, size_t *cap, size_t need, size_t size)
{
	size_t wanted = *cap ? *cap * 2 : GROW_FIRST;

	if (memory && need <= *cap)
		return memory;
	if (wanted < need)
		wanted = need;
	if (wanted > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	void *more = realloc(memory, wanted * size);
	if (more)
		*cap = wanted;
	return more;
}
