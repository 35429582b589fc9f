/*
 * The file store's invariants, which open store/file/visits.c, items.c and
 * history.h. The clock is the test's own: seconds of time() and milliseconds of
 * CLOCK_MONOTONIC can be moved on.
 */
#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/date.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __real_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
ssize_t __real_pread(int fd, void *bytes, size_t len, off_t offset);
ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t offset);
ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);
int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);
int __real_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old);
int __wrap_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old);
__attribute__((format(printf, 2, 3))) void
__wrap_log_line(enum log_level level, const char *format, ...);
time_t __wrap_time(time_t *t);

/* 2026-11-20 12:00 in Berlin */
enum { NOON = 1795172400 };

static time_t now;
static int64_t monotonic_ahead; /* seconds */
static bool is_frozen;
static struct timespec frozen;

time_t __wrap_time(time_t *t)
{
	if (t)
		*t = now;
	return now;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	int done = __real_clock_gettime(id, t);

	if (is_frozen)
		*t = frozen;
	t->tv_sec += monotonic_ahead;
	return done;
}

/* From here on, only sleeping takes time: a machine that is busy meets no
 * deadline. */
static void freeze(void)
{
	__real_clock_gettime(CLOCK_MONOTONIC, &frozen);
	is_frozen = true;
}

static struct settings settings;
static const char *visits, *history;
static int edit_after;	/* so many sleeps, somebody writes 500 */
static int stall_after; /* so many, one takes longer than an edit may */

/* And after the stall another edit is half done. */
static void stall(void)
{
	file_put_text(visits, "41\n");
	file_empty_later(visits);
	monotonic_ahead++;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	if (stall_after > 0) {
		if (--stall_after == 0)
			stall();
	} else if (edit_after > 0 && --edit_after == 0) {
		file_put_text(visits, "500\n");
	}
	if (!is_frozen)
		return __real_nanosleep(t, left);
	frozen.tv_nsec += t->tv_nsec;
	frozen.tv_sec += frozen.tv_nsec / 1000000000;
	frozen.tv_nsec %= 1000000000;
	return 0;
}

/* What a call does, and what fails. */
static struct {
	int locks, writes, syncs; /* that were made */
	int fails_at;		  /* the write that fails, from 1, */
	bool is_short;		  /* after half of its bytes */
	bool sync_fails;
	int64_t waits[16]; /* for locks, in milliseconds */
	int waits_len;
	int alarms;	  /* of the last of them */
	char logged[512]; /* the last error */
	int lines;	  /* of them */
} kernel;

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
	kernel.writes++;
	if (kernel.fails_at != kernel.writes)
		return __real_pwrite(fd, bytes, len, offset);
	if (kernel.is_short) {
		kernel.is_short = false;
		kernel.fails_at++;
		return __real_pwrite(fd, bytes, len / 2, offset);
	}
	errno = ENOSPC;
	return -1;
}

static int sync_or_fail(int (*sync)(int fd), int fd)
{
	kernel.syncs++;
	if (!kernel.sync_fails)
		return sync(fd);
	errno = EIO;
	return -1;
}

int __wrap_fsync(int fd)
{
	return sync_or_fail(__real_fsync, fd);
}

int __wrap_fdatasync(int fd)
{
	return sync_or_fail(__real_fdatasync, fd);
}

/* Where only sleeping takes time, an alarm tells that its time is over. Who
 * goes on waiting after many of them does so without end. */
int __wrap_flock(int fd, int operation)
{
	int done = __real_flock(fd, operation);

	kernel.locks += operation != LOCK_UN;
	if (done < 0 && errno == EINTR && is_frozen) {
		int64_t wait = kernel.waits[(kernel.waits_len - 1) % 16];

		frozen.tv_nsec += wait * 1000000;
		frozen.tv_sec += frozen.tv_nsec / 1000000000;
		frozen.tv_nsec %= 1000000000;
		errno = ++kernel.alarms < 20 ? EINTR : EDEADLK;
	}
	return done;
}

int __wrap_setitimer(int which, const struct itimerval *value,
		     struct itimerval *old)
{
	int64_t wait = (int64_t)value->it_value.tv_sec * 1000 +
		       value->it_value.tv_usec / 1000;

	if (wait > 0) {
		kernel.waits[kernel.waits_len++ % 16] = wait;
		kernel.alarms = 0;
	}
	return __real_setitimer(which, value, old);
}

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > LOG_ERROR)
		return;
	va_start(args, format);
	vsnprintf(kernel.logged, sizeof(kernel.logged), format, args);
	va_end(args);
	kernel.lines++;
}

/* The first wait is as long as STORE_TIMEOUT, the others are short. */
static void assert_waits(int len)
{
	assert_int_equal(kernel.waits_len, len);
	assert_int_equal(kernel.waits[0], settings.store_timeout);
	for (int i = 1; i < len; i++)
		assert_int_equal(kernel.waits[i], 20);
}

static bool line_comes; /* after the next read that finds nothing */

ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t offset)
{
	ssize_t n = __real_pread(fd, bytes, len, offset);

	if (line_comes && n == 0) {
		line_comes = false;
		file_put_text(history, "2026-11-20 0\n");
	}
	return n;
}

static int begin(void **state)
{
	static char visits_path[256], history_path[256];

	(void)state;
	setenv("TZ", "Europe/Berlin", 1);
	tzset();
	now = NOON;
	monotonic_ahead += 60; /* It never goes back. */
	freeze();
	edit_after = 0;
	stall_after = 0;
	line_comes = false;
	memset(&kernel, 0, sizeof(kernel));
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 1000,
		.sync = SYNC_ALWAYS,
		.max_counters = 10,
		.max_items = 100000,
	};
	snprintf(visits_path, sizeof(visits_path), "%s", folder_path("visits"));
	snprintf(history_path, sizeof(history_path), "%s",
		 folder_path("history"));
	visits = visits_path;
	history = history_path;
	return 0;
}

static int end(void **state)
{
	(void)state;
	store_close();
	folder_remove();
	return 0;
}

static struct tally add(int64_t n)
{
	struct tally t = {.counter = SLICE(STORE_HOME), .n = n};

	store_add(&t, 1);
	return t;
}

#define assert_counted(n, total) assert_counted_at(n, total, __FILE__, __LINE__)

static void assert_counted_at(int64_t n, int64_t total, const char *file,
			      int line)
{
	struct tally t = add(n);

	if (t.status)
		print_error("%d %s\n", t.status, t.error);
	_assert_int_equal((unsigned long)t.status, 0, file, line);
	_assert_int_equal((unsigned long)t.total, (unsigned long)total, file,
			  line);
}

static void assert_today(int64_t today)
{
	struct tally t = add(0);

	assert_int_equal(t.status, 0);
	assert_int_equal(t.today, today);
}

