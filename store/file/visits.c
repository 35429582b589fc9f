/*
 * The file store: `visits`, one decimal number and a newline.
 *
 * Invariants; each is a test.
 *
 * 1. Read and write happen under LOCK_EX, reads too: shared locks starve
 *    writers. The lock is tried first, then waited for, to one deadline.
 * 2. Under the lock the path still names the open file; else it is opened and
 *    locked again. A file newly opened, created or put in place is synced
 *    together with its folder before its first answer.
 * 3. The number is the digits of the first line, ended by newline, NUL or the
 *    end. A rest of digits, newlines and NULs is what a crash or a shell's edit
 *    leaves: it is cut off with the next write. Anything else is not understood
 *    and never overwritten. An empty or missing file where this worker last saw
 *    a number may be an edit half done: it is looked at again, with the lock
 *    released, before it counts as zero.
 * 4. The new number is written in place, in one pwrite: `visits` may be a
 *    bind-mounted file, which cannot be renamed over. A shorter one is padded
 *    with newlines to the old length, then truncated, then synced.
 * 5. Unlock, then sync: the kernel merges concurrent syncs (8 processes: 7.5k
 *    commits/s with the sync inside the lock, 14.6k outside). Nobody answers
 *    before its own, which covers all earlier writes. After a failed one the
 *    next turn writes and syncs again: the number is absolute.
 * 6. ENOSPC, EIO, EROFS, ENOLCK: 503, and a log line with path and reason.
 */
#include "store/store.h"

#include "store/file/counters.h"
#include "store/file/disk.h"
#include "store/failure.h"
#include "store/file/history.h"
#include "store/file/items.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/number.h"

#include <errno.h>
#include <limits.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

const char store_name[] = "file";

enum {
	TEXT_MAX = 4096, /* of a `visits` that can be understood */
	/* How long an empty file may be an edit half done. A shell between its
	 * truncation and its write was seen to wait more than 20 ms for a CPU
	 * when two of them had ten processes to run. */
	AGAIN_MS = 100,
	LOCKED_MS = 20, /* the wait for a lock that was held too long before */
	SYNC_EVERY = 1000 /* SYNC=everysec, ms */
};

/* One process has one store. */
static struct {
	const struct settings *settings;
	struct disk_file visits;
	struct history history;
	char visits_path[PATH_MAX], history_path[PATH_MAX];
	bool has_seen;	   /* the last look found a number */
	bool lock_is_late; /* the last wait for the lock was in vain */
	bool unsynced;	   /* SYNC=everysec: a visit is not on disk yet */
	int64_t synced_at; /* and this is when it last was */
} store;

/* What stands in `visits`. */
struct text {
	char bytes[TEXT_MAX];
	size_t len;
	int64_t total;
};

const char *store_error(void)
{
	return failure_reason();
}

static int64_t deadline(void)
{
	int wait = store.settings->store_timeout;

	/* Who waited in vain once does not make every turn wait: somebody else
	 * holds the lock. A few milliseconds are for the other workers. */
	if (store.lock_is_late && wait > LOCKED_MS)
		wait = LOCKED_MS;
	return clock_ms() + wait;
}

/*
 * Opens (or, for counting, makes) and locks the file that the path names now.
 * 0 with visits.fd < 0: there is none, and none is needed.
 */
static int lock_visits(int64_t until, bool create)
{
	const char *path = store.visits_path;

	store.lock_is_late = false;
	if (disk_lock(&store.visits, create, until) == 0)
		return 0;
	switch (errno) {
	case ENOENT:
		if (!create)
			return 0;
		break;
	case EINVAL:
		return fail("%s is not a regular file", path);
	case ETIMEDOUT:
		store.lock_is_late = true;
		return fail("%s is locked by another process", path);
	}
	return fail("cannot open and lock %s:", path);
}

static void unlock_visits(void)
{
	if (store.visits.fd >= 0)
		disk_unlock(&store.visits);
}

