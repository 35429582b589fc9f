/*
 * The table of counters with any bytes in it, and a few calls. The first byte
 * chooses the calls, the next whether the store knew a table before. What is
 * not understood is left as it is; else the table is whole afterwards, no name
 * is in it twice, and what is read again is what was written.
 */
#include "store/file/row.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"
#include "util/log.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TABLE_MAX = 65536, NAMES_MAX = 1024 };

static char folder[64], path[80];
static struct fuzz_text text;
static int64_t ahead; /* milliseconds */

/*
 * Nothing takes time but waiting. (By the linker, for the store alone: the
 * fuzzer looks at the clock, too.)
 */
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	(void)id;
	t->tv_sec = 1000 + ahead / 1000;
	t->tv_nsec = ahead % 1000 * 1000000;
	return 0;
}

int __wrap_nanosleep(const struct timespec *t, struct timespec *left);
int __wrap_nanosleep(const struct timespec *t, struct timespec *left)
{
	(void)t;
	(void)left;
	ahead += 20;
	return 0;
}

int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	return fd < 0;
}

int __wrap_fdatasync(int fd);
int __wrap_fdatasync(int fd)
{
	return fd < 0;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[8192];
	va_list args;

	(void)level;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
}

static void remove_folder(void)
{
	static const char *const names[] = {"visits", "history", "counters",
					    "counters.new"};
	char below[96];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(below, sizeof(below), "%s/%s", folder, names[i]);
		unlink(below);
	}
	rmdir(folder);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/dev/shm/visitd-fuzz-XXXXXX");
	if (!mkdtemp(folder)) {
		snprintf(folder, sizeof(folder), "/tmp/visitd-fuzz-XXXXXX");
		must(mkdtemp(folder));
	}
	snprintf(path, sizeof(path), "%s/counters", folder);
	atexit(remove_folder);
}

static void put(const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	must(fd >= 0);
	must(write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static char table[TABLE_MAX + 16 * ROW_SIZE];

static size_t get(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, table, sizeof(table)) : 0;

	must(n >= 0 && n < (ssize_t)sizeof(table));
	if (fd >= 0)
		close(fd);
	return (size_t)n;
}

/* Whole rows, each of another name; gives how many. */
static size_t check_table(void)
{
	size_t n = get();

	must(n % ROW_SIZE == 0);
	n /= ROW_SIZE;
	for (size_t i = 0; i < n; i++) {
		struct slice name = row_name(table + i * ROW_SIZE);

		must(row_is_whole(table + i * ROW_SIZE));
		for (size_t k = 0; k < i && i < NAMES_MAX; k++)
			must(!slice_equal(name,
					  row_name(table + k * ROW_SIZE)));
	}
	return n;
}

static int64_t total_of(struct slice name)
{
	size_t n = get() / ROW_SIZE;

	for (size_t i = 0; i < n; i++)
		if (slice_equal(row_name(table + i * ROW_SIZE), name))
			return row_total(table + i * ROW_SIZE);
	return ROW_DROPPED;
}

static struct tally add(const char *name, int64_t n)
{
	struct tally t = {.counter = slice_of(name), .n = n};

	store_add(&t, 1);
	must(t.status == 0 || (t.error && *t.error));
	return t;
}

static void note(struct slice counter, int64_t total, void *context)
{
	size_t *len = context;

	must(!store_name_fault(counter) && total >= 0);
	++*len;
}

/* A name of the input's, if there is one, else one of ours. */
static const char *some_name(uint8_t choice)
{
	static char name[STORE_NAME_MAX + 1];
	size_t n = get() / ROW_SIZE;

	if (n > 0 && choice % 2) {
		const char *row = table + choice / 2 % n * ROW_SIZE;

		if (row_is_whole(row)) {
			struct slice found = row_name(row);

			memcpy(name, found.p, found.n);
			name[found.n] = '\0';
			return name;
		}
	}
	return choice & 4 ? "a" : "b";
}

/* The file has been understood. */
static void count(uint8_t choice)
{
	char name[STORE_NAME_MAX + 1];
	size_t len = 0, rows = check_table();

	snprintf(name, sizeof(name), "%s", some_name(choice));
	int64_t before = total_of(slice_of(name));
	struct tally t = add(name, 0);
	must(t.status == (before == ROW_DROPPED ? 404 : 0));
	must(t.status || t.total == before);
	t = add(name, 3);
	if (before > INT64_MAX - 3) {
		must(t.status == 503);
	} else {
		must(t.status == 0);
		must(t.total == (before == ROW_DROPPED ? 0 : before) + 3);
		must(t.today >= 3 || t.today == 99999999999);
		must(t.is_new == (before == ROW_DROPPED));
		must(total_of(slice_of(name)) == t.total);
	}
	must(check_table() <= rows + 1);
	must(store_each(note, &len) == 0);
	must(store_drop(slice_of(name)) == 0);
	must(add(name, 0).status == 404);
	must(store_set(slice_of(name), 7) == 0);
	must(add(name, 1).total == 8);
	must(check_table() <= rows + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct settings settings = {
		.store_timeout = 1000,
		.max_counters = 100000,
	};
	bool knows;

	if (size < 2)
		return 0;
	if (!*folder)
		make_folder();
	settings.data_dir = folder;
	fuzz_expand(&text, data + 2, size - 2, TABLE_MAX);
	knows = data[1] & 1;
	unlink(path);
	if (!knows)
		put(text.bytes, text.len);
	int code = store_open(&settings);
	if (knows) {
		must(code == 0);
		must(add("a", 1).total == 1);
		must(add("known", 5).total == 5);
		put(text.bytes, text.len);
		ahead += 2000;
		code = store_ping();
	}
	struct tally t = add("none/of-them", 0);
	if (t.status == 503) {
		must(code != 0 || knows);
		must(get() == text.len);
		must(memcmp(table, text.bytes, text.len) == 0);
		must(add("a", 1).status == 503);
		must(store_set(SLICE("a"), 1) == 503);
		must(store_drop(SLICE("a")) == 503);
		must(store_ping() == 503);
	} else {
		must(code == 0);
		count(data[0]);
	}
	store_close();
	must(access(path, F_OK) == 0 || text.len == 0);
	return 0;
}
