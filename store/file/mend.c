/*
 * The table as others have left it: torn by a crash, or written by an editor.
 */
#include "store/file/mend.h"

#include "store/failure.h"
#include "store/file/rights.h"
#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	LINE_SIZE = 4096,   /* of an editor's line, at most */
	GARBAGE_MS = 10000, /* after which it is read again all the same */
	TICK_SECONDS = 1,   /* more than any tick of a file system's clock */
};

/* Whether the bytes behind the last row that is known, at a row's place, may
 * be what a crash has left. */
static bool mend_is_torn(const char *bytes, size_t n)
{
	for (size_t at = 0; at < n; at += ROW_SIZE)
		if (!row_is_torn(bytes + at,
				 n - at < ROW_SIZE ? n - at : ROW_SIZE))
			return false;
	return true;
}

int mend_cut_tail(const struct table *t, off_t size)
{
	char bytes[LINE_SIZE];

	for (off_t at = table_offset(t->rows); at < size;) {
		ssize_t n = disk_read(&t->file, bytes, sizeof(bytes), at);

		if (n < 0)
			return disk_fail(&t->file, "read");
		if (n == 0) /* an editor has just emptied it */
			return table_fail_edited(t);
		if (!mend_is_torn(bytes, (size_t)n))
			return TABLE_ODD;
		at += n;
	}
	if (ftruncate(t->file.fd, table_offset(t->rows)) < 0)
		return disk_fail(&t->file, "write");
	log_warn("%s ended in a row that was never answered: cut off",
		 t->file.path);
	return 0;
}

/* The lines of a file, one after another. */
struct reader {
	const struct disk_file *file;
	off_t at; /* where the bytes end in the file */
	size_t len, used;
	bool ended;
	size_t number; /* of the last line, from 1 */
	char bytes[LINE_SIZE];
};

/* Passes over the NULs that a crash may have left before a line. */
static void mend_skip_nuls(struct reader *r)
{
	while (r->used < r->len && r->bytes[r->used] == '\0')
		r->used++;
}

/* More bytes. EMSGSIZE: the line is longer than any that could be understood.
 */
static int mend_refill(struct reader *r)
{
	r->len -= r->used;
	memmove(r->bytes, r->bytes + r->used, r->len);
	r->used = 0;
	if (r->len == LINE_SIZE) {
		errno = EMSGSIZE;
		return -1;
	}
	ssize_t n = disk_read(r->file, r->bytes + r->len, LINE_SIZE - r->len,
			      r->at);
	if (n < 0)
		return -1;
	r->ended = n == 0;
	r->len += (size_t)n;
	r->at += n;
	return 0;
}

/* 1, 0 at the end, or -1 with errno. NULs end the last line, too. */
static int mend_read_line(struct reader *r, struct slice *line)
{
	const char *end;

	for (;;) {
		mend_skip_nuls(r);
		end = memchr(r->bytes + r->used, '\n', r->len - r->used);
		if (end || r->ended)
			break;
		if (mend_refill(r) < 0)
			return -1;
	}
	line->p = r->bytes + r->used;
	line->n = end ? (size_t)(end - line->p) : r->len - r->used;
	r->used += line->n + (end != NULL);
	r->number++;
	while (!end && line->n > 0 && line->p[line->n - 1] == '\0')
		line->n--;
	return end || line->n > 0;
}

static bool mend_is_empty(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\0')
			return false;
	return true;
}

int mend_fail_line(const struct table *t, size_t number, const char *fault)
{
	return fail_garbage("line %zu of %s is not understood: %s", number,
			    t->file.path, fault);
}

/* Notes it, too, unless the file has just changed: another change within the
 * same tick of the kernel's clock would not show. */
static int mend_note_line(struct table *t, size_t number, const char *fault)
{
	struct stat st;
	struct timespec now;

	t->garbage.line = 0;
	if (fstat(t->file.fd, &st) == 0 &&
	    clock_gettime(CLOCK_REALTIME, &now) == 0 &&
	    now.tv_sec - st.st_ctim.tv_sec > TICK_SECONDS)
		t->garbage = (struct table_garbage){
			number,	    fault,	t->file.opened,
			st.st_size, st.st_ctim, clock_ms() + GARBAGE_MS,
		};
	return mend_fail_line(t, number, fault);
}

bool mend_is_known_garbage(const struct table *t)
{
	const struct table_garbage *garbage = &t->garbage;
	struct stat st;

	return garbage->line && garbage->opened == t->file.opened &&
	       clock_ms() < garbage->until && fstat(t->file.fd, &st) == 0 &&
	       st.st_size == garbage->size &&
	       st.st_ctim.tv_sec == garbage->changed.tv_sec &&
	       st.st_ctim.tv_nsec == garbage->changed.tv_nsec;
}

/* Takes a row into a new table, which its name may be in already. */
static int mend_adopt(struct table *to, const char *row)
{
	char mine[ROW_SIZE], both[ROW_SIZE];
	size_t number;
	int status = table_look_up(to, row_name(row), mine, &number);

	if (status == 404)
		return row_total(row) == ROW_DROPPED
			       ? 0
			       : table_append(to, row, SIZE_MAX);
	if (status)
		return status;
	log_warn("two lines of one name, \"%.*s\": the higher total stays",
		 (int)row_name(row).n, row_name(row).p);
	memcpy(both, mine, ROW_SIZE);
	row_merge(both, row);
	return table_write(to, number, both, mine);
}

/* Reads the table by lines, from row `from` on, into another one; without that
 * it only finds out whether they are understood. */
static int mend_read_lines(struct table *t, size_t from, struct table *to)
{
	struct reader r = {.file = &t->file, .at = table_offset(from)};
	char row[ROW_SIZE];
	struct slice line;
	int more;

	while ((more = mend_read_line(&r, &line)) > 0) {
		if (mend_is_empty(line))
			continue;
		const char *fault = row_parse(row, line, &t->today);
		if (fault)
			return mend_note_line(t, from + r.number, fault);
		int status = to ? mend_adopt(to, row) : 0;
		if (status)
			return status;
	}
	if (more < 0 && errno == EMSGSIZE)
		return mend_note_line(t, from + r.number + 1, "it is too long");
	return more < 0 ? disk_fail(&t->file, "read") : 0;
}

static int mend_fail_replace(const struct table *t)
{
	return rights_fail("put a fresh table in the place of", t->file.path);
}

int mend_read_only(struct table *t)
{
	return mend_read_lines(t, t->rows, NULL);
}

int mend_rewrite(struct table *t)
{
	struct table fresh = {.today = t->today, .is_known = true};
	char path[PATH_MAX];
	int status = mend_read_only(t);

	if (status)
		return status;
	if (disk_new(&t->file, &fresh.file, path) < 0)
		return mend_fail_replace(t);
	status = mend_read_lines(t, 0, &fresh);
	if (status)
		disk_discard(&fresh.file);
	else if (disk_put(&t->file, &fresh.file) < 0)
		status = mend_fail_replace(t);
	if (status) {
		index_free(&fresh.index);
		return status;
	}
	table_forget(t);
	t->index = fresh.index;
	t->rows = fresh.rows;
	t->is_known = true;
	log_info("%s has a fresh table: %zu counters", t->file.path, t->rows);
	return 0;
}
