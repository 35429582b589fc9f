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
		.max_counters = 1000,
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
	assert_int_equal(store_drop(SLICE("nobody/was-here")), 404);
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

/*
 * Counters with names
 */

static void assert_named(const char *name, int64_t n, int64_t total,
			 int64_t today, bool is_new)
{
	struct tally t = add(name, n);

	if (t.status)
		print_error("%s: %d %s\n", name, t.status, t.error);
	assert_int_equal(t.status, 0);
	assert_int_equal(t.total, total);
	assert_int_equal(t.today, today);
	assert_int_equal(t.is_new, is_new);
}

static void test_named(void **state)
{
	char longest[STORE_NAME_MAX + 1];

	(void)state;
	memset(longest, 'x', STORE_NAME_MAX);
	longest[STORE_NAME_MAX] = '\0';
	const char *const names[] = {"a", "A", "a/b", "-._~", "42", longest};

	for (int round = 0; round < 3; round++) {
		assert_int_equal(store_open(&settings), 0);
		for (int i = 0; i < 6; i++) {
			int64_t before = round * (i + 2);

			if (round == 0)
				assert_int_equal(add(names[i], 0).status, 404);
			else
				assert_named(names[i], 0, before, before,
					     false);
			assert_named(names[i], 1, before + 1, before + 1,
				     round == 0);
			assert_named(names[i], i + 1, before + i + 2,
				     before + i + 2, false);
		}
		assert_total(0, 0);
		store_close();
	}
}

/* Each tally of a turn by itself, whatever becomes of the others. */
static void test_named_turn(void **state)
{
	struct tally turn[] = {
		{.counter = SLICE_INIT("none"), .n = 0},
		{.counter = SLICE_INIT("a"), .n = 2},
		{.counter = SLICE_INIT("full"), .n = 2},
		{.counter = SLICE_INIT(STORE_HOME), .n = 3},
		{.counter = SLICE_INIT("new"), .n = 4},
		{.counter = SLICE_INIT("read"), .n = 0},
	};

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_named("a", 1, 1, 1, true);
	assert_named("read", 5, 5, 5, true);
	assert_int_equal(store_set(SLICE("full"), INT64_MAX - 1), 0);
	for (int64_t i = 1; i <= 3; i++) {
		store_add(turn, 6);
		assert_int_equal(turn[0].status, 404);
		assert_int_equal(turn[1].status, 0);
		assert_int_equal(turn[1].total, 1 + 2 * i);
		assert_int_equal(turn[2].status, 503);
		assert_string_equal(turn[2].error, "counter is full");
		assert_int_equal(turn[3].status, 0);
		assert_int_equal(turn[3].total, 3 * i);
		assert_int_equal(turn[4].status, 0);
		assert_int_equal(turn[4].total, 4 * i);
		assert_int_equal(turn[4].is_new, i == 1);
		assert_int_equal(turn[5].status, 0);
		assert_int_equal(turn[5].total, 5);
	}
	assert_named("full", 1, INT64_MAX, 1, false);
	assert_int_equal(store_ping(), 0);
	store_close();
}

static void test_named_set(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_set(SLICE("a"), 1000), 0);
	assert_named("a", 0, 1000, 0, false);
	assert_named("a", 3, 1003, 3, false);
	assert_int_equal(store_set(SLICE("a"), 5), 0);
	assert_named("a", 1, 6, 4, false);
	/* A total of 0 is a total, too. */
	assert_int_equal(store_set(SLICE("b"), 0), 0);
	assert_named("b", 0, 0, 0, false);
	assert_named("b", 1, 1, 1, false);
	assert_total(0, 0);
	store_close();
}

