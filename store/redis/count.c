/* The visits of a turn. */
#include "store/redis/redis.h"

#include "store/day.h"
#include "store/failure.h"
#include "util/clock.h"
#include "util/number.h"

#include <string.h>

enum {
	MARKS = 4096,	     /* counters that a worker knows; a power of two */
	MARK_MS = 60000,     /* less than REDIS_DROPPED_S */
	ERRORS_SIZE = 16384, /* texts of the errors of one call */
	ROUNDS_MAX = 4,
	QUIET_MS = 1000,
};

/* A counter of which this worker knows that the total and the day are there. */
struct mark {
	int64_t until;	   /* of clock_ms() */
	int64_t day, base; /* its base, when it was last heard of */
	unsigned generation;
	size_t len;
	char name[STORE_NAME_MAX];
};

static struct {
	struct mark marks[MARKS];
	char errors[ERRORS_SIZE];
	size_t errors_len;
	int64_t day;	 /* of the call */
	int64_t told_at; /* when the log was told of a counter's own failure */
} store;

void redis_forget_all(void)
{
	memset(&store, 0, sizeof(store));
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

/* Another counter may have taken the place. */
static bool is_about(const struct mark *mark, struct slice counter)
{
	return slice_equal((struct slice){mark->name, mark->len}, counter);
}

static bool is_known(struct slice counter)
{
	const struct mark *mark = find_mark(counter);

	return mark->generation == pipeline_generation() &&
	       mark->day == store.day && clock_ms() < mark->until &&
	       is_about(mark, counter);
}

static void know(struct slice counter, int64_t base)
{
	struct mark *mark = find_mark(counter);

	mark->generation = pipeline_generation();
	mark->day = store.day;
	mark->base = base;
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
	struct redis_keys keys;
	char n[NUMBER_MAX];
	size_t command;

	redis_make_keys(&keys, t->counter);
	const struct slice incrby[] = {SLICE("INCRBY"), keys.total_key,
				       redis_number(n, t->n)};
	switch (t->status) {
	case ASK_READ:
		command = redis_get(keys.total_key);
		redis_get_base(&keys);
		break;
	case ASK_PLAIN:
		command = pipeline_add(keys.total_key, 3, incrby);
		redis_get_base(&keys);
		break;
	case ASK_BOOK:
		command = redis_book(t->counter);
		break;
	default:
		command = redis_run_script(REDIS_ADD, t->counter, &keys, t->n,
					   t->status == ASK_BOOKED);
		break;
	}
	t->total = (int64_t)command;
}

/* A base that is no number has nothing above it. */
static int64_t read_base(struct slice text)
{
	int64_t base;

	return day_read_base(text, &base) ? base : INT64_MAX;
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

/*
 * A counter's own failures are told now and then: visits come fast. In a
 * Cluster one counter may fail while another one does not; so there it is told
 * that all is well when every node is.
 */
void redis_tell(int status)
{
	bool is_one = failure_is_garbage() || pipeline_is_cluster();

	if (status != 503) {
		failure_tell(FAILURE_HOME, 0);
		if (pipeline_is_cluster() && !pipeline_is_hurt())
			failure_tell(FAILURE_COUNTERS, 0);
		return;
	}
	if (failure_is_own() ||
	    (is_one && clock_ms() - store.told_at < QUIET_MS))
		return;
	if (is_one)
		store.told_at = clock_ms();
	failure_tell(is_one ? FAILURE_COUNTERS : FAILURE_HOME, 503);
}

/* Redis has no counter there. */
static void settle_none(struct tally *t)
{
	t->total = 0;
	t->status = store_is_home(t->counter) ? 0 : 404;
	t->error = "no such counter";
}

int redis_settle_read(struct tally *t, size_t command, const char *key)
{
	const redisReply *total = pipeline_reply(command);
	const redisReply *base = pipeline_reply(command + 1);

	if (total && total->type == REDIS_REPLY_NIL) {
		settle_none(t);
		return 0;
	}
	if (!total || !redis_is_text(total))
		return redis_fail(command, key);
	if (slice_equal(redis_text(total), SLICE("dropped"))) {
		settle_none(t);
		return 0;
	}
	if (!redis_read_total(redis_text(total), &t->total))
		return redis_fail_text(command, key, redis_text(total));
	if (!base || base->type == REDIS_REPLY_ERROR)
		return redis_fail(command + 1, key);
	if (redis_is_text(base))
		t->today = day_count(t->total, read_base(redis_text(base)));
	t->status = 0;
	return 0;
}

/* Without a reply about the base, it is what it was the last time. */
static void settle_today(struct tally *t, const redisReply *base)
{
	struct mark *mark = find_mark(t->counter);
	bool is_its = is_about(mark, t->counter);

	t->today = t->n;
	if (base && redis_is_text(base)) {
		int64_t value = read_base(redis_text(base));

		t->today = day_count(t->total, value);
		if (is_its)
			mark->base = value;
	} else if (base) { /* somebody has taken the day away */
		forget(t->counter);
	} else if (is_its) {
		t->today = day_count(t->total, mark->base);
	}
}

static int settle_plain(struct tally *t, size_t command, const char *key)
{
	const redisReply *total = pipeline_reply(command);
	const redisReply *base = pipeline_reply(command + 1);

	if (redis_is_error(total, "overflow"))
		return fail_own("counter is full");
	if (redis_is_error(total, "not an integer")) {
		t->status = ASK_SCRIPT;
		return 0;
	}
	if (!total || total->type != REDIS_REPLY_INTEGER)
		return redis_fail(command, key);
	if (total->integer < t->n)
		return fail_garbage("%s: %s was below zero",
				    pipeline_name(command), key);
	t->total = total->integer;
	settle_today(t, base);
	t->status = 0;
	return 0;
}

static int settle_script(struct tally *t, size_t command, const char *key)
{
	const redisReply *reply = pipeline_reply(command);

	if (redis_is_error(reply, "overflow"))
		return fail_own("counter is full");
	int status = redis_judge(command, key, 2);
	if (status > 0)
		return status;
	if (status < 0) {
		t->status = ASK_BOOK;
		return 0;
	}
	if (!number_read(redis_word_text(command, 1), &t->total))
		return redis_fail(command, key);
	int64_t base = read_base(redis_word_text(command, 2));
	t->today = day_count(t->total, base);
	t->is_new = !store_is_home(t->counter) && reply->elements > 3 &&
		    reply->element[3]->integer;
	t->status = 0;
	know(t->counter, base);
	return 0;
}

static int settle_book(struct tally *t, size_t command, const char *key)
{
	int status = redis_judge(command, key, 0);

	t->status = ASK_BOOKED;
	return status;
}

static void settle(struct tally *t)
{
	size_t command = (size_t)t->total;
	struct redis_keys keys;
	int status;

	redis_make_keys(&keys, t->counter);
	t->total = 0;
	switch (t->status) {
	case ASK_READ:
		status = redis_settle_read(t, command, keys.total);
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
		redis_tell(t->status);
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

	store.errors_len = 0;
	store.day = redis_day();
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
		redis_tell(status);
	for (int round = 0; ask_all(tallies, len); round++)
		if (round == ROUNDS_MAX)
			break;
	for (size_t i = 0; i < len; i++)
		if (tallies[i].status < 0)
			refuse(&tallies[i],
			       fail("it is made and dropped all the time"));
}
