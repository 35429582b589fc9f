/*
 * turn.h - one turn of a worker's loop: read, commit, answer
 *
 * A turn is a transaction: read.c parses every request that has arrived into a
 * job, commit.c makes the store's calls for all jobs, and only then answer.c
 * sends the replies. While the worker waits for the disk, the next requests
 * gather in the sockets: more load makes larger batches, and a larger batch
 * makes a durable visit cheaper.
 *
 * 1. A reply that shows a total is sent after the commit of its turn.
 * 2. The k-th visitor of a counter in a turn gets total-n+k, and a read sees
 *    those before it: the totals that one client sees never decrease.
 * 3. An ordinary request costs one recv and one send; everything else is a cost
 *    of the turn. It allocates no memory: requests are parsed where they were
 *    received, in the turn's arena.
 * 4. What a worker holds is bounded, whatever peers send: TURN_ARENA and
 *    CONN_BUFFERED_MAX, TURN_PARTS and TURN_JOBS, TURN_OUT for a connection.
 * 5. No kind of request takes the places of a turn from others. A call of the
 *    store takes a bounded number of jobs; a connection whose request does not
 *    fit waits in a list of that kind, in order of arrival, and is not parsed
 *    again before there is room. Waiting connections get at most half of the
 *    places of a turn, and each connection gets its share of the jobs of a
 *    crowded turn.
 */
#ifndef TURN_TURN_H
#define TURN_TURN_H

#include "site/site.h"
#include "store/store.h"
#include "turn/access.h"
#include "turn/conn.h"
#include "util/reason.h"

enum {
	TURN_RECV = 16384,    /* bytes received from a connection in a turn */
	TURN_ARENA = 4 << 20, /* bytes received in a turn */
	TURN_PARTS = 1024,    /* connections in a turn */
	TURN_JOBS = 4096,     /* requests in a turn */
	TURN_OUT = 61440,     /* expected bytes of replies, a connection */
	TURN_REPLY = STORE_ITEM_JSON_MAX + 1024, /* bytes of any one reply */
	TURN_SLOTS = 2 * TURN_JOBS,		 /* a power of two */
};

/* The part of a connection in a turn. */
struct part {
	struct conn *conn;
	char *input;		  /* in the arena, or kept by the connection */
	size_t len;		  /* bytes of it */
	size_t used;		  /* bytes of requests that became jobs */
	size_t first, jobs;	  /* its jobs, by their index in turn->places */
	size_t out;		  /* expected bytes of their replies */
	struct progress progress; /* of the request at input + used */
	enum conn_state waits;	  /* CONN_READY or CONN_WAIT_...: a whole
				   * request is left for a later turn; or 0 */
	bool reads_items;	  /* one of its jobs does */
	bool wants_continue;
	bool may_have_more; /* in the socket */
	bool closes;	    /* after its last job */
};

/* A job, and where it is in the arrays of the turn's store calls. */
struct place {
	struct job job;
	size_t at;	/* index of its tally, item or new item */
	int64_t visits; /* of its counter in this turn, up to and with it */
};

/* The store's last answer to a ping. */
struct health {
	int64_t until; /* it may be given, a time of clock_ms() */
	int status;
	char error[REASON_MAX];
};

struct turn {
	const struct settings *settings;
	struct conn_pool *pool;
	struct moment moment;
	bool ends;	   /* the worker exits: connections close */
	size_t jobs_max;   /* limit of `len` in this phase of reading */
	size_t jobs_share; /* limit of a part */
	struct part parts[TURN_PARTS];
	size_t parts_len;
	struct place places[TURN_JOBS];
	struct access access[TURN_JOBS];  /* used only with an access log */
	char rooms[TURN_JOBS][SITE_ROOM]; /* only by paths with escapes */
	size_t len;
	struct tally tallies[TURN_JOBS];
	size_t tallies_len;
	uint16_t slots[TURN_SLOTS]; /* hash of a name -> its tally, plus one */
	uint16_t taken[TURN_JOBS];  /* slots in use */
	size_t slots_len;
	struct item items[STORE_ITEMS_MAX]; /* to be read by id */
	size_t items_len;
	struct item new_items[STORE_NEW_ITEMS_MAX];
	size_t new_items_len;
	bool pings; /* a job is CALL_PING */
	struct health health;
	struct job
		*change; /* the CALL_SET or CALL_DROP of this turn, or NULL */
	size_t arena_used, texts_used;
	struct http_request request;
	size_t out_len;
	char out[TURN_OUT + TURN_REPLY];
	char scratch[SITE_SCRATCH];
	char texts[STORE_NEW_BYTES_MAX]; /* decoded from bodies */
	char arena[TURN_ARENA];
};

/* Allocates a turn, for the life of the worker; its arguments must outlive it.
 * NULL with errno. */
struct turn *turn_open(const struct settings *settings, struct conn_pool *pool);

/*
 * Begins a turn: reads the clock and the requests of connections that wait for
 * a turn. `events` is the number of connections that will be read, an estimate.
 */
void turn_begin(struct turn *turn, size_t events);

/* Whether another connection can be read in this turn. */
bool turn_has_place(const struct turn *turn);

/* Receives from a connection and makes jobs of its whole requests. At end of
 * input the connection is closed. */
void turn_read(struct turn *turn, struct conn *c);

/* Makes the store's calls of all jobs and puts the results into them. */
void turn_commit(struct turn *turn);

/* Sends the replies of all jobs, moves the connections to their next states,
 * and ends the turn. */
void turn_answer(struct turn *turn);

/* Called between turns: answers the half request of a connection with `status`
 * and closes it. `why` is a static phrase. */
void turn_refuse(struct turn *turn, struct conn *c, int status,
		 const char *why);

/* Sends kept output of a connection in CONN_SEND. */
void turn_flush(struct turn *turn, struct conn *c);

#endif
