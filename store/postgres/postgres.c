/*
 * The PostgreSQL store: the row of a counter in `visit_counter`, what its total
 * was when a day began in `visit_history`, and `items`.
 *
 * 1. A turn is one statement: it adds to all counters, in the order of their
 *    names, so that two workers cannot wait for each other, and reads others.
 * 2. A turn with names that this process has not added to today takes a lock
 *    first, in the same transaction, so that MAX_COUNTERS is exact; it also
 *    drops the history that nobody asks for any more. Without the lock only
 *    rows that there are are added to.
 * 3. A table is made when it is first missed, so a dropped one heals, and one
 *    made by hand is used as it is, if it fits. Reads create nothing.
 * 4. What the server refused was not done; where that is sure to be a matter of
 *    the moment (a deadlock, a serialization failure) it is tried again, by the
 *    same deadline. Any other failed call may have counted, and is not.
 * 5. The snapshot of a statement is its own (READ COMMITTED, pq.c): what is
 *    counted under a lock is what there is then.
 */
#include "store/store.h"

#include "store/postgres/cache.h"
#include "store/day.h"
#include "store/failure.h"
#include "store/index.h"
#include "store/item.h"
#include "store/postgres/pq.h"
#include "util/clock.h"
#include "util/date.h"
#include "util/hash.h"
#include "util/log.h"
#include "util/number.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

const char store_name[] = "postgres";

enum statement {
	ADD,
	ADD_NEW,
	READ,
	READ_TOTALS,
	LOCK,
	IS_THERE,
	SET,
	DROP,
	EACH,
	PING,
	READ_ONLY,
	CREATE_ITEM,
	GET_ITEMS,
};

/* Of pg_advisory_xact_lock, for what visitd does one at a time: "visitd". */
#define LOCK_KEY "130201475347556"

/* The turn: $1 names, $2 how many visits of each, $3 today. */
#define TURN                                                             \
	"turn AS (SELECT name, n, i FROM unnest($1::text[], $2::int8[])" \
	" WITH ORDINALITY AS t (name, n, i))"

/* Adds the rows of `from`; $4 is the largest total. Those that begin a day note
 * what they had: if another worker does so at the same time, the lower base is
 * the right one, and told here. */
#define ADD_FROM(from)                                                     \
	"added AS (INSERT INTO visit_counter AS c (name, visits)"          \
	" SELECT name, n FROM " from " WHERE n > 0 ORDER BY name COLLATE"  \
	" \"C\" ON CONFLICT (name) DO UPDATE"                              \
	" SET visits = coalesce(c.visits, 0) + excluded.visits"            \
	" WHERE coalesce(c.visits, 0)"                                     \
	" BETWEEN 0 AND $4::int8 - excluded.visits"                        \
	" RETURNING c.name, c.visits, c.xmax = 0 AS is_new),"              \
	" based AS (INSERT INTO visit_history AS h (name, day, base)"      \
	" SELECT a.name, $3::date, a.visits - t.n"                         \
	" FROM added a JOIN turn t USING (name) WHERE a.is_new OR"         \
	" NOT EXISTS (SELECT FROM visit_history o"                         \
	" WHERE o.name = a.name AND o.day = $3::date)"                     \
	" ORDER BY a.name COLLATE \"C\" ON CONFLICT (name, day) DO UPDATE" \
	" SET base = least(h.base, excluded.base)"                         \
	" RETURNING h.name, h.base)"

/* What the turn's counters have now. */
#define SHOW_ADDED                                                  \
	" SELECT t.i, c.visits, coalesce(b.base, h.base), c.is_new" \
	" FROM (SELECT name, visits, is_new FROM added UNION ALL"   \
	" SELECT name, coalesce(v.visits, 0), false"                \
	" FROM turn JOIN visit_counter v"                           \
	" USING (name) WHERE n = 0) c JOIN turn t USING (name)"     \
	" LEFT JOIN based b USING (name)"                           \
	" LEFT JOIN visit_history h ON h.name = t.name AND h.day = $3::date"

#define NAMED " name <> '" STORE_HOME "'"

