/*
 * conn.h - connections: their state, what they hold, their deadlines
 *
 * A connection is a small record; while it is idle it owns no buffer. What it
 * keeps between turns is the beginning of a request that has not wholly come
 * (or not been taken up yet), or the end of a reply that its peer has not read.
 */
#ifndef TURN_CONN_H
#define TURN_CONN_H

#include "http/chunks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * What a connection waits for. Each state is a list, ordered by deadline: all
 * that are in it may stay equally long.
 *
 *              accept                     conn_open
 *                |
 *  +---------> IDLE -----+
 *  |             |       |   bytes come: a part of the turn; at the end of the
 *  |             v       |   turn conn_settle puts the connection
 *  |    HEAD <-> turn <-> BODY            where what is left of its input says
 *  |             | ^
 *  |             | +---- READY, WAIT_...  or in a list from which turn_begin
 *  |             v                        takes it without an event
 *  +---------- SEND                       or here, when the peer reads slowly;
 *  (or READY)    |                        turn_flush goes on from here
 *                v
 *              LINGER -> FREE             after the last reply: conn_settle;
 *                                         from everywhere: conn_close
 *
 * HEAD and BODY end in a 408 and IDLE and SEND in a close when their time is
 * over (http.c); only these functions move a connection.
 */
enum conn_state {
	CONN_FREE,
	CONN_IDLE,   /* the first byte of a request: 60 s */
	CONN_HEAD,   /* the rest of a head: 10 s */
	CONN_BODY,   /* the rest of a body: 30 s */
	CONN_SEND,   /* the peer to read: 60 s */
	CONN_LINGER, /* the peer to have read the last reply and close: 2 s */
	CONN_TIMED,  /* those before it have deadlines, those from it on none */
	/* its turn: it has input that no event will announce; */
	CONN_READY = CONN_TIMED,
	/* the same, with a request first for which the last turn had no room
	 * in its calls of the store: */
	CONN_WAIT_ITEM,	  /* to read an item */
	CONN_WAIT_CREATE, /* to make one */
	CONN_WAIT_CHANGE, /* to set or drop a counter */
	CONN_STATES
};

/* How far the request at the start of the input has been understood. */
struct progress {
	size_t scanned; /* bytes in which no further line end was seen */
	size_t head;	/* bytes of the whole head, or 0 */
	size_t whole;	/* bytes of the request, when its length is known */
	bool continued; /* 100 Continue was sent */
	struct http_chunks chunks;
};

struct input {
	size_t len, cap;
	struct progress progress;
	char bytes[];
};

struct output {
	size_t at, len, cap;
	char bytes[];
};

struct conn {
	struct conn *next, *prev; /* in its state's list */
	struct input *input;	  /* NULL: none */
	struct output *output;	  /* NULL: none */
	int64_t deadline;	  /* clock_ms() */
	int fd;
	uint8_t state;	    /* enum conn_state */
	bool is_registered; /* in epoll */
	bool wants_out;	    /* registered for EPOLLOUT rather than EPOLLIN */
	bool in_turn;	    /* has a part in this turn */
	bool closing;	    /* ends when its output is sent; */
	bool lingering;	    /* then by waiting for the peer to close */
	unsigned drained;   /* bytes thrown away while lingering */
};

struct conn_list {
	struct conn *first, *last;
	size_t len;
};

struct conn_pool {
	int epoll;
	struct conn *all;
	size_t size;	 /* records */
	size_t used;	 /* of them ever used */
	size_t open;	 /* of them in use now */
	size_t buffered; /* bytes of all inputs and outputs */
	size_t unsent;	 /* of them in outputs */
	size_t peak;	 /* the most of them since memory was given back */
	bool has_closed; /* one was closed since this was last cleared */
	int64_t now;	 /* clock_ms() of this turn */
	struct conn_list lists[CONN_STATES];
	struct conn_list dead; /* closed in this turn, reused after it */
};

enum { CONN_BUFFERED_MAX = 32 << 20 /* bytes, of one pool */ };

/* Makes room for `size` connections. 0, or -1 with errno. */
int conn_pool_open(struct conn_pool *pool, size_t size, int epoll);

/*
 * Takes an accepted socket, as CONN_IDLE and not yet in epoll. NULL when the
 * pool is full; the socket is then still the caller's.
 */
struct conn *conn_open(struct conn_pool *pool, int fd);

/* Whether conn_open would give NULL now: records closed in this turn are not
 * free before its end. */
bool conn_is_full(const struct conn_pool *pool);

/* Closes at once and frees what it owns. */
void conn_close(struct conn_pool *pool, struct conn *c);

/* The end of a turn: the records closed in it may be used again, since no event
 * can name them any more, and memory that a flood took is given back. */
void conn_end_turn(struct conn_pool *pool);

/* Puts a connection into a state, with the deadline of that state. */
void conn_move(struct conn_pool *pool, struct conn *c, enum conn_state state);

/* The first deadline of all, or INT64_MAX. */
int64_t conn_next_deadline(const struct conn_pool *pool);

/* A connection whose deadline is over, or NULL. */
struct conn *conn_expired(const struct conn_pool *pool);

/* Whether it is in one of the lists that turn_begin takes up. */
bool conn_waits_for_turn(const struct conn *c);

/* How many are. */
size_t conn_waiting(const struct conn_pool *pool);

/* When a CONN_IDLE connection became idle, by clock_ms(). */
int64_t conn_idle_since(const struct conn *c);

/* Who is to go when too much is buffered: a reply whose peer does not read it,
 * if these hold more than half; else of half requests the one that has waited
 * longest, or of whole ones that wait the one that came last, whichever kind
 * has more connections; or NULL. */
struct conn *conn_surplus(const struct conn_pool *pool);

/*
 * Keeps `len` bytes of input, and how far they are understood, for a later
 * turn; they may be the end of what the connection kept before. 0 bytes keep
 * nothing. -1: no memory.
 */
int conn_keep(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len, const struct progress *progress);

/* Adds received bytes to the kept ones. -1: no memory. */
int conn_append(struct conn_pool *pool, struct conn *c, const char *bytes,
		size_t len);

/*
 * Sends, and keeps what the socket does not take (behind what was kept
 * before). -1: the peer is gone, or no memory; the caller closes.
 */
int conn_send(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len);

/* Sends what was kept; output is NULL when all of it is gone. -1 likewise. */
int conn_flush(struct conn_pool *pool, struct conn *c);

/*
 * After a part of a turn, or a send: what becomes of the connection. One with
 * output waits in CONN_SEND; one whose last reply is sent ends, at once or
 * lingering, so that bytes not read here do not make the kernel reset it before
 * the peer has read the reply (RFC 9112 9.6); any other one goes to `rest`. A
 * state that it is in already begins anew if it is `fresh`; else its deadline
 * runs on, whatever has come of a request.
 */
void conn_settle(struct conn_pool *pool, struct conn *c, enum conn_state rest,
		 bool fresh);

/* Throws away what a lingering connection receives; closes it at its end. */
void conn_drain(struct conn_pool *pool, struct conn *c);

/* Registers for what the state waits for. Closes it when that fails. */
void conn_register(struct conn_pool *pool, struct conn *c);

#endif
