/*
 * `visits`: one decimal number and a newline.
 *
 * Invariants; each is a test.
 *
 * 1. Read and write happen under LOCK_EX, reads too: shared locks starve
 *    writers. The lock is tried first, then waited for, to one deadline.
 * 2. Under the lock the path still names the open file; else it is opened and
 *    locked again. A file newly opened, created or put in place is synced
 *    together with its folder before its first answer.
 * 3. The text is BOM? blank* digits blank* CR? (LF | NUL | end), then a rest of
 *    newlines, CRs, NULs and digits, which a crash or a shell's edit leaves: it
 *    is cut off with the next write. Without digits, and an empty text, it is
 *    zero. Anything else is not understood and never overwritten. An empty or
 *    missing file where this worker last saw a number may be an edit half done
 *    (edit.h): it is looked at again before it counts as zero.
 * 4. The new number is written in place, in one pwrite: `visits` may be a
 *    bind-mounted file, which cannot be renamed over. A shorter one is padded
 *    with newlines to the old length, then truncated, then synced.
 * 5. Unlock, then sync: the kernel merges concurrent syncs (8 processes: 7.5k
 *    commits/s with the sync inside the lock, 14.6k outside). No answer is sent
 *    before its own sync, which covers all earlier writes. What a failed one
 *    has lost is written again (disk.h).
 * 6. ENOSPC, EIO, EROFS, ENOLCK: 503, and a log line with path and reason.
 */
#include "store/file/visits.h"

#include "store/failure.h"
#include "store/file/edit.h"
#include "store/file/history.h"
#include "store/file/room.h"
#include "util/log.h"
#include "util/number.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_MAX = 4096 /* of a `visits` that can be understood */ };

static struct {
	const struct settings *settings;
	struct disk_file file;
	struct history history;
	struct edit edit;
	bool has_seen; /* the last look found a number */
	_Atomic int64_t *last_total;
} visits;

/* The content of `visits`. */
struct text {
	char bytes[TEXT_MAX];
	size_t len;
	int64_t total;
	bool has_number; /* else it counts as zero */
};

void visits_open(const struct settings *settings, const char *path,
		 struct folder *folder, const char *history_path,
		 struct folder *history_folder, _Atomic int64_t *last_total)
{
	memset(&visits, 0, sizeof(visits));
	visits.settings = settings;
	visits.last_total = last_total;
	visits.file =
		(struct disk_file){.path = path, .folder = folder, .fd = -1};
	visits.history.file = (struct disk_file){.path = history_path,
						 .folder = history_folder,
						 .fd = -1,
						 .guard = &visits.file};
}

void visits_close(void)
{
	disk_close(&visits.file);
	disk_close(&visits.history.file);
}

bool visits_has_number(void)
{
	return visits.has_seen;
}

struct disk_file *visits_file(void)
{
	return &visits.file;
}

struct disk_file *visits_history_file(void)
{
	return &visits.history.file;
}

/* The bytes that invariant 3 tells apart. */
enum { BYTE_BLANK = 1, BYTE_DIGIT = 2, BYTE_END = 4 };

static const unsigned char visits_kinds[256] = {
	[' '] = BYTE_BLANK, ['\t'] = BYTE_BLANK, ['\n'] = BYTE_END,
	['\r'] = BYTE_END,  ['\0'] = BYTE_END,	 ['0'] = BYTE_DIGIT,
	['1'] = BYTE_DIGIT, ['2'] = BYTE_DIGIT,	 ['3'] = BYTE_DIGIT,
	['4'] = BYTE_DIGIT, ['5'] = BYTE_DIGIT,	 ['6'] = BYTE_DIGIT,
	['7'] = BYTE_DIGIT, ['8'] = BYTE_DIGIT,	 ['9'] = BYTE_DIGIT,
};

static size_t visits_skip(const struct text *text, size_t at, int kinds)
{
	while (at < text->len &&
	       visits_kinds[(unsigned char)text->bytes[at]] & kinds)
		at++;
	return at;
}

