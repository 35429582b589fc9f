/*
 * The file store when a sync fails and the power goes: the kernel of this test
 * keeps what is on disk apart from what is in its pages, byte by byte. After a
 * sync that has failed the pages are clean, and the bytes are nowhere: the next
 * sync passes without them. Then the power goes, and what was answered must be
 * there all the same. In each process of its own, too, which knows nothing of
 * what has failed in another one.
 */
#include "store/store.h"
#include "tests/unit/unit.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REAL(type, name, ...)            \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

enum { INODES = 16, BYTES = 4096, NOON = 1795172400 };

/* Of all processes. */
static struct world {
	struct image {
		ino_t ino; /* 0: unused */
		size_t size;
		char bytes[BYTES]; /* on disk */
		bool dirty[BYTES];
	} images[INODES];
	int calls, dies_at;  /* who makes this call is killed before it */
	int syncs;	     /* so far */
	int fails_at, fails; /* the first one that fails, from 1; how many */
	/* What was answered. */
	int64_t total, today, b, c;
	int64_t items[8]; /* the ids of those that were made */
	bool a_is_gone;
} * world;

static time_t now;

REAL(time_t, time, time_t *t)
{
	if (t)
		*t = now;
	return now;
}

__attribute__((format(printf, 2, 3))) void
__wrap_log_line(enum log_level level, const char *format, ...);

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	(void)format;
}

/* The image of an open file; NULL: it is a folder. */
static struct image *image_of(int fd)
{
	struct image *image = world->images;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode))
		return NULL;
	while (image->ino && image->ino != st.st_ino)
		image++;
	assert_true(image < world->images + INODES);
	image->ino = st.st_ino;
	return image;
}

static void maybe_die(void)
{
	if (++world->calls == world->dies_at)
		_exit(9);
}

REAL(ssize_t, pwrite, int fd, const void *bytes, size_t len, off_t offset)
{
	maybe_die();
	assert_true(offset + (off_t)len <= BYTES);
	memset(image_of(fd)->dirty + offset, true, len);
	return __real_pwrite(fd, bytes, len, offset);
}

static int sync_image(int fd)
{
	maybe_die();
	struct image *image = image_of(fd);
	int n = ++world->syncs;
	bool fails = n >= world->fails_at && n < world->fails_at + world->fails;
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	for (size_t i = 0; image && i < BYTES; i++) {
		if (image->dirty[i] && !fails &&
		    pread(fd, image->bytes + i, 1, (off_t)i) != 1)
			image->bytes[i] = '\0';
		image->dirty[i] = false;
	}
	if (!fails && image)
		image->size = (size_t)st.st_size;
	errno = EIO;
	return fails ? -1 : 0;
}

REAL(int, fsync, int fd)
{
	return sync_image(fd);
}

REAL(int, fdatasync, int fd)
{
	return sync_image(fd);
}

REAL(int, ftruncate, int fd, off_t size)
{
	maybe_die();
	struct image *image = image_of(fd);

	for (size_t i = (size_t)size; i < BYTES; i++) {
		image->bytes[i] = '\0';
		image->dirty[i] = false;
	}
	return __real_ftruncate(fd, size);
}

/* What is on disk of each file, in another folder. */
static void copy_disk(const char *to)
{
	static const char *const names[] = {"visits", "history", "counters",
					    "items"};
	char path[512];

	for (int i = 0; i < 4; i++) {
		int fd = open(folder_path(names[i]), O_RDONLY);

		if (fd < 0)
			continue;
		const struct image *image = image_of(fd);
		snprintf(path, sizeof(path), "%s/%s", to, names[i]);
		file_put(path, image->bytes, image->size);
		close(fd);
	}
}

/*
 * What is done. Each notes what it has answered; false: it was refused.
 */
static bool visit(const char *name, int64_t *total, int64_t *today)
{
	struct tally t = {.counter = slice_of(name), .n = 1};

	store_add(&t, 1);
	if (t.status)
		return false;
	*total = t.total;
	*today = t.today;
	return true;
}

