/*
 * The file store while the system calls that it makes fail: each in turn, at
 * each of its occurrences, with each error that it may have, and then many at
 * random. Whatever fails: a call gives 0 or 503 (404 and 507 where a counter is
 * missing), a number that was answered is never given again and never above
 * what the file holds, no name has two rows, and the next call without a fault
 * works.
 */
#include "store/file/row.h"
#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/date.h"
#include "util/log.h"
#include "util/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum call {
	OPEN,
	CLOSE,
	FLOCK,
	PREAD,
	PWRITE,
	FSYNC,
	FDATASYNC,
	FTRUNCATE,
	FSTAT,
	STAT,
	RENAME,
	UNLINK,
	ACCESS,
	MALLOC,
	CALLOC,
	LSEEK,
	SYSCALL, /* statx */
	CALLS
};

static const char *const names[CALLS] = {
	"open",	     "close",	  "flock",  "pread", "pwrite", "fsync",
	"fdatasync", "ftruncate", "fstat",  "stat",  "rename", "unlink",
	"access",    "malloc",	  "calloc", "lseek", "syscall"};

enum { SHORT = -1 }; /* in the place of an errno: half of the bytes */

static const int errors[] = {EINTR,  EIO,    ENOSPC, EROFS,  ENOLCK, EACCES,
			     EMFILE, ENFILE, ENOMEM, EDQUOT, EAGAIN, SHORT};
enum { ERRORS = sizeof(errors) / sizeof(*errors) };

static struct {
	bool armed;
	enum call call; /* the one that fails, */
	int at;		/* at this occurrence (from 1), */
	int error;	/* with this */
	int seen;
	bool hit;
	/* or at random: each with a chance of 1 in `odds` */
	unsigned odds;
	uint64_t seed;
	unsigned hits;
	bool half;  /* a write was short: the bytes before it may be put back */
	bool spare; /* and that must succeed */
	int after_half; /* the write behind a short one fails with this */
	int dies_at;	/* the process is killed before this call, from 1, */
	bool dies_half; /* an append: after half of its bytes */
} fault;

enum { KILLED = 9 };

/* The error that the call at hand shall have; 0 for none. */
static int next_fault(enum call call)
{
	if (!fault.armed)
		return 0;
	if (fault.dies_at && ++fault.seen == fault.dies_at) {
		if (call == PWRITE && fault.dies_half)
			return SHORT;
		_exit(KILLED);
	}
	if (!fault.odds) {
		if (call != fault.call || ++fault.seen != fault.at)
			return 0;
		fault.hit = true;
		return fault.error;
	}
	if (random_next(&fault.seed) % fault.odds)
		return 0;
	fault.hits++;
	return errors[random_next(&fault.seed) % ERRORS];
}

static bool fails(enum call call)
{
	int error = next_fault(call);

	if (error <= 0)
		return false;
	errno = error;
	return true;
}

#define REAL(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

REAL(int, open, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode = 0;

	if (flags & O_CREAT) {
		va_start(args, flags);
		mode = (mode_t)va_arg(args, int);
		va_end(args);
	}
	return fails(OPEN) ? -1 : __real_open(path, flags, mode);
}

/* The descriptor is gone whatever close says (close(2)). */
REAL(int, close, int fd)
{
	int done = __real_close(fd);

	return fails(CLOSE) ? -1 : done;
}

REAL(int, flock, int fd, int operation)
{
	return fails(FLOCK) ? -1 : __real_flock(fd, operation);
}

REAL(int, fstat, int fd, struct stat *st)
{
	return fails(FSTAT) ? -1 : __real_fstat(fd, st);
}

static void note_sync(int fd);

REAL(int, fsync, int fd)
{
	int done = fails(FSYNC) ? -1 : __real_fsync(fd);

	if (done == 0)
		note_sync(fd);
	return done;
}

REAL(int, fdatasync, int fd)
{
	int done = fails(FDATASYNC) ? -1 : __real_fdatasync(fd);

	if (done == 0)
		note_sync(fd);
	return done;
}

REAL(int, ftruncate, int fd, off_t size)
{
	return fails(FTRUNCATE) ? -1 : __real_ftruncate(fd, size);
}

REAL(int, stat, const char *path, struct stat *st)
{
	return fails(STAT) ? -1 : __real_stat(path, st);
}

static bool folder_is_synced; /* since a file was opened or replaced */

static bool is_synced(const char *path);

/* A name is given to what is on disk, and to nothing else. */
REAL(int, rename, const char *from, const char *to)
{
	assert_true(is_synced(from));
	int done = fails(RENAME) ? -1 : __real_rename(from, to);

	if (done == 0)
		folder_is_synced = false;
	return done;
}

REAL(int, unlink, const char *path)
{
	return fails(UNLINK) ? -1 : __real_unlink(path);
}

REAL(int, access, const char *path, int mode)
{
	return fails(ACCESS) ? -1 : __real_access(path, mode);
}

REAL(void *, malloc, size_t size)
{
	return fails(MALLOC) ? NULL : __real_malloc(size);
}

REAL(void *, calloc, size_t n, size_t size)
{
	return fails(CALLOC) ? NULL : __real_calloc(n, size);
}

REAL(off_t, lseek, int fd, off_t offset, int whence)
{
	return fails(LSEEK) ? -1 : __real_lseek(fd, offset, whence);
}

