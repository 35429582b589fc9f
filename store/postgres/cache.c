#include "store/postgres/cache.h"

#include "store/day.h"
#include "store/failure.h"
#include "store/index.h"
#include "store/item.h"
#include "store/net/keys.h"
#include "store/net/pipeline.h"
#include "util/clock.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/number.h"
#include "util/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

enum {
	TIMEOUT_PART = 10, /* of STORE_TIMEOUT; within these bounds, ms: */
	TIMEOUT_MIN = 5,
	TIMEOUT_MAX = 100,
	MISSED_MAX = 256, /* counters that could not be refreshed */
	QUIET_MS = 1000,  /* between two log lines that it fails */
};

static const char keep[] = {
#include "store/postgres/keep.lua.inc"
	0};
static const char bury[] = {
#include "store/postgres/bury.lua.inc"
	0};

/* A Redis may be read and not be written: too little memory, a replica. */
enum use { READ, WRITE, USES };

static struct {
	struct settings settings; /* with a timeout of its own */
	bool is_used;
	bool is_told[USES];    /* the log was, that it fails, */
	int64_t told_at[USES]; /* when last */
	char ttl[NUMBER_MAX + 1], tombstone[NUMBER_MAX + 1];
	/* The hashes of names that could not be refreshed, and when what is
	 * kept of the last of them has died; too many of them are all names. */
	uint32_t missed[MISSED_MAX];
	size_t missed_len;
	bool missed_all;
	int64_t missed_until;
	size_t asked[STORE_ITEMS_MAX]; /* the commands of the last look */
} cache;

void cache_open(const struct settings *settings, int epoll)
{
	int timeout = settings->store_timeout / TIMEOUT_PART;
	struct epoll_event event = {.events = EPOLLIN};

	memset(&cache, 0, sizeof(cache));
	if (!settings->redis_host)
		return;
	cache.settings = *settings;
	cache.settings.store_timeout = timeout < TIMEOUT_MIN   ? TIMEOUT_MIN
				       : timeout > TIMEOUT_MAX ? TIMEOUT_MAX
							       : timeout;
	cache.settings.redis_allow_eviction = true;
	snprintf(cache.ttl, sizeof(cache.ttl), "%d", settings->cache_ttl);
	snprintf(cache.tombstone, sizeof(cache.tombstone), "%lld",
		 2LL * settings->store_timeout);
	cache.is_used = pipeline_open(&cache.settings) == 0;
	if (cache.is_used)
		epoll_ctl(epoll, EPOLL_CTL_ADD, pipeline_watch(), &event);
	else
		log_warn("there is no cache: %s", store_error());
}

void cache_close(void)
{
	if (cache.is_used)
		pipeline_close();
	cache.is_used = false;
}

int cache_tick(void)
{
	return cache.is_used ? pipeline_tick() : -1;
}

/*
 * Calls
 */

/* Tells the log, once, that it fails, and that it works again; one that fails
 * now and then, once in QUIET_MS. */
static void cache_tell(enum use use, const char *why)
{
	static const char *const names[] = {"read", "written"};

	if (why && !cache.is_told[use]) {
		if (cache.told_at[use] &&
		    clock_ms() - cache.told_at[use] < QUIET_MS)
			return;
		cache.told_at[use] = clock_ms();
		log_warn("the cache cannot be %s, PostgreSQL is asked "
			 "instead: %s",
			 names[use], why);
	}
	if (!why && cache.is_told[use])
		log_info("the cache can be %s again", names[use]);
	cache.is_told[use] = why != NULL;
}

static bool cache_begin(enum use use)
{
	if (!cache.is_used)
		return false;
	if (pipeline_begin() == 0)
		return true;
	cache_tell(use, store_error());
	return false;
}

/* The reply to a command of the kind that is good; NULL for any other. */
static const redisReply *cache_reply_to(size_t command, enum use use, int type)
{
	const redisReply *reply = pipeline_reply(command);

	if (!reply)
		cache_tell(use, pipeline_why(command));
	else
		cache_tell(use, reply->type == REDIS_REPLY_ERROR ? reply->str
								 : NULL);
	return reply && reply->type == type ? reply : NULL;
}

