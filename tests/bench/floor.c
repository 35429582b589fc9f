/*
 * floor: the least that a server with visitd's promises could cost.
 *
 * The same system calls in the same pattern (epoll_wait for up to 512 events,
 * one recv a ready connection, and after all were read one send a connection
 * with as many bytes as visitd sends), and nothing else: no parsing but a
 * search for the ends of requests, no counting, no date, no deadlines.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512, ACCEPTS = 64 };

struct answer {
	int fd;
	size_t n;
	bool close;
};

static unsigned char states[PEER_FDS];

static void accept_some(struct peer *p, int epfd)
{
	int fd, n;

	for (n = 0; n < ACCEPTS; n++) {
		struct epoll_event ev = {.events = EPOLLIN};

		fd = accept4(p->lfd, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (fd >= PEER_FDS) {
			close(fd);
			continue;
		}
		states[fd] = 0;
		ev.data.fd = fd;
		epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
	}
}

/* One recv; true if there is something to answer. */
static bool conn_read(int fd, struct answer *a)
{
	static char buf[PEER_RECV];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			close(fd);
		return false;
	}
	a->fd = fd;
	a->n = peer_requests(buf, (size_t)n, &states[fd], &a->close);
	return a->n > 0;
}

static void conn_answer(struct peer *p, const struct answer *a)
{
	const char *from = p->replies;
	size_t n = a->n < PEER_PIPELINE ? a->n : PEER_PIPELINE;

	if (a->close && n == 1)
		from = p->last_reply;
	if (send(a->fd, from, n * p->reply_len, MSG_NOSIGNAL) < 0 || a->close)
		close(a->fd);
}

static void run(struct peer *p)
{
	struct epoll_event evs[EVENTS], ev = {.events = EPOLLIN};
	struct answer answers[EVENTS];
	int epfd = epoll_create1(0), i, n, count;
	bool accepting;

	ev.data.fd = p->lfd;
	if (p->workers > 1)
		ev.events |= EPOLLEXCLUSIVE;
	if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, p->lfd, &ev) < 0)
		peer_die("epoll");
	for (;;) {
		n = epoll_wait(epfd, evs, EVENTS, -1);
		accepting = false;
		count = 0;
		for (i = 0; i < n; i++) {
			if (evs[i].data.fd == p->lfd)
				accepting = true;
			else if (conn_read(evs[i].data.fd, &answers[count]))
				count++;
		}
		if (accepting)
			accept_some(p, epfd);
		for (i = 0; i < count; i++)
			conn_answer(p, &answers[i]);
	}
}

int main(int argc, char **argv)
{
	struct peer p;

	peer_open(&p, argc, argv);
	if (fcntl(p.lfd, F_SETFL, O_NONBLOCK) < 0)
		peer_die("fcntl");
	peer_run(&p, run);
	return 111;
}
