/*
 * `items`: JSON lines, append only; the line number is the id, and no part of
 * the line. What an editor leaves there is served if it is an item, and
 * answered with 503 if it is not understood.
 */
#include "store/file/items.h"

#include "store/failure.h"
#include "store/item.h"
#include "store/file/lines.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/number.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

static struct {
	const struct settings *settings;
	struct lines lines;
	char path[PATH_MAX];
	bool unsynced;
	char line[STORE_ITEM_JSON_MAX];
	char read[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
} items;

int items_open(const struct settings *settings)
{
	items.settings = settings;
	items.unsynced = false;
	items.lines.file = (struct disk_file){.path = items.path, .fd = -1};
	return snprintf(items.path, sizeof(items.path), "%s/items",
			settings->data_dir) < PATH_MAX
		       ? 0
		       : -1;
}

void items_close(void)
{
	lines_close(&items.lines);
}

bool items_is_unsynced(void)
{
	return items.unsynced;
}

int items_sync(void)
{
	if (items.unsynced && lines_sync(&items.lines) < 0)
		return -1;
	items.unsynced = false;
	return 0;
}

static int append(size_t len)
{
	const struct settings *s = items.settings;
	int done = lines_append(&items.lines, items.line, len,
				(size_t)s->max_items,
				clock_ms() + s->store_timeout);

	if (done > 0) {
		fail("there are MAX_ITEMS=%d items", s->max_items);
		return 507;
	}
	if (done < 0 && errno == ETIMEDOUT)
		return fail("%s is locked by another process", items.path);
	if (done < 0)
		return fail("cannot write %s:", items.path);
	items.unsynced |= s->sync != SYNC_NO;
	if (s->sync == SYNC_ALWAYS && items_sync() < 0)
		return fail("cannot sync %s:", items.path);
	return 0;
}

static int create_one(struct slice name, struct slice description, int64_t *id)
{
	size_t len = item_write(items.line, 0, name, description);

	items.line[len++] = '\n';
	int status = append(len);
	failure_tell(FAILURE_ITEMS, status == 507 ? 0 : status);
	if (!status)
		*id = (int64_t)items.lines.len;
	return status;
}

void store_items_create(struct item *new, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		struct item *item = &new[i];

		item->status =
			create_one(item->name, item->description, &item->id);
		if (item->status)
			item->error = item->status == 503 ? failure_answer()
							  : failure_reason();
	}
}

/* Each its own reason, in the room of its item. */
static int fail_item(struct item *item, char *room)
{
	snprintf(room, STORE_ITEM_JSON_MAX, "%s", failure_answer());
	item->error = room;
	return item->status = 503;
}

/* Reads into `room`: the id is put before the members of the line. */
static int get(struct item *item, char *room)
{
	size_t head = 0, n = (size_t)item->id, size;

	item->status = 0;
	if (item->id < 1 || n > items.lines.len) {
		item->error = "there is no such item";
		return item->status = 404;
	}
	size = lines_line_size(&items.lines, n);
	memcpy(room, "{\"id\":", 6);
	head = 6 + number_write(room + 6, item->id);
	room[head++] = ',';
	if (head + size > STORE_ITEM_JSON_MAX) {
		fail("line %zu of %s is too long", n, items.path);
		return fail_item(item, room);
	}
	/* The line's opening bracket goes where the comma will be. */
	char *line = room + head - 1;
	if (lines_read_line(&items.lines, n, line) < 0) {
		fail("cannot read %s:", items.path);
		return fail_item(item, room);
	}
	if (!item_is_valid((struct slice){line, size - 1})) {
		fail("line %zu of %s is not understood: it should be "
		     "{\"name\":\"...\",\"description\":\"...\"}",
		     n, items.path);
		return fail_item(item, room);
	}
	*line = ',';
	item->json = (struct slice){room, head - 1 + size - 1};
	return 0;
}

void store_items_get(struct item *wanted, size_t len)
{
	int bad = lines_catch_up(&items.lines);

	if (bad < 0)
		fail("cannot read %s:", items.path);
	for (size_t i = 0; i < len; i++) {
		if (bad < 0)
			fail_item(&wanted[i], items.read[i]);
		else
			get(&wanted[i], items.read[i]);
		if (wanted[i].status != 404)
			failure_tell(FAILURE_ITEMS, wanted[i].status);
	}
}
