/*
 * pq_open.h - where the PostgreSQL server is, and opening a conversation
 */
#ifndef STORE_POSTGRES_PQ_OPEN_H
#define STORE_POSTGRES_PQ_OPEN_H

#include "store/postgres/pq.h"

/* Whether the settings say where one server is. Gives 0, or 503 with fail(). */
int pq_check(const struct settings *settings);

/* `texts` ends with a NULL; both arguments must outlive it. Gives 0, or 503
 * with fail(). */
int pq_open(struct pq *pq, const struct settings *settings,
	    const char *const *texts, int epoll);
void pq_close(struct pq *pq);

#endif
