#include "store/file/table.h"

#include "store/failure.h"
#include "store/file/mend.h"
#include "store/file/room.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	CHUNK_ROWS = 128,      /* read at a time */
	RESERVE_MAX = 1 << 20, /* rows that room is made for at once */
	COMPACT_MIN = 1024,    /* rows of a table that is compacted by itself */
};

off_t table_offset(size_t rows)
{
	return (off_t)rows * ROW_SIZE;
}

static int table_fail_memory(const struct table *t)
{
	return fail("%s has more rows than there is memory for:", t->file.path);
}

int table_fail_edited(const struct table *t)
{
	return fail("%s is being edited", t->file.path);
}

void table_forget(struct table *t)
{
	index_free(&t->index);
	t->rows = t->dropped = 0;
	t->is_known = false;
	t->opened = t->file.opened;
}

void table_close(struct table *t)
{
	disk_close(&t->file);
	table_forget(t);
}

/*
 * What is known
 */

static int table_read_row(const struct table *t, size_t number, char *row)
{
	ssize_t n = disk_read(&t->file, row, ROW_SIZE, table_offset(number));

	if (n < 0)
		return disk_fail(&t->file, "read");
	return n == ROW_SIZE ? 0 : TABLE_ODD;
}

static int table_look_up_hash(const struct table *t, struct slice name,
			      uint32_t hash, char *row, size_t *number)
{
	size_t cursor = 0;

	while (index_next(&t->index, hash, &cursor, number)) {
		int status = table_read_row(t, *number, row);

		if (status)
			return status;
		if (!row_is_whole(row))
			return TABLE_ODD;
		if (slice_equal(row_name(row), name))
			return 0;
		if (hash_name(row_name(row)) != hash)
			return TABLE_ODD;
	}
	return 404;
}

int table_look_up(const struct table *t, struct slice name, char *row,
		  size_t *number)
{
	return table_look_up_hash(t, name, hash_name(name), row, number);
}

/* Notes row number t->rows. ODD: its name has one already. */
static int table_know_row(struct table *t, const char *row, uint32_t hash)
{
	char other[ROW_SIZE];
	size_t number;
	int status = table_look_up_hash(t, row_name(row), hash, other, &number);

	if (status != 404)
		return status == 0 ? TABLE_ODD : status;
	if (index_add(&t->index, hash, t->rows) < 0)
		return table_fail_memory(t);
	t->rows++;
	t->dropped += row_total(row) == ROW_DROPPED;
	return 0;
}

/* Notes `n` rows, CHUNK_ROWS at most. ODD: t->rows is the first that is not as
 * it should be. */
static int table_know_chunk(struct table *t, const char *rows, size_t n)
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
		status = table_know_row(t, rows + i * ROW_SIZE, hashes[i]);
	return status == 0 && whole < n ? TABLE_ODD : status;
}

/* Rows that are read together. */
static char chunk[CHUNK_ROWS * ROW_SIZE];

/* Takes in the rows up to `rows`; TABLE_ODD as above. */
static int table_know_rows(struct table *t, size_t rows)
{
	int status = 0;

	/* A table of 100,000 would else be put in its place eight times. */
	if (index_reserve(&t->index, rows < RESERVE_MAX ? rows : RESERVE_MAX) <
	    0)
		return table_fail_memory(t);
	while (t->rows < rows && !status) {
		size_t n = rows - t->rows < CHUNK_ROWS ? rows - t->rows
						       : CHUNK_ROWS;
		ssize_t have = disk_read(&t->file, chunk, n * ROW_SIZE,
					 table_offset(t->rows));

		if (have < 0)
			return disk_fail(&t->file, "read");
		if ((size_t)have < n * ROW_SIZE)
			return TABLE_ODD;
		status = table_know_chunk(t, chunk, n);
	}
	return status;
}

/*
 * Locking
 */

static int table_take_in(struct table *t, off_t size)
{
	size_t from;
	int status;

	if (t->opened != t->file.opened || size < table_offset(t->rows))
		table_forget(t);
	if (size <= 0)
		return 0;
	do {
		from = t->rows;
		status = table_know_rows(t, (size_t)(size / ROW_SIZE));
		if (status == 0 && size % ROW_SIZE == 0)
			return 0;
		if (status != 0 && status != TABLE_ODD)
			return status;
		/* It may be another text by now: nothing is cut off behind
		 * rows that were there once. */
		if (from > 0)
			table_forget(t);
	} while (from > 0);
	if (t->only_looks)
		return mend_read_only(t);
	status = mend_cut_tail(t, size);
	return status == TABLE_ODD ? mend_rewrite(t) : status;
}

/* Takes in what has come to the file since it was last looked at. */
static int table_catch_up(struct table *t, off_t size)
{
	t->is_known = false;
	if (t->file.fd >= 0 && mend_is_known_garbage(t))
		return mend_fail_line(t, t->garbage.line, t->garbage.fault);
	t->garbage.line = 0;
	int status = table_take_in(t, size);
	t->is_known = status == 0;
	return status;
}

/* Half a row, or less than there was; of a new file only what none can be. */
static bool table_is_odd(const struct table *t, off_t size)
{
	bool is_new = size > 0 && t->opened != t->file.opened;

	return size % ROW_SIZE != 0 ||
	       (!is_new && size < table_offset(t->rows));
}