static void open_with(const char *text)
{
	file_put_text(visits, text);
	assert_int_equal(store_open(&settings), 0);
}

/*
 * What stands in visits
 */

static void test_first_visit(void **state)
{
	struct stat st;

	(void)state;
	umask(022);
	assert_int_equal(store_open(&settings), 0);
	assert_counted(1, 1);
	assert_file(visits, "1\n");
	assert_file(history, "2026-11-20 0\n");
	assert_int_equal(stat(visits, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_counted(41, 42);
	assert_file(visits, "42\n");
}

static void test_understood(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t total;
	} texts[] = {
#define ROW(text, total) {text, sizeof(text) - 1, total}
		ROW("", 0),
		ROW("0", 0),
		ROW("0\n", 0),
		ROW("41\n", 41),
		ROW("41", 41),
		ROW("0041\n", 41),
		ROW("00000000000000000000000000000000041\n", 41),
		/* What a crash leaves: NULs behind the old text. */
		ROW("41\0", 41),
		ROW("41\n\0\0\0", 41),
		ROW("41\0\0\0\n", 41),
		/* What a shell's edit leaves: a rest of digits and newlines. */
		ROW("41\n\n\n", 41),
		ROW("41\n9\n", 41),
		ROW("5\n34567\n", 5),
		ROW("5\n\n\0"
		    "34567\n\n\0\0",
		    5),
		ROW("9223372036854775806\n", INT64_MAX - 1),
#undef ROW
	};
	char wanted[32];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		file_put(visits, texts[i].bytes, texts[i].len);
		assert_int_equal(store_open(&settings), 0);
		assert_counted(0, texts[i].total);
		/* To read changes nothing. */
		char text[64];
		long n = file_get(visits, text, sizeof(text));
		assert_int_equal(n, texts[i].len);
		assert_memory_equal(text, texts[i].bytes, texts[i].len);
		assert_counted(1, texts[i].total + 1);
		snprintf(wanted, sizeof(wanted), "%lld\n",
			 (long long)texts[i].total + 1);
		assert_file(visits, wanted);
		store_close();
	}
}

/* Numbers that people have, from other systems' editors and shells. They are
 * written back as ours. */
static void test_numbers_from_elsewhere(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		int64_t total;
	} texts[] = {
#define ROW(text, total) {text, sizeof(text) - 1, total}
		ROW("41\r\n", 41),
		ROW("\xef\xbb\xbf"
		    "41\r\n",
		    41),
		ROW(" 41\n", 41),
		ROW("\t41 \t\n", 41),
		ROW("41 \r\n\r\n", 41),
		ROW("0041", 41),
		ROW("41\0\0\0", 41),
		ROW("41\n7\r\n", 41),
		ROW("\n", 0),
		ROW("\r\n\r\n", 0),
		ROW("\0\0\0\0", 0),
		ROW(" \t\n", 0),
		ROW("\xef\xbb\xbf", 0),
		ROW("\xef\xbb\xbf \r\n", 0),
#undef ROW
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char wanted[16];

		file_put(visits, texts[i].bytes, texts[i].len);
		assert_int_equal(store_open(&settings), 0);
		assert_counted(0, texts[i].total);
		assert_counted(1, texts[i].total + 1);
		snprintf(wanted, sizeof(wanted), "%d\n",
			 (int)texts[i].total + 1);
		assert_file(visits, wanted);
		store_close();
		unlink(history);
	}
}

static void test_garbage_is_never_overwritten(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} texts[] = {
#define ROW(text) {text, sizeof(text) - 1}
		ROW("x"),
		ROW("x\n"),
		ROW("-1\n"),
		ROW("+1\n"),
		ROW("1 2\n"),
		ROW("1\r \n"),
		ROW("1\rx\n"),
		ROW("012x\n"),
		ROW("\n1\n"),
		ROW("1\xef\xbb\xbf\n"),
		ROW("\xef\xbb 1\n"),
		ROW("1.0\n"),
		ROW("1e3\n"),
		ROW("0x10\n"),
		ROW("1,000\n"),
		ROW("42\nhello\n"),
		ROW("42\0hello"),
		ROW("9223372036854775808\n"),
		ROW("99999999999999999999999999\n"),
		ROW("{\"visits\":1}\n"),
#undef ROW
	};
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		file_put(visits, texts[i].bytes, texts[i].len);
		assert_int_equal(store_open(&settings), EXIT_DATA);
		assert_non_null(strstr(store_error(), visits));
		for (int64_t n = 0; n < 2; n++) {
			struct tally t = add(n);

			assert_int_equal(t.status, 503);
			assert_non_null(strstr(t.error, visits));
		}
		assert_int_equal(store_ping(), 503);
		assert_int_equal(store_set(SLICE(STORE_HOME), 5), 503);
		store_tick();
		long n = file_get(visits, text, sizeof(text));
		assert_int_equal(n, texts[i].len);
		assert_memory_equal(text, texts[i].bytes, texts[i].len);
		/* Mended by hand, it counts at once. */
		file_put_text(visits, "7\n");
		assert_counted(1, 8);
		store_close();
		assert_file(visits, "8\n");
	}
}

/* More than any number and its rest: garbage, too. */
static void test_long_file(void **state)
{
	char *text = test_malloc(70000);

	(void)state;
	memset(text, '\n', 70000);
	text[0] = '7';
	file_put(visits, text, 4000);
	assert_int_equal(store_open(&settings), 0);
	assert_counted(1, 8);
	assert_file(visits, "8\n");
	store_close();
	text[0] = '7';
	file_put(visits, text, 65000);
	assert_int_equal(store_open(&settings), EXIT_DATA);
	assert_int_equal(add(1).status, 503);
	struct stat st;
	assert_int_equal(stat(visits, &st), 0);
	assert_int_equal(st.st_size, 65000);
	test_free(text);
}

static void test_shorter_number(void **state)
{
	(void)state;
	open_with("123456789\n");
	assert_int_equal(store_set(SLICE(STORE_HOME), 5), 0);
	assert_file(visits, "5\n");
	assert_counted(1, 6);
	assert_file(visits, "6\n");
	file_put_text(visits, "0000000009\n");
	assert_counted(1, 10);
	assert_file(visits, "10\n");
}

static void test_carry(void **state)
{
	(void)state;
	open_with("9\n");
	assert_counted(1, 10);
	assert_file(visits, "10\n");
	assert_counted(89, 99);
	assert_counted(1, 100);
	assert_file(visits, "100\n");
	assert_counted(999999900, 1000000000);
	assert_file(visits, "1000000000\n");
}

static void test_full(void **state)
{
	(void)state;
	open_with("9223372036854775806\n");
	assert_counted(1, INT64_MAX);
	assert_file(visits, "9223372036854775807\n");
	assert_int_equal(add(1).status, 503);
	assert_string_equal(add(1).error, "counter is full");
	assert_file(visits, "9223372036854775807\n");
	assert_counted(0, INT64_MAX);
	assert_int_equal(store_ping(), 0);
}

