/*
 * table [ROUNDS [WORKERS [SEED]]]: kill -9 under load, of the named counters
 * alone. Workers count many names through the calls of store.h, drop some of
 * them and make new ones, so that the table is compacted all the time; what
 * they were answered stands in memory that outlives them. After each kill no
 * number was answered twice, none is above its counter's total, and no name is
 * in the file twice. In DATA_DIR, or a folder of its own under TMPDIR.
 */
#include "store/file/row.h"
#include "store/store.h"
#include "util/log.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	NAMES = 24,
	PASSING = 8, /* names that come and go, in room for fewer of them */
	IN_TURN = 6,
	NUMBERS = 1 << 20, /* of a counter, at most */
	WORKERS_MAX = 64,
	FILE_MAX = 1 << 20,
};

struct answers {
	unsigned char times[NAMES][NUMBERS];
	int64_t highest[NAMES];
	int64_t turns, refused;
};

static struct answers *answers;
static struct settings settings;

static uint64_t next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 2685821657736338717u >> 16;
}

static void note_tally(int i, const struct tally *t)
{
	if (t->status) {
		__atomic_add_fetch(&answers->refused, 1, __ATOMIC_RELAXED);
		return;
	}
	if (t->total >= NUMBERS)
		_exit(3);
	for (int64_t k = t->total - t->n + 1; k <= t->total; k++)
		__atomic_add_fetch(&answers->times[i][k], 1, __ATOMIC_RELAXED);
	int64_t before =
		__atomic_load_n(&answers->highest[i], __ATOMIC_RELAXED);
	while (before < t->total &&
	       !__atomic_compare_exchange_n(&answers->highest[i], &before,
					    t->total, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED))
		;
}

static void one_turn(uint64_t *seed)
{
	char names[IN_TURN][32];
	struct tally turn[IN_TURN];
	int first = (int)(next(seed) % NAMES);

	for (int k = 0; k < IN_TURN; k++) {
		snprintf(names[k], sizeof(*names), "n/%d", (first + k) % NAMES);
		turn[k] = (struct tally){.counter = slice_of(names[k]),
					 .n = (int64_t)(next(seed) % 3)};
	}
	store_add(turn, IN_TURN);
	for (int k = 0; k < IN_TURN; k++)
		note_tally((first + k) % NAMES, &turn[k]);
	__atomic_add_fetch(&answers->turns, 1, __ATOMIC_RELAXED);
}

static void come_and_go(uint64_t *seed)
{
	char name[32];

	snprintf(name, sizeof(name), "passing/%d", (int)(next(seed) % PASSING));
	struct tally t = {.counter = slice_of(name), .n = 1};
	store_add(&t, 1);
	if (t.status == 0 && next(seed) % 2)
		store_drop(t.counter);
}

static void work(uint64_t seed)
{
	if (store_open(&settings) != 0)
		_exit(2);
	for (;;) {
		one_turn(&seed);
		if (next(&seed) % 8 == 0)
			come_and_go(&seed);
	}
}

static int complain(const char *what, int name, int64_t a, int64_t b)
{
	printf("n/%d: %s (%lld, %lld)\n", name, what, (long long)a,
	       (long long)b);
	return 1;
}

static int check_numbers(void)
{
	int faults = 0;

	if (store_open(&settings) != 0) {
		printf("%s\n", store_error());
		return 1;
	}
	for (int i = 0; i < NAMES; i++) {
		char name[32];

		snprintf(name, sizeof(name), "n/%d", i);
		struct tally t = {.counter = slice_of(name)};
		store_add(&t, 1);
		if (t.status && answers->highest[i] > 0)
			faults += complain(t.error, i, t.status,
					   answers->highest[i]);
		if (t.total < answers->highest[i])
			faults += complain("answered above the total", i,
					   answers->highest[i], t.total);
		for (int64_t k = 1; k <= answers->highest[i]; k++)
			if (answers->times[i][k] > 1)
				faults += complain("a number answered twice", i,
						   k, answers->times[i][k]);
	}
	store_close();
	return faults;
}

/* The bytes of the file, as they were left and as they are then. */
static int check_names(void)
{
	static char bytes[FILE_MAX];
	char path[PATH_MAX];
	int faults = 0;

	snprintf(path, sizeof(path), "%s/counters", settings.data_dir);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, bytes, sizeof(bytes)) : 0;
	if (fd >= 0)
		close(fd);
	for (ssize_t i = 0; i + ROW_SIZE <= n; i += ROW_SIZE) {
		if (!row_is_whole(bytes + i))
			faults += complain("a row is not whole", 0,
					   i / ROW_SIZE, n);
		for (ssize_t k = 0; k < i; k += ROW_SIZE)
			if (slice_equal(row_name(bytes + i),
					row_name(bytes + k)))
				faults += complain("a name has two rows", 0,
						   i / ROW_SIZE, k / ROW_SIZE);
	}
	return faults;
}

static int one_round(int round, int workers, uint64_t *seed)
{
	pid_t pids[WORKERS_MAX];
	int64_t before = answers->turns;
	int faults = 0, status;

	for (int i = 0; i < workers; i++) {
		uint64_t own = next(seed) + 1;

		pids[i] = fork();
		if (pids[i] == 0)
			work(own);
	}
	const struct timespec some = {.tv_nsec = 5000000 +
						 (long)(next(seed) % 60000000)};
	nanosleep(&some, NULL);
	for (int i = 0; i < workers; i++)
		kill(pids[i], SIGKILL);
	for (int i = 0; i < workers; i++)
		if (waitpid(pids[i], &status, 0) != pids[i] ||
		    !WIFSIGNALED(status))
			faults += complain("a worker ended by itself", 0,
					   status, 0);
	faults += check_names();
	faults += check_numbers();
	faults += check_names();
	printf("round %3d: %6lld turns: %s\n", round,
	       (long long)(answers->turns - before), faults ? "" : "ok");
	return faults;
}

static void use_folder(void)
{
	static char folder[PATH_MAX];
	const char *given = getenv("DATA_DIR"), *tmp = getenv("TMPDIR");

	if (given && *given) {
		settings.data_dir = given;
		return;
	}
	snprintf(folder, sizeof(folder), "%s/visitd-crash-XXXXXX",
		 tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(folder)) {
		perror(folder);
		exit(1);
	}
	settings.data_dir = folder;
}

static void remove_folder(void)
{
	static const char *const names[] = {"visits", "history", "counters",
					    "counters.new", "items"};
	char path[PATH_MAX];

	if (getenv("DATA_DIR"))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "%s/%s", settings.data_dir,
			 names[i]);
		unlink(path);
	}
	rmdir(settings.data_dir);
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 ? atoi(argv[1]) : 20;
	int workers = argc > 2 ? atoi(argv[2]) : 4, bad = 0;
	uint64_t seed =
		argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);

	if (workers < 1 || workers > WORKERS_MAX)
		return 100;
	settings = (struct settings){
		.store_timeout = 5000,
		.sync = SYNC_ALWAYS,
		.max_counters = NAMES + PASSING / 2,
	};
	use_folder();
	answers = mmap(NULL, sizeof(*answers), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (answers == MAP_FAILED)
		return 1;
	log_open(LOG_WARN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %llu\n", (unsigned long long)seed);
	seed = seed * 2 + 1;
	for (int i = 1; i <= rounds; i++)
		bad += one_round(i, workers, &seed) > 0;
	printf("table: %d rounds, %lld turns, %lld refused, %d with faults\n",
	       rounds, (long long)answers->turns, (long long)answers->refused,
	       bad);
	if (!bad)
		remove_folder();
	return bad > 0;
}
