#include "store/postgres/pq_fail.h"

#include "store/failure.h"

#include <stdio.h>
#include <string.h>

/* In one line: libpq's messages have several, and tabs. */
static int pq_fail_message(const struct pq *pq, enum fault fault,
			   const char *message, const char *advice)
{
	char line[512] = "";
	size_t n = 0;
	bool gap = false;

	for (; *message && n < sizeof(line) - 2; message++) {
		if ((unsigned char)*message <= ' ') {
			gap = n > 0;
			continue;
		}
		if (gap)
			line[n++] = ' ';
		gap = false;
		line[n++] = *message;
	}
	line[n] = '\0';
	return fail_as(fault, "%s: %s%s", pq->peer.name, line, advice);
}

/*
 * A connection that was not opened, or is lost. libpq gives no SQLSTATE, but
 * its words; where a server says them in another language, the kind is not
 * known as exactly.
 */
int pq_fail_connection(const struct pq *pq)
{
	const char *message = PQerrorMessage(pq->conn);
	bool is_password = strstr(message, "password authentication failed") ||
			   strstr(message, "no password supplied");
	bool is_login = is_password || strstr(message, "pg_hba.conf") ||
			strstr(message, "does not exist") ||
			strstr(message, "authentication");

	return pq_fail_message(
		pq, is_login ? FAULT_LOGIN : FAULT_AWAY, message,
		is_password
			? " (DB_USER and DB_PASSWORD are what the database "
			  "was made with: one in a container keeps those of "
			  "the first start of its volume)"
			: "");
}

static enum fault pq_fail_kind(const char *state)
{
	static const struct {
		const char *state; /* how it begins */
		enum fault fault;
	} states[] = {
		{"28", FAULT_LOGIN},	 {"42501", FAULT_DENIED},
		{"25006", FAULT_DENIED}, {"53", FAULT_FULL},
		{"57014", FAULT_LATE},	 {"55P03", FAULT_LATE},
		{"57P", FAULT_AWAY},	 {"08", FAULT_AWAY},
	};

	for (size_t i = 0; i < sizeof(states) / sizeof(*states); i++)
		if (strncmp(state, states[i].state, strlen(states[i].state)) ==
		    0)
			return states[i].fault;
	return FAULT_ANY;
}

int pq_fail_result(struct pq *pq, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	snprintf(pq->sqlstate, sizeof(pq->sqlstate), "%s", state ? state : "");
	return pq_fail_message(pq, pq_fail_kind(pq->sqlstate),
			       message ? message : PQresultErrorMessage(result),
			       "");
}
