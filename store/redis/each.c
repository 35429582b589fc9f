/* All counters there are. */
#include "store/redis/redis.h"

#include "store/failure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 500 /* names or totals read at once */ };

/* The names, one behind the other, each with its length before it. */
struct names {
	char *bytes;
	size_t len, cap, count;
};

static int add_name(struct names *names, const redisReply *reply)
{
	if (!redis_is_text(reply) || store_name_fault(redis_text(reply)))
		return 0; /* somebody else's */
	if (names->cap - names->len < reply->len + 1) {
		size_t cap = names->cap ? 2 * names->cap : 65536;
		char *more = realloc(names->bytes, cap);

		if (!more)
			return fail("out of memory");
		names->bytes = more;
		names->cap = cap;
	}
	names->bytes[names->len++] = (char)reply->len;
	memcpy(names->bytes + names->len, reply->str, reply->len);
	names->len += reply->len;
	names->count++;
	return 0;
}

/* A page of the set from *cursor on, which is 0 after the last. */
static int scan_page(struct names *names, char cursor[32])
{
	const struct slice words[] = {SLICE("SSCAN"), SLICE(REDIS_NAMES_KEY),
				      slice_of(cursor), SLICE("COUNT"),
				      SLICE("500")};
	int status = pipeline_begin();

	if (status)
		return status;
	size_t command = pipeline_add(SLICE(REDIS_NAMES_KEY), 5, words);
	pipeline_run();
	const redisReply *reply = pipeline_reply(command);
	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != 2 || !redis_is_text(reply->element[0]) ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY)
		return redis_fail(command, REDIS_NAMES_KEY);
	const redisReply *page = reply->element[1];
	for (size_t i = 0; i < page->elements && !status; i++)
		status = add_name(names, page->element[i]);
	snprintf(cursor, 32, "%s", reply->element[0]->str);
	return status;
}

static struct slice name_at(const char *p)
{
	return (struct slice){p + 1, (size_t)*p};
}

static int compare_names(const void *a, const void *b)
{
	struct slice x = name_at(*(const char *const *)a);
	struct slice y = name_at(*(const char *const *)b);
	int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

	return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Sorted, each once: a scan may tell a name twice. Gives how many. */
static size_t sort_names(const struct names *names, const char **sorted)
{
	const char *p = names->bytes;
	size_t n = 0;

	for (size_t i = 0; i < names->count; i++, p += 1 + (size_t)*p)
		sorted[i] = p;
	qsort(sorted, names->count, sizeof(*sorted), compare_names);
	for (size_t i = 0; i < names->count; i++)
		if (n == 0 || compare_names(&sorted[n - 1], &sorted[i]) != 0)
			sorted[n++] = sorted[i];
	return n;
}

typedef void each_function(struct slice counter, int64_t total, void *context);

/* Tells those totals of a page of counters that there are. */
static int tell_page(const struct slice *counters, size_t len,
		     each_function *each, void *context)
{
	struct tally tally;
	size_t commands[PAGE];
	struct redis_keys keys;
	int status = pipeline_begin();

	for (size_t i = 0; i < len && !status; i++) {
		redis_make_keys(&keys, counters[i]);
		commands[i] = redis_get(keys.total_key);
		redis_get_base(&keys);
	}
	if (!status)
		pipeline_run();
	for (size_t i = 0; i < len && !status; i++) {
		tally = (struct tally){.counter = counters[i]};
		redis_make_keys(&keys, counters[i]);
		status = redis_settle_read(&tally, commands[i], keys.total);
		bool is_there = pipeline_reply(commands[i]) &&
				redis_is_text(pipeline_reply(commands[i]));
		if (!status && tally.status == 0 && is_there)
			each(counters[i], tally.total, context);
	}
	return status;
}

static int tell_names(const struct names *names, each_function *each,
		      void *context)
{
	const char **sorted = calloc(names->count + 1, sizeof(*sorted));
	struct slice page[PAGE];
	int status = 0;

	if (!sorted)
		return fail("out of memory");
	size_t n = sort_names(names, sorted);
	for (size_t i = 0; i < n && !status; i += PAGE) {
		size_t len = n - i < PAGE ? n - i : PAGE;

		for (size_t k = 0; k < len; k++)
			page[k] = name_at(sorted[i + k]);
		status = tell_page(page, len, each, context);
	}
	free(sorted);
	return status;
}

int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context)
{
	const struct slice home = SLICE(STORE_HOME);
	struct names names = {0};
	char cursor[32] = "0";
	int status;

	redis_day();
	status = tell_page(&home, 1, each, context);
	while (!status) {
		status = scan_page(&names, cursor);
		if (strcmp(cursor, "0") == 0)
			break;
	}
	if (!status)
		status = tell_names(&names, each, context);
	free(names.bytes);
	redis_tell(status);
	return status;
}
