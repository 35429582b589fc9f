/*
 * `items`: JSON lines, append only; the line number is the id, and no part of
 * the line. What an editor leaves there is served if it is an item, and
 * answered with 503 if it is not understood.
 */
#include "store/file/items.h"

#include "store/failure.h"
#include "store/file/lines.h"
#include "store/item.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/reason.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

enum { LINE_REST = 64 /* bytes of a line beside its texts */ };

static struct {
	const struct settings *settings;
	struct lines lines;
	char path[PATH_MAX];
	/* New items as lines: a byte of a text may take six in JSON. */
	char text[6 * STORE_NEW_BYTES_MAX + STORE_NEW_ITEMS_MAX * LINE_REST];
	size_t ends[STORE_NEW_ITEMS_MAX];
	char read[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
} items;

void items_open(const struct settings *settings, struct folder *folder)
{
	snprintf(items.path, sizeof(items.path), "%s/items",
		 settings->data_dir);

	items.settings = settings;
	items.lines.file = (struct disk_file){
		.path = items.path, .folder = folder, .fd = -1};
}

void items_close(void)
{
	lines_close(&items.lines);
}

struct disk_file *items_file(void)
{
	return &items.lines.file;
}

static void items_write_text(const struct item *new, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		n += item_write(items.text + n, 0, new[i].name,
				new[i].description);
		items.text[n++] = '\n';
		items.ends[i] = n;
	}
}

/* Those behind the first `appended` found no room. */
static void items_settle(struct item *new, size_t len, size_t appended,
			 int status)
{
	const struct settings *s = items.settings;
	const char *error = status ? store_answer() : NULL;
	int64_t id = (int64_t)(items.lines.len - appended);

	if (!status && appended < len)
		error = reason_write("there are MAX_ITEMS=%d items",
				     s->max_items);
	for (size_t i = 0; i < len; i++) {
		new[i].status = status ? status : i < appended ? 0 : 507;
		new[i].error = error;
		new[i].id = ++id;
	}
}

void store_items_create(struct item *new, size_t len)
{
	const struct settings *s = items.settings;
	size_t appended;

	items_write_text(new, len);
	int status = lines_append(&items.lines, items.text, items.ends, len,
				  (size_t)s->max_items,
				  clock_ms() + s->store_timeout, &appended);
	if (!status && appended > 0)
		status = disk_settle(&items.lines.file, (enum sync_mode)s->sync,
				     true);
	failure_tell(FAILURE_ITEMS, status);
	items_settle(new, len, appended, status);
}

/* What is wrong with an item that is there. */
static int items_fail_one(struct item *item)
{
	item->error = store_answer();
	return item->status = 503;
}

/* Reads into `room`. */
static int items_get(struct item *item, char *room)
{
	static char line[STORE_ITEM_JSON_MAX];
	size_t n = (size_t)item->id;

	item->status = 0;
	if (item->id < 1 || (uint64_t)item->id > items.lines.len) {
		item->error = "there is no such item";
		return item->status = 404;
	}
	size_t size = lines_line_size(&items.lines, n);
	if (size > sizeof(line)) {
		fail("line %zu of %s is too long", n, items.path);
		return items_fail_one(item);
	}
	if (lines_read_line(&items.lines, n, line) < 0) {
		disk_fail(&items.lines.file, "read");
		return items_fail_one(item);
	}
	item->json.p = room;
	item->json.n =
		item_with_id(room, item->id, (struct slice){line, size - 1});
	if (item->json.n > 0)
		return 0;
	fail("line %zu of %s is not understood: it should be "
	     "{\"name\":\"...\",\"description\":\"...\"}",
	     n, items.path);
	return items_fail_one(item);
}

void store_items_get(struct item *wanted, size_t len)
{
	int bad = lines_catch_up(&items.lines);

	if (bad < 0)
		disk_fail(&items.lines.file, "read");
	for (size_t i = 0; i < len; i++) {
		if (bad < 0)
			items_fail_one(&wanted[i]);
		else
			items_get(&wanted[i], items.read[i]);
		if (wanted[i].status != 404)
			failure_tell(FAILURE_ITEMS, wanted[i].status);
	}
}
