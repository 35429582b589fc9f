#include "store/file/lines.h"

#include "store/file/room.h"
#include "util/grow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 65536 /* bytes that are looked through at a time */ };

static void lines_forget(struct lines *lines)
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
	lines_forget(lines);
}

/* Notes a line that ends at `end`. */
static int lines_add_end(struct lines *lines, off_t end)
{
	off_t *ends =
		grow(lines->ends, &lines->cap, lines->len + 1, sizeof(*ends));

	if (!ends)
		return -1;
	lines->ends = ends;
	lines->ends[lines->len++] = end;
	lines->size = end;
	return 0;
}

/* Opens what the path names now: 1, or 0 when there is nothing. */
static int lines_open_current(struct lines *lines, bool create)
{
	int current = lines->file.fd >= 0 ? disk_is_current(&lines->file) : 0;

	if (current < 0)
		return -1;
	if (current == 0) {
		disk_close(&lines->file);
		lines_forget(lines);
	}
	if (disk_open(&lines->file, create) < 0)
		return errno == ENOENT && !create ? 0 : -1;
	return 1;
}

/* Reads from the last known end on. */
static int lines_read_new(struct lines *lines)
{
	static char chunk[CHUNK];
	struct stat st;
	off_t at;

	if (fstat(lines->file.fd, &st) < 0)
		return -1;
	if (st.st_size < lines->size)
		lines_forget(lines);
	for (at = lines->size; at < st.st_size;) {
		ssize_t n = disk_read(&lines->file, chunk, sizeof(chunk), at);
		if (n < 0)
			return -1;
		if (n == 0) /* cut while it is read */
			break;
		const char *p = chunk, *end = chunk + n;
		while ((p = memchr(p, '\n', (size_t)(end - p)))) {
			p++;
			if (lines_add_end(lines, at + (p - chunk)) < 0)
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
	int there = lines_open_current(lines, false);

	return there > 0 ? lines_read_new(lines) : there;
}

/* Under the lock: writes `n` lines behind the last whole one. What is behind
 * that was never answered, and is cut off. */
static int lines_write_lines(struct lines *lines, const char *text,
			     const size_t *ends, size_t n)
{
	off_t at = lines->size;
	struct stat st;

	if (fstat(lines->file.fd, &st) < 0)
		return -1;
	if (st.st_size > at && ftruncate(lines->file.fd, at) < 0)
		return -1;
	if (disk_write(&lines->file, text, ends[n - 1], at) == 0) {
		room_note(&lines->file, 0);
		for (size_t i = 0; i < n; i++)
			if (lines_add_end(lines, at + (off_t)ends[i]) < 0)
				return -1;
		return 0;
	}
	int error = errno;
	room_note(&lines->file, error);
	/* If this fails, too, the next append cuts it. */
	if (ftruncate(lines->file.fd, at) < 0)
		lines_forget(lines);
	errno = error;
	return -1;
}

int lines_append(struct lines *lines, const char *text, const size_t *ends,
		 size_t len, size_t max, int64_t deadline, size_t *appended)
{
	unsigned before = lines->file.opened;
	int status = disk_take(&lines->file, true, deadline);
	int done;

	*appended = 0;
	if (status)
		return status;
	if (lines->file.opened != before)
		lines_forget(lines);
	done = lines_read_new(lines);
	size_t room = done == 0 && lines->len < max ? max - lines->len : 0;
	size_t n = len < room ? len : room;
	if (n > 0)
		done = lines_write_lines(lines, text, ends, n);
	if (done < 0)
		status = disk_fail(&lines->file, "write");
	else
		*appended = n;
	disk_unlock(&lines->file);
	return status;
}

static off_t lines_begin_of(const struct lines *lines, size_t n)
{
	return n > 1 ? lines->ends[n - 2] : 0;
}

size_t lines_line_size(const struct lines *lines, size_t n)
{
	return (size_t)(lines->ends[n - 1] - lines_begin_of(lines, n));
}

int lines_read_line(const struct lines *lines, size_t n, char *buf)
{
	size_t size = lines_line_size(lines, n);
	ssize_t have =
		disk_read(&lines->file, buf, size, lines_begin_of(lines, n));

	if (have >= 0 && (size_t)have != size) {
		errno = EIO;
		return -1;
	}
	return have < 0 ? -1 : 0;
}