/* Invariant 3; false when the text is not understood. */
static bool visits_parse(struct text *text)
{
	static const char mark[] = "\xef\xbb\xbf"; /* U+FEFF */
	size_t at = text->len >= 3 && memcmp(text->bytes, mark, 3) == 0 ? 3 : 0;
	size_t digits = visits_skip(text, at, BYTE_BLANK);
	size_t end = visits_skip(text, digits, BYTE_DIGIT);

	text->has_number = end > digits;
	if (!text->has_number)
		return visits_skip(text, at, BYTE_BLANK | BYTE_END) ==
		       text->len;
	if (!number_read((struct slice){text->bytes + digits, end - digits},
			 &text->total))
		return false;
	at = visits_skip(text, end, BYTE_BLANK);
	if (at < text->len && text->bytes[at] == '\r')
		at++;
	if (at < text->len && text->bytes[at] != '\n' &&
	    text->bytes[at] != '\0')
		return false;
	/* The rest of a longer text that was there before. */
	return visits_skip(text, at, BYTE_END | BYTE_DIGIT) == text->len;
}

/* Tells the operator the first bytes. */
static int visits_fail_text(const struct text *text)
{
	return fail_garbage("%s is not understood: it holds \"%.*s\"%s, and "
			    "should hold one number from 0 to "
			    "9223372036854775807",
			    visits.file.path,
			    text->len < 32 ? (int)text->len : 32, text->bytes,
			    text->len > 32 ? " ..." : "");
}

/* An empty or missing file has len 0 and counts as zero. */
static int visits_read_file(const struct disk_file *file, struct text *text)
{
	text->len = 0;
	text->total = 0;
	text->has_number = false;
	if (file->fd < 0)
		return 0;
	ssize_t n = disk_read(file, text->bytes, TEXT_MAX, 0);
	if (n < 0)
		return disk_fail(file, "read");
	text->len = (size_t)n;
	if (n > 0 && (n == TEXT_MAX || !visits_parse(text)))
		return visits_fail_text(text);
	return 0;
}