static void test_drop(void **state)
{
	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_drop(SLICE("a")), 404);
	assert_true(*store_error());
	assert_named("a", 7, 7, 7, true);
	assert_named("b", 5, 5, 5, true);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(store_drop(SLICE("a")), 0);
		assert_int_equal(add("a", 0).status, 404);
		assert_int_equal(store_drop(SLICE("a")), 404);
		assert_named("a", 2, 2, 2, true);
	}
	assert_int_equal(store_drop(SLICE("a")), 0);
	assert_int_equal(store_set(SLICE("a"), 9), 0);
	assert_named("a", 1, 10, 1, false);
	assert_named("b", 0, 5, 5, false);
	/* The home counter stays. */
	add_home(3);
	assert_int_equal(store_drop(SLICE(STORE_HOME)), 404);
	assert_total(3, 3);
	store_close();
}

static void test_no_room(void **state)
{
	struct tally t;

	(void)state;
	settings.max_counters = 3;
	assert_int_equal(store_open(&settings), 0);
	assert_named("a", 1, 1, 1, true);
	assert_named("b", 1, 1, 1, true);
	assert_named("c", 1, 1, 1, true);
	t = add("d", 1);
	assert_int_equal(t.status, 507);
	assert_non_null(strstr(t.error, "MAX_COUNTERS"));
	assert_int_equal(store_set(SLICE("d"), 1), 507);
	assert_int_equal(add("d", 0).status, 404);
	assert_named("b", 1, 2, 2, false);
	assert_int_equal(store_set(SLICE("c"), 8), 0);
	assert_named(STORE_HOME, 1, 1, 1, false);
	assert_int_equal(store_drop(SLICE("b")), 0);
	assert_named("d", 1, 1, 1, true);
	assert_int_equal(add("b", 1).status, 507);
	assert_named("a", 1, 2, 2, false);
	assert_named("c", 1, 9, 2, false);
	store_close();
}

struct heard {
	int len;
	bool home_is_first;
	int64_t totals[64]; /* of n0, n1, ... */
};

static void hear(struct slice counter, int64_t total, void *context)
{
	struct heard *heard = context;
	int i;

	if (slice_equal(counter, SLICE(STORE_HOME))) {
		heard->home_is_first = heard->len == 0 && total == 77;
	} else {
		assert_true(counter.n >= 2 && counter.p[0] == 'n');
		i = counter.p[1] - '0';
		if (counter.n > 2)
			i = i * 10 + counter.p[2] - '0';
		assert_in_range(i, 0, 63);
		assert_int_equal(heard->totals[i], 0);
		heard->totals[i] = total;
	}
	heard->len++;
}

static void test_each(void **state)
{
	struct heard heard = {.len = 0};
	char name[32];

	(void)state;
	assert_int_equal(store_open(&settings), 0);
	assert_int_equal(store_each(hear, &heard), 0);
	assert_int_equal(heard.len, 0);
	add_home(77);
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_named(name, i + 1, i + 1, i + 1, true);
	}
	assert_int_equal(store_drop(SLICE("n7")), 0);
	assert_int_equal(store_each(hear, &heard), 0);
	assert_true(heard.home_is_first);
	assert_int_equal(heard.len, 60);
	for (int i = 0; i < 60; i++)
		assert_int_equal(heard.totals[i], i == 7 ? 0 : i + 1);
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

/*
 * Many processes with many names: some are dropped now and then, and one is
 * set. A life of a counter is what lies between two drops.
 */
enum {
	NAMES = 40,
	DROPPED = 4, /* of them, the first ones */
	NAMED_TURNS = 400,
	NAME_MAX_TOTAL = 4000,
	IN_TURN = 8,
};

struct names {
	/* how often each number was answered, and how many were */
	int answered[NAMES][NAME_MAX_TOTAL + 1];
	int64_t sum[NAMES];
	int births[NAMES], drops[NAMES];
};

static void add_up(struct names *names, int i, const struct tally *t)
{
	for (int64_t k = t->total - t->n + 1; k <= t->total; k++)
		__atomic_add_fetch(&names->answered[i][k], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&names->sum[i], t->n, __ATOMIC_RELAXED);
	if (t->n > 0 && t->is_new)
		__atomic_add_fetch(&names->births[i], 1, __ATOMIC_RELAXED);
}

