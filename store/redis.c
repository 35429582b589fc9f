/*
 * The Redis store.
 *
 * | key                                | type   | what | | visit_counter:NAME
 * | string | the total                    | |
 * visit_history:{visit_counter:NAME} | hash   | date -> the total when that  |
 * |                                    |        | day began, for 31 days | |
 * visit_counters                     | set    | the names, but for the home  |
 * |                                    |        | counter's: for MAX_COUNTERS |
 * | item:id                            | string | how many items there are | |
 * item:7                             | string | one of them, as JSON         |
 *
 * The braces are Redis's hash tag: both keys of a counter share a slot.
 *
 * 1. A turn is one pipeline. A counter that this worker knows is an INCRBY, and
 *    an HGET of the day's base: never one that was kept, since another worker
 *    may have set the total. One that it does not know is a script, which makes
 *    the counter if there is room, and the day.
 * 2. What a worker knows, it knows for MARK_MS, one day and one connection. A
 *    counter that is dropped leaves a word in its place, for longer than that:
 *    an INCRBY of it is an error, and the script is asked. So no counter comes
 *    into being but by the script, and MAX_COUNTERS is exact.
 * 3. Totals go through the scripts as texts: a number in Lua has 53 bits.
 * 4. A total that is no number is never overwritten.
 * 5. In a Cluster a script sees one slot only: who finds that a counter is new
 *    books its name first, and then asks again.
 */
#include "store/store.h"

#include "store/failure.h"
#include "store/item.h"
#include "store/pipeline.h"
#include "util/clock.h"
#include "util/date.h"
#include "util/log.h"
#include "util/number.h"
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const char store_name[] = "redis";

#define TOTAL_KEY   "visit_counter:"
#define HISTORY_KEY "visit_history:"
#define NAMES_KEY   "visit_counters"
#define ITEM_KEY    "item:"

enum {
	KEY_MAX = STORE_NAME_MAX + 32, /* bytes of any key, and a NUL */
	DAYS_KEPT = 31,
	MARKS = 4096, /* counters that a worker knows; a power of two */
	MARK_MS = 60000,
	DROPPED_S = 300,
	ERRORS_SIZE = 16384, /* texts of the errors of one call */
	ROUNDS_MAX = 4,
	PAGE = 500, /* names or totals read at once */
	QUIET_MS = 1000,
};

/*
 * The scripts. KEYS: the total, its history, and, where it is in reach and
 * counts, the set of the names. ARGV: a number, today, the name, and room: the
 * most names there may be, or yes or no.
 */
#define IS_TOTAL                                                     \
	"local function is_total(s)\n"                               \
	"  return (s == '0' or string.find(s, '^[1-9]%d*$')) and\n"  \
	"    (#s < 19 or #s == 19 and s <= '9223372036854775807')\n" \
	"end\n"

#define MEET                                                           \
	IS_TOTAL                                                       \
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
static const char script_drop[] =
	IS_TOTAL "local was = redis.call('GET', KEYS[1])\n"
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

/* The next id of at most ARGV[1] items; and the item ARGV[2] under it, unless
 * that is a matter of another slot. */
static const char script_item[] =
	IS_TOTAL "local id = redis.call('GET', KEYS[1]) or '0'\n"
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

/* A counter of which this worker knows that the total and the day are there. */
struct mark {
	int64_t until; /* of clock_ms() */
	int64_t day;
	unsigned generation;
	size_t len;
	char name[STORE_NAME_MAX];
};

static struct {
	const struct settings *settings;
	struct date_day today;
	char oldest[DATE_DAY_SIZE]; /* the first day that is kept */
	struct mark marks[MARKS];
	char errors[ERRORS_SIZE];
	size_t errors_len;
	int64_t told_at; /* when the log was told of a counter's own failure */
	char durability[256];
} store;

const char *store_error(void)
{
	return failure_reason();
}

/*
 * Replies
 */

static struct slice reply_text(const redisReply *reply)
{
	return (struct slice){reply->str, reply->len};
}

static bool is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING;
}

