/*
 * The Redis store. Its keys:
 *
 * visit_counter:NAME       a string: the total
 * visit_history:{visit_counter:NAME}
 *                          a hash of 31 days: date -> the total when it began
 * visit_counters           a set of the names, but for the home counter's
 * item:id                  a string: how many items there are
 * item:7                   a string: one of them, as JSON without its id
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
#include "store/redis/redis.h"

#include "store/failure.h"
#include "util/log.h"

#include <stdio.h>
#include <string.h>

const char store_name[] = "redis";

const char *store_error(void)
{
	return failure_reason();
}

/*
 * Setting and dropping
 */

static int run_one(enum redis_script script, struct slice counter,
		   int64_t value, bool is_booked)
{
	struct redis_keys keys;

	redis_make_keys(&keys, counter);
	size_t command =
		redis_run_script(script, counter, &keys, value, is_booked);
	pipeline_run();
	return redis_judge(command, keys.total, 0);
}

static int set(struct slice counter, int64_t value)
{
	int status = pipeline_begin();

	redis_day();
	if (!status)
		status = run_one(REDIS_SET, counter, value, false);
	if (status >= 0)
		return status;
	size_t command = redis_book(counter);
	pipeline_run();
	status = redis_judge(command, REDIS_NAMES_KEY, 0);
	return status ? status : run_one(REDIS_SET, counter, value, true);
}

int store_set(struct slice counter, int64_t value)
{
	int status = set(counter, value);

	redis_tell(status);
	return status;
}

/* In a Cluster its name leaves the set when nothing else is left. */
static int unbook(struct slice counter)
{
	const struct slice words[] = {SLICE("SREM"), SLICE(REDIS_NAMES_KEY),
				      counter};

	if (!pipeline_is_cluster())
		return 0;
	size_t command = pipeline_add(SLICE(REDIS_NAMES_KEY), 3, words);
	pipeline_run();
	const redisReply *reply = pipeline_reply(command);
	return reply && reply->type == REDIS_REPLY_INTEGER
		       ? 0
		       : redis_fail(command, REDIS_NAMES_KEY);
}

static int fail_none(struct slice counter)
{
	fail_own("no counter \"%.*s\"", (int)counter.n, counter.p);
	return 404;
}

int store_drop(struct slice counter)
{
	if (store_is_home(counter))
		return fail_none(counter);
	int status = pipeline_begin();
	redis_day();
	if (!status)
		status = run_one(REDIS_DROP, counter, REDIS_DROPPED_S, true);
	if (status == 0)
		status = unbook(counter);
	redis_tell(status > 0 ? status : 0);
	return status < 0 ? fail_none(counter) : status;
}

/*
 * Health
 */

static char durability[256];

/* What the server does with its data, in its own words. */
static void describe(const struct resp_facts *facts)
{
	char *out = durability;
	size_t cap = sizeof(durability);

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
	return durability;
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
	struct tally home = {.counter = SLICE(STORE_HOME)};
	int status = pipeline_begin();
	struct redis_keys keys;

	if (status)
		return status;
	redis_day();
	redis_make_keys(&keys, home.counter);
	const struct slice words[] = {SLICE("SETRANGE"), keys.total_key,
				      SLICE("0"), SLICE("")};
	size_t write = pipeline_add(keys.total_key, 4, words);
	size_t first = ask_questions(keys.total_key);
	size_t read = redis_get(keys.total_key);
	redis_get_base(&keys);
	pipeline_run();
	const redisReply *reply = pipeline_reply(write);
	if (!reply || reply->type != REDIS_REPLY_INTEGER)
		return redis_fail(write, keys.total);
	learn(first);
	status = resp_check_eviction(pipeline_server());
	return status ? status : redis_settle_read(&home, read, keys.total);
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

int store_prepare(const struct settings *settings)
{
	(void)settings;
	return 0;
}

int store_open(const struct settings *settings)
{
	redis_forget_all();
	return pipeline_open(settings) ? EXIT_SYSTEM : 0;
}

int store_close(void)
{
	pipeline_close();
	return 0; /* what was answered is with the server */
}
