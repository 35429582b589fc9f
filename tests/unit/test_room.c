/* Whether /health finds out that `counters` and `items` cannot grow, while the
 * visits of counters that are there write in place. */
#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAL(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

/* What the kernel says: errnos, or 0. */
static int appending, setting_aside;
static bool no_blocks, no_inodes, tells_of_no_inodes;
static int asked;	  /* calls of fallocate */
static char logged[1024]; /* errors */

__attribute__((format(printf, 2, 3))) void
__wrap_log_line(enum log_level level, const char *format, ...);

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	size_t n = strlen(logged);
	va_list args;

	if (level > LOG_ERROR)
		return;
	va_start(args, format);
	vsnprintf(logged + n, sizeof(logged) - n, format, args);
	va_end(args);
}

REAL(ssize_t, pwrite, int fd, const void *bytes, size_t len, off_t offset)
{
	struct stat st;

	if (appending && fstat(fd, &st) == 0 && offset >= st.st_size) {
		errno = appending;
		return -1;
	}
	return __real_pwrite(fd, bytes, len, offset);
}

REAL(int, fallocate, int fd, int mode, off_t offset, off_t len)
{
	asked++;
	errno = setting_aside;
	return setting_aside ? -1 : __real_fallocate(fd, mode, offset, len);
}

REAL(int, statvfs, const char *path, struct statvfs *fs)
{
	int done = __real_statvfs(path, fs);

	fs->f_bavail = !no_blocks;
	fs->f_favail = !no_inodes;
	fs->f_files = !tells_of_no_inodes;
	return done;
}

static struct settings settings;
static const struct slice none = {NULL, 0};

static int begin(void **state)
{
	(void)state;
	appending = setting_aside = 0;
	no_blocks = no_inodes = tells_of_no_inodes = false;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 1000,
		.sync = SYNC_ALWAYS,
		.max_counters = 10,
		.max_items = 10,
	};
	assert_int_equal(store_open(&settings), 0);
	return 0;
}

static int end(void **state)
{
	(void)state;
	store_close();
	folder_remove();
	return 0;
}

static int visit(const char *name)
{
	struct tally t = {.counter = slice_of(name), .n = 1};

	store_add(&t, 1);
	return t.status;
}

static int make_item(void)
{
	struct item item = {.name = SLICE("x"), .description = none};

	store_items_create(&item, 1);
	return item.status;
}

static void make_all(void)
{
	assert_int_equal(visit(STORE_HOME), 0);
	assert_int_equal(visit("a"), 0);
	assert_int_equal(make_item(), 0);
}

#define assert_ill(name, error) assert_ill_at(name, error, __FILE__, __LINE__)

static void assert_ill_at(const char *name, int error, const char *file,
			  int line)
{
	char wanted[512];

	snprintf(wanted, sizeof(wanted), "cannot write %s: %s",
		 folder_path(name), strerror(error));
	_assert_int_equal((unsigned long)store_ping(), 503, file, line);
	_assert_string_equal(store_error(), wanted, file, line);
}

static off_t size_of(const char *name)
{
	struct stat st = {.st_size = -1};

	stat(folder_path(name), &st);
	return st.st_size;
}

static blkcnt_t blocks_of(const char *name)
{
	struct stat st;

	assert_int_equal(stat(folder_path(name), &st), 0);
	return st.st_blocks;
}

/* As long as all is well nothing is asked. */
static void test_nothing_is_asked(void **state)
{
	(void)state;
	make_all();
	asked = 0;
	assert_int_equal(store_ping(), 0);
	assert_int_equal(asked, 0);
}

/* An append has failed, of which the free space says nothing: a quota. */
static void test_last_append(void **state)
{
	static const char *const names[] = {"counters", "items"};

	(void)state;
	make_all();
	for (int i = 0; i < 2; i++) {
		appending = setting_aside = EDQUOT;
		assert_int_equal(i ? make_item() : visit("b"), 503);
		assert_int_equal(visit("a"), 0);
		assert_ill(names[i], EDQUOT);
		assert_ill(names[i], EDQUOT);
		assert_int_equal(visit(STORE_HOME), 0);
		/* Once there is room again it is well, with no append. */
		appending = setting_aside = 0;
		assert_int_equal(store_ping(), 0);
		asked = 0;
		assert_int_equal(store_ping(), 0);
		assert_int_equal(asked, 0);
	}
	/* So it is after an append that went well. */
	appending = ENOSPC;
	assert_int_equal(make_item(), 503);
	appending = 0;
	assert_int_equal(make_item(), 0);
	assert_int_equal(store_ping(), 0);
	assert_int_equal(asked, 0);
}

/* The disk is full before anybody has tried. */
static void test_free_space(void **state)
{
	(void)state;
	make_all();
	no_blocks = true;
	setting_aside = ENOSPC;
	assert_ill("counters", ENOSPC);
	no_blocks = false;
	assert_int_equal(store_ping(), 0);
	/* There is none, and there is room: an unlimited tmpfs. */
	setting_aside = 0;
	no_blocks = no_inodes = true;
	assert_int_equal(store_ping(), 0);
}