struct keys {
	struct key total_bytes, day_bytes, gone_bytes;
	struct slice total, day, gone;
};

static void cache_make_keys(struct keys *keys, struct slice name)
{
	keys->total = keys_total(&keys->total_bytes, name);
	keys->day = keys_helper(&keys->day_bytes, SLICE("visit_day:"), name);
	keys->gone = keys_helper(&keys->gone_bytes, SLICE("visit_gone:"), name);
}

/*
 * Totals that could not be refreshed
 */

static size_t cache_find_missed(struct slice name)
{
	uint32_t hash = hash_name(name);
	size_t i = 0;

	while (i < cache.missed_len && cache.missed[i] != hash)
		i++;
	return i;
}

static void cache_miss(struct slice name)
{
	cache.missed_until =
		clock_ms() + 1000 * (int64_t)cache.settings.cache_ttl;
	if (cache_find_missed(name) < cache.missed_len)
		return;
	if (cache.missed_len == MISSED_MAX)
		cache.missed_all = true;
	else
		cache.missed[cache.missed_len++] = hash_name(name);
}

static void cache_rewrite(struct slice name)
{
	size_t i = cache_find_missed(name);

	if (i < cache.missed_len)
		cache.missed[i] = cache.missed[--cache.missed_len];
}

static bool cache_may_be_old(struct slice name)
{
	if (!cache.missed_len && !cache.missed_all)
		return false;
	if (clock_ms() >= cache.missed_until) {
		cache.missed_len = 0;
		cache.missed_all = false;
		return false;
	}
	return cache.missed_all || cache_find_missed(name) < cache.missed_len;
}

/*
 * Totals
 */

static struct slice cache_text_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING
		       ? (struct slice){reply->str, reply->len}
		       : (struct slice){NULL, 0};
}

/* The base of today; of another day it says nothing. */
static bool cache_read_base(struct slice day, const struct date_day *today,
			    int64_t *base)
{
	return day_read_line(day, base) &&
	       memcmp(day.p, today->text, DATE_DAY_SIZE) == 0;
}

/* MGET of the total, the day and the tombstone. */
static bool cache_take_total(struct tally *t, size_t command,
			     const struct date_day *today)
{
	const redisReply *reply =
		cache_reply_to(command, READ, REDIS_REPLY_ARRAY);
	int64_t total, base;

	if (!reply || reply->elements != 3 ||
	    reply->element[2]->type != REDIS_REPLY_NIL ||
	    !number_read(cache_text_of(reply->element[0]), &total) ||
	    !cache_read_base(cache_text_of(reply->element[1]), today, &base))
		return false;
	t->total = total;
	t->today = day_count(total, base);
	t->status = 0;
	return true;
}

bool cache_get_totals(struct tally *tallies, size_t len,
		      const struct date_day *today)
{
	struct keys keys;
	size_t first = 0;
	bool all = true;

	for (size_t i = 0; i < len; i++)
		if (cache_may_be_old(tallies[i].counter))
			return false;
	if (!cache_begin(READ))
		return false;
	for (size_t i = 0; i < len; i++) {
		cache_make_keys(&keys, tallies[i].counter);
		const struct slice words[] = {SLICE("MGET"), keys.total,
					      keys.day, keys.gone};
		size_t command = pipeline_add(keys.total, 4, words);
		if (i == 0)
			first = command;
	}
	pipeline_run();
	for (size_t i = 0; i < len; i++)
		all &= cache_take_total(&tallies[i], first + i, today);
	return all;
}

static size_t cache_add_keep(const struct tally *t,
			     const struct date_day *today)
{
	char total[NUMBER_MAX], day[DAY_LINE_MAX];
	struct keys keys;
	size_t n = number_write(total, t->total);

	cache_make_keys(&keys, t->counter);
	size_t day_n = day_write_line(day, today->text, t->total - t->today);
	const struct slice words[] = {
		SLICE("EVAL"), slice_of(keep), SLICE("3"),
		keys.total,    keys.day,       keys.gone,
		{total, n},    {day, day_n},   slice_of(cache.ttl),
	};
	return pipeline_add(keys.total, 9, words);
}

