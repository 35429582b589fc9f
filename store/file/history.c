#include "store/file/history.h"

#include "store/day.h"
#include "util/number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LINE_MAX_SIZE = DAY_LINE_MAX + 1,
	TAIL_SIZE = 4096, /* read to find the last line */
};

/* Whether the file is still what was read last. */
static bool history_is_unchanged(const struct history *history)
{
	const struct stat *a = &history->seen;
	struct stat b;

	if (history->file.fd < 0 || stat(history->file.path, &b) < 0)
		return false;
	return a->st_dev == b.st_dev && a->st_ino == b.st_ino &&
	       a->st_size == b.st_size &&
	       a->st_mtim.tv_sec == b.st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

static int history_remember_seen(struct history *history)
{
	return fstat(history->file.fd, &history->seen);
}

static int history_read_line(struct history *history, struct slice line)
{
	if (!day_read_line(line, &history->base)) {
		errno = EBADMSG;
		return -1;
	}
	memcpy(history->last, line.p, DATE_DAY_SIZE);
	history->has_last = true;
	return 0;
}

/* Finds the last whole line of the `n` bytes at `tail`; cuts off what is
 * behind it. `from` is where the tail stands in the file. */
static int history_take_tail(struct history *history, char *tail, size_t n,
			     off_t from, bool may_cut)
{
	const char *end = n > 0 ? memrchr(tail, '\n', n) : NULL;
	size_t whole = end ? (size_t)(end + 1 - tail) : 0;
	const char *start;

	if (whole == 0 && from > 0) { /* a line of 4 KiB */
		errno = EBADMSG;
		return -1;
	}
	history->torn = whole < n;
	if (history->torn && may_cut) {
		if (ftruncate(history->file.fd, from + (off_t)whole) < 0 ||
		    history_remember_seen(history) < 0)
			return -1;
		history->torn = false;
	}
	history->has_last = false;
	history->last_at = from + (off_t)whole;
	if (whole == 0)
		return 0;
	start = memrchr(tail, '\n', whole - 1);
	start = start ? start + 1 : tail;
	history->last_at = from + (start - tail);
	return history_read_line(history,
				 (struct slice){start, (size_t)(end - start)});
}

static int history_read_tail(struct history *history, bool may_cut)
{
	char tail[TAIL_SIZE];
	off_t from = 0;

	if (history_remember_seen(history) < 0)
		return -1;
	if (history->seen.st_size > TAIL_SIZE)
		from = history->seen.st_size - TAIL_SIZE;
	/* What comes to the file from here on makes it another one: a look
	 * while there is no `visits` yet has no lock. */
	ssize_t n = disk_read(&history->file, tail, sizeof(tail), from);
	if (n < 0)
		return -1;
	return history_take_tail(history, tail, (size_t)n, from, may_cut);
}

/* Reads the file unless it is known. A missing one is made for counting. */
static int history_refresh(struct history *history, bool counting)
{
	if (history_is_unchanged(history) && !(history->torn && counting))
		return 0;
	disk_close(&history->file);
	history->has_last = false;
	if (disk_open(&history->file, counting) < 0)
		return errno == ENOENT && !counting ? 0 : -1;
	/* Another worker may have appended the line and not synced it yet. */
	history->file.unsynced = true;
	if (history_read_tail(history, counting) < 0) {
		int error = errno;

		disk_close(&history->file); /* read it again next time */
		errno = error;
		return -1;
	}
	return 0;
}

static bool history_has_today(const struct history *history)
{
	return history->has_last &&
	       memcmp(history->last, history->today.text, DATE_DAY_SIZE) >= 0;
}

static size_t history_write_line(char *line, const char *day, int64_t base)
{
	size_t n = day_write_line(line, day, base);

	line[n++] = '\n';
	return n;
}

/* A short append is cut back, so that no half line stays. */
static int history_append_today(struct history *history, int64_t total)
{
	char line[LINE_MAX_SIZE];
	size_t n = history_write_line(line, history->today.text, total);
	off_t at = history->seen.st_size;

	if (disk_write(&history->file, line, n, at) < 0) {
		int error = errno;

		/* If that fails, too, the next reader cuts it. */
		if (ftruncate(history->file.fd, at) < 0)
			disk_close(&history->file);
		errno = error;
		return -1;
	}
	history->file.unsynced = true;
	history->has_last = true;
	history->base = total;
	history->last_at = at;
	memcpy(history->last, history->today.text, DATE_DAY_SIZE);
	return history_remember_seen(history);
}

int history_open_day(struct history *history, time_t now, bool counting,
		     int64_t total)
{
	date_know_day(&history->today, now);
	if (history_refresh(history, counting) < 0)
		return -1;
	if (!counting || history_has_today(history))
		return 0;
	return history_append_today(history, total);
}

int64_t history_today(const struct history *history, int64_t total)
{
	return history_has_today(history) ? day_count(total, history->base) : 0;
}

int history_move(struct history *history, int64_t by)
{
	size_t keep = (size_t)history->last_at;
	int done = -1;

	if (!history_has_today(history))
		return 0;
	char *text = malloc(keep + LINE_MAX_SIZE);
	if (!text)
		return -1;
	if (disk_read(&history->file, text, keep, 0) == (ssize_t)keep) {
		keep += history_write_line(text + keep, history->last,
					   day_difference(history->base, -by));
		done = disk_replace(&history->file, text, keep);
		history->file.unsynced |= done == 0;
	}
	free(text);
	return done;
}

int history_settle(struct history *history, enum sync_mode sync)
{
	struct disk_file *file = &history->file;

	if (sync != SYNC_ALWAYS || !file->unsynced)
		return 0;
	/* history_move leaves it closed. */
	if (disk_open(file, false) < 0)
		return disk_fail(file, "sync");
	return disk_settle(file, sync, true);
}
