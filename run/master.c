/*
 * The master forks the workers and replaces those that die. It holds the
 * listener and a pipe, the leash, at whose end of file the workers exit. It
 * opens no store and no connection. It reads secrets and the time zone from
 * their files on SIGHUP, since the workers have given up the rights to read
 * them. As PID 1 it reaps orphans.
 *
 * Signals are blocked and received by sigwaitinfo, so that there are no
 * handlers and no races: SIGCHLD: a worker died; SIGHUP: all workers are
 * replaced; SIGTERM and SIGINT: shutdown.
 */
#include "run/run.h"

#include "http.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/date.h"
#include "util/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	STOP_MS = 10500,   /* the workers have 10 s to exit */
	HEALTHY_MS = 1000, /* a worker that dies earlier has failed at start */
	BACKOFF_MS =
		100, /* before the next fork; doubled for each failed one */
	BACKOFF_MAX = 5000,
};

struct worker_slot {
	pid_t pid;	    /* 0: none runs */
	pid_t retiring;	    /* the replaced worker, until it has exited; or 0 */
	int share;	    /* the slot of the worker in the balance */
	int retiring_share; /* and of the replaced one */
	bool wants_successor; /* SIGHUP has come, and no successor yet */
	int64_t started;
	int64_t start_at; /* no worker is forked before then */
	int backoff;	  /* ms; 0: the last start was good */
};

struct master {
	struct settings *settings;
	struct process process;
	int listener;
	int leash[2]; /* the workers hold [0], the master [1] */
	int slots_len;
	struct worker_slot *slots;
	struct balance balance;
	sigset_t signals;
	bool has_warned; /* that it stays root */
};

/* The life of a worker. Gives its exit code. */
static int master_run_worker(struct master *m, int share)
{
	close(m->leash[1]);
	prctl(PR_SET_NAME, "visitd-worker", 0, 0, 0);
	if (run_drop_privileges(m->settings, false) < 0)
		return EXIT_SYSTEM;
	store_show_detail(m->settings->health_detail);
	/* Requests get 503 until the store can be used. */
	if (store_open(m->settings) != 0)
		log_warn("the store cannot be used now: %s", store_error());
	balance_enter(&m->balance, share);
	int status = http_serve(m->settings, &m->process, m->listener,
				m->leash[0], &m->balance);
	if (store_close())
		log_error("%s", store_error());
	return status;
}

/* Delays the next fork of a slot, longer each time. */
static void master_back_off(struct worker_slot *slot)
{
	int twice = slot->backoff * 2;

	if (slot->backoff == 0)
		slot->backoff = BACKOFF_MS;
	else
		slot->backoff = twice < BACKOFF_MAX ? twice : BACKOFF_MAX;
	slot->start_at = clock_ms() + slot->backoff;
}

/* Forks a worker with that slot of the balance. False: it will be tried again.
 */
static bool master_start_worker(struct master *m, struct worker_slot *slot,
				int share)
{
	pid_t pid = fork();

	if (pid == 0)
		exit(master_run_worker(m, share));
	if (pid < 0) {
		log_error("cannot fork a worker:");
		master_back_off(slot);
		return false;
	}
	slot->pid = pid;
	slot->share = share;
	slot->started = clock_ms();
	slot->wants_successor = false;
	return true;
}

static void master_say_death(pid_t pid, int status)
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

/* A dead worker's successor starts at once, unless the worker died young. */
static void master_plan_start(struct worker_slot *slot)
{
	slot->pid = 0;
	slot->start_at = 0;
	if (clock_ms() - slot->started < HEALTHY_MS)
		master_back_off(slot);
	else
		slot->backoff = 0;
}

/* Reaps all dead children; as PID 1 also those of other processes. */
static void master_reap_children(struct master *m)
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
				master_say_death(pid, status);
				master_plan_start(slot);
			}
		}
	}
}

/*
 * SIGHUP: first the successor, then the word to the old worker, so that nobody
 * is refused. There is one retiring worker a slot: the balance has two slots
 * for the two of them, and each has one writer.
 */
static void master_replace_worker(struct master *m, struct worker_slot *slot)
{
	int old_share = slot->share;
	pid_t old = slot->pid;

	if (!master_start_worker(m, slot,
				 (old_share + m->slots_len) % m->balance.len))
		return;
	slot->retiring = old;
	slot->retiring_share = old_share;
	kill(old, SIGHUP);
}

/* Whether a worker of the slot is to be forked, as soon as its time has come.
 */
static bool master_wants_fork(const struct worker_slot *slot)
{
	return !slot->pid || (slot->wants_successor && !slot->retiring);
}

