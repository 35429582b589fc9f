/*
 * The visits of a turn: one round trip, in which a counter that this worker
 * knows costs an INCRBY, and any other one the script add.lua.
 */
#include "store/redis/count.h"

#include "store/day.h"
#include "store/failure.h"
#include "store/net/pipeline.h"
#include "store/redis/reply.h"
#include "store/redis/script.h"
#include "util/clock.h"
#include "util/grow.h"
#include "util/hash.h"

#include <stdlib.h>
#include <string.h>

enum {
	MARKS = 4096,	 /* counters that a worker knows; a power of two */
	MARK_MS = 60000, /* how long it knows them */
	ROUNDS_MAX = 5,	 /* round trips of a turn */
	QUIET_MS = 1000, /* between two log lines about single counters */
};

_Static_assert(MARK_MS < REDIS_DROPPED_S * 1000,
	       "a worker must see that a counter that it knows was dropped");

/* A counter whose total and day exist in Redis, as this worker has seen. */
struct mark {
	int64_t until;	   /* of clock_ms() */
	int64_t day, base; /* the day's last known base */
	unsigned generation;
	size_t len;
	char name[STORE_NAME_MAX];
};

enum count_step {
	COUNT_READ,   /* GET, HGET */
	COUNT_PLAIN,  /* INCRBY, HGET */
	COUNT_SCRIPT, /* add.lua */
	COUNT_BOOK,   /* book.lua, in a Cluster */
	COUNT_BOOKED, /* add.lua, after book.lua */
	COUNT_DONE,
};

/* A tally, and what Redis is asked about it next. */
struct ask {
	struct tally *tally;
	struct mark *mark; /* its place; may be about another counter */
	enum count_step step;
	size_t command; /* the first of this step */
};

static struct {
	struct mark marks[MARKS];
	int64_t day;	 /* of the call */
	int64_t told_at; /* when a single counter's failure was logged */
} count;

static struct ask *asks; /* of the call */
static size_t asks_cap;

void redis_forget_all(void)
{
	memset(&count, 0, sizeof(count));
	free(asks);
	asks = NULL;
	asks_cap = 0;
}

/*
 * What a worker knows
 */

static struct mark *count_mark(struct slice counter)
{
	return &count.marks[hash_name(counter) % MARKS];
}

static bool count_is_marked(const struct ask *ask)
{
	const struct mark *mark = ask->mark;

	return slice_equal((struct slice){mark->name, mark->len},
			   ask->tally->counter);
}

static bool count_is_known(const struct ask *ask)
{
	const struct mark *mark = ask->mark;

	return mark->generation == pipeline_generation() &&
	       mark->day == count.day && clock_ms() < mark->until &&
	       count_is_marked(ask);
}

static void count_know(const struct ask *ask, int64_t base)
{
	const struct slice counter = ask->tally->counter;
	struct mark *mark = ask->mark;

	mark->generation = pipeline_generation();
	mark->day = count.day;
	mark->base = base;
	mark->until = clock_ms() + MARK_MS;
	mark->len = counter.n;
	memcpy(mark->name, counter.p, counter.n);
}

/*
 * Asking
 */

static size_t count_increase(const struct redis_keys *keys, int64_t visits)
{
	char n[NUMBER_MAX];
	const struct slice words[] = {SLICE("INCRBY"), keys->total,
				      redis_number(n, visits)};
	size_t command = pipeline_add(keys->total, 3, words);

	redis_get_base(keys);
	return command;
}

static size_t count_ask(const struct ask *ask)
{
	const struct tally *t = ask->tally;
	struct redis_keys keys;

	redis_make_keys(&keys, t->counter);
	switch (ask->step) {
	case COUNT_READ:
		return redis_get_total(&keys);
	case COUNT_PLAIN:
		return count_increase(&keys, t->n);
	case COUNT_BOOK:
		return redis_book(t->counter);
	default:
		return redis_run_script(REDIS_ADD, t->counter, &keys, t->n,
					ask->step == COUNT_BOOKED);
	}
}

