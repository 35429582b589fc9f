/*
 * The file store's named counters: the invariants that open store/file/table.h,
 * through the calls of store.h. The clock is the test's own, as in test_file.c;
 * a peer is another process with a store of its own, one call at a time.
 */
#include "store/file/row.h"
#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __real_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
time_t __wrap_time(time_t *t);
ssize_t __real_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old);
int __wrap_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old);
__attribute__((format(printf, 2, 3))) void
__wrap_log_line(enum log_level level, const char *format, ...);

enum {
	NOON = 1795172400, /* 2026-11-20 12:00 in Berlin */
	FILE_MAX = 2 << 20,
};

static time_t now;
static int64_t ahead; /* milliseconds; of the monotonic clock */
static bool is_frozen;
static struct timespec frozen;
static int slept, log_lines;
static char log_last[512];

time_t __wrap_time(time_t *t)
{
	if (t)
		*t = now;
	return now;
}

static int64_t days_ahead; /* of the wall clock: the files have been there */
static int reads;

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	int done = __real_clock_gettime(id, t);

	if (id == CLOCK_REALTIME) {
		t->tv_sec += days_ahead * 86400;
		return done;
	}

	if (is_frozen)
		*t = frozen;
	t->tv_sec += ahead / 1000;
	t->tv_nsec += ahead % 1000 * 1000000;
	t->tv_sec += t->tv_nsec / 1000000000;
	t->tv_nsec %= 1000000000;
	return done;
}

static void (*edit)(void); /* what somebody does after so many sleeps */
static int edit_after;

/* Only sleeping takes time. */
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	slept++;
	if (edit_after > 0 && --edit_after == 0)
		edit();
	if (!is_frozen)
		return __real_nanosleep(t, left);
	ahead += t->tv_nsec / 1000000;
	return 0;
}

static int failing_read; /* that many reads from now; 0: none */

ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t offset)
{
	reads++;
	if (failing_read > 0 && --failing_read == 0) {
		errno = EIO;
		return -1;
	}
	return __real_pread(fd, buf, len, offset);
}

static int64_t waits[16]; /* for locks, in milliseconds */
static int waits_len;

int __wrap_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old)
{
	int64_t wait = (int64_t)value->it_value.tv_sec * 1000 +
		       value->it_value.tv_usec / 1000;

	if (wait > 0)
		waits[waits_len++ % 16] = wait;
	return __real_setitimer(which, value, old);
}

/* Where only sleeping takes time, an alarm tells that its time is over. */
int __wrap_flock(int fd, int operation)
{
	int done = __real_flock(fd, operation);

	if (done < 0 && errno == EINTR && is_frozen)
		ahead += waits[(waits_len - 1) % 16];
	return done;
}

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > LOG_WARN)
		return;
	va_start(args, format);
	vsnprintf(log_last, sizeof(log_last), format, args);
	va_end(args);
	log_lines++;
}

static void freeze(void)
{
	__real_clock_gettime(CLOCK_MONOTONIC, &frozen);
	is_frozen = true;
}

static struct settings settings;
static const char *counters, *visits, *aside;

static int begin(void **state)
{
	static char paths[3][256];

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	now = NOON;
	is_frozen = false;
	ahead += 60000; /* It never goes back. */
	days_ahead = edit_after = slept = log_lines = 0;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 1000,
		.sync = SYNC_ALWAYS,
		.max_counters = 1000,
	};
	snprintf(paths[0], sizeof(*paths), "%s", folder_path("counters"));
	snprintf(paths[1], sizeof(*paths), "%s", folder_path("visits"));
	snprintf(paths[2], sizeof(*paths), "%s", folder_path("aside"));
	counters = paths[0];
	visits = paths[1];
	aside = paths[2];
	return 0;
}

static int end(void **state)
{
	(void)state;
	store_close();
	folder_remove();
	return 0;
}

static void must_open(void)
{
	int code = store_open(&settings);

	if (code)
		print_error("%s\n", store_error());
	assert_int_equal(code, 0);
}

static struct tally add(const char *name, int64_t n)
{
	struct tally t = {.counter = slice_of(name), .n = n, .status = -1};

	store_add(&t, 1);
	if (t.status)
		assert_true(t.error && *t.error);
	return t;
}

#define assert_counted(name, n, total) \
	assert_counted_at(name, n, total, __FILE__, __LINE__)

static void assert_counted_at(const char *name, int64_t n, int64_t total,
			      const char *file, int line)
{
	struct tally t = add(name, n);

	if (t.status)
		print_error("%s: %d %s\n", name, t.status, t.error);
	_assert_int_equal((unsigned long)t.status, 0, file, line);
	_assert_int_equal((unsigned long)t.total, (unsigned long)total, file,
			  line);
}

#define assert_refused(name, n, code, text) \
	assert_refused_at(name, n, code, text, __FILE__, __LINE__)

static void assert_refused_at(const char *name, int64_t n, int code,
			      const char *text, const char *file, int line)
{
	struct tally t = add(name, n);

	_assert_int_equal((unsigned long)t.status, (unsigned long)code, file,
			  line);
	if (!strstr(t.error, text)) {
		print_error("%s: %s\n", name, t.error);
		_fail(file, line);
	}
}

/*
 * The file
 */

static char bytes[FILE_MAX];

static size_t get(void)
{
	long n = file_get(counters, bytes, sizeof(bytes));

	assert_true(n >= 0);
	return (size_t)n;
}

static size_t rows(void)
{
	size_t n = get();

	assert_int_equal(n % ROW_SIZE, 0);
	return n / ROW_SIZE;
}

/* A row as it should be, written by other means than the store's. */
static const char *row(int64_t total, const char *day, const char *name,
		       const char *days)
{
	static char text[8][1024];
	static unsigned at;
	char *out = text[at++ % 8], *p = out;
	int columns = 0;

	p += total < 0 ? sprintf(p, "%20s", "-")
		       : sprintf(p, "%20lld", (long long)total);
	p += sprintf(p, " %s %-100s", day, name);
	for (; *days; columns++) {
		p += sprintf(p, "%12ld", strtol(days, (char **)&days, 10));
		days += strspn(days, " ");
	}
	for (; columns < ROW_DAYS; columns++)
		p += sprintf(p, "%12d", 0);
	sprintf(p, "%*s\n", ROW_SIZE - 1 - (int)(p - out), "");
	assert_int_equal(strlen(out), ROW_SIZE);
	return out;
}

static const char *today_row(int64_t total, const char *name)
{
	return row(total, "2026-11-20", name, "");
}

#define assert_rows(...) \
	assert_rows_at((const char *[]){__VA_ARGS__, NULL}, __FILE__, __LINE__)

static void assert_rows_at(const char **wanted, const char *file, int line)
{
	size_t n = get(), i;

	for (i = 0; wanted[i]; i++) {
		if (n >= (i + 1) * ROW_SIZE &&
		    memcmp(bytes + i * ROW_SIZE, wanted[i], ROW_SIZE) == 0)
			continue;
		print_error("row %zu is \"%.512s\", and not \"%s\"\n", i,
			    bytes + i * ROW_SIZE, wanted[i]);
		_fail(file, line);
	}
	_assert_int_equal(n, i * ROW_SIZE, file, line);
}

/* All rows are whole, and no name is there twice. */
static void assert_table(void)
{
	size_t n = rows();

	for (size_t i = 0; i < n; i++) {
		struct slice name = row_name(bytes + i * ROW_SIZE);

		assert_true(row_is_whole(bytes + i * ROW_SIZE));
		for (size_t k = 0; k < i; k++)
			assert_false(slice_equal(
				name, row_name(bytes + k * ROW_SIZE)));
	}
}