static const char *const texts[] = {
	/* To rows that there are; the home counter may be new. */
	[ADD] = "WITH " TURN ", allowed AS (SELECT name, n FROM turn t"
		" WHERE name = '" STORE_HOME "' OR EXISTS (SELECT"
		" FROM visit_counter c WHERE c.name = t.name)),"
		" " ADD_FROM("allowed") SHOW_ADDED,
	/* $5: how many counters with names there may be */
	[ADD_NEW] = "WITH " TURN ","
		    " fresh AS (SELECT t.name, t.n,"
		    " row_number() OVER (ORDER BY t.i) AS k FROM turn t"
		    " WHERE t.n > 0 AND t." NAMED " AND NOT EXISTS"
		    " (SELECT FROM visit_counter c WHERE c.name = t.name)),"
		    " allowed AS (SELECT name, n FROM turn"
		    " WHERE name NOT IN (SELECT name FROM fresh) UNION ALL"
		    " SELECT name, n FROM fresh WHERE k +"
		    " (SELECT count(*) FROM visit_counter WHERE" NAMED
		    ") <= $5::int8),"
		    " pruned AS (DELETE FROM visit_history h USING turn t"
		    " WHERE h.name = t.name AND h.day < $3::date - 31),"
		    " " ADD_FROM("allowed") SHOW_ADDED,
	[READ] =
		"WITH " TURN " SELECT t.i, coalesce(c.visits, 0), h.base, false"
		" FROM turn t JOIN visit_counter c USING (name)"
		" LEFT JOIN visit_history h"
		" ON h.name = t.name AND h.day = $3::date",
	/* While there is no history. */
	[READ_TOTALS] = "WITH " TURN
			" SELECT t.i, coalesce(c.visits, 0), NULL::int8, false"
			" FROM turn t JOIN visit_counter c USING (name)"
			" WHERE $3::date IS NOT NULL",
	[LOCK] = "SELECT pg_advisory_xact_lock(" LOCK_KEY ")",
	[IS_THERE] = "SELECT to_regclass('visit_counter') IS NOT NULL",
	/* $1 name, $2 total, $3 today, $4 how many counters there may be. The
	 * old total is read, and its row locked, before the new one is put
	 * there. */
	[SET] = "WITH old AS (SELECT coalesce(visits, 0) AS visits"
		" FROM visit_counter"
		" WHERE name = $1 FOR UPDATE),"
		" put AS (INSERT INTO visit_counter (name, visits)"
		" SELECT $1, $2::int8 FROM (SELECT count(*) AS n FROM old) o"
		" WHERE o.n > 0 OR $1 = '" STORE_HOME "' OR"
		" (SELECT count(*) FROM visit_counter WHERE" NAMED
		") < $4::int8"
		" ON CONFLICT (name) DO UPDATE SET visits = excluded.visits"
		" RETURNING name),"
		" moved AS (UPDATE visit_history h"
		" SET base = h.base + ($2::int8 - old.visits) FROM old"
		" WHERE h.name = $1 AND h.day = $3::date)"
		" SELECT FROM put",
	[DROP] = "WITH gone AS (DELETE FROM visit_history WHERE name = $1)"
		 " DELETE FROM visit_counter WHERE name = $1 RETURNING 1",
	[EACH] =
		"SELECT name, coalesce(visits, 0) FROM visit_counter"
		" WHERE name IS NOT NULL ORDER BY" NAMED ", name COLLATE \"C\"",
	[PING] = "UPDATE visit_counter SET visits = visits WHERE false",
	[READ_ONLY] = "SELECT current_setting('transaction_read_only')",
	[CREATE_ITEM] = "INSERT INTO items (name, description)"
			" SELECT $1, $2 WHERE (SELECT count(*) FROM items)"
			" < $3::int8 RETURNING id",
	/* $2: how long its texts may be; longer ones are not even fetched. */
	[GET_ITEMS] =
		"SELECT id, CASE WHEN fits THEN name END,"
		" CASE WHEN fits THEN description END, fits"
		" FROM (SELECT id, name, description, octet_length(name) +"
		" coalesce(octet_length(description), 0) <= $2::int4"
		" AS fits FROM items WHERE id = ANY ($1::int4[])) i",
	NULL,
};

static const char make_counters[] =
	"SELECT pg_advisory_xact_lock(" LOCK_KEY ");"
	"CREATE TABLE IF NOT EXISTS visit_counter"
	" (name text PRIMARY KEY, visits int8 NOT NULL);"
	"CREATE TABLE IF NOT EXISTS visit_history"
	" (name text NOT NULL, day date NOT NULL, base int8 NOT NULL,"
	" PRIMARY KEY (name, day))";