/*
 * Edits from outside
 */

static void test_edits(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	file_put_text(visits, "1000\n");
	assert_counted(1, 1001);
	file_put_text(visits, "5\n");
	assert_counted(0, 5);
	assert_counted(1, 6);
	file_put_text(visits, "7");
	assert_counted(1, 8);
	assert_file(visits, "8\n");
}

/* By rename, as editors do it: the new file counts, the old one is let go. */
static void test_replaced(void **state)
{
	const char *fresh = folder_path("fresh"), *old = folder_path("old");

	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(rename(visits, old), 0);
		file_put_text(fresh, "100\n");
		assert_int_equal(rename(fresh, visits), 0);
		assert_counted(1, 101);
		assert_counted(1, 102);
		assert_file(visits, "102\n");
		assert_file(old, i ? "102\n" : "42\n");
	}
}

static void test_removed(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	assert_int_equal(unlink(visits), 0);
	assert_counted(0, 0);
	assert_int_equal(access(visits, F_OK), -1);
	assert_counted(1, 1);
	assert_file(visits, "1\n");
}

/* An editor has emptied or removed the file and not written it yet. Its second
 * half comes while the store waits. */
static void test_edit_half_done(void **state)
{
	(void)state;
	open_with("41\n");
	for (int i = 0; i < 8; i++) {
		int counts = i & 1;

		file_put_text(visits, "41\n");
		assert_counted(1, 42);
		if (i & 2)
			assert_int_equal(unlink(visits), 0);
		else
			assert_int_equal(truncate(visits, 0), 0);
		edit_after = i & 4 ? 5 : 1;
		assert_counted(counts, 500 + counts);
		assert_int_equal(edit_after, 0);
		assert_counted(1, 501 + counts);
	}
}

/* Emptied before a stall of this process and emptied after it are two edits. */
static void test_edit_after_a_stall(void **state)
{
	(void)state;
	settings.store_timeout = 5000;
	open_with("41\n");
	/* Also in the last of the sleeps for the first edit. */
	for (int sleeps = 1; sleeps <= 100; sleeps += 11) {
		file_put_text(visits, "41\n");
		assert_counted(1, 42);
		assert_int_equal(truncate(visits, 0), 0);
		stall_after = sleeps;
		edit_after = 1;
		assert_counted(1, 501);
		assert_int_equal(edit_after, 0);
	}
}

/* What stays empty is zero, after a moment. */
static void test_emptied(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	assert_int_equal(truncate(visits, 0), 0);
	assert_counted(0, 0);
	assert_counted(1, 1);
	assert_file(visits, "1\n");
}

/* A file that was empty when it was first seen is no edit half done. */
static void test_touched(void **state)
{
	(void)state;
	open_with("");
	assert_counted(0, 0);
	assert_file(visits, "");
	assert_counted(1, 1);
}

