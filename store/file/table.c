#include "store/file/table.h"

#include "store/failure.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK_ROWS = 128,   /* read at a time */
	LINE_SIZE = 4096,   /* of an editor's line, at most */
	EDIT_MS = 100,	    /* how long a size stays the same after an edit */
	ANEW_MS = 1000,	    /* between two readings for the sake of a name */
	ANEW_SHARE = 20,    /* and so many times what the first has taken */
	GARBAGE_MS = 10000, /* after which it is read again all the same */
	TICK_SECONDS = 1,   /* more than any tick of a file system's clock */
	RESERVE_MAX = 1 << 20, /* rows that room is made for at once */
	COMPACT_MIN = 1024,    /* rows of a table that is compacted by itself */
	/* Beside the statuses: */
	ODD = -1, /* rows are not as this program writes them */
};

static off_t end_of(size_t rows)
{
	return (off_t)rows * ROW_SIZE;
}

static int fail_read(const struct table *t)
{
	return fail("cannot read %s:", t->file.path);
}

static int fail_write(const struct table *t)
{
	return fail("cannot write %s:", t->file.path);
}

static int fail_memory(const struct table *t)
{
	return fail("%s has more rows than there is memory for:", t->file.path);
}

static int fail_edited(const struct table *t)
{
	return fail("%s is being edited", t->file.path);
}

static void forget(struct table *t)
{
	index_free(&t->index);
	t->rows = t->dropped = 0;
	t->is_known = false;
	t->opened = t->file.opened;
	t->anew_at = clock_ms() + ANEW_MS;
}

void table_close(struct table *t)
{
	disk_close(&t->file);
	forget(t);
}

/*
 * What is known
 */

static int read_row(const struct table *t, size_t number, char *row)
{
	ssize_t n = disk_read(&t->file, row, ROW_SIZE, end_of(number));

	if (n < 0)
		return fail_read(t);
	return n == ROW_SIZE ? 0 : ODD;
}

/* The row of a name: 0, 404, or ODD when what is known is not true any more. */
static int look_up_hash(const struct table *t, struct slice name, uint32_t hash,
			char *row, size_t *number)
{
	size_t cursor = 0;

	while (index_next(&t->index, hash, &cursor, number)) {
		int status = read_row(t, *number, row);

		if (status)
			return status;
		if (!row_is_whole(row))
			return ODD;
		if (slice_equal(row_name(row), name))
			return 0;
		if (hash_name(row_name(row)) != hash)
			return ODD;
	}
	return 404;
}

static int look_up(const struct table *t, struct slice name, char *row,
		   size_t *number)
{
	return look_up_hash(t, name, hash_name(name), row, number);
}

/* Notes row number t->rows. ODD: its name has one already. */
static int know_row(struct table *t, const char *row, uint32_t hash)
{
	char other[ROW_SIZE];
	size_t number;
	int status = look_up_hash(t, row_name(row), hash, other, &number);

	if (status != 404)
		return status == 0 ? ODD : status;
	if (index_add(&t->index, hash, t->rows) < 0)
		return fail_memory(t);
	t->rows++;
	t->dropped += row_total(row) == ROW_DROPPED;
	return 0;
}

/* Notes `n` rows, CHUNK_ROWS at most. ODD: t->rows is the first that is not as
 * it should be. */
static int know_chunk(struct table *t, const char *rows, size_t n)
{
	uint32_t hashes[CHUNK_ROWS];
	size_t whole = 0;
	int status = 0;

	while (whole < n && row_is_whole(rows + whole * ROW_SIZE)) {
		hashes[whole] = hash_name(row_name(rows + whole * ROW_SIZE));
		index_prefetch(&t->index, hashes[whole]);
		whole++;
	}
	for (size_t i = 0; i < whole && !status; i++)
		status = know_row(t, rows + i * ROW_SIZE, hashes[i]);
	return status == 0 && whole < n ? ODD : status;
}

