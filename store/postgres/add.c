/*
 * The visits of a turn: one statement.
 *
 * 1. It adds to all counters in the order of their names, so that two workers
 *    cannot wait for each other, and reads others.
 * 2. If this process has not added to a name of the turn today, the turn takes
 *    a lock first, in the same transaction: MAX_COUNTERS is exact. Such a turn
 *    also drops history that nobody asks for any more. Without the lock only
 *    rows that exist are added to.
 * 3. A row that should have been added to and is not in the result has no room
 *    for its counter, or its counter is full; or another process has dropped or
 *    made it at that moment. It is read again to find out which.
 */
#include "store/postgres/add.h"

#include "store/day.h"
#include "store/failure.h"
#include "store/index.h"
#include "store/postgres/array.h"
#include "store/postgres/cache.h"
#include "store/postgres/session.h"
#include "util/grow.h"
#include "util/hash.h"
#include "util/reason.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 10 /* of a row that others make and drop meanwhile */ };

/* A tally while it is asked about. */
struct asked {
	struct tally *tally;
	bool is_found; /* in the result */
};

static struct {
	struct index known; /* names that were added to today */
	int64_t known_day;
	struct array names, counts; /* of a turn */
	struct asked *asked;
	size_t asked_cap;
	struct asked *nows;  /* of those that are read again, */
	struct tally *reads; /* and what is read */
	size_t nows_cap, reads_cap;
} adding;

void add_forget(void)
{
	index_free(&adding.known);
	array_free(&adding.names);
	array_free(&adding.counts);
	free(adding.asked);
	free(adding.nows);
	free(adding.reads);
	memset(&adding, 0, sizeof(adding));
}

/*
 * Names that need no lock
 */

static bool add_is_known(struct slice name)
{
	size_t cursor = 0, row;

	return index_next(&adding.known, hash_name(name), &cursor, &row);
}

/* If there is no memory, a name is forgotten: that costs a lock. */
static void add_know(struct slice name)
{
	if (!add_is_known(name) &&
	    index_add(&adding.known, hash_name(name), 0) < 0)
		index_free(&adding.known);
}

static void add_forget_yesterday(const struct date_day *today)
{
	if (adding.known_day != today->number)
		index_free(&adding.known);
	adding.known_day = today->number;
}

/*
 * The call
 */

int64_t add_largest_total(void)
{
	return session_pq()->facts.is_small ? INT32_MAX : INT64_MAX;
}

static int add_fail_memory(size_t len)
{
	return fail("no memory for a turn of %zu counters:", len);
}

static int add_write_arrays(const struct asked *asked, size_t len)
{
	array_begin(&adding.names);
	array_begin(&adding.counts);
	for (size_t i = 0; i < len; i++) {
		array_add_text(&adding.names, asked[i].tally->counter);
		array_add_number(&adding.counts, asked[i].tally->n);
	}
	return array_end(&adding.names) < 0 || array_end(&adding.counts) < 0
		       ? add_fail_memory(len)
		       : 0;
}

/* A total that nobody can have counted. */
static void add_refuse_total(struct tally *t)
{
	fail_garbage("%s: the total of \"%.*s\" in visit_counter is below zero",
		     session_pq()->peer.name, (int)t->counter.n, t->counter.p);
	t->status = 503;
	t->error = store_answer();
	t->total = t->today = 0;
}

static void add_take_row(struct asked *asked, const PGresult *result, int row)
{
	struct tally *t = asked->tally;

	asked->is_found = true;
	t->total = session_value(result, row, 1);
	t->today = PQgetisnull(result, row, 2)
			   ? 0 /* nothing came today */
			   : day_count(t->total, session_value(result, row, 2));
	t->is_new = !store_is_home(t->counter) &&
		    *PQgetvalue(result, row, 3) == 't';
	t->status = 0;
	if (t->total < 0)
		add_refuse_total(t);
}

/* How a turn is added. */
enum { ADD_LOCKS = 1, ADD_PROBES = 2 };

