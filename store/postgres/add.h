/*
 * add.h - the visits of a turn; store_add is defined in add.c
 */
#ifndef STORE_POSTGRES_ADD_H
#define STORE_POSTGRES_ADD_H

/* Forgets what is known of counters, and frees memory. */
void add_forget(void);

#endif
