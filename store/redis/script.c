/* The keys, the commands and the scripts about counters. */
#include "store/redis/redis.h"

#include "util/date.h"
#include "util/text.h"

#include <string.h>
#include <time.h>

#define TOTAL_KEY   "visit_counter:"
#define HISTORY_KEY "visit_history:"

enum { DAYS_KEPT = 31 };

static struct date_day day;
static char oldest[DATE_DAY_SIZE]; /* the first day that is kept */

/*
 * The scripts. KEYS: the total, its history, and, where it is in reach and
 * counts, the set of the names. ARGV: a number, today, the name, and room: the
 * most names there may be, or yes or no.
 */
#define MEET                                                           \
	REDIS_IS_TOTAL                                                 \
	"local was = redis.call('GET', KEYS[1])\n"                     \
	"local new = not was or was == 'dropped'\n"                    \
	"if not new and not is_total(was) then\n"                      \
	"  return {'garbage', was}\n"                                  \
	"end\n"                                                        \
	"if new and KEYS[3] and\n"                                     \
	"    redis.call('SISMEMBER', KEYS[3], ARGV[3]) == 0 and\n"     \
	"    redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4]) then\n" \
	"  return {'full'}\n"                                          \
	"end\n"                                                        \
	"if new and ARGV[4] == 'no' then return {'new'} end\n"

#define BOOK "if KEYS[3] then redis.call('SADD', KEYS[3], ARGV[3]) end\n"

/* Adds ARGV[1]. ARGV[5] is the oldest day that is kept. */
static const char script_add[] =
	MEET "if new then redis.call('SET', KEYS[1], '0') end\n"
	     "local sum = redis.pcall('INCRBY', KEYS[1], ARGV[1])\n"
	     "if type(sum) == 'table' then return sum end\n" BOOK
	     "if new then redis.call('HDEL', KEYS[2], ARGV[2]) end\n"
	     "if redis.call('HSETNX', KEYS[2], ARGV[2], new and '0' or was) "
	     "== 1 then\n"
	     "  for _, day in ipairs(redis.call('HKEYS', KEYS[2])) do\n"
	     "    if day < ARGV[5] then redis.call('HDEL', KEYS[2], day) end\n"
	     "  end\n"
	     "end\n"
	     "return {'ok', redis.call('GET', KEYS[1]),\n"
	     "  redis.call('HGET', KEYS[2], ARGV[2]), new and 1 or 0}\n";

/* Sets ARGV[1], and moves today's base along: plus the new total, minus the
 * old one, in the order that cannot overflow. */
static const char script_set[] =
	MEET "local base = redis.call('HGET', KEYS[2], ARGV[2])\n"
	     "if new then\n"
	     "  redis.call('HDEL', KEYS[2], ARGV[2])\n"
	     "elseif base then\n"
	     "  local a, b = was == '0' and was or '-' .. was, ARGV[1]\n"
	     "  if tonumber(base) < 0 then a, b = b, a end\n"
	     "  redis.call('HINCRBY', KEYS[2], ARGV[2], a)\n"
	     "  redis.call('HINCRBY', KEYS[2], ARGV[2], b)\n"
	     "end\n"
	     "redis.call('SET', KEYS[1], ARGV[1])\n" BOOK "return {'ok'}\n";

/* Forgets it, but for a word that lasts ARGV[1] seconds. */
static const char script_drop[] = REDIS_IS_TOTAL
	"local was = redis.call('GET', KEYS[1])\n"
	"if not was or was == 'dropped' then return {'new'} end\n"
	"if not is_total(was) then return {'garbage', was} end\n"
	"redis.call('SET', KEYS[1], 'dropped', 'EX', ARGV[1])\n"
	"redis.call('DEL', KEYS[2])\n"
	"if KEYS[3] then redis.call('SREM', KEYS[3], ARGV[3]) end\n"
	"return {'ok'}\n";

/* Books the name ARGV[1] in the set KEYS[1], of at most ARGV[2]. */
static const char script_book[] =
	"if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then\n"
	"  if redis.call('SCARD', KEYS[1]) >= tonumber(ARGV[2]) then\n"
	"    return {'full'}\n"
	"  end\n"
	"  redis.call('SADD', KEYS[1], ARGV[1])\n"
	"end\n"
	"return {'ok'}\n";

static const struct slice scripts[] = {
	[REDIS_ADD] = SLICE_INIT(script_add),
	[REDIS_SET] = SLICE_INIT(script_set),
	[REDIS_DROP] = SLICE_INIT(script_drop),
};

int64_t redis_day(void)
{
	time_t now = time(NULL);

	if (now < day.from || now >= day.until) {
		date_know_day(&day, now);
		date_write_day(oldest, now - DAYS_KEPT * 86400);
	}
	return day.number;
}

static struct slice today(void)
{
	return (struct slice){day.text, DATE_DAY_SIZE};
}

/* Both end with a NUL, too. */
void redis_make_keys(struct redis_keys *keys, struct slice counter)
{
	char *total = text_put(keys->total, SLICE(TOTAL_KEY));
	char *history = text_put(keys->history, SLICE(HISTORY_KEY "{"));

	total = text_put(total, counter);
	keys->total_key =
		(struct slice){keys->total, (size_t)(total - keys->total)};
	*total = '\0';
	history = text_put(text_put(history, keys->total_key), SLICE("}"));
	keys->history_key = (struct slice){keys->history,
					   (size_t)(history - keys->history)};
	*history = '\0';
}

size_t redis_get(struct slice key)
{
	const struct slice words[] = {SLICE("GET"), key};

	return pipeline_add(key, 2, words);
}

size_t redis_get_base(const struct redis_keys *keys)
{
	const struct slice words[] = {SLICE("HGET"), keys->history_key,
				      today()};

	return pipeline_add(keys->history_key, 3, words);
}

size_t redis_run_script(enum redis_script script, struct slice counter,
			const struct redis_keys *keys, int64_t value,
			bool is_booked)
{
	bool knows_names = !store_is_home(counter) && !pipeline_is_cluster();
	char number[NUMBER_MAX], max[NUMBER_MAX];
	struct slice words[11] = {SLICE("EVAL"), scripts[script]};
	size_t n = 2;

	words[n++] = knows_names ? SLICE("3") : SLICE("2");
	words[n++] = keys->total_key;
	words[n++] = keys->history_key;
	if (knows_names)
		words[n++] = SLICE(REDIS_NAMES_KEY);
	words[n++] = redis_number(number, value);
	words[n++] = today();
	words[n++] = counter;
	if (knows_names)
		words[n++] =
			redis_number(max, pipeline_settings()->max_counters);
	else
		words[n++] = store_is_home(counter) || is_booked ? SLICE("yes")
								 : SLICE("no");
	words[n++] = (struct slice){oldest, DATE_DAY_SIZE};
	return pipeline_add(keys->total_key, n, words);
}

size_t redis_book(struct slice counter)
{
	char max[NUMBER_MAX];
	const struct slice words[] = {
		SLICE("EVAL"),
		{script_book, sizeof(script_book) - 1},
		SLICE("1"),
		SLICE(REDIS_NAMES_KEY),
		counter,
		redis_number(max, pipeline_settings()->max_counters),
	};

	return pipeline_add(SLICE(REDIS_NAMES_KEY), 6, words);
}
