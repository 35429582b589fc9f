/*
 * items.h - the file store's items: `items`, a line of JSON each
 *
 * The calls of store.h that concern items are defined here; these are for
 * store.c alone.
 */
#ifndef STORE_FILE_ITEMS_H
#define STORE_FILE_ITEMS_H

#include "store/file/disk.h"

/* Both must outlive it. */
void items_open(const struct settings *settings, struct folder *folder);
void items_close(void);

struct disk_file *items_file(void);

#endif