static const char make_items[] =
	"SELECT pg_advisory_xact_lock(" LOCK_KEY ");"
	"CREATE TABLE IF NOT EXISTS items"
	" (id serial PRIMARY KEY, name text NOT NULL, description text)";

/* One process has one store. */
static struct {
	const struct settings *settings;
	int epoll;
	struct pq pq;
	struct date_day today;
	struct index known; /* the names that were added to today */
	int64_t known_day;
	char *names, *counts; /* a turn's, as arrays of PostgreSQL */
	size_t cap;	      /* bytes of each */
	struct tally *again;  /* what is read of a turn's, once more */
	size_t again_cap;
} store;

static int64_t deadline(void)
{
	return clock_ms() + store.settings->store_timeout;
}

static bool is_state(const char *state)
{
	return strcmp(store.pq.sqlstate, state) == 0;
}

static const char *today_text(void)
{
	static char text[DATE_DAY_SIZE + 1];

	date_know_day(&store.today, time(NULL));
	memcpy(text, store.today.text, DATE_DAY_SIZE);
	return text;
}

/*
 * Names that need no second thought
 */

static bool is_known(struct slice name)
{
	size_t cursor = 0, row;

	return index_next(&store.known, hash_name(name), &cursor, &row);
}

/* To forget one costs a lock. */
static void know(struct slice name)
{
	if (!is_known(name) && index_add(&store.known, hash_name(name), 0) < 0)
		index_free(&store.known);
}

static void forget_yesterday(void)
{
	if (store.known_day == store.today.number)
		return;
	index_free(&store.known);
	store.known_day = store.today.number;
}

/*
 * Tables
 */

/* Whether the call failed because of a table that is missing, which is now
 * made: 0, and it may be made again. Else its own failure. */
static int heal(const char *commands, int64_t until)
{
	if (!is_state("42P01")) /* undefined_table */
		return 503;
	return pq_run(&store.pq, commands, until);
}

static int fail_table(void)
{
	return fail("%s: the table visit_counter cannot be used: it needs a "
		    "column name that is unique and a column visits of an "
		    "integer type, as in CREATE TABLE visit_counter (name text "
		    "PRIMARY KEY, visits int8 NOT NULL)",
		    store.pq.peer.name);
}

/* Before a call: a table that is there may not be what is needed; or it is now,
 * and was not when this was last looked at. */
static int check_table(int64_t until)
{
	int status = pq_ready(&store.pq, until);

	for (int i = 0; i < 2; i++) {
		if (status || !store.pq.facts.is_there || store.pq.facts.fits)
			return status;
		net_broken(&store.pq.peer);
		if (i == 0)
			status = pq_ready(&store.pq, until);
	}
	return fail_table();
}

/* After it: the table may have become another one meanwhile. */
static int judge_table(int status)
{
	static const char *const states[] = {
		"42703", /* undefined_column */
		"42P10", /* invalid_column_reference */
		"42804", /* datatype_mismatch */
		"42883", /* undefined_function: an operator */
	};

	for (size_t i = 0; status && i < sizeof(states) / sizeof(*states); i++)
		if (is_state(states[i])) {
			net_broken(&store.pq.peer);
			return fail_table();
		}
	return status;
}

/*
 * The turn
 */

/* Room for the arrays of `len` counters. */
static int make_room(size_t len)
{
	size_t cap = len * (STORE_NAME_MAX + NUMBER_MAX + 4) + 3;

	if (cap <= store.cap)
		return 0;
	char *names = realloc(store.names, cap);
	if (names)
		store.names = names;
	char *counts = realloc(store.counts, cap);
	if (counts)
		store.counts = counts;
	if (!names || !counts)
		return fail("no memory for a turn of %zu counters:", len);
	store.cap = cap;
	return 0;
}

/* {"a","b/c"} and {1,0}. Names have nothing to escape. */
static int write_arrays(const struct tally *tallies, size_t len)
{
	int status = make_room(len);
	char *name = store.names, *count = store.counts;

	if (status)
		return status;
	*name++ = *count++ = '{';
	for (size_t i = 0; i < len; i++) {
		if (i > 0)
			*name++ = *count++ = ',';
		*name++ = '"';
		memcpy(name, tallies[i].counter.p, tallies[i].counter.n);
		name += tallies[i].counter.n;
		*name++ = '"';
		count += number_write(count, tallies[i].n);
	}
	*name++ = *count++ = '}';
	*name = *count = '\0';
	return 0;
}