REAL(long, syscall, long number, ...)
{
	va_list args;
	long a[5];

	va_start(args, number);
	for (int i = 0; i < 5; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	return fails(SYSCALL)
		       ? -1
		       : __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
}

REAL(ssize_t, pread, int fd, void *buf, size_t len, off_t offset)
{
	int error = next_fault(PREAD);

	if (error == SHORT && len > 1) {
		/* Half of what is there: less than that would be its end. */
		ssize_t n = __real_pread(fd, buf, len, offset);

		return n > 1 ? n / 2 : n;
	}
	if (error > 0) {
		errno = error;
		return -1;
	}
	return __real_pread(fd, buf, len, offset);
}

/*
 * A kernel that has taken the first bytes of a number takes them again when
 * they are put back: they are in the page that it has just written. Only that
 * is spared in the random runs.
 */
REAL(ssize_t, pwrite, int fd, const void *buf, size_t len, off_t offset)
{
	int error = fault.spare ? 0 : next_fault(PWRITE);

	if (fault.half && fault.after_half) {
		fault.half = false;
		errno = fault.after_half;
		return -1;
	}
	if (error == SHORT && len > 1) {
		/* No kill comes between the bytes of a number. */
		if (fault.dies_at && offset == 0)
			_exit(KILLED);
		ssize_t n = __real_pwrite(fd, buf, len / 2, offset);
		if (fault.dies_at)
			_exit(KILLED);
		fault.half = true;
		return n;
	}
	if (error > 0) {
		fault.spare = fault.half;
		errno = error;
		return -1;
	}
	fault.half = fault.spare = false;
	return __real_pwrite(fd, buf, len, offset);
}

static int64_t slept; /* nanoseconds; nobody else is here to be waited for */

REAL(int, nanosleep, const struct timespec *t, struct timespec *left)
{
	(void)left;
	/* And all who wait for a millisecond wait for more of them. */
	slept += 20 * (t->tv_sec * 1000000000 + t->tv_nsec);
	return 0;
}

/* Only sleeping takes time: a machine that is busy meets no deadline, */
REAL(int, clock_gettime, clockid_t id, struct timespec *t)
{
	static struct timespec begun;
	int done = __real_clock_gettime(id, t);

	if (id != CLOCK_MONOTONIC)
		return done;
	if (!begun.tv_sec)
		begun = *t;
	*t = begun;
	int64_t nanoseconds = t->tv_nsec + slept;

	t->tv_sec += (time_t)(nanoseconds / 1000000000);
	t->tv_nsec = (long)(nanoseconds % 1000000000);
	return done;
}

/* and no midnight. */
REAL(time_t, time, time_t *t)
{
	static time_t begun;

	if (!begun)
		begun = __real_time(NULL);
	if (t)
		*t = begun;
	return begun;
}

/* Thousands of faults are told in as many lines. */
__attribute__((format(printf, 2, 3))) void
__wrap_log_line(enum log_level level, const char *format, ...);

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	(void)format;
}

static struct settings settings;
static char visits[256], history[256], counters[256], fresh[256];
static int64_t answered; /* the highest number that a visitor was told */
static int64_t base;	 /* how many of the total are not today's */
static bool is_set;	 /* a set failed: whether it was done is open */

/* What is known of the counters with these names. */
static const char *const named[] = {"a", "b", "c", "d/e", "f", "g", "h"};
enum { NAMED = sizeof(named) / sizeof(*named) };
static struct life {
	int64_t answered; /* the highest number of its life; 0: not begun */
	bool is_open;	  /* a set or a drop failed: it may have been done */
} lives[NAMED];

static void store_begin(void)
{
	const char *folder = folder_make();

	snprintf(visits, sizeof(visits), "%s", folder_path("visits"));
	snprintf(history, sizeof(history), "%s", folder_path("history"));
	snprintf(counters, sizeof(counters), "%s", folder_path("counters"));
	snprintf(fresh, sizeof(fresh), "%s", folder_path("fresh"));
	settings = (struct settings){
		.data_dir = folder,
		.store_timeout = 200,
		.sync = SYNC_ALWAYS,
		.max_counters = 100,
	};
	answered = base = 0;
	is_set = false;
	memset(lives, 0, sizeof(lives));
}

static void arm(enum call call, int at, int error)
{
	memset(&fault, 0, sizeof(fault));
	fault.call = call;
	fault.at = at;
	fault.error = error;
}

/* What a loss of power would leave of each file. */
enum { SYNCED = 64, TABLE_MAX = 16 * ROW_SIZE };
static struct synced {
	ino_t ino;
	off_t size;
	int64_t total; /* the number at its start */
	char table[TABLE_MAX];
} synced[SYNCED];
static unsigned synced_at;

static void note_sync(int fd)
{
	struct stat st;
	int error = errno;

	assert_int_equal(__real_fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode)) {
		folder_is_synced = true;
		errno = error;
		return;
	}
	struct synced *now = &synced[synced_at++ % SYNCED];
	ssize_t n = __real_pread(fd, now->table, TABLE_MAX - 1, 0);
	now->table[n > 0 ? n : 0] = '\0';
	now->ino = st.st_ino;
	now->size = st.st_size;
	now->total = strtoll(now->table, NULL, 10);
}

