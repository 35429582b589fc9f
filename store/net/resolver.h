/*
 * resolver.h - the addresses of a host, looked up by a child process
 *
 * getaddrinfo has no deadline: a silent name server held it for 20 s. So a
 * child calls it, every few seconds and whenever it is asked to, and sends its
 * parent the addresses. It exits when its parent does. A numeric address and
 * the path of a socket need no child.
 */
#ifndef STORE_NET_RESOLVER_H
#define STORE_NET_RESOLVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

enum { RESOLVER_MAX = 8 /* addresses of a host */ };

struct net_address {
	struct sockaddr_storage where;
	socklen_t len;
};

/* The result of a look-up: one message of the child. */
struct resolver_found {
	int len;
	int error; /* of getaddrinfo, when len is 0 */
	struct net_address addresses[RESOLVER_MAX];
};

struct resolver {
	/* A name, an address, or a path that begins with /. The caller owns
	 * it. */
	const char *host;
	int port;
	bool is_fixed; /* an address or a path: there is no child */
	bool is_known; /* `found` is set */
	struct resolver_found found;
	pid_t child;
	int line; /* socket to the child: a byte asks; -1: there is no child */
	int64_t forked_at;
	int fork_error; /* errno of the last fork; 0: it succeeded */
};

/*
 * Starts to look up a host, which must outlive the resolver. Gives 0, or -1
 * with errno: a path that is too long. A child that cannot be forked is no
 * error: resolver_ask tries again.
 */
int resolver_open(struct resolver *r, const char *host, int port);
void resolver_close(struct resolver *r);

/*
 * Copies up to RESOLVER_MAX addresses and gives their number. Waits for the
 * first look-up until a time of clock_ms(). 0: there are none, and *why says
 * why; NULL there: the first look-up is not done yet.
 */
int resolver_get(struct resolver *r, struct net_address *out, const char **why,
		 int64_t until);

/* Asks for another look-up and does not wait for it. */
void resolver_ask(struct resolver *r);

/* Receives what the child has sent; reaps the child if it is dead. */
void resolver_tick(struct resolver *r);

#endif
