/*
 * listeners: how should the workers of a prefork server share a port?
 *
 * An experiment, not a part of visitd.  The loop has visitd's shape (level
 * triggered epoll; in a turn: accept a few, one recv per ready connection,
 * one optional fdatasync, then one send per connection) and differs only in
 * who gets a new connection:
 *
 *   shared     one listener in every epoll, EPOLLEXCLUSIVE
 *   rotate     the same; after accepting, a worker takes the listener out of
 *              its epoll and puts it back, which moves it to the tail of the
 *              listener's wait queue: the next connection wakes another one
 *   bound      rotate, and a worker that holds more than the least loaded
 *              live one and a slack accepts one connection a turn, not K
 *   pause      shared; a worker that holds more than the least loaded live
 *              one and a slack leaves the listener out for 2 ms (-P us)
 *   share      rotate and pause, but looks at the end of the turn, after its
 *              closes, and comes back as soon as its share allows
 *   reuseport  one listener a worker, SO_REUSEPORT, all made by the master
 *
 * Listeners are made before the fork and stay open in the master, so that a
 * worker's death never drops a queued connection.  SIGUSR1 to the master
 * prints a line a worker on stdout: pid connections accepted requests turns.
 * GET /block makes the worker that got it sleep for a second.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define FDS_MAX	    16384
#define EVENTS_MAX  512
#define RESPAWN_MS  100
#define STALE_US    10000

enum mode { SHARED, ROTATE, BOUND, PAUSE, SHARE, REUSEPORT, MODES };

static const char *const mode_names[MODES] = {
	"shared", "rotate", "bound", "pause", "share", "reuseport",
};

/* One writer a slot, its own cache lines: nobody locks to count. */
struct slot {
	alignas(128) _Atomic int pid; /* 0: nobody works here */
	_Atomic int held;	      /* connections */
	_Atomic int64_t busy_since;   /* us; 0 while in epoll_wait */
	_Atomic long accepted, requests, turns;
};

struct settings {
	enum mode mode;
	int workers, accepts, slack, pause_us, port;
	const char *sync_path;
};

struct worker {
	const struct settings *set;
	struct slot *slots, *me;
	int epfd, lfd, sync_fd;
	bool listening;	     /* the listener is in the epoll */
	bool accepted;	     /* in this turn */
	int64_t paused_till; /* us */
};

static const char reply[] = "HTTP/1.1 200 OK\r\n"
			    "Content-Type: text/plain; charset=utf-8\r\n"
			    "Content-Length: 39\r\n\r\n"
			    "2026-11-20T11:42:00+00:00\nvisits: 1234\n";

static const char last_reply[] = "HTTP/1.1 200 OK\r\n"
				 "Connection: close\r\n"
				 "Content-Type: text/plain\r\n"
				 "Content-Length: 39\r\n\r\n"
				 "2026-11-20T11:42:00+00:00\nvisits: 1234\n";

static bool want_close[FDS_MAX];

static void die(const char *what)
{
	perror(what);
	exit(111);
}

static int64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void sleep_ms(long ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&ts, NULL);
}

static int listener_open(int port, bool reuseport)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	int one = 1, fd;

	sin.sin_port = htons((uint16_t)port);
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (reuseport)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		die("bind");
	if (listen(fd, 4096) < 0)
		die("listen");
	return fd;
}

/* ---- who accepts ------------------------------------------------------ */

static void listener_add(struct worker *w)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.fd = w->lfd};

	if (w->set->mode != REUSEPORT)
		ev.events |= EPOLLEXCLUSIVE;
	if (epoll_ctl(w->epfd, EPOLL_CTL_ADD, w->lfd, &ev) < 0)
		die("epoll_ctl");
	w->listening = true;
}

static void listener_del(struct worker *w)
{
	epoll_ctl(w->epfd, EPOLL_CTL_DEL, w->lfd, NULL);
	w->listening = false;
}

