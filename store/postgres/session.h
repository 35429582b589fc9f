/*
 * session.h - what all calls of the PostgreSQL store need: the conversation,
 * its statements, today, and the tables
 *
 * Calls give 0, or 503 with the reason noted (failure.h), where nothing else is
 * said. `until` is the deadline of the store's call, a time of clock_ms().
 */
#ifndef STORE_POSTGRES_SESSION_H
#define STORE_POSTGRES_SESSION_H

#include "store/postgres/pq.h"
#include "store/store.h"
#include "util/date.h"
#include "util/number.h"

/* To add one: a file, and a row in session.c. */
enum statement {
	STATEMENT_ADD,
	STATEMENT_READ,
	STATEMENT_READ_TOTALS,
	STATEMENT_LOCK,
	STATEMENT_IS_THERE,
	STATEMENT_SET,
	STATEMENT_DROP,
	STATEMENT_EACH,
	STATEMENT_CREATE_ITEMS,
	STATEMENT_GET_ITEMS,
	STATEMENTS_LEN
};

/* Whether the last call failed because the database's encoding has no such
 * letter; and the reason of such a 400. */
bool session_lacks_letter(void);
void session_fail_letter(void);

/* The text of a statement. */
const char *session_text(enum statement statement);

/* Commands that make missing tables. */
extern const char session_make_counters[], session_make_items[];

/* Whether the settings say where one server is. Gives 0, or 503 with fail(). */
int session_check(const struct settings *settings);

/* Nothing is connected yet. The settings must outlive it; `epoll` is where its
 * socket is watched. */
int session_open(const struct settings *settings, int epoll);
void session_close(void);

const struct settings *session_settings(void);
struct pq *session_pq(void);

/* The deadline of a call that begins now. */
int64_t session_deadline(void);

/* The local day, as of the beginning of the store's call; as a text with a NUL.
 */
const struct date_day *session_today(void);
const char *session_today_text(void);

/* Whether the last call was refused with that SQLSTATE. */
bool session_is_state(const char *state);

/* Whether it was refused because a table is missing. */
bool session_misses_table(void);

/* Whether it was refused for the values of one row: data_exception,
 * integrity_constraint_violation. A table made by hand may have a name of
 * varchar(50), or a CHECK. Nothing was done. */
bool session_is_of_a_row(void);

/* Makes the steps of a transaction; if a table is missing, it is made by the
 * commands, and they are made once more. */
int session_call(struct pq_step *steps, int len, const char *commands,
		 int64_t until);

/* Clears the results of steps. */
void session_clear(struct pq_step *steps, int len);

/* Before a call about counters: there is a conversation, and a table that is
 * there can be used. */
int session_check_table(int64_t until);

/* After it: `status`, with advice if the table turns out not to be usable. */
int session_judge_table(int status);

/* A number as a text with a NUL. */
struct session_number {
	char text[NUMBER_MAX + 2];
};
struct session_number session_number(int64_t value);

/* The number in a field of a result, which may be below zero. */
int64_t session_value(const PGresult *result, int row, int column);

#endif
