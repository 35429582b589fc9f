#include "store/file/lines.h"

#include "util/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 65536 /* bytes that are looked through at a time */ };

static void forget(struct lines *lines)
{
	lines->len = 0;
	lines->size = 0;
}

void lines_close(struct lines *lines)
{
	disk_close(&lines->file);
	free(lines->ends);
	lines->ends = NULL;
	lines->cap = 0;
	forget(lines);
}

/* Notes a line that ends at `end`. */
static int add_end(struct lines *lines, off_t end)
{
	if (lines->len == lines->cap) {
		size_t cap = lines->cap ? lines->cap * 2 : 256;
		off_t *ends = realloc(lines->ends, cap * sizeof(*ends));

		if (!ends)
			return -1;
		lines->ends = ends;
		lines->cap = cap;
	}
	lines->ends[lines->len++] = end;
	lines->size = end;
	return 0;
}

/* Opens what the path names now: 1, or 0 when there is nothing. */
static int open_current(struct lines *lines, bool create)
{
	int current = lines->file.fd >= 0 ? disk_is_current(&lines->file) : 0;

	if (current < 0)
		return -1;
	if (current == 0) {
		disk_close(&lines->file);
		forget(lines);
	}
	if (disk_open(&lines->file, create) < 0)
		return errno == ENOENT && !create ? 0 : -1;
	return 1;
}

/* Reads from the last known end on. */
static int read_new(struct lines *lines)
{
	static char chunk[CHUNK];
	struct stat st;
	off_t at;

	if (fstat(lines->file.fd, &st) < 0)
		return -1;
	if (st.st_size < lines->size)
		forget(lines);
	for (at = lines->size; at < st.st_size;) {
		ssize_t n = disk_read(&lines->file, chunk, sizeof(chunk), at);
		if (n < 0)
			return -1;
		if (n == 0) /* cut while it is read */
			break;
		const char *p = chunk, *end = chunk + n;
		while ((p = memchr(p, '\n', (size_t)(end - p)))) {
			p++;
			if (add_end(lines, at + (p - chunk)) < 0)
				return -1;
			if (p == end)
				break;
		}
		at += n;
	}
	return 0;
}

int lines_catch_up(struct lines *lines)
{
	int there = open_current(lines, false);

	return there > 0 ? read_new(lines) : there;
}

/* Under the lock. What is behind the last whole line is cut off. */
static int append(struct lines *lines, const char *line, size_t len, size_t max)
{
	if (read_new(lines) < 0)
		return -1;
	if (lines->len >= max)
		return 1;
	struct stat st;
	if (fstat(lines->file.fd, &st) < 0)
		return -1;
	if (st.st_size > lines->size &&
	    ftruncate(lines->file.fd, lines->size) < 0)
		return -1;
	if (disk_write(&lines->file, line, len, lines->size) == 0)
		return add_end(lines, lines->size + (off_t)len);
	int error = errno;
	/* If this fails, too, the next append cuts it. */
	if (ftruncate(lines->file.fd, lines->size) < 0)
		forget(lines);
	errno = error;
	return -1;
}

int lines_append(struct lines *lines, const char *line, size_t len, size_t max,
		 int64_t deadline)
{
	unsigned before = lines->file.opened;

	if (disk_lock(&lines->file, true, deadline) < 0)
		return -1;
	if (lines->file.opened != before)
		forget(lines);
	int done = append(lines, line, len, max);
	disk_unlock(&lines->file);
	return done;
}

int lines_sync(struct lines *lines)
{
	return disk_sync(&lines->file);
}

static off_t begin_of(const struct lines *lines, size_t n)
{
	return n > 1 ? lines->ends[n - 2] : 0;
}

size_t lines_line_size(const struct lines *lines, size_t n)
{
	return (size_t)(lines->ends[n - 1] - begin_of(lines, n));
}

int lines_read_line(const struct lines *lines, size_t n, char *buf)
{
	size_t size = lines_line_size(lines, n);
	ssize_t have = disk_read(&lines->file, buf, size, begin_of(lines, n));

	if (have >= 0 && (size_t)have != size) {
		errno = EIO;
		return -1;
	}
	return have < 0 ? -1 : 0;
}
