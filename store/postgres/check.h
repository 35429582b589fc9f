/*
 * check.h - whether a visit would count, without any change
 */
#ifndef STORE_POSTGRES_CHECK_H
#define STORE_POSTGRES_CHECK_H

/* Gives 0, or 503 with fail(). */
int check_visit(void);

#endif