static bool is_right(const struct tally *t)
{
	if (t->status == 404)
		return t->n == 0;
	return t->status == 0 && t->total >= t->n &&
	       t->total <= NAME_MAX_TOTAL && t->today == t->total &&
	       (t->n == 0 || t->is_new == (t->total == t->n));
}

/* A turn of different names, from anywhere in the list on. */
static bool turn_of_names(struct names *names, uint64_t *seed)
{
	char text[IN_TURN][32];
	struct tally turn[IN_TURN];
	int first = (int)(random_next(seed) % NAMES);

	for (int k = 0; k < IN_TURN; k++) {
		snprintf(text[k], sizeof(text[k]), "name/%d",
			 (first + k) % NAMES);
		turn[k] = (struct tally){.counter = slice_of(text[k]),
					 .n = (int64_t)(random_next(seed) % 4)};
	}
	store_add(turn, IN_TURN);
	for (int k = 0; k < IN_TURN; k++) {
		if (!is_right(&turn[k]))
			return false;
		if (turn[k].status == 0)
			add_up(names, (first + k) % NAMES, &turn[k]);
	}
	return true;
}

/* A counter of this process alone goes on from what it is set to. */
static bool set_own(uint64_t process, int i)
{
	char text[32];

	snprintf(text, sizeof(text), "own/%d", (int)process);
	if (store_set(slice_of(text), 100 - i % 100) != 0)
		return false;
	struct tally t = add(text, 3);
	return t.status == 0 && t.total == 103 - i % 100 && !t.is_new;
}

static int work_on_names(struct names *names, uint64_t seed)
{
	char text[32];
	uint64_t first = seed;

	if (store_open(&settings) != 0)
		return 1;
	for (int i = 0; i < NAMED_TURNS; i++) {
		int name = (int)(random_next(&seed) % DROPPED);

		if (!turn_of_names(names, &seed))
			return 1;
		if (i % 10)
			continue;
		if (!set_own(first, i))
			return 1;
		snprintf(text, sizeof(text), "name/%d", name);
		int status = store_drop(slice_of(text));
		if (status == 0)
			__atomic_add_fetch(&names->drops[name], 1,
					   __ATOMIC_RELAXED);
		else if (status != 404)
			return 1;
	}
	store_close();
	return 0;
}

static void check_names(const struct names *names)
{
	char text[32];

	for (int i = 0; i < NAMES; i++) {
		int64_t n = 0;

		snprintf(text, sizeof(text), "name/%d", i);
		struct tally t = add(text, 0);
		/* Each life begins once, and ends once but for the last. */
		assert_int_equal(names->births[i],
				 names->drops[i] + (t.status == 0));
		/* A number at most once in each of them. */
		for (int k = 1; k <= NAME_MAX_TOTAL; k++) {
			assert_true(names->answered[i][k] <= names->births[i]);
			assert_true(k == 1 ||
				    names->answered[i][k] <=
					    names->answered[i][k - 1]);
			n += names->answered[i][k];
		}
		assert_int_equal(names->answered[i][1], names->births[i]);
		assert_int_equal(n, names->sum[i]);
		if (i < DROPPED)
			continue;
		assert_int_equal(t.status, 0);
		assert_int_equal(t.total, names->sum[i]);
		assert_int_equal(names->answered[i][t.total], 1);
	}
}

static void test_many_names(void **state)
{
	struct names *names = mmap(NULL, sizeof(*names), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pids[PROCESSES];
	int failures = 0;

	(void)state;
	assert_ptr_not_equal(names, MAP_FAILED);
	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] == 0)
			_exit(work_on_names(names, (uint64_t)i + 1));
	}
	for (int i = 0; i < PROCESSES; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		failures += status != 0;
	}
	assert_int_equal(failures, 0);
	assert_int_equal(store_open(&settings), 0);
	check_names(names);
	store_close();
	munmap(names, sizeof(*names));
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
		TEST(test_named),
		TEST(test_named_turn),
		TEST(test_named_set),
		TEST(test_drop),
		TEST(test_no_room),
		TEST(test_each),
		TEST(test_many_processes),
		TEST(test_many_names),
		TEST(test_has_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