static int64_t value_of(const PGresult *result, int row, int column)
{
	const char *text = PQgetvalue(result, row, column);
	int64_t value = 0;

	/* A base may be below zero, after a total was set. */
	day_read_base(slice_of(text), &value);
	return value;
}

enum { UNSEEN = -1 }; /* in the place of today's */

/* A total that nobody can have counted. */
static void refuse_total(struct tally *t)
{
	t->status = 503;
	t->error = "the total in visit_counter is below zero";
	t->total = t->today = 0;
}

static void take_rows(const PGresult *result, struct tally *tallies, size_t len)
{
	for (int row = 0; row < PQntuples(result); row++) {
		size_t i = (size_t)value_of(result, row, 0) - 1;

		if (i >= len)
			continue;
		struct tally *t = &tallies[i];
		t->total = value_of(result, row, 1);
		t->today =
			PQgetisnull(result, row, 2)
				? 0 /* nothing came today */
				: day_count(t->total, value_of(result, row, 2));
		t->is_new = !store_is_home(t->counter) &&
			    *PQgetvalue(result, row, 3) == 't';
		t->status = 0;
		if (t->total < 0)
			refuse_total(t);
	}
}

static int64_t largest_total(void)
{
	return store.pq.facts.is_small ? INT32_MAX : INT64_MAX;
}

/* Makes the call of a turn: ADD, ADD_NEW, READ or READ_TOTALS. */
static int call_turn(enum statement statement, struct tally *tallies,
		     size_t len, int64_t until)
{
	char most[NUMBER_MAX + 1], limit[NUMBER_MAX + 1];
	int status = check_table(until);

	if (!status)
		status = write_arrays(tallies, len);
	if (status)
		return status;
	struct pq_step steps[] = {
		{.statement = LOCK},
		{.statement = (int)statement,
		 .len = statement == ADD_NEW ? 5
			: statement == ADD   ? 4
					     : 3,
		 .values = {store.names, store.counts, today_text(), most,
			    limit}},
	};
	struct pq_step *first = &steps[statement == ADD_NEW ? 0 : 1];

	snprintf(most, sizeof(most), "%lld", (long long)largest_total());
	snprintf(limit, sizeof(limit), "%d", store.settings->max_counters);
	status = pq_call(&store.pq, first, (int)(steps + 2 - first), until);
	if (!status)
		take_rows(steps[1].result, tallies, len);
	for (struct pq_step *step = first; step < steps + 2; step++)
		PQclear(step->result);
	return status;
}

/* Reads tallies that are not to be added to. Without a table nothing was ever
 * counted. */
static int read_turn(struct tally *tallies, size_t len, int64_t until)
{
	int status = call_turn(READ, tallies, len, until);

	if (status && is_state("42P01"))
		status = call_turn(READ_TOTALS, tallies, len, until);
	if (status && is_state("42P01"))
		return 0;
	return judge_table(status);
}

static int add_turn(enum statement statement, struct tally *tallies, size_t len,
		    int64_t until)
{
	int status = call_turn(statement, tallies, len, until);

	if (status && heal(make_counters, until) == 0)
		status = call_turn(ADD_NEW, tallies, len, until);
	return judge_table(status);
}

static void explain_unread(struct tally *t)
{
	t->is_new = !store_is_home(t->counter);
	t->status = t->is_new ? 404 : 0;
	t->error = "no such counter";
	t->total = t->today = 0;
}

static void explain_full(struct tally *t)
{
	t->status = 503;
	t->error = "counter is full";
	t->today = 0;
}

static void explain_no_room(struct tally *t)
{
	static char why[64];

	snprintf(why, sizeof(why), "there are MAX_COUNTERS=%d counters",
		 store.settings->max_counters);
	t->status = 507;
	t->error = why;
	t->today = 0;
}

/*
 * Rows that were to be added to and did not come back: there is no room for the
 * counter, or in it; or somebody has dropped it, or made it, just now. `now` is
 * what was read of it since. Gives whether that explains it.
 */
