/*
 * turn.h - one turn of a worker's loop: read, commit, answer
 *
 * A turn is a transaction. read.c makes jobs of every request that has arrived,
 * commit.c makes the store's calls for all of them at once, and only then
 * answer.c sends their replies. While the worker waits for the disk, the next
 * batch gathers in the sockets: the more load, the larger the batch, the
 * cheaper a durable visit.
 *
 * 1. No reply that shows a total leaves before the commit of its turn.
 * 2. A counter's k-th visitor of a turn gets total-n+k; a read sees the visits
 *    before it: what one client sees never goes back.
 * 3. An ordinary request costs one recv and one send. Everything else is paid
 *    once a turn. No memory is taken on its path: requests are parsed where
 *    they were received, in the turn's arena.
 * 4. Whatever a peer does, what the worker holds is bounded: TURN_ARENA and
 *    CONN_BUFFERED_MAX, TURN_PARTS and TURN_JOBS, TURN_OUT for a connection.
 * 5. No kind of request keeps the places of a turn from others. A store's call
 *    takes a bounded number of jobs; a connection whose job finds no room waits
 *    in a list of that kind and is read again when there is room, first come,
 *    first served. What waits takes at most half of a turn's places, and a
 *    connection at most its share of a crowded turn's jobs.
 */
#ifndef TURN_TURN_H
#define TURN_TURN_H

#include "site/site.h"
#include "store/store.h"
#include "turn/access.h"
#include "turn/conn.h"

enum {
	TURN_RECV = 16384,    /* bytes received from a connection in a turn */
	TURN_ARENA = 4 << 20, /* bytes received in a turn */
	TURN_PARTS = 1024,    /* connections in a turn */
	TURN_JOBS = 4096,     /* requests in a turn */
	TURN_OUT = 61440,     /* expected bytes of replies, a connection */
	TURN_REPLY = STORE_ITEM_JSON_MAX + 1024, /* bytes of any one reply */
	TURN_SLOTS = 2 * TURN_JOBS,		 /* a power of two */
};

/* A connection's part of a turn. */
struct part {
	struct conn *conn;
	char *input;	    /* in the arena, or the connection's own */
	size_t len;	    /* bytes of it */
	size_t used;	    /* bytes of whole requests, all of them jobs */
	size_t first, jobs; /* its jobs */
	size_t out;	    /* bytes that their replies are expected to have */
	struct progress progress; /* of the request at input + used */
	enum conn_state waits;	  /* CONN_READY or CONN_WAIT_...: a whole
				   * request is left for a later turn; or 0 */
	bool reads_items;	  /* one of its jobs does */
	bool wants_continue;
	bool may_have_more; /* in the socket */
	bool closes;	    /* after its last job */
};

/* A job and its place in the turn's calls of the store. */
struct place {
	struct job job;
	size_t at;	/* its tally, item or new item */
	int64_t visits; /* of its counter in this turn, up to this job */
};

struct turn {
	const struct settings *settings;
	struct conn_pool *pool;
	struct moment moment;
	bool ends;	   /* the worker ends: each reply closes */
	size_t jobs_max;   /* that may be taken now: half are for newcomers */
	size_t jobs_share; /* that one connection may take */
	struct part parts[TURN_PARTS];
	size_t parts_len;
	struct place places[TURN_JOBS];
	struct access access[TURN_JOBS];  /* touched only with an access log */
	char rooms[TURN_JOBS][SITE_ROOM]; /* and these only by escapes */
	size_t len;
	struct tally tallies[TURN_JOBS];
	size_t tallies_len;
	uint16_t slots[TURN_SLOTS]; /* hash of a name -> its tally, plus one */
	uint16_t taken[TURN_JOBS];  /* which of them are in use */
	size_t slots_len;
	struct item items[STORE_ITEMS_MAX]; /* to be read */
	size_t items_len;
	struct item new_items[STORE_NEW_ITEMS_MAX];
	size_t new_items_len;
	bool pings;	    /* somebody asks for the store's health */
	struct job *change; /* a CALL_SET or CALL_DROP: one a turn; or NULL */
	size_t arena_used, texts_used;
	struct http_request request;
	size_t out_len;
	char out[TURN_OUT + TURN_REPLY];
	char scratch[SITE_SCRATCH];
	char texts[STORE_NEW_BYTES_MAX]; /* decoded from bodies */
	char arena[TURN_ARENA];
};

/* A turn of nothing, for the life of a worker; NULL with errno. Both have to
 * outlive it. */
struct turn *turn_open(const struct settings *settings, struct conn_pool *pool);

/*
 * Begins a turn: looks at the clock, and takes up what waits in the pool.
 * `events` is how many connections are about to be read.
 */
void turn_begin(struct turn *turn, size_t events);

/* Whether another connection can be read in this turn. */
bool turn_has_place(const struct turn *turn);

/* Receives from a connection, and takes the requests that have wholly come. It
 * is closed at its end. */
void turn_read(struct turn *turn, struct conn *c);

/* Makes the store's calls. */
void turn_commit(struct turn *turn);

/* Answers all jobs, puts every connection of the turn into the state it has
 * after it, and ends the turn. */
void turn_answer(struct turn *turn);

/* Outside of a turn: answers what a connection has sent so far with a refusal,
 * and ends it. `why` is static. */
void turn_refuse(struct turn *turn, struct conn *c, int status,
		 const char *why);

/* What has become of a connection whose output can be sent on. */
void turn_flush(struct turn *turn, struct conn *c);

#endif