/* The last sync of the file that has this path. */
static const struct synced *last_sync(const char *path)
{
	static const struct synced none = {.size = -1, .total = -1};
	struct stat st;

	if (__real_stat(path, &st) < 0)
		return &none;
	for (unsigned i = synced_at; i > 0 && i + SYNCED > synced_at; i--)
		if (synced[(i - 1) % SYNCED].ino == st.st_ino)
			return &synced[(i - 1) % SYNCED];
	return &none;
}

static bool is_synced(const char *path)
{
	struct stat st;

	return __real_stat(path, &st) == 0 &&
	       last_sync(path)->size == st.st_size;
}

/* Before its answer a visit is on disk, and so is its day's line, and the
 * names of files that are new. */
static void assert_durable(int64_t total)
{
	struct stat st;

	if (settings.sync != SYNC_ALWAYS)
		return;
	assert_true(last_sync(visits)->total >= total);
	if (__real_stat(history, &st) == 0)
		assert_true(is_synced(history));
	assert_true(folder_is_synced);
}

static void forget_syncs(void)
{
	for (int i = 0; i < SYNCED; i++)
		synced[i].ino = 0;
	folder_is_synced = false;
}

/* What the file holds; 0 for none. */
static int64_t file_total(void)
{
	char text[8192];
	size_t n = 0;
	int64_t total = 0;

	if (file_get(visits, text, sizeof(text)) <= 0)
		return 0;
	while (text[n] >= '0' && text[n] <= '9')
		n++;
	assert_true(number_read((struct slice){text, n}, &total));
	return total;
}

#define ARMED(call)                  \
	do {                         \
		fault.armed = true;  \
		call;                \
		fault.armed = false; \
	} while (0)

static void must_open(void)
{
	forget_syncs();
	assert_int_equal(store_open(&settings), 0);
}

static int try_open(void)
{
	int code;

	forget_syncs();
	ARMED(code = store_open(&settings));
	if (code != 0)
		assert_int_equal(code, EXIT_SYSTEM);
	return code;
}

/* An unlock that is interrupted is repeated. (With another error the lock stays
 * until the next call; no such error is known.) */
static void assert_unlocked(void)
{
	if (fault.odds || fault.error != EINTR)
		return;
	for (int i = 0; i < 2; i++) {
		int fd = open(i ? counters : visits, O_RDWR);

		if (fd < 0)
			continue;
		assert_int_equal(__real_flock(fd, LOCK_EX | LOCK_NB), 0);
		close(fd);
	}
}

/* A turn, and what must be true of every turn. */
static struct tally try_add(int64_t n)
{
	struct tally t = {.counter = SLICE(STORE_HOME), .n = n};

	ARMED(store_add(&t, 1));
	assert_unlocked();
	if (t.status) {
		assert_int_equal(t.status, 503);
		assert_true(t.error && *t.error);
		return t;
	}
	assert_true(t.total >= n);
	if (!is_set && n > 0)
		assert_true(t.total - n >= answered);
	if (n > 0) {
		answered = t.total;
		assert_durable(t.total);
	}
	assert_true(file_total() >= answered);
	return t;
}

static int try_set(int64_t value)
{
	int status;

	ARMED(status = store_set(SLICE(STORE_HOME), value));
	if (status) {
		assert_int_equal(status, 503);
		assert_true(*store_error());
		is_set = true;
	} else {
		base += value - file_total();
		assert_int_equal(file_total(), value);
		assert_durable(value);
	}
	assert_unlocked();
	return status;
}

static int try_ping(void)
{
	int64_t before = file_total();
	int status;

	ARMED(status = store_ping());
	if (status) {
		assert_int_equal(status, 503);
		assert_true(*store_error());
	}
	assert_int_equal(file_total(), before);
	return status;
}

/*
 * Counters with names
 */

/* The total that a table has for a name: ROW_DROPPED, or -2 for no row. No name
 * has two. */
static int64_t total_in(const char *row, size_t n, const char *name)
{
	int64_t total = -2;

	for (; n >= ROW_SIZE; n -= ROW_SIZE, row += ROW_SIZE) {
		if (!row_is_whole(row) ||
		    !slice_equal(row_name(row), slice_of(name)))
			continue;
		assert_int_equal(total, -2);
		total = row_total(row);
	}
	return total;
}

/* The same of lines that somebody has written, who may name it twice. */
static int64_t total_in_lines(struct slice text, const char *name)
{
	static const struct date_day today = {.text = "2026-11-20"};
	int64_t total = -2;

	while (text.n > 0) {
		struct slice line = slice_take(&text, '\n');
		char row[ROW_SIZE];

		if (!row_parse(row, line, &today) &&
		    slice_equal(row_name(row), slice_of(name)) &&
		    row_total(row) > total)
			total = row_total(row);
	}
	return total;
}

static char table[TABLE_MAX]; /* as it was last read */
static size_t table_len;

static void read_table(void)
{
	long n = file_get(counters, table, sizeof(table));

	table_len = n > 0 ? (size_t)n : 0;
}

static int64_t total_of(const char *name)
{
	size_t n = table_len;
	int64_t total = -2, by_hand = -2;

	if (n >= ROW_SIZE && row_is_whole(table)) {
		n -= n % ROW_SIZE;
		total = total_in(table, n, name);
	} else {
		n = 0;
	}
	struct slice rest = {table + n, table_len - n};
	if (rest.n > ROW_SIZE || !row_is_torn(rest.p, rest.n))
		by_hand = total_in_lines(rest, name);
	return by_hand > total ? by_hand : total;
}

