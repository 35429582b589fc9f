/*
 * pq_fail.h - why a call of libpq failed
 */
#ifndef STORE_POSTGRES_PQ_FAIL_H
#define STORE_POSTGRES_PQ_FAIL_H

#include "store/postgres/pq.h"

/* Each notes the reason with fail_as(), and gives 503. */

/* Of a connection that was not opened, or is lost. */
int pq_fail_connection(const struct pq *pq);

/* Of a result that is an error, whose SQLSTATE then is pq->sqlstate. */
int pq_fail_result(struct pq *pq, const PGresult *result);

#endif