/* The words of an error, without the place in a script that Redis adds. */
static struct slice error_words(const redisReply *reply)
{
	const char *end = strstr(reply->str, " script: ");

	return (struct slice){reply->str, end ? (size_t)(end - reply->str)
					      : strlen(reply->str)};
}

/* A reply that is none of those that were expected, or did not come. */
static int fail_reply(size_t command, const char *key)
{
	const redisReply *reply = pipeline_reply(command);

	if (!reply)
		return fail("%s", pipeline_why(command));
	if (reply->type != REDIS_REPLY_ERROR)
		return fail("%s: an unexpected reply about %s",
			    pipeline_name(command), key);
	struct slice words = error_words(reply);
	if (strncmp(words.p, "WRONGTYPE", 9) == 0)
		return fail_garbage("%s says of %s: %.*s",
				    pipeline_name(command), key, (int)words.n,
				    words.p);
	return fail("%s says: %.*s", pipeline_name(command), (int)words.n,
		    words.p);
}

static int fail_text(size_t command, const char *key, struct slice text)
{
	return fail_garbage("%s: %s is not understood: it holds \"%.*s\"%s",
			    pipeline_name(command), key,
			    text.n < 32 ? (int)text.n : 32, text.p,
			    text.n > 32 ? " ..." : "");
}

static bool is_error(const redisReply *reply, const char *part)
{
	return reply && reply->type == REDIS_REPLY_ERROR &&
	       strstr(reply->str, part);
}

/*
 * The word that a script answers, and that the rest is what it should be:
 * `texts` texts. NULL: the reply is another one.
 */
static const char *script_word(size_t command, size_t texts)
{
	const redisReply *reply = pipeline_reply(command);

	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 ||
	    !is_text(reply->element[0]))
		return NULL;
	const char *word = reply->element[0]->str;
	if (strcmp(word, "garbage") == 0)
		texts = 1;
	else if (strcmp(word, "ok") != 0)
		texts = 0;
	for (size_t i = 1; i <= texts; i++)
		if (i >= reply->elements || !is_text(reply->element[i]))
			return NULL;
	return word;
}

static struct slice script_text(size_t command, size_t i)
{
	return reply_text(pipeline_reply(command)->element[i]);
}

/*
 * Keys and commands
 */

struct keys {
	char total[KEY_MAX], history[KEY_MAX];
	struct slice total_key, history_key;
};

/* Both end with a NUL, too. */
static void make_keys(struct keys *keys, struct slice counter)
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

static bool is_home(struct slice counter)
{
	return slice_equal(counter, SLICE(STORE_HOME));
}

static void know_today(void)
{
	time_t now = time(NULL);

	if (now >= store.today.from && now < store.today.until)
		return;
	date_know_day(&store.today, now);
	date_write_day(store.oldest, now - DAYS_KEPT * 86400);
}

static struct slice today(void)
{
	return (struct slice){store.today.text, DATE_DAY_SIZE};
}

struct number {
	char text[NUMBER_MAX];
};

static struct slice write_number(struct number *number, int64_t value)
{
	size_t n = number_write(number->text, value);

	return (struct slice){number->text, n};
}

static size_t get(struct slice key)
{
	const struct slice words[] = {SLICE("GET"), key};

	return pipeline_add(key, 2, words);
}

static size_t get_base(const struct keys *keys)
{
	const struct slice words[] = {SLICE("HGET"), keys->history_key,
				      today()};

	return pipeline_add(keys->history_key, 3, words);
}

/* A script about a counter. `is_booked`: its name is in the set already. */
static size_t run_script(struct slice script, struct slice counter,
			 const struct keys *keys, int64_t value, bool is_booked)
{
	bool knows_names = !is_home(counter) && !pipeline_is_cluster();
	struct number number, max;
	struct slice words[11] = {SLICE("EVAL"), script};
	size_t n = 2;

	words[n++] = knows_names ? SLICE("3") : SLICE("2");
	words[n++] = keys->total_key;
	words[n++] = keys->history_key;
	if (knows_names)
		words[n++] = SLICE(NAMES_KEY);
	words[n++] = write_number(&number, value);
	words[n++] = today();
	words[n++] = counter;
	if (knows_names)
		words[n++] = write_number(&max, store.settings->max_counters);
	else
		words[n++] = is_home(counter) || is_booked ? SLICE("yes")
							   : SLICE("no");
	words[n++] = (struct slice){store.oldest, DATE_DAY_SIZE};
	return pipeline_add(keys->total_key, n, words);
}

