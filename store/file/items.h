/*
 * items.h - the file store's items: `items`, a line of JSON each
 *
 * The calls of store.h that concern items are defined here; these are for
 * store/file/visits.c alone.
 */
#ifndef STORE_FILE_ITEMS_H
#define STORE_FILE_ITEMS_H

#include "util/settings.h"

#include <stdbool.h>

/* 0, or -1 if the path is too long. */
int items_open(const struct settings *settings);
void items_close(void);

/* Whether an item is not on disk yet (SYNC=everysec). */
bool items_is_unsynced(void);
/* Brings it there. -1 with errno. */
int items_sync(void);

#endif