/* Invariant 3; false when the text is not understood. */
static bool read_number(struct text *text)
{
	size_t n = 0;

	while (n < text->len && text->bytes[n] >= '0' && text->bytes[n] <= '9')
		n++;
	for (size_t i = n; i < text->len; i++) {
		char c = text->bytes[i];

		if (c != '\n' && c != '\0' && (c < '0' || c > '9'))
			return false;
	}
	return number_read((struct slice){text->bytes, n}, &text->total);
}

/* A few bytes of what is there, for the operator. */
static int fail_text(const struct text *text)
{
	return fail_garbage("%s is not understood: it holds \"%.*s\"%s, and "
			    "should hold one number from 0 to "
			    "9223372036854775807",
			    store.visits.path,
			    text->len < 32 ? (int)text->len : 32, text->bytes,
			    text->len > 32 ? " ..." : "");
}

/* Under the lock. An empty file has len 0 and counts as zero. */
static int read_visits(struct text *text)
{
	text->len = 0;
	text->total = 0;
	if (store.visits.fd < 0)
		return 0;
	ssize_t n = disk_read(&store.visits, text->bytes, TEXT_MAX, 0);
	if (n < 0)
		return fail("cannot read %s:", store.visits.path);
	text->len = (size_t)n;
	if (n == 0)
		return 0;
	if (n == TEXT_MAX || !read_number(text))
		return fail_text(text);
	return 0;
}

/* When `visits` was last changed by anybody; 0 when it is missing. */
static struct timespec changed_at(void)
{
	struct stat st;

	if (stat(store.visits_path, &st) < 0)
		return (struct timespec){0, 0};
	return st.st_ctim;
}

/*
 * Takes the lock and the number. An edit half done is waited for, with the
 * lock released and without making the file that an editor is about to. One
 * edit after another may be met at that moment: each gets its time, also when
 * this process was kept from the CPU from one of them to the next.
 */
static int lock_and_read(struct text *text, bool create, int64_t until)
{
	const struct timespec moment = {.tv_nsec = 1000000};
	struct timespec changed = {0, 0};
	int64_t again_until = 0;
	bool patient = store.has_seen;

	for (;;) {
		int status = lock_visits(until, create && !patient);

		if (status)
			return status;
		status = read_visits(text);
		if (!status && text->len > 0)
			break;
		struct timespec now = changed_at();
		bool is_same = memcmp(&now, &changed, sizeof(now)) == 0;
		/* What was missing is new: this has made it. */
		bool is_over = !patient && (is_same || changed.tv_sec == 0);
		if (!status && is_over)
			break;
		unlock_visits();
		if (status)
			return status;
		if (!is_same || again_until == 0) {
			changed = now;
			again_until = clock_ms() + AGAIN_MS;
		}
		patient = clock_ms() < again_until;
		if (clock_ms() > until)
			return fail("%s is emptied all the time",
				    store.visits_path);
		nanosleep(&moment, NULL);
	}
	store.has_seen = text->len > 0;
	return 0;
}

/* Under the lock: invariant 4. `old` is what was read. */
static int write_visits(const struct text *old, int64_t total)
{
	char bytes[TEXT_MAX + NUMBER_MAX + 1];
	size_t n = number_write(bytes, total);

	bytes[n++] = '\n';
	size_t padded = n < old->len ? old->len : n;
	memset(bytes + n, '\n', padded - n);
	if (disk_write(&store.visits, bytes, padded, 0) < 0) {
		int error = errno;

		/* Half a number must not stay. */
		if (old->len > 0 &&
		    disk_write(&store.visits, old->bytes, old->len, 0) < 0)
			log_error("%s may be damaged:", store.visits.path);
		errno = error;
		return fail("cannot write %s:", store.visits.path);
	}
	/* The newlines that stay if this fails do no harm. */
	if (padded > n && ftruncate(store.visits.fd, (off_t)n) < 0)
		log_warn("cannot truncate %s:", store.visits.path);
	store.has_seen = true;
	return 0;
}

/* After unlocking, before answering. `wrote`: this turn did. */
static int sync_visits(bool wrote)
{
	if (store.visits.fd < 0)
		return 0;
	if (store.settings->sync == SYNC_EVERYSEC)
		store.unsynced |= wrote;
	if (store.settings->sync != SYNC_ALWAYS)
		return 0;
	if (!wrote && !store.visits.fresh)
		return 0;
	if (history_sync(&store.history) < 0)
		return fail("cannot sync %s:", store.history_path);
	if (disk_sync(&store.visits) < 0)
		return fail("cannot sync %s:", store.visits.path);
	return 0;
}