bool visits_reaches(int64_t total)
{
	struct disk_file file = {.path = visits.file.path};
	struct text text;

	file.fd = open(file.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	bool is_there = file.fd >= 0 && !visits_read_file(&file, &text);
	disk_close(&file);
	return is_there && text.has_number && text.total >= total;
}

static void visits_unlock(void)
{
	if (visits.file.fd >= 0)
		disk_unlock(&visits.file);
}

/*
 * Takes the lock and the number; `create` makes a missing file. An edit half
 * done is waited for, with the lock released and without making the file that
 * an editor is about to make.
 */
static int visits_lock(struct text *text, bool create, int64_t until)
{
	struct disk_file *file = &visits.file;

	for (;;) {
		int status = disk_take(file, create && !visits.has_seen, until);

		if (status)
			return status;
		status = visits_read_file(file, text);
		bool odd = !status && text->len == 0 && visits.has_seen;
		if (!status && (!odd || edit_is_over(&visits.edit, file))) {
			edit_forget(&visits.edit);
			visits.has_seen = text->has_number;
			if (file->fd >= 0 || !create)
				return 0;
			continue;
		}
		visits_unlock();
		if (!status)
			status = edit_wait(file, until);
		if (status)
			return status;
	}
}

/* Under the lock: invariant 4. `old` is what was read. */
static int visits_write(const struct text *old, int64_t total)
{
	struct disk_file *file = &visits.file;
	char bytes[TEXT_MAX + NUMBER_MAX + 1];
	size_t n = number_write(bytes, total);

	bytes[n++] = '\n';
	size_t padded = n < old->len ? old->len : n;
	memset(bytes + n, '\n', padded - n);
	if (disk_write(file, bytes, padded, 0) < 0) {
		int error = errno;

		room_note(file, error);
		/* Half a number must not stay. */
		if (old->len > 0 &&
		    disk_write(file, old->bytes, old->len, 0) < 0)
			log_error("%s may be damaged:", file->path);
		errno = error;
		return disk_fail(file, "write");
	}
	/* The newlines that stay if this fails do no harm. */
	if (padded > n && ftruncate(file->fd, (off_t)n) < 0)
		log_warn("cannot truncate %s:", file->path);
	visits.has_seen = true;
	return 0;
}

/* After unlocking, before answering. `wrote`: this turn has. */
static int visits_settle(bool wrote)
{
	enum sync_mode sync = (enum sync_mode)visits.settings->sync;
	int status = 0;

	if (wrote || visits.file.fresh)
		status = history_settle(&visits.history, sync);
	if (!status)
		return disk_settle(&visits.file, sync, wrote);
	visits.file.fresh = true; /* Nor is the number on disk. */
	return status;
}

/* Takes in the day, and begins it before its first visit. */
static int visits_open_day(bool may_write, bool counting, int64_t total)
{
	struct history *history = &visits.history;
	const struct disk_file *file = &history->file;

	if (history_look(history, time(NULL), total, may_write) == 0 &&
	    (!counting || history_begin_day(history, total) == 0))
		return 0;
	if (errno != EBADMSG)
		return disk_fail(file, "use");
	return fail_garbage("%s is not understood: its last line should be a "
			    "date and a number, such as 2026-11-20 41",
			    file->path);
}

/* Under the lock, so that the last one is the last. */
static void visits_note_total(int64_t total)
{
	if (visits.last_total)
		atomic_store_explicit(visits.last_total, total,
				      memory_order_relaxed);
}

/* Under the lock: counts t->n visits, or only reads. */
static int visits_count(struct tally *t, const struct text *text)
{
	if (t->n > INT64_MAX - text->total)
		return fail_own("counter is full");
	int status = visits_open_day(t->n > 0, t->n > 0, text->total);
	if (status)
		return status;
	t->total = text->total + t->n;
	t->today = history_today(&visits.history, t->total);
	visits_note_total(t->total);
	return t->n > 0 ? visits_write(text, t->total) : 0;
}

void visits_add(struct tally *t, int64_t until)
{
	struct text text;

	t->status = visits_lock(&text, t->n > 0, until);
	if (!t->status) {
		t->status = visits_count(t, &text);
		visits_unlock();
	}
	if (!t->status)
		t->status = visits_settle(t->n > 0);
	if (t->status)
		t->error = store_answer();
	/* A counter that is full is no failure of the store. */
	if (!t->status || !failure_is_own())
		failure_tell(FAILURE_HOME, t->status);
}

/* After a set that has failed: else the same call once more would move nothing.
 * If this fails, too, the set is done all the same, as its note says. */
static void visits_write_back(const struct text *text)
{
	struct disk_file *file = &visits.file;

	if (disk_write(file, text->bytes, text->len, 0) < 0 ||
	    ftruncate(file->fd, (off_t)text->len) < 0)
		log_error("%s is set, although that has failed:", file->path);
}

/* Under the lock: the parts of a set, in the order of invariant 5 of
 * history.h. */
static int visits_write_total(const struct text *text, int64_t value)
{
	struct history *history = &visits.history;
	enum sync_mode sync = (enum sync_mode)visits.settings->sync;
	int status = visits_open_day(true, false, text->total);

	if (status)
		return status;
	if (history_begin_set(history, text->total, value, sync) < 0)
		return disk_fail(&history->file, "write");
	status = visits_write(text, value);
	if (status)
		return status;
	if (sync != SYNC_NO && disk_sync(&visits.file) < 0)
		status = disk_fail(&visits.file, "sync");
	else if (history_end_set(history) < 0)
		status = disk_fail(&history->file, "write");
	if (status)
		visits_write_back(text);
	else
		visits_note_total(value);
	return status;
}

int visits_set(int64_t value, int64_t until)
{
	struct text text;
	int status = visits_lock(&text, true, until);

	if (!status) {
		status = visits_write_total(&text, value);
		visits_unlock();
	}
	if (!status)
		status = visits_settle(true);
	failure_tell(FAILURE_HOME, status);
	return status;
}

/* Under the lock: room for what the next visit would make or let grow. */
static int visits_look_for_room(const struct text *text)
{
	const struct disk_file *file = &visits.file;

	if (file->fd >= 0 && !history_has_day(&visits.history)) {
		int status = room_check(&visits.history.file);

		if (status)
			return status;
	}
	return text->has_number ? 0 : room_check(file);
}

/* Under the lock: all that a visit does, but what would make a file, or let one
 * grow. Room for that is asked for. */
static int visits_probe(const struct text *text)
{
	int status = visits_look_for_room(text);

	return status || !text->has_number ? status
					   : visits_write(text, text->total);
}

int visits_check_room(int64_t until)
{
	struct text text;
	int status = visits_lock(&text, false, until);

	if (status)
		return status;
	status = visits_open_day(false, false, text.total);
	if (!status)
		status = visits_look_for_room(&text);
	visits_unlock();
	return status;
}

int visits_look(int64_t until, bool probe)
{
	struct text text;
	int status = visits_lock(&text, false, until);

	if (status)
		return status;
	status = visits_open_day(probe, false, text.total);
	if (!status && probe)
		status = visits_probe(&text);
	visits_unlock();
	return status || !probe ? status : visits_settle(true);
}
