#include "store/postgres/pq.h"

#include "store/failure.h"
#include "store/postgres/pq_fail.h"
#include "util/clock.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

enum {
	TRIES_MAX = 100, /* of a call that others made impossible */
	HOLD_MS = 50,	 /* a pooler's connection is kept */
};

int pq_ready(struct pq *pq, int64_t until)
{
	pq->sqlstate[0] = '\0';
	/* That is no fault of the server's: the breaker stays closed. */
	if (clock_ms() >= until)
		return fail_as(FAULT_LATE, "%s: no time was left for it",
			       pq->peer.name);
	/* libpq may have read more than the last answer. */
	if (pq->peer.state == NET_OPEN &&
	    (PQisBusy(pq->conn) || PQstatus(pq->conn) == CONNECTION_BAD))
		net_broken(&pq->peer);
	return net_ready(&pq->peer, until);
}

static int pq_broken(struct pq *pq)
{
	pq_fail_connection(pq);
	net_broken(&pq->peer);
	return 503;
}

/* Sends and receives until a result is there. */
static int pq_exchange(struct pq *pq, int64_t until)
{
	for (;;) {
		int left = PQflush(pq->conn);

		if (left < 0)
			return pq_broken(pq);
		if (!PQisBusy(pq->conn))
			return 0;
		struct pollfd ready = {
			.fd = pq->peer.fd,
			.events = (short)(POLLIN | (left > 0 ? POLLOUT : 0)),
		};
		int64_t wait = until - clock_ms();
		if (wait <= 0) {
			fail_as(FAULT_LATE, "%s: no answer within %d ms",
				pq->peer.name, pq->settings->store_timeout);
			net_late(&pq->peer);
			return 503;
		}
		if (poll(&ready, 1, (int)wait) > 0 &&
		    (ready.revents & ~POLLOUT) && !PQconsumeInput(pq->conn))
			return pq_broken(pq);
	}
}

/* What was sent: the step whose result each command gives. Without one it only
 * prepares the `statement`, or is part of the frame (-1). */
struct sent {
	struct {
		struct pq_step *step;
		int statement;
	} commands[PQ_COMMANDS_MAX];
	int len, done;
};

static void pq_note_sent(struct sent *sent, struct pq_step *step, int statement)
{
	sent->commands[sent->len].step = step;
	sent->commands[sent->len++].statement = statement;
}

/*
 * Through a pooler the next call may have another session, which somebody else
 * has used meanwhile. So each call brings along what a session would have kept:
 * its level of isolation, its timeout, and the texts of its statements, which
 * the server then plans anew each time. There is no BEGIN: pgbouncer in the
 * mode "statement" closes a connection whose transaction has failed before it
 * tells the error. Outside of one PostgreSQL warns of SET TRANSACTION, unless
 * another command has come before; SHOW is one that takes no snapshot.
 */
static int pq_send_frame(struct pq *pq, struct sent *sent)
{
	char timeout[64];
	const char *const texts[] = {
		"SHOW transaction_isolation",
		"SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
		timeout,
	};

	snprintf(timeout, sizeof(timeout),
		 "SELECT set_config('statement_timeout', '%d', true)",
		 pq->settings->store_timeout);
	for (int i = pq->facts.is_read_committed ? 2 : 0; i < 3; i++) {
		if (!PQsendQueryParams(pq->conn, texts[i], 0, NULL, NULL, NULL,
				       NULL, 0))
			return pq_broken(pq);
		pq_note_sent(sent, NULL, -1);
	}
	return 0;
}

static int pq_send_text(struct pq *pq, struct sent *sent, struct pq_step *step)
{
	if (!PQsendQueryParams(pq->conn, pq->texts[step->statement], step->len,
			       NULL, step->values, NULL, NULL, 0))
		return pq_broken(pq);
	pq_note_sent(sent, step, step->statement);
	return 0;
}

static int pq_send_step(struct pq *pq, struct sent *sent, struct pq_step *step)
{
	unsigned bit = 1u << step->statement;
	char name[16];

	if (pq->is_pooled)
		return pq_send_text(pq, sent, step);
	snprintf(name, sizeof(name), "visitd_%d", step->statement);
	if (!(pq->prepared & bit)) {
		if (!PQsendPrepare(pq->conn, name, pq->texts[step->statement],
				   0, NULL))
			return pq_broken(pq);
		pq_note_sent(sent, NULL, step->statement);
	}
	if (!PQsendQueryPrepared(pq->conn, name, step->len, step->values, NULL,
				 NULL, 0))
		return pq_broken(pq);
	pq_note_sent(sent, step, step->statement);
	return 0;
}

/* A result of the next command. */
static int pq_take_result(struct pq *pq, struct sent *sent, PGresult *result)
{
	struct pq_step *step = sent->commands[sent->done].step;
	int statement = sent->commands[sent->done++].statement;

	switch (PQresultStatus(result)) {
	case PGRES_COMMAND_OK:
	case PGRES_TUPLES_OK:
		if (step) {
			step->result = result;
			return 0;
		}
		if (statement >= 0)
			pq->prepared |= 1u << statement;
		PQclear(result);
		return 0;
	case PGRES_PIPELINE_ABORTED: /* after the one that failed */
		break;
	default:
		pq_fail_result(pq, result);
	}
	PQclear(result);
	return 503;
}

