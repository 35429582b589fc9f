#include "store/file/history.h"

#include "store/day.h"
#include "store/file/room.h"
#include "util/number.h"
#include "util/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LINE_MAX_SIZE = DAY_LINE_MAX + 1,
	LINE_MIN_SIZE = DATE_DAY_SIZE + 3,
};

/*
 * Reading
 */

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

/* Takes the first line off a text of whole lines. */
static struct slice history_take_line(struct slice *text)
{
	const char *end = memchr(text->p, '\n', text->n);
	struct slice line = slice_between(text->p, end);

	*text = slice_after(*text, line.n + 1);
	return line;
}

/* Invariants 1 and 2, in whole lines. */
static void history_find_today(struct history *history, struct slice text)
{
	int64_t today = history->day, before = INT64_MIN, day = 0, base;
	bool is_old = false;

	while (text.n > 0) {
		struct slice line = history_take_line(&text);

		if (!day_read_line(line, &base) || !date_read_day(line.p, &day))
			continue;
		if (day == today) {
			history->has_base = true;
			history->base = base;
			is_old = false;
		} else if (day < today && day >= before) {
			before = day;
			is_old = history->has_base && base > history->base;
		}
	}
	history->has_base &= !is_old;
}

/* Invariant 5. */
static void history_read_set(struct history *history, struct slice tail)
{
	int64_t from, to;

	history->from = history->to = 0;
	if (tail.n == 0 || tail.p[tail.n - 1] != ';' ||
	    !slice_equal(slice_take(&tail, ' '), SLICE("set")) ||
	    !number_read(slice_take(&tail, ' '), &from) ||
	    !number_read(slice_take(&tail, ';'), &to))
		return;
	history->from = from;
	history->to = to;
}

/* Takes in the last `n` bytes of the file, which begin at `at`. */
static int history_take_in(struct history *history, const char *bytes, size_t n,
			   off_t at)
{
	const char *end = n > 0 ? memrchr(bytes, '\n', n) : NULL;
	size_t whole = end ? (size_t)(end + 1 - bytes) : 0;
	const char *last = whole > 1 ? memrchr(bytes, '\n', whole - 1) : NULL;
	struct slice text = {bytes, whole};
	int64_t base;

	if (whole == 0 && at > 0) { /* a line of HISTORY_WINDOW */
		errno = EBADMSG;
		return -1;
	}
	history->torn = whole < n;
	history->whole = at + (off_t)whole;
	history_read_set(history, (struct slice){bytes + whole, n - whole});
	if (at > 0) /* The first one may have begun before. */
		history_take_line(&text);
	history_find_today(history, text);
	last = last ? last + 1 : bytes;
	if (whole == 0 || day_read_line(slice_between(last, end), &base))
		return 0;
	errno = EBADMSG;
	return -1;
}

static int history_read(struct history *history)
{
	static char bytes[HISTORY_WINDOW];
	off_t at = 0;

	if (history_remember_seen(history) < 0)
		return -1;
	if (history->seen.st_size > HISTORY_WINDOW)
		at = history->seen.st_size - HISTORY_WINDOW;
	/* What comes to the file from here on makes it another one: a look
	 * while there is no `visits` yet has no lock. */
	ssize_t n = disk_read(&history->file, bytes, sizeof(bytes), at);
	if (n < 0)
		return -1;
	return history_take_in(history, bytes, (size_t)n, at);
}

/* Reads the file unless it is known for today. */
static int history_refresh(struct history *history)
{
	int64_t today = history->today.number;

	if (history->day == today && history_is_unchanged(history))
		return 0;
	disk_close(&history->file);
	history->day = today;
	history->has_base = history->torn = false;
	history->whole = 0;
	history->from = history->to = 0;
	if (disk_open(&history->file, false) < 0)
		return errno == ENOENT ? 0 : -1;
	/* Another worker may have appended the line and not synced it yet. */
	history->file.unsynced = true;
	if (history_read(history) < 0) {
		int error = errno;

		disk_close(&history->file); /* read it again next time */
		errno = error;
		return -1;
	}
	return 0;
}

