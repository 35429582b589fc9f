/* The counters with names: what a turn does to the rows of their table. */
#include "store/file/counters.h"

#include "store/day.h"
#include "store/failure.h"
#include "store/file/table.h"
#include "util/clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	const struct settings *settings;
	struct table table;
	char path[PATH_MAX];
} counters;

void counters_open(const struct settings *settings, struct folder *folder)
{
	snprintf(counters.path, sizeof(counters.path), "%s/counters",
		 settings->data_dir);

	counters.settings = settings;
	counters.table = (struct table){
		.only_looks = counters.table.only_looks,
		.file = {.path = counters.path, .folder = folder, .fd = -1},
	};
}

void counters_close(void)
{
	table_close(&counters.table);
}

struct disk_file *counters_file(void)
{
	return &counters.table.file;
}

/* After unlocking, before answering. `wrote`: this call has. */
static int counters_settle(bool wrote)
{
	return disk_settle(&counters.table.file,
			   (enum sync_mode)counters.settings->sync, wrote);
}

/* A counter's row, as it is or as it will be. */
struct place {
	size_t number; /* of the row in the table */
	bool is_there; /* else it is to be appended */
	bool is_new;   /* nothing is counted there, now */
	char row[ROW_SIZE], old[ROW_SIZE];
};

/* A row for the name: the one that is there, or a fresh one. */
static int counters_find(struct slice name, struct place *place)
{
	struct table *table = &counters.table;
	int status = table_find(table, name, place->row, &place->number);

	if (status && status != 404)
		return status;
	place->is_there = status == 0;
	place->is_new = status == 404 || row_total(place->row) == ROW_DROPPED;
	if (place->is_there)
		memcpy(place->old, place->row, ROW_SIZE);
	if (place->is_new)
		row_make(place->row, name, &table->today);
	return 0;
}

static int counters_put(struct place *place)
{
	struct table *table = &counters.table;

	if (!place->is_there)
		return table_append(table, place->row,
				    (size_t)counters.settings->max_counters);
	int status = table_write(table, place->number, place->row, place->old);
	if (!status && place->is_new && table->dropped > 0)
		table->dropped--;
	return status;
}

/* Under the lock: counts the tally's visits, or only reads. */
static int counters_count(struct tally *t)
{
	const struct date_day *today = &counters.table.today;
	bool is_dated = !day_precedes_build(today);
	struct place place;
	int status = counters_find(t->counter, &place);

	if (status)
		return status;
	t->is_new = place.is_new;
	if (place.is_new && t->n == 0)
		return 404;
	int64_t total = row_total(place.row);
	if (t->n > INT64_MAX - total)
		return fail_own("counter is full");
	t->total = total + t->n;
	if (t->n > 0) {
		row_set_total(place.row, t->total);
		if (is_dated)
			row_count(place.row, t->n, today);
		status = counters_put(&place);
	}
	t->today = is_dated ? row_today(place.row, today) : 0;
	return status;
}

/* The error of a tally whose status has just been noted. */
static const char *counters_error(int status)
{
	return status == 404 ? "no such counter" : store_answer();
}

static void counters_refuse(struct tally *tallies, size_t len, int status)
{
	const char *why = counters_error(status);

	for (size_t i = 0; i < len; i++) {
		if (store_is_home(tallies[i].counter))
			continue;
		tallies[i].status = status;
		tallies[i].error = why;
	}
}

/* Under the lock. Gives 503, and tells the log, if the store is to blame for
 * any of them. *wrote: something is to be synced. */
static int counters_count_all(struct tally *tallies, size_t len, bool *wrote)
{
	int worst = 0;

	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		if (store_is_home(t->counter))
			continue;
		t->status = counters_count(t);
		if (t->status == 0)
			*wrote |= t->n > 0;
		else
			t->error = counters_error(t->status);
		if (t->status == 503 && !failure_is_own()) {
			worst = 503;
			failure_tell(FAILURE_COUNTERS, 503);
		}
	}
	return worst;
}

void counters_add(struct tally *tallies, size_t len, int64_t deadline)
{
	bool counting = false, wrote = false, named = false;
	int worst = 0;

	for (size_t i = 0; i < len; i++) {
		if (store_is_home(tallies[i].counter))
			continue;
		named = true;
		counting |= tallies[i].n > 0;
	}
	if (!named)
		return;
	int status = table_lock(&counters.table, counting, deadline);
	if (!status) {
		worst = counters_count_all(tallies, len, &wrote);
		table_unlock(&counters.table);
		status = counters_settle(wrote);
	}
	if (status)
		counters_refuse(tallies, len, status);
	if (status || !worst)
		failure_tell(FAILURE_COUNTERS, status);
}

/* Ends a change: tells the log of its status. */
static int counters_end_change(int status)
{
	/* A 404 may say what an earlier call has done that could not sync it.
	 */
	if (status == 0 || status == 404) {
		int settled = counters_settle(true);

		status = settled ? settled : status;
	}
	if (status == 0 || (status == 503 && !failure_is_own()))
		failure_tell(FAILURE_COUNTERS, status);
	return status;
}

int counters_set(struct slice name, int64_t value, int64_t deadline)
{
	struct place place;
	int status = table_lock(&counters.table, true, deadline);

	if (!status) {
		status = counters_find(name, &place);
		if (!status) {
			row_set_total(place.row, value);
			status = counters_put(&place);
		}
		table_unlock(&counters.table);
	}
	return counters_end_change(status);
}

/* Under the lock. */
static int counters_mark_dropped(struct slice name)
{
	struct place place;
	int status = counters_find(name, &place);

	if (status)
		return status;
	if (place.is_new) {
		fail_own("no counter \"%.*s\"", (int)name.n, name.p);
		return 404;
	}
	row_set_total(place.row, ROW_DROPPED);
	status = counters_put(&place);
	counters.table.dropped += status == 0;
	return status;
}

int counters_drop(struct slice name, int64_t deadline)
{
	int status = table_lock(&counters.table, false, deadline);

	if (!status) {
		status = counters_mark_dropped(name);
		table_unlock(&counters.table);
	}
	return counters_end_change(status);
}

int counters_each(void (*each)(struct slice counter, int64_t total,
			       void *context),
		  void *context, int64_t deadline)
{
	size_t rows;
	char *bytes;
	int status = table_lock(&counters.table, false, deadline);

	if (status)
		return status;
	status = table_read(&counters.table, &bytes, &rows);
	table_unlock(&counters.table);
	if (status)
		return status;
	for (size_t i = 0; i < rows; i++) {
		const char *row = bytes + i * ROW_SIZE;

		if (row_is_whole(row) && row_total(row) != ROW_DROPPED)
			each(row_name(row), row_total(row), context);
	}
	free(bytes);
	return 0;
}

void counters_only_look(void)
{
	counters.table.only_looks = true;
}

int counters_look(int64_t deadline)
{
	int status = table_lock(&counters.table, false, deadline);

	if (!status)
		table_unlock(&counters.table);
	return status;
}
