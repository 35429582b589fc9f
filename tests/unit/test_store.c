/*
 * The contract of store.h. Which store this is, only backend.h knows.
 */
#include "store/store.h"
#include "tests/unit/backend.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct settings settings;

/* An empty store, not open. */
static int store_begin(void **state)
{
	(void)state;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 5000,
		.sync = SYNC_ALWAYS,
	};
	backend_begin(&settings);
	return 0;
}

static int store_end(void **state)
{
	(void)state;
	backend_end();
	folder_remove();
	return 0;
}

static struct tally add(const char *counter, int64_t n)
{
	struct tally t = {.counter = slice_of(counter),
			  .n = n,
			  .total = -1,
			  .today = -1,
			  .status = -1};

	store_add(&t, 1);
	if (t.status)
		assert_true(t.error && *t.error);
	return t;
}

static struct tally add_home(int64_t n)
{
	return add(STORE_HOME, n);
}

static void assert_total(int64_t total, int64_t today)
{
	struct tally t = add_home(0);

	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, total);
	assert_int_equal(t.today, today);
}

static void test_counts(void **state)
{
	struct tally t;

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	t = add_home(1);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, 1);
	assert_int_equal(t.today, 1);
	t = add_home(1000);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, 1001);
	assert_int_equal(t.today, 1001);
	assert_total(1001, 1001);
	assert_total(1001, 1001);
	store_close();
}

static void test_reads_create_nothing(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_total(0, 0);
	assert_int_equal(add("nobody/was-here", 0).status, 404);
	store_tick();
	assert_total(0, 0);
	store_close();
	assert_false(backend_has_something());
}

static void test_reopened(void **state)
{
	(void)state;
	for (int64_t i = 1; i <= 5; i++) {
		assert_int_equal(store_open(&settings), 0);
		struct tally t = add_home(2);
		assert_int_equal(t.status, 0);
		assert_int_equal(t.total, 2 * i);
		assert_int_equal(t.today, 2 * i);
		store_close();
	}
}

static void test_set(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 1000), 0);
	assert_total(1000, 0);
	assert_int_equal(add_home(3).total, 1003);
	assert_total(1003, 3);
	assert_int_equal(store_set(SLICE(STORE_HOME), 5), 0);
	assert_int_equal(add_home(0).total, 5);
	assert_int_equal(add_home(1).total, 6);
	assert_int_equal(add_home(0).today, 4);
	assert_int_equal(store_set(SLICE(STORE_HOME), 0), 0);
	assert_int_equal(add_home(0).total, 0);
	assert_int_equal(add_home(1).total, 1);
	assert_int_equal(store_set(SLICE(STORE_HOME), INT64_MAX), 0);
	assert_int_equal(add_home(0).total, INT64_MAX);
	store_close();
}

/* Setting a total is no visit: today's stay what they are. */
static void test_set_keeps_today(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	add_home(7);
	for (int64_t value = 1; value < INT64_MAX / 1000; value *= 1000) {
		assert_int_equal(store_set(SLICE(STORE_HOME), value + 7), 0);
		assert_total(value + 7, 7);
	}
	store_close();
}

static void test_overflow(void **state)
{
	struct tally t;

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), INT64_MAX - 2), 0);
	t = add_home(3);
	assert_int_equal(t.status, 503);
	assert_string_equal(t.error, "counter is full");
	assert_int_equal(add_home(0).total, INT64_MAX - 2);
	t = add_home(2);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, INT64_MAX);
	t = add_home(1);
	assert_int_equal(t.status, 503);
	assert_string_equal(t.error, "counter is full");
	t = add_home(INT64_MAX);
	assert_int_equal(t.status, 503);
	/* It is one counter that is full, and not the store that is down. */
	assert_int_equal(add_home(0).status, 0);
	assert_int_equal(add_home(0).total, INT64_MAX);
	assert_int_equal(store_ping(), 0);
	assert_int_equal(store_set(SLICE(STORE_HOME), 8), 0);
	assert_int_equal(add_home(1).total, 9);
	store_close();
}