static bool explain(struct tally *t, const struct tally *now, bool was_locked)
{
	if (now->status)
		refuse_total(t);
	else if (now->today == UNSEEN && was_locked)
		explain_no_room(t);
	else if (now->today != UNSEEN && now->total > largest_total() - t->n)
		explain_full(t);
	else
		return false;
	return true;
}

static int add_again(struct tally *t, int64_t until)
{
	for (;;) {
		struct tally now = {.counter = t->counter, .today = UNSEEN};
		int status = add_turn(ADD_NEW, t, 1, until);

		if (status || t->today != UNSEEN)
			return status;
		status = read_turn(&now, 1, until);
		if (status || explain(t, &now, true))
			return status;
	}
}

static bool is_unfinished(const struct tally *t)
{
	return t->today == UNSEEN && t->n > 0;
}

/* Reads those that are unfinished, into store.again. */
static int read_again(const struct tally *tallies, size_t len, int64_t until)
{
	size_t n = 0;

	if (len > store.again_cap) {
		struct tally *more =
			realloc(store.again, len * sizeof(*store.again));

		if (!more)
			return fail("no memory for a turn of %zu counters:",
				    len);
		store.again = more;
		store.again_cap = len;
	}
	for (size_t i = 0; i < len; i++)
		if (is_unfinished(&tallies[i]))
			store.again[n++] = (struct tally){
				.counter = tallies[i].counter, .today = UNSEEN};
	return n > 0 ? read_turn(store.again, n, until) : 0;
}

/* What of the turn needs more than one statement. */
static int finish(enum statement statement, struct tally *tallies, size_t len,
		  int64_t until)
{
	int status = read_again(tallies, len, until);
	size_t at = 0;

	for (size_t i = 0; !status && i < len; i++) {
		struct tally *t = &tallies[i];
		bool was_unfinished = is_unfinished(t);

		if (t->today == UNSEEN && t->n == 0)
			explain_unread(t);
		else if (t->today == UNSEEN &&
			 !explain(t, &store.again[at], statement == ADD_NEW))
			status = add_again(t, until);
		if (!status && !t->status && t->n > 0)
			know(t->counter);
		at += was_unfinished;
	}
	return status;
}

static void refuse(struct tally *tallies, size_t len)
{
	static char why[1024];

	snprintf(why, sizeof(why), "%s", failure_answer());
	for (size_t i = 0; i < len; i++) {
		tallies[i].status = 503;
		tallies[i].error = why;
		tallies[i].total = tallies[i].today = 0;
		tallies[i].is_new = false;
	}
}

static enum statement choose_statement(const struct tally *tallies, size_t len)
{
	enum statement statement = READ;

	for (size_t i = 0; i < len; i++) {
		if (tallies[i].n == 0)
			continue;
		if (!is_known(tallies[i].counter))
			return ADD_NEW;
		statement = ADD;
	}
	return statement;
}

static int add_all(struct tally *tallies, size_t len, int64_t until)
{
	enum statement statement = choose_statement(tallies, len);
	int status;

	for (size_t i = 0; i < len; i++) {
		tallies[i].today = UNSEEN;
		tallies[i].status = 0;
	}
	if (statement == READ)
		status = read_turn(tallies, len, until);
	else
		status = add_turn(statement, tallies, len, until);
	return status ? status : finish(statement, tallies, len, until);
}

/* Whether a call failed for what is in one row: data_exception,
 * integrity_constraint_violation. A table made by hand may have a name of
 * varchar(50), or a CHECK. Nothing was done. */
static bool is_of_a_row(void)
{
	return strncmp(store.pq.sqlstate, "22", 2) == 0 ||
	       strncmp(store.pq.sqlstate, "23", 2) == 0;
}

/* One row that is refused does not take the others of its turn along. */
static void add_one_by_one(struct tally *tallies, size_t len, int64_t until)
{
	for (size_t i = 0; i < len; i++)
		if (add_all(&tallies[i], 1, until))
			refuse(&tallies[i], 1);
}

static bool counts_any(const struct tally *tallies, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (tallies[i].n > 0)
			return true;
	return false;
}

/* From and to PostgreSQL. */
static void add(struct tally *tallies, size_t len, int64_t until)
{
	int status = add_all(tallies, len, until);

	if (status && is_of_a_row()) {
		add_one_by_one(tallies, len, until);
		return;
	}
	failure_tell(FAILURE_HOME, status);
	if (status)
		refuse(tallies, len);
}