static size_t book(struct slice counter)
{
	struct number max;
	const struct slice words[] = {
		SLICE("EVAL"), {script_book, sizeof(script_book) - 1},
		SLICE("1"),    SLICE(NAMES_KEY),
		counter,       write_number(&max, store.settings->max_counters),
	};

	return pipeline_add(SLICE(NAMES_KEY), 6, words);
}

static int fail_full(void)
{
	fail_own("there are MAX_COUNTERS=%d counters",
		 store.settings->max_counters);
	return 507;
}

/*
 * What a worker knows
 */

static struct mark *find_mark(struct slice counter)
{
	uint32_t h = 2166136261; /* FNV-1a */

	for (size_t i = 0; i < counter.n; i++)
		h = (h ^ (unsigned char)counter.p[i]) * 16777619;
	return &store.marks[h % MARKS];
}

static bool is_known(struct slice counter)
{
	const struct mark *mark = find_mark(counter);

	return mark->generation == pipeline_generation() &&
	       mark->day == store.today.number && clock_ms() < mark->until &&
	       slice_equal((struct slice){mark->name, mark->len}, counter);
}

static void know(struct slice counter)
{
	struct mark *mark = find_mark(counter);

	mark->generation = pipeline_generation();
	mark->day = store.today.number;
	mark->until = clock_ms() + MARK_MS;
	mark->len = counter.n;
	memcpy(mark->name, counter.p, counter.n);
}

static void forget(struct slice counter)
{
	find_mark(counter)->until = 0;
}

/*
 * Counting. While a tally is asked about, its status is one of these, and its
 * total is the number of its first command.
 */

enum ask {
	ASK_READ = -1,	 /* GET, HGET */
	ASK_PLAIN = -2,	 /* INCRBY, HGET */
	ASK_SCRIPT = -3, /* the script */
	ASK_BOOK = -4,	 /* for its name, in a Cluster */
	ASK_BOOKED = -5, /* the script, after that */
};

static void ask(struct tally *t)
{
	struct keys keys;
	struct number n;
	size_t command;

	make_keys(&keys, t->counter);
	const struct slice incrby[] = {SLICE("INCRBY"), keys.total_key,
				       write_number(&n, t->n)};
	switch (t->status) {
	case ASK_READ:
		command = get(keys.total_key);
		get_base(&keys);
		break;
	case ASK_PLAIN:
		command = pipeline_add(keys.total_key, 3, incrby);
		get_base(&keys);
		break;
	case ASK_BOOK:
		command = book(t->counter);
		break;
	default:
		command = run_script(SLICE(script_add), t->counter, &keys, t->n,
				     t->status == ASK_BOOKED);
		break;
	}
	t->total = (int64_t)command;
}

/* today = total - base, as far as there is such a number: a total that was set
 * may leave a base below zero. */
static int64_t count_today(int64_t total, struct slice base)
{
	bool negative = base.n > 0 && *base.p == '-';
	int64_t value;

	if (!number_read(negative ? slice_after(base, 1) : base, &value))
		return 0;
	if (negative)
		return total > INT64_MAX - value ? INT64_MAX : total + value;
	return total < value ? 0 : total - value;
}

/* A tally's error outlives the next reason. Most are the same. */
static const char *keep_error(const char *error)
{
	static const char *last;
	size_t size = strlen(error) + 1;

	if (store.errors_len > 0 && last && strcmp(last, error) == 0)
		return last;
	if (size > ERRORS_SIZE - store.errors_len)
		return "store unavailable";
	last = memcpy(store.errors + store.errors_len, error, size);
	store.errors_len += size;
	return last;
}

