/*
 * net.h - a server that a store talks to: the deadline, the stale connection,
 * the breaker, and the probe that finds out when the server is back
 *
 * 1. A call has one deadline, connecting included, and nothing here blocks
 *    beyond it. Sockets never block.
 * 2. After a failure of any kind the conversation is closed: a late reply is
 *    never taken for that of the next call.
 * 3. Before a call the idle connection is looked at. One that the server has
 *    closed, or on which something came unasked, is opened anew: no byte of the
 *    call was sent. Any other call that failed may have been carried out, and
 *    is not sent again.
 * 4. A call that ran into its deadline or could not connect opens the breaker:
 *    the calls after it fail at once, until a probe has opened a conversation.
 *    It is made in net_tick, which never blocks.
 *
 * To open a conversation is the protocol's affair. It does it in steps, so that
 * calls (waiting between the steps) and probes (not waiting) do it the same
 * way.
 */
#ifndef STORE_NET_NET_H
#define STORE_NET_NET_H

#include "store/net/resolver.h"

#include <stdbool.h>
#include <stdint.h>

enum net_step {
	NET_FAILED, /* fail() has been told why */
	NET_READ,   /* go on when peer->fd is readable */
	NET_WRITE,  /* or writable */
	NET_DONE,   /* the conversation is open */
};

struct net_peer;

/* How a protocol opens and ends a conversation. None of these ever blocks. */
struct net_protocol {
	/* Begins at an address and sets peer->fd. The next call is go_on. */
	enum net_step (*begin)(struct net_peer *peer,
			       const struct net_address *address);
	/* May set another peer->fd. After NET_FAILED comes end. */
	enum net_step (*go_on)(struct net_peer *peer);
	/* Closes whatever is open. peer->fd is -1 afterwards. */
	void (*end)(struct net_peer *peer);
};

enum net_state { NET_CLOSED, NET_OPENING, NET_OPEN };

struct net_peer {
	const struct net_protocol *protocol;
	void *context;	/* the protocol's */
	char name[160]; /* "redis at localhost:6379", for people */
	int timeout;	/* of a call, ms */
	int epoll;	/* where the probe and the idle socket are watched */
	int fd;		/* of the conversation, or -1 */
	enum net_state state;
	unsigned generation; /* how many conversations were opened */

	/* Private to net.c. */
	struct resolver resolver;
	struct net_address addresses[RESOLVER_MAX];
	int addresses_len, address_at, tried;
	int64_t opening_until; /* all addresses, */
	int64_t address_until; /* and this one */
	int watched, watched_for;
	bool is_called; /* since the last tick */
	bool is_down;	/* the breaker is open: */
	char why[256];	/* what its calls are told, */
	int64_t probe_at;
	int wait; /* and ms between two probes */
	int64_t up_at;
};

/*
 * Makes a peer at `host` (a name, an address, or the path of a socket; it must
 * outlive the peer). `what` is what people call it. Nothing is connected yet.
 * Gives 0, or 503 with fail().
 */
int net_open(struct net_peer *peer, const char *what, const char *host,
	     int port, int timeout, int epoll,
	     const struct net_protocol *protocol, void *context);
void net_close(struct net_peer *peer);

/*
 * Before a call: there is a conversation, and it is not stale. Gives 0, or 503
 * with fail(). `until` is the deadline of the call, a time of clock_ms().
 */
int net_ready(struct net_peer *peer, int64_t until);

/* During a call: it has failed, why is told by fail(). Ends the conversation.
 */
void net_broken(struct net_peer *peer);
/* The same when it ran into its deadline: the breaker opens. */
void net_late(struct net_peer *peer);

/* Whether the breaker is open. */
bool net_is_down(const struct net_peer *peer);

/* Takes the steps of a probe that are due, and looks at the idle connection.
 * Gives the ms until it wants to be called again, at the latest; or -1. */
int net_tick(struct net_peer *peer);

/*
 * For protocols: a socket that connects to an address and never blocks, or -1
 * with errno; and whether it is connected: 1, 0 not yet, or -1 with errno.
 */
int net_connect(const struct net_address *address);
int net_is_connected(int fd);

#endif