/* Its row is on disk, and so is the name of the file. */
static void assert_row_durable(const char *name, int64_t least, int64_t most)
{
	const struct synced *file = last_sync(counters);

	if (settings.sync != SYNC_ALWAYS)
		return;
	assert_true(file->size >= 0 && file->size < TABLE_MAX);
	int64_t total = total_in(file->table, (size_t)file->size, name);
	assert_true(total >= least && total <= most);
	assert_true(folder_is_synced);
}

static void check_tally(const struct tally *t, size_t i)
{
	struct life *life = &lives[i];

	if (t->status) {
		assert_true(t->status == 503 ||
			    (t->status == 404 && t->n == 0) ||
			    (t->status == 507 && t->n > 0));
		assert_true(t->error && *t->error);
		assert_false(t->status != 503 && life->answered &&
			     !life->is_open);
		return;
	}
	assert_true(t->total >= t->n);
	if (t->n == 0)
		return;
	if (!life->is_open) {
		assert_true(t->total - t->n >= life->answered);
		assert_false(t->is_new && life->answered);
	}
	if (t->is_new)
		assert_int_equal(t->total, t->n);
	*life = (struct life){.answered = t->total};
	assert_row_durable(named[i], t->total, t->total);
}

static void check_table(void)
{
	read_table();
	for (size_t i = 0; i < NAMED; i++) {
		int64_t total = total_of(named[i]);

		if (lives[i].is_open || total >= lives[i].answered ||
		    !lives[i].answered)
			continue;
		print_error("%s: %lld was answered, and the file has %lld:\n"
			    "%.*s\n",
			    named[i], (long long)lives[i].answered,
			    (long long)total, (int)table_len, table);
		fail();
	}
	assert_unlocked();
}

/* A turn of names, n[i] visits of each; -1 leaves it out. */
static struct tally *try_turn(const int *n)
{
	static struct tally turn[NAMED];
	size_t len = 0, which[NAMED];

	for (size_t i = 0; i < NAMED; i++) {
		if (n[i] < 0)
			continue;
		which[len] = i;
		turn[len++] = (struct tally){.counter = slice_of(named[i]),
					     .n = n[i]};
	}
	ARMED(store_add(turn, len));
	for (size_t k = 0; k < len; k++)
		check_tally(&turn[k], which[k]);
	check_table();
	return turn;
}

static struct tally try_name(size_t i, int n)
{
	int only[NAMED];

	for (size_t k = 0; k < NAMED; k++)
		only[k] = k == i ? n : -1;
	return *try_turn(only);
}

static void try_set_name(size_t i, int64_t value)
{
	int status;

	ARMED(status = store_set(slice_of(named[i]), value));
	read_table();
	if (status) {
		assert_true(status == 503 || status == 507);
		assert_true(*store_error());
		lives[i].is_open = true;
	} else {
		assert_int_equal(total_of(named[i]), value);
		assert_row_durable(named[i], value, value);
		lives[i] = (struct life){.answered = value};
	}
	check_table();
}

static void try_drop(size_t i)
{
	int status;

	ARMED(status = store_drop(slice_of(named[i])));
	read_table();
	if (status == 503) {
		assert_true(*store_error());
		lives[i].is_open = true;
	} else {
		assert_true(status == 0 || status == 404);
		assert_false(status == 404 && lives[i].answered &&
			     !lives[i].is_open);
		assert_true(total_of(named[i]) < 0);
		if (status == 0)
			assert_row_durable(named[i], -2, ROW_DROPPED);
		lives[i] = (struct life){.answered = 0};
	}
	check_table();
}

static void note_each(struct slice counter, int64_t total, void *context)
{
	for (size_t i = 0; i < NAMED; i++)
		if (slice_equal(counter, slice_of(named[i])))
			((int64_t *)context)[i] = total;
}

/* All of them are told, or none is promised to be. */
static void try_each(void)
{
	int64_t totals[NAMED] = {0};
	int status;

	ARMED(status = store_each(note_each, totals));
	if (status)
		assert_int_equal(status, 503);
	for (size_t i = 0; i < NAMED && !status; i++)
		assert_true(lives[i].is_open || totals[i] >= lives[i].answered);
	check_table();
}

/* Nothing fails any more: at once every counter works. */
static void assert_table_recovered(void)
{
	int64_t totals[NAMED];

	for (size_t i = 0; i < NAMED; i++) {
		struct tally t = try_name(i, 1);

		if (t.status && t.status != 507)
			print_error("still: %s\n", t.error);
		assert_true(t.status == 0 || t.status == 507);
		totals[i] = t.status ? 0 : t.total;
		if (t.status == 507)
			assert_true(total_of(named[i]) == -2);
		else
			assert_int_equal(try_name(i, 2).total, ++totals[i] + 1);
	}
	struct stat st;
	assert_int_equal(__real_stat(counters, &st), 0);
	assert_int_equal(st.st_size % ROW_SIZE, 0);
	try_each();
	assert_int_equal(try_ping(), 0);
	/* Another process sees the same. */
	store_close();
	must_open();
	for (size_t i = 0; i < NAMED; i++)
		if (totals[i])
			assert_int_equal(try_name(i, 0).total, totals[i] + 1);
}

