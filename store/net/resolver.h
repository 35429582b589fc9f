/*
 * resolver.h - the addresses of a host, looked up by a process of its own
 *
 * getaddrinfo has no deadline: a name server that is silent held it for 20 s.
 * So a child process calls it, every few seconds and whenever it is asked, and
 * leaves the addresses in memory that is shared with its parent. It ends with
 * its parent. A numeric address and the path of a socket need no child.
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

struct resolver_board;

/* `host` is somebody else's and must outlive it. */
struct resolver {
	const char *host; /* a name, an address, or a path that begins with / */
	int port;
	struct net_address fixed;     /* what needs no child, */
	bool is_fixed;		      /* if it is that */
	struct resolver_board *board; /* what the child has found */
	pid_t child;		      /* 0: it has died */
	int line; /* to the child: a byte asks, a byte answers; -1: no child */
	int64_t born;
};

/* Gives 0, or -1 with errno. */
int resolver_open(struct resolver *r, const char *host, int port);
void resolver_close(struct resolver *r);

/*
 * Copies up to RESOLVER_MAX addresses and gives how many. 0: there are none,
 * and *why says why; a *why that is NULL: the first look-up is not done yet,
 * but will be by the deadline (of clock_ms()), or never.
 */
int resolver_get(struct resolver *r, struct net_address *out, const char **why,
		 int64_t until);

/* Asks for another look, without waiting for it. */
void resolver_ask(struct resolver *r);

/* Takes what the child has sent, and buries it if it is dead. */
void resolver_tick(struct resolver *r);

#endif