/* Written in place, as an editor or a shell does it. */
static void put_text(const char *text)
{
	file_put_text(counters, text);
}

/* By rename. */
static void replace_by(const char *text)
{
	file_put_text(aside, text);
	assert_int_equal(rename(aside, counters), 0);
}

static void put_bytes(const void *from, size_t n)
{
	file_put(aside, from, n);
	assert_int_equal(rename(aside, counters), 0);
}

static void put_at(off_t at, const char *text, size_t n)
{
	int fd = open(counters, O_WRONLY);

	assert_int_equal(pwrite(fd, text, n, at), n);
	close(fd);
}

/* Several rows as one text. */
#define TEXT(...) join((const char *[]){__VA_ARGS__, NULL})

static const char *join(const char **parts)
{
	static char text[64 * ROW_SIZE];

	*text = '\0';
	for (; *parts; parts++)
		strcat(text, *parts);
	return text;
}

static ino_t inode(void)
{
	struct stat st;

	assert_int_equal(stat(counters, &st), 0);
	return st.st_ino;
}

/*
 * Another process
 */

static struct peer {
	pid_t pid;
	int to, from;
} peer;

struct order {
	char name[128], what;
	int64_t n, ahead;
	time_t now;
};

struct answer {
	int64_t status, total, is_new;
};

static void obey(int from, int to)
{
	struct order order;

	while (read(from, &order, sizeof(order)) == sizeof(order)) {
		struct answer answer = {0, 0, 0};
		struct slice name = slice_of(order.name);

		now = order.now;
		ahead = order.ahead;
		if (order.what == 'd') {
			answer.status = store_drop(name);
		} else if (order.what == 's') {
			answer.status = store_set(name, order.n);
		} else {
			struct tally t = add(order.name, order.n);

			answer = (struct answer){t.status, t.total, t.is_new};
		}
		if (write(to, &answer, sizeof(answer)) != sizeof(answer))
			_exit(1);
	}
	store_close();
	_exit(0);
}

static void peer_start(void)
{
	int to[2], from[2];

	assert_int_equal(pipe(to), 0);
	assert_int_equal(pipe(from), 0);
	peer.pid = fork();
	assert_true(peer.pid >= 0);
	if (peer.pid == 0) {
		close(to[1]);
		close(from[0]);
		if (store_open(&settings) != 0)
			_exit(1);
		obey(to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	peer.to = to[1];
	peer.from = from[0];
}

static struct answer ask(char what, const char *name, int64_t n)
{
	struct order order;
	struct answer answer;

	memset(&order, 0, sizeof(order)); /* its padding is sent, too */
	order.what = what;
	order.n = n;
	order.ahead = ahead;
	order.now = now;
	snprintf(order.name, sizeof(order.name), "%s", name);
	assert_int_equal(write(peer.to, &order, sizeof(order)), sizeof(order));
	assert_int_equal(read(peer.from, &answer, sizeof(answer)),
			 sizeof(answer));
	return answer;
}

#define assert_peer(name, n, wanted)                           \
	do {                                                   \
		struct answer answer_ = ask('a', (name), (n)); \
		assert_int_equal(answer_.status, 0);           \
		assert_int_equal(answer_.total, (wanted));     \
	} while (0)

static void peer_stop(void)
{
	int status;

	close(peer.to);
	close(peer.from);
	assert_int_equal(waitpid(peer.pid, &status, 0), peer.pid);
	assert_int_equal(status, 0);
}

/*
 * The life of a counter
 */

static void test_first_hit(void **state)
{
	struct stat st;
	struct tally t;

	(void)state;
	umask(022);
	must_open();
	assert_refused("a", 0, 404, "no such counter");
	assert_int_equal(access(counters, F_OK), -1);
	t = add("blog/post-1", 1);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, 1);
	assert_int_equal(t.today, 1);
	assert_true(t.is_new);
	assert_rows(row(1, "2026-11-20", "blog/post-1", "1"));
	assert_int_equal(stat(counters, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	t = add("blog/post-1", 41);
	assert_int_equal(t.total, 42);
	assert_int_equal(t.today, 42);
	assert_false(t.is_new);
	assert_counted("b", 2, 2);
	assert_counted("blog/post-1", 0, 42);
	assert_rows(row(42, "2026-11-20", "blog/post-1", "42"),
		    row(2, "2026-11-20", "b", "2"));
	/* The home counter is none of them. */
	assert_int_equal(access(visits, F_OK), -1);
}

static void test_rows_never_move(void **state)
{
	char name[32];

	(void)state;
	must_open();
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_counted(name, i + 1, i + 1);
	}
	ino_t ino = inode();
	for (int i = 19; i >= 0; i -= 3) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_counted(name, 100, i + 101);
		if (i % 2)
			assert_int_equal(store_drop(slice_of(name)), 0);
		else
			assert_int_equal(store_set(slice_of(name), 7), 0);
	}
	assert_int_equal(rows(), 20);
	assert_int_equal(inode(), ino);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_slice(row_name(bytes + i * ROW_SIZE), name);
	}
	assert_table();
}

static void test_drop_and_revival(void **state)
{
	struct tally t;

	(void)state;
	must_open();
	assert_counted("a", 5, 5);
	assert_counted("b", 6, 6);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_rows(row(-1, "2026-11-20", "a", "5"),
		    row(6, "2026-11-20", "b", "6"));
	assert_refused("a", 0, 404, "no such counter");
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_non_null(strstr(store_error(), "\"a\""));
	/* Another process sees it, too. */
	peer_start();
	assert_int_equal(ask('a', "a", 0).status, 404);
	assert_int_equal(ask('d', "a", 0).status, 404);
	now += 86400;
	t = add("a", 2);
	assert_int_equal(t.total, 2);
	assert_int_equal(t.today, 2);
	assert_true(t.is_new);
	assert_rows(row(2, "2026-11-21", "a", "2"),
		    row(6, "2026-11-20", "b", "6"));
	assert_peer("a", 1, 3);
	assert_int_equal(ask('d', "b", 0).status, 0);
	assert_refused("b", 0, 404, "no such counter");
	assert_int_equal(store_set(SLICE("b"), 50), 0);
	assert_peer("b", 1, 51);
	assert_rows(row(3, "2026-11-21", "a", "3"),
		    row(51, "2026-11-21", "b", "1"));
	peer_stop();
}

static void test_drop_of_none(void **state)
{
	(void)state;
	must_open();
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_int_equal(store_drop(SLICE(STORE_HOME)), 404);
	assert_int_equal(access(counters, F_OK), -1);
	assert_counted(STORE_HOME, 3, 3);
	assert_int_equal(store_drop(SLICE(STORE_HOME)), 404);
	assert_counted(STORE_HOME, 0, 3);
}

static void test_days(void **state)
{
	(void)state;
	must_open();
	assert_counted(STORE_HOME, 2, 2);
	assert_counted("a", 3, 3);
	now = NOON + 12 * 3600 - 1;
	assert_counted("a", 1, 4);
	assert_int_equal(add("a", 0).today, 4);
	now++;
	assert_int_equal(add("a", 0).today, 0);
	assert_rows(row(4, "2026-11-20", "a", "4"));
	assert_counted("a", 2, 6);
	assert_int_equal(add("a", 0).today, 2);
	assert_rows(row(6, "2026-11-21", "a", "2 4"));
	/* The clock goes back: to a day that has a column. */
	now = NOON;
	assert_counted("a", 1, 7);
	assert_int_equal(add("a", 0).today, 5);
	assert_rows(row(7, "2026-11-21", "a", "2 5"));
	now += 29 * 86400;
	assert_int_equal(store_set(SLICE("a"), 100), 0);
	assert_rows(row(100, "2026-11-21", "a", "2 5"));
	assert_counted("a", 1, 101);
	assert_counted(STORE_HOME, 1, 3);
	/* The history is the home counter's own. */
	assert_file(folder_path("history"), "2026-11-20 0\n2026-12-19 2\n");
}

