/*
 * The master holds the listener and the leash of its workers, and does nothing
 * else: it has no store, no connection and no zone of its own, but it reads the
 * secrets again that its workers may not read. It is a good PID 1: it reaps
 * whatever is left to it.
 *
 * Signals are blocked and waited for, so that there are no handlers and no
 * races: SIGCHLD a worker died, SIGHUP all of them are replaced, SIGTERM and
 * SIGINT the end.
 */
#include "run/run.h"

#include "http.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	STOP_MS = 10500,   /* the time that workers get to end, and a bit */
	HEALTHY_MS = 1000, /* who lives that long has not failed at start */
	BACKOFF_MS = 100,  /* the first wait; doubled for each failed start */
	BACKOFF_MAX = 5000,
};

struct worker_slot {
	pid_t pid;	/* 0: none now */
	pid_t retiring; /* the one before, after SIGHUP; or 0 */
	int share;	/* its slot among those of the connections' shares */
	int retiring_share; /* and that of the one before */
	int64_t started;
	int64_t start_at; /* when to try again */
	int backoff;	  /* ms; 0: the last start was good */
};

struct master {
	struct settings *settings;
	int listener;
	int leash[2]; /* workers read the end of file of [0] */
	int slots_len;
	struct worker_slot *slots;
	struct balance balance;
	sigset_t signals;
	bool has_warned; /* that it stays root */
};

/* What a fork leaves to the child: its own store, and no master's ends. */
static int run_worker(struct master *m, int share)
{
	close(m->leash[1]);
	prctl(PR_SET_NAME, "visitd-worker", 0, 0, 0);
	if (run_drop_privileges(m->settings, false) < 0)
		return EXIT_SYSTEM;
	/* What it finds is told by the answers; they heal by themselves. */
	if (store_open(m->settings) != 0)
		log_warn("the store cannot be used now: %s", store_error());
	balance_enter(&m->balance, share);
	int status =
		http_serve(m->settings, m->listener, m->leash[0], &m->balance);
	if (store_close())
		log_error("%s", store_error());
	return status;
}

static void start_worker(struct master *m, struct worker_slot *slot)
{
	int64_t now = clock_ms();
	pid_t pid = fork();

	if (pid == 0)
		exit(run_worker(m, slot->share));
	if (pid < 0) {
		log_error("cannot fork a worker:");
		slot->backoff = slot->backoff ? slot->backoff * 2 : BACKOFF_MS;
		slot->start_at = now + slot->backoff;
		return;
	}
	slot->pid = pid;
	slot->started = now;
}

static void say_death(pid_t pid, int status)
{
	if (WIFSIGNALED(status))
		log_error("worker %d was killed by signal %d (%s)", (int)pid,
			  WTERMSIG(status), strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		log_error("worker %d ended with status %d", (int)pid,
			  WEXITSTATUS(status));
	else
		log_info("worker %d ended", (int)pid);
}

/* When a dead worker's successor starts: at once, unless it died young. */
static void plan_start(struct worker_slot *slot)
{
	int64_t now = clock_ms();

	if (now - slot->started >= HEALTHY_MS)
		slot->backoff = 0;
	else if (slot->backoff == 0)
		slot->backoff = BACKOFF_MS;
	else if (slot->backoff < BACKOFF_MAX)
		slot->backoff *= 2;
	slot->pid = 0;
	slot->start_at = now + slot->backoff;
}

/* Reaps every dead child, also those that a PID 1 is handed. */
static void reap_children(struct master *m)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (int i = 0; i < m->slots_len; i++) {
			struct worker_slot *slot = &m->slots[i];

			if (slot->retiring == pid) {
				slot->retiring = 0;
				balance_leave(&m->balance,
					      slot->retiring_share);
			} else if (slot->pid == pid) {
				balance_leave(&m->balance, slot->share);
				say_death(pid, status);
				plan_start(slot);
			}
		}
	}
}

static void start_due(struct master *m)
{
	for (int i = 0; i < m->slots_len; i++)
		if (!m->slots[i].pid && clock_ms() >= m->slots[i].start_at)
			start_worker(m, &m->slots[i]);
}

