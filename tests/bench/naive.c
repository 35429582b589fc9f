/*
 * naive: one lock, one write and one fdatasync a visit, then its answer.
 *
 * The loop is the floor's otherwise, and the sync happens outside the lock,
 * where the kernel merges those of several workers: in its favour.
 */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 512 };

static unsigned char states[PEER_FDS];

static void count_visit(int fd)
{
	char text[32] = "";
	int n;

	flock(fd, LOCK_EX);
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		peer_die("pread");
	n = snprintf(text, sizeof(text), "%lld\n", atoll(text) + 1);
	if (pwrite(fd, text, (size_t)n, 0) != n)
		peer_die("pwrite");
	flock(fd, LOCK_UN);
	if (fdatasync(fd) < 0)
		peer_die("fdatasync");
}

static void accept_one(struct peer *p, int epfd)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd = accept4(p->lfd, NULL, NULL, SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (fd >= PEER_FDS) {
		close(fd);
		return;
	}
	states[fd] = 0;
	ev.data.fd = fd;
	epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
}

static void serve(struct peer *p, int fd, int file)
{
	static char buf[PEER_RECV];
	ssize_t n = recv(fd, buf, sizeof(buf), 0);
	bool done = false;
	size_t k, i;

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			close(fd);
		return;
	}
	k = peer_requests(buf, (size_t)n, &states[fd], &done);
	for (i = 0; i < k; i++) {
		count_visit(file);
		if (send(fd, done && i + 1 == k ? p->last_reply : p->replies,
			 p->reply_len, MSG_NOSIGNAL) < 0)
			done = true;
	}
	if (done)
		close(fd);
}

static void run(struct peer *p)
{
	struct epoll_event evs[EVENTS], ev = {.events = EPOLLIN};
	int epfd = epoll_create1(0), file, i, n;

	file = open(p->path, O_RDWR | O_CREAT, 0644);
	if (file < 0)
		peer_die(p->path);
	ev.data.fd = p->lfd;
	if (p->workers > 1)
		ev.events |= EPOLLEXCLUSIVE;
	if (epfd < 0 || epoll_ctl(epfd, EPOLL_CTL_ADD, p->lfd, &ev) < 0)
		peer_die("epoll");
	for (;;) {
		n = epoll_wait(epfd, evs, EVENTS, -1);
		for (i = 0; i < n; i++) {
			if (evs[i].data.fd == p->lfd)
				accept_one(p, epfd);
			else
				serve(p, evs[i].data.fd, file);
		}
	}
}

int main(int argc, char **argv)
{
	struct peer p;

	peer_open(&p, argc, argv);
	if (!p.path)
		return 100;
	if (fcntl(p.lfd, F_SETFL, O_NONBLOCK) < 0)
		peer_die("fcntl");
	peer_run(&p, run);
	return 111;
}