static void test_symlink(void **state)
{
	const char *aside = folder_path("aside");
	struct stat st;

	(void)state;
	file_put_text(aside, "41\n");
	assert_int_equal(symlink("aside", visits), 0);
	assert_int_equal(store_open(&settings), 0);
	assert_counted(1, 42);
	assert_int_equal(store_set(SLICE(STORE_HOME), 7), 0);
	assert_file(aside, "7\n");
	assert_int_equal(lstat(visits, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

static void test_no_regular_file(void **state)
{
	(void)state;
	assert_int_equal(mkdir(visits, 0755), 0);
	assert_int_equal(store_open(&settings), EXIT_SYSTEM);
	assert_non_null(strstr(store_error(), visits));
	assert_int_equal(add(1).status, 503);
	assert_int_equal(store_ping(), 503);
	assert_int_equal(store_set(SLICE(STORE_HOME), 7), 503);
	assert_int_equal(rmdir(visits), 0);
	assert_counted(1, 1);
	store_close();

	assert_int_equal(unlink(visits), 0);
	assert_int_equal(mkfifo(visits, 0644), 0);
	assert_int_equal(store_open(&settings), EXIT_SYSTEM);
	assert_int_equal(add(0).status, 503);
	assert_int_equal(unlink(visits), 0);
	assert_counted(1, 1);
}

/* The history of another file than `visits`. */
static const char *own_history(const char *path)
{
	uint64_t hash = 0xcbf29ce484222325;
	char real[4096], name[64];

	assert_non_null(realpath(path, real));
	for (const char *p = real; *p; p++) {
		hash ^= (unsigned char)*p;
		hash *= 0x100000001b3;
	}
	snprintf(name, sizeof(name), "history.%016llx",
		 (unsigned long long)hash);
	return folder_path(name);
}

static void test_visits_file_elsewhere(void **state)
{
	char aside[256];

	(void)state;
	snprintf(aside, sizeof(aside), "%s", folder_path("aside"));
	settings.visits_file = aside;
	file_put_text(aside, "41\n");
	assert_int_equal(store_open(&settings), 0);
	assert_counted(1, 42);
	assert_file(aside, "42\n");
	assert_file(own_history(aside), "2026-11-20 41\n");
	assert_int_equal(access(history, F_OK), -1);
	assert_int_equal(access(visits, F_OK), -1);
	/* With a link in its path it is the same file. */
	store_close();
	assert_int_equal(symlink(".", folder_path("link")), 0);
	settings.visits_file = folder_path("link/aside");
	assert_int_equal(store_open(&settings), 0);
	assert_today(1);
}

/* A file that is named as the usual one is the usual one. */
static void test_visits_file_as_ever(void **state)
{
	(void)state;
	assert_int_equal(symlink("link2", folder_path("link")), 0);
	assert_int_equal(symlink("visits", folder_path("link2")), 0);
	settings.visits_file = folder_path("link");
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(store_open(&settings), 0);
		assert_counted(1, i);
		assert_file(history, "2026-11-20 0\n");
		store_close();
	}
}

/* Two servers with files of their own in one folder: each has its days. */
static void test_two_visits_files(void **state)
{
	const char *files[] = {folder_path("one"), folder_path("two")};

	(void)state;
	file_put_text(files[0], "500\n");
	for (int i = 0; i < 4; i++) {
		settings.visits_file = files[i % 2];
		assert_int_equal(store_open(&settings), 0);
		assert_counted(1, (i % 2 ? 1 : 501) + i / 2);
		assert_today(1 + i / 2);
		store_close();
	}
	assert_file(own_history(files[0]), "2026-11-20 500\n");
	assert_file(own_history(files[1]), "2026-11-20 0\n");
}

/* The old name is changed once, by the master, and not if there is a `visits`
 * that it belongs to. What the master holds is inherited, so that a process of
 * its own tries it. */
static void test_history_is_taken_over(void **state)
{
	const char *aside = folder_path("aside");
	const int64_t today[] = {12, 13, 1};

	(void)state;
	file_put_text(aside, "41\n");
	file_put_text(history, "2026-11-20 30\n");
	settings.visits_file = aside;
	for (int i = 0; i < 3; i++) {
		int status;
		pid_t pid;

		if (i == 2) {
			file_put_text(visits, "41\n");
			unlink(own_history(aside));
			file_put_text(history, "2026-11-20 30\n");
		}
		pid = fork();
		if (pid == 0)
			_exit(store_prepare(&settings) ||
			      store_open(&settings) ||
			      add(1).today != today[i]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		assert_int_equal(access(history, F_OK), i == 2 ? 0 : -1);
		if (i == 0)
			assert_file(own_history(aside), "2026-11-20 30\n");
	}
}

/* Only the master's first look makes a folder; what it holds is inherited, so
 * that a process of its own tries it. */
static void test_folder_is_made_by_the_master(void **state)
{
	char below[256];
	int status;

	(void)state;
	snprintf(below, sizeof(below), "%s", folder_path("data"));
	settings.data_dir = below;
	assert_int_equal(store_open(&settings), EXIT_SYSTEM);
	assert_non_null(strstr(store_error(), "cannot open this folder"));
	assert_int_equal(access(below, F_OK), -1);
	pid_t pid = fork();
	if (pid == 0) {
		struct tally t = {.counter = SLICE(STORE_HOME), .n = 1};

		if (store_prepare(&settings) || store_open(&settings))
			_exit(1);
		store_add(&t, 1);
		_exit(t.status != 0 || t.total != 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_file(folder_path("data/visits"), "1\n");
	snprintf(below, sizeof(below), "%s", folder_path("no/data"));
	assert_int_equal(store_prepare(&settings), EXIT_SYSTEM);
	assert_non_null(strstr(store_error(), "no/data"));
}

/*
 * The lock
 */

static void test_locked(void **state)
{
	(void)state;
	settings.store_timeout = 100;
	open_with("41\n");
	int fd = open(visits, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	for (int64_t n = 0; n < 2; n++) {
		struct tally t = add(n);

		assert_int_equal(t.status, 503);
		assert_non_null(strstr(t.error, "locked"));
	}
	assert_int_equal(store_ping(), 503);
	assert_int_equal(store_set(SLICE(STORE_HOME), 5), 503);
	assert_waits(4);
	assert_file(visits, "41\n");
	store_close();
	/* A lock held by somebody else is no reason not to start. */
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_counted(1, 42);
	close(fd);
}

/* Between its calls the store holds no lock, whatever they were. */
static void test_lock_is_given_back(void **state)
{
	static const char *const texts[] = {"41\n", "x\n", "", "41",
					    "9223372036854775807\n"};

	(void)state;
	open_with("1\n");
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		int fd = open(visits, O_RDWR);

		for (int call = 0; call < 4; call++) {
			file_put_text(visits, texts[i]);
			call == 0   ? (void)add(0)
			: call == 1 ? (void)add(1)
			: call == 2 ? (void)store_ping()
				    : (void)store_set(SLICE(STORE_HOME), 3);
			assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
			assert_int_equal(flock(fd, LOCK_UN), 0);
		}
		close(fd);
	}
}

/* The lock's timer is stopped when the wait is over. */
static void test_no_alarm_is_left(void **state)
{
	(void)state;
	settings.store_timeout = 50;
	open_with("41\n");
	int fd = open(visits, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	assert_int_equal(add(1).status, 503);
	assert_int_equal(alarm(0), 0);
	close(fd);
	assert_counted(1, 42);
	assert_int_equal(alarm(0), 0);
}

/*
 * History
 */

static void test_history_line_a_day(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(0, 41);
	assert_int_equal(access(history, F_OK), -1);
	assert_today(0);
	for (int i = 1; i <= 5; i++) {
		assert_counted(1, 41 + i);
		assert_today(i);
	}
	assert_file(history, "2026-11-20 41\n");
	now += 86400;
	assert_today(0);
	assert_file(history, "2026-11-20 41\n");
	assert_counted(1, 47);
	assert_today(1);
	assert_file(history, "2026-11-20 41\n2026-11-21 46\n");
	/* A day without a visit has no line. */
	now += 2 * 86400;
	assert_counted(2, 49);
	assert_today(2);
	assert_file(history, "2026-11-20 41\n2026-11-21 46\n2026-11-23 47\n");
}

/* Midnight is where the zone has it, to the second. */
static void test_history_midnight(void **state)
{
	(void)state;
	open_with("5\n");
	now = NOON + 12 * 3600 - 1;
	assert_counted(1, 6);
	assert_today(1);
	now++;
	assert_today(0);
	assert_counted(1, 7);
	assert_today(1);
	assert_file(history, "2026-11-20 5\n2026-11-21 6\n");
}

/* A clock that goes back to a day without a line begins that day; when it comes
 * again, the right day goes on. */
static void test_history_clock_back(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-18 0\n2026-11-19 1\n");
	open_with("5\n");
	assert_counted(1, 6);
	now -= 3 * 86400;
	assert_today(0);
	assert_counted(1, 7);
	assert_today(1);
	now += 3 * 86400;
	assert_today(2);
	assert_counted(1, 8);
	assert_today(3);
	assert_file(history, "2026-11-18 0\n2026-11-19 1\n2026-11-20 5\n"
			     "2026-11-17 6\n");
	now += 86400;
	assert_counted(1, 9);
	assert_file(history, "2026-11-18 0\n2026-11-19 1\n2026-11-20 5\n"
			     "2026-11-17 6\n2026-11-21 8\n");
	assert_today(1);
	/* To a day that has a line: what came since it began. */
	now -= 2 * 86400;
	assert_counted(1, 10);
	assert_today(9);
	now += 2 * 86400;
	assert_today(2);
}

/* One visit in 2039 does not freeze today until then. */
static void test_history_clock_ahead(void **state)
{
	(void)state;
	open_with("5\n");
	now = NOON + (time_t)4425 * 86400;
	assert_counted(1, 6);
	now = NOON;
	assert_today(0);
	assert_counted(2, 8);
	assert_today(2);
	now += 86400;
	assert_counted(1, 9);
	assert_today(1);
	assert_file(history, "2039-01-01 5\n2026-11-20 6\n2026-11-21 8\n");
	/* It is read the same by who opens it. */
	store_close();
	assert_int_equal(store_open(&settings), 0);
	assert_today(1);
}

/* When the day comes at last that a clock was ahead to, its visits are not all
 * that have come since. */
static void test_history_day_that_was_begun_before(void **state)
{
	static const char *const first[] = {
		"2026-11-20 5\n2026-11-30 7\n",
		"2026-11-30 7\n2026-11-20 7\n",
		"2026-11-30 7\n2026-11-28 7\n2026-11-29 9\n",
	};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		file_put_text(history, first[i]);
		open_with("10\n");
		now = NOON + 9 * 86400;
		assert_counted(1000, 1010);
		now += 86400;
		assert_today(0);
		assert_counted(1, 1011);
		assert_today(1);
		store_close();
	}
	assert_file(history, "2026-11-30 7\n2026-11-28 7\n2026-11-29 9\n"
			     "2026-11-30 1010\n");
}

/* A total that somebody has made lower is no clock that was ahead. */
static void test_history_day_after_a_lower_total(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-19 500\n");
	open_with("5\n");
	for (int i = 1; i <= 3; i++) {
		assert_counted(1, 5 + i);
		assert_today(i);
	}
	assert_file(history, "2026-11-19 500\n2026-11-20 5\n");
}

/* A machine may boot in 1970: its visits count, for no day. */
static void test_history_clock_before_the_build(void **state)
{
	(void)state;
	open_with("5\n");
	now = 1000;
	assert_counted(1, 6);
	assert_today(0);
	assert_int_equal(store_ping(), 0);
	assert_int_equal(access(history, F_OK), -1);
	now = NOON;
	assert_counted(1, 7);
	now = 1000;
	assert_counted(1, 8);
	assert_today(0);
	assert_file(history, "2026-11-20 6\n");
	/* What came meanwhile came today, as far as one can know. */
	now = NOON;
	assert_today(2);
	/* A line of then is that of no day. */
	store_close();
	now = 1000;
	file_put_text(history, "1970-01-01 3\n");
	assert_int_equal(store_open(&settings), 0);
	assert_today(0);
}

static char *put_line(char *to, time_t day, int base)
{
	date_write_day(to, day);
	return to + DATE_DAY_SIZE + sprintf(to + DATE_DAY_SIZE, " %d\n", base);
}

/* Each of 366 days is found, though the latest stands first, and among years of
 * older ones. */
static void test_history_of_a_year(void **state)
{
	enum { DAYS = 366, TWO_YEARS = 2 * DAYS * 86400 };
	static char text[1 << 16];
	char *p = text;

	(void)state;
	for (int i = 0; i < DAYS; i++) {
		p = put_line(p, NOON + TWO_YEARS - i * 86400, 10000 - i);
		for (int k = 0; k < 3; k++)
			p = put_line(p, NOON - (3 * i + k) * 86400, 0);
	}
	file_put_text(history, text);
	open_with("10000\n");
	for (int i = 0; i < DAYS; i++) {
		now = NOON + TWO_YEARS - i * 86400;
		assert_today(i);
	}
	assert_file(history, text);
}

/* Without a `visits` there is no lock to look at it under: another worker may
 * begin the day meanwhile. Its line is seen, and not written again. */
static void test_history_that_is_begun_meanwhile(void **state)
{
	(void)state;
	file_put_text(history, "");
	line_comes = true;
	assert_int_equal(store_open(&settings), 0);
	assert_false(line_comes);
	file_put_text(visits, "3\n");
	assert_counted(1, 4);
	assert_today(4);
	assert_file(history, "2026-11-20 0\n");
}

static void test_history_of_before(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-01 1\n2026-11-20 30\n");
	open_with("41\n");
	assert_today(11);
	assert_counted(1, 42);
	assert_today(12);
	assert_file(history, "2026-11-01 1\n2026-11-20 30\n");
}

/* A day of less than nothing is none. */
static void test_history_above_total(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-20 100\n");
	open_with("41\n");
	assert_today(0);
	assert_counted(1, 42);
	assert_today(0);
	assert_file(history, "2026-11-20 100\n");
}

/* A tail that is no whole line was never answered: it is cut off, by whoever
 * counts, whether or not somebody has read it before. */
static void test_history_torn(void **state)
{
	static const struct {
		const char *tail;
		size_t len;
	} tails[] = {
#define ROW(text) {text, sizeof(text) - 1}
		ROW("2"),
		ROW("2026-11-20"),
		ROW("2026-11-20 4"),
		ROW("2026-11-20 41"),
		ROW("\0"),
		ROW("\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		ROW("2026-11\0\0\0\0\0\0\0"),
#undef ROW
	};
	static const char *const wholes[] = {"", "2026-11-19 30\n",
					     "2026-11-20 30\n"};
	char text[256], wanted[256];

	(void)state;
	for (size_t i = 0; i < sizeof(tails) / sizeof(*tails); i++)
		for (size_t k = 0; k < 3; k++) {
			size_t n = strlen(wholes[k]);

			memcpy(text, wholes[k], n);
			memcpy(text + n, tails[i].tail, tails[i].len);
			file_put(history, text, n + tails[i].len);
			open_with("41\n");
			assert_today(k == 2 ? 11 : 0);
			assert_counted(1, 42);
			snprintf(wanted, sizeof(wanted), "%s%s", wholes[k],
				 k == 2 ? "" : "2026-11-20 41\n");
			assert_file(history, wanted);
			assert_today(k == 2 ? 12 : 1);
			store_close();
		}
}

/* What is whole and no date and number is not understood. */
static void test_history_garbage(void **state)
{
	static const char *const texts[] = {"x\n",
					    "\n",
					    "2026-11-20\n",
					    "2026-11-20 \n",
					    "2026-11-20 x\n",
					    "2026-11-20 41 \n",
					    "2026-11-20  41\n",
					    "2026-11-20\t41\n",
					    "2026/11/20 41\n",
					    "2026-11-20 +41\n",
					    "2026-11-20 -\n",
					    "2026-11-20 9223372036854775808\n",
					    "2026-11-19 5\n2026-11-20 4x\n",
					    "12026-11-20 5\n",
					    "2026-11-20 41\r\n"};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		file_put_text(history, texts[i]);
		file_put_text(visits, "41\n");
		int code = store_open(&settings);

		assert_int_equal(code, EXIT_DATA);
		assert_non_null(strstr(store_error(), history));
		assert_int_equal(add(1).status, 503);
		assert_int_equal(store_ping(), 503);
		assert_file(history, texts[i]);
		assert_file(visits, "41\n");
		store_close();
	}
	/* Mended by hand, it counts at once. */
	assert_int_equal(store_open(&settings), EXIT_DATA);
	file_put_text(history, "2026-11-20 40\n");
	assert_counted(1, 42);
	assert_today(2);
}

/* More lines than are read to find the last one. */
static void test_history_long(void **state)
{
	char *text = test_malloc(1 << 17), *p = text;

	(void)state;
	for (int i = 0; i < 3000; i++)
		p += sprintf(p, "%04d-%02d-%02d %d\n", 1900 + i / 336,
			     i / 28 % 12 + 1, i % 28 + 1, i);
	file_put_text(history, text);
	open_with("41\n");
	assert_counted(1, 42);
	strcpy(p, "2026-11-20 41\n");
	assert_file(history, text);
	assert_int_equal(store_set(SLICE(STORE_HOME), 1041), 0);
	p = text;
	for (int i = 0; i < 3000; i++)
		p += sprintf(p, "%04d-%02d-%02d %d\n", 1900 + i / 336,
			     i / 28 % 12 + 1, i % 28 + 1, i + 999);
	strcpy(p, "2026-11-20 1040\n");
	assert_file(history, text);
	test_free(text);
}

static void test_history_removed(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	assert_int_equal(unlink(history), 0);
	assert_today(0);
	assert_counted(1, 43);
	assert_file(history, "2026-11-20 42\n");
	assert_today(1);
}

static void test_history_edited(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	file_put_text(history, "2026-11-20 2\n");
	assert_today(40);
	assert_counted(1, 43);
	assert_today(41);
}

/* Another worker has appended today's line. */
static void test_history_of_another(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	pid_t pid = fork();
	if (pid == 0) {
		now += 86400;
		_exit(store_open(&settings) != 0 || add(10).status != 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	now += 86400;
	assert_today(10);
	assert_counted(1, 53);
	assert_today(11);
	assert_file(history, "2026-11-20 41\n2026-11-21 42\n");
}

static void test_set_moves_base(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-19 3\n");
	open_with("41\n");
	assert_int_equal(store_set(SLICE(STORE_HOME), 50), 0);
	/* What was set is no visit of yesterday's, either. */
	assert_file(history, "2026-11-19 12\n");
	assert_counted(2, 52);
	assert_today(2);
	assert_file(history, "2026-11-19 12\n2026-11-20 50\n");
	assert_int_equal(store_set(SLICE(STORE_HOME), 1000), 0);
	assert_file(history, "2026-11-19 960\n2026-11-20 998\n");
	assert_today(2);
	assert_counted(1, 1001);
	assert_today(3);
	/* Down, below what came today. */
	assert_int_equal(store_set(SLICE(STORE_HOME), 1), 0);
	assert_file(history, "2026-11-19 -40\n2026-11-20 -2\n");
	assert_counted(0, 1);
	assert_today(3);
	assert_counted(1, 2);
	assert_today(4);
	assert_file(visits, "2\n");
}

/* No room for a fresh history: the set is not done, and visits count on. */
static void test_set_on_a_full_disk(void **state)
{
	char fresh[256];

	(void)state;
	snprintf(fresh, sizeof(fresh), "%s", folder_path("history.new"));
	open_with("41\n");
	assert_counted(1, 42);
	assert_int_equal(mkdir(fresh, 0755), 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 1000), 503);
	assert_non_null(strstr(store_error(), history));
	assert_counted(1, 43);
	assert_today(2);
	assert_file(history, "2026-11-20 41\n");
	assert_int_equal(rmdir(fresh), 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 1000), 0);
	assert_today(2);
	assert_file(history, "2026-11-20 998\n");
}

/* The clock was wrong when the total was set: what was set is still no visit of
 * today's. */
static void test_set_by_a_wrong_clock(void **state)
{
	static const time_t clocks[] = {1000, NOON - 5 * 86400,
					NOON + (time_t)5000 * 86400};

	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	for (int i = 0; i < 3; i++) {
		now = clocks[i];
		assert_int_equal(store_set(SLICE(STORE_HOME), 1000 * i), 0);
		now = NOON;
		assert_today(1);
	}
}

/* The largest numbers of all: what came today is told as it can be. */
static void test_history_overflow(void **state)
{
	(void)state;
	file_put_text(history, "2026-11-20 -5\n");
	open_with("9223372036854775806\n");
	assert_counted(1, INT64_MAX);
	assert_true(add(0).today >= 0);
	store_close();
	file_put_text(history, "2026-11-20 -9223372036854775807\n");
	open_with("5\n");
	assert_true(add(0).today >= 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 0), 0);
	assert_true(add(0).today >= 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), INT64_MAX), 0);
	assert_true(add(0).today >= 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 0), 0);
	assert_counted(1, 1);
}

static void test_drop_unknown(void **state)
{
	(void)state;
	open_with("41\n");
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_non_null(strstr(store_error(), "a"));
	assert_file(visits, "41\n");
}

/*
 * SYNC=everysec
 */

static void test_tick(void **state)
{
	(void)state;
	settings.sync = SYNC_EVERYSEC;
	open_with("41\n");
	monotonic_ahead += 10;
	assert_int_equal(store_tick(), -1);
	assert_counted(1, 42);
	store_tick();
	assert_counted(1, 43);
	assert_in_range(store_tick(), 1, 1000);
	monotonic_ahead += 1;
	assert_int_equal(store_tick(), -1);
	assert_counted(0, 43);
	monotonic_ahead += 10;
	assert_int_equal(store_tick(), -1);
}

/* A file that was removed has nothing to be synced. */
static void test_tick_without_file(void **state)
{
	(void)state;
	settings.sync = SYNC_EVERYSEC;
	open_with("41\n");
	monotonic_ahead += 10;
	assert_counted(1, 42);
	assert_int_equal(unlink(visits), 0);
	assert_counted(0, 0);
	for (int i = 0; i < 3; i++) {
		store_tick();
		monotonic_ahead += 2;
	}
	assert_int_equal(store_tick(), -1);
}

/*
 * Items
 */

enum { ITEMS_MAX = STORE_NEW_ITEMS_MAX };

static struct item items[ITEMS_MAX];

/* A call with so many new items, each of these texts. */
static void create(size_t len, struct slice name, struct slice description)
{
	for (size_t i = 0; i < len; i++)
		items[i] = (struct item){
			.name = name,
			.description = description,
			.status = -1,
		};
	store_items_create(items, len);
}

static const struct slice none = {NULL, 0};

#define assert_item(id, status, json) \
	assert_item_at(id, status, json, __FILE__, __LINE__)

static void assert_item_at(int64_t id, int status, const char *json,
			   const char *file, int line)
{
	struct item item = {.id = id};

	store_items_get(&item, 1);
	_assert_int_equal((unsigned long)item.status, (unsigned long)status,
			  file, line);
	if (status == 0)
		assert_slice_at(item.json, json, file, line);
	else
		assert_true(item.error && *item.error);
}

/* As many as may be, with as many bytes, each of which takes six in a line. */
static void test_items_of_a_call(void **state)
{
	static char text[STORE_NEW_BYTES_MAX / ITEMS_MAX - 1];
	static char json[STORE_ITEM_JSON_MAX];

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	memset(text, 1, sizeof(text));
	for (int64_t round = 0; round < 3; round++) {
		memset(&kernel, 0, sizeof(kernel));
		create(ITEMS_MAX, SLICE("a"),
		       (struct slice){text, sizeof(text)});
		assert_int_equal(kernel.locks, 1);
		assert_int_equal(kernel.writes, 1);
		/* A new file with its folder. */
		assert_int_equal(kernel.syncs, round ? 1 : 2);
		for (int64_t i = 0; i < ITEMS_MAX; i++) {
			assert_int_equal(items[i].status, 0);
			assert_int_equal(items[i].id,
					 round * ITEMS_MAX + i + 1);
		}
	}
	for (int64_t id = 1; id <= 3 * ITEMS_MAX; id += 1021) {
		char *p = json + sprintf(json,
					 "{\"id\":%d,\"name\":\"a\","
					 "\"description\":\"",
					 (int)id);

		for (size_t i = 0; i < sizeof(text); i++)
			p += sprintf(p, "\\u0001");
		sprintf(p, "\"}");
		assert_item(id, 0, json);
	}
	assert_item(3 * ITEMS_MAX + 1, 404, "");
}

static void test_items_are_bounded(void **state)
{
	(void)state;
	settings.max_items = 5;
	assert_int_equal(store_open(&settings), 0);
	create(3, SLICE("a"), none);
	assert_int_equal(items[2].id, 3);
	for (int round = 0; round < 2; round++) {
		memset(&kernel, 0, sizeof(kernel));
		create(3, SLICE("b"), none);
		for (int i = 0; i < 3; i++) {
			bool fits = round == 0 && i < 2;

			assert_int_equal(items[i].status, fits ? 0 : 507);
			if (fits)
				assert_int_equal(items[i].id, 4 + i);
			else
				assert_string_equal(
					items[i].error,
					"there are MAX_ITEMS=5 items");
		}
		assert_int_equal(kernel.writes, round == 0);
		assert_int_equal(kernel.lines, 0);
	}
	assert_item(5, 0, "{\"id\":5,\"name\":\"b\",\"description\":null}");
	assert_item(6, 404, "");
}

/* All of a call's items are there, or none. */
static void test_items_that_fail(void **state)
{
	const char *path = folder_path("items");
	static const char one[] = "{\"name\":\"a\",\"description\":null}\n";

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	create(1, SLICE("a"), none);
	assert_file(path, one);
	for (int kind = 0; kind < 2; kind++) {
		memset(&kernel, 0, sizeof(kernel));
		kernel.fails_at = 1;
		kernel.is_short = kind;
		create(10, SLICE("b"), SLICE("c"));
		for (int i = 0; i < 10; i++) {
			assert_int_equal(items[i].status, 503);
			assert_non_null(strstr(items[i].error, path));
		}
		assert_file(path, one);
		assert_int_equal(kernel.lines, 1);
		assert_non_null(strstr(kernel.logged, path));
		create(2, SLICE("b"), none);
		assert_int_equal(items[1].id, 3);
		assert_int_equal(truncate(path, sizeof(one) - 1), 0);
	}
	kernel.sync_fails = true;
	create(10, SLICE("d"), none);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(items[i].status, 503);
		assert_non_null(strstr(items[i].error, "cannot sync"));
	}
	kernel.sync_fails = false;
	create(1, SLICE("e"), none);
	assert_int_equal(items[0].status, 0);
}

