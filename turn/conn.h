/*
 * conn.h - connections: their state, what they hold, their deadlines
 *
 * A connection is a small record; while it is idle it owns no buffer. Between
 * turns it keeps input (the beginning of a request that has not arrived whole,
 * or whole requests that wait for a later turn) or output (the end of a reply
 * that its peer has not read).
 */
#ifndef TURN_CONN_H
#define TURN_CONN_H

#include "http/chunks.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The states of a connection, by what it waits for. Each state is a list in the
 * order of deadlines: the time limit is the same for all connections in it.
 *
 *       conn_open
 *           |                turn_read: bytes arrived, or turn_begin: its turn
 *           v                has come. The connection is a part of the turn,
 *   +---> IDLE  ----+        and keeps its state until the end of the turn.
 *   |     HEAD  ----+
 *   |     BODY  ----+---> a part of the turn
 *   |     READY ----+        |
 *   |     WAIT_* ---+        | conn_settle, at the end of the turn:
 *   |                        |
 *   +------------------------+ input left: by its kind; none: IDLE
 *   |                        |
 *   +--- SEND <--------------+ the socket did not take all output
 *   (turn_flush)  |          |
 *                 v          |
 *               LINGER <-----+ the last reply is sent, input may be unread
 *                 |          |
 *                 v          v
 *                FREE <------+ the last reply is sent (conn_close: from any
 *                              state)
 *
 * When the time is over (http.c) HEAD and BODY are answered with 408, IDLE,
 * SEND and LINGER are closed.
 */
enum conn_state {
	CONN_FREE,
	CONN_IDLE,   /* waits for the first byte of a request: 60 s */
	CONN_HEAD,   /* for the rest of a head: 10 s */
	CONN_BODY,   /* for the rest of a body: 30 s */
	CONN_SEND,   /* for the peer to read: 60 s */
	CONN_LINGER, /* for the peer to close: 2 s */
	CONN_TIMED,  /* the states before this one have deadlines */
	/* Waits for a later turn, with whole requests that epoll will not
	 * report again: */
	CONN_READY = CONN_TIMED,
	/* The same, and the first request needs a call of the store that had
	 * no room for it in the last turn: */
	CONN_WAIT_ITEM,	  /* to read an item */
	CONN_WAIT_CREATE, /* to make one */
	CONN_WAIT_CHANGE, /* to set or drop a counter */
	CONN_STATES
};

/* How far the first request of the input has been parsed. */
struct progress {
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
	bool closing;	    /* closes when its output is sent, */
	bool lingering;	    /* after the peer has closed */
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
	bool has_closed; /* a connection closed since this was cleared */
	int64_t now;	 /* clock_ms() of this turn */
	struct conn_list lists[CONN_STATES];
	struct conn_list dead; /* closed in this turn, reused after it */
};

enum {
	CONN_BUFFERED_MAX = 32 << 20, /* bytes, of one pool */
	CONN_GRACE = 1000,	      /* ms, see conn_give_way */
};

/* Allocates records for `size` connections. Gives 0, or -1 with errno. */
int conn_pool_open(struct conn_pool *pool, size_t size, int epoll);

/*
 * Makes a connection of an accepted socket, in CONN_IDLE and not yet in epoll.
 * NULL: the pool is full, and the caller still owns the socket.
 */
struct conn *conn_open(struct conn_pool *pool, int fd);

/* Whether conn_open would give NULL. Records of connections that closed in this
 * turn become free at its end. */
bool conn_is_full(const struct conn_pool *pool);

/*
 * When the pool is full, one connection gives way to a new one: the longest
 * idle one, else the one whose head has been incomplete for the longest time,
 * else whose body has been; none that is in a turn, waits for one, or has
 * unsent output, and none that has not been so for CONN_GRACE: its request may
 * be on its way. Closes it; false: there is none. Its record is free after the
 * turn.
 */
bool conn_give_way(struct conn_pool *pool);

/* Closes at once and frees what it owns. */
void conn_close(struct conn_pool *pool, struct conn *c);

/* Called at the end of a turn: records of connections that closed in it become
 * free, since no event can point to them any more, and unused memory is
 * returned to the system. */
void conn_end_turn(struct conn_pool *pool);

/* Puts a connection into a state, with the deadline of that state. */
void conn_move(struct conn_pool *pool, struct conn *c, enum conn_state state);

/* The earliest deadline (clock_ms), or INT64_MAX. */
int64_t conn_next_deadline(const struct conn_pool *pool);

/* A connection whose deadline has passed, or NULL. */
struct conn *conn_expired(const struct conn_pool *pool);

/* Whether it is in one of the lists that turn_begin takes from. */
bool conn_waits_for_turn(const struct conn *c);

/* How many connections are. */
size_t conn_waiting(const struct conn_pool *pool);

/* When a CONN_IDLE connection became idle, by clock_ms(). */
int64_t conn_idle_since(const struct conn *c);

/*
 * Chooses the connection to give up when too much is buffered; NULL: none. If
 * unsent output is more than half of it: the connection that has waited longest
 * for its peer to read. Else, of half requests and whole requests that wait for
 * a turn, whichever are more: the half request that has waited longest, or the
 * whole one that arrived last.
 */
struct conn *conn_surplus(const struct conn_pool *pool);

/*
 * Keeps `len` bytes of input for a later turn, and how far they were parsed.
 * `bytes` may point into the input that is kept already. With 0 bytes the input
 * is freed. Gives 0, or -1: no memory.
 */
int conn_keep(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len, const struct progress *progress);

/* Adds received bytes to the kept ones. -1: no memory. */
int conn_append(struct conn_pool *pool, struct conn *c, const char *bytes,
		size_t len);

/*
 * Sends `len` bytes; what the socket does not take is kept as output, behind
 * what is kept already. Gives 0, or -1: the peer is gone, or no memory; the
 * caller closes the connection.
 */
int conn_send(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len);

/* Sends kept output; c->output is NULL when all of it was taken. Gives 0 or -1
 * as conn_send does. */
int conn_flush(struct conn_pool *pool, struct conn *c);

/*
 * Chooses the next state of a connection after its part of a turn or a send.
 * With unsent output it is CONN_SEND. A closing connection without output is
 * closed, or lingers: unread input would make the kernel reset the connection
 * before the peer has read the reply (RFC 9112 9.6). Otherwise the state is
 * `rest`. With `fresh`, the deadline starts anew even if the state stays the
 * same; without, a half request's deadline is not extended by more bytes.
 */
void conn_settle(struct conn_pool *pool, struct conn *c, enum conn_state rest,
		 bool fresh);

/* Discards the input of a lingering connection; closes it at end of input. */
void conn_drain(struct conn_pool *pool, struct conn *c);

/* Registers in epoll for input, or with output for EPOLLOUT. Closes the
 * connection when that fails. */
void conn_register(struct conn_pool *pool, struct conn *c);

#endif