static void refuse(struct tally *t, int status)
{
	t->status = status;
	t->total = 0;
	t->error = keep_error(failure_answer());
}

/* A counter's own failures are told now and then: visits come fast. */
static void tell(int status)
{
	if (status == 503 && failure_is_own())
		return;
	if (status == 503 && failure_is_garbage()) {
		if (clock_ms() - store.told_at < QUIET_MS)
			return;
		store.told_at = clock_ms();
		failure_tell(FAILURE_COUNTERS, status);
		return;
	}
	failure_tell(FAILURE_HOME, status == 503 ? status : 0);
}

/* Redis has no counter there. */
static void settle_none(struct tally *t)
{
	t->total = 0;
	t->status = is_home(t->counter) ? 0 : 404;
	t->error = "no such counter";
}

/* As Redis reads it: 007 is none. */
static bool read_total(struct slice text, int64_t *total)
{
	return number_read(text, total) && (text.n == 1 || *text.p != '0');
}

static int settle_read(struct tally *t, size_t command, const char *key)
{
	const redisReply *total = pipeline_reply(command);
	const redisReply *base = pipeline_reply(command + 1);

	if (total && total->type == REDIS_REPLY_NIL) {
		settle_none(t);
		return 0;
	}
	if (!total || !is_text(total))
		return fail_reply(command, key);
	if (slice_equal(reply_text(total), SLICE("dropped"))) {
		settle_none(t);
		return 0;
	}
	if (!read_total(reply_text(total), &t->total))
		return fail_text(command, key, reply_text(total));
	if (!base || base->type == REDIS_REPLY_ERROR)
		return fail_reply(command + 1, key);
	if (is_text(base))
		t->today = count_today(t->total, reply_text(base));
	t->status = 0;
	return 0;
}

static int settle_plain(struct tally *t, size_t command, const char *key)
{
	const redisReply *total = pipeline_reply(command);
	const redisReply *base = pipeline_reply(command + 1);

	if (is_error(total, "overflow"))
		return fail_own("counter is full");
	if (is_error(total, "not an integer")) {
		t->status = ASK_SCRIPT;
		return 0;
	}
	if (!total || total->type != REDIS_REPLY_INTEGER)
		return fail_reply(command, key);
	if (total->integer < t->n)
		return fail_garbage("%s: %s was below zero",
				    pipeline_name(command), key);
	t->total = total->integer;
	t->today = t->n;
	/* Else somebody has taken the day's base away. */
	if (base && is_text(base))
		t->today = count_today(t->total, reply_text(base));
	else
		forget(t->counter);
	t->status = 0;
	return 0;
}

static int settle_script(struct tally *t, size_t command, const char *key)
{
	const char *word = script_word(command, 2);

	if (is_error(pipeline_reply(command), "overflow"))
		return fail_own("counter is full");
	if (!word)
		return fail_reply(command, key);
	if (strcmp(word, "full") == 0)
		return fail_full();
	if (strcmp(word, "garbage") == 0)
		return fail_text(command, key, script_text(command, 1));
	if (strcmp(word, "new") == 0) {
		t->status = ASK_BOOK;
		return 0;
	}
	const redisReply *reply = pipeline_reply(command);
	if (!number_read(script_text(command, 1), &t->total))
		return fail_reply(command, key);
	t->today = count_today(t->total, script_text(command, 2));
	t->is_new = !is_home(t->counter) && reply->elements > 3 &&
		    reply->element[3]->integer;
	t->status = 0;
	know(t->counter);
	return 0;
}

static int settle_book(struct tally *t, size_t command, const char *key)
{
	const char *word = script_word(command, 0);

	if (!word)
		return fail_reply(command, key);
	if (strcmp(word, "full") == 0)
		return fail_full();
	t->status = ASK_BOOKED;
	return 0;
}