/* Holds this worker more than the least loaded one that is not stuck? */
static bool over_share(const struct worker *w)
{
	int64_t now = now_us(), since;
	int least = w->me->held, i;

	for (i = 0; i < w->set->workers; i++) {
		const struct slot *s = &w->slots[i];

		since = s->busy_since;
		if (!s->pid || (since && now - since > STALE_US))
			continue;
		if (s->held < least)
			least = s->held;
	}
	return w->me->held > least + w->set->slack + least / 8;
}

/*
 * A wakeup is always honoured by one accept: EPOLLEXCLUSIVE woke nobody else
 * for this connection, so a worker that left it would lose it.
 */
static void accept_some(struct worker *w)
{
	const struct settings *set = w->set;
	int most = set->accepts, fd, n;

	for (n = 0; n < most; n++) {
		struct epoll_event ev = {.events = EPOLLIN};

		if (n && set->mode >= BOUND && set->mode <= SHARE &&
		    over_share(w))
			break;
		fd = accept4(w->lfd, NULL, NULL, SOCK_NONBLOCK);
		if (fd < 0)
			break;
		if (fd >= FDS_MAX) {
			close(fd);
			continue;
		}
		ev.data.fd = fd;
		epoll_ctl(w->epfd, EPOLL_CTL_ADD, fd, &ev);
		w->me->held++;
		w->me->accepted++;
	}
	w->accepted = n > 0;
}

static void listener_pause(struct worker *w)
{
	listener_del(w);
	w->paused_till = now_us() + w->set->pause_us;
}

static void after_accept(struct worker *w)
{
	enum mode mode = w->set->mode;

	if ((mode == PAUSE || mode == SHARE) && over_share(w)) {
		listener_pause(w);
	} else if (mode == ROTATE || mode == BOUND || mode == SHARE) {
		listener_del(w);
		listener_add(w);
	}
	w->accepted = false;
}

/* How many us epoll_wait may sleep; puts a paused listener back in time. */
static int64_t turn_timeout(struct worker *w)
{
	int64_t left;

	if (w->accepted)
		after_accept(w);
	if (w->listening)
		return -1;
	left = w->paused_till - now_us();
	if (left > 0 && (w->set->mode == PAUSE || over_share(w)))
		return left;
	listener_add(w);
	return -1;
}

/* ---- the turn --------------------------------------------------------- */

static void conn_close(struct worker *w, int fd)
{
	close(fd);
	w->me->held--;
}

/* One recv; true if there is something to answer. */
static bool conn_read(struct worker *w, int fd)
{
	char buf[4096];
	ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);

	if (n <= 0) {
		if (n == 0 || errno != EAGAIN)
			conn_close(w, fd);
		return false;
	}
	buf[n] = '\0';
	want_close[fd] = strstr(buf, "onnection: close") != NULL;
	if (!strncmp(buf, "GET /block", 10))
		sleep_ms(1000);
	w->me->requests++;
	return true;
}

static void conn_answer(struct worker *w, int fd)
{
	const char *text = want_close[fd] ? last_reply : reply;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0 || want_close[fd])
		conn_close(w, fd);
}

static void turn(struct worker *w)
{
	struct epoll_event ev[EVENTS_MAX];
	int ready[EVENTS_MAX], nready = 0, i, n;
	int64_t left = turn_timeout(w);
	struct timespec ts = {left / 1000000, left % 1000000 * 1000};
	bool accepting = false;

	w->me->busy_since = 0;
	n = epoll_pwait2(w->epfd, ev, EVENTS_MAX, left < 0 ? NULL : &ts, NULL);
	w->me->busy_since = now_us();
	for (i = 0; i < n; i++) {
		if (ev[i].data.fd == w->lfd)
			accepting = true;
		else if (conn_read(w, ev[i].data.fd))
			ready[nready++] = ev[i].data.fd;
	}
	if (accepting)
		accept_some(w);
	if (w->accepted && w->set->mode == PAUSE)
		after_accept(w);
	if (nready && w->sync_fd >= 0) {
		if (pwrite(w->sync_fd, "1234567\n", 8, 0) != 8)
			die("pwrite");
		fdatasync(w->sync_fd);
	}
	for (i = 0; i < nready; i++) {
		conn_answer(w, ready[i]);
	}
	w->me->turns++;
}

