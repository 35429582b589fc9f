#include "store/redis/script.h"

#include "store/day.h"
#include "store/net/pipeline.h"
#include "util/date.h"
#include "util/text.h"

#include <time.h>

/* A month or a year, and some for a clock that was wrong. */
enum { DAYS_KEPT = 40, DAYS_KEPT_HOME = 400 };

static struct date_day day;

static const char script_add[] = {
#include "store/redis/total.lua.inc"
#include "store/redis/begin.lua.inc"
#include "store/redis/add.lua.inc"
};
static const char script_set[] = {
#include "store/redis/total.lua.inc"
#include "store/redis/begin.lua.inc"
#include "store/redis/set.lua.inc"
};
static const char script_drop[] = {
#include "store/redis/total.lua.inc"
#include "store/redis/drop.lua.inc"
};
static const char script_book[] = {
#include "store/redis/book.lua.inc"
};

static const char script_check[] = {
#include "store/redis/total.lua.inc"
#include "store/redis/begin.lua.inc"
#include "store/redis/check.lua.inc"
};

static const struct slice scripts[] = {
	[REDIS_ADD] = {script_add, sizeof(script_add)},
	[REDIS_SET] = {script_set, sizeof(script_set)},
	[REDIS_DROP] = {script_drop, sizeof(script_drop)},
	[REDIS_CHECK] = {script_check, sizeof(script_check)},
};

int64_t redis_day(void)
{
	date_know_day(&day, time(NULL));
	return day.number;
}

bool redis_is_dated(void)
{
	return !day_precedes_build(&day);
}

static struct slice script_today(void)
{
	return redis_is_dated() ? (struct slice){day.text, DATE_DAY_SIZE}
				: SLICE("");
}

void redis_make_keys(struct redis_keys *keys, struct slice counter)
{
	keys->total = keys_total(&keys->total_bytes, counter);
	keys->history = keys_helper(&keys->history_bytes,
				    SLICE("visit_history:"), counter);
}

size_t redis_get(struct slice key)
{
	const struct slice words[] = {SLICE("GET"), key};

	return pipeline_add(key, 2, words);
}

size_t redis_get_base(const struct redis_keys *keys)
{
	const struct slice words[] = {SLICE("HGET"), keys->history,
				      script_today()};

	return pipeline_add(keys->history, 3, words);
}

size_t redis_get_total(const struct redis_keys *keys)
{
	size_t command = redis_get(keys->total);

	redis_get_base(keys);
	return command;
}

size_t redis_run_script(enum redis_script script, struct slice counter,
			const struct redis_keys *keys, int64_t number,
			bool is_booked)
{
	bool has_names = !store_is_home(counter) && !pipeline_is_cluster();
	char text[NUMBER_MAX], max[NUMBER_MAX], days[NUMBER_MAX];
	struct slice words[11] = {SLICE("EVAL"), scripts[script]};
	size_t n = 2;

	words[n++] = has_names ? SLICE("3") : SLICE("2");
	words[n++] = keys->total;
	words[n++] = keys->history;
	if (has_names)
		words[n++] = keys_names();
	words[n++] = redis_number(text, number);
	words[n++] = script_today();
	words[n++] = counter;
	if (has_names)
		words[n++] =
			redis_number(max, pipeline_settings()->max_counters);
	else
		words[n++] = store_is_home(counter) || is_booked ? SLICE("yes")
								 : SLICE("no");
	words[n++] = redis_number(days, store_is_home(counter) ? DAYS_KEPT_HOME
							       : DAYS_KEPT);
	return pipeline_add(keys->total, n, words);
}

size_t redis_book(struct slice counter)
{
	char max[NUMBER_MAX];
	const struct slice words[] = {
		SLICE("EVAL"),
		{script_book, sizeof(script_book)},
		SLICE("1"),
		keys_names(),
		counter,
		redis_number(max, pipeline_settings()->max_counters),
	};

	return pipeline_add(keys_names(), 6, words);
}