/* Takes in the rows up to `rows`; ODD as above. */
static int know_rows(struct table *t, size_t rows)
{
	static char chunk[CHUNK_ROWS * ROW_SIZE];
	int status = 0;

	/* A table of 100,000 would else be put in its place eight times. */
	if (index_reserve(&t->index, rows < RESERVE_MAX ? rows : RESERVE_MAX) <
	    0)
		return fail_memory(t);
	while (t->rows < rows && !status) {
		size_t n = rows - t->rows < CHUNK_ROWS ? rows - t->rows
						       : CHUNK_ROWS;
		ssize_t have = disk_read(&t->file, chunk, n * ROW_SIZE,
					 end_of(t->rows));

		if (have < 0)
			return fail_read(t);
		if ((size_t)have < n * ROW_SIZE)
			return ODD;
		status = know_chunk(t, chunk, n);
	}
	return status;
}

/*
 * Rows that are not as this program writes them
 */

/* Whether the bytes behind the last row that is known, at a row's place, may
 * be what a crash has left. */
static bool is_torn(const char *bytes, size_t n)
{
	for (size_t at = 0; at < n; at += ROW_SIZE)
		if (!row_is_torn(bytes + at,
				 n - at < ROW_SIZE ? n - at : ROW_SIZE))
			return false;
	return true;
}

/* What is behind the last row that is known: 0 when it was never answered, and
 * is cut off; else ODD. */
