/*
 * item.h - an item as JSON: what stores keep, and what clients get
 */
#ifndef STORE_ITEM_H
#define STORE_ITEM_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Writes {"id":1,"name":"...","description":"..."} at `out`, of
 * STORE_ITEM_JSON_MAX bytes; a description whose p is NULL is null; id 0 leaves
 * the id out. Gives the length.
 */
size_t item_write(char *out, int64_t id, struct slice name,
		  struct slice description);

/* Whether a text is what item_write leaves of an item without its id, or what
 * an editor could make of that. */
bool item_is_valid(struct slice json);

/*
 * Writes such a text with its id, at `out` of STORE_ITEM_JSON_MAX bytes. Gives
 * the length; 0: it is not valid, or too long.
 */
size_t item_with_id(char *out, int64_t id, struct slice json);

#endif