/*
 * Taking the answers. Each step notes its result in the tally, or gives the
 * status of a failure.
 */

/* A base that is not a number has no visits above it. */
static int64_t count_read_base(const redisReply *reply)
{
	int64_t base;

	return day_read_base(redis_text(reply), &base) ? base : INT64_MAX;
}

static int count_take_none(struct tally *t)
{
	t->status = store_is_home(t->counter) ? 0 : 404;
	t->error = "no such counter";
	return 0;
}

int redis_take_total(struct tally *t, size_t command, const char *key)
{
	const struct redis_answer total = redis_answer_to(command);
	const struct redis_answer base = redis_answer_to(command + 1);

	if (total.reply && total.reply->type == REDIS_REPLY_NIL)
		return count_take_none(t);
	if (!total.reply || !redis_is_text(total.reply))
		return redis_fail(&total, key);
	struct slice text = redis_text(total.reply);
	if (slice_equal(text, SLICE("dropped")))
		return count_take_none(t);
	if (!redis_read_total(text, &t->total))
		return redis_fail_text(&total, key, text);
	if (!base.reply || base.reply->type == REDIS_REPLY_ERROR)
		return redis_fail(&base, key);
	if (redis_is_text(base.reply))
		t->today = day_count(t->total, count_read_base(base.reply));
	return 0;
}

/* Without a reply about the base, it is taken to be the last known one. */
static void count_take_today(const struct ask *ask, const redisReply *base)
{
	struct tally *t = ask->tally;
	struct mark *mark = ask->mark;
	bool is_marked = count_is_marked(ask);

	t->today = redis_is_dated() ? t->n : 0;
	if (!redis_is_dated())
		return;
	if (base && redis_is_text(base)) {
		int64_t value = count_read_base(base);

		t->today = day_count(t->total, value);
		if (is_marked)
			mark->base = value;
	} else if (base) { /* somebody has deleted the day */
		mark->until = 0;
	} else if (is_marked) {
		t->today = day_count(t->total, mark->base);
	}
}

static int count_take_plain(struct ask *ask, const char *key)
{
	const struct redis_answer total = redis_answer_to(ask->command);
	const redisReply *reply = total.reply;

	if (redis_is_error(reply, "overflow"))
		return fail_own("counter is full");
	if (redis_is_error(reply, "not an integer")) {
		ask->step = COUNT_SCRIPT;
		return 0;
	}
	if (!reply || reply->type != REDIS_REPLY_INTEGER)
		return redis_fail(&total, key);
	if (reply->integer < ask->tally->n)
		return fail_garbage("%s: %s was below zero", total.server, key);
	ask->tally->total = reply->integer;
	count_take_today(ask, pipeline_reply(ask->command + 1));
	ask->step = COUNT_DONE;
	return 0;
}

static int count_take_script(struct ask *ask, const char *key)
{
	const struct redis_answer answer = redis_answer_to(ask->command);
	struct tally *t = ask->tally;

	if (redis_is_error(answer.reply, "overflow"))
		return fail_own("counter is full");
	int status = redis_judge(&answer, key, 2);
	if (status > 0)
		return status;
	if (status < 0) {
		ask->step = COUNT_BOOK;
		return 0;
	}
	redisReply **values = answer.reply->element;
	if (!number_read(redis_text(values[1]), &t->total))
		return redis_fail(&answer, key);
	int64_t base = count_read_base(values[2]);
	t->today = day_count(t->total, base);
	t->is_new = !store_is_home(t->counter) && answer.reply->elements > 3 &&
		    values[3]->integer;
	count_know(ask, base);
	ask->step = COUNT_DONE;
	return 0;
}

static int count_take_book(struct ask *ask, const char *key)
{
	const struct redis_answer answer = redis_answer_to(ask->command);

	ask->step = COUNT_BOOKED;
	return redis_judge(&answer, key, 0);
}