/* Everything up to the end of the pipeline. */
static int pq_take_results(struct pq *pq, struct sent *sent, int64_t until)
{
	int worst = 0;

	for (;;) {
		int status = pq_exchange(pq, until);

		if (status)
			return status;
		PGresult *result = PQgetResult(pq->conn);
		if (PQstatus(pq->conn) == CONNECTION_BAD) {
			PQclear(result);
			return pq_broken(pq);
		}
		if (!result) /* between two commands */
			continue;
		if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
			PQclear(result);
			return worst;
		}
		if (sent->done < sent->len) {
			if (pq_take_result(pq, sent, result))
				worst = 503;
			continue;
		}
		/* All was well until it was to be committed. */
		worst = pq_fail_result(pq, result);
		PQclear(result);
	}
}

static void pq_clear_steps(struct pq_step *steps, int len)
{
	for (int i = 0; i < len; i++) {
		PQclear(steps[i].result);
		steps[i].result = NULL;
	}
}

static int pq_call_once(struct pq *pq, struct pq_step *steps, int len,
			int64_t until)
{
	struct sent sent = {.len = 0};
	int status = pq_ready(pq, until);

	if (!status && pq->is_pooled)
		status = pq_send_frame(pq, &sent);
	for (int i = 0; !status && i < len; i++)
		status = pq_send_step(pq, &sent, &steps[i]);
	if (!status && !PQpipelineSync(pq->conn))
		status = pq_broken(pq);
	if (!status)
		status = pq_take_results(pq, &sent, until);
	if (status)
		pq_clear_steps(steps, len);
	return status;
}

static bool pq_is_state(const struct pq *pq, const char *state)
{
	return strcmp(pq->sqlstate, state) == 0;
}

/* Whether nothing was done, for a reason that is gone with the next try:
 * serialization_failure, deadlock_detected. */
static bool pq_is_bad_luck(const struct pq *pq)
{
	return pq_is_state(pq, "40001") || pq_is_state(pq, "40P01");
}

/* Whether nothing was done, because the session is another one than the one
 * that prepared the statements: invalid_sql_statement_name,
 * duplicate_prepared_statement. */
static bool pq_is_of_another(const struct pq *pq)
{
	return pq_is_state(pq, "26000") || pq_is_state(pq, "42P05");
}

/* Whether nothing was done, because the conversation is not what it was: its
 * table is another one (feature_not_supported), or another server may be the
 * first now (read_only_sql_transaction). */
static bool pq_is_out_of_date(const struct pq *pq)
{
	return pq_is_of_another(pq) || pq_is_state(pq, "0A000") ||
	       pq_is_state(pq, "25006");
}

int pq_call(struct pq *pq, struct pq_step *steps, int len, int64_t until)
{
	int status = pq_call_once(pq, steps, len, until);

	for (int i = 1; status && pq_is_bad_luck(pq) && i < TRIES_MAX &&
			clock_ms() < until;
	     i++)
		status = pq_call_once(pq, steps, len, until);
	if (status && pq_is_out_of_date(pq)) {
		pq->is_pooled |= pq_is_of_another(pq);
		net_broken(&pq->peer);
		status = pq_call_once(pq, steps, len, until);
	}
	/* Not for this call, but for the next one. numeric_value_out_of_range:
	 * the table may have become another one. */
	if (status && (pq_is_state(pq, "25006") || pq_is_state(pq, "22003")))
		net_broken(&pq->peer);
	return status;
}

/* A pooler that gives a session to a connection for as long as that lives may
 * have fewer of them than there are workers: each has its turn. */
int pq_tick(struct pq *pq)
{
	int ms = net_tick(&pq->peer);

	if (!pq->is_pooled || pq->peer.state != NET_OPEN)
		return ms;
	int64_t left = pq->peer.up_at + HOLD_MS - clock_ms();
	if (left > 0)
		return (int)left;
	net_broken(&pq->peer);
	return ms;
}

int pq_run(struct pq *pq, const char *commands, int64_t until)
{
	int status = pq_ready(pq, until);
	PGresult *result;

	if (status)
		return status;
	/* Several at once go without a pipeline only. */
	if (!PQexitPipelineMode(pq->conn) || !PQsendQuery(pq->conn, commands))
		return pq_broken(pq);
	for (;;) {
		int late = pq_exchange(pq, until);

		if (late)
			return late;
		result = PQgetResult(pq->conn);
		if (!result)
			break;
		if (PQresultStatus(result) == PGRES_FATAL_ERROR)
			status = pq_fail_result(pq, result);
		PQclear(result);
	}
	if (PQstatus(pq->conn) == CONNECTION_BAD ||
	    !PQenterPipelineMode(pq->conn))
		return pq_broken(pq);
	return status;
}