static void worker_run(const struct settings *set, struct slot *slots, int i,
		       int lfd)
{
	struct worker w = {.set = set, .slots = slots, .me = &slots[i]};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	w.lfd = lfd;
	w.sync_fd = -1;
	if (set->sync_path)
		w.sync_fd = open(set->sync_path, O_RDWR | O_CREAT, 0644);
	w.epfd = epoll_create1(0);
	if (w.epfd < 0)
		die("epoll_create1");
	listener_add(&w);
	w.me->held = 0;
	w.me->pid = getpid();
	for (;;)
		turn(&w);
}

/* ---- the master ------------------------------------------------------- */

static void dump(const struct slot *slots, int workers)
{
	int i;

	for (i = 0; i < workers; i++)
		printf("%d %d %ld %ld %ld\n", slots[i].pid, slots[i].held,
		       slots[i].accepted, slots[i].requests, slots[i].turns);
	printf(".\n");
	fflush(stdout);
}

static pid_t spawn(const struct settings *set, struct slot *slots, int i,
		   const int *lfds)
{
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid)
		worker_run(set, slots, i, lfds[set->mode == REUSEPORT ? i : 0]);
	return pid;
}

static void replace_dead(const struct settings *set, struct slot *slots,
			 pid_t *pids, const int *lfds)
{
	pid_t pid;
	int i;

	while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
		for (i = 0; i < set->workers && pids[i] != pid; i++)
			;
		if (i == set->workers)
			continue;
		slots[i].pid = 0;
		slots[i].held = 0;
		slots[i].busy_since = 0;
		sleep_ms(RESPAWN_MS);
		pids[i] = spawn(set, slots, i, lfds);
	}
}

static void supervise(const struct settings *set, struct slot *slots,
		      const int *lfds)
{
	pid_t pids[WORKERS_MAX];
	sigset_t wanted;
	int i;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	sigaddset(&wanted, SIGCHLD);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	for (i = 0; i < set->workers; i++)
		pids[i] = spawn(set, slots, i, lfds);
	for (;;) {
		if (sigwaitinfo(&wanted, NULL) == SIGUSR1)
			dump(slots, set->workers);
		else
			replace_dead(set, slots, pids, lfds);
	}
}

static void parse_options(int argc, char **argv, struct settings *set)
{
	int opt, i;

	while ((opt = getopt(argc, argv, "m:w:k:s:f:p:P:")) != -1) {
		if (opt == 'm') {
			for (i = 0; i < MODES; i++)
				if (!strcmp(optarg, mode_names[i]))
					set->mode = (enum mode)i;
		} else if (opt == 'w') {
			set->workers = atoi(optarg);
		} else if (opt == 'k') {
			set->accepts = atoi(optarg);
		} else if (opt == 's') {
			set->slack = atoi(optarg);
		} else if (opt == 'P') {
			set->pause_us = atoi(optarg);
		} else if (opt == 'f') {
			set->sync_path = optarg;
		} else if (opt == 'p') {
			set->port = atoi(optarg);
		} else {
			exit(100);
		}
	}
	if (set->workers < 1 || set->workers > WORKERS_MAX)
		exit(100);
}

int main(int argc, char **argv)
{
	struct settings set = {
		.workers = 2,
		.accepts = 64,
		.slack = 4,
		.pause_us = 2000,
		.port = 8099,
	};
	int lfds[WORKERS_MAX], i;
	struct slot *slots;

	parse_options(argc, argv, &set);
	slots = mmap(NULL, sizeof(*slots) * WORKERS_MAX, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (slots == MAP_FAILED)
		die("mmap");
	for (i = 0; i < (set.mode == REUSEPORT ? set.workers : 1); i++)
		lfds[i] = listener_open(set.port, set.mode == REUSEPORT);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	supervise(&set, slots, lfds);
}