/* A clock that is wrong for sure: visits count, and for no day. */
static void test_clock_before_the_build(void **state)
{
	(void)state;
	must_open();
	assert_counted("a", 3, 3);
	now = 1000;
	assert_counted("a", 2, 5);
	assert_int_equal(add("a", 0).today, 0);
	assert_rows(row(5, "2026-11-20", "a", "3"));
	assert_counted("b", 1, 1);
	assert_int_equal(add("b", 0).today, 0);
	now = NOON;
	assert_int_equal(add("a", 0).today, 3);
	assert_counted("b", 1, 2);
	assert_int_equal(add("b", 0).today, 1);
	assert_rows(row(5, "2026-11-20", "a", "3"),
		    row(2, "2026-11-20", "b", "1"));
}

/* A clock that is ahead for a visit: today is not frozen until then. */
static void test_clock_ahead(void **state)
{
	(void)state;
	must_open();
	now = NOON + (time_t)4000 * 86400;
	assert_counted("a", 2, 2);
	now = NOON;
	assert_counted("a", 1, 3);
	assert_int_equal(add("a", 0).today, 3);
	now += 86400;
	assert_int_equal(add("a", 0).today, 0);
	assert_counted("a", 1, 4);
	assert_rows(row(4, "2026-11-21", "a", "1 3"));
}

static void test_set(void **state)
{
	(void)state;
	must_open();
	assert_int_equal(store_set(SLICE("a"), 0), 0);
	assert_rows(today_row(0, "a"));
	assert_counted("a", 0, 0);
	assert_counted("a", 1, 1);
	assert_int_equal(store_set(SLICE("a"), INT64_MAX), 0);
	assert_rows(row(INT64_MAX, "2026-11-20", "a", "1"));
	assert_int_equal(store_set(SLICE("a"), 3), 0);
	assert_counted("a", 2, 5);
	assert_int_equal(add("a", 0).today, 3);
}

/* Of all the counters of a turn only one is full, and one has no room. */
static void test_full(void **state)
{
	struct tally turn[] = {
		{.counter = SLICE_INIT("none"), .n = 0},
		{.counter = SLICE_INIT("full"), .n = 2},
		{.counter = SLICE_INIT("room"), .n = 1},
		{.counter = SLICE_INIT("more"), .n = 1},
		{.counter = SLICE_INIT("full2"), .n = INT64_MAX},
		{.counter = SLICE_INIT("a"), .n = 1},
		{.counter = SLICE_INIT(STORE_HOME), .n = 1},
	};

	(void)state;
	settings.max_counters = 4;
	must_open();
	assert_int_equal(store_set(SLICE("full"), INT64_MAX - 1), 0);
	assert_int_equal(store_set(SLICE("full2"), 1), 0);
	assert_int_equal(store_set(SLICE("a"), 5), 0);
	log_lines = 0;
	store_add(turn, 7);
	assert_int_equal(turn[0].status, 404);
	assert_int_equal(turn[1].status, 503);
	assert_int_equal(turn[2].status, 0);
	assert_int_equal(turn[3].status, 507);
	assert_int_equal(turn[4].status, 503);
	assert_int_equal(turn[5].status, 0);
	assert_int_equal(turn[6].status, 0);
	assert_string_equal(turn[0].error, "no such counter");
	assert_string_equal(turn[1].error, "counter is full");
	assert_string_equal(turn[3].error, "there are MAX_COUNTERS=4 counters");
	assert_string_equal(turn[4].error, "counter is full");
	assert_int_equal(turn[2].total, 1);
	assert_int_equal(turn[5].total, 6);
	/* Nothing is wrong with the store. */
	assert_int_equal(log_lines, 0);
	assert_int_equal(store_ping(), 0);
	assert_counted("full", 1, INT64_MAX);
	assert_refused("full", 1, 503, "counter is full");
	assert_counted("full", 0, INT64_MAX);
	assert_rows(row(INT64_MAX, "2026-11-20", "full", "1"),
		    today_row(1, "full2"), row(6, "2026-11-20", "a", "1"),
		    row(1, "2026-11-20", "room", "1"));
}

/*
 * MAX_COUNTERS
 */

static void test_max_counters(void **state)
{
	(void)state;
	settings.max_counters = 3;
	must_open();
	assert_counted("a", 1, 1);
	assert_counted("b", 1, 1);
	assert_counted("c", 1, 1);
	assert_refused("d", 1, 507, "MAX_COUNTERS=3");
	assert_refused("d", 0, 404, "no such counter");
	assert_int_equal(store_set(SLICE("d"), 5), 507);
	assert_non_null(strstr(store_error(), "MAX_COUNTERS=3"));
	assert_int_equal(rows(), 3);
	assert_counted("c", 1, 2);
	assert_int_equal(store_set(SLICE("a"), 5), 0);
	/* A dropped one gives its room to another name. */
	ino_t ino = inode();
	assert_int_equal(store_drop(SLICE("b")), 0);
	assert_int_equal(inode(), ino);
	assert_counted("d", 1, 1);
	assert_int_not_equal(inode(), ino);
	assert_rows(row(5, "2026-11-20", "a", "1"),
		    row(2, "2026-11-20", "c", "2"),
		    row(1, "2026-11-20", "d", "1"));
	assert_refused("b", 1, 507, "MAX_COUNTERS=3");
	assert_int_equal(access(folder_path("counters.new"), F_OK), -1);
	store_close();
	settings.max_counters = 0;
	must_open();
	assert_counted("a", 1, 6);
	assert_refused("e", 1, 507, "MAX_COUNTERS=0");
}

/* What another process has dropped is room. */
static void test_max_counters_of_others(void **state)
{
	(void)state;
	freeze();
	settings.max_counters = 3;
	must_open();
	peer_start();
	assert_counted("a", 1, 1);
	assert_peer("b", 1, 1);
	assert_counted("c", 1, 1);
	assert_int_equal(ask('a', "d", 1).status, 507);
	assert_int_equal(ask('d', "a", 0).status, 0);
	assert_counted("d", 1, 1);
	assert_refused("e", 1, 507, "MAX_COUNTERS=3");
	assert_int_equal(ask('a', "e", 1).status, 507);
	assert_peer("d", 1, 2);
	assert_peer("b", 1, 2);
	assert_int_equal(ask('a', "a", 0).status, 404);
	assert_table();
	peer_stop();
}

/* A table that is mostly dropped rows is compacted. */
static void test_compaction(void **state)
{
	char name[32];

	(void)state;
	settings.max_counters = 100000;
	settings.sync = SYNC_NO;
	must_open();
	peer_start();
	for (int i = 0; i < 1100; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_counted(name, i + 1, i + 1);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(store_drop(slice_of(name)), 0);
	}
	assert_peer("n1050", 1, 1052);
	assert_int_equal(rows(), 1100);
	assert_counted("more", 1, 1);
	assert_int_equal(rows(), 101);
	assert_table();
	assert_peer("n1050", 1, 1053);
	assert_counted("n1050", 1, 1054);
	assert_int_equal(ask('a', "n3", 0).status, 404);
	assert_peer("n3", 1, 1);
	assert_counted("n3", 1, 2);
	peer_stop();
}