/* Every line of history is whole, each date is later than the one before. */
static void assert_history(void)
{
	char text[8192], before[DATE_DAY_SIZE] = "";
	long n = file_get(history, text, sizeof(text));

	for (const char *line = text; n > 0 && *line;) {
		const char *end = strchr(line, '\n');

		assert_non_null(end);
		assert_true(end - line >= DATE_DAY_SIZE + 2);
		assert_int_equal(line[DATE_DAY_SIZE], ' ');
		assert_true(memcmp(before, line, DATE_DAY_SIZE) < 0);
		memcpy(before, line, DATE_DAY_SIZE);
		line += DATE_DAY_SIZE + 1;
		assert_int_equal(strspn(line, "-0123456789"), end - line);
		line = end + 1;
	}
}

/* Nothing fails any more: at once everything works. */
static void assert_recovered(bool knows_today)
{
	struct tally first = try_add(1);

	if (first.status)
		print_error("still: %s\n", first.error);
	assert_int_equal(first.status, 0);
	assert_int_equal(file_total(), first.total);
	struct tally t = try_add(2);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, first.total + 2);
	assert_int_equal(file_total(), t.total);
	if (knows_today)
		assert_int_equal(t.today, t.total - base);
	assert_int_equal(try_ping(), 0);
	assert_history();
	/* And nobody is locked out. */
	int fd = open(visits, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	close(fd);
	/* Another process sees the same. */
	store_close();
	must_open();
	struct tally again = try_add(0);
	assert_int_equal(again.status, 0);
	assert_int_equal(again.total, t.total);
	if (knows_today)
		assert_int_equal(again.today, t.today);
}

/*
 * What is done while a call fails. `prepare` runs before the fault is armed.
 */
static void put_history(int days_ago, int64_t total)
{
	char text[64];

	date_write_day(text, time(NULL) - days_ago * 86400);
	snprintf(text + DATE_DAY_SIZE, sizeof(text) - DATE_DAY_SIZE, " %lld\n",
		 (long long)total);
	file_put_text(history, text);
	base = total;
}

static void prepare_nothing(void)
{
}

static void prepare_some(void)
{
	file_put_text(visits, "41\n");
	put_history(0, 30);
	answered = 41;
}

static void prepare_yesterday(void)
{
	file_put_text(visits, "999\n");
	put_history(1, 30);
	base = answered = 999;
}

static void prepare_torn(void)
{
	file_put_text(visits, "99");
	file_put_text(history, "2020-02-02 20\n2026-0");
	base = answered = 99;
}

static void prepare_long(void)
{
	file_put_text(visits, "0000000000000000000000000000099\n7\n");
	put_history(0, 30);
	answered = 99;
}

static void open_and_count(void)
{
	try_open();
	try_add(1);
	try_add(0);
	try_add(3);
	try_ping();
	try_add(1);
}

static void count_when_open(void)
{
	must_open();
	try_add(1);
	try_add(1);
}

static void count_after_replacement(void)
{
	must_open();
	try_add(1);
	file_put_text(fresh, "500\n");
	assert_int_equal(__real_rename(fresh, visits), 0);
	folder_is_synced = false;
	answered = 500;
	try_add(1);
	try_add(1);
}

static void count_after_removal(void)
{
	must_open();
	try_add(1);
	__real_unlink(visits);
	__real_unlink(history);
	folder_is_synced = false;
	answered = base = 0;
	try_add(1);
	try_add(1);
}

static void ping_when_open(void)
{
	must_open();
	try_ping();
	try_ping();
}

static void set_when_open(void)
{
	must_open();
	try_add(1);
	try_set(1000);
}

static void close_and_open(void)
{
	must_open();
	try_add(1);
	ARMED(store_close());
	try_open();
	try_add(1);
}

static void tick(void)
{
	settings.sync = SYNC_EVERYSEC;
	must_open();
	try_add(1);
	ARMED(store_tick());
	try_add(1);
	ARMED(store_tick());
	settings.sync = SYNC_ALWAYS;
}

static const int all[NAMED] = {1, 2, 3, -1, -1, -1, -1};
static const int reads[NAMED] = {0, 0, -1, 0, -1, -1, -1};
static const int some[NAMED] = {-1, 1, 0, 2, -1, -1, -1};

static void put_row(const char *name, int64_t total)
{
	struct date_day today = {.number = 0};

	read_table();
	date_know_day(&today, time(NULL));
	row_make(table + table_len, slice_of(name), &today);
	row_set_total(table + table_len, total);
	file_put(counters, table, table_len + ROW_SIZE);
	for (size_t i = 0; i < NAMED; i++)
		if (strcmp(name, named[i]) == 0 && total > lives[i].answered)
			lives[i].answered = total;
}

static void prepare_table(void)
{
	for (int i = 0; i < 3; i++)
		put_row(named[i], 10 * i + 5);
}

static void prepare_lines(void)
{
	file_put_text(counters, "5 a\n\n16 2026-11-20 b 3 4\n20 a");
	lives[0].answered = 20;
	lives[1].answered = 16;
}

static void prepare_twice(void)
{
	prepare_table();
	put_row("a", 100);
}

static void prepare_torn_table(void)
{
	prepare_table();
	read_table();
	memset(table + table_len, 0, 2 * ROW_SIZE);
	memcpy(table + table_len, table, 300);
	file_put(counters, table, table_len + ROW_SIZE + 7);
}

