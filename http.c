/*
 * The worker process: its event loop, accepting, deadlines and shutdown. The
 * work of one turn of the loop is in turn/.
 */
#include "http.h"

#include "turn/turn.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	EVENTS_MAX = TURN_PARTS, /* taken from one epoll_wait */
	ACCEPT_MAX = 64,	 /* connections accepted in a turn */
	RETIRE_MS = 10000,	 /* a worker exits at the latest */
	RETIRE_IDLE_MS = 5000,	 /* idle ones are closed, if replaced */
	STOP_IDLE_MS = 1000,	 /* or stopped: for a request in flight */
	YIELD_MS = 1,		 /* away from the listener, see balance.h */
	PAUSE_LOG_MS = 10000,	 /* between two log lines about a pause */
	PAUSE_MS = 100,		 /* to the next accept after EMFILE */
};

enum told { TOLD_NOTHING, TOLD_REPLACED, TOLD_STOP };

struct worker {
	const struct settings *settings;
	int epoll, listener, leash, signals;
	const struct balance *balance;
	bool accepts;	      /* the listener is in epoll */
	bool has_accepted;    /* in this turn */
	int64_t yield_until;  /* not accepting: other workers hold fewer */
	int64_t pause_until;  /* not accepting: out of descriptors */
	int64_t pause_log_at; /* of the last log line about that */
	enum told told;	    /* to exit: replaced by a new worker, or stopped */
	int64_t retire_at;  /* 0: serving; else the time of exit */
	int64_t idle_until; /* retiring: when idle connections close */
	struct conn_pool pool;
	struct turn *turn;
};

/* epoll data of the descriptors that are not connections. */
static char listener_mark, leash_mark, signals_mark, store_mark;

/*
 * Accepting
 */

static int http_watch(struct worker *w, int fd, uint32_t events, void *mark)
{
	struct epoll_event event = {.events = events, .data.ptr = mark};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void http_start_accepting(struct worker *w)
{
	if (w->accepts || w->retire_at)
		return;
	w->accepts = http_watch(w, w->listener, EPOLLIN | EPOLLEXCLUSIVE,
				&listener_mark) == 0 ||
		     errno == EEXIST; /* EPOLL_CTL_DEL had failed */
	w->yield_until = 0;
	w->pause_until = w->accepts ? 0 : w->pool.now + PAUSE_MS;
}

static void http_stop_accepting(struct worker *w)
{
	if (w->accepts)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->listener, NULL);
	w->accepts = false;
}

/* Out of descriptors, memory or connections. Accepting resumes when a
 * connection closes, or after PAUSE_MS, since another process may free the
 * resource. */
static void http_pause_accepting(struct worker *w, const char *why)
{
	if (w->pool.now >= w->pause_log_at + PAUSE_LOG_MS) {
		log_warn("not accepting for now: %s", why);
		w->pause_log_at = w->pool.now;
	}
	http_stop_accepting(w);
	w->pause_until = w->pool.now + PAUSE_MS;
	w->pool.has_closed = false;
}

/* One connection gives way, and the next turn accepts again; if there is none,
 * accepting pauses. Only the first accept of a turn knows that somebody waits:
 * accept4 needs a descriptor before it looks. */
static void http_make_room(struct worker *w, bool is_first, const char *why)
{
	if (is_first && !conn_give_way(&w->pool))
		http_pause_accepting(w, why);
}

/* The two rules of balance.h, once in a turn that accepted. */
static void http_share_listener(struct worker *w)
{
	bool over = balance_is_over(w->balance, w->pool.open, w->pool.now);

	if (w->has_accepted && w->accepts && !balance_is_alone(w->balance)) {
		http_stop_accepting(w);
		w->yield_until = w->pool.now + YIELD_MS;
	}
	w->has_accepted = false;
	if (w->yield_until && (!over || w->pool.now >= w->yield_until))
		http_start_accepting(w);
}

static bool http_accept_one(struct worker *w, bool is_first)
{
	int fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS)
			http_make_room(w, is_first, strerror(errno));
		/* ECONNABORTED and network errors concern this connection
		 * alone (accept(2)): the next one may be fine. */
		return errno == ECONNABORTED || errno == EINTR ||
		       errno == EPROTO;
	}
	struct conn *c = conn_open(&w->pool, fd);
	w->has_accepted = true;
	/* The request has often arrived with the connection: reading it now
	 * saves a turn, and the epoll_ctl of a connection with one request. */
	turn_read(w->turn, c);
	if (c->state != CONN_FREE && !c->in_turn)
		conn_register(&w->pool, c);
	return true;
}

static void http_accept_some(struct worker *w, int max)
{
	for (int i = 0; i < max; i++) {
		if (conn_is_full(&w->pool)) {
			http_make_room(w, i == 0, "MAX_CONNECTIONS are open");
			return;
		}
		/* EPOLLEXCLUSIVE woke no other worker for the first one. */
		if (i > 0 &&
		    balance_is_over(w->balance, w->pool.open, w->pool.now))
			return;
		if (!turn_has_place(w->turn) || !http_accept_one(w, i == 0))
			return;
	}
}

static void http_expire(struct worker *w, struct conn *c)
{
	if (c->state == CONN_HEAD)
		turn_refuse(w->turn, c, 408,
			    "the head did not come within 10 s");
	else if (c->state == CONN_BODY)
		turn_refuse(w->turn, c, 408,
			    "the body did not come within 30 s");
	else
		conn_close(&w->pool, c);
}