/* What is known, and was counted: a home counter that never was is none. */
static bool cache_is_to_keep(const struct tally *t)
{
	return t->status == 0 && t->total > 0;
}

void cache_put_totals(const struct tally *tallies, size_t len,
		      const struct date_day *today)
{
	bool works = cache_begin(WRITE);
	size_t command = 0, first = 0;
	bool is_first = true;

	if (!cache.is_used)
		return;
	for (size_t i = 0; works && i < len; i++) {
		if (!cache_is_to_keep(&tallies[i]))
			continue;
		command = cache_add_keep(&tallies[i], today);
		if (is_first)
			first = command;
		is_first = false;
	}
	if (works && !is_first)
		pipeline_run();
	for (size_t i = 0; i < len; i++) {
		if (!cache_is_to_keep(&tallies[i]))
			continue;
		if (works &&
		    cache_reply_to(first++, WRITE, REDIS_REPLY_INTEGER))
			cache_rewrite(tallies[i].counter);
		else
			cache_miss(tallies[i].counter);
	}
}

void cache_bury(struct slice counter)
{
	struct keys keys;

	if (!cache.is_used)
		return;
	if (!cache_begin(WRITE)) {
		cache_miss(counter);
		return;
	}
	cache_make_keys(&keys, counter);
	const struct slice words[] = {
		SLICE("EVAL"),
		slice_of(bury),
		SLICE("3"),
		keys.total,
		keys.day,
		keys.gone,
		slice_of(cache.tombstone),
	};
	size_t command = pipeline_add(keys.total, 7, words);
	pipeline_run();
	if (!cache_reply_to(command, WRITE, REDIS_REPLY_INTEGER))
		cache_miss(counter);
}

/*
 * Items
 */

bool cache_get_items(struct item *items, size_t len)
{
	static char jsons[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
	struct key key;
	bool all = true;

	if (!cache_begin(READ))
		return false;
	for (size_t i = 0; i < len; i++) {
		const struct slice words[] = {SLICE("GET"),
					      keys_item(&key, items[i].id)};

		cache.asked[i] = pipeline_add(words[1], 2, words);
	}
	pipeline_run();
	for (size_t i = 0; i < len; i++) {
		const redisReply *reply = cache_reply_to(cache.asked[i], READ,
							 REDIS_REPLY_STRING);
		size_t n = reply ? item_with_id(jsons[i], items[i].id,
						cache_text_of(reply))
				 : 0;

		all &= n > 0;
		if (n == 0)
			continue;
		items[i].json = (struct slice){jsons[i], n};
		items[i].status = 0;
	}
	return all;
}

/* Adds what keeps an item, without the id that its JSON begins with. */
static bool cache_add_item(const struct item *item, size_t *command)
{
	static char json[STORE_ITEM_JSON_MAX];
	const char *comma = memchr(item->json.p, ',', item->json.n);
	struct key key;

	if (!comma)
		return false;
	size_t n = item->json.n - (size_t)(comma - item->json.p);
	memcpy(json, comma, n);
	json[0] = '{';
	const struct slice words[] = {
		SLICE("SET"), keys_item(&key, item->id), {json, n},
		SLICE("EX"),  slice_of(cache.ttl),
	};
	*command = pipeline_add(words[1], 5, words);
	return true;
}

void cache_put_items(const struct item *items, size_t len)
{
	size_t command = 0;
	bool any = false;

	if (!cache_begin(WRITE))
		return;
	for (size_t i = 0; i < len; i++)
		if (items[i].status == 0)
			any |= cache_add_item(&items[i], &command);
	if (!any)
		return;
	pipeline_run();
	cache_reply_to(command, WRITE, REDIS_REPLY_STATUS);
}