static void prepare_few(void)
{
	settings.max_counters = 4;
	prepare_table();
	put_row("d/e", ROW_DROPPED);
}

static void open_and_count_names(void)
{
	try_open();
	try_turn(all);
	try_turn(reads);
	try_turn(some);
	try_each();
}

static void set_and_drop(void)
{
	must_open();
	try_turn(all);
	try_set_name(0, 1000);
	try_drop(1);
	try_turn(reads);
	try_turn(some);
	try_drop(2);
	try_set_name(2, 7);
	try_drop(5);
	try_set_name(5, 8);
}

static void compact(void)
{
	must_open();
	try_drop(1);
	try_name(4, 1);
	try_name(1, 1);
	try_turn(reads);
}

/* A name that is not known is looked for in a table that is read anew. */
static void read_anew(void)
{
	must_open();
	try_turn(reads);
	slept += 2000000000;
	try_name(5, 0);
	slept += 2000000000;
	try_name(5, 1);
	try_turn(some);
}

static void edit_when_open(void)
{
	must_open();
	try_turn(all);
	file_put_text(fresh, "1000 a\n1001 b\n1002 c\n1003 d/e\n");
	assert_int_equal(__real_rename(fresh, counters), 0);
	folder_is_synced = false;
	for (int i = 0; i < 4; i++)
		lives[i].answered = 1000 + i;
	try_turn(reads);
	try_turn(some);
}

static void tick_names(void)
{
	settings.sync = SYNC_EVERYSEC;
	must_open();
	try_turn(all);
	ARMED(store_tick());
	try_drop(0);
	ARMED(store_tick());
	settings.sync = SYNC_ALWAYS;
}

static const struct {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
	bool knows_today; /* what today's visits are in the end */
	bool has_names;
} stories[] = {
	{"the first visits", prepare_nothing, open_and_count, true, false},
	{"opening and counting", prepare_some, open_and_count, true, false},
	{"counting", prepare_some, count_when_open, true, false},
	{"a new day", prepare_yesterday, count_when_open, true, false},
	{"a new day, opening", prepare_yesterday, open_and_count, true, false},
	{"a torn history", prepare_torn, open_and_count, true, false},
	{"a number that gets shorter", prepare_long, count_when_open, true,
	 false},
	{"a replaced file", prepare_some, count_after_replacement, false,
	 false},
	{"a removed file", prepare_some, count_after_removal, false, false},
	{"the health of nothing", prepare_nothing, ping_when_open, true, false},
	{"the health of a new day", prepare_yesterday, ping_when_open, true,
	 false},
	{"a set", prepare_some, set_when_open, false, false},
	{"closing", prepare_some, close_and_open, true, false},
	{"a sync every second", prepare_some, tick, true, false},
	{"the first names", prepare_nothing, open_and_count_names, true, true},
	{"lines by hand", prepare_lines, open_and_count_names, true, true},
	{"a name twice", prepare_twice, open_and_count_names, true, true},
	{"a torn table", prepare_torn_table, open_and_count_names, true, true},
	{"set and drop", prepare_table, set_and_drop, true, true},
	{"compaction", prepare_few, compact, true, true},
	{"unknown names", prepare_table, read_anew, true, true},
	{"a replaced table", prepare_table, edit_when_open, true, true},
	{"names every second", prepare_table, tick_names, true, true},
};

/* Errors that the table tells from each other, and one of the rest: its stories
 * are long. */
static bool is_telling(size_t story, int error)
{
	return !stories[story].has_names || error == EINTR || error == EIO ||
	       error == SHORT;
}

/* One story with one fault; whether the fault was met. */
static bool tell_story(size_t story, enum call call, int at, int error)
{
	store_begin();
	stories[story].prepare();
	arm(call, at, error);
	stories[story].run();
	bool hit = fault.hit;
	arm(CALLS, 0, 0);
	if (stories[story].has_names)
		assert_table_recovered();
	assert_recovered(stories[story].knows_today);
	store_close();
	folder_remove();
	return hit;
}

static const char *told; /* the story at hand, for a failed assertion */
static int told_call, told_at, told_error;

static int say_where(void **state)
{
	(void)state;
	if (told)
		print_error("in the story of %s: occurrence %d of %s fails "
			    "with %d (%s)\n",
			    told, told_at, names[told_call], told_error,
			    told_error > 0 ? strerror(told_error) : "short");
	told = NULL;
	arm(CALLS, 0, 0);
	folder_remove();
	return 0;
}

/* One call fails with one error in one story, at each occurrence; of each
 * share, the `first`. Gives how many. */
static unsigned fail_each(size_t story, enum call call, int error, int first)
{
	unsigned count = 0;

	told = stories[story].name;
	told_call = (int)call;
	told_error = error;
	for (told_at = first; tell_story(story, call, told_at, error);
	     told_at += unit_share())
		count++;
	return count;
}

static void test_each_call_in_turn(void **state)
{
	unsigned count = 0;
	int tried = 0;

	(void)state;
	for (size_t story = 0; story < sizeof(stories) / sizeof(*stories);
	     story++)
		for (enum call call = 0; call < CALLS; call++)
			for (int e = 0; e < ERRORS; e++)
				if (is_telling(story, errors[e]))
					count += fail_each(
						story, call, errors[e],
						1 + tried++ % unit_share());
	told = NULL;
	printf("note: %u single faults\n", count);
}

