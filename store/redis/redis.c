/*
 * The Redis store. Its keys (keys.h):
 *
 * visit_counter:NAME       a string: the total
 * visit_history:{visit_counter:NAME}
 *                          a hash of days: date -> the total when it began
 * visit_counters           a set of the names, without the home counter's
 * item:id                  a string: the last id
 * item:7                   a string: an item, as JSON without its id
 *
 * 1. A turn is one pipeline. For a counter that this worker knows it has an
 *    INCRBY, and an HGET of the day's base, which another worker may have moved
 *    by setting the total. For any other counter it has a script, which makes
 *    the counter if there is room, and the day.
 * 2. A worker knows a counter for MARK_MS, on one day and one connection. The
 *    total of a dropped counter is a word for longer than that: INCRBY fails
 *    and the script is run. So only the script makes counters, and MAX_COUNTERS
 *    is exact.
 * 3. Scripts handle totals as texts: a number in Lua has 53 bits.
 * 4. A total that is not a number is never overwritten.
 * 5. In a Cluster a script sees one slot only: the name of a counter that does
 *    not exist is first added to the set of the names, which has another slot.
 */
#include "store/begin.h"
#include "store/failure.h"
#include "store/net/pipeline.h"
#include "store/redis/count.h"
#include "store/redis/reply.h"
#include "store/redis/script.h"
#include "util/log.h"

#include <stdio.h>
#include <string.h>

const char store_name[] = "redis";

const char *const failure_words[FAULTS] = {
	[FAULT_ANY] = "Redis failed",
	[FAULT_AWAY] = "Redis cannot be reached",
	[FAULT_LATE] = "Redis does not answer in time",
	[FAULT_LOGIN] = "Redis refused the login",
	[FAULT_DENIED] = "Redis does not allow it",
	[FAULT_FULL] = "Redis has no room",
	[FAULT_GARBAGE] = "data or settings of Redis cannot be used",
};

/*
 * Setting and dropping
 */

static int redis_change(enum redis_script script, struct slice counter,
			int64_t number, bool is_booked)
{
	struct redis_keys keys;

	redis_make_keys(&keys, counter);
	size_t command =
		redis_run_script(script, counter, &keys, number, is_booked);
	pipeline_run();
	const struct redis_answer answer = redis_answer_to(command);
	return redis_judge(&answer, keys.total.p, 0);
}

static int redis_set(struct slice counter, int64_t value)
{
	int status = pipeline_begin();

	redis_day();
	if (!status)
		status = redis_change(REDIS_SET, counter, value, false);
	if (status >= 0)
		return status;
	size_t command = redis_book(counter);
	pipeline_run();
	const struct redis_answer answer = redis_answer_to(command);
	status = redis_judge(&answer, keys_names().p, 0);
	return status ? status : redis_change(REDIS_SET, counter, value, true);
}

int store_set(struct slice counter, int64_t value)
{
	int status = redis_set(counter, value);

	redis_tell(status);
	return status;
}

/* In a Cluster: takes a name out of the set of the names, after everything else
 * of the counter is gone. */
static int redis_unbook(struct slice counter)
{
	const struct slice words[] = {SLICE("SREM"), keys_names(), counter};

	if (!pipeline_is_cluster())
		return 0;
	size_t command = pipeline_add(keys_names(), 3, words);
	pipeline_run();
	const struct redis_answer answer = redis_answer_to(command);
	return answer.reply && answer.reply->type == REDIS_REPLY_INTEGER
		       ? 0
		       : redis_fail(&answer, keys_names().p);
}

static int redis_fail_none(struct slice counter)
{
	fail_own("no counter \"%.*s\"", (int)counter.n, counter.p);
	return 404;
}

int store_drop(struct slice counter)
{
	if (store_is_home(counter))
		return redis_fail_none(counter);
	int status = pipeline_begin();
	redis_day();
	if (!status)
		status = redis_change(REDIS_DROP, counter, REDIS_DROPPED_S,
				      true);
	if (status == 0)
		status = redis_unbook(counter);
	redis_tell(status > 0 ? status : 0);
	return status < 0 ? redis_fail_none(counter) : status;
}

/*
 * Health
 */

static char durability[256];

/* The server's settings that decide how long data lives, in its own words. */
static void redis_describe(const struct resp_facts *facts)
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
	redis_describe(&pipeline_server()->facts);
	return durability;
}

/* Asks for the server's settings; gives the first command. */
static size_t redis_ask_settings(struct slice key)
{
	size_t first = 0;

	for (int i = 0; i < RESP_QUESTIONS; i++) {
		size_t argc;
		const struct slice *argv = resp_question(i, &argc);
		size_t command = pipeline_add(key, argc, argv);

		if (i == 0)
			first = command;
	}
	return first;
}

static void redis_learn_settings(size_t first)
{
	struct resp_facts *facts = &pipeline_server()->facts;

	for (int i = 0; i < RESP_QUESTIONS; i++) {
		const redisReply *reply = pipeline_reply(first + (size_t)i);

		if (reply)
			resp_learn(facts, i, reply);
	}
}

static int redis_ping(void)
{
	int status = redis_probe();
	struct redis_keys keys;

	if (status)
		return status;
	/* In the same call, and so to the same deadline. */
	redis_make_keys(&keys, SLICE(STORE_HOME));
	size_t first = redis_ask_settings(keys.total);
	pipeline_run();
	redis_learn_settings(first);
	return resp_check_eviction(pipeline_server());
}

int store_ping(void)
{
	int status = redis_ping();

	/* Counters that fail alone, this one too, say nothing of the others:
	 * those must not end in the log what this one finds. */
	failure_tell_probe(status);
	return status;
}

int store_check(const struct settings *settings, int64_t *total)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};
	int status = store_open(settings);

	if (status)
		return status;
	status = pipeline_begin();
	redis_day();
	if (!status)
		status = redis_change(REDIS_CHECK, home.counter, 0, false);
	if (!status) {
		store_add(&home, 1);
		status = home.status;
	}
	*total = home.total;
	if (!status)
		return 0;
	return failure_is_garbage() ? EXIT_DATA : EXIT_SYSTEM;
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
	begin_tell(name);
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
 * Opening and closing
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
	redis_forget_all();
	return 0; /* the server has everything that was answered */
}