static int history_cut_tail(struct history *history)
{
	history->file.unsynced = true;
	if (ftruncate(history->file.fd, history->whole) < 0)
		return -1;
	history->torn = false;
	history->from = history->to = 0;
	return history_remember_seen(history);
}

int history_look(struct history *history, time_t now, int64_t total,
		 bool may_write)
{
	date_know_day(&history->today, now);
	if (history_refresh(history) < 0)
		return -1;
	if (!history->torn || !may_write)
		return 0;
	if (history->from == history->to || total != history->to)
		return history_cut_tail(history);
	return history_end_set(history) < 0 ? -1 : history_refresh(history);
}

/*
 * A day
 */

static size_t history_write_line(char *line, const char *day, int64_t base)
{
	size_t n = day_write_line(line, day, base);

	line[n++] = '\n';
	return n;
}

/* Behind the whole lines. A short append is cut back, so that no half line
 * stays. */
static int history_append(struct history *history, const char *text, size_t n)
{
	off_t at = history->whole;

	history->file.unsynced = true;
	if (disk_write(&history->file, text, n, at) == 0)
		return history_remember_seen(history);
	int error = errno;
	room_note(&history->file, error);
	/* If that fails, too, the next reader cuts it. */
	if (ftruncate(history->file.fd, at) < 0)
		disk_close(&history->file);
	errno = error;
	return -1;
}

bool history_has_day(const struct history *history)
{
	return history->has_base || day_precedes_build(&history->today);
}

int history_begin_day(struct history *history, int64_t total)
{
	char line[LINE_MAX_SIZE];

	if (history_has_day(history))
		return 0;
	if (disk_open(&history->file, true) < 0)
		return -1;
	size_t n = history_write_line(line, history->today.text, total);
	if (history_append(history, line, n) < 0)
		return -1;
	history->whole += (off_t)n;
	history->has_base = true;
	history->base = total;
	return 0;
}

int64_t history_today(const struct history *history, int64_t total)
{
	int64_t base = history->base;

	if (!history->has_base || day_precedes_build(&history->today))
		return 0;
	if (total == history->to) /* Invariant 5, before anybody writes. */
		base = day_difference(base, history->from - history->to);
	return day_count(total, base);
}

/*
 * A total that is set
 */

int history_begin_set(struct history *history, int64_t from, int64_t to,
		      enum sync_mode sync)
{
	char text[2 * NUMBER_MAX + 8], *end;

	if (history->whole == 0 || from == to)
		return 0;
	end = text_put_number(text_put(text, SLICE("set ")), from);
	end = text_put_number(text_put(end, SLICE(" ")), to);
	end = text_put(end, SLICE(";"));
	if (history_append(history, text, (size_t)(end - text)) < 0)
		return -1;
	history->torn = true;
	history->from = from;
	history->to = to;
	return sync == SYNC_NO ? 0 : disk_sync(&history->file);
}

/* Writes whole lines at `out`, with what the set moves them by. A line that is
 * not understood stays as it is. */
static size_t history_move(const struct history *history, struct slice text,
			   char *out)
{
	char *to = out;
	int64_t base;

	while (text.n > 0) {
		struct slice line = history_take_line(&text);

		if (day_read_line(line, &base)) {
			base = day_difference(base,
					      history->from - history->to);
			to += history_write_line(to, line.p, base);
		} else {
			to = text_put(to, line);
			*to++ = '\n';
		}
	}
	return (size_t)(to - out);
}

int history_end_set(struct history *history)
{
	size_t whole = (size_t)history->whole, n;
	size_t most = whole / LINE_MIN_SIZE * LINE_MAX_SIZE + whole;
	int done = -1;

	if (history->from == history->to)
		return 0;
	char *text = malloc(whole + most);
	if (!text)
		return -1;
	if (disk_read(&history->file, text, whole, 0) == (ssize_t)whole) {
		n = history_move(history, (struct slice){text, whole},
				 text + whole);
		done = disk_replace(&history->file, text + whole, n);
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
	/* history_end_set leaves it closed. */
	if (disk_open(file, false) < 0)
		return disk_fail(file, "sync");
	return disk_settle(file, sync, true);
}