static void test_unknown_counter(void **state)
{
	static const char *const names[] = {"a", "homepag", "homepage2",
					    "HOMEPAGE", "a/b"};

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	add_home(3);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_int_equal(add(names[i], 0).status, 404);
	assert_total(3, 3);
	store_close();
}

/* A turn's tallies are independent of each other. */
static void test_turn_of_several(void **state)
{
	struct tally turn[] = {
		{.counter = SLICE_INIT("a"), .n = 0},
		{.counter = SLICE_INIT(STORE_HOME), .n = 5},
		{.counter = SLICE_INIT("b"), .n = 0},
	};

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	store_add(turn, 0);
	assert_total(0, 0);
	store_add(turn, 3);
	assert_int_equal(turn[0].status, 404);
	assert_int_equal(turn[1].status, 0);
	assert_int_equal(turn[1].total, 5);
	assert_int_equal(turn[2].status, 404);
	assert_total(5, 5);
	store_close();
}

static void test_ping(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_ping(), 0);
	assert_total(0, 0);
	assert_int_equal(add_home(3).total, 3);
	assert_int_equal(store_ping(), 0);
	assert_total(3, 3);
	store_close();
}

static void test_tick(void **state)
{
	(void)state;
	for (int sync = SYNC_ALWAYS; sync <= SYNC_NO; sync++) {
		settings.sync = sync;
		assert_int_equal(store_open(&settings), 0);
		assert_int_equal(store_tick(), -1);
		assert_int_equal(add_home(1).status, 0);
		for (int i = 0; i < 3; i++) {
			int wait = store_tick();

			assert_true(wait == -1 || (wait > 0 && wait <= 1000));
			assert_true(sync == SYNC_EVERYSEC || wait == -1);
		}
		store_close();
	}
	assert_int_equal(store_open(&settings), 0);
	assert_total(3, 3);
	store_close();
}

enum {
	PROCESSES = 8,
	TURNS = 400,
	NUMBERS_MAX = PROCESSES * TURNS * 8,
};

struct shared {
	int answered[NUMBERS_MAX + 1]; /* how often each number was */
	int failures;
};

/* One worker: turns of 1 to 7 visits, with reads between. */
static int work(struct shared *shared, uint64_t seed)
{
	int64_t before = 0;

	if (store_open(&settings) != 0)
		return 1;
	for (int i = 0; i < TURNS; i++) {
		int64_t n = (int64_t)(random_next(&seed) % 8);
		struct tally t = add_home(n);

		if (t.status || t.total < before + n || t.total > NUMBERS_MAX ||
		    t.today != t.total)
			return 1;
		before = t.total;
		for (int64_t k = t.total - n + 1; k <= t.total; k++)
			__atomic_add_fetch(&shared->answered[k], 1,
					   __ATOMIC_RELAXED);
	}
	store_close();
	return 0;
}

static void run_processes(struct shared *shared)
{
	pid_t pids[PROCESSES];

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(work(shared, (uint64_t)i + 1));
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		shared->failures += status != 0;
	}
}

/* The numbers answered are 1 .. N, each once. */
static void test_many_processes(void **state)
{
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int64_t n = 0;

	(void)state;
	assert_ptr_not_equal(shared, MAP_FAILED);
	run_processes(shared);
	assert_int_equal(shared->failures, 0);
	while (n < NUMBERS_MAX && shared->answered[n + 1] == 1)
		n++;
	for (int64_t k = n + 1; k <= NUMBERS_MAX; k++)
		assert_int_equal(shared->answered[k], 0);
	assert_true(n > PROCESSES * TURNS);
	assert_int_equal(store_open(&settings), 0);
	assert_total(n, n);
	store_close();
	munmap(shared, sizeof(*shared));
}

static void test_has_name(void **state)
{
	(void)state;
	assert_true(*store_name);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, store_begin, store_end)
	const struct CMUnitTest tests[] = {
		TEST(test_counts),
		TEST(test_reads_create_nothing),
		TEST(test_reopened),
		TEST(test_set),
		TEST(test_set_keeps_today),
		TEST(test_overflow),
		TEST(test_unknown_counter),
		TEST(test_turn_of_several),
		TEST(test_ping),
		TEST(test_tick),
		TEST(test_many_processes),
		TEST(test_has_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
