/*
 * items.h - the items; the calls of store.h are defined in items.c
 */
#ifndef STORE_POSTGRES_ITEMS_H
#define STORE_POSTGRES_ITEMS_H

/* Frees memory. */
void items_free(void);

#endif
