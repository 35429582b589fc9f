#include "store/postgres/session.h"

#include "store/day.h"
#include "store/failure.h"
#include "store/postgres/pq_open.h"
#include "util/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char sql_add[] = {
#include "store/postgres/add.sql.inc"
	0};
static const char sql_read[] = {
#include "store/postgres/read.sql.inc"
	0};
static const char sql_read_totals[] = {
#include "store/postgres/read_totals.sql.inc"
	0};
static const char sql_lock[] = {
#include "store/postgres/lock.sql.inc"
	0};
static const char sql_is_there[] = {
#include "store/postgres/is_there.sql.inc"
	0};
static const char sql_set[] = {
#include "store/postgres/set.sql.inc"
	0};
static const char sql_drop[] = {
#include "store/postgres/drop.sql.inc"
	0};
static const char sql_each[] = {
#include "store/postgres/each.sql.inc"
	0};
static const char sql_create_items[] = {
#include "store/postgres/create_items.sql.inc"
	0};
static const char sql_get_items[] = {
#include "store/postgres/get_items.sql.inc"
	0};
const char session_make_counters[] = {
#include "store/postgres/make_counters.sql.inc"
	0};
const char session_make_items[] = {
#include "store/postgres/make_items.sql.inc"
	0};

static const char *const session_texts[STATEMENTS_LEN + 1] = {
	[STATEMENT_ADD] = sql_add,
	[STATEMENT_READ] = sql_read,
	[STATEMENT_READ_TOTALS] = sql_read_totals,
	[STATEMENT_LOCK] = sql_lock,
	[STATEMENT_IS_THERE] = sql_is_there,
	[STATEMENT_SET] = sql_set,
	[STATEMENT_DROP] = sql_drop,
	[STATEMENT_EACH] = sql_each,
	[STATEMENT_CREATE_ITEMS] = sql_create_items,
	[STATEMENT_GET_ITEMS] = sql_get_items,
	NULL,
};

/* One process has one store. */
static struct {
	const struct settings *settings;
	struct pq pq;
	struct date_day today;
	char today_text[DATE_DAY_SIZE + 1];
} session;

int session_check(const struct settings *settings)
{
	return pq_check(settings);
}

int session_open(const struct settings *settings, int epoll)
{
	memset(&session, 0, sizeof(session));
	session.settings = settings;
	return pq_open(&session.pq, settings, session_texts, epoll);
}

const char *session_text(enum statement statement)
{
	return session_texts[statement];
}

void session_close(void)
{
	pq_close(&session.pq);
}

const struct settings *session_settings(void)
{
	return session.settings;
}

struct pq *session_pq(void)
{
	return &session.pq;
}

int64_t session_deadline(void)
{
	return clock_ms() + session.settings->store_timeout;
}

const struct date_day *session_today(void)
{
	date_know_day(&session.today, time(NULL));
	memcpy(session.today_text, session.today.text, DATE_DAY_SIZE);
	return &session.today;
}

const char *session_today_text(void)
{
	return day_precedes_build(session_today()) ? NULL : session.today_text;
}

bool session_is_state(const char *state)
{
	return strcmp(session.pq.sqlstate, state) == 0;
}

bool session_misses_table(void)
{
	return session_is_state("42P01"); /* undefined_table */
}

bool session_is_of_a_row(void)
{
	return strncmp(session.pq.sqlstate, "22", 2) == 0 ||
	       strncmp(session.pq.sqlstate, "23", 2) == 0;
}

bool session_lacks_letter(void)
{
	return session_is_state("22P05") || /* untranslatable_character */
	       session_is_state("22021");   /* not_in_repertoire */
}

void session_fail_letter(void)
{
	fail_own("PostgreSQL cannot hold this text: the encoding of its "
		 "database is %s",
		 session.pq.facts.encoding);
}

int session_call(struct pq_step *steps, int len, const char *commands,
		 int64_t until)
{
	int status = pq_call(&session.pq, steps, len, until);

	if (status && session_misses_table() &&
	    pq_run(&session.pq, commands, until) == 0)
		status = pq_call(&session.pq, steps, len, until);
	return status;
}

void session_clear(struct pq_step *steps, int len)
{
	for (int i = 0; i < len; i++)
		PQclear(steps[i].result);
}

static int session_fail_table(void)
{
	return fail_as(
		FAULT_GARBAGE,
		"%s: the table visit_counter cannot be used: it needs a "
		"column name that is unique and a column visits of an "
		"integer type, as in CREATE TABLE visit_counter (name text "
		"PRIMARY KEY, visits int8 NOT NULL)",
		session.pq.peer.name);
}

/* What is known of the table may be out of date: it is looked at once more
 * before it is refused. */
int session_check_table(int64_t until)
{
	int status = pq_ready(&session.pq, until);

	for (int i = 0; i < 2; i++) {
		if (status || !session.pq.facts.is_there ||
		    session.pq.facts.fits)
			return status;
		net_broken(&session.pq.peer);
		if (i == 0)
			status = pq_ready(&session.pq, until);
	}
	return session_fail_table();
}

int session_judge_table(int status)
{
	static const char *const states[] = {
		"42703", /* undefined_column */
		"42P10", /* invalid_column_reference */
		"42804", /* datatype_mismatch */
		"42883", /* undefined_function: an operator */
	};

	for (size_t i = 0; status && i < sizeof(states) / sizeof(*states); i++)
		if (session_is_state(states[i])) {
			net_broken(&session.pq.peer);
			return session_fail_table();
		}
	return status;
}

struct session_number session_number(int64_t value)
{
	struct session_number number;

	snprintf(number.text, sizeof(number.text), "%" PRId64, value);
	return number;
}

int64_t session_value(const PGresult *result, int row, int column)
{
	int64_t value = 0;

	day_read_base(slice_of(PQgetvalue(result, row, column)), &value);
	return value;
}