void store_add(struct tally *tallies, size_t len)
{
	int64_t until = deadline();

	if (len == 0)
		return;
	today_text();
	forget_yesterday();
	for (size_t i = 0; i < len; i++) {
		tallies[i].total = tallies[i].today = 0;
		tallies[i].is_new = false;
	}
	if (!counts_any(tallies, len) &&
	    cache_get_totals(tallies, len, &store.today))
		return;
	add(tallies, len, until);
	cache_put_totals(tallies, len, &store.today);
}

/*
 * Changes
 */

/* A name that libpq can take. */
static const char *name_text(struct slice name)
{
	static char text[STORE_NAME_MAX + 1];
	size_t n = name.n < STORE_NAME_MAX ? name.n : STORE_NAME_MAX;

	memcpy(text, name.p, n);
	text[n] = '\0';
	return text;
}

/* A call for which a table may be missing that `commands` make; the results are
 * to be cleared. */
static int call(struct pq_step *steps, int len, const char *commands,
		int64_t until)
{
	int status = pq_call(&store.pq, steps, len, until);

	if (status && heal(commands, until) == 0)
		status = pq_call(&store.pq, steps, len, until);
	return status;
}

/* A change that failed may have been made all the same, or be made yet. */
static void bury_again(struct slice counter, int status)
{
	char why[1024];

	snprintf(why, sizeof(why), "%s", failure_reason());
	cache_bury(counter);
	if (status)
		fail("%s", why);
}

int store_set(struct slice counter, int64_t value)
{
	char total[NUMBER_MAX + 1], limit[NUMBER_MAX + 1];
	struct pq_step steps[] = {
		{.statement = LOCK},
		{.statement = SET,
		 .len = 4,
		 .values = {name_text(counter), total, today_text(), limit}},
	};

	snprintf(total, sizeof(total), "%lld", (long long)value);
	snprintf(limit, sizeof(limit), "%d", store.settings->max_counters);
	cache_bury(counter);
	int64_t until = deadline();
	int status = check_table(until);
	if (!status)
		status = judge_table(call(steps, 2, make_counters, until));
	bury_again(counter, status);
	failure_tell(FAILURE_HOME, status);
	if (status)
		return status;
	bool was_set = PQntuples(steps[1].result) == 1;
	PQclear(steps[0].result);
	PQclear(steps[1].result);
	if (was_set)
		return 0;
	fail("there are MAX_COUNTERS=%d counters",
	     store.settings->max_counters);
	return 507;
}

/* Whether there is no table, so that nothing was ever counted: 404; 0 there is,
 * and the other one is now made. */
static int miss_table(int64_t until)
{
	struct pq_step step = {.statement = IS_THERE};
	int status = pq_call(&store.pq, &step, 1, until);

	if (status)
		return status;
	bool is_there = *PQgetvalue(step.result, 0, 0) == 't';
	PQclear(step.result);
	return is_there ? pq_run(&store.pq, make_counters, until) : 404;
}

static int fail_none(struct slice counter)
{
	fail("no counter \"%.*s\"", (int)counter.n, counter.p);
	return 404;
}

int store_drop(struct slice counter)
{
	struct pq_step step = {
		.statement = DROP, .len = 1, .values = {name_text(counter)}};
	if (store_is_home(counter))
		return fail_none(counter);
	cache_bury(counter);
	int64_t until = deadline();
	int status = pq_call(&store.pq, &step, 1, until);

	if (status && is_state("42P01")) {
		status = miss_table(until);
		if (!status)
			status = pq_call(&store.pq, &step, 1, until);
	}
	bury_again(counter, status);
	bool was_there = !status && PQntuples(step.result) > 0;
	PQclear(step.result);
	if (!was_there && (status == 0 || status == 404))
		return fail_none(counter);
	failure_tell(FAILURE_HOME, status);
	return status;
}

/* A row of export. What is no name here is somebody else's row; a total that is
 * none is not passed over in silence. */
static int tell_row(const PGresult *result, int row,
		    void (*each)(struct slice counter, int64_t total,
				 void *context),
		    void *context)
{
	struct slice name = slice_of(PQgetvalue(result, row, 0));
	int64_t total = value_of(result, row, 1);
	const char *fault = store_name_fault(name);

	if (fault) {
		log_warn(
			"visit_counter has a row that is no counter: \"%s\" %s",
			name.p, fault);
		return 0;
	}
	if (total < 0)
		return fail_garbage("%s: the total of \"%s\" in visit_counter "
				    "is below zero",
				    store.pq.peer.name, name.p);
	each(name, total, context);
	return 0;
}

