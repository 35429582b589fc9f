/*
 * forker: the classic server that forks a process for each connection.
 *
 * It counts nothing, which is in its favour.  The dead are reaped at the next
 * accept, so that their CPU time is found in the parent's.
 */
#include "peer.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void serve(struct peer *p, int fd)
{
	char buf[PEER_RECV];
	unsigned char state = 0;
	bool done = false;
	ssize_t n;
	size_t k;

	while (!done && (n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		k = peer_requests(buf, (size_t)n, &state, &done);
		if (!k)
			continue;
		if (send(fd, done ? p->last_reply : p->replies,
			 done ? p->reply_len : k * p->reply_len, 0) < 0)
			break;
	}
	_exit(0);
}

static void run(struct peer *p)
{
	int fd;

	for (;;) {
		fd = accept(p->lfd, NULL, NULL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		if (fd < 0)
			continue;
		if (!fork())
			serve(p, fd);
		close(fd);
	}
}

int main(int argc, char **argv)
{
	struct peer p;

	peer_open(&p, argc, argv);
	peer_run(&p, run);
	return 111;
}