static bool visit_home(void)
{
	return visit(STORE_HOME, &world->total, &world->today);
}

static bool visit_home_tomorrow(void)
{
	now += 86400;
	return visit_home();
}

static bool visit_a(void)
{
	int64_t total, today;

	return visit("a", &total, &today);
}

static bool visit_b(void)
{
	int64_t today;

	return visit("b", &world->b, &today);
}

static bool visit_c(void)
{
	int64_t today;

	return visit("c", &world->c, &today);
}

static bool drop_a(void)
{
	int status = store_drop(SLICE("a"));

	world->a_is_gone |= status == 0 || status == 404;
	return status != 503;
}

static bool set_b(void)
{
	if (store_set(SLICE("b"), 500))
		return false;
	world->b = 500;
	return true;
}

static bool set_home(void)
{
	if (store_set(SLICE(STORE_HOME), 5000))
		return false;
	world->total = 5000;
	return true;
}

/* A total that is shown is on disk, too, though nobody was told that it was
 * counted. */
static bool see_home(void)
{
	struct tally t = {.counter = SLICE(STORE_HOME)};

	visit_home();
	store_add(&t, 1);
	if (t.status)
		return false;
	world->total = t.total;
	world->today = t.today;
	return true;
}

static bool see_b(void)
{
	struct tally t = {.counter = SLICE("b")};

	visit_b();
	store_add(&t, 1);
	if (t.status)
		return false;
	world->b = t.total;
	return true;
}

/* Its name is its number among those that were made. */
static bool make_item(void)
{
	char name = '0';
	struct item item = {.name = {&name, 1}};

	for (size_t i = 0; i < 8 && world->items[i]; i++)
		name++;
	store_items_create(&item, 1);
	if (item.status == 0)
		world->items[name - '0'] = item.id;
	return item.status == 0;
}

static bool (*const deeds[])(void) = {
	visit_home, visit_a,   make_item, make_item, visit_b,
	see_home,   drop_a,    visit_c,	  see_b,     visit_home_tomorrow,
	see_b,	    make_item, set_b,	  set_home,  make_item,
	see_home,   visit_b,   visit_c,	  make_item,
};
enum { DEEDS = sizeof(deeds) / sizeof(*deeds) };

static void assert_total(const char *name, int64_t least)
{
	struct tally t = {.counter = slice_of(name)};

	if (least == 0)
		return;
	store_add(&t, 1);
	assert_int_equal(t.status, 0);
	assert_true(t.total >= least);
}

static void assert_items(void)
{
	for (size_t i = 0; i < 8 && world->items[i]; i++) {
		struct item item = {.id = world->items[i]};
		char text[64];

		snprintf(text, sizeof(text),
			 "{\"id\":%d,\"name\":\"%c\",\"description\":null}",
			 (int)item.id, (int)('0' + i));
		store_items_get(&item, 1);
		assert_int_equal(item.status, 0);
		assert_slice(item.json, text);
	}
}

static struct settings settings;

static void assert_kept(void)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};
	struct tally a = {.counter = SLICE("a")};

	assert_int_equal(store_open(&settings), 0);
	assert_total("b", world->b);
	assert_total("c", world->c);
	assert_items();
	store_add(&home, 1);
	assert_int_equal(home.status, 0);
	assert_true(home.total >= world->total);
	if (home.total == world->total)
		assert_int_equal(home.today, world->today);
	store_add(&a, 1);
	if (world->a_is_gone)
		assert_int_equal(a.status, 404);
}

/* The power goes. A process that finds what is on disk takes the place of this
 * one for a moment, with a kernel of its own. */