int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context)
{
	struct pq_step step = {.statement = EACH};
	int64_t until = deadline();
	int status = check_table(until);

	if (!status)
		status = judge_table(pq_call(&store.pq, &step, 1, until));
	if (status && is_state("42P01"))
		return 0; /* nothing was ever counted */
	if (status)
		return status;
	for (int row = 0; !status && row < PQntuples(step.result); row++)
		status = tell_row(step.result, row, each, context);
	PQclear(step.result);
	return status;
}

/*
 * Items
 */

/* A text that ends in a NUL, or NULL; PostgreSQL cannot hold one inside. */
static char *text_of(struct slice text)
{
	return text.p ? strndup(text.p, text.n) : NULL;
}

static int create_item(struct slice name, struct slice description, int64_t *id)
{
	char limit[NUMBER_MAX + 1];
	char *texts_of_it[] = {text_of(name), text_of(description)};
	struct pq_step steps[] = {
		{.statement = LOCK},
		{.statement = CREATE_ITEM,
		 .len = 3,
		 .values = {texts_of_it[0], texts_of_it[1], limit}},
	};

	snprintf(limit, sizeof(limit), "%d", store.settings->max_items);
	int status = texts_of_it[0] && (texts_of_it[1] || !description.p)
			     ? call(steps, 2, make_items, deadline())
			     : fail("no memory for an item:");
	free(texts_of_it[0]);
	free(texts_of_it[1]);
	if (status)
		return status;
	bool was_made = PQntuples(steps[1].result) == 1;
	if (was_made)
		*id = value_of(steps[1].result, 0, 0);
	PQclear(steps[0].result);
	PQclear(steps[1].result);
	if (was_made)
		return 0;
	fail("there are MAX_ITEMS=%d items", store.settings->max_items);
	return 507;
}

static int create_one(struct slice name, struct slice description, int64_t *id)
{
	if (memchr(name.p, '\0', name.n) ||
	    (description.p && memchr(description.p, '\0', description.n))) {
		fail("PostgreSQL cannot hold U+0000 in a text");
		return 400;
	}
	int status = create_item(name, description, id);
	failure_tell(FAILURE_ITEMS, status == 507 ? 0 : status);
	return status;
}

void store_items_create(struct item *new, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		struct item *item = &new[i];

		item->status =
			create_one(item->name, item->description, &item->id);
		if (item->status)
			item->error = item->status == 503 ? failure_answer()
							  : failure_reason();
	}
}

/* {1,2}, of the ids that an int4 holds. */
static void write_ids(char *to, const struct item *items, size_t len)
{
	bool is_first = true;

	*to++ = '{';
	for (size_t i = 0; i < len; i++) {
		if (items[i].id > INT32_MAX)
			continue;
		if (!is_first)
			*to++ = ',';
		is_first = false;
		to += number_write(to, items[i].id);
	}
	*to++ = '}';
	*to = '\0';
}

static char jsons[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];

/* A row is the item of all who ask for it. Somebody else may have made it with
 * longer texts than an item has here. */
static void take_item(const PGresult *result, int row, struct item *items,
		      size_t len)
{
	int64_t id = value_of(result, row, 0);
	struct slice name = slice_of(PQgetvalue(result, row, 1));
	struct slice description = {NULL, 0};
	bool fits = *PQgetvalue(result, row, 3) == 't';

	if (!PQgetisnull(result, row, 2))
		description = slice_of(PQgetvalue(result, row, 2));
	for (size_t i = 0; i < len; i++) {
		if (items[i].id != id)
			continue;
		items[i].status = fits ? 0 : 503;
		items[i].error = "the item is too long";
		if (fits)
			items[i].json = (struct slice){
				jsons[i],
				item_write(jsons[i], id, name, description)};
	}
}