static int cut_tail(const struct table *t, off_t size)
{
	char bytes[LINE_SIZE];

	for (off_t at = end_of(t->rows); at < size;) {
		ssize_t n = disk_read(&t->file, bytes, sizeof(bytes), at);

		if (n < 0)
			return fail_read(t);
		if (n == 0) /* an editor has just emptied it */
			return fail_edited(t);
		if (!is_torn(bytes, (size_t)n))
			return ODD;
		at += n;
	}
	if (ftruncate(t->file.fd, end_of(t->rows)) < 0)
		return fail_write(t);
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
static void skip_nuls(struct reader *r)
{
	while (r->used < r->len && r->bytes[r->used] == '\0')
		r->used++;
}

/* More bytes. EMSGSIZE: the line is longer than any that could be understood.
 */
static int refill(struct reader *r)
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
static int read_line(struct reader *r, struct slice *line)
{
	const char *end;

	for (;;) {
		skip_nuls(r);
		end = memchr(r->bytes + r->used, '\n', r->len - r->used);
		if (end || r->ended)
			break;
		if (refill(r) < 0)
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

static bool is_empty(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if (line.p[i] != ' ' && line.p[i] != '\t' && line.p[i] != '\0')
			return false;
	return true;
}

static int fail_line(const struct table *t, size_t number, const char *fault)
{
	return fail_garbage("line %zu of %s is not understood: %s", number,
			    t->file.path, fault);
}

/* Notes it, too, unless the file has just changed: another change within the
 * same tick of the kernel's clock would not show. */
static int note_line(struct table *t, size_t number, const char *fault)
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
	return fail_line(t, number, fault);
}

static bool is_same_garbage(const struct table *t)
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
static int adopt(struct table *to, const char *row)
{
	char mine[ROW_SIZE], both[ROW_SIZE];
	size_t number;
	int status = look_up(to, row_name(row), mine, &number);

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
static int read_lines(struct table *t, size_t from, struct table *to)
{
	struct reader r = {.file = &t->file, .at = end_of(from)};
	char row[ROW_SIZE];
	struct slice line;
	int more;

	while ((more = read_line(&r, &line)) > 0) {
		if (is_empty(line))
			continue;
		const char *fault = row_parse(row, line, &t->today);
		if (fault)
			return note_line(t, from + r.number, fault);
		int status = to ? adopt(to, row) : 0;
		if (status)
			return status;
	}
	if (more < 0 && errno == EMSGSIZE)
		return note_line(t, from + r.number + 1, "it is too long");
	return more < 0 ? fail_read(t) : 0;
}

static int fail_replace(const struct table *t)
{
	return fail("cannot put a fresh table in the place of %s:",
		    t->file.path);
}

/* A fresh table in the place of this one, without the dropped rows. */
static int rewrite(struct table *t)
{
	struct table fresh = {.today = t->today, .is_known = true};
	char path[PATH_MAX];
	int status = read_lines(t, t->rows, NULL);

	if (status)
		return status;
	if (disk_new(&t->file, &fresh.file, path) < 0)
		return fail_replace(t);
	status = read_lines(t, 0, &fresh);
	if (status)
		disk_discard(&fresh.file);
	else if (disk_put(&t->file, &fresh.file) < 0)
		status = fail_replace(t);
	if (status) {
		index_free(&fresh.index);
		return status;
	}
	forget(t);
	t->index = fresh.index;
	t->rows = fresh.rows;
	t->is_known = true;
	log_info("%s has a fresh table: %zu counters", t->file.path, t->rows);
	return 0;
}

/*
 * Locking
 */

/* Opens and locks what the path names now; file.fd < 0: nothing, and nothing is
 * needed. */
static int lock_file(struct table *t, bool create, int64_t deadline)
{
	t->is_late = false;
	if (disk_lock(&t->file, create, deadline) == 0)
		return 0;
	switch (errno) {
	case ENOENT:
		if (!create)
			return 0;
		break;
	case EINVAL:
		return fail("%s is not a regular file", t->file.path);
	case ETIMEDOUT:
		t->is_late = true;
		return fail("%s is locked by another process", t->file.path);
	}
	return fail("cannot open and lock %s:", t->file.path);
}

static int take_in(struct table *t, off_t size)
{
	size_t from;
	int status;

	if (t->opened != t->file.opened || size < end_of(t->rows))
		forget(t);
	if (size <= 0)
		return 0;
	do {
		from = t->rows;
		status = know_rows(t, (size_t)size / ROW_SIZE);
		if (status == 0 && size % ROW_SIZE == 0)
			return 0;
		if (status != 0 && status != ODD)
			return status;
		/* It may be another text by now: nothing is cut off behind
		 * rows that were there once. */
		if (from > 0)
			forget(t);
	} while (from > 0);
	status = cut_tail(t, size);
	return status == ODD ? rewrite(t) : status;
}

/* Takes in what has come to the file since it was last looked at. */
static int catch_up(struct table *t, off_t size)
{
	t->is_known = false;
	if (t->file.fd >= 0 && is_same_garbage(t))
		return fail_line(t, t->garbage.line, t->garbage.fault);
	t->garbage.line = 0;
	int status = take_in(t, size);
	t->is_known = status == 0;
	return status;
}

/* When the open file was last changed by anybody. */
static struct timespec changed_at(const struct table *t)
{
	struct stat st;

	if (t->file.fd < 0 || fstat(t->file.fd, &st) < 0)
		return (struct timespec){0, 0};
	return st.st_ctim;
}

/*
 * Whether an odd file has stayed the same for long enough. This lasts from call
 * to call: one that has too little time leaves the rest to the next, and what
 * is odd for good is waited for once.
 */
static bool is_over(struct table *t, off_t size)
{
	int64_t now = clock_ms();
	struct timespec changed = changed_at(t);

	if (t->edit.over_at == 0 || size != t->edit.size ||
	    memcmp(&changed, &t->edit.changed, sizeof(changed)) != 0)
		t->edit = (struct table_edit){size, changed, now + EDIT_MS};
	return now >= t->edit.over_at;
}

/* Half a row, or less than there was; of a new file only what none can be. */
static bool is_odd(const struct table *t, off_t size)
{
	bool is_new = size > 0 && t->opened != t->file.opened;

	return size % ROW_SIZE != 0 || (!is_new && size < end_of(t->rows));
}

int table_lock(struct table *t, bool create, int64_t deadline)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	date_know_day(&t->today, time(NULL));
	for (;;) {
		/* Not what an editor is about to make. */
		int status = lock_file(t, create && t->rows == 0, deadline);

		if (status)
			return status;
		off_t size = t->file.fd >= 0 ? disk_size(&t->file) : 0;
		bool odd = is_odd(t, size);
		if (!odd || is_over(t, size)) {
			status = size < 0 ? fail_read(t) : catch_up(t, size);
			if (!status)
				t->edit.over_at = 0;
			if (!status && t->file.fd < 0 && create)
				continue;
			if (status)
				table_unlock(t);
			return status;
		}
		table_unlock(t);
		if (clock_ms() > deadline)
			return fail("%s is being edited all the time",
				    t->file.path);
		nanosleep(&moment, NULL);
	}
}

void table_unlock(struct table *t)
{
	if (t->file.fd >= 0)
		disk_unlock(&t->file);
}

/*
 * Rows
 */

/* Reads the table anew. */
static int know_anew(struct table *t)
{
	off_t size = disk_size(&t->file);
	int64_t begin = clock_ms();

	forget(t);
	int status = size < 0 ? fail_read(t) : catch_up(t, size);
	int64_t end = clock_ms();
	int64_t pause = (end - begin) * ANEW_SHARE;
	t->anew_at = end + (pause > ANEW_MS ? pause : ANEW_MS);
	return status;
}

int table_find(struct table *t, struct slice name, char *row, size_t *number)
{
	/* A reading for an earlier name of this turn has failed: who appends
	 * behind what is known of the table overwrites the rest of it. */
	if (!t->is_known)
		return 503;
	int status = look_up(t, name, row, number);
	if (status != ODD &&
	    (status != 404 || t->rows == 0 || clock_ms() < t->anew_at))
		return status;
	status = know_anew(t);
	if (!status)
		status = look_up(t, name, row, number);
	return status == ODD ? fail_edited(t) : status;
}

/* Half a row must not stay. */
static void undo(const struct table *t, size_t number, const char *old)
{
	int error = errno;

	if (old ? disk_write(&t->file, old, ROW_SIZE, end_of(number)) < 0
		: ftruncate(t->file.fd, end_of(number)) < 0)
		log_error("%s may be damaged:", t->file.path);
	errno = error;
}

int table_write(struct table *t, size_t number, const char *row,
		const char *old)
{
	if (disk_write(&t->file, row, ROW_SIZE, end_of(number)) == 0)
		return 0;
	undo(t, number, old);
	return fail_write(t);
}

/* Whether there is room for one more row, which dropped ones may give. */
static bool has_room(struct table *t, size_t max)
{
	bool is_worth_it = t->rows >= COMPACT_MIN && t->dropped > t->rows / 2;

	if (t->dropped > 0 && (t->rows >= max || is_worth_it) &&
	    rewrite(t) != 0)
		log_warn("%s is not compacted: %s", t->file.path,
			 failure_reason());
	return t->rows < max;
}

int table_append(struct table *t, const char *row, size_t max)
{
	if (!has_room(t, max)) {
		fail("there are MAX_COUNTERS=%zu counters", max);
		return 507;
	}
	if (disk_write(&t->file, row, ROW_SIZE, end_of(t->rows)) < 0) {
		undo(t, t->rows, NULL);
		return fail_write(t);
	}
	if (index_add(&t->index, hash_name(row_name(row)), t->rows) < 0) {
		undo(t, t->rows, NULL);
		return fail_memory(t);
	}
	t->rows++;
	return 0;
}

int table_sync(struct table *t)
{
	if (t->file.fd < 0 || disk_sync(&t->file) == 0)
		return 0;
	return fail("cannot sync %s:", t->file.path);
}

int table_read(struct table *t, char **bytes, size_t *rows)
{
	int status = t->file.fd >= 0 ? know_anew(t) : 0;
	size_t size = t->rows * ROW_SIZE;

	if (status)
		return status;
	*rows = t->rows;
	*bytes = malloc(size + 1);
	if (!*bytes)
		return fail("%s does not fit into memory:", t->file.path);
	ssize_t n = size > 0 ? disk_read(&t->file, *bytes, size, 0) : 0;
	if (n == (ssize_t)size)
		return 0;
	free(*bytes);
	return n < 0 ? fail_read(t) : fail_edited(t);
}
