/*
 * The contract of store.h about counters with names, for every store; with
 * another process that uses the same store.
 */
#include "store/store.h"
#include "tests/unit/backend.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct settings settings;

/* An empty store, open, with room for three counters. */
static int begin(void **state)
{
	(void)state;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 5000,
		.max_counters = 3,
		.sync = SYNC_ALWAYS,
	};
	backend_begin(&settings);
	return store_open(&settings);
}

static int end(void **state)
{
	(void)state;
	store_close();
	backend_end();
	folder_remove();
	return 0;
}

static void assert_tally(struct tally t, int64_t total, int64_t today,
			 bool is_new)
{
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, total);
	assert_int_equal(t.today, today);
	assert_int_equal(t.is_new, is_new);
}

/*
 * Another process, which adds what it is told to.
 */

struct other {
	pid_t pid;
	int line;
};

struct order {
	char counter[STORE_NAME_MAX + 1];
	int64_t n;
};

static void obey(int line)
{
	struct order order;

	if (store_open(&settings) != 0)
		_exit(1);
	while (read(line, &order, sizeof(order)) == sizeof(order)) {
		struct tally t = add(order.counter, order.n);

		if (write(line, &t, sizeof(t)) != sizeof(t))
			_exit(1);
	}
	store_close();
	_exit(0);
}

static struct other other_begin(void)
{
	struct other other;
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	other.pid = fork();
	assert_true(other.pid >= 0);
	if (other.pid == 0) {
		close(ends[0]);
		obey(ends[1]);
	}
	close(ends[1]);
	other.line = ends[0];
	return other;
}

static struct tally other_add(struct other other, const char *counter,
			      int64_t n)
{
	struct order order = {.n = n};
	struct tally t;

	snprintf(order.counter, sizeof(order.counter), "%s", counter);
	assert_int_equal(write(other.line, &order, sizeof(order)),
			 sizeof(order));
	assert_int_equal(read(other.line, &t, sizeof(t)), sizeof(t));
	return t;
}

static void other_end(struct other other)
{
	int status;

	close(other.line);
	assert_int_equal(waitpid(other.pid, &status, 0), other.pid);
	assert_int_equal(status, 0);
}

/*
 * The tests
 */

static void test_counts(void **state)
{
	(void)state;
	assert_tally(add("a", 1), 1, 1, true);
	assert_tally(add("a", 5), 6, 6, false);
	assert_tally(add("a", 0), 6, 6, false);
	assert_tally(add("a/b", 2), 2, 2, true);
	assert_tally(add("A", 3), 3, 3, true);
	assert_tally(add("a", 1), 7, 7, false);
	assert_tally(add(STORE_HOME, 1), 1, 1, false);
}

static void test_reads_create_nothing(void **state)
{
	(void)state;
	assert_int_equal(add("a", 0).status, 404);
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_int_equal(add(STORE_HOME, 0).status, 0);
	assert_false(backend_has_something());
}

static void test_longest_name(void **state)
{
	char names[2][STORE_NAME_MAX + 1];

	(void)state;
	for (int i = 0; i < 2; i++) {
		memset(names[i], 'x', STORE_NAME_MAX);
		names[i][STORE_NAME_MAX - 1] = (char)('a' + i);
		names[i][STORE_NAME_MAX] = '\0';
		assert_tally(add(names[i], 1), 1, 1, true);
		assert_tally(add(names[i], 1), 2, 2, false);
	}
	assert_tally(add(names[0], 0), 2, 2, false);
}

static void test_set(void **state)
{
	(void)state;
	assert_int_equal(store_set(SLICE("a"), 1000), 0);
	assert_tally(add("a", 0), 1000, 0, false);
	assert_tally(add("a", 2), 1002, 2, false);
	assert_int_equal(store_set(SLICE("a"), INT64_MAX - 1), 0);
	assert_tally(add("a", 1), INT64_MAX, 3, false);
	assert_int_equal(add("a", 1).status, 503);
	assert_int_equal(store_set(SLICE("a"), 0), 0);
	assert_int_equal(add("a", 0).total, 0);
	assert_int_equal(store_set(SLICE("a"), INT64_MAX), 0);
	assert_int_equal(add("a", 0).total, INT64_MAX);
}