/* Those that the cache does not have. */
static void read_items(struct item *items, size_t len, int64_t until)
{
	char most[NUMBER_MAX + 1], ids[STORE_ITEMS_MAX * (NUMBER_MAX + 1) + 3];
	struct pq_step step = {
		.statement = GET_ITEMS, .len = 2, .values = {ids, most}};
	static char why[1024];

	snprintf(most, sizeof(most), "%d",
		 STORE_ITEM_NAME_MAX + STORE_ITEM_DESCRIPTION_MAX);
	write_ids(ids, items, len);
	int status = pq_call(&store.pq, &step, 1, until);
	if (status && is_state("42P01"))
		status = 404; /* no table, no items */
	for (size_t i = 0; i < len; i++) {
		items[i].status = status == 503 ? 503 : 404;
		items[i].error = status == 503 ? why : "there is no such item";
	}
	if (status == 503)
		snprintf(why, sizeof(why), "%s", failure_answer());
	failure_tell(FAILURE_ITEMS, status == 404 ? 0 : status);
	if (status)
		return;
	for (int row = 0; row < PQntuples(step.result); row++)
		take_item(step.result, row, items, len);
	PQclear(step.result);
}

/* PostgreSQL is asked for all of them as soon as one is not in the cache: it is
 * one call either way. */
void store_items_get(struct item *items, size_t len)
{
	int64_t until = deadline();

	if (cache_get_items(items, len))
		return;
	read_items(items, len, until);
	cache_put_items(items, len);
}

/*
 * The rest
 */

/* Whether there is a table by now; if not, whether one could be made, as far as
 * this can be known. */
static int ask_for_table(int64_t until, bool *is_there)
{
	struct pq_step steps[] = {{.statement = IS_THERE},
				  {.statement = READ_ONLY}};
	bool is_read_only = false;
	int status = pq_call(&store.pq, steps, 2, until);

	if (!status) {
		*is_there = *PQgetvalue(steps[0].result, 0, 0) == 't';
		is_read_only =
			strcmp(PQgetvalue(steps[1].result, 0, 0), "on") == 0;
	}
	PQclear(steps[0].result);
	PQclear(steps[1].result);
	return is_read_only ? fail("%s: it is read-only", store.pq.peer.name)
			    : status;
}

/* Where only items are asked for there never is a table of counters: an UPDATE
 * at each health check would be an error in the server's log each time. */
static int ping(int64_t until)
{
	struct pq_step step = {.statement = PING};
	bool is_there = store.pq.facts.is_there;
	int status = is_there ? 0 : ask_for_table(until, &is_there);

	if (status || !is_there)
		return status;
	status = judge_table(pq_call(&store.pq, &step, 1, until));
	PQclear(step.result);
	if (!status || !is_state("42P01"))
		return status;
	store.pq.facts.is_there = false; /* it was dropped */
	return ask_for_table(until, &is_there);
}

int store_ping(void)
{
	int64_t until = deadline();
	int status = check_table(until);

	if (!status)
		status = ping(until);
	failure_tell(FAILURE_HOME, status);
	return status;
}

const char *store_durability(void)
{
	return *store.pq.durability ? store.pq.durability : NULL;
}

int store_look(void)
{
	if (store_ping() != 0) {
		log_warn("the store cannot be used now, and is tried again");
		return 0;
	}
	log_info("%s: %s", store.pq.peer.name, store.pq.durability);
	if (strstr(store.pq.durability, " off"))
		log_warn("%s loses answered visits when it loses its power: "
			 "set synchronous_commit=on",
			 store.pq.peer.name);
	return 0;
}

const char *store_error(void)
{
	return failure_reason();
}

int store_watch(void)
{
	return store.epoll;
}

int store_tick(void)
{
	int ms = net_tick(&store.pq.peer), cache_ms = cache_tick();

	return ms < 0 || (cache_ms >= 0 && cache_ms < ms) ? cache_ms : ms;
}

int store_prepare(const struct settings *settings)
{
	(void)settings;
	return 0;
}

/* A server that is down now is no reason to end. */
int store_open(const struct settings *settings)
{
	memset(&store, 0, sizeof(store));
	store.settings = settings;
	store.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (store.epoll < 0) {
		fail("cannot watch connections:");
		return EXIT_SYSTEM;
	}
	if (pq_open(&store.pq, settings, texts, store.epoll))
		return EXIT_SYSTEM;
	cache_open(settings, store.epoll);
	return 0;
}

int store_close(void)
{
	cache_close();
	pq_close(&store.pq);
	close(store.epoll);
	index_free(&store.known);
	free(store.names);
	free(store.counts);
	free(store.again);
	return 0;
}