/* Inodes are needed for what is still to be made; that is always asked for. */
static void test_no_inodes(void **state)
{
	static const char *const names[] = {"visits", "counters", "items"};

	(void)state;
	for (int i = 0; i < 3; i++) {
		setting_aside = ENOSPC;
		assert_ill(names[i], ENOSPC);
		setting_aside = 0;
		assert_int_equal(store_ping(), 0);
		assert_int_equal(size_of(names[i]), -1);
		assert_int_equal(i == 0	  ? visit(STORE_HOME)
				 : i == 1 ? visit("a")
					  : make_item(),
				 0);
	}
	/* Without inodes, what is there may grow. */
	no_inodes = true;
	asked = 0;
	assert_int_equal(store_ping(), 0);
	assert_int_equal(asked, 2);
	tells_of_no_inodes = true; /* btrfs */
	assert_int_equal(store_ping(), 0);
	assert_int_equal(asked, 2);
}

/* The day needs a line, and then none any more. */
static void test_day(void **state)
{
	(void)state;
	make_all();
	assert_int_equal(unlink(folder_path("history")), 0);
	setting_aside = EDQUOT;
	assert_ill("history", EDQUOT);
	assert_int_equal(size_of("history"), -1);
	appending = EDQUOT;
	file_put_text(folder_path("history"), "2026-11-19 0\n");
	assert_int_equal(visit(STORE_HOME), 503);
	assert_ill("history", EDQUOT);
	appending = 0;
	assert_int_equal(visit(STORE_HOME), 0);
	assert_int_equal(store_ping(), 0);
}

/* An empty number grows, and one that is there does not. */
static void test_empty_number(void **state)
{
	(void)state;
	make_all();
	store_close();
	file_put_text(folder_path("visits"), "");
	assert_int_equal(store_open(&settings), 0);
	no_blocks = true;
	setting_aside = ENOSPC;
	assert_ill("visits", ENOSPC);
	assert_int_equal(size_of("visits"), 0);
}

/* A file system that cannot set bytes aside is believed. */
static void test_nothing_can_be_asked(void **state)
{
	(void)state;
	make_all();
	setting_aside = EOPNOTSUPP;
	no_blocks = true;
	assert_ill("counters", ENOSPC);
	no_blocks = false;
	appending = EDQUOT;
	assert_int_equal(make_item(), 503);
	assert_int_equal(store_ping(), 0);
}

/* Nothing is made, nothing grows, nothing that others append is cut off. */
static void test_nothing_changes(void **state)
{
	(void)state;
	no_blocks = true;
	assert_int_equal(store_ping(), 0);
	assert_int_equal(size_of("visits"), -1);
	assert_int_equal(size_of("history"), -1);
	assert_int_equal(size_of("counters"), -1);
	assert_int_equal(size_of("items"), -1);
	make_all();
	/* The next row needs a page of its own. */
	for (char c = 'b'; c <= 'h'; c++)
		assert_int_equal(visit((char[]){c, '\0'}), 0);
	assert_int_equal(size_of("counters"), 4096);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "items" : "counters";
		off_t size = size_of(name);
		blkcnt_t blocks = blocks_of(name);

		assert_int_equal(store_ping(), 0);
		assert_int_equal(size_of(name), size);
		assert_int_equal(blocks_of(name), blocks);
	}
	/* Somebody is about to append. */
	int fd = open(folder_path("items"), O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	asked = 0;
	assert_int_equal(store_ping(), 503);
	assert_int_equal(asked, 1);
	close(fd);
	assert_int_equal(store_ping(), 0);
}

/* Told once, though visits in place work meanwhile. */
static void test_told_once(void **state)
{
	(void)state;
	make_all();
	*logged = '\0';
	no_blocks = true;
	setting_aside = ENOSPC;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_ping(), 503);
		make_all();
	}
	const char *first = strstr(logged, "cannot write");
	assert_non_null(first);
	assert_null(strstr(first + 1, "cannot write"));
}

/* What one worker was told, the others know. The master shares it, so a process
 * of its own tries it. */
static void test_other_workers(void **state)
{
	int status;

	(void)state;
	make_all();
	pid_t master = fork();
	if (master == 0) {
		store_close();
		if (store_prepare(&settings))
			_exit(2);
		appending = setting_aside = EDQUOT;
		pid_t worker = fork();
		if (worker == 0)
			_exit(store_open(&settings) || make_item() != 503);
		if (waitpid(worker, &status, 0) != worker || status)
			_exit(3);
		appending = 0; /* of the master's own files */
		_exit(store_open(&settings) || visit(STORE_HOME) ||
		      store_ping() != 503 || !strstr(store_error(), "items"));
	}
	assert_int_equal(waitpid(master, &status, 0), master);
	assert_int_equal(status, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_is_asked),
		TEST(test_last_append),
		TEST(test_free_space),
		TEST(test_no_inodes),
		TEST(test_day),
		TEST(test_empty_number),
		TEST(test_nothing_can_be_asked),
		TEST(test_nothing_changes),
		TEST(test_told_once),
		TEST(test_other_workers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