/* Many processes make new counters at once, and no more than there may be. */
static void test_max_counters_is_exact(void **state)
{
	enum { PROCESSES = 6, EACH = 40, MAX = 100 };
	pid_t pids[PROCESSES];
	int made = 0;

	(void)state;
	settings.max_counters = MAX;
	settings.sync = SYNC_NO;
	settings.store_timeout = 60000; /* of a lock that all of them want */
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] > 0)
			continue;
		must_open();
		for (int k = 0; k < EACH; k++) {
			char name[32];

			snprintf(name, sizeof(name), "n%d", i * 20 + k);
			struct tally t = add(name, 1);
			if (t.status != 0 && t.status != 507)
				_exit(255);
			made += t.status == 0 && t.is_new;
		}
		_exit(made);
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 255);
		made += WEXITSTATUS(status);
	}
	assert_int_equal(made, MAX);
	assert_int_equal(rows(), MAX);
	assert_table();
}

/*
 * Others
 */

static void test_rows_of_others(void **state)
{
	(void)state;
	must_open();
	peer_start();
	for (int i = 0; i < 50; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%d", i);
		assert_counted(name, 1, 1);
		assert_peer(name, 1, 2);
		assert_counted(name, 1, 3);
		snprintf(name, sizeof(name), "m%d", i);
		assert_peer(name, 1, 1);
		assert_counted(name, 1, 2);
	}
	assert_int_equal(rows(), 100);
	assert_table();
	peer_stop();
}

static void test_replaced(void **state)
{
	(void)state;
	must_open();
	for (int i = 0; i < 20; i++) {
		assert_counted("a", 1, i ? 103 : 1);
		replace_by(TEXT(today_row(7, "b"), today_row(100, "a")));
		assert_counted("a", 1, 101);
		assert_counted("b", 1, 8);
		assert_counted("a", 1, 102);
		replace_by(today_row(102, "a"));
		assert_refused("b", 0, 404, "no such counter");
	}
	assert_int_equal(slept, 0);
}

/* The number of a file that is gone is given to the next one. */
static void test_same_inode(void **state)
{
	(void)state;
	must_open();
	assert_counted("a", 5, 5);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(unlink(counters), 0);
		put_text(TEXT(today_row(1, "b"), today_row(10 * i, "a")));
		assert_counted("a", 1, 10 * i + 1);
		assert_counted("b", 1, 2);
	}
}

static void test_removed(void **state)
{
	(void)state;
	freeze();
	must_open();
	assert_counted("a", 5, 5);
	assert_int_equal(unlink(counters), 0);
	assert_refused("a", 0, 404, "no such counter");
	assert_in_range(slept, 90, 120);
	assert_int_equal(access(counters, F_OK), -1);
	assert_counted("a", 1, 1);
	/* It was waited for once. */
	assert_in_range(slept, 90, 120);
	assert_int_equal(unlink(counters), 0);
	struct tally t = add("a", 1);
	assert_int_equal(t.total, 1);
	assert_true(t.is_new);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(unlink(counters), 0);
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_int_equal(store_set(SLICE("a"), 9), 0);
	assert_rows(today_row(9, "a"));
}

static void write_500(void)
{
	put_text("500 a\n");
}

static void write_row_500(void)
{
	put_text(today_row(500, "a"));
}

/* An editor has emptied or removed the file and not written it yet. */
static void test_edit_half_done(void **state)
{
	(void)state;
	freeze();
	must_open();
	for (int i = 0; i < 16; i++) {
		int counts = i & 1;

		replace_by(today_row(41, "a"));
		assert_counted("a", 1, 42);
		if (i & 2)
			assert_int_equal(unlink(counters), 0);
		else
			assert_int_equal(truncate(counters, 0), 0);
		edit = i & 8 ? write_500 : write_row_500;
		edit_after = i & 4 ? 90 : 1;
		assert_counted("a", counts, 500 + counts);
		assert_int_equal(edit_after, 0);
		assert_counted("a", 1, 501 + counts);
		assert_int_equal(rows(), 1);
	}
}

/* The process is kept from the CPU for longer than an edit may take, and then
 * another one is half done. */
static void stall(void)
{
	put_text(today_row(41, "a"));
	file_empty_later(counters);
	ahead += 1000;
	edit = write_500;
	edit_after = 1;
}

static void test_edit_after_a_stall(void **state)
{
	(void)state;
	freeze();
	settings.store_timeout = 5000;
	must_open();
	replace_by(today_row(41, "a"));
	assert_counted("a", 1, 42);
	assert_int_equal(truncate(counters, 0), 0);
	edit = stall;
	edit_after = 1;
	assert_counted("a", 1, 501);
	assert_int_equal(edit_after, 0);
}

/* A table that grows line by line for longer than a call may take. */
static void grow(void)
{
	FILE *file = fopen(counters, "a");

	fputs("1 x\n", file);
	fclose(file);
	edit_after = 30;
}

static void test_edit_without_end(void **state)
{
	(void)state;
	freeze();
	settings.store_timeout = 300;
	put_text("5 a\n");
	must_open();
	assert_counted("a", 1, 6);
	put_text("50 a\n");
	edit = grow;
	edit_after = 30;
	assert_refused("a", 1, 503, "being edited all the time");
	edit_after = 0;
	assert_counted("a", 1, 51);
	assert_counted("x", 0, 1);
}

/* With less time a call than an edit is given, it is over all the same. */
static void test_edit_and_short_timeout(void **state)
{
	int calls = 1;

	(void)state;
	freeze();
	settings.store_timeout = 10;
	must_open();
	assert_counted("a", 1, 1);
	put_text("50 a\n");
	while (add("a", 0).status && calls < 100)
		calls++;
	assert_in_range(calls, 5, 15);
	assert_counted("a", 0, 50);
}

/*
 * Editors
 */

static void test_lines(void **state)
{
	static const struct {
		const char *text;
		int64_t a, b; /* totals; -1: none */
	} texts[] = {
		{"5 a\n6 b\n", 5, 6},
		{"5 a\n6 b", 5, 6},
		{"5 a", 5, -1},
		{"\n\n5 a\n\n \n\t\n6 b\n\n", 5, 6},
		{"5 2026-11-20 a\n", 5, -1},
		{"5 2026-11-20 a 1 2 3\n6 b", 5, 6},
		{"   5\ta\n\t6\tb\t\n", 5, 6},
		{"- a\n6 b\n", -1, 6},
		{"- a\n", -1, -1},
		{"\n", -1, -1},
		{"5 a\n6 a\n4 a\n7 b\n", 6, 7},
		{"- a\n6 a\n7 b\n", 6, 7},
		{"6 a\n- a\n7 b\n", 6, 7},
		{"0 a\n", 0, -1},
		{"9223372036854775806 a\n", INT64_MAX - 1, -1},
	};
	static const char *const names[] = {"a", "b"};

	(void)state;
	freeze();
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int64_t totals[] = {texts[i].a, texts[i].b};

		/* Whether it is known already or not. */
		for (int known = 0; known < 2; known++) {
			unlink(counters);
			if (known) {
				must_open();
				assert_counted("a", 1, 1);
				assert_counted("b", 1, 1);
				put_text(texts[i].text);
			} else {
				put_text(texts[i].text);
				must_open();
			}
			for (int k = 0; k < 2; k++)
				if (totals[k] < 0)
					assert_refused(names[k], 0, 404, "no");
				else
					assert_counted(names[k], 0, totals[k]);
			for (int k = 0; k < 2; k++)
				assert_counted(names[k], 1,
					       totals[k] < 0 ? 1
							     : totals[k] + 1);
			assert_int_equal(rows(), 2);
			assert_table();
			store_close();
		}
	}
}