static void lose_power(void (*check)(void))
{
	static char folder[256];
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct world *mine = malloc(sizeof(*mine));

		memcpy(mine, world, sizeof(*mine));
		world = mine;
		world->fails = world->dies_at = 0;
		snprintf(folder, sizeof(folder), "%s", folder_path("after"));
		mkdir(folder, 0755);
		copy_disk(folder);
		store_close();
		settings.data_dir = folder;
		check();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void begin(int fails_at, int fails)
{
	memset(world, 0, sizeof(*world));
	world->fails_at = fails_at;
	world->fails = fails;
	now = NOON;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 1000,
		.sync = SYNC_ALWAYS,
		.max_counters = 10,
		.max_items = 10,
	};
}

/* A client that is refused comes once more. */
static void do_until_done(bool (*deed)(void))
{
	for (int i = 0; i < 5; i++)
		if (deed())
			return;
	fail_msg("it is refused for ever");
}

/* So does another process, which opens the store anew, and dies. */
static void do_elsewhere(bool (*deed)(void))
{
	bool done = false;

	for (int i = 0; i < 5 && !done; i++) {
		time_t later = deed == visit_home_tomorrow ? 86400 : 0;
		int status;
		pid_t pid = fork();

		assert_true(pid >= 0);
		if (pid == 0)
			_exit(store_open(&settings) != 0 || !deed());
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFEXITED(status));
		done = WEXITSTATUS(status) == 0;
		now += later;
	}
	assert_true(done);
}

/* After each deed the power goes. Whether a sync has failed. */
static bool tell(int fails_at, int fails, bool elsewhere)
{
	begin(fails_at, fails);
	assert_int_equal(elsewhere ? 0 : store_open(&settings), 0);
	for (int i = 0; i < DEEDS; i++) {
		/* Who has counted in vain knows it, and no other process. */
		if (elsewhere)
			do_elsewhere(deeds[i] == see_home ? visit_home
				     : deeds[i] == see_b  ? visit_b
							  : deeds[i]);
		else
			do_until_done(deeds[i]);
		lose_power(assert_kept);
	}
	bool failed = world->syncs >= fails_at;
	if (!elsewhere)
		store_close();
	folder_remove();
	return failed;
}

static int told[2]; /* for a failed assertion */

static void test_lost(bool elsewhere)
{
	bool failed = true;

	for (told[0] = 1; failed; told[0] += unit_share())
		for (told[1] = 1; told[1] <= 2; told[1]++)
			failed = tell(told[0], told[1], elsewhere);
	*told = 0;
}

static void test_one_process(void **state)
{
	(void)state;
	test_lost(false);
}

static void test_other_processes(void **state)
{
	(void)state;
	test_lost(true);
}

/* The set was done, or it was not; today's visits are what they were. */
static void assert_set_or_not(void)
{
	struct tally home = {.counter = SLICE(STORE_HOME), .n = 1};

	assert_int_equal(store_open(&settings), 0);
	store_add(&home, 1);
	assert_int_equal(home.status, 0);
	if (home.total != 3)
		assert_int_equal(home.total, world->total + 1);
	assert_int_equal(home.today, 3);
}

/* The power goes in the middle of a set, before any of its calls. */
static void test_set(void **state)
{
	int code = 9;

	(void)state;
	for (int at = 1; code; at++)
		for (int down = 0; down < 2; down++) {
			begin(0, 0);
			assert_int_equal(store_open(&settings), 0);
			assert_true(visit_home() && visit_home());
			world->total = down ? 1 : 1000;
			pid_t pid = fork();
			if (pid == 0) {
				world->dies_at = world->calls + at;
				store_set(SLICE(STORE_HOME), world->total);
				_exit(0);
			}
			assert_int_equal(waitpid(pid, &code, 0), pid);
			world->dies_at = 0;
			lose_power(assert_set_or_not);
			store_close();
			folder_remove();
		}
}

static int tear_down(void **state)
{
	(void)state;
	if (*told)
		print_error("%d syncs from number %d on have failed\n", told[1],
			    told[0]);
	*told = 0;
	folder_remove();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_set, tear_down),
		cmocka_unit_test_teardown(test_one_process, tear_down),
		cmocka_unit_test_teardown(test_other_processes, tear_down),
	};

	world = mmap(NULL, sizeof(*world), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