/* Half of "1000" over "999" would be 109. */
static void test_half_a_number(void **state)
{
	(void)state;
	store_begin();
	file_put_text(visits, "999\n");
	put_history(0, 30);
	must_open();
	arm(PWRITE, 1, SHORT);
	fault.after_half = ENOSPC;
	assert_int_equal(try_add(1).status, 503);
	assert_true(fault.hit);
	assert_int_equal(file_total(), 999);
	arm(CALLS, 0, 0);
	assert_int_equal(try_add(1).total, 1000);
	store_close();
	folder_remove();
}

/* Half of the line of a day must not stay, nor half of the first one. */
static void test_half_a_line(void **state)
{
	char before[256];

	(void)state;
	for (int first = 0; first < 2; first++) {
		store_begin();
		prepare_yesterday();
		if (first)
			file_put_text(history, "");
		must_open();
		assert_true(file_get(history, before, sizeof(before)) >= 0);
		arm(PWRITE, 1, SHORT);
		fault.after_half = ENOSPC;
		assert_int_equal(try_add(1).status, 503);
		assert_true(fault.hit);
		assert_file(history, before);
		assert_int_equal(file_total(), 999);
		arm(CALLS, 0, 0);
		assert_int_equal(try_add(1).today, 1);
		store_close();
		folder_remove();
	}
}

/* Half of a row must not stay: not in the place of an old one, and not behind
 * them all. */
static void test_half_a_row(void **state)
{
	char before[TABLE_MAX], after[TABLE_MAX];

	(void)state;
	store_begin();
	prepare_table();
	must_open();
	assert_int_equal(try_name(0, 1).total, 6);
	long n = file_get(counters, before, sizeof(before));
	for (size_t i = 0; i < 4; i += 3) {
		arm(PWRITE, 1, SHORT);
		fault.after_half = ENOSPC;
		assert_int_equal(try_name(i, 1000).status, 503);
		assert_true(fault.hit);
		assert_int_equal(file_get(counters, after, sizeof(after)), n);
		assert_memory_equal(before, after, (size_t)n);
	}
	arm(CALLS, 0, 0);
	assert_int_equal(try_name(0, 1).total, 7);
	assert_int_equal(try_name(3, 1).total, 1);
	store_close();
	folder_remove();
}

/* After a set that failed, the same set once more: today's visits are what
 * they were. */
static void test_set_once_more(void **state)
{
	bool hit = true;

	(void)state;
	told = "a set and the same set again";
	for (int call = 0; call < CALLS; call++)
		for (int e = 0; e < ERRORS; e++, hit = true)
			for (int at = 1; hit; at++) {
				told_call = call;
				told_at = at;
				told_error = errors[e];
				store_begin();
				prepare_some();
				must_open();
				assert_int_equal(try_add(1).today, 12);
				arm((enum call)call, at, errors[e]);
				try_set(1000);
				hit = fault.hit;
				arm(CALLS, 0, 0);
				assert_int_equal(try_set(1000), 0);
				struct tally t = try_add(0);
				assert_int_equal(t.total, 1000);
				assert_int_equal(t.today, 12);
				store_close();
				folder_remove();
			}
	told = NULL;
}

/* Whether a process that sets the total was killed at that call. */
static bool set_and_die(int64_t value, int at, bool half)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		must_open();
		arm(CALLS, 0, 0);
		fault.dies_at = at;
		fault.dies_half = half;
		ARMED(store_set(SLICE(STORE_HOME), value));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == KILLED);
	return WEXITSTATUS(status) == KILLED;
}

/* Today's visits are what they were: who only reads sees it, and who counts. */
static void assert_set_or_not(int64_t before, int64_t value, int64_t today)
{
	struct tally t;

	for (int n = 0; n < 2; n++) {
		t = (struct tally){.counter = SLICE(STORE_HOME), .n = n};
		store_add(&t, 1);
		assert_int_equal(t.status, 0);
		if (t.total != before + n)
			assert_int_equal(t.total, value + n);
		assert_int_equal(t.today, today + n);
	}
	assert_history();
}

/* Between the writes of a set somebody is killed: today is never the whole
 * jump. */
static void test_set_killed(void **state)
{
	static const struct {
		void (*prepare)(void);
		int64_t value, today;
	} sets[] = {
		{prepare_some, 1000000, 11},
		{prepare_some, 45, 11},
		{prepare_some, 35, 11},
		{prepare_some, 0, 11},
		{prepare_some, INT64_MAX - 1, 11},
		{prepare_yesterday, 5, 0},
		{prepare_yesterday, 5000, 0},
		{prepare_nothing, 7, 0},
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(sets) / sizeof(*sets); i++) {
		int64_t value = sets[i / 2].value;
		bool killed = true;

		for (int at = 1; killed; at++) {
			store_begin();
			sets[i / 2].prepare();
			arm(CALLS, 0, 0);
			must_open();
			int64_t before = file_total();
			killed = set_and_die(value, at, i % 2);
			assert_set_or_not(before, value, sets[i / 2].today);
			store_close();
			folder_remove();
			assert_true(at < 1000 && (killed || at > 10));
		}
	}
}