static void master_start_due(struct master *m)
{
	for (int i = 0; i < m->slots_len; i++) {
		struct worker_slot *slot = &m->slots[i];

		if (!master_wants_fork(slot) || clock_ms() < slot->start_at)
			continue;
		if (slot->pid)
			master_replace_worker(m, slot);
		else
			master_start_worker(m, slot, slot->share);
	}
}

/* Milliseconds to the next start, or -1. */
static int master_next_start(const struct master *m)
{
	int64_t now = clock_ms(), next = INT64_MAX;

	for (int i = 0; i < m->slots_len; i++)
		if (master_wants_fork(&m->slots[i]) &&
		    m->slots[i].start_at < next)
			next = m->slots[i].start_at;
	if (next == INT64_MAX)
		return -1;
	return next > now ? (int)(next - now) : 0;
}

/* In the master: workers have given up the rights to read them, and a worker
 * that is forked later must have the same secrets as the others. */
static void master_read_secrets(struct master *m)
{
	char error[512];

	if (settings_read_secrets(m->settings, error, sizeof(error)) < 0)
		log_error("%s (going on with the one from before)", error);
}

static void master_replace_workers(struct master *m)
{
	log_info("replacing the workers");
	master_read_secrets(m);
	if (!date_load_zone())
		log_error("TZ=%s cannot be loaded any more (going on with the "
			  "zone from before)",
			  getenv("TZ"));
	for (int i = 0; i < m->slots_len; i++) {
		m->slots[i].wants_successor = true;
		m->slots[i].backoff = 0;
		m->slots[i].start_at = 0;
	}
}

static void master_signal_workers(const struct master *m, int signal_number)
{
	for (int i = 0; i < m->slots_len; i++) {
		if (m->slots[i].pid)
			kill(m->slots[i].pid, signal_number);
		if (m->slots[i].retiring)
			kill(m->slots[i].retiring, signal_number);
	}
}

static bool master_has_workers(const struct master *m)
{
	for (int i = 0; i < m->slots_len; i++)
		if (m->slots[i].pid || m->slots[i].retiring)
			return true;
	return false;
}

/* The workers receive the first three by signalfd. */
static void master_awaited_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	sigaddset(signals, SIGCHLD);
}

static int master_wait_signal(const struct master *m, int ms)
{
	struct timespec t = {.tv_sec = ms / 1000,
			     .tv_nsec = ms % 1000 * 1000000L};

	return ms < 0 ? sigwaitinfo(&m->signals, NULL)
		      : sigtimedwait(&m->signals, NULL, &t);
}

static int master_stop(struct master *m)
{
	int64_t until = clock_ms() + STOP_MS;

	log_info("stopping");
	close(m->listener);
	master_signal_workers(m, SIGTERM);
	for (master_reap_children(m); master_has_workers(m);
	     master_reap_children(m)) {
		int64_t left = until - clock_ms();

		if (left <= 0) {
			log_error("workers did not end in time: killing them");
			master_signal_workers(m, SIGKILL);
			return EXIT_SYSTEM;
		}
		master_wait_signal(m, (int)left);
	}
	return EXIT_DONE;
}

static int master_supervise(struct master *m)
{
	for (;;) {
		master_start_due(m);
		switch (master_wait_signal(m, master_next_start(m))) {
		case SIGCHLD:
			master_reap_children(m);
			break;
		case SIGHUP:
			master_replace_workers(m);
			break;
		case SIGTERM:
		case SIGINT:
			return master_stop(m);
		default: /* the time of a fork */
			break;
		}
	}
}

int run_master(struct settings *settings, int listener)
{
	struct master m = {.settings = settings, .listener = listener};

	master_awaited_signals(&m.signals);
	m.process.started = time(NULL);
	m.process.workers = m.slots_len = run_workers(settings);
	m.slots = calloc((size_t)m.slots_len, sizeof(*m.slots));
	if (!m.slots || pipe(m.leash) < 0 ||
	    balance_open(&m.balance, 2 * m.slots_len) < 0)
		die(EXIT_SYSTEM, "cannot start:");
	for (int i = 0; i < m.slots_len; i++)
		m.slots[i].share = i;
	int status = master_supervise(&m);
	free(m.slots);
	return status;
}

void run_block_signals(void)
{
	sigset_t signals;

	master_awaited_signals(&signals);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* writes give EFBIG */
}

void run_look_at_store(const struct settings *settings)
{
	int status = store_prepare(settings);

	if (status)
		die(status, "%s", store_error());
	run_remember_owner(settings);
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