static void test_one_that_is_full_alone(void **state)
{
	struct tally turn[] = {
		{.counter = SLICE_INIT("a"), .n = 1},
		{.counter = SLICE_INIT("full"), .n = 1},
		{.counter = SLICE_INIT("b"), .n = 1},
	};

	(void)state;
	assert_int_equal(store_set(SLICE("full"), INT64_MAX), 0);
	for (int i = 1; i <= 2; i++) {
		store_add(turn, 3);
		assert_tally(turn[0], i, i, i == 1);
		assert_int_equal(turn[1].status, 503);
		assert_string_equal(turn[1].error, "counter is full");
		assert_tally(turn[2], i, i, i == 1);
	}
}

static void test_drop(void **state)
{
	(void)state;
	add("a", 5);
	add("b", 5);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(add("a", 0).status, 404);
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_tally(add("a", 2), 2, 2, true);
	assert_tally(add("a", 2), 4, 4, false);
	assert_tally(add("b", 1), 6, 6, false);
	assert_int_equal(store_drop(SLICE(STORE_HOME)), 404);
}

static void test_limit(void **state)
{
	(void)state;
	assert_tally(add("a", 1), 1, 1, true);
	assert_int_equal(store_set(SLICE("b"), 1), 0);
	assert_tally(add("c", 1), 1, 1, true);
	assert_int_equal(add("d", 1).status, 507);
	assert_int_equal(store_set(SLICE("d"), 1), 507);
	assert_int_equal(add("d", 0).status, 404);
	assert_tally(add("a", 1), 2, 2, false);
	assert_int_equal(store_set(SLICE("a"), 9), 0);
	assert_tally(add(STORE_HOME, 1), 1, 1, false);
	assert_int_equal(store_drop(SLICE("b")), 0);
	assert_tally(add("d", 1), 1, 1, true);
	assert_int_equal(add("b", 1).status, 507);
}

static void test_limit_within_a_turn(void **state)
{
	struct tally turn[] = {
		{.counter = SLICE_INIT("a"), .n = 1},
		{.counter = SLICE_INIT(STORE_HOME), .n = 1},
		{.counter = SLICE_INIT("b"), .n = 1},
		{.counter = SLICE_INIT("c"), .n = 1},
		{.counter = SLICE_INIT("d"), .n = 1},
		{.counter = SLICE_INIT("e"), .n = 0},
	};
	int made = 0;

	(void)state;
	store_add(turn, 6);
	for (int i = 0; i < 5; i++)
		made += turn[i].status == 0;
	assert_int_equal(made, 4);
	assert_int_equal(turn[1].status, 0);
	assert_int_equal(turn[5].status, 404);
}

enum { MANY = 3000 };

static void test_turn_of_many(void **state)
{
	static struct tally turn[MANY];
	static char names[MANY][24];

	(void)state;
	settings.max_counters = MANY;
	for (int round = 1; round <= 3; round++) {
		for (int i = 0; i < MANY; i++) {
			snprintf(names[i], sizeof(names[i]), "page/%d", i);
			turn[i] = (struct tally){.counter = slice_of(names[i]),
						 .n = 1 + i % 3};
		}
		store_add(turn, MANY);
		for (int i = 0; i < MANY; i++)
			assert_tally(turn[i], round * (1 + i % 3),
				     round * (1 + i % 3), round == 1);
	}
	assert_int_equal(add("one-more", 1).status, 507);
}

struct told {
	char text[256];
	size_t len, count;
};

static void tell(struct slice counter, int64_t total, void *context)
{
	struct told *told = context;

	told->count++;
	if (told->count <= 4)
		told->len += (size_t)snprintf(told->text + told->len,
					      sizeof(told->text) - told->len,
					      "%.*s %lld\n", (int)counter.n,
					      counter.p, (long long)total);
}

static void test_each(void **state)
{
	struct told told = {.len = 0};

	(void)state;
	add("b", 2);
	add("a/b", 3);
	add("c", 1);
	store_drop(SLICE("c"));
	add(STORE_HOME, 7);
	assert_int_equal(store_each(tell, &told), 0);
	assert_int_equal(told.count, 3);
	assert_ptr_equal(strstr(told.text, "homepage 7\n"), told.text);
	assert_non_null(strstr(told.text, "\nb 2\n"));
	assert_non_null(strstr(told.text, "\na/b 3\n"));
}