/* Many faults in one life of a store. */
static void run_random(uint64_t seed, unsigned odds)
{
	bool is_open;

	store_begin();
	if (seed & 1)
		prepare_some();
	arm(CALLS, 0, 0);
	fault.seed = seed * 0x9e3779b97f4a7c15u + 1;
	fault.odds = odds;
	is_open = try_open() == 0;
	for (int i = 0; i < 60; i++) {
		switch (random_next(&fault.seed) % 16) {
		case 0:
			ARMED(store_close());
			is_open = try_open() == 0;
			break;
		case 1:
		case 2:
			try_ping();
			break;
		case 3:
			ARMED(store_tick());
			break;
		case 4:
		case 5:
			try_add(0);
			break;
		case 6: { /* A rename from outside, never backwards. */
			char text[32];
			int n = snprintf(text, sizeof(text), "%lld\n",
					 (long long)file_total() + 100);

			file_put(fresh, text, (size_t)n);
			assert_int_equal(__real_rename(fresh, visits), 0);
			folder_is_synced = false;
			break;
		}
		default:
			try_add((int64_t)(random_next(&fault.seed) % 50) + 1);
		}
	}
	fault.odds = 0;
	fault.spare = false;
	if (!is_open) {
		store_close();
		must_open();
	}
	assert_recovered(false);
	store_close();
	folder_remove();
}

/* An editor's table in the place of the old one, with totals that are higher;
 * or a line behind it. */
static void edit_table(uint64_t *seed)
{
	char text[1024], *p = text;
	bool append = random_next(seed) % 2;

	read_table();
	if (append && table_len % ROW_SIZE != 0)
		return;
	for (size_t i = 0; i < NAMED; i++) {
		int64_t total = total_of(named[i]);

		if (append && random_next(seed) % 4)
			continue;
		if (total < 0 && random_next(seed) % 2)
			continue;
		total = (total > lives[i].answered ? total
						   : lives[i].answered) +
			10;
		p += sprintf(p, "%lld %s\n", (long long)total, named[i]);
		lives[i] = (struct life){.answered = total};
	}
	if (append) {
		int fd = open(counters, O_WRONLY | O_APPEND | O_CREAT, 0644);

		assert_int_equal(write(fd, text, (size_t)(p - text)), p - text);
		close(fd);
		return;
	}
	for (size_t i = 0; i < NAMED; i++)
		if (!strstr(text, named[i]))
			lives[i] = (struct life){.answered = 0};
	file_put(fresh, text, (size_t)(p - text));
	assert_int_equal(__real_rename(fresh, counters), 0);
	folder_is_synced = false;
}

static void do_something(uint64_t *seed)
{
	size_t i = random_next(seed) % NAMED;
	int n[NAMED];

	switch (random_next(seed) % 16) {
	case 0:
		try_set_name(i, (int64_t)(random_next(seed) % 1000));
		break;
	case 1:
	case 2:
	case 3:
		try_drop(i);
		break;
	case 4:
		try_each();
		break;
	case 5:
		try_ping();
		break;
	case 6:
		ARMED(store_tick());
		break;
	case 7:
		slept += 1500000000;
		break;
	default:
		for (size_t k = 0; k < NAMED; k++)
			n[k] = (int)(random_next(seed) % 5) - 1;
		try_turn(n);
	}
}

static void run_random_names(uint64_t seed, unsigned odds)
{
	bool is_open;

	store_begin();
	settings.max_counters = 3 + (int)(seed % 6);
	if (seed & 1)
		prepare_table();
	arm(CALLS, 0, 0);
	fault.seed = seed * 0x9e3779b97f4a7c15u + 1;
	fault.odds = odds;
	is_open = try_open() == 0;
	for (int i = 0; i < 60; i++) {
		uint64_t chance = random_next(&fault.seed) % 32;

		if (chance == 0) {
			ARMED(store_close());
			is_open = try_open() == 0;
		} else if (chance == 1 && (seed & 2)) {
			edit_table(&fault.seed);
		} else {
			do_something(&fault.seed);
		}
	}
	fault.odds = 0;
	fault.spare = false;
	if (!is_open) {
		store_close();
		must_open();
	}
	assert_table_recovered();
	store_close();
	folder_remove();
}

static uint64_t first_seed = 1;

static void test_random_faults(void **state)
{
	const char *text = getenv("UNIT_SEED");
	unsigned hits = 0;
	int runs = 400 / unit_share();

	(void)state;
	if (text) {
		first_seed = strtoull(text, NULL, 10);
		runs = 1;
	}
	for (int i = 0; i < runs; i++) {
		uint64_t seed = first_seed + (uint64_t)i;

		printf("the seed is UNIT_SEED=%llu\n",
		       (unsigned long long)seed);
		fflush(stdout);
		run_random(seed, 3u << seed % 5);
		hits += fault.hits;
		if (!text && i % 3)
			continue;
		run_random_names(seed, 3u << seed % 6);
		hits += fault.hits;
	}
	printf("note: %u faults in %d random runs from seed %llu\n", hits, runs,
	       (unsigned long long)first_seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_each_call_in_turn, say_where),
		cmocka_unit_test(test_half_a_number),
		cmocka_unit_test(test_half_a_line),
		cmocka_unit_test(test_half_a_row),
		cmocka_unit_test_teardown(test_set_once_more, say_where),
		cmocka_unit_test_teardown(test_set_killed, say_where),
		cmocka_unit_test_teardown(test_random_faults, say_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