/* One wait, not one for each call. */
static void test_items_locked(void **state)
{
	(void)state;
	settings.store_timeout = 100;
	assert_int_equal(store_open(&settings), 0);
	create(1, SLICE("a"), none);
	int fd = open(folder_path("items"), O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	for (int i = 0; i < 4; i++) {
		create(2, SLICE("a"), none);
		assert_int_equal(items[1].status, 503);
		assert_non_null(strstr(items[1].error, "locked by another"));
	}
	assert_waits(4);
	/* To read takes no lock. */
	assert_item(1, 0, "{\"id\":1,\"name\":\"a\",\"description\":null}");
	assert_int_equal(flock(fd, LOCK_UN), 0);
	create(2, SLICE("a"), none);
	assert_int_equal(items[1].id, 3);
	close(fd);
}

static int lock_file(const char *name)
{
	int fd = open(folder_path(name), O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	return fd;
}

/* Whatever the calls of a turn are, and whichever files somebody holds: they
 * wait once. And the next turn does not wait again. */
static void test_turn_waits_once(void **state)
{
	static const char *const names[] = {"visits", "counters", "items"};
	struct tally t[] = {{.counter = SLICE(STORE_HOME), .n = 1},
			    {.counter = SLICE("a"), .n = 1}};
	int fds[3];

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	store_add(t, 2);
	create(1, SLICE("a"), none);
	for (int i = 0; i < 3; i++)
		fds[i] = lock_file(names[i]);
	for (int turn = 1; turn <= 2; turn++) {
		assert_int_equal(store_set(SLICE(STORE_HOME), 5), 503);
		assert_int_equal(store_drop(SLICE("a")), 503);
		create(1, SLICE("a"), none);
		assert_int_equal(items[0].status, 503);
		assert_int_equal(store_ping(), 503);
		store_add(t, 2);
		assert_int_equal(t[0].status, 503);
		assert_int_equal(t[1].status, 503);
		assert_waits(6 * turn);
		monotonic_ahead++;
	}
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}

/* Somebody holds a file for changes alone: visits of `/` do not wait. */
static void test_visits_wait_once_for_changes(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	create(1, SLICE("a"), none);
	int fd = lock_file("items");
	for (int i = 1; i <= 3; i++) {
		create(1, SLICE("a"), none);
		assert_int_equal(items[0].status, 503);
		assert_counted(1, i);
		assert_waits(i);
	}
	/* Another file is waited for as long as ever, in a later turn. */
	close(fd);
	fd = lock_file("visits");
	monotonic_ahead++;
	kernel.waits_len = 0;
	assert_int_equal(add(1).status, 503);
	assert_int_equal(kernel.waits[0], settings.store_timeout);
	close(fd);
}

static void test_items_edited(void **state)
{
	const char *path = folder_path("items"), *fresh = folder_path("fresh");
	char line[STORE_ITEM_JSON_MAX + 64];

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	create(3, SLICE("a"), none);
	/* In place, by rename, removed, and garbage. */
	file_put_text(path, "{\"name\":\"x\"}\n{\"name\":\"torn");
	assert_item(1, 0, "{\"id\":1,\"name\":\"x\"}");
	assert_item(2, 404, "");
	create(1, SLICE("b"), none);
	assert_int_equal(items[0].id, 2);
	assert_file(path, "{\"name\":\"x\"}\n"
			  "{\"name\":\"b\",\"description\":null}\n");
	file_put_text(fresh, "hello\n{\"name\":\"y\"}\n\n");
	assert_int_equal(rename(fresh, path), 0);
	assert_item(1, 503, "");
	assert_item(2, 0, "{\"id\":2,\"name\":\"y\"}");
	assert_item(3, 503, "");
	create(1, SLICE("b"), none);
	assert_int_equal(items[0].id, 4);
	assert_int_equal(unlink(path), 0);
	assert_item(1, 404, "");
	create(1, SLICE("c"), none);
	assert_int_equal(items[0].id, 1);
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	file_put(path, line, sizeof(line));
	assert_item(1, 503, "");
}

static void test_items_tick(void **state)
{
	(void)state;
	settings.sync = SYNC_EVERYSEC;
	assert_int_equal(store_open(&settings), 0);
	monotonic_ahead += 10;
	create(5, SLICE("a"), none);
	assert_int_equal(kernel.syncs, 0);
	assert_int_equal(store_tick(), -1);
	assert_int_equal(kernel.syncs, 2);
	monotonic_ahead += 10;
	assert_int_equal(store_tick(), -1);
	assert_int_equal(kernel.syncs, 2);
}

/*
 * The log
 */

/* Whatever a store is asked for, its failure is told once, and its end. */
static void test_failures_are_told(void **state)
{
	static const struct slice named = SLICE_INIT("a");

	(void)state;
	open_with("41\n");
	assert_int_equal(store_set(named, 5), 0);
	const char *counters = folder_path("counters");
	for (int call = 0; call < 3; call++) {
		memset(&kernel, 0, sizeof(kernel));
		for (int i = 0; i < 2; i++) {
			kernel.fails_at = kernel.writes + 1;
			int status = call == 0 ? store_set(SLICE(STORE_HOME), 7)
				     : call == 1 ? store_set(named, 7)
						 : store_drop(named);
			assert_int_equal(status, 503);
		}
		assert_int_equal(kernel.lines, 1);
		assert_non_null(
			strstr(kernel.logged, call ? counters : visits));
		kernel.fails_at = 0;
		assert_int_equal(store_set(SLICE(STORE_HOME), 7), 0);
		assert_int_equal(store_set(named, 7), 0);
	}
	/* A counter that is missing or full is no failure of the store. */
	memset(&kernel, 0, sizeof(kernel));
	assert_int_equal(store_drop(SLICE("none")), 404);
	settings.max_counters = 1;
	assert_int_equal(store_set(SLICE("more"), 1), 507);
	assert_int_equal(store_set(SLICE(STORE_HOME), INT64_MAX), 0);
	assert_int_equal(add(1).status, 503);
	assert_int_equal(kernel.lines, 0);
}

/* A sync that fails all the time is told once, not as a recovery and a failure
 * again and again. */
static void test_failing_sync_is_told_once(void **state)
{
	(void)state;
	open_with("41\n");
	assert_counted(1, 42);
	assert_int_equal(store_set(SLICE("a"), 5), 0);
	kernel.sync_fails = true;
	for (int i = 0; i < 5; i++) {
		struct tally turn[] = {
			{.counter = SLICE_INIT(STORE_HOME), .n = 1},
			{.counter = SLICE_INIT("a"), .n = 1},
		};

		store_add(turn, 2);
		assert_int_equal(turn[0].status, 503);
		assert_int_equal(turn[1].status, 503);
		assert_non_null(strstr(turn[0].error, visits));
		assert_non_null(strstr(turn[1].error, "counters"));
	}
	assert_int_equal(kernel.lines, 2);
	kernel.sync_fails = false;
}

/* What a mistyped or unusable file says is one line for the operator. */
static void test_error_is_a_phrase(void **state)
{
	char text[4096];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	file_put_text(visits, text);
	assert_int_equal(store_open(&settings), EXIT_DATA);
	assert_in_range(strlen(store_error()), 20, 500);
}

/* What another process has appended is there before the next item: its line
 * number is the next id. */
static void test_items_of_others(void **state)
{
	struct item one = {.name = SLICE("a")};
	struct item two[2] = {{.name = SLICE("c")}, {.name = SLICE("d")}};
	const char *path = folder_path("items");

	(void)state;
	settings.max_items = 3;
	open_with("41\n");
	store_items_create(&one, 1);
	assert_int_equal(one.status, 0);
	assert_int_equal(one.id, 1);
	int fd = open(path, O_WRONLY | O_APPEND);
	static const char line[] = "{\"name\":\"b\",\"description\":null}\n";
	assert_int_equal(write(fd, line, sizeof(line) - 1), sizeof(line) - 1);
	close(fd);
	store_items_create(two, 2);
	assert_int_equal(two[0].status, 0);
	assert_int_equal(two[0].id, 3);
	assert_int_equal(two[1].status, 507);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_first_visit),
		TEST(test_understood),
		TEST(test_numbers_from_elsewhere),
		TEST(test_garbage_is_never_overwritten),
		TEST(test_long_file),
		TEST(test_shorter_number),
		TEST(test_carry),
		TEST(test_full),
		TEST(test_edits),
		TEST(test_replaced),
		TEST(test_removed),
		TEST(test_edit_half_done),
		TEST(test_edit_after_a_stall),
		TEST(test_emptied),
		TEST(test_touched),
		TEST(test_symlink),
		TEST(test_no_regular_file),
		TEST(test_visits_file_elsewhere),
		TEST(test_visits_file_as_ever),
		TEST(test_two_visits_files),
		TEST(test_history_is_taken_over),
		TEST(test_folder_is_made_by_the_master),
		TEST(test_items_of_others),
		TEST(test_locked),
		TEST(test_lock_is_given_back),
		TEST(test_no_alarm_is_left),
		TEST(test_history_line_a_day),
		TEST(test_history_midnight),
		TEST(test_history_clock_back),
		TEST(test_history_clock_ahead),
		TEST(test_history_day_that_was_begun_before),
		TEST(test_history_day_after_a_lower_total),
		TEST(test_history_clock_before_the_build),
		TEST(test_history_of_a_year),
		TEST(test_history_that_is_begun_meanwhile),
		TEST(test_history_of_before),
		TEST(test_history_above_total),
		TEST(test_history_torn),
		TEST(test_history_garbage),
		TEST(test_history_long),
		TEST(test_history_removed),
		TEST(test_history_edited),
		TEST(test_history_of_another),
		TEST(test_set_moves_base),
		TEST(test_set_on_a_full_disk),
		TEST(test_set_by_a_wrong_clock),
		TEST(test_history_overflow),
		TEST(test_drop_unknown),
		TEST(test_tick),
		TEST(test_tick_without_file),
		TEST(test_items_of_a_call),
		TEST(test_items_are_bounded),
		TEST(test_items_that_fail),
		TEST(test_items_locked),
		TEST(test_turn_waits_once),
		TEST(test_visits_wait_once_for_changes),
		TEST(test_items_edited),
		TEST(test_items_tick),
		TEST(test_failures_are_told),
		TEST(test_failing_sync_is_told_once),
		TEST(test_error_is_a_phrase),
	};

	store_show_detail(true);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