static int open_day(bool counting, int64_t total)
{
	if (history_open_day(&store.history, time(NULL), counting, total) == 0)
		return 0;
	if (errno != EBADMSG)
		return fail("cannot use %s:", store.history_path);
	return fail_garbage("%s is not understood: its last line should be a "
			    "date and a number, such as 2026-11-20 41",
			    store.history_path);
}

/* Under the lock: counts t->n visits, or only reads. */
static int count(struct tally *t, const struct text *text)
{
	if (t->n > INT64_MAX - text->total)
		return fail_own("counter is full");
	int status = open_day(t->n > 0, text->total);
	if (status)
		return status;
	t->total = text->total + t->n;
	t->today = history_today(&store.history, t->total);
	return t->n > 0 ? write_visits(text, t->total) : 0;
}

static int add_home(struct tally *t, int64_t until)
{
	struct text text;
	int status = lock_and_read(&text, t->n > 0, until);

	if (!status) {
		status = count(t, &text);
		unlock_visits();
	}
	if (!status)
		status = sync_visits(t->n > 0);
	return status;
}

void store_add(struct tally *tallies, size_t len)
{
	static char error[PATH_MAX + 512]; /* of the home counter */
	int64_t until = deadline();

	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		t->total = t->today = 0;
		t->is_new = false;
		if (!store_is_home(t->counter))
			continue;
		t->status = add_home(t, until);
		failure_tell(FAILURE_HOME, t->status);
		if (t->status) {
			snprintf(error, sizeof(error), "%s", failure_answer());
			t->error = error;
		}
	}
	counters_add(tallies, len, until);
}

/* Under the lock. */
static int set_home(const struct text *text, int64_t value)
{
	int status = open_day(false, text->total);

	if (status)
		return status;
	status = write_visits(text, value);
	if (status)
		return status;
	if (history_move(&store.history, value - text->total) == 0)
		return 0;
	/* Both or none: else the same call once more would move nothing. */
	status = fail("cannot write %s:", store.history_path);
	if (disk_write(&store.visits, text->bytes, text->len, 0) < 0 ||
	    ftruncate(store.visits.fd, (off_t)text->len) < 0)
		log_error("%s is set, and %s is not:", store.visits_path,
			  store.history_path);
	return status;
}

int store_set(struct slice counter, int64_t value)
{
	struct text text;

	if (!store_is_home(counter))
		return counters_set(counter, value, deadline());
	int status = lock_and_read(&text, true, deadline());
	if (status)
		return status;
	status = set_home(&text, value);
	unlock_visits();
	return status ? status : sync_visits(true);
}

int store_drop(struct slice counter)
{
	return counters_drop(counter, deadline());
}

int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};
	int status = add_home(&home, deadline());

	if (status)
		return status;
	if (store.has_seen)
		each(home.counter, home.total, context);
	return counters_each(each, context, deadline());
}

/* Why access(2) to `what` was denied, and what its owner can do. */
static int fail_access(const char *verb, const char *path, const char *what)
{
	struct stat st;
	int error = errno;

	if (error != EACCES || stat(what, &st) < 0 || st.st_uid == geteuid()) {
		errno = error;
		return fail("cannot %s %s:", verb, path);
	}
	return fail("cannot %s %s: %s belongs to user %u, and visitd runs as "
		    "%u: chown %u %s, or run visitd as %u (in a container: "
		    "user: \"%u\")",
		    verb, path, what, st.st_uid, geteuid(), geteuid(), what,
		    st.st_uid, st.st_uid);
}

/* Whether a missing file could be made. */
static int check_folder(void)
{
	char folder[PATH_MAX];
	char *slash;

	snprintf(folder, sizeof(folder), "%s", store.visits_path);
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = '\0';
	if (access(slash ? folder : ".", W_OK | X_OK) < 0)
		return fail_access("make", store.visits_path,
				   slash ? folder : ".");
	return 0;
}

