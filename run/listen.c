#include "run/run.h"

#include "util/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 /* the kernel cuts it to net.core.somaxconn */ };

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} as;
	socklen_t len;
};

static struct address listen_address_of(const char *text, int port)
{
	struct address a = {.len = sizeof(a.as.in6)};

	if (inet_pton(AF_INET, text, &a.as.in.sin_addr) == 1) {
		a.as.in.sin_family = AF_INET;
		a.as.in.sin_port = htons((uint16_t)port);
		a.len = sizeof(a.as.in);
		return a;
	}
	inet_pton(AF_INET6, text, &a.as.in6.sin6_addr);
	a.as.in6.sin6_family = AF_INET6;
	a.as.in6.sin6_port = htons((uint16_t)port);
	return a;
}

static int listen_set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value));
}

/* A listening socket, or -1 with errno. */
static int listen_on(const struct address *a)
{
	int family = a->as.any.sa_family;
	int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	/* Both families on "::"; connections inherit TCP_NODELAY: every reply
	 * is sent whole, and must not wait for the one before. */
	if (listen_set(fd, SOL_SOCKET, SO_REUSEADDR, 1) < 0 ||
	    (family == AF_INET6 &&
	     listen_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) < 0) ||
	    listen_set(fd, IPPROTO_TCP, TCP_NODELAY, 1) < 0 ||
	    bind(fd, &a->as.any, a->len) < 0 || listen(fd, BACKLOG) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int run_listen(const struct settings *settings)
{
	const char *bind = settings->bind ? settings->bind : "::";
	struct address a = listen_address_of(bind, settings->port);
	int fd = listen_on(&a);

	if (fd < 0 && !settings->bind &&
	    (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
		bind = "0.0.0.0"; /* a machine without IPv6 */
		a = listen_address_of(bind, settings->port);
		fd = listen_on(&a);
	}
	if (fd < 0)
		die(EXIT_SYSTEM, "cannot listen on BIND=%s PORT=%d:", bind,
		    settings->port);
	return fd;
}