/* A line of any width, as far as one can be understood. */
static void test_wide_lines(void **state)
{
	static char text[10000];

	(void)state;
	freeze();
	for (int width = 3; width < 4090; width += width < 600 ? 1 : 97) {
		snprintf(text, sizeof(text), "5%*s\n7 b\n", width - 1, "a");
		replace_by(text);
		must_open();
		assert_counted("a", 1, 6);
		assert_counted("b", 1, 8);
		assert_int_equal(rows(), 2);
		store_close();
	}
	snprintf(text, sizeof(text), "7 b\n5%*s\n", 5000, "a");
	replace_by(text);
	assert_int_equal(store_open(&settings), EXIT_DATA);
	assert_non_null(strstr(store_error(), "line 2 of"));
	assert_non_null(strstr(store_error(), "too long"));
	assert_file(counters, text);
}

/* Rows whose ends an editor has cut: of spaces, of the last newline. */
static void test_trimmed_rows(void **state)
{
	char text[2 * ROW_SIZE + 1], wanted[2 * ROW_SIZE + 1];

	(void)state;
	freeze();
	snprintf(wanted, sizeof(wanted), "%s%s",
		 row(42, "2026-11-20", "a", "5 6"),
		 row(43, "2026-11-20", "b", "7 8"));
	for (size_t cut = 1; cut <= 20; cut++) {
		/* The end of the last one, */
		snprintf(text, sizeof(text), "%.*s", (int)(2 * ROW_SIZE - cut),
			 wanted);
		replace_by(text);
		must_open();
		assert_counted("b", 0, 43);
		assert_file(counters, wanted);
		store_close();
		/* and with NULs in its place; */
		memset(text + 2 * ROW_SIZE - cut, 0, cut);
		put_bytes(text, 2 * ROW_SIZE);
		must_open();
		assert_counted("b", 0, 43);
		assert_file(counters, wanted);
		/* while it is known, too, */
		put_text(text);
		assert_counted("b", 0, 43);
		assert_file(counters, wanted);
		store_close();
		/* and of both. */
		snprintf(text, sizeof(text), "%.*s\n%.*s\n",
			 (int)(ROW_SIZE - cut), wanted, (int)(ROW_SIZE - cut),
			 wanted + ROW_SIZE);
		replace_by(text);
		must_open();
		assert_counted("b", 0, 43);
		assert_file(counters, wanted);
		store_close();
	}
}

static void test_crlf(void **state)
{
	(void)state;
	freeze();
	must_open();
	assert_counted("a", 1, 1);
	put_text("5 a\r\n6 b\r\n");
	assert_refused("a", 1, 503, "line 1 of");
	assert_non_null(strstr(store_error(), "a name has only"));
	assert_file(counters, "5 a\r\n6 b\r\n");
	put_text("5 a\n6 b\n");
	assert_counted("a", 1, 6);
}

/* In place, with the same length: sort -o. */
static void test_sorted(void **state)
{
	const char *one = TEXT(today_row(1, "a"), today_row(2, "b"),
			       today_row(3, "c"), today_row(4, "d"));
	char sorted[4 * ROW_SIZE + 1] = "";

	(void)state;
	freeze();
	for (int i = 3; i >= 0; i--)
		memcpy(sorted + (3 - i) * ROW_SIZE, one + i * ROW_SIZE,
		       ROW_SIZE);
	for (int by_peer = 0; by_peer < 2; by_peer++) {
		replace_by(TEXT(today_row(1, "a"), today_row(2, "b"),
				today_row(3, "c"), today_row(4, "d")));
		must_open();
		assert_counted("a", 1, 2);
		assert_int_equal(store_set(SLICE("a"), 1), 0);
		/* With flock. */
		int fd = open(counters, O_RDWR);
		assert_int_equal(flock(fd, LOCK_EX), 0);
		put_text(sorted);
		close(fd);
		if (by_peer) {
			peer_start();
			assert_peer("a", 1, 2);
			assert_peer("d", 1, 5);
			peer_stop();
			assert_counted("a", 1, 3);
			assert_counted("d", 1, 6);
		} else {
			assert_counted("a", 1, 2);
			assert_counted("d", 1, 5);
			assert_counted("b", 1, 3);
		}
		assert_counted("c", 1, 4);
		assert_int_equal(rows(), 4);
		assert_table();
		store_close();
	}
}

/* The real one, without a lock, while it counts: no visit is forgotten but
 * those that came while it was sorting, and no name is there twice. */
static void test_real_sort(void **state)
{
	char command[1024];

	(void)state;
	settings.store_timeout = 5000;
	must_open();
	for (int i = 0; i < 50; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n%d", i * 7 % 50);
		assert_counted(name, i + 1, i + 1);
	}
	snprintf(command, sizeof(command), "sort -rn -o %s %s", counters,
		 counters);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (pid == 0) {
			execl("/bin/sh", "sh", "-c", command, (char *)NULL);
			_exit(127);
		}
		do {
			for (int k = 0; k < 50; k++) {
				char name[32];

				snprintf(name, sizeof(name), "n%d", k);
				assert_int_equal(add(name, 1).status, 0);
			}
		} while (waitpid(pid, &status, WNOHANG) == 0);
		assert_int_equal(status, 0);
		for (int k = 0; k < 50; k++) {
			char name[32];

			snprintf(name, sizeof(name), "n%d", k);
			assert_int_equal(add(name, 1).status, 0);
		}
		assert_table();
		assert_int_equal(rows(), 50);
	}
}

/* A name in the place of another of the same length is found at once, by who
 * looks for the old name and by who looks for the new one. */
static void test_renamed_in_place(void **state)
{
	(void)state;
	freeze();
	must_open();
	peer_start();
	assert_counted("old", 5, 5);
	assert_counted("z", 1, 1);
	assert_peer("old", 1, 6);
	put_at(32, "new", 3);
	assert_refused("old", 0, 404, "no such counter");
	assert_counted("new", 1, 7);
	assert_peer("new", 1, 8);
	assert_int_equal(rows(), 2);
	/* The old name is then a new counter, once. */
	assert_peer("old", 1, 1);
	assert_counted("old", 1, 2);
	assert_int_equal(rows(), 3);
	assert_table();
	peer_stop();
}

/* In a large table it may be missed: the second row of the name does not stay.
 */
static void test_renamed_in_place_and_missed(void **state)
{
	enum { MANY = 1000, CHUNK = 128, LOOKS = MANY / CHUNK + 2 };
	size_t at = 0; /* where the next comparison begins */
	char name[16];

	(void)state;
	freeze();
	settings.max_counters = 2 * MANY;
	must_open();
	peer_start();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "n%03d", i);
		assert_int_equal(add(name, 1).status, 0);
		at = i > CHUNK && at < (size_t)i ? at : 0;
		at = at + CHUNK < (size_t)i ? at + CHUNK : (size_t)i;
	}
	at = (at + MANY / 2) % MANY;
	snprintf(name, sizeof(name), "n%03zu", at);
	assert_peer(name, 1, 2);
	put_at((long)at * 512 + 32, "new1", 4);
	assert_counted("new1", 1, 1);
	assert_int_equal(rows(), MANY + 1);
	/* Rows are compared in turns, and the two become one, with the higher
	 * total. */
	for (int i = 0; i < LOOKS && rows() > MANY; i++)
		assert_refused("any", 0, 404, "no such counter");
	assert_int_equal(rows(), MANY);
	assert_counted("new1", 1, 3);
	assert_peer("new1", 1, 4);
	assert_table();
	peer_stop();
}