static void http_keep_bounds(struct worker *w)
{
	struct conn *c;

	while ((c = conn_expired(&w->pool)))
		http_expire(w, c);
	while (w->pool.buffered > CONN_BUFFERED_MAX &&
	       (c = conn_surplus(&w->pool))) {
		if (c->state == CONN_SEND)
			conn_close(&w->pool, c);
		else
			turn_refuse(w->turn, c, 503,
				    conn_waits_for_turn(c)
					    ? "too many requests are waiting"
					    : "too many half requests are "
					      "waiting");
	}
}

/*
 * Ending
 */

static void http_close_idle(struct worker *w, int64_t idle_before)
{
	struct conn *c;

	while ((c = w->pool.lists[CONN_IDLE].first) &&
	       conn_idle_since(c) < idle_before)
		conn_close(&w->pool, c);
}

/* Called at the end of the turn in which the worker was told to exit. */
static void http_retire(struct worker *w)
{
	bool replaced = w->told == TOLD_REPLACED;
	int64_t now = w->pool.now;

	http_stop_accepting(w);
	balance_leave(w->balance, w->balance->own);
	close(w->listener);
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->leash, NULL);
	w->turn->ends = true;
	w->retire_at = now + RETIRE_MS;
	w->idle_until = now + (replaced ? RETIRE_IDLE_MS : STOP_IDLE_MS);
	if (!replaced)
		http_close_idle(w, now - STOP_IDLE_MS);
}

static void http_take_signal(struct worker *w)
{
	struct signalfd_siginfo info;

	if (read(w->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP)
		w->told = TOLD_STOP;
	else if (!w->told)
		w->told = TOLD_REPLACED;
}

static bool http_is_over(const struct worker *w)
{
	return w->retire_at &&
	       (w->pool.open == 0 || w->pool.now >= w->retire_at);
}

/*
 * The loop
 */

static void http_take_event(struct worker *w, struct conn *c)
{
	switch (c->state) {
	case CONN_FREE: /* closed in this turn */
		return;
	case CONN_LINGER:
		conn_drain(&w->pool, c);
		return;
	case CONN_SEND:
		turn_flush(w->turn, c);
		return;
	default:
		turn_read(w->turn, c);
	}
}

static void http_take_events(struct worker *w, const struct epoll_event *events,
			     int n)
{
	bool may_accept = false;

	for (int i = 0; i < n; i++) {
		void *mark = events[i].data.ptr;

		if (mark == &listener_mark)
			may_accept = true;
		else if (mark == &leash_mark)
			w->told = TOLD_STOP;
		else if (mark == &signals_mark)
			http_take_signal(w);
		else if (mark != &store_mark) /* store_tick looks at it */
			http_take_event(w, mark);
	}
	/* Connections in the listener's queue are answered before the worker
	 * stops: nobody else would accept them. */
	if (w->accepts && w->told == TOLD_STOP)
		http_accept_some(w, TURN_PARTS);
	else if (may_accept && w->accepts)
		http_accept_some(w, ACCEPT_MAX);
}

static int http_wait_time(const struct worker *w, int tick)
{
	int64_t next = conn_next_deadline(&w->pool);
	int64_t now = w->pool.now;

	if (conn_waiting(&w->pool) > 0)
		return 0;
	if (tick >= 0 && now + tick < next)
		next = now + tick;
	if (w->pause_until && w->pause_until < next)
		next = w->pause_until;
	if (w->yield_until && w->yield_until < next)
		next = w->yield_until;
	if (w->retire_at && w->retire_at < next)
		next = w->retire_at;
	if (w->idle_until && w->idle_until < next)
		next = w->idle_until;
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

static void http_do_due(struct worker *w)
{
	http_keep_bounds(w);
	if (w->told && !w->retire_at)
		http_retire(w);
	if (w->idle_until && w->pool.now >= w->idle_until) {
		w->idle_until = 0;
		http_close_idle(w, INT64_MAX);
	}
	if (w->pause_until &&
	    (w->pool.has_closed || w->pool.now >= w->pause_until))
		http_start_accepting(w);
	http_share_listener(w);
	conn_end_turn(&w->pool);
}

static void http_loop(struct worker *w)
{
	static struct epoll_event events[EVENTS_MAX];
	int tick = -1;

	while (!http_is_over(w)) {
		int timeout = http_wait_time(w, tick);

		balance_tell(w->balance, w->pool.open, 0);
		int n = epoll_wait(w->epoll, events, EVENTS_MAX, timeout);
		turn_begin(w->turn, n > 0 ? (size_t)n : 0);
		balance_tell(w->balance, w->pool.open, w->pool.now);
		http_take_events(w, events, n);
		turn_commit(w->turn);
		turn_answer(w->turn);
		http_do_due(w);
		tick = store_tick();
	}
}

static int http_open_worker(struct worker *w)
{
	size_t size = (size_t)w->settings->max_connections;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	w->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->turn = turn_open(w->settings, &w->pool);
	if (w->signals < 0 || w->epoll < 0 || !w->turn ||
	    conn_pool_open(&w->pool, size, w->epoll) < 0 ||
	    http_watch(w, w->signals, EPOLLIN, &signals_mark) < 0 ||
	    http_watch(w, w->leash, EPOLLIN, &leash_mark) < 0 ||
	    (store_watch() >= 0 &&
	     http_watch(w, store_watch(), EPOLLIN, &store_mark) < 0))
		return -1;
	w->pool.now = clock_ms();
	http_start_accepting(w);
	return 0;
}

int http_serve(const struct settings *settings, const struct process *process,
	       int listener, int leash, const struct balance *balance)
{
	static struct worker worker;

	worker.settings = settings;
	site_open(settings, process);
	worker.listener = listener;
	worker.leash = leash;
	worker.balance = balance;
	if (http_open_worker(&worker) < 0) {
		log_error("a worker cannot start:");
		return EXIT_SYSTEM;
	}
	http_loop(&worker);
	return EXIT_DONE;
}
