#include "store/net/net.h"

#include "store/failure.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	/* Before the first probe; doubled for each further one, up to: */
	WAIT_MS = 50,
	WAIT_MAX = 1000,      /* while connecting fails */
	WAIT_LATE_MAX = 5000, /* for a server that connects and is silent */
	CALM_MS = 10000,      /* a server up that long starts at WAIT_MS */
	/* TCP keep-alive: seconds idle, between probes, and their number. */
	IDLE_S = 15,
	IDLE_AGAIN_S = 5,
	IDLE_TIMES = 3,
};

/*
 * Sockets
 */

/* Errors are ignored: a socket of another family has no such options. */
static void net_set_options(int fd)
{
	const struct {
		int level, name, value;
	} options[] = {
		{IPPROTO_TCP, TCP_NODELAY, 1},
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, IDLE_AGAIN_S},
		{IPPROTO_TCP, TCP_KEEPCNT, IDLE_TIMES},
	};

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
		setsockopt(fd, options[i].level, options[i].name,
			   &options[i].value, sizeof(options[i].value));
}

int net_connect(const struct net_address *address)
{
	int fd = socket(address->where.ss_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (address->where.ss_family != AF_UNIX)
		net_set_options(fd);
	if (connect(fd, (const struct sockaddr *)&address->where,
		    address->len) == 0 ||
	    errno == EINPROGRESS || errno == EINTR)
		return fd;
	int error = errno;
	close(fd);
	errno = error;
	return -1;
}

int net_is_connected(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int error = 0;
	socklen_t len = sizeof(error);

	if (poll(&ready, 1, 0) == 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
	    error == 0)
		return 1;
	errno = error;
	return -1;
}

/* Whether the server has closed an idle connection, or has sent something
 * unasked. */
static bool net_is_stale(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

/*
 * Events of the socket and of the resolver's line wake the worker, which then
 * calls net_tick.
 */

static void net_watch(struct net_peer *peer, uint32_t events)
{
	struct epoll_event event = {.events = events};

	if (peer->watched == peer->fd && peer->watched_for == (int)events)
		return;
	/* The library may have closed a socket and opened another one under the
	 * same number. */
	if (epoll_ctl(peer->epoll, EPOLL_CTL_MOD, peer->fd, &event) < 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_ADD, peer->fd, &event);
	peer->watched = peer->fd;
	peer->watched_for = (int)events;
}

static void net_unwatch(struct net_peer *peer)
{
	if (peer->watched >= 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_DEL, peer->watched, NULL);
	peer->watched = -1;
}

/* A child that was forked again has another line. */
static void net_watch_resolver(struct net_peer *peer)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (peer->resolver.line >= 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_ADD, peer->resolver.line,
			  &event);
}

static void net_ask_resolver(struct net_peer *peer)
{
	resolver_ask(&peer->resolver);
	net_watch_resolver(peer);
}

/*
 * Opening
 */

static void net_end(struct net_peer *peer)
{
	net_unwatch(peer);
	if (peer->state != NET_CLOSED)
		peer->protocol->end(peer);
	peer->state = NET_CLOSED;
	peer->fd = -1;
}

static int net_find_addresses(struct net_peer *peer, int64_t until)
{
	const char *why;
	int n = resolver_get(&peer->resolver, peer->addresses, &why, until);

	peer->addresses_len = n;
	if (n > 0)
		return 0;
	net_ask_resolver(peer);
	return fail_as(FAULT_AWAY, "%s: cannot find its address: %s",
		       peer->name,
		       why ? why : "no name server has answered yet");
}

/* Begins at the next address, which gets its share of the time that is left.
 * The first one is the address that was connected last. */
static enum net_step net_begin_next(struct net_peer *peer)
{
	int left = peer->addresses_len - peer->tried;
	int64_t now = clock_ms();

	if (left <= 0)
		return NET_FAILED;
	if (peer->tried++ > 0)
		peer->address_at++;
	peer->address_at %= peer->addresses_len;
	peer->address_until = now + (peer->opening_until - now) / left;
	peer->state = NET_OPENING;
	return peer->protocol->begin(peer, &peer->addresses[peer->address_at]);
}

/* Takes a step's result, and goes to the next address after a failure. */
static enum net_step net_advance(struct net_peer *peer, enum net_step step)
{
	for (;;) {
		if (step == NET_DONE)
			return step;
		if (step != NET_FAILED) {
			if (clock_ms() < peer->address_until)
				return step;
			fail_as(FAULT_LATE, "%s: no connection within %d ms",
				peer->name, peer->timeout);
		}
		net_end(peer);
		if (peer->tried == peer->addresses_len)
			return NET_FAILED;
		step = net_begin_next(peer);
	}
}

static enum net_step net_begin(struct net_peer *peer, int64_t until,
			       bool may_wait)
{
	if (net_find_addresses(peer, may_wait ? until : 0))
		return NET_FAILED;
	peer->opening_until = until;
	peer->tried = 0;
	return net_advance(peer, net_begin_next(peer));
}

static enum net_step net_go_on(struct net_peer *peer)
{
	return net_advance(peer, peer->protocol->go_on(peer));
}

static void net_come_up(struct net_peer *peer)
{
	peer->state = NET_OPEN;
	peer->is_down = false;
	peer->up_at = clock_ms();
	peer->generation++;
	net_watch(peer, EPOLLIN | EPOLLRDHUP);
}

/* The reason is copied: it is told in later turns. */
static void net_schedule_probe(struct net_peer *peer)
{
	snprintf(peer->why, sizeof(peer->why), "%s", store_error());
	peer->fault = failure_fault();
	peer->probe_at = clock_ms() + peer->wait;
	net_ask_resolver(peer);
}

/*
 * Opens the breaker. A server that connects and then is silent costs a call its
 * whole deadline each time it is tried; a refused connection costs nothing.
 */
static void net_go_down(struct net_peer *peer, bool is_late)
{
	net_end(peer);
	peer->is_down = true;
	if (!is_late || clock_ms() - peer->up_at > CALM_MS || peer->wait == 0)
		peer->wait = WAIT_MS;
	else if (peer->wait < WAIT_LATE_MAX)
		peer->wait *= 2;
	net_schedule_probe(peer);
}

static short net_poll_events(enum net_step step)
{
	return step == NET_READ ? POLLIN : POLLOUT;
}

static int net_open_now(struct net_peer *peer, int64_t until)
{
	if (clock_ms() >= until)
		return fail_as(FAULT_LATE, "%s: no time was left for it",
			       peer->name);
	enum net_step step = net_begin(peer, until, true);
	while (step == NET_READ || step == NET_WRITE) {
		struct pollfd ready = {.fd = peer->fd,
				       .events = net_poll_events(step)};
		int64_t left = peer->address_until - clock_ms();

		if (left > 0)
			poll(&ready, 1, (int)left);
		step = net_go_on(peer);
	}
	if (step == NET_FAILED) {
		net_go_down(peer, false);
		return 503;
	}
	net_come_up(peer);
	return 0;
}

/* Gives the milliseconds until it is to be called again; -1: the conversation
 * is open. */
static int net_probe(struct net_peer *peer)
{
	int64_t now = clock_ms();
	enum net_step step;

	if (peer->state == NET_OPENING)
		step = net_go_on(peer);
	else if (now < peer->probe_at)
		return (int)(peer->probe_at - now);
	else
		step = net_begin(peer, now + peer->timeout, false);
	if (step == NET_DONE) {
		net_come_up(peer);
		return -1;
	}
	if (step == NET_FAILED) {
		if (peer->wait < WAIT_MAX)
			peer->wait *= 2;
		net_schedule_probe(peer);
		return peer->wait;
	}
	net_watch(peer, step == NET_READ ? EPOLLIN : EPOLLOUT);
	int64_t left = peer->address_until - clock_ms();
	return left > 0 ? (int)left : 0;
}

/*
 * The calls
 */

int net_open(struct net_peer *peer, const char *what, const char *host,
	     int port, int timeout, int epoll,
	     const struct net_protocol *protocol, void *context)
{
	*peer = (struct net_peer){
		.protocol = protocol,
		.context = context,
		.timeout = timeout,
		.epoll = epoll,
		.fd = -1,
		.watched = -1,
	};
	if (host[0] == '/')
		snprintf(peer->name, sizeof(peer->name), "%s at %s", what,
			 host);
	else
		snprintf(peer->name, sizeof(peer->name),
			 strchr(host, ':') ? "%s at [%s]:%d" : "%s at %s:%d",
			 what, host, port);
	if (resolver_open(&peer->resolver, host, port) < 0)
		return fail("%s:", peer->name);
	net_watch_resolver(peer);
	return 0;
}

void net_close(struct net_peer *peer)
{
	net_end(peer);
	resolver_close(&peer->resolver);
}

int net_ready(struct net_peer *peer, int64_t until)
{
	peer->is_called = true;
	if (peer->is_down)
		return fail_as((enum fault)peer->fault, "%s", peer->why);
	if (peer->state == NET_OPEN && net_is_stale(peer->fd))
		net_end(peer);
	return peer->state == NET_OPEN ? 0 : net_open_now(peer, until);
}

void net_broken(struct net_peer *peer)
{
	net_end(peer);
}

void net_late(struct net_peer *peer)
{
	net_go_down(peer, true);
}

bool net_is_down(const struct net_peer *peer)
{
	return peer->is_down;
}

/* A call in this turn has checked the connection: that saves a recv here. */
int net_tick(struct net_peer *peer)
{
	if (!peer->is_called) {
		resolver_tick(&peer->resolver);
		if (peer->state == NET_OPEN && net_is_stale(peer->fd))
			net_end(peer);
	}
	peer->is_called = false;
	return peer->is_down ? net_probe(peer) : -1;
}