int table_lock(struct table *t, bool create, int64_t deadline)
{
	struct disk_file *file = &t->file;

	date_know_day(&t->today, time(NULL));
	t->is_scanned = false;
	for (;;) {
		/* Not what an editor is about to make. */
		int status = disk_take(file, create && t->rows == 0, deadline);

		if (status)
			return status;
		off_t size = file->fd >= 0 ? disk_size(file) : 0;
		bool odd = table_is_odd(t, size);
		if (!odd || edit_is_over(&t->edit, file)) {
			status = size < 0 ? disk_fail(file, "read")
					  : table_catch_up(t, size);
			if (!status)
				edit_forget(&t->edit);
			if (!status && file->fd < 0 && create)
				continue;
			if (status)
				table_unlock(t);
			return status;
		}
		table_unlock(t);
		status = edit_wait(file, deadline);
		if (status)
			return status;
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
static int table_know_anew(struct table *t)
{
	off_t size = disk_size(&t->file);

	table_forget(t);
	return size < 0 ? disk_fail(&t->file, "read") : table_catch_up(t, size);
}

/* Whether the index has that row under that hash. */
static bool table_has_entry(const struct table *t, uint32_t hash, size_t row)
{
	size_t cursor = 0, number;

	while (index_next(&t->index, hash, &cursor, &number))
		if (number == row)
			return true;
	return false;
}

/*
 * Invariant 3: before a name counts as unknown, some rows are compared with
 * what is known of them, once for each time that the table is locked. Gives 0,
 * TABLE_ODD if one of them is of another name, or 503.
 */
static int table_scan(struct table *t)
{
	bool is_small = t->rows <= CHUNK_ROWS;
	size_t from = !is_small && t->scan_at < t->rows ? t->scan_at : 0;
	size_t left = t->rows - from;
	size_t n = left < CHUNK_ROWS ? left : CHUNK_ROWS;
	ssize_t have =
		disk_read(&t->file, chunk, n * ROW_SIZE, table_offset(from));

	if (have < 0)
		return disk_fail(&t->file, "read");
	if ((size_t)have < n * ROW_SIZE)
		return TABLE_ODD;
	for (size_t i = 0; i < n; i++) {
		const char *row = chunk + i * ROW_SIZE;

		if (!row_is_whole(row) ||
		    !table_has_entry(t, hash_name(row_name(row)), from + i))
			return TABLE_ODD;
		/* What another process has dropped gives room, too. */
		if (t->dropped == 0 && row_total(row) == ROW_DROPPED)
			t->dropped = 1;
	}
	t->scan_at = from + n;
	return 0;
}

int table_find(struct table *t, struct slice name, char *row, size_t *number)
{
	/* A reading for an earlier name of this turn has failed: who appends
	 * behind what is known of the table overwrites the rest of it. */
	if (!t->is_known)
		return 503;
	int status = table_look_up(t, name, row, number);
	if (status == 404 && t->rows > 0 && !t->is_scanned) {
		t->is_scanned = true;
		int scanned = table_scan(t);
		status = scanned ? scanned : 404;
	}
	if (status != TABLE_ODD)
		return status;
	status = table_know_anew(t);
	if (!status)
		status = table_look_up(t, name, row, number);
	return status == TABLE_ODD ? table_fail_edited(t) : status;
}

/* Half a row must not stay. */
static void table_undo(struct table *t, size_t number, const char *old)
{
	int error = errno;

	if (old ? disk_write(&t->file, old, ROW_SIZE, table_offset(number)) < 0
		: ftruncate(t->file.fd, table_offset(number)) < 0)
		log_error("%s may be damaged:", t->file.path);
	errno = error;
}

int table_write(struct table *t, size_t number, const char *row,
		const char *old)
{
	if (disk_write(&t->file, row, ROW_SIZE, table_offset(number)) == 0)
		return 0;
	table_undo(t, number, old);
	return disk_fail(&t->file, "write");
}

/* Whether there is room for one more row, which dropped ones may give. */
static bool table_has_room(struct table *t, size_t max)
{
	bool is_worth_it = t->rows >= COMPACT_MIN && t->dropped > t->rows / 2;

	if (t->dropped > 0 && (t->rows >= max || is_worth_it) &&
	    mend_rewrite(t) != 0)
		log_warn("%s is not compacted: %s", t->file.path,
			 store_error());
	return t->rows < max;
}

int table_append(struct table *t, const char *row, size_t max)
{
	if (!table_has_room(t, max)) {
		fail_own("there are MAX_COUNTERS=%zu counters", max);
		return 507;
	}
	if (disk_write(&t->file, row, ROW_SIZE, table_offset(t->rows)) < 0) {
		room_note(&t->file, errno);
		table_undo(t, t->rows, NULL);
		return disk_fail(&t->file, "write");
	}
	if (index_add(&t->index, hash_name(row_name(row)), t->rows) < 0) {
		table_undo(t, t->rows, NULL);
		return table_fail_memory(t);
	}
	t->rows++;
	room_note(&t->file, 0);
	return 0;
}

int table_read(struct table *t, char **bytes, size_t *rows)
{
	int status = t->file.fd >= 0 ? table_know_anew(t) : 0;
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
	return n < 0 ? disk_fail(&t->file, "read") : table_fail_edited(t);
}