static int count_take(struct ask *ask, const char *key)
{
	switch (ask->step) {
	case COUNT_READ:
		ask->step = COUNT_DONE;
		return redis_take_total(ask->tally, ask->command, key);
	case COUNT_PLAIN:
		return count_take_plain(ask, key);
	case COUNT_BOOK:
		return count_take_book(ask, key);
	default:
		return count_take_script(ask, key);
	}
}

/*
 * In a Cluster one counter may fail while another one does not: there the log
 * is told that counters work again when no node is down. Failures of single
 * counters are logged at most once in QUIET_MS.
 */
void redis_tell(int status)
{
	bool is_single = failure_is_garbage() || pipeline_is_cluster();

	if (status != 503) {
		failure_tell(FAILURE_HOME, 0);
		if (pipeline_is_cluster() && !pipeline_is_hurt())
			failure_tell(FAILURE_COUNTERS, 0);
		return;
	}
	if (failure_is_own() ||
	    (is_single && clock_ms() - count.told_at < QUIET_MS))
		return;
	if (is_single)
		count.told_at = clock_ms();
	failure_tell(is_single ? FAILURE_COUNTERS : FAILURE_HOME, 503);
}

static void count_refuse(struct tally *t, int status)
{
	t->status = status;
	t->total = 0;
	t->error = store_answer();
}

static void count_settle(struct ask *ask)
{
	struct redis_keys keys;

	bool reads = ask->step == COUNT_READ;

	redis_make_keys(&keys, ask->tally->counter);
	int status = count_take(ask, keys.total.p);
	if (status) {
		count_refuse(ask->tally, status);
		ask->step = COUNT_DONE;
	}
	/* That counters can be read does not say that visits count again. */
	if (ask->step == COUNT_DONE && (status || !reads))
		redis_tell(ask->tally->status);
}

/*
 * A turn
 */

/* Makes a round trip about all asks; gives the number of those that need
 * another one, which are then the first. */
static size_t count_round(size_t len)
{
	size_t left = 0;

	for (size_t i = 0; i < len; i++)
		asks[i].command = count_ask(&asks[i]);
	pipeline_run();
	for (size_t i = 0; i < len; i++) {
		count_settle(&asks[i]);
		if (asks[i].step != COUNT_DONE)
			asks[left++] = asks[i];
	}
	return left;
}

static enum count_step count_first_step(const struct ask *ask)
{
	if (ask->tally->n == 0)
		return COUNT_READ;
	return count_is_known(ask) ? COUNT_PLAIN : COUNT_SCRIPT;
}

/* Room for the asks of a turn, and a server to ask. */
static int count_begin(size_t len)
{
	struct ask *more = grow(asks, &asks_cap, len, sizeof(*asks));

	if (!more)
		return fail("out of memory");
	asks = more;
	count.day = redis_day();
	return pipeline_begin();
}

int redis_probe(void)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};
	int status = count_begin(1);

	if (status)
		return status;
	asks[0] =
		(struct ask){.tally = &home, .mark = count_mark(home.counter)};
	asks[0].step = count_is_known(&asks[0]) ? COUNT_PLAIN : COUNT_SCRIPT;
	for (int round = 0; round < ROUNDS_MAX; round++)
		if (count_round(1) == 0)
			break;
	return home.status;
}

void store_add(struct tally *tallies, size_t len)
{
	int status = len > 0 ? count_begin(len) : 0;

	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		t->total = t->today = 0;
		t->is_new = false;
		t->status = 0;
		if (status) {
			count_refuse(t, status);
			continue;
		}
		asks[i] = (struct ask){.tally = t,
				       .mark = count_mark(t->counter)};
		asks[i].step = count_first_step(&asks[i]);
	}
	if (status) {
		redis_tell(status);
		return;
	}
	for (int round = 0; round < ROUNDS_MAX && len > 0; round++)
		len = count_round(len);
	for (size_t i = 0; i < len; i++)
		count_refuse(asks[i].tally,
			     fail("it is made and dropped all the time"));
}
