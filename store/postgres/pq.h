/*
 * pq.h - a conversation with a PostgreSQL server: prepared statements, each
 * call under one deadline
 *
 * libpq speaks the protocol, by its asynchronous calls; the time, the breaker
 * and the names of hosts are net.h's. The steps of a call are one pipeline, and
 * so one transaction: all of them happen, or none.
 */
#ifndef STORE_POSTGRES_PQ_H
#define STORE_POSTGRES_PQ_H

#include "store/net/net.h"
#include "util/settings.h"

#include <libpq-fe.h>
#ifndef LIBPQ_HAS_PIPELINING
#error "STORE=postgres needs libpq of PostgreSQL 14 or newer"
#endif
#include <stdbool.h>

enum {
	PQ_STATEMENTS_MAX = 32,
	PQ_STEPS_MAX = 4,  /* of a call */
	PQ_PARAMS_MAX = 6, /* of a statement */
	PQ_SQLSTATE = 5,
	PQ_COMMANDS_MAX = 2 * PQ_STEPS_MAX + 4, /* that a call sends */
};

/* What is known of the database and its table visit_counter when a conversation
 * is opened. */
struct pq_facts {
	bool is_there; /* else the rest is not known */
	bool fits;     /* it has a unique name and visits of integers, */
	bool is_small; /* of 32 bits */
	bool is_read_committed; /* a transaction, by default */
	char encoding[32];	/* of the database: "UTF8" */
};

struct pq {
	struct net_peer peer;
	const struct settings *settings;
	const char *const *texts; /* of the statements, $1 ... their values */
	char host[1024];	  /* or the folder of its socket */
	int port;
	PQconninfoOption *url; /* what DATABASE_URL says; or NULL */
	PGconn *conn;
	bool is_asking;	   /* the greeting, connected */
	bool is_pooled;	   /* nothing of a session stays: pq_send_frame */
	unsigned prepared; /* in this conversation, a bit a statement */
	struct pq_facts facts;
	char durability[64]; /* "synchronous_commit on"; "": not known */
	char sqlstate[PQ_SQLSTATE + 1]; /* of the last call; "" */
};

/* A statement with its values; NULLs are NULL. The result is to be cleared. */
struct pq_step {
	int statement; /* its number among the texts */
	int len;       /* of the values */
	const char *values[PQ_PARAMS_MAX];
	PGresult *result; /* out: NULL after a failure */
};

/* There is a conversation, and its facts are known. Gives 0, or 503 with
 * fail().
 */
int pq_ready(struct pq *pq, int64_t until);

/* As store_tick, for this server. */
int pq_tick(struct pq *pq);

/*
 * Makes the steps, by `until` (clock_ms). Gives 0, or 503 with fail(). What the
 * server refused has pq->sqlstate, and was not done at all; after any other
 * failure it may have been.
 */
int pq_call(struct pq *pq, struct pq_step *steps, int len, int64_t until);

/* Several commands without values, in a transaction of their own. Likewise. */
int pq_run(struct pq *pq, const char *commands, int64_t until);

#endif
