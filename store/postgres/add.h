/*
 * add.h - the visits of a turn; store_add is defined in add.c
 */
#ifndef STORE_POSTGRES_ADD_H
#define STORE_POSTGRES_ADD_H

#include <stdint.h>

/* Adds no visit to the home counter, as a visit is added: the same statement
 * and commit. Makes missing tables. Gives 0, or 503 with fail(), and tells the
 * log. */
int add_probe(void);

/* The largest total that the table's column holds. */
int64_t add_largest_total(void);

/* Forgets what is known of counters, and frees memory. */
void add_forget(void);

#endif