/* A table that could not be read anew takes no rows of other names of the turn:
 * they would be written over those that are not known. */
static void test_half_known(void **state)
{
	struct tally t[] = {{.counter = SLICE("new"), .n = 1},
			    {.counter = SLICE("other"), .n = 1}};

	(void)state;
	freeze();
	must_open();
	assert_counted("old", 5, 5);
	assert_counted("z", 1, 1);
	put_at(32, "new", 3);
	failing_read = 2; /* after the comparison */
	store_add(t, 2);
	assert_int_equal(failing_read, 0);
	assert_int_equal(t[0].status, 503);
	assert_int_equal(t[1].status, 503);
	assert_int_equal(rows(), 2);
	assert_counted("new", 1, 6);
	assert_counted("other", 1, 1);
	assert_counted("z", 1, 2);
	assert_table();
}

/* So does an export: every name is told once. */
static int told;

static void tell(struct slice counter, int64_t total, void *context)
{
	(void)counter;
	told++;
	*(uint64_t *)context += (uint64_t)total;
}

static void test_each_reads_anew(void **state)
{
	uint64_t sum = 0;

	(void)state;
	freeze();
	must_open();
	told = 0;
	assert_int_equal(store_each(tell, &sum), 0);
	assert_int_equal(told, 0);
	assert_counted("old", 5, 5);
	assert_counted("z", 2, 2);
	put_at(32, "new", 3);
	assert_int_equal(store_each(tell, &sum), 0);
	assert_int_equal(told, 2);
	assert_int_equal(sum, 7);
	assert_counted("new", 1, 6);
	/* A counter that is not understood is not left out in silence. */
	put_at(512 + 5, "x", 1);
	assert_int_equal(store_each(tell, &sum), 503);
	assert_non_null(strstr(store_error(), "line 2 of"));
}

static void test_duplicates(void **state)
{
	(void)state;
	freeze();
	replace_by(TEXT(row(5, "2026-11-18", "a", "1 2"), today_row(1, "b"),
			row(7, "2026-11-17", "a", "3 4"),
			row(6, "2026-11-16", "a", "5 6")));
	must_open();
	assert_rows(row(7, "2026-11-18", "a", "1 2"), today_row(1, "b"));
	assert_counted("a", 1, 8);
	/* And when they come while it counts. */
	int fd = open(counters, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, today_row(50, "b"), ROW_SIZE), ROW_SIZE);
	close(fd);
	assert_counted("a", 1, 9);
	assert_counted("b", 1, 51);
	assert_int_equal(rows(), 2);
	assert_int_equal(slept, 0);
}

/*
 * Tails
 */

static void test_nul_tails(void **state)
{
	static const size_t tails[] = {1, 511, 512, 513, 4096, 5000, 10000};
	static char text[16384];

	(void)state;
	freeze();
	for (int whole = 0; whole < 3; whole++)
		for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++) {
			memset(text, 0, sizeof(text));
			strcpy(text, whole > 0 ? today_row(5, "a") : "");
			strcat(text, whole > 1 ? today_row(6, "b") : "");
			size_t n = strlen(text);

			text[n] = '\0';
			put_bytes(text, n + tails[i]);
			must_open();
			assert_counted("b", 1, whole > 1 ? 7 : 1);
			assert_counted("a", 1, whole > 0 ? 6 : 1);
			assert_int_equal(rows(), 2);
			assert_table();
			store_close();
		}
}

/* While it is known: another process was killed while it appended. */
static void test_nul_tail_while_known(void **state)
{
	static const char nuls[4096];

	(void)state;
	freeze();
	must_open();
	assert_counted("a", 1, 1);
	int fd = open(counters, O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, nuls, 4096), 4096);
	assert_counted("a", 1, 2);
	assert_int_equal(rows(), 1);
	assert_int_equal(write(fd, nuls, 100), 100);
	assert_counted("a", 1, 3);
	assert_int_equal(rows(), 1);
	assert_int_equal(write(fd, today_row(7, "b"), 300), 300);
	assert_counted("b", 1, 1);
	assert_int_equal(rows(), 2);
	close(fd);
}

static void test_cut_tails(void **state)
{
	char text[2 * ROW_SIZE + 1];

	(void)state;
	freeze();
	strcpy(text, today_row(5, "a"));
	strcat(text, row(7, "2026-11-20", "blog/post-1", "3 4"));
	for (size_t n = 1; n < ROW_SIZE; n++) {
		/* Who has all of its columns has lost its end alone. */
		bool lost = n < ROW_SIZE - 20;

		put_bytes(text, ROW_SIZE + n);
		must_open();
		assert_counted("a", 1, 6);
		assert_int_equal(rows(), lost ? 1 : 2);
		assert_counted("blog/post-1", 1, lost ? 1 : 8);
		assert_int_equal(rows(), 2);
		assert_table();
		store_close();
	}
}

/* What somebody has written without a newline is no tail to be cut. */
static void test_tails_by_hand(void **state)
{
	static const char *const good[] = {"7 b", "7 b\n", " 7 b", "\n7 b"};
	static const char *const bad[] = {
		"x", "hello", "   hello", "7 b\r", "7",
		"b", "7,b",   "7 b c",	  "<b>",   "7 homepage"};
	char text[ROW_SIZE + 64];

	(void)state;
	freeze();
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		snprintf(text, sizeof(text), "%s%s", today_row(5, "a"),
			 good[i]);
		put_text(text);
		must_open();
		assert_counted("b", 1, 8);
		assert_counted("a", 0, 5);
		store_close();
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		for (int alone = 0; alone < 2; alone++) {
			snprintf(text, sizeof(text), "%s%s",
				 alone ? "" : today_row(5, "a"), bad[i]);
			put_text(text);
			assert_int_equal(store_open(&settings), EXIT_DATA);
			assert_refused("a", 1, 503, "is not understood");
			assert_file(counters, text);
			store_close();
		}
}

/* Other lines in the place of the rows that were known: what is behind them
 * looks like the beginning of a row, and is none. */
static void test_tail_of_other_lines(void **state)
{
	char text[ROW_SIZE + 32];

	(void)state;
	freeze();
	for (int garbled = 0; garbled < 2; garbled++) {
		replace_by(today_row(5, "a"));
		must_open();
		assert_counted("a", 1, 6);
		snprintf(text, sizeof(text), "%s b%*s 8",
			 garbled ? "7," : "7 2026-11-20", ROW_SIZE - 10, "");
		text[ROW_SIZE] = ' ';
		text[ROW_SIZE + 1] = '8';
		text[ROW_SIZE + 2] = '\0';
		put_text(text);
		if (garbled)
			assert_refused("b", 0, 503, "is not understood");
		else
			assert_int_equal(add("b", 0).today, 8);
		if (garbled)
			assert_file(counters, text);
		store_close();
	}
}

