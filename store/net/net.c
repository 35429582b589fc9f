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
	WAIT_MS = 50,	 /* before the first probe; doubled for each more */
	WAIT_MAX = 1000, /* while nobody is there */
	WAIT_LATE_MAX = 5000, /* for one that opens and then does not answer */
	CALM_MS = 10000,      /* who was up that long is new to failing */
	IDLE_S = 15,	  /* the kernel then asks an idle peer whether it is, */
	IDLE_AGAIN_S = 5, /* and again, */
	IDLE_TIMES = 3,	  /* until it takes it for gone */
};

/*
 * Sockets
 */

/* Errors are not looked at: a socket of another family has no such options. */
static void set_options(int fd)
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
		set_options(fd);
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

/* Whether the other side has closed it, or has sent what nobody asked for. */
static bool is_stale(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

	return n >= 0 || (errno != EAGAIN && errno != EINTR);
}

/*
 * Watching: what epoll says of it wakes the worker, which then calls net_tick.
 */

static void watch(struct net_peer *peer, uint32_t events)
{
	struct epoll_event event = {.events = events};

	if (peer->watched == peer->fd && peer->watched_for == (int)events)
		return;
	/* A library may have closed one socket and opened another with the same
	 * number. */
	if (epoll_ctl(peer->epoll, EPOLL_CTL_MOD, peer->fd, &event) < 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_ADD, peer->fd, &event);
	peer->watched = peer->fd;
	peer->watched_for = (int)events;
}

static void unwatch(struct net_peer *peer)
{
	if (peer->watched >= 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_DEL, peer->watched, NULL);
	peer->watched = -1;
}

/* The resolver is reborn now and then, with another line. */
static void watch_resolver(struct net_peer *peer)
{
	struct epoll_event event = {.events = EPOLLIN};

	if (peer->resolver.line >= 0)
		epoll_ctl(peer->epoll, EPOLL_CTL_ADD, peer->resolver.line,
			  &event);
}

/*
 * Opening
 */

static void end(struct net_peer *peer)
{
	unwatch(peer);
	if (peer->state != NET_CLOSED)
		peer->protocol->end(peer);
	peer->state = NET_CLOSED;
	peer->fd = -1;
}

static int find_addresses(struct net_peer *peer, int64_t until)
{
	const char *why;
	int n = resolver_get(&peer->resolver, peer->addresses, &why, until);

	peer->addresses_len = n;
	if (n > 0)
		return 0;
	resolver_ask(&peer->resolver);
	watch_resolver(peer);
	return fail("%s: cannot find its address: %s", peer->name,
		    why ? why : "no name server has answered yet");
}

/* The next address, which gets its share of the time that is left. It begins
 * with the one that was good last. */
static enum net_step begin_next(struct net_peer *peer)
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

/* As far as it goes now. */
static enum net_step advance(struct net_peer *peer, enum net_step step)
{
	for (;;) {
		if (step == NET_DONE)
			return step;
		if (step != NET_FAILED) {
			if (clock_ms() < peer->address_until)
				return step;
			fail("%s: no connection within %d ms", peer->name,
			     peer->timeout);
		}
		end(peer);
		if (peer->tried == peer->addresses_len)
			return NET_FAILED;
		step = begin_next(peer);
	}
}

static enum net_step begin(struct net_peer *peer, int64_t until, bool may_wait)
{
	if (find_addresses(peer, may_wait ? until : 0))
		return NET_FAILED;
	peer->opening_until = until;
	peer->tried = 0;
	return advance(peer, begin_next(peer));
}

static enum net_step go_on(struct net_peer *peer)
{
	return advance(peer, peer->protocol->go_on(peer));
}

static void come_up(struct net_peer *peer)
{
	peer->state = NET_OPEN;
	peer->is_down = false;
	peer->up_at = clock_ms();
	peer->generation++;
	watch(peer, EPOLLIN | EPOLLRDHUP);
}

/*
 * The breaker. A server that takes connections and then is silent costs a call
 * its whole deadline each time that it is tried; one that is not there costs
 * nothing.
 */
static void go_down(struct net_peer *peer, bool is_late)
{
	int64_t now = clock_ms();

	end(peer);
	peer->is_down = true;
	snprintf(peer->why, sizeof(peer->why), "%s", failure_reason());
	if (!is_late || now - peer->up_at > CALM_MS || peer->wait == 0)
		peer->wait = WAIT_MS;
	else if (peer->wait < WAIT_LATE_MAX)
		peer->wait *= 2;
	peer->probe_at = now + peer->wait;
	resolver_ask(&peer->resolver);
	watch_resolver(peer);
}

static short poll_events(enum net_step step)
{
	return step == NET_READ ? POLLIN : POLLOUT;
}

static int open_now(struct net_peer *peer, int64_t until)
{
	if (clock_ms() >= until)
		return fail("%s: no time was left for it", peer->name);
	enum net_step step = begin(peer, until, true);
	while (step == NET_READ || step == NET_WRITE) {
		struct pollfd ready = {.fd = peer->fd,
				       .events = poll_events(step)};
		int64_t left = peer->address_until - clock_ms();

		if (left > 0)
			poll(&ready, 1, (int)left);
		step = go_on(peer);
	}
	if (step == NET_FAILED) {
		go_down(peer, false);
		return 503;
	}
	come_up(peer);
	return 0;
}

static void fail_probe(struct net_peer *peer)
{
	snprintf(peer->why, sizeof(peer->why), "%s", failure_reason());
	if (peer->wait < WAIT_MAX)
		peer->wait *= 2;
	peer->probe_at = clock_ms() + peer->wait;
	resolver_ask(&peer->resolver);
	watch_resolver(peer);
}

/* Milliseconds until it has to be called again; -1: it is over, and good. */
static int probe(struct net_peer *peer)
{
	int64_t now = clock_ms();
	enum net_step step;

	if (peer->state == NET_OPENING)
		step = go_on(peer);
	else if (now < peer->probe_at)
		return (int)(peer->probe_at - now);
	else
		step = begin(peer, now + peer->timeout, false);
	if (step == NET_DONE) {
		come_up(peer);
		return -1;
	}
	if (step == NET_FAILED) {
		fail_probe(peer);
		return peer->wait;
	}
	watch(peer, step == NET_READ ? EPOLLIN : EPOLLOUT);
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
	watch_resolver(peer);
	return 0;
}

void net_close(struct net_peer *peer)
{
	end(peer);
	resolver_close(&peer->resolver);
}

int net_ready(struct net_peer *peer, int64_t until)
{
	peer->is_called = true;
	if (peer->is_down)
		return fail("%s", peer->why);
	if (peer->state == NET_OPEN && is_stale(peer->fd))
		end(peer);
	return peer->state == NET_OPEN ? 0 : open_now(peer, until);
}

void net_broken(struct net_peer *peer)
{
	end(peer);
}

void net_late(struct net_peer *peer)
{
	go_down(peer, true);
}

bool net_is_down(const struct net_peer *peer)
{
	return peer->is_down;
}

/* A call has looked at the connection itself: this saves a recv a turn. */
int net_tick(struct net_peer *peer)
{
	if (!peer->is_called) {
		resolver_tick(&peer->resolver);
		if (peer->state == NET_OPEN && is_stale(peer->fd))
			end(peer);
	}
	peer->is_called = false;
	return peer->is_down ? probe(peer) : -1;
}