static int check_writable(void)
{
	if (store.visits.fd < 0)
		return check_folder();
	if (access(store.visits.path, W_OK) < 0)
		return fail_access("write", store.visits.path,
				   store.visits.path);
	return 0;
}

/* Whether a visit could be counted; `probe`: by counting none of them. */
static int look(bool probe)
{
	struct text text;
	int status = lock_and_read(&text, probe, deadline());

	if (status)
		return status;
	status = open_day(probe, text.total);
	if (!status)
		status = probe ? write_visits(&text, text.total)
			       : check_writable();
	unlock_visits();
	return status;
}

/*
 * By counting no visit, up to the disk: a full or failing disk, a quota or a
 * folder made read-only show in nothing less; and a store without visitors
 * (since its health check failed) could else never be found to be well again.
 */
int store_ping(void)
{
	int status = look(true);
	bool is_late;

	if (!status)
		status = sync_visits(true);
	failure_tell(FAILURE_HOME, status);
	if (status)
		return status;
	status = counters_look(deadline(), &is_late);
	failure_tell(FAILURE_COUNTERS, status);
	return status;
}

/* Brings to disk what is not there yet. */
static int sync_all(void)
{
	if (store.visits.fd >= 0 && disk_sync(&store.visits) < 0)
		return fail("cannot sync %s:", store.visits_path);
	if (history_sync(&store.history) < 0)
		return fail("cannot sync %s:", store.history_path);
	if (items_sync() < 0)
		return fail("cannot sync the items:");
	return counters_sync();
}

int store_tick(void)
{
	int64_t now = clock_ms();

	if (!store.unsynced && !items_is_unsynced() && !counters_is_unsynced())
		return -1;
	if (now - store.synced_at < SYNC_EVERY)
		return (int)(store.synced_at + SYNC_EVERY - now);
	store.synced_at = now;
	if (sync_all()) {
		log_error("%s", failure_reason());
		return SYNC_EVERY;
	}
	store.unsynced = false;
	return -1;
}

int store_watch(void)
{
	return -1;
}

int store_look(void)
{
	return 0; /* it was looked at when it was opened */
}

const char *store_durability(void)
{
	return NULL; /* SYNC */
}

/* The folder is made, not its parents: a mistyped path should not grow. */
static int make_folder(const char *path)
{
	if (mkdir(path, 0755) == 0)
		log_info("made the folder %s", path);
	else if (errno != EEXIST)
		return fail("DATA_DIR=%s: cannot make this folder:", path);
	return 0;
}

static int set_paths(void)
{
	const struct settings *s = store.settings;
	int n;

	n = snprintf(store.history_path, PATH_MAX, "%s/history", s->data_dir);
	int m = s->visits_file ? snprintf(store.visits_path, PATH_MAX, "%s",
					  s->visits_file)
			       : snprintf(store.visits_path, PATH_MAX,
					  "%s/visits", s->data_dir);
	if (n >= PATH_MAX - 8 || m >= PATH_MAX - 8 || items_open(s) < 0 ||
	    counters_open(s) < 0)
		return fail("DATA_DIR=%.64s...: this path is too long",
			    s->data_dir);
	return 0;
}

int store_prepare(const struct settings *settings)
{
	(void)settings;
	return 0;
}

int store_open(const struct settings *settings)
{
	memset(&store, 0, sizeof(store));
	store.settings = settings;
	store.visits = (struct disk_file){.path = store.visits_path, .fd = -1};
	store.history.file =
		(struct disk_file){.path = store.history_path, .fd = -1};
	if (set_paths() || make_folder(settings->data_dir))
		return EXIT_SYSTEM;
	int status = look(false);
	bool is_late = store.lock_is_late;
	if (!status)
		status = counters_look(deadline(), &is_late);
	if (!status || is_late)
		return 0;
	return failure_is_garbage() ? EXIT_DATA : EXIT_SYSTEM;
}

int store_close(void)
{
	int status = sync_all();

	items_close();
	counters_close();
	disk_close(&store.visits);
	disk_close(&store.history.file);
	return status;
}
