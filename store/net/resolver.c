/*
 * 1. A message of the child holds a whole result, so that the parent never sees
 *    a part of one. Nothing is shared between the two processes but the socket.
 * 2. The child keeps open only that socket and the three standard descriptors:
 *    a listener that it kept would stay open after the worker has closed it.
 * 3. It exits when the socket is closed, and is killed when its parent dies:
 *    during a look-up it does not read the socket.
 */
#include "store/net/resolver.h"

#include "util/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* Since Linux 5.9; headers may be older. The number is the same on all
 * architectures that glibc and musl have but Alpha. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum {
	EVERY_MS = 5000,      /* between look-ups that nobody asked for */
	AT_LEAST_MS = 250,    /* between any two */
	FORK_AGAIN_MS = 1000, /* between two forks, when the child dies */
	CHILD_LINE = 3,	      /* descriptor of the socket in the child */
	FDS_MAX = 65536, /* descriptors closed one by one, on old kernels */
};

static void resolver_look_up(const char *host, int port, int flags,
			     struct resolver_found *found)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICSERV | flags};
	struct addrinfo *list = NULL;
	char service[16];

	memset(found, 0, sizeof(*found));
	snprintf(service, sizeof(service), "%d", port);
	found->error = getaddrinfo(host, service, &hints, &list);
	if (found->error != 0)
		return;
	for (struct addrinfo *a = list; a && found->len < RESOLVER_MAX;
	     a = a->ai_next) {
		struct net_address *address = &found->addresses[found->len];

		if (a->ai_addrlen > sizeof(address->where))
			continue;
		memcpy(&address->where, a->ai_addr, a->ai_addrlen);
		address->len = a->ai_addrlen;
		found->len++;
	}
	freeaddrinfo(list);
}

/*
 * The child
 */

/* Waits up to `ms` for a question and takes all that have come. Exits when the
 * parent has closed its end. */
static bool resolver_await_question(int ms)
{
	struct pollfd ready = {.fd = CHILD_LINE, .events = POLLIN};
	char question;
	ssize_t n;

	if (poll(&ready, 1, ms) <= 0)
		return false;
	do
		n = recv(CHILD_LINE, &question, 1, MSG_DONTWAIT);
	while (n > 0);
	if (n == 0 || (errno != EAGAIN && errno != EINTR))
		_exit(0);
	return true;
}

/* Sends every result that was asked for or that has changed. One that does not
 * fit into the socket is sent after the next look-up. */
__attribute__((noreturn)) static void resolver_work(const struct resolver *r)
{
	struct resolver_found found, sent = {.len = -1};
	bool is_asked = true;

	for (;;) {
		int64_t from = clock_ms();

		resolver_look_up(r->host, r->port, 0, &found);
		if ((is_asked || memcmp(&found, &sent, sizeof(sent)) != 0) &&
		    send(CHILD_LINE, &found, sizeof(found),
			 MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			memcpy(&sent, &found, sizeof(sent));
		is_asked = resolver_await_question(EVERY_MS);
		int64_t early = from + AT_LEAST_MS - clock_ms();
		if (is_asked && early > 0)
			resolver_await_question((int)early);
	}
}

/* Moves the socket to CHILD_LINE and closes every descriptor after it. */
static void resolver_close_others(int line)
{
	if (dup2(line, CHILD_LINE) < 0)
		_exit(1);
	if (syscall(SYS_close_range, CHILD_LINE + 1u, ~0u, 0u) == 0)
		return;
	for (int fd = CHILD_LINE + 1; fd < FDS_MAX; fd++)
		close(fd);
}

/*
 * The parent
 */

static void resolver_fork(struct resolver *r)
{
	int ends[2];

	r->forked_at = clock_ms();
	r->fork_error = 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
		r->fork_error = errno;
		return;
	}
	r->child = fork();
	if (r->child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		prctl(PR_SET_NAME, "visitd-resolver", 0, 0, 0);
		resolver_close_others(ends[1]);
		resolver_work(r);
	}
	if (r->child < 0) {
		r->fork_error = errno;
		close(ends[0]);
	} else {
		r->line = ends[0];
	}
	close(ends[1]);
}

static void resolver_end_child(struct resolver *r)
{
	if (r->line < 0)
		return;
	close(r->line);
	r->line = -1;
	kill(r->child, SIGKILL);
	while (waitpid(r->child, NULL, 0) < 0 && errno == EINTR)
		;
}

static int resolver_fix_path(struct resolver *r)
{
	struct net_address *address = &r->found.addresses[0];
	struct sockaddr_un where = {.sun_family = AF_UNIX};

	r->is_fixed = true;
	if (strlen(r->host) >= sizeof(where.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(where.sun_path, r->host, strlen(r->host));
	memcpy(&address->where, &where, sizeof(where));
	address->len = sizeof(where);
	r->found.len = 1;
	r->is_known = true;
	return 0;
}

/* A numeric address, which may have a zone (fe80::1%eth0), is not looked up. */
static bool resolver_fix_number(struct resolver *r)
{
	resolver_look_up(r->host, r->port, AI_NUMERICHOST, &r->found);
	r->is_fixed = r->is_known = r->found.len > 0;
	return r->is_fixed;
}

int resolver_open(struct resolver *r, const char *host, int port)
{
	*r = (struct resolver){.host = host, .port = port, .line = -1};
	if (host[0] == '/')
		return resolver_fix_path(r);
	if (!resolver_fix_number(r))
		resolver_fork(r);
	return 0;
}

void resolver_close(struct resolver *r)
{
	resolver_end_child(r);
}

/* Addresses stay in use when the name is no longer found: a name server that is
 * away is no reason to lose a server that is not. */
static void resolver_take(struct resolver *r,
			  const struct resolver_found *found)
{
	if (found->len == 0 && r->found.len > 0)
		return;
	r->found = *found;
	r->is_known = true;
}

void resolver_tick(struct resolver *r)
{
	struct resolver_found found;
	ssize_t n = 0;

	if (r->line < 0)
		return;
	while ((n = recv(r->line, &found, sizeof(found), MSG_DONTWAIT)) ==
	       (ssize_t)sizeof(found))
		resolver_take(r, &found);
	if (n >= 0 || (errno != EAGAIN && errno != EINTR))
		resolver_end_child(r);
}

void resolver_ask(struct resolver *r)
{
	if (r->is_fixed)
		return;
	resolver_tick(r);
	if (r->line >= 0)
		send(r->line, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	else if (clock_ms() - r->forked_at >= FORK_AGAIN_MS)
		resolver_fork(r);
}

/* Waits for a message of the child. False: the deadline has passed, or there is
 * no child. */
static bool resolver_await(struct resolver *r, int64_t until)
{
	int64_t left = until - clock_ms();
	struct pollfd ready = {.fd = r->line, .events = POLLIN};

	if (r->line < 0 || left <= 0 || poll(&ready, 1, (int)left) <= 0)
		return false;
	resolver_tick(r);
	return true;
}

int resolver_get(struct resolver *r, struct net_address *out, const char **why,
		 int64_t until)
{
	resolver_tick(r);
	while (!r->is_known && resolver_await(r, until))
		;
	*why = NULL;
	if (r->found.len == 0 && r->is_known)
		*why = gai_strerror(r->found.error);
	else if (r->fork_error)
		*why = strerror(r->fork_error);
	memcpy(out, r->found.addresses, (size_t)r->found.len * sizeof(*out));
	return r->found.len;
}