/* Makes the call of a turn: adding, or reading. */
static int add_call(enum statement statement, int how, struct asked *asked,
		    size_t len, int64_t until)
{
	bool locks = how & ADD_LOCKS;
	struct session_number most = session_number(add_largest_total());
	struct session_number limit =
		session_number(session_settings()->max_counters);
	int status = add_write_arrays(asked, len);
	struct pq_step steps[] = {
		{.statement = STATEMENT_LOCK},
		{.statement = (int)statement,
		 .len = statement == STATEMENT_ADD ? 6 : 3,
		 .values = {adding.names.text, adding.counts.text,
			    session_today_text(), most.text,
			    locks ? limit.text : NULL,
			    how & ADD_PROBES ? "t" : "f"}},
	};
	struct pq_step *first = &steps[locks ? 0 : 1];

	if (status)
		return status;
	status = pq_call(session_pq(), first, locks ? 2 : 1, until);
	for (int row = 0; !status && row < PQntuples(steps[1].result); row++) {
		size_t i = (size_t)session_value(steps[1].result, row, 0) - 1;

		if (i < len)
			add_take_row(&asked[i], steps[1].result, row);
	}
	session_clear(steps, 2);
	return status;
}

/* Reads tallies. Without a table nothing was ever counted. */
static int add_read(struct asked *asked, size_t len, int64_t until)
{
	int status = add_call(STATEMENT_READ, 0, asked, len, until);

	if (status && session_misses_table())
		status = add_call(STATEMENT_READ_TOTALS, 0, asked, len, until);
	if (status && session_misses_table())
		return 0;
	return session_judge_table(status);
}

static int add_write(int how, struct asked *asked, size_t len, int64_t until)
{
	int status = add_call(STATEMENT_ADD, how, asked, len, until);

	if (status && session_misses_table() &&
	    pq_run(session_pq(), session_make_counters, until) == 0)
		status = add_call(STATEMENT_ADD, how | ADD_LOCKS, asked, len,
				  until);
	return session_judge_table(status);
}

/*
 * Rows that are not in the result
 */

static void add_explain_unread(struct tally *t)
{
	t->is_new = !store_is_home(t->counter);
	t->status = t->is_new ? 404 : 0;
	t->error = "no such counter";
}

/* Explains a tally that was not added to by what its row is `now`. False: it
 * does not explain it. */
static bool add_explain(struct tally *t, const struct asked *now, bool locked)
{
	if (now->is_found && now->tally->status)
		add_refuse_total(t);
	else if (!now->is_found && locked && !store_is_home(t->counter)) {
		t->status = 507;
		t->error = reason_write("there are MAX_COUNTERS=%d counters",
					session_settings()->max_counters);
	} else if (now->is_found &&
		   now->tally->total > add_largest_total() - t->n) {
		t->status = 503;
		t->error = "counter is full";
	} else {
		return false;
	}
	return true;
}

/* A row that is not in the result, although it is there and not full. */
static int add_fail_row(struct slice counter)
{
	return fail("%s: the row of \"%.*s\" in visit_counter cannot be "
		    "written: a trigger, a rule or a policy keeps it as it is",
		    session_pq()->peer.name, (int)counter.n, counter.p);
}

/* Adds one tally, by itself and with the lock. */
static int add_again(struct asked *asked, int64_t until)
{
	struct tally *t = asked->tally;

	for (int i = 0; i < TRIES_MAX; i++) {
		struct tally read = {.counter = t->counter};
		struct asked now = {.tally = &read};
		int status = add_write(ADD_LOCKS, asked, 1, until);

		if (status || asked->is_found)
			return status;
		status = add_read(&now, 1, until);
		if (status || add_explain(t, &now, true))
			return status;
	}
	return add_fail_row(t->counter);
}

/* What the turn has committed of other counters stays counted. */
static void add_once_more(struct asked *asked, int64_t until)
{
	struct tally *t = asked->tally;

	if (add_again(asked, until) == 0)
		return;
	failure_tell(FAILURE_ROWS, 503);
	t->status = 503;
	t->error = store_answer();
	t->total = t->today = 0;
	t->is_new = false;
}

/* Reads the rows that were to be added to and were not, into adding.nows. */
static int add_read_again(const struct asked *asked, size_t len, int64_t until)
{
	struct asked *nows =
		grow(adding.nows, &adding.nows_cap, len, sizeof(*nows));
	struct tally *reads =
		grow(adding.reads, &adding.reads_cap, len, sizeof(*reads));
	size_t n = 0;

	adding.nows = nows ? nows : adding.nows;
	adding.reads = reads ? reads : adding.reads;
	if (!nows || !reads)
		return add_fail_memory(len);
	for (size_t i = 0; i < len; i++) {
		if (asked[i].is_found || asked[i].tally->n == 0)
			continue;
		reads[n] = (struct tally){.counter = asked[i].tally->counter};
		nows[n] = (struct asked){.tally = &reads[n]};
		n++;
	}
	return n > 0 ? add_read(nows, n, until) : 0;
}

