/*
 * The items. New ones are made in one round trip by items.lua, for which
 * "item:id" is the last id. In a Cluster each item has a slot of its own: the
 * script only takes the ids, and a second round trip sets the items.
 */
#include "store/failure.h"
#include "store/item.h"
#include "store/net/pipeline.h"
#include "store/redis/reply.h"
#include "store/redis/script.h"

#include <stdio.h>
#include <stdlib.h>

static const char script_items[] = {
#include "store/redis/total.lua.inc"
#include "store/redis/items.lua.inc"
};

/*
 * Making items
 */

struct new_item {
	struct item *item;
	struct slice json;
	size_t command;
};

static struct {
	struct new_item items[STORE_NEW_ITEMS_MAX]; /* that are not made yet */
	size_t len;
	bool has_failed; /* and the log was told */
} batch;

/* Writes the items as JSON; gives the memory of the texts, or NULL. */
static char *items_write(void)
{
	enum {
		FRAME = STORE_ITEM_JSON_MAX -
			6 * (STORE_ITEM_NAME_MAX + STORE_ITEM_DESCRIPTION_MAX)
	};
	size_t size = 0;

	for (size_t i = 0; i < batch.len; i++) {
		const struct item *item = batch.items[i].item;

		size += 6 * (item->name.n + item->description.n) + FRAME;
	}
	char *texts = malloc(size), *to = texts;
	for (size_t i = 0; i < batch.len && texts; i++) {
		const struct item *item = batch.items[i].item;
		size_t n = item_write(to, 0, item->name, item->description);

		batch.items[i].json = (struct slice){to, n};
		to += n;
	}
	return texts;
}

/* Gives up `len` items with the reason noted last. The log is told of the first
 * failure of a call: each node of a Cluster may have a reason of its own. */
static void items_refuse(struct new_item *items, size_t len, int status)
{
	const char *error = store_answer();

	for (size_t i = 0; i < len; i++) {
		items[i].item->status = status;
		items[i].item->error = error;
	}
	if (status == 503 && !batch.has_failed) {
		failure_tell(FAILURE_ITEMS, status);
		batch.has_failed = true;
	}
}

/* Runs items.lua, in a Cluster without the items. */
static struct redis_answer items_run_script(bool is_cluster)
{
	static struct slice words[STORE_NEW_ITEMS_MAX + 6];
	char max[NUMBER_MAX], n[NUMBER_MAX];
	size_t argc = 0;

	words[argc++] = SLICE("EVAL");
	words[argc++] = (struct slice){script_items, sizeof(script_items)};
	words[argc++] = SLICE("1");
	words[argc++] = keys_last_id();
	words[argc++] = redis_number(max, pipeline_settings()->max_items);
	words[argc++] = redis_number(n, (int64_t)batch.len);
	for (size_t i = 0; i < batch.len && !is_cluster; i++)
		words[argc++] = batch.items[i].json;
	size_t command = pipeline_add(keys_last_id(), argc, words);
	pipeline_run();
	return redis_answer_to(command);
}

/* The id of item `i` in an answer of items.lua; a status with its reason. */
static int items_read_id(const struct redis_answer *answer, size_t i,
			 int64_t *id)
{
	if (i + 1 >= answer->reply->elements) {
		fail_own("there are MAX_ITEMS=%d items",
			 pipeline_settings()->max_items);
		return 507;
	}
	const redisReply *text = answer->reply->element[i + 1];
	if (!redis_is_text(text) || !number_read(redis_text(text), id))
		return redis_fail(answer, keys_last_id().p);
	return 0;
}

/* Leaves those that have got an id. */
static void items_read_ids(bool is_cluster)
{
	const struct redis_answer answer = items_run_script(is_cluster);
	int status = redis_judge(&answer, keys_last_id().p, 0);
	size_t got = 0;

	while (!status && got < batch.len) {
		struct item *item = batch.items[got].item;

		status = items_read_id(&answer, got, &item->id);
		item->status = 0;
		got += !status;
	}
	if (status)
		items_refuse(batch.items + got, batch.len - got, status);
	batch.len = got;
}

/* In a Cluster: sets the items under their ids. Leaves those under whose id
 * there is an item already, since somebody has reset the last id. */
static void items_put(void)
{
	struct key key;
	size_t left = 0;

	for (size_t i = 0; i < batch.len; i++) {
		const struct slice words[] = {
			SLICE("SET"), keys_item(&key, batch.items[i].item->id),
			batch.items[i].json, SLICE("NX")};

		batch.items[i].command = pipeline_add(words[1], 4, words);
	}
	pipeline_run();
	for (size_t i = 0; i < batch.len; i++) {
		struct new_item *item = &batch.items[i];
		const struct redis_answer answer =
			redis_answer_to(item->command);
		const redisReply *reply = answer.reply;

		keys_item(&key, item->item->id);
		if (reply && reply->type == REDIS_REPLY_NIL)
			batch.items[left++] = *item;
		else if (!reply || reply->type != REDIS_REPLY_STATUS)
			items_refuse(item, 1, redis_fail(&answer, key.bytes));
	}
	batch.len = left;
}

static int items_begin(char **texts)
{
	*texts = items_write();
	return *texts ? pipeline_begin() : fail("out of memory");
}

void store_items_create(struct item *items, size_t len)
{
	char *texts = NULL;

	if (len == 0)
		return;
	batch.len = len;
	batch.has_failed = false;
	for (size_t i = 0; i < len; i++)
		batch.items[i].item = &items[i];
	int status = items_begin(&texts);
	if (status) {
		items_refuse(batch.items, len, status);
		batch.len = 0;
	}
	while (batch.len > 0) {
		bool is_cluster = pipeline_is_cluster();

		items_read_ids(is_cluster);
		if (!is_cluster)
			break;
		items_put();
	}
	free(texts);
	if (!batch.has_failed)
		failure_tell(FAILURE_ITEMS, 0);
}

/*
 * Reading items
 */

static int items_read(struct item *item, size_t command, char *room)
{
	const struct redis_answer answer = redis_answer_to(command);
	const redisReply *reply = answer.reply;
	struct key key;

	keys_item(&key, item->id);
	if (reply && reply->type == REDIS_REPLY_NIL) {
		item->error = "there is no such item";
		return 404;
	}
	if (!reply || !redis_is_text(reply))
		return redis_fail(&answer, key.bytes);
	size_t n = item_with_id(room, item->id, redis_text(reply));
	if (n == 0)
		return redis_fail_text(&answer, key.bytes, redis_text(reply));
	item->json = (struct slice){room, n};
	return 0;
}

void store_items_get(struct item *items, size_t len)
{
	static char rooms[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
	size_t commands[STORE_ITEMS_MAX];
	struct key key;
	int bad = pipeline_begin();

	for (size_t i = 0; i < len && !bad; i++)
		commands[i] = redis_get(keys_item(&key, items[i].id));
	if (!bad)
		pipeline_run();
	for (size_t i = 0; i < len; i++) {
		struct item *item = &items[i];

		item->status =
			bad ? bad : items_read(item, commands[i], rooms[i]);
		if (item->status == 503)
			item->error = store_answer();
		if (item->status != 404)
			failure_tell(FAILURE_ITEMS, item->status);
	}
}