static void test_each_of_many(void **state)
{
	static struct tally turn[MANY];
	static char names[MANY][24];
	struct told told = {.len = 0};

	(void)state;
	settings.max_counters = MANY;
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "%d", i);
		turn[i] = (struct tally){.counter = slice_of(names[i]), .n = 1};
	}
	store_add(turn, MANY);
	add(STORE_HOME, 1);
	assert_int_equal(store_each(tell, &told), 0);
	assert_int_equal(told.count, MANY + 1);
}

/* What one process does, another one that knows the counter sees at once. */
static void test_other_process(void **state)
{
	struct other other = other_begin();

	(void)state;
	assert_tally(add("a", 1), 1, 1, true);
	assert_tally(other_add(other, "a", 1), 2, 2, false);
	assert_tally(add("a", 1), 3, 3, false);
	assert_int_equal(store_set(SLICE("a"), 100), 0);
	assert_tally(other_add(other, "a", 1), 101, 4, false);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(other_add(other, "a", 0).status, 404);
	assert_tally(other_add(other, "a", 2), 2, 2, true);
	assert_tally(other_add(other, "a", 1), 3, 3, false);
	assert_tally(add("a", 1), 4, 4, false);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_tally(add("a", 5), 5, 5, true);
	assert_tally(other_add(other, "a", 1), 6, 6, false);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(store_set(SLICE("a"), 50), 0);
	assert_tally(other_add(other, "a", 1), 51, 1, false);
	other_end(other);
}

/* A counter that is known to another process and dropped takes no room. */
static void test_limit_and_other_process(void **state)
{
	struct other other = other_begin();

	(void)state;
	assert_int_equal(other_add(other, "a", 1).status, 0);
	assert_int_equal(other_add(other, "b", 1).status, 0);
	assert_int_equal(other_add(other, "c", 1).status, 0);
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(add("d", 1).status, 0);
	assert_int_equal(other_add(other, "a", 1).status, 507);
	assert_int_equal(other_add(other, "a", 0).status, 404);
	assert_tally(other_add(other, "d", 1), 2, 2, false);
	other_end(other);
}

enum { PROCESSES = 6, TURNS = 150, COUNTERS = 5, TOTAL_MAX = 8192 };

struct shared {
	int answered[COUNTERS][TOTAL_MAX];
	int made[COUNTERS];
};

static int work(struct shared *shared, uint64_t seed)
{
	static const char *const names[COUNTERS] = {"a", "b", "c", "d", "e"};
	struct tally turn[COUNTERS];

	if (store_open(&settings) != 0)
		return 1;
	for (int i = 0; i < TURNS; i++) {
		for (int c = 0; c < COUNTERS; c++)
			turn[c] = (struct tally){
				.counter = slice_of(names[c]),
				.n = (int64_t)(random_next(&seed) % 3)};
		store_add(turn, COUNTERS);
		for (int c = 0; c < COUNTERS; c++) {
			struct tally *t = &turn[c];

			if (t->n == 0)
				continue;
			if (t->status || t->today != t->total)
				return 1;
			__atomic_add_fetch(&shared->made[c], t->is_new,
					   __ATOMIC_RELAXED);
			for (int64_t k = t->total - t->n; k < t->total; k++)
				__atomic_add_fetch(&shared->answered[c][k], 1,
						   __ATOMIC_RELAXED);
		}
	}
	store_close();
	return 0;
}

static void test_many_processes(void **state)
{
	struct shared *shared =
		mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];
	int status;

	(void)state;
	assert_ptr_not_equal(shared, MAP_FAILED);
	settings.max_counters = COUNTERS;
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(work(shared, (uint64_t)i + 1));
	}
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
	}
	for (int c = 0; c < COUNTERS; c++) {
		int k = 0;

		while (shared->answered[c][k] == 1)
			k++;
		assert_int_equal(shared->made[c], 1);
		assert_true(k > PROCESSES * TURNS / 2);
		for (; k < TOTAL_MAX; k++)
			assert_int_equal(shared->answered[c][k], 0);
	}
	munmap(shared, sizeof(*shared));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_counts),
		TEST(test_reads_create_nothing),
		TEST(test_longest_name),
		TEST(test_set),
		TEST(test_one_that_is_full_alone),
		TEST(test_drop),
		TEST(test_limit),
		TEST(test_limit_within_a_turn),
		TEST(test_turn_of_many),
		TEST(test_each),
		TEST(test_each_of_many),
		TEST(test_other_process),
		TEST(test_limit_and_other_process),
		TEST(test_many_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
