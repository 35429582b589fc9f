/* The counters with names: what a turn does to the rows of their table. */
#include "store/file/counters.h"

#include "store/failure.h"
#include "store/file/table.h"
#include "util/clock.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOCKED_MS = 20 /* the wait for a lock that was held too long before */ };

static struct {
	const struct settings *settings;
	struct table table;
	char path[PATH_MAX];
	bool unsynced;
} counters;

int counters_open(const struct settings *settings)
{
	int n = snprintf(counters.path, sizeof(counters.path), "%s/counters",
			 settings->data_dir);

	counters.settings = settings;
	counters.unsynced = false;
	counters.table = (struct table){
		.file = {.path = counters.path, .fd = -1},
	};
	return n < PATH_MAX - 8 ? 0 : -1;
}

void counters_close(void)
{
	table_close(&counters.table);
}

bool counters_is_unsynced(void)
{
	return counters.unsynced;
}

int counters_sync(void)
{
	int status = counters.unsynced ? table_sync(&counters.table) : 0;

	counters.unsynced &= status != 0;
	return status;
}

/* Who waited in vain once does not make every turn wait. */
static int lock(bool create, int64_t deadline)
{
	int64_t soon = clock_ms() + LOCKED_MS;

	if (counters.table.is_late && soon < deadline)
		deadline = soon;
	return table_lock(&counters.table, create, deadline);
}

/* After unlocking, before answering. `wrote`: this call did. */
static int sync_table(bool wrote)
{
	struct table *table = &counters.table;

	if (counters.settings->sync == SYNC_EVERYSEC)
		counters.unsynced |= wrote;
	if (counters.settings->sync != SYNC_ALWAYS)
		return 0;
	return wrote || table->file.fresh ? table_sync(table) : 0;
}

/* A counter's row, as it is or as it will be. */
struct place {
	size_t number; /* of the row in the table */
	bool is_there; /* else it is to be appended */
	bool is_new;   /* nothing is counted there, now */
	char row[ROW_SIZE], old[ROW_SIZE];
};

/* A row for the name: the one that is there, or a fresh one. */
static int find(struct slice name, struct place *place)
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

static int put(struct place *place)
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

static const char full[] = "counter is full";

/* Under the lock: counts the tally's visits, or only reads. */
static int count(struct tally *t)
{
	const struct date_day *today = &counters.table.today;
	struct place place;
	int status = find(t->counter, &place);

	if (status)
		return status;
	t->is_new = place.is_new;
	if (place.is_new && t->n == 0)
		return 404;
	int64_t total = row_total(place.row);
	if (t->n > INT64_MAX - total)
		return fail_own("%s", full);
	t->total = total + t->n;
	if (t->n > 0) {
		row_set_total(place.row, t->total);
		row_count(place.row, t->n, today);
		status = put(&place);
	}
	t->today = row_today(place.row, today);
	return status;
}

/* Why, in words that last until the next call. */
static const char *reason(int status)
{
	static char down[PATH_MAX + 512], no_room[128];

	if (status == 404)
		return "no such counter";
	if (status == 503 && failure_is_own())
		return full;
	if (status == 507) {
		snprintf(no_room, sizeof(no_room), "%s", failure_reason());
		return no_room;
	}
	snprintf(down, sizeof(down), "%s", failure_answer());
	return down;
}

static void refuse(struct tally *tallies, size_t len, int status)
{
	const char *why = reason(status);

	for (size_t i = 0; i < len; i++) {
		if (store_is_home(tallies[i].counter))
			continue;
		tallies[i].status = status;
		tallies[i].error = why;
	}
}

/* Under the lock, and tells the log. *wrote: something is to be synced. */
static void count_all(struct tally *tallies, size_t len, bool *wrote)
{
	int worst = 0;

	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		if (store_is_home(t->counter))
			continue;
		t->status = count(t);
		if (t->status == 0)
			*wrote |= t->n > 0;
		else
			t->error = reason(t->status);
		if (t->status == 503 && !failure_is_own()) {
			worst = 503;
			failure_tell(FAILURE_COUNTERS, 503);
		}
	}
	if (!worst)
		failure_tell(FAILURE_COUNTERS, 0);
}

void counters_add(struct tally *tallies, size_t len, int64_t deadline)
{
	bool counting = false, wrote = false, named = false;

	for (size_t i = 0; i < len; i++) {
		if (store_is_home(tallies[i].counter))
			continue;
		named = true;
		counting |= tallies[i].n > 0;
	}
	if (!named)
		return;
	int status = lock(counting, deadline);
	if (status) {
		refuse(tallies, len, status);
		failure_tell(FAILURE_COUNTERS, status);
		return;
	}
	count_all(tallies, len, &wrote);
	table_unlock(&counters.table);
	status = sync_table(wrote);
	if (status) {
		refuse(tallies, len, status);
		failure_tell(FAILURE_COUNTERS, status);
	}
}

int counters_set(struct slice name, int64_t value, int64_t deadline)
{
	struct place place;
	int status = lock(true, deadline);

	if (status)
		return status;
	status = find(name, &place);
	if (!status) {
		row_set_total(place.row, value);
		status = put(&place);
	}
	table_unlock(&counters.table);
	return status ? status : sync_table(true);
}

/* Under the lock. */
static int drop(struct slice name)
{
	struct place place;
	int status = find(name, &place);

	if (status)
		return status;
	if (place.is_new) {
		fail("no counter \"%.*s\"", (int)name.n, name.p);
		return 404;
	}
	row_set_total(place.row, ROW_DROPPED);
	status = put(&place);
	counters.table.dropped += status == 0;
	return status;
}

int counters_drop(struct slice name, int64_t deadline)
{
	int status = lock(false, deadline);

	if (status)
		return status;
	status = drop(name);
	table_unlock(&counters.table);
	return status ? status : sync_table(true);
}

int counters_each(void (*each)(struct slice counter, int64_t total,
			       void *context),
		  void *context, int64_t deadline)
{
	size_t rows;
	char *bytes;
	int status = lock(false, deadline);

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

int counters_look(int64_t deadline, bool *is_late)
{
	int status = lock(false, deadline);

	*is_late = counters.table.is_late;
	if (!status)
		table_unlock(&counters.table);
	return status;
}
