/*
 * net.h - a server that a store talks to: deadlines, idle connections, the
 * breaker and its probes
 *
 * A conversation is a connection whose greeting (login, settings) is done.
 *
 * 1. A call has one deadline, which includes connecting. Sockets are
 *    non-blocking and nothing here waits beyond the deadline.
 * 2. After any failure the conversation is closed, so that a late reply is
 *    never taken for the reply of the next call.
 * 3. Before a call the idle connection is checked. If the server has closed it
 *    or has sent something unasked, a new one is opened: no byte of the call
 *    was sent. Any other call that failed may have been carried out and is not
 *    sent again.
 * 4. A call that runs into its deadline or cannot connect opens the breaker:
 *    further calls fail at once until a probe has opened a conversation. Probes
 *    are made in net_tick, which never blocks.
 *
 * The protocol opens a conversation in steps. Calls wait between the steps,
 * probes do not; both use the same code.
 */
#ifndef STORE_NET_NET_H
#define STORE_NET_NET_H

#include "store/net/resolver.h"

#include <stdbool.h>
#include <stdint.h>

enum net_step {
	NET_FAILED, /* the reason is noted with fail() */
	NET_READ,   /* continue when peer->fd is readable */
	NET_WRITE,  /* continue when peer->fd is writable */
	NET_DONE,   /* the conversation is open */
};

struct net_peer;

/* How a protocol opens and closes a conversation. None of these blocks. */
struct net_protocol {
	/* Starts to connect to an address and sets peer->fd. */
	enum net_step (*begin)(struct net_peer *peer,
			       const struct net_address *address);
	/* The next step; may set another peer->fd. */
	enum net_step (*go_on)(struct net_peer *peer);
	/* Closes what is open, also after NET_FAILED, and sets peer->fd to -1.
	 */
	void (*end)(struct net_peer *peer);
};

enum net_state { NET_CLOSED, NET_OPENING, NET_OPEN };

struct net_peer {
	const struct net_protocol *protocol;
	void *context;	/* of the protocol */
	char name[160]; /* for messages: "redis at localhost:6379" */
	int timeout;	/* of a call, ms */
	int epoll;	/* watches the probe and the idle socket */
	int fd;		/* of the conversation, or -1 */
	enum net_state state;
	unsigned generation; /* number of conversations opened so far */
	int64_t up_at;	     /* when the last one was opened, of clock_ms() */

	/* Private to net.c. Times are those of clock_ms(). */
	struct resolver resolver;
	struct net_address addresses[RESOLVER_MAX];
	int addresses_len, address_at, tried;
	int64_t opening_until;	  /* deadline of all addresses */
	int64_t address_until;	  /* deadline of this address */
	int watched, watched_for; /* descriptor and events in `epoll` */
	bool is_called;		  /* since the last tick */
	bool is_down;		  /* the breaker is open */
	char why[256];		  /* its reason, for the calls that fail, */
	int fault;		  /* and the kind (failure.h) */
	int64_t probe_at;	  /* when the next probe is due */
	int wait;		  /* ms between two probes */
};

/*
 * Makes a peer at `host`: a name, an address, or the path of a socket. Nothing
 * is connected yet. `what` is the server's kind in messages. Host, protocol and
 * context must outlive the peer. Gives 0, or 503 with fail(): the path is too
 * long. After 503 the peer need not be closed.
 */
int net_open(struct net_peer *peer, const char *what, const char *host,
	     int port, int timeout, int epoll,
	     const struct net_protocol *protocol, void *context);
void net_close(struct net_peer *peer);

/*
 * Before a call: makes sure that a conversation is open and not stale. Gives 0,
 * or 503 with fail(). `until` is the deadline of the call, a time of
 * clock_ms().
 */
int net_ready(struct net_peer *peer, int64_t until);

/* After a call has failed: ends the conversation. */
void net_broken(struct net_peer *peer);
/* After a call has run into its deadline and has noted that with fail(): opens
 * the breaker, too. */
void net_late(struct net_peer *peer);

/* Whether the breaker is open. */
bool net_is_down(const struct net_peer *peer);

/* Takes the steps of a probe that are due, and checks the idle connection.
 * Gives the ms after which it is to be called again; -1: only after a call. */
int net_tick(struct net_peer *peer);

/* For protocols: a non-blocking socket that connects to an address, or -1 with
 * errno. */
int net_connect(const struct net_address *address);
/* Whether it is connected: 1; 0: not yet; -1 with errno: it has failed. */
int net_is_connected(int fd);

#endif