static void settle(struct tally *t)
{
	size_t command = (size_t)t->total;
	struct keys keys;
	int status;

	make_keys(&keys, t->counter);
	t->total = 0;
	switch (t->status) {
	case ASK_READ:
		status = settle_read(t, command, keys.total);
		break;
	case ASK_PLAIN:
		status = settle_plain(t, command, keys.total);
		break;
	case ASK_BOOK:
		status = settle_book(t, command, keys.total);
		break;
	default:
		status = settle_script(t, command, keys.total);
		break;
	}
	if (status)
		refuse(t, status);
	if (t->status >= 0)
		tell(t->status);
}

/* Asks about those that are not settled yet. False when all are. */
static bool ask_all(struct tally *tallies, size_t len)
{
	bool any = false;

	for (size_t i = 0; i < len; i++) {
		if (tallies[i].status >= 0)
			continue;
		ask(&tallies[i]);
		any = true;
	}
	if (!any)
		return false;
	pipeline_run();
	for (size_t i = 0; i < len; i++)
		if (tallies[i].status < 0)
			settle(&tallies[i]);
	return true;
}

void store_add(struct tally *tallies, size_t len)
{
	int status = len > 0 ? pipeline_begin() : 0;

	know_today();
	store.errors_len = 0;
	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		t->total = t->today = 0;
		t->is_new = false;
		t->status = t->n == 0		   ? ASK_READ
			    : is_known(t->counter) ? ASK_PLAIN
						   : ASK_SCRIPT;
		if (status)
			refuse(t, status);
	}
	if (status)
		tell(status);
	for (int round = 0; ask_all(tallies, len); round++)
		if (round == ROUNDS_MAX)
			break;
	for (size_t i = 0; i < len; i++)
		if (tallies[i].status < 0)
			refuse(&tallies[i],
			       fail("it is made and dropped all the time"));
}

/*
 * Setting and dropping
 */

/* What a script about one counter says: 0, a status, or -1: the counter is
 * new, and its name is to be booked. */
static int judge(size_t command, const char *key)
{
	const char *word = script_word(command, 0);

	if (!word)
		return fail_reply(command, key);
	if (strcmp(word, "full") == 0)
		return fail_full();
	if (strcmp(word, "garbage") == 0)
		return fail_text(command, key, script_text(command, 1));
	return strcmp(word, "new") == 0 ? -1 : 0;
}

static int run_one(struct slice script, struct slice counter, int64_t value,
		   bool is_booked)
{
	struct keys keys;

	make_keys(&keys, counter);
	size_t command = run_script(script, counter, &keys, value, is_booked);
	pipeline_run();
	return judge(command, keys.total);
}

static int set(struct slice counter, int64_t value)
{
	int status = pipeline_begin();

	know_today();
	if (!status)
		status = run_one(SLICE(script_set), counter, value, false);
	if (status >= 0)
		return status;
	size_t command = book(counter);
	pipeline_run();
	status = judge(command, NAMES_KEY);
	return status ? status
		      : run_one(SLICE(script_set), counter, value, true);
}

int store_set(struct slice counter, int64_t value)
{
	int status = set(counter, value);

	tell(status);
	return status;
}

/* In a Cluster its name leaves the set when nothing else is left. */
static int unbook(struct slice counter)
{
	const struct slice words[] = {SLICE("SREM"), SLICE(NAMES_KEY), counter};

	if (!pipeline_is_cluster())
		return 0;
	size_t command = pipeline_add(SLICE(NAMES_KEY), 3, words);
	pipeline_run();
	const redisReply *reply = pipeline_reply(command);
	return reply && reply->type == REDIS_REPLY_INTEGER
		       ? 0
		       : fail_reply(command, NAMES_KEY);
}

static int fail_none(struct slice counter)
{
	fail_own("no counter \"%.*s\"", (int)counter.n, counter.p);
	return 404;
}

int store_drop(struct slice counter)
{
	if (is_home(counter))
		return fail_none(counter);
	int status = pipeline_begin();
	know_today();
	if (!status)
		status = run_one(SLICE(script_drop), counter, DROPPED_S, true);
	if (status == 0)
		status = unbook(counter);
	tell(status > 0 ? status : 0);
	return status < 0 ? fail_none(counter) : status;
}