/* What of the turn needs more than one statement. */
static int add_finish(struct asked *asked, size_t len, bool locked,
		      int64_t until)
{
	int status = add_read_again(asked, len, until);
	const struct asked *now = adding.nows;

	for (size_t i = 0; i < len && !status; i++) {
		struct tally *t = asked[i].tally;

		if (!asked[i].is_found && t->n == 0)
			add_explain_unread(t);
		else if (!asked[i].is_found && !add_explain(t, now++, locked))
			add_once_more(&asked[i], until);
		if (!status && !t->status && t->n > 0)
			add_know(t->counter);
	}
	return status;
}

/* A probe that has found no row to write. */
static int add_fail_probe(struct tally *home, int64_t until)
{
	struct asked now = {.tally = home};
	int status = add_read(&now, 1, until);

	if (!status && home->status)
		return 503; /* add_refuse_total has said why */
	return status ? status : add_fail_row(home->counter);
}

/*
 * The turn
 */

static bool add_counts(const struct tally *tallies, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (tallies[i].n > 0)
			return true;
	return false;
}

/* Whether a name that is counted needs the lock. */
static bool add_needs_lock(const struct tally *tallies, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (tallies[i].n > 0 && !add_is_known(tallies[i].counter))
			return true;
	return false;
}

static int add_make(struct tally *tallies, size_t len, int64_t until)
{
	bool locks = add_needs_lock(tallies, len);
	struct asked *asked =
		grow(adding.asked, &adding.asked_cap, len, sizeof(*asked));
	int status;

	if (!asked)
		return add_fail_memory(len);
	adding.asked = asked;
	for (size_t i = 0; i < len; i++) {
		tallies[i].status = 0;
		asked[i] = (struct asked){.tally = &tallies[i]};
	}
	status = session_check_table(until);
	if (!status)
		status = add_counts(tallies, len)
				 ? add_write(locks ? ADD_LOCKS : 0, asked, len,
					     until)
				 : add_read(asked, len, until);
	return status ? status : add_finish(asked, len, locks, until);
}

/* A name that the database cannot hold was never counted, and cannot be. */
static void add_refuse_name(struct tally *t)
{
	session_fail_letter();
	t->status = t->n > 0 ? 400 : 404;
	t->error = store_answer();
	t->total = t->today = 0;
	t->is_new = false;
}

static void add_refuse(struct tally *tallies, size_t len)
{
	const char *error = store_answer();

	for (size_t i = 0; i < len; i++) {
		tallies[i].status = 503;
		tallies[i].error = error;
		tallies[i].total = tallies[i].today = 0;
		tallies[i].is_new = false;
	}
}

static void add_ask_one(struct tally *t, int64_t until)
{
	if (add_make(t, 1, until) == 0)
		return;
	if (session_lacks_letter()) {
		add_refuse_name(t);
		return;
	}
	failure_tell(FAILURE_ROWS, 503);
	add_refuse(t, 1);
}

/* Asks PostgreSQL. A row that is refused does not fail the others of its
 * adding. */
static void add_ask(struct tally *tallies, size_t len, int64_t until)
{
	int status = add_make(tallies, len, until);

	if (status && session_is_of_a_row()) {
		for (size_t i = 0; i < len; i++)
			add_ask_one(&tallies[i], until);
		return;
	}
	/* That counters can be read does not say that visits count again. */
	if (status || add_counts(tallies, len))
		failure_tell(FAILURE_HOME, status);
	if (status)
		add_refuse(tallies, len);
}

int add_probe(void)
{
	int64_t until = session_deadline();
	struct tally home = {.counter = SLICE(STORE_HOME)};
	struct asked asked = {.tally = &home};
	int how = ADD_PROBES;
	int status = session_check_table(until);

	add_forget_yesterday(session_today());
	if (!add_is_known(home.counter))
		how |= ADD_LOCKS;
	if (!status)
		status = add_write(how, &asked, 1, until);
	if (!status && !asked.is_found)
		status = add_fail_probe(&home, until);
	if (!status)
		add_know(home.counter);
	failure_tell_probe(status);
	return status;
}

void store_add(struct tally *tallies, size_t len)
{
	int64_t until = session_deadline();
	const struct date_day *today = session_today();

	if (len == 0)
		return;
	add_forget_yesterday(today);
	for (size_t i = 0; i < len; i++) {
		tallies[i].total = tallies[i].today = 0;
		tallies[i].is_new = false;
	}
	if (!add_counts(tallies, len) && cache_get_totals(tallies, len, today))
		return;
	add_ask(tallies, len, until);
	cache_put_totals(tallies, len, today);
}