/* A hole that a crash has left where rows had been written behind it. */
static void test_nuls_in_the_middle(void **state)
{
	static char text[64 * ROW_SIZE];

	(void)state;
	freeze();
	for (size_t hole = 1; hole < 20; hole++)
		for (size_t before = 0; before < 2; before++) {
			memset(text, 0, sizeof(text));
			size_t n = before * ROW_SIZE;

			memcpy(text, today_row(5, "a"), n);
			n += hole * ROW_SIZE;
			memcpy(text + n, today_row(6, "b"), ROW_SIZE);
			put_bytes(text, n + ROW_SIZE);
			must_open();
			assert_counted("b", 1, 7);
			assert_counted("a", 1, before ? 6 : 1);
			assert_int_equal(rows(), 2);
			assert_table();
			store_close();
		}
}

/*
 * What is not understood
 */

static size_t garbage_len;
static char garbage[8 * ROW_SIZE];

static void assert_garbage_is_kept(void)
{
	assert_int_equal(get(), garbage_len);
	assert_memory_equal(bytes, garbage, garbage_len);
}

static void check_garbage(bool known)
{
	int64_t home = 0;
	uint64_t sum = 0;

	if (known) {
		put_text(today_row(5, "a"));
		must_open();
		assert_counted("a", 0, 5);
		put_bytes(garbage, garbage_len);
	} else {
		put_bytes(garbage, garbage_len);
		assert_int_equal(store_open(&settings), EXIT_DATA);
		assert_non_null(strstr(store_error(), counters));
		home = add(STORE_HOME, 0).total;
	}
	home = add(STORE_HOME, 0).total;
	for (int64_t n = 0; n < 2; n++) {
		struct tally turn[] = {
			{.counter = SLICE_INIT("a"), .n = n},
			{.counter = SLICE_INIT(STORE_HOME), .n = 1},
			{.counter = SLICE_INIT("b"), .n = n},
		};

		store_add(turn, 3);
		assert_int_equal(turn[0].status, 503);
		assert_int_equal(turn[2].status, 503);
		assert_non_null(strstr(turn[0].error, "is not understood"));
		assert_non_null(strstr(turn[2].error, counters));
		assert_int_equal(turn[1].status, 0);
		assert_int_equal(turn[1].total, home + n + 1);
	}
	assert_int_equal(store_ping(), 503);
	assert_non_null(strstr(store_error(), counters));
	assert_int_equal(store_set(SLICE("a"), 5), 503);
	assert_int_equal(store_drop(SLICE("a")), 503);
	assert_int_equal(store_each(tell, &sum), 503);
	store_tick();
	assert_garbage_is_kept();
	assert_int_equal(access(folder_path("counters.new"), F_OK), -1);
	/* Mended by hand, it counts at once. */
	replace_by("7 a\n");
	assert_counted("a", 1, 8);
	assert_int_equal(store_ping(), 0);
	store_close();
}

static void test_garbage(void **state)
{
	static const char bom[] = "\xef\xbb\xbf"
				  "5 a\n";
	static const char *const texts[] = {
		"x",
		"\n\nx\n",
		"5 a\nx\n6 b\n",
		"{\"a\": 5}\n",
		"a 5\n",
		"5,a\n",
		"5\n",
		"-5 a\n",
		"5 homepage\n",
		"5 a b c\n",
		"5 2026-02-30 a\n",
		"5 a/\n",
		"9223372036854775808 a\n",
		bom,
		"\x1f\x8b\x08",
	};

	(void)state;
	freeze();
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		for (int known = 0; known < 2; known++) {
			garbage_len = strlen(texts[i]);
			memcpy(garbage, texts[i], garbage_len);
			check_garbage(known);
		}
}

/* In rows, the file being of whole ones. */
static void test_garbage_rows(void **state)
{
	static const struct {
		size_t at;
		const char *bytes;
	} faults[] = {
		{0, "x"},    {19, "x"},	 {21, "2026-13"}, {32, "homepage "},
		{32, "/"},   {200, "x"}, {491, "-"},	  {500, "x"},
		{100, "\0"}, {510, "x"},
	};

	(void)state;
	freeze();
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		for (size_t k = 0; k < 3; k++) {
			size_t n = strlen(faults[i].bytes);

			garbage_len = 3 * ROW_SIZE;
			strcpy(garbage, TEXT(today_row(1, "aaaaaaaaa"),
					     today_row(2, "bbbbbbbbb"),
					     today_row(3, "ccccccccc")));
			memcpy(garbage + k * ROW_SIZE + faults[i].at,
			       faults[i].bytes, n ? n : 1);
			check_garbage(k & 1);
		}
	/* Rows without newlines, and a file of another kind. */
	garbage_len = 3 * ROW_SIZE;
	memset(garbage, '7', sizeof(garbage));
	check_garbage(false);
	for (size_t i = 0; i < garbage_len; i++)
		garbage[i] = (char)(i * 31);
	check_garbage(true);
}

/* In the place of a row that is known: found when it is used. */
static void test_garbage_in_place(void **state)
{
	(void)state;
	freeze();
	must_open();
	assert_counted("a", 5, 5);
	assert_counted("b", 6, 6);
	put_at(ROW_SIZE + 3, "x", 1);
	assert_counted("a", 1, 6);
	assert_refused("b", 1, 503, "line 2 of");
	assert_refused("a", 1, 503, "line 2 of");
	assert_int_equal(store_ping(), 503);
	put_at(ROW_SIZE + 3, " ", 1);
	assert_counted("b", 1, 7);
	assert_counted("a", 1, 7);
	assert_int_equal(store_ping(), 0);
}

/* What is odd for good is waited for once, and told once. */
static void test_garbage_costs_no_time(void **state)
{
	(void)state;
	freeze();
	must_open();
	assert_counted("a", 1, 1);
	put_text("hello\n");
	assert_refused("a", 1, 503, "is not understood");
	assert_in_range(slept, 90, 120);
	int lines = log_lines;
	for (int i = 0; i < 100; i++)
		assert_refused("a", 1, 503, "is not understood");
	assert_in_range(slept, 90, 120);
	assert_int_equal(log_lines, lines);
	put_text("5 a\n");
	assert_counted("a", 1, 6);
}

/* Nor is it read again and again while it stays as it is. */
static void test_garbage_is_read_once(void **state)
{
	(void)state;
	freeze();
	must_open();
	put_text(TEXT(today_row(1, "a"), today_row(2, "b"), "x\n"));
	/* What has just changed may change once more within a tick. */
	assert_refused("a", 1, 503, "line 3 of");
	reads = 0;
	assert_refused("a", 1, 503, "line 3 of");
	assert_true(reads > 0);
	days_ahead = 1;
	assert_refused("a", 1, 503, "line 3 of");
	reads = 0;
	for (int i = 0; i < 10; i++)
		assert_refused("a", i % 2, 503, "line 3 of");
	assert_int_equal(reads, 0);
	assert_int_equal(store_ping(), 503);
	assert_non_null(strstr(store_error(), "line 3 of"));
	ahead += 10000;
	assert_refused("a", 1, 503, "line 3 of");
	assert_true(reads > 0);
	/* Mended by hand, it counts at once: in place, */
	struct stat st;
	assert_int_equal(stat(counters, &st), 0);
	struct timespec before = st.st_ctim;
	do { /* a tick of the kernel's clock, on the day before */
		put_at(2 * ROW_SIZE, "\n", 1);
		assert_int_equal(stat(counters, &st), 0);
	} while (memcmp(&before, &st.st_ctim, sizeof(before)) == 0);
	assert_counted("a", 1, 2);
	assert_int_equal(rows(), 2);
	/* and by rename. */
	put_text("x\n");
	assert_refused("a", 1, 503, "line 1 of");
	replace_by("5 a\n");
	assert_counted("a", 1, 6);
}

/*
 * The lock, the folder and the disk
 */