/*
 * All of them
 */

/* The names, one behind the other, each with its length before it. */
struct names {
	char *bytes;
	size_t len, cap, count;
};

static int add_name(struct names *names, const redisReply *reply)
{
	if (!is_text(reply) || store_name_fault(reply_text(reply)))
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
	const struct slice words[] = {SLICE("SSCAN"), SLICE(NAMES_KEY),
				      slice_of(cursor), SLICE("COUNT"),
				      SLICE("500")};
	int status = pipeline_begin();

	if (status)
		return status;
	size_t command = pipeline_add(SLICE(NAMES_KEY), 5, words);
	pipeline_run();
	const redisReply *reply = pipeline_reply(command);
	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements != 2 || !is_text(reply->element[0]) ||
	    reply->element[1]->type != REDIS_REPLY_ARRAY)
		return fail_reply(command, NAMES_KEY);
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
	struct keys keys;
	int status = pipeline_begin();

	for (size_t i = 0; i < len && !status; i++) {
		make_keys(&keys, counters[i]);
		commands[i] = get(keys.total_key);
		get_base(&keys);
	}
	if (!status)
		pipeline_run();
	for (size_t i = 0; i < len && !status; i++) {
		tally = (struct tally){.counter = counters[i]};
		make_keys(&keys, counters[i]);
		status = settle_read(&tally, commands[i], keys.total);
		bool is_there = pipeline_reply(commands[i]) &&
				is_text(pipeline_reply(commands[i]));
		if (!status && tally.status == 0 &&
		    (is_there || is_home(counters[i])))
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

	know_today();
	status = tell_page(&home, 1, each, context);
	while (!status) {
		status = scan_page(&names, cursor);
		if (strcmp(cursor, "0") == 0)
			break;
	}
	if (!status)
		status = tell_names(&names, each, context);
	free(names.bytes);
	tell(status);
	return status;
}

/*
 * Items
 */

static struct slice make_item_key(char key[KEY_MAX], int64_t id)
{
	int n = snprintf(key, KEY_MAX, ITEM_KEY "%lld", (long long)id);

	return (struct slice){key, (size_t)n};
}

