#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

char *guard_end(void)
{
	static char *end;

	if (end)
		return end;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *room = mmap(NULL, GUARD_ROOM + page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(room, MAP_FAILED);
	assert_int_equal(mprotect(room + GUARD_ROOM, page, PROT_NONE), 0);
	end = room + GUARD_ROOM;
	return end;
}

char *guard_copy(const char *bytes, size_t len)
{
	char *copy = guard_end() - len;

	assert_true(len <= GUARD_ROOM);
	if (len > 0)
		memmove(copy, bytes, len);
	return copy;
}

void assert_slice_at(struct slice slice, const char *text, const char *file,
		     int line)
{
	if (slice_equal(slice, slice_of(text)))
		return;
	print_error("\"%.*s\" is not \"%s\"\n", (int)slice.n,
		    slice.p ? slice.p : "", text);
	_fail(file, line);
}

void request_read(struct http_request *r, const char *text)
{
	const char *why = NULL;
	ssize_t n = http_parse(text, strlen(text), r, &why);

	if (n <= 0)
		print_error("%s: %s\n", text, why ? why : "incomplete");
	assert_int_equal(n, strlen(text));
}

static char folder[64];

const char *folder_make(void)
{
	const char *const roots[] = {getenv("UNIT_FOLDER"), "/dev/shm", "/tmp"};

	assert_string_equal(folder, "");
	for (size_t i = 0; i < sizeof(roots) / sizeof(*roots); i++) {
		if (!roots[i])
			continue;
		snprintf(folder, sizeof(folder), "%s/visitd-unit-XXXXXX",
			 roots[i]);
		if (mkdtemp(folder))
			return folder;
	}
	fail_msg("no folder for files can be made");
	return NULL;
}

static void remove_all(const char *path)
{
	char below[PATH_MAX];
	struct dirent *entry;
	DIR *dir = opendir(path);

	while (dir && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 ||
		    strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (unlink(below) < 0)
			remove_all(below);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

void folder_remove(void)
{
	if (*folder)
		remove_all(folder);
	*folder = '\0';
}

const char *folder_path(const char *name)
{
	static char paths[8][PATH_MAX];
	static unsigned at;
	char *path = paths[at++ % 8];

	snprintf(path, PATH_MAX, "%s/%s", folder, name);
	return path;
}

void file_put(const char *path, const char *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	close(fd);
}

void file_put_text(const char *path, const char *text)
{
	file_put(path, text, strlen(text));
}

static struct timespec changed_at(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ctim;
}

void file_empty_later(const char *path)
{
	struct timespec before = changed_at(path), after;

	do {
		file_put(path, "", 0);
		after = changed_at(path);
	} while (after.tv_sec == before.tv_sec &&
		 after.tv_nsec == before.tv_nsec);
}

long file_get(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY);

	buf[0] = '\0';
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, buf, cap - 1);
	close(fd);
	assert_true(n >= 0);
	buf[n] = '\0';
	return n;
}

void assert_file_at(const char *path, const char *text, const char *file,
		    int line)
{
	char buf[65536];
	long n = file_get(path, buf, sizeof(buf));

	if (n == (long)strlen(text) && memcmp(buf, text, (size_t)n) == 0)
		return;
	print_error("%s holds %ld bytes \"%s\", and not \"%s\"\n", path, n, buf,
		    text);
	_fail(file, line);
}

uint64_t random_next(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 2685821657736338717u >> 16;
}

int unit_share(void)
{
	const char *text = getenv("UNIT_SHARE");
	int n = text ? atoi(text) : 1;

	return n > 0 ? n : 1;
}
