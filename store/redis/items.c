/* The items. */
#include "store/redis/redis.h"

#include "store/failure.h"
#include "store/item.h"

#include <stdio.h>
#include <string.h>

enum { KEY_MAX = 32 };

/* The next id of at most ARGV[1] items; and the item ARGV[2] under it, unless
 * that is a matter of another slot. */
static const char script_item[] =
	REDIS_IS_TOTAL "local id = redis.call('GET', KEYS[1]) or '0'\n"
		       "if not is_total(id) then return {'garbage', id} end\n"
		       "local made\n"
		       "repeat\n"
		       "  if tonumber(redis.call('GET', KEYS[1]) or '0') >= "
		       "tonumber(ARGV[1])\n"
		       "  then return {'full'} end\n"
		       "  id = redis.call('INCR', KEYS[1])\n"
		       "  made = not ARGV[2] or\n"
		       "    redis.call('SETNX', 'item:' .. id, ARGV[2]) == 1\n"
		       "until made\n"
		       "return {'ok', tostring(id)}\n";

static struct slice make_item_key(char key[KEY_MAX], int64_t id)
{
	int n = snprintf(key, KEY_MAX, REDIS_ITEM_KEY "%lld", (long long)id);

	return (struct slice){key, (size_t)n};
}

static int take_id(struct slice json, int64_t *id)
{
	char max[NUMBER_MAX];
	const struct slice words[] = {
		SLICE("EVAL"),
		SLICE(script_item),
		SLICE("1"),
		SLICE(REDIS_ITEM_KEY "id"),
		redis_number(max, pipeline_settings()->max_items),
		json,
	};
	size_t argc = pipeline_is_cluster() ? 5 : 6;
	size_t command = pipeline_add(SLICE(REDIS_ITEM_KEY "id"), argc, words);

	pipeline_run();
	const char *word = redis_word(command, 1);
	if (word && strcmp(word, "full") == 0) {
		fail_own("there are MAX_ITEMS=%d items",
			 pipeline_settings()->max_items);
		return 507;
	}
	if (word && strcmp(word, "garbage") == 0)
		return redis_fail_text(command, REDIS_ITEM_KEY "id",
				       redis_word_text(command, 1));
	if (!word || !number_read(redis_word_text(command, 1), id))
		return redis_fail(command, REDIS_ITEM_KEY "id");
	return 0;
}

/* In a Cluster: under an id that is taken. -1: there was an item already. */
static int put_item(struct slice json, int64_t id)
{
	char key[KEY_MAX];
	const struct slice words[] = {SLICE("SET"), make_item_key(key, id),
				      json, SLICE("NX")};
	size_t command = pipeline_add(words[1], 4, words);

	pipeline_run();
	const redisReply *reply = pipeline_reply(command);
	if (reply && reply->type == REDIS_REPLY_NIL)
		return -1;
	return reply && reply->type == REDIS_REPLY_STATUS
		       ? 0
		       : redis_fail(command, key);
}

static int create_item(struct slice json, int64_t *id)
{
	int status = pipeline_begin();

	if (!status)
		status = take_id(json, id);
	if (status || !pipeline_is_cluster())
		return status;
	while ((status = put_item(json, *id)) < 0) {
		status = take_id(json, id);
		if (status)
			return status;
	}
	return status;
}

static int create_one(struct slice name, struct slice description, int64_t *id)
{
	static char json[STORE_ITEM_JSON_MAX];
	size_t len = item_write(json, 0, name, description);
	int status = create_item((struct slice){json, len}, id);

	failure_tell(FAILURE_ITEMS, status == 503 ? status : 0);
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

static int read_item(struct item *item, size_t command, char *room)
{
	const redisReply *reply = pipeline_reply(command);
	char key[KEY_MAX];

	make_item_key(key, item->id);
	if (reply && reply->type == REDIS_REPLY_NIL) {
		item->error = "there is no such item";
		return item->status = 404;
	}
	if (!reply || !redis_is_text(reply)) {
		redis_fail(command, key);
		return fail_item(item, room);
	}
	size_t n = item_with_id(room, item->id, redis_text(reply));
	if (n == 0) {
		redis_fail_text(command, key, redis_text(reply));
		return fail_item(item, room);
	}
	item->json = (struct slice){room, n};
	return item->status = 0;
}

void store_items_get(struct item *items, size_t len)
{
	static char rooms[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
	size_t commands[STORE_ITEMS_MAX];
	char key[KEY_MAX];
	int bad = pipeline_begin();

	for (size_t i = 0; i < len && !bad; i++)
		commands[i] = redis_get(make_item_key(key, items[i].id));
	if (!bad)
		pipeline_run();
	for (size_t i = 0; i < len; i++) {
		int status = bad ? fail_item(&items[i], rooms[i])
				 : read_item(&items[i], commands[i], rooms[i]);

		if (status != 404)
			failure_tell(FAILURE_ITEMS, status);
	}
}