static int take_id(struct slice json, int64_t *id)
{
	struct number max;
	const struct slice words[] = {
		SLICE("EVAL"),
		SLICE(script_item),
		SLICE("1"),
		SLICE(ITEM_KEY "id"),
		write_number(&max, store.settings->max_items),
		json,
	};
	size_t argc = pipeline_is_cluster() ? 5 : 6;
	size_t command = pipeline_add(SLICE(ITEM_KEY "id"), argc, words);

	pipeline_run();
	const char *word = script_word(command, 1);
	if (word && strcmp(word, "full") == 0) {
		fail_own("there are MAX_ITEMS=%d items",
			 store.settings->max_items);
		return 507;
	}
	if (word && strcmp(word, "garbage") == 0)
		return fail_text(command, ITEM_KEY "id",
				 script_text(command, 1));
	if (!word || !number_read(script_text(command, 1), id))
		return fail_reply(command, ITEM_KEY "id");
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
		       : fail_reply(command, key);
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

int store_item_create(struct slice name, struct slice description, int64_t *id)
{
	static char json[STORE_ITEM_JSON_MAX];
	size_t len = item_write(json, 0, name, description);
	int status = create_item((struct slice){json, len}, id);

	failure_tell(FAILURE_ITEMS, status == 503 ? status : 0);
	return status;
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
	if (!reply || !is_text(reply)) {
		fail_reply(command, key);
		return fail_item(item, room);
	}
	size_t n = item_with_id(room, item->id, reply_text(reply));
	if (n == 0) {
		fail_text(command, key, reply_text(reply));
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
		commands[i] = get(make_item_key(key, items[i].id));
	if (!bad)
		pipeline_run();
	for (size_t i = 0; i < len; i++) {
		int status = bad ? fail_item(&items[i], rooms[i])
				 : read_item(&items[i], commands[i], rooms[i]);

		if (status != 404)
			failure_tell(FAILURE_ITEMS, status);
	}
}

/*
 * Health
 */

/* What the server does with its data, in its own words. */
static void describe(const struct resp_facts *facts)
{
	char *out = store.durability;
	size_t cap = sizeof(store.durability);

	if (facts->is_denied)
		snprintf(out, cap, "unknown: CONFIG is denied");
	else if (strcmp(facts->appendonly, "yes") == 0)
		snprintf(out, cap, "appendonly yes, appendfsync %s",
			 facts->fsync);
	else if (*facts->save)
		snprintf(out, cap, "appendonly no, save %s", facts->save);
	else
		snprintf(out, cap, "appendonly no, no save");
}

const char *store_durability(void)
{
	if (!pipeline_server()->facts.is_known)
		return NULL;
	describe(&pipeline_server()->facts);
	return store.durability;
}

/* Asks what the server says of itself now; gives the first command. */
static size_t ask_questions(struct slice key)
{
	size_t first = 0;

	for (int i = 0; i < RESP_QUESTIONS; i++) {
		struct slice question[3];
		int argc;
		const char *const *argv = resp_question(i, &argc);

		for (int k = 0; k < argc; k++)
			question[k] = slice_of(argv[k]);
		size_t command = pipeline_add(key, (size_t)argc, question);
		first = i == 0 ? command : first;
	}
	return first;
}

static void learn(size_t first)
{
	struct resp_facts *facts = &pipeline_server()->facts;

	for (int i = 0; i < RESP_QUESTIONS; i++) {
		const redisReply *reply = pipeline_reply(first + (size_t)i);

		if (reply)
			resp_learn(facts, i, reply);
	}
}

/* That the home counter could be written, by writing nothing there, and that
 * it is a number. */
static int ping(void)
{
	struct tally home = {.counter = SLICE(STORE_HOME), .status = ASK_READ};
	int status = pipeline_begin();
	struct keys keys;

	if (status)
		return status;
	know_today();
	make_keys(&keys, home.counter);
	const struct slice words[] = {SLICE("SETRANGE"), keys.total_key,
				      SLICE("0"), SLICE("")};
	size_t write = pipeline_add(keys.total_key, 4, words);
	size_t first = ask_questions(keys.total_key);
	ask(&home);
	pipeline_run();
	const redisReply *reply = pipeline_reply(write);
	if (!reply || reply->type != REDIS_REPLY_INTEGER)
		return fail_reply(write, keys.total);
	learn(first);
	status = resp_check_eviction(pipeline_server());
	return status ? status
		      : settle_read(&home, (size_t)home.total, keys.total);
}

int store_ping(void)
{
	int status = ping();

	failure_tell(FAILURE_HOME, status);
	return status;
}

int store_look(void)
{
	const struct resp_facts *facts = &pipeline_server()->facts;
	const char *name = pipeline_server()->peer.name;

	if (store_ping() != 0) {
		if (failure_is_garbage())
			return EXIT_DATA;
		log_warn("the store cannot be used now, and is tried again");
		return 0;
	}
	log_info("%s: %s", name, store_durability());
	if (facts->is_denied)
		log_warn("%s does not let CONFIG be read: whether it keeps "
			 "its data, and throws none away, is not known",
			 name);
	else if (strcmp(facts->appendonly, "yes") != 0 && !*facts->save)
		log_warn("%s loses every counter when it ends: start it with "
			 "--appendonly yes",
			 name);
	else if (strcmp(facts->appendonly, "yes") != 0)
		log_warn("%s loses the visits since its last save when it is "
			 "killed: start it with --appendonly yes",
			 name);
	return 0;
}

/*
 * The whole
 */

int store_watch(void)
{
	return pipeline_watch();
}

int store_tick(void)
{
	return pipeline_tick();
}

int store_open(const struct settings *settings)
{
	memset(&store, 0, sizeof(store));
	store.settings = settings;
	return pipeline_open(settings) ? EXIT_SYSTEM : 0;
}

int store_close(void)
{
	pipeline_close();
	return 0; /* what was answered is with the server */
}
