/*
 * check.h - whether a visit would count, without any change
 */
#ifndef STORE_POSTGRES_CHECK_H
#define STORE_POSTGRES_CHECK_H

#include <stdint.h>

/* Gives 0, or 503 with fail(). */
int check_visit(void);

/* The home total, asked of PostgreSQL itself and not of its cache. Likewise. */
int check_total(int64_t *total);

#endif
