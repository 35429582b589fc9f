#include "peer.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const char head_end[] = "\r\n\r\n";

void peer_die(const char *what)
{
	perror(what);
	exit(111);
}

/* An answer of exactly len bytes: what is missing is added to the body. */
static void fill_reply(char *to, size_t len, const char *connection)
{
	char head[256];
	size_t body = 0, n = 0;
	int round;

	for (round = 0; round < 3; round++) {
		n = (size_t)snprintf(head, sizeof(head),
				     "HTTP/1.1 200 OK\r\n"
				     "Content-Type: text/plain\r\n"
				     "%sContent-Length: %zu\r\n\r\n",
				     connection, body);
		if (n > len) {
			fprintf(stderr, "an answer needs %zu bytes\n", n);
			exit(100);
		}
		body = len - n;
	}
	memcpy(to, head, n);
	memset(to + n, 'x', len - n);
}

static void peer_listen(struct peer *p)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int one = 1;

	sin.sin_port = htons((uint16_t)p->port);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->lfd = socket(AF_INET, SOCK_STREAM, 0);
	if (p->lfd < 0)
		peer_die("socket");
	setsockopt(p->lfd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(p->lfd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		peer_die("bind");
	if (listen(p->lfd, 4096) < 0)
		peer_die("listen");
}

static void peer_options(struct peer *p, int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "p:w:n:f:")) != -1) {
		if (opt == 'p')
			p->port = atoi(optarg);
		else if (opt == 'w')
			p->workers = atoi(optarg);
		else if (opt == 'n')
			p->reply_len = strtoul(optarg, NULL, 10);
		else if (opt == 'f')
			p->path = optarg;
		else
			exit(100);
	}
}

void peer_open(struct peer *p, int argc, char **argv)
{
	struct rlimit files;
	size_t i;

	*p = (struct peer){.port = 8090, .workers = 1, .reply_len = 300};
	peer_options(p, argc, argv);
	p->replies = malloc(p->reply_len * PEER_PIPELINE);
	p->last_reply = malloc(p->reply_len);
	if (!p->replies || !p->last_reply)
		peer_die("malloc");
	for (i = 0; i < PEER_PIPELINE; i++)
		fill_reply(p->replies + i * p->reply_len, p->reply_len, "");
	fill_reply(p->last_reply, p->reply_len, "Connection: close\r\n");
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	peer_listen(p);
}

void peer_run(struct peer *p, void (*run)(struct peer *))
{
	int i;

	for (i = 0; i < p->workers; i++) {
		pid_t pid = fork();

		if (pid < 0)
			peer_die("fork");
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run(p);
			exit(111);
		}
	}
	wait(NULL);
}

/* How much of head_end do the bytes show at their end? */
static unsigned char end_shown(const char *bytes, size_t n)
{
	unsigned char k;

	for (k = 3; k; k--)
		if (n >= k && !memcmp(bytes + n - k, head_end, k))
			return k;
	return 0;
}

size_t peer_requests(const char *bytes, size_t n, unsigned char *state,
		     bool *close)
{
	const char *at = bytes, *end = bytes + n, *hit;
	size_t count = 0;

	*close = false;
	if (*state) {
		size_t rest = 4u - *state;

		if (n >= rest && !memcmp(bytes, head_end + *state, rest)) {
			at += rest;
			count++;
		}
		*state = 0;
	}
	while ((hit = memmem(at, (size_t)(end - at), head_end, 4))) {
		*close = memmem(at, (size_t)(hit - at), "ion: close", 10);
		at = hit + 4;
		count++;
	}
	*state = end_shown(at, (size_t)(end - at));
	return count;
}