static void test_locked(void **state)
{
	(void)state;
	freeze();
	settings.store_timeout = 100;
	must_open();
	assert_counted("a", 1, 1);
	int fd = open(counters, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	waits_len = 0;
	assert_refused("a", 1, 503, "locked by another process");
	assert_refused("a", 0, 503, "locked by another process");
	assert_int_equal(store_set(SLICE("a"), 7), 503);
	assert_int_equal(store_drop(SLICE("a")), 503);
	assert_int_equal(store_ping(), 503);
	/* The first waits its time, the others do not do so again. */
	assert_int_equal(waits_len, 5);
	assert_int_equal(waits[0], 100);
	for (int i = 1; i < waits_len; i++)
		assert_int_equal(waits[i], 20);
	/* The home counter has its own lock. */
	assert_counted(STORE_HOME, 1, 1);
	store_close();
	/* A lock held by somebody else is no reason not to start. */
	must_open();
	assert_refused("a", 1, 503, "locked by another process");
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_counted("a", 1, 2);
	close(fd);
}

static void test_lock_is_given_back(void **state)
{
	static const char *const texts[] = {"5 a\n", "x\n", "", "5 a",
					    "9223372036854775807 a\n"};
	uint64_t sum = 0;

	(void)state;
	freeze();
	must_open();
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		for (int call = 0; call < 6; call++) {
			replace_by(texts[i]);
			call == 0   ? (void)add("a", 0)
			: call == 1 ? (void)add("a", 1)
			: call == 2 ? (void)store_ping()
			: call == 3 ? (void)store_set(SLICE("a"), 3)
			: call == 4 ? (void)store_drop(SLICE("a"))
				    : (void)store_each(tell, &sum);
			int fd = open(counters, O_RDWR);
			assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
			close(fd);
		}
}

static void test_no_regular_file(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			assert_int_equal(mkdir(counters, 0755), 0);
		else
			assert_int_equal(mkfifo(counters, 0644), 0);
		assert_int_equal(store_open(&settings), EXIT_SYSTEM);
		assert_non_null(strstr(store_error(), counters));
		assert_refused("a", 1, 503, counters);
		assert_refused("a", 0, 503, counters);
		assert_int_equal(store_set(SLICE("a"), 1), 503);
		assert_int_equal(store_drop(SLICE("a")), 503);
		assert_int_equal(store_ping(), 503);
		assert_counted(STORE_HOME, 1, i + 1);
		assert_int_equal(i ? unlink(counters) : rmdir(counters), 0);
		assert_counted("a", 1, 1);
		assert_int_equal(unlink(counters), 0);
		store_close();
	}
}

/* As a user who may not write there. */
static int read_only(void)
{
	if (geteuid() == 0 && setuid(65534) < 0)
		return 1;
	if (store_open(&settings) != EXIT_SYSTEM ||
	    !strstr(store_error(), "Permission denied"))
		return 2;
	struct tally read = add("a", 0), hit = add("a", 1);
	if (read.status != 503 || hit.status != 503 ||
	    !strstr(hit.error, counters))
		return 3;
	return store_ping() == 503 ? 0 : 4;
}

static void test_read_only(void **state)
{
	int status;

	(void)state;
	put_text(today_row(5, "a"));
	assert_int_equal(chmod(counters, 0444), 0);
	file_put_text(visits, "5\n");
	assert_int_equal(chmod(visits, 0666), 0);
	assert_int_equal(chmod(settings.data_dir, 0555), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(read_only());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(chmod(settings.data_dir, 0755), 0);
	assert_int_equal(status, 0);
	assert_rows(today_row(5, "a"));
}

/* A fresh table keeps who may read it. */
static void test_mode_is_kept(void **state)
{
	struct stat st;

	(void)state;
	freeze();
	put_text("5 a\n");
	assert_int_equal(chmod(counters, 0640), 0);
	must_open();
	assert_counted("a", 1, 6);
	assert_int_equal(rows(), 1);
	assert_int_equal(stat(counters, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

/* A crash while a fresh table was written: its file is in nobody's way. */
static void test_left_over(void **state)
{
	(void)state;
	freeze();
	file_put_text(folder_path("counters.new"), "garbage");
	put_text("5 a\n");
	must_open();
	assert_counted("a", 1, 6);
	assert_rows(row(6, "2026-11-20", "a", "1"));
	assert_int_equal(access(folder_path("counters.new"), F_OK), -1);
}

static void test_tick(void **state)
{
	(void)state;
	freeze();
	for (int sync = SYNC_ALWAYS; sync <= SYNC_NO; sync++) {
		settings.sync = sync;
		must_open();
		ahead += 10000;
		assert_int_equal(store_tick(), -1);
		assert_counted("a", 1, 2 * sync + 1);
		if (sync == SYNC_EVERYSEC) {
			assert_int_equal(store_tick(), -1);
			ahead += 300;
			assert_counted("a", 1, 2 * sync + 2);
			assert_int_equal(store_tick(), 700);
			ahead += 700;
		} else {
			assert_counted("a", 1, 2 * sync + 2);
		}
		assert_int_equal(store_tick(), -1);
		assert_counted("a", 0, 2 * sync + 2);
		assert_int_equal(store_tick(), -1);
		store_close();
	}
}

/* More than is read at a time, and found again by who opens it. */
static void test_many(void **state)
{
	char name[32];

	(void)state;
	settings.sync = SYNC_NO;
	for (int round = 1; round <= 3; round++) {
		must_open();
		for (int i = 0; i < 900; i++) {
			snprintf(name, sizeof(name), "n%d", i);
			assert_counted(name, 1, round);
		}
		store_close();
	}
	assert_int_equal(rows(), 900);
	assert_table();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_first_hit),
		TEST(test_rows_never_move),
		TEST(test_drop_and_revival),
		TEST(test_drop_of_none),
		TEST(test_days),
		TEST(test_clock_before_the_build),
		TEST(test_clock_ahead),
		TEST(test_set),
		TEST(test_full),
		TEST(test_max_counters),
		TEST(test_max_counters_of_others),
		TEST(test_compaction),
		TEST(test_max_counters_is_exact),
		TEST(test_rows_of_others),
		TEST(test_replaced),
		TEST(test_same_inode),
		TEST(test_removed),
		TEST(test_edit_half_done),
		TEST(test_edit_after_a_stall),
		TEST(test_edit_without_end),
		TEST(test_edit_and_short_timeout),
		TEST(test_lines),
		TEST(test_wide_lines),
		TEST(test_trimmed_rows),
		TEST(test_crlf),
		TEST(test_sorted),
		TEST(test_real_sort),
		TEST(test_renamed_in_place),
		TEST(test_renamed_in_place_and_missed),
		TEST(test_half_known),
		TEST(test_each_reads_anew),
		TEST(test_duplicates),
		TEST(test_nul_tails),
		TEST(test_nul_tail_while_known),
		TEST(test_cut_tails),
		TEST(test_tails_by_hand),
		TEST(test_tail_of_other_lines),
		TEST(test_nuls_in_the_middle),
		TEST(test_garbage),
		TEST(test_garbage_rows),
		TEST(test_garbage_in_place),
		TEST(test_garbage_costs_no_time),
		TEST(test_garbage_is_read_once),
		TEST(test_locked),
		TEST(test_lock_is_given_back),
		TEST(test_no_regular_file),
		TEST(test_read_only),
		TEST(test_mode_is_kept),
		TEST(test_left_over),
		TEST(test_tick),
		TEST(test_many),
	};

	store_show_detail(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
