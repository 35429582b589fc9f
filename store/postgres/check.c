/*
 * What a visit does, undone: for `visitd check`. All commands are one string,
 * and so one transaction through any pooler; the last one fails, which undoes
 * them.
 */
#include "store/postgres/check.h"

#include "store/postgres/add.h"
#include "store/postgres/session.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* What undoes the commands of a check, by failing after all of them went well,
 * also those that a trigger has put off to the commit. */
#define UNDONE_STATE "VC001"
static const char check_undo[] =
	"; SET CONSTRAINTS ALL IMMEDIATE;"
	" DO $$ BEGIN RAISE 'a check of visitd, undone'"
	" USING ERRCODE = '" UNDONE_STATE "'; END $$";

/* Writes the statement with the values of a probe in it, since several commands
 * at once have no parameters. */
static void check_write(char *to, size_t cap)
{
	char values[6][32] = {"'{" STORE_HOME "}'", "'{0}'"};
	size_t n = strlen(to);

	const char *today = session_today_text();
	snprintf(values[2], sizeof(values[2]), "%s%s%s", today ? "'" : "",
		 today ? today : "NULL", today ? "'" : "");
	snprintf(values[3], sizeof(values[3]), "%s",
		 session_number(add_largest_total()).text);
	snprintf(values[4], sizeof(values[4]), "%d",
		 session_settings()->max_counters);
	snprintf(values[5], sizeof(values[5]), "true");
	for (const char *p = session_text(STATEMENT_ADD); *p && n < cap - 1;
	     p++) {
		if (*p == '$' && p[1] >= '1' && p[1] <= '6')
			n += (size_t)snprintf(to + n, cap - n, "%s",
					      values[*++p - '1']);
		else
			to[n++] = *p;
	}
	snprintf(to + n, cap - n, "%s", check_undo);
}

int check_visit(void)
{
	static char commands[16384];
	int64_t until = session_deadline();
	int status = session_check_table(until);

	if (status)
		return status;
	snprintf(commands, sizeof(commands), "%s; ",
		 session_text(STATEMENT_LOCK));
	check_write(commands, sizeof(commands));
	status = pq_run(session_pq(), commands, until);
	if (session_misses_table()) { /* either of them: a visit makes it */
		snprintf(commands, sizeof(commands), "%s; ",
			 session_make_counters);
		check_write(commands, sizeof(commands));
		status = pq_run(session_pq(), commands, until);
	}
	return session_is_state(UNDONE_STATE) ? 0 : session_judge_table(status);
}

int check_total(int64_t *total)
{
	struct pq_step step = {
		.statement = STATEMENT_READ_TOTALS,
		.len = 3,
		.values = {"{" STORE_HOME "}", "{0}", session_today_text()}};
	int status = pq_call(session_pq(), &step, 1, session_deadline());

	*total = 0;
	if (status)
		return session_misses_table() ? 0 : status;
	if (PQntuples(step.result) > 0)
		*total = session_value(step.result, 0, 1);
	session_clear(&step, 1);
	return 0;
}