/* Milliseconds to the next start, or -1. */
static int next_start(const struct master *m)
{
	int64_t now = clock_ms(), next = INT64_MAX;

	for (int i = 0; i < m->slots_len; i++)
		if (!m->slots[i].pid && m->slots[i].start_at < next)
			next = m->slots[i].start_at;
	if (next == INT64_MAX)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

/* Here and not in each worker: they have given up what may be needed to read
 * them, and one that is replaced later has to know what the others know. */
static void read_secrets(struct master *m)
{
	char error[512];

	if (settings_read_secrets(m->settings, error, sizeof(error)) < 0)
		log_error("%s (going on with the one from before)", error);
}

/* Successors first, then the word to the old ones: nobody is refused. */
static void replace_workers(struct master *m)
{
	log_info("replacing the workers");
	read_secrets(m);
	for (int i = 0; i < m->slots_len; i++) {
		struct worker_slot *slot = &m->slots[i];
		pid_t old = slot->pid;
		int old_share = slot->share;

		slot->pid = 0;
		slot->backoff = 0;
		slot->share = (old_share + m->slots_len) % m->balance.len;
		start_worker(m, slot);
		if (!old)
			continue;
		/* One that still retires from the last SIGHUP is reaped without
		 * being known; it ends by itself. */
		slot->retiring = old;
		slot->retiring_share = old_share;
		kill(old, SIGHUP);
	}
}

static void signal_workers(const struct master *m, int signal_number)
{
	for (int i = 0; i < m->slots_len; i++) {
		if (m->slots[i].pid)
			kill(m->slots[i].pid, signal_number);
		if (m->slots[i].retiring)
			kill(m->slots[i].retiring, signal_number);
	}
}

static bool has_workers(const struct master *m)
{
	for (int i = 0; i < m->slots_len; i++)
		if (m->slots[i].pid || m->slots[i].retiring)
			return true;
	return false;
}

/* The workers read the first three by signalfd. */
static void awaited_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	sigaddset(signals, SIGCHLD);
}

static int wait_signal(const struct master *m, int ms)
{
	struct timespec t = {.tv_sec = ms / 1000,
			     .tv_nsec = ms % 1000 * 1000000L};

	return ms < 0 ? sigwaitinfo(&m->signals, NULL)
		      : sigtimedwait(&m->signals, NULL, &t);
}

static int stop(struct master *m)
{
	int64_t until = clock_ms() + STOP_MS;

	log_info("stopping");
	close(m->listener);
	signal_workers(m, SIGTERM);
	for (reap_children(m); has_workers(m); reap_children(m)) {
		int64_t left = until - clock_ms();

		if (left <= 0) {
			log_error("workers did not end in time: killing them");
			signal_workers(m, SIGKILL);
			return EXIT_SYSTEM;
		}
		wait_signal(m, (int)left);
	}
	return EXIT_DONE;
}

static int supervise(struct master *m)
{
	for (;;) {
		start_due(m);
		switch (wait_signal(m, next_start(m))) {
		case SIGCHLD:
			reap_children(m);
			break;
		case SIGHUP:
			replace_workers(m);
			break;
		case SIGTERM:
		case SIGINT:
			return stop(m);
		default: /* a time to start somebody */
			break;
		}
	}
}

int run_master(struct settings *settings, int listener)
{
	struct master m = {.settings = settings, .listener = listener};

	awaited_signals(&m.signals);
	int status = store_prepare(settings);
	if (status)
		die(status, "%s", store_error());
	m.slots_len = run_workers(settings);
	m.slots = calloc((size_t)m.slots_len, sizeof(*m.slots));
	for (int i = 0; i < m.slots_len; i++)
		m.slots[i].share = i;
	if (!m.slots || pipe(m.leash) < 0 ||
	    balance_open(&m.balance, 2 * m.slots_len) < 0)
		die(EXIT_SYSTEM, "cannot start:");
	status = supervise(&m);
	free(m.slots);
	return status;
}

void run_block_signals(void)
{
	sigset_t signals;

	awaited_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit of file size is EFBIG, no death */
}

void run_look_at_store(const struct settings *settings)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die(EXIT_SYSTEM, "cannot fork:");
	if (pid == 0) {
		if (run_drop_privileges(settings, true) < 0)
			_exit(EXIT_SYSTEM);
		status = store_open(settings);
		if (status == 0)
			status = store_look();
		if (status != 0)
			die(status, "%s", store_error());
		store_close();
		_exit(EXIT_DONE);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		die(EXIT_SYSTEM, "the look at the store failed");
	if (WEXITSTATUS(status) != 0)
		exit(WEXITSTATUS(status));
}
