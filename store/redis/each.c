/* All counters: the home counter, and those in the set of the names. */
#include "store/failure.h"
#include "store/net/pipeline.h"
#include "store/redis/count.h"
#include "store/redis/reply.h"
#include "store/redis/script.h"
#include "util/grow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = 500 /* names or totals that one round trip reads */ };

/* The names, one after another, each behind its length. */
struct names {
	char *bytes;
	size_t len, cap, count;
};

static int each_add_name(struct names *names, const redisReply *reply)
{
	if (!redis_is_text(reply) || store_name_fault(redis_text(reply)))
		return 0; /* not written by visitd */
	char *bytes =
		grow(names->bytes, &names->cap, names->len + reply->len + 1, 1);
	if (!bytes)
		return fail("out of memory");
	names->bytes = bytes;
	names->bytes[names->len++] = (char)reply->len;
	memcpy(names->bytes + names->len, reply->str, reply->len);
	names->len += reply->len;
	names->count++;
	return 0;
}

/* Reads a page of the set and moves the cursor, which is "0" after the last. */
static int each_scan_page(struct names *names, char cursor[32])
{
	const struct slice words[] = {SLICE("SSCAN"), keys_names(),
				      slice_of(cursor), SLICE("COUNT"),
				      SLICE("500")};
	int status = pipeline_begin();

	if (status)
		return status;
	size_t command = pipeline_add(keys_names(), 5, words);
	pipeline_run();
	const struct redis_answer answer = redis_answer_to(command);
	const redisReply *reply = answer.reply;
	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != 2 || !redis_is_text(reply->element[0]) ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY)
		return redis_fail(&answer, keys_names().p);
	const redisReply *page = reply->element[1];
	for (size_t i = 0; i < page->elements && !status; i++)
		status = each_add_name(names, page->element[i]);
	snprintf(cursor, 32, "%s", reply->element[0]->str);
	return status;
}

static struct slice each_name_at(const char *p)
{
	return (struct slice){p + 1, (size_t)*p};
}

static int each_compare_names(const void *a, const void *b)
{
	struct slice x = each_name_at(*(const char *const *)a);
	struct slice y = each_name_at(*(const char *const *)b);
	int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);

	return order ? order : (x.n > y.n) - (x.n < y.n);
}

/* Sorts the names and drops repeats, since a scan may give a name twice. Gives
 * how many are left. */
static size_t each_sort_names(const struct names *names, const char **sorted)
{
	const char *p = names->bytes;
	size_t n = 0;

	for (size_t i = 0; i < names->count; i++, p += 1 + (size_t)*p)
		sorted[i] = p;
	qsort(sorted, names->count, sizeof(*sorted), each_compare_names);
	for (size_t i = 0; i < names->count; i++)
		if (n == 0 ||
		    each_compare_names(&sorted[n - 1], &sorted[i]) != 0)
			sorted[n++] = sorted[i];
	return n;
}

typedef void each_function(struct slice counter, int64_t total, void *context);

/* Calls `each` for the counters of a page that exist. */
static int each_tell_page(const struct slice *counters, size_t len,
			  each_function *each, void *context)
{
	struct tally tally;
	size_t commands[PAGE];
	struct redis_keys keys;
	int status = pipeline_begin();

	for (size_t i = 0; i < len && !status; i++) {
		redis_make_keys(&keys, counters[i]);
		commands[i] = redis_get_total(&keys);
	}
	if (!status)
		pipeline_run();
	for (size_t i = 0; i < len && !status; i++) {
		tally = (struct tally){.counter = counters[i]};
		redis_make_keys(&keys, counters[i]);
		status = redis_take_total(&tally, commands[i], keys.total.p);
		bool is_there = pipeline_reply(commands[i]) &&
				redis_is_text(pipeline_reply(commands[i]));
		if (!status && tally.status == 0 && is_there)
			each(counters[i], tally.total, context);
	}
	return status;
}

static int each_tell_names(const struct names *names, each_function *each,
			   void *context)
{
	const char **sorted = calloc(names->count + 1, sizeof(*sorted));
	struct slice page[PAGE];
	int status = 0;

	if (!sorted)
		return fail("out of memory");
	size_t n = each_sort_names(names, sorted);
	for (size_t i = 0; i < n && !status; i += PAGE) {
		size_t len = n - i < PAGE ? n - i : PAGE;

		for (size_t k = 0; k < len; k++)
			page[k] = each_name_at(sorted[i + k]);
		status = each_tell_page(page, len, each, context);
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
	status = each_tell_page(&home, 1, each, context);
	while (!status) {
		status = each_scan_page(&names, cursor);
		if (strcmp(cursor, "0") == 0)
			break;
	}
	if (!status)
		status = each_tell_names(&names, each, context);
	free(names.bytes);
	redis_tell(status);
	return status;
}
