/*
 * 1. The board has one writer, the child, and a version that is odd while it is
 *    written: who reads it looks at the version before and after.
 * 2. The child holds nothing of its parent's but the line and the three
 *    standard descriptors: a listener that it kept would stay open after the
 *    worker has closed it.
 * 3. It ends when the line does, and is killed when its parent dies: in the
 *    middle of a look-up it does not see the line.
 */
#include "store/net/resolver.h"

#include "util/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	EVERY_MS = 5000,   /* between two looks of its own accord */
	AT_LEAST_MS = 250, /* and between those that are asked for */
	REBORN_MS = 1000,  /* between two births, if it dies */
	FDS_MAX = 65536,   /* descriptors closed one by one, on old kernels */
};

struct resolver_board {
	atomic_uint version; /* 0: nothing was looked up yet */
	int len;
	int error; /* of getaddrinfo, when len is 0 */
	struct net_address addresses[RESOLVER_MAX];
};

/*
 * The child
 */

static int look_up(const char *host, int port, int flags,
		   struct net_address *out, int *error)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_NUMERICSERV | flags};
	struct addrinfo *found = NULL;
	char service[16];
	int len = 0;

	snprintf(service, sizeof(service), "%d", port);
	*error = getaddrinfo(host, service, &hints, &found);
	if (*error != 0)
		return 0;
	for (struct addrinfo *a = found; a && len < RESOLVER_MAX;
	     a = a->ai_next) {
		if (a->ai_addrlen > sizeof(out->where))
			continue;
		memset(&out[len], 0, sizeof(out[len]));
		memcpy(&out[len].where, a->ai_addr, a->ai_addrlen);
		out[len++].len = a->ai_addrlen;
	}
	freeaddrinfo(found);
	return len;
}

/* Whether what stands there is new. An address that is not found any more stays
 * in use: a name server that is away is no reason to lose a server that is
 * there. */
static bool publish(struct resolver_board *board,
		    const struct net_address *found, int len, int error)
{
	unsigned version = atomic_load(&board->version);

	if (version > 0 && len == 0 && board->len > 0)
		return false;
	if (version > 0 && len == board->len && error == board->error &&
	    memcmp(found, board->addresses, (size_t)len * sizeof(*found)) == 0)
		return false;
	/* A child that was killed here may have left it odd. */
	version |= 1;
	atomic_store(&board->version, version);
	atomic_thread_fence(memory_order_seq_cst);
	board->len = len;
	board->error = error;
	memcpy(board->addresses, found, (size_t)len * sizeof(*found));
	atomic_thread_fence(memory_order_seq_cst);
	atomic_store(&board->version, version + 1);
	return true;
}

/* Whether the parent asks, within that time. Does not come back from its end.
 */
static bool await_question(int line, int64_t ms)
{
	struct pollfd ready = {.fd = line, .events = POLLIN};
	char questions[64];

	if (poll(&ready, 1, (int)ms) <= 0)
		return false;
	if (recv(line, questions, sizeof(questions), 0) <= 0)
		_exit(0);
	return true;
}

__attribute__((noreturn)) static void work(const struct resolver *r, int line)
{
	struct net_address found[RESOLVER_MAX];
	bool asked = true;

	for (;;) {
		int64_t from = clock_ms();
		int error, len = look_up(r->host, r->port, 0, found, &error);

		if (publish(r->board, found, len, error) || asked)
			send(line, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
		asked = await_question(line, EVERY_MS);
		int64_t early = from + AT_LEAST_MS - clock_ms();
		if (asked && early > 0)
			await_question(line, early);
	}
}

static void close_others(int keep)
{
	if (dup2(keep, 3) < 0)
		_exit(1);
#ifdef SYS_close_range
	if (syscall(SYS_close_range, 4u, ~0u, 0u) == 0)
		return;
#endif
	for (int fd = 4; fd < FDS_MAX; fd++)
		close(fd);
}

/*
 * The parent
 */

static int give_birth(struct resolver *r)
{
	int ends[2];

	r->born = clock_ms();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	r->child = fork();
	if (r->child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		prctl(PR_SET_NAME, "visitd-resolver", 0, 0, 0);
		close_others(ends[1]);
		work(r, 3);
	}
	close(ends[1]);
	if (r->child < 0) {
		close(ends[0]);
		r->child = 0;
		return -1;
	}
	r->line = ends[0];
	return 0;
}

static void bury(struct resolver *r)
{
	if (r->line >= 0)
		close(r->line);
	r->line = -1;
	if (r->child == 0)
		return;
	kill(r->child, SIGKILL);
	while (waitpid(r->child, NULL, 0) < 0 && errno == EINTR)
		;
	r->child = 0;
}

static int fix_path(struct resolver *r)
{
	struct sockaddr_un where = {.sun_family = AF_UNIX};

	if (strlen(r->host) >= sizeof(where.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(where.sun_path, r->host, strlen(r->host));
	memcpy(&r->fixed.where, &where, sizeof(where));
	r->fixed.len = sizeof(where);
	r->is_fixed = true;
	return 0;
}

/* A number is not looked up by anybody, also one with a zone (fe80::1%eth0). */
static bool fix_number(struct resolver *r)
{
	struct net_address found[RESOLVER_MAX];
	int error;

	if (look_up(r->host, r->port, AI_NUMERICHOST, found, &error) < 1)
		return false;
	r->fixed = found[0];
	return true;
}

int resolver_open(struct resolver *r, const char *host, int port)
{
	*r = (struct resolver){.host = host, .port = port, .line = -1};
	if (host[0] == '/')
		return fix_path(r);
	r->is_fixed = fix_number(r);
	if (r->is_fixed)
		return 0;
	r->board = mmap(NULL, sizeof(*r->board), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (r->board == MAP_FAILED) {
		r->board = NULL;
		return -1;
	}
	return give_birth(r);
}

void resolver_close(struct resolver *r)
{
	bury(r);
	if (r->board)
		munmap(r->board, sizeof(*r->board));
	r->board = NULL;
}

void resolver_tick(struct resolver *r)
{
	char answers[64];

	if (r->line < 0)
		return;
	ssize_t n = recv(r->line, answers, sizeof(answers), MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		bury(r);
}

void resolver_ask(struct resolver *r)
{
	if (r->is_fixed)
		return;
	resolver_tick(r);
	if (r->line < 0 && clock_ms() - r->born >= REBORN_MS)
		give_birth(r);
	else if (r->line >= 0)
		send(r->line, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A whole board; false while it is being written. */
static bool read_board(const struct resolver_board *board,
		       struct resolver_board *out)
{
	unsigned version = atomic_load(&board->version);

	if (version % 2)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	memcpy(out->addresses, board->addresses, sizeof(out->addresses));
	out->len = board->len;
	out->error = board->error;
	atomic_thread_fence(memory_order_seq_cst);
	atomic_store(&out->version, version);
	return atomic_load(&board->version) == version;
}

/* Until the child has told something; false at the deadline. */
static bool await_answer(struct resolver *r, int64_t until)
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
	struct resolver_board board;

	*why = NULL;
	if (r->is_fixed) {
		out[0] = r->fixed;
		return 1;
	}
	for (;;) {
		if (read_board(r->board, &board) &&
		    atomic_load(&board.version) > 0)
			break;
		if (!await_answer(r, until))
			return 0;
	}
	memcpy(out, board.addresses, (size_t)board.len * sizeof(*out));
	if (board.len == 0)
		*why = gai_strerror(board.error);
	return board.len;
}
