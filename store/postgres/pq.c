#include "store/postgres/pq.h"

#include "store/failure.h"
#include "util/clock.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	TRIES_MAX = 100,     /* of a call that others made impossible */
	HOLD_MS = 50,	     /* a pooler's connection is kept */
	PARAMETERS_MAX = 64, /* of a connection; libpq 15 knows 42 */
	INT4 = 23,	     /* oids of types: pg_type.dat */
	INT8 = 20,
};

/* What is asked before a conversation counts as open. */
static const char greeting[] = {
#include "store/postgres/greeting.sql.inc"
	0};

/*
 * Why it failed
 */

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
static int pq_fail_connection(const struct pq *pq)
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

static enum fault pq_fault(const char *state)
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

static int pq_fail_result(struct pq *pq, const PGresult *result)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *message =
		PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	snprintf(pq->sqlstate, sizeof(pq->sqlstate), "%s", state ? state : "");
	return pq_fail_message(pq, pq_fault(pq->sqlstate),
			       message ? message : PQresultErrorMessage(result),
			       "");
}

/*
 * Opening
 */

struct parameters {
	const char *names[PARAMETERS_MAX + 1], *values[PARAMETERS_MAX + 1];
	size_t len;
	char number[NI_MAXHOST], port[16]; /* some values */
};

static void pq_add_parameter(struct parameters *p, const char *name,
			     const char *value)
{
	if (!value || p->len == PARAMETERS_MAX)
		return;
	p->names[p->len] = name;
	p->values[p->len++] = value;
	p->names[p->len] = p->values[p->len] = NULL;
}

/* libpq is to take its own variable, if that is set. */
static const char *pq_unless(const char *variable, const char *value)
{
	return getenv(variable) || getenv("PGSERVICE") ? NULL : value;
}

static struct pq *pq_self(struct net_peer *peer)
{
	return peer->context;
}

/* Where the server is. */
static void pq_add_server(struct parameters *p, const struct pq *pq,
			  const struct net_address *address)
{
	pq_add_parameter(p, "host", pq->host);
	if (pq->host[0] != '/' &&
	    getnameinfo((const struct sockaddr *)&address->where, address->len,
			p->number, sizeof(p->number), NULL, 0,
			NI_NUMERICHOST) == 0)
		pq_add_parameter(p, "hostaddr", p->number);
	snprintf(p->port, sizeof(p->port), "%d", pq->port);
	pq_add_parameter(p, "port", p->port);
}

/* What DATABASE_URL says of an option; NULL: nothing. */
static const char *pq_in_url(const struct pq *pq, const char *name)
{
	for (const PQconninfoOption *o = pq->url; o && o->keyword; o++)
		if (strcmp(o->keyword, name) == 0 && o->val && *o->val)
			return o->val;
	return NULL;
}

/* A setting; else what the URL says; else this. */
static const char *pq_choose(const struct pq *pq, const char *setting,
			     const char *name, const char *other)
{
	const char *url = pq_in_url(pq, name);

	return setting ? setting : url ? url : other;
}

/* What the URL says beside what has a setting: sslmode, say. */
static void pq_add_url(struct parameters *p, const struct pq *pq)
{
	static const char *const others[] = {
		"host", "hostaddr", "port",	      "dbname",
		"user", "password", "client_encoding"};

	for (const PQconninfoOption *o = pq->url; o && o->keyword; o++) {
		size_t i = 0;

		while (i < sizeof(others) / sizeof(*others) &&
		       strcmp(o->keyword, others[i]) != 0)
			i++;
		if (i == sizeof(others) / sizeof(*others))
			pq_add_parameter(p, o->keyword, o->val);
	}
}

/* Whose database is used, and how. */
static void pq_add_session(struct parameters *p, const struct pq *pq)
{
	const struct settings *s = pq->settings;

	pq_add_parameter(p, "dbname",
			 pq_choose(pq, s->db_name, "dbname",
				   pq_unless("PGDATABASE", "visitd")));
	pq_add_parameter(p, "user",
			 pq_choose(pq, s->db_user, "user",
				   pq_unless("PGUSER", "visitd")));
	pq_add_parameter(p, "password",
			 pq_choose(pq, s->db_password, "password", NULL));
	pq_add_url(p, pq);
	/* Kerberos would ask its servers, and wait for them. */
	if (!pq_in_url(pq, "gssencmode"))
		pq_add_parameter(p, "gssencmode",
				 pq_unless("PGGSSENCMODE", "disable"));
	pq_add_parameter(p, "client_encoding", "UTF8");
	pq_add_parameter(p, "fallback_application_name", "visitd");
}

static enum net_step pq_begin(struct net_peer *peer,
			      const struct net_address *address)
{
	struct pq *pq = pq_self(peer);
	struct parameters p = {.len = 0};

	pq_add_server(&p, pq, address);
	pq_add_session(&p, pq);
	pq->is_asking = false;
	pq->conn = PQconnectStartParams(p.names, p.values, 0);
	if (!pq->conn) {
		errno = ENOMEM;
		fail("%s:", peer->name);
		return NET_FAILED;
	}
	peer->fd = PQsocket(pq->conn);
	if (PQstatus(pq->conn) == CONNECTION_BAD) {
		pq_fail_connection(pq);
		return NET_FAILED;
	}
	return NET_WRITE;
}

/* NOTICEs are for nobody. */
static void pq_ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* A setting of sessions, unless the operator has chosen another one. */
static const char *pq_unless_chosen(const char *name, const char *value)
{
	const char *options = getenv("PGOPTIONS");

	return options && strstr(options, name) ? NULL : value;
}

/*
 * No option of the connection has these settings: a pooler refuses "options".
 * A pooler is known by the process that it names, which is not the server's:
 * it has to make up keys of its own, by which a query is cancelled.
 */
static enum net_step pq_ask(struct pq *pq)
{
	char pid[16], timeout[16];
	const char *values[] = {
		pid,
		pq_unless_chosen("statement_timeout", timeout),
		pq_unless_chosen("default_transaction_isolation",
				 "read committed"),
	};

	snprintf(pid, sizeof(pid), "%d", PQbackendPID(pq->conn));
	snprintf(timeout, sizeof(timeout), "%d", pq->settings->store_timeout);
	PQsetNoticeReceiver(pq->conn, pq_ignore_notice, NULL);
	if (PQsetnonblocking(pq->conn, 1) < 0 ||
	    !PQsendQueryParams(pq->conn, greeting, 3, NULL, values, NULL, NULL,
			       0)) {
		pq_fail_connection(pq);
		return NET_FAILED;
	}
	pq->is_asking = true;
	return PQflush(pq->conn) > 0 ? NET_WRITE : NET_READ;
}

static enum net_step pq_go_on_connecting(struct pq *pq)
{
	PostgresPollingStatusType step = PQconnectPoll(pq->conn);

	/* It may be another socket now: a second try without TLS, say. */
	pq->peer.fd = PQsocket(pq->conn);
	switch (step) {
	case PGRES_POLLING_READING:
		return NET_READ;
	case PGRES_POLLING_WRITING:
		return NET_WRITE;
	case PGRES_POLLING_OK:
		return pq_ask(pq);
	default:
		pq_fail_connection(pq);
		return NET_FAILED;
	}
}

static void pq_learn(struct pq *pq, const PGresult *result)
{
	int type = atoi(PQgetvalue(result, 0, 3));

	snprintf(pq->durability, sizeof(pq->durability),
		 "synchronous_commit %s", PQgetvalue(result, 0, 0));
	if (*PQgetvalue(result, 0, 4) != 't')
		pq->is_pooled = true;
	pq->facts = (struct pq_facts){
		.is_there = *PQgetvalue(result, 0, 1) == 't',
		.fits = *PQgetvalue(result, 0, 2) == 't' &&
			(type == INT4 || type == INT8),
		.is_small = type == INT4,
		.is_read_committed =
			strcmp(PQgetvalue(result, 0, 5), "read committed") == 0,
	};
	snprintf(pq->facts.encoding, sizeof(pq->facts.encoding), "%s",
		 PQgetvalue(result, 0, 6));
}

static enum net_step pq_go_on_asking(struct pq *pq)
{
	int left = PQflush(pq->conn);
	enum net_step step = NET_FAILED;
	PGresult *result;

	if (left < 0 || !PQconsumeInput(pq->conn)) {
		pq_fail_connection(pq);
		return NET_FAILED;
	}
	if (PQisBusy(pq->conn))
		return left > 0 ? NET_WRITE : NET_READ;
	while ((result = PQgetResult(pq->conn))) {
		if (PQresultStatus(result) == PGRES_TUPLES_OK) {
			pq_learn(pq, result);
			step = NET_DONE;
		} else {
			pq_fail_result(pq, result);
			step = NET_FAILED;
		}
		PQclear(result);
	}
	if (step == NET_DONE && !PQenterPipelineMode(pq->conn)) {
		pq_fail_connection(pq);
		return NET_FAILED;
	}
	return step;
}

static enum net_step pq_go_on(struct net_peer *peer)
{
	struct pq *pq = pq_self(peer);

	return pq->is_asking ? pq_go_on_asking(pq) : pq_go_on_connecting(pq);
}

static void pq_end(struct net_peer *peer)
{
	struct pq *pq = pq_self(peer);

	PQfinish(pq->conn);
	pq->conn = NULL;
	pq->prepared = 0;
	peer->fd = -1;
}

/* Reads DATABASE_URL; that it is wrong was told by pq_check. */
static void pq_read_url(struct pq *pq, char **error)
{
	const char *url = pq->settings->database_url;

	*error = NULL;
	pq->url = url ? PQconninfoParse(url, error) : NULL;
}

/* What DB_HOST, DB_PORT and the URL do not say, libpq's own variables may. */
static void pq_find_server(struct pq *pq)
{
	PQconninfoOption *options = PQconndefaults(), *o;
	const char *host = pq_choose(pq, pq->settings->db_host, "host",
				     pq_in_url(pq, "hostaddr"));
	const char *url_port = pq_in_url(pq, "port");
	int port = pq->settings->db_port;

	if (!port && url_port)
		port = atoi(url_port);

	for (o = options; o && o->keyword; o++) {
		if (!o->val || !*o->val)
			continue;
		if (!host && strcmp(o->keyword, "host") == 0)
			host = o->val;
		if (!port && strcmp(o->keyword, "port") == 0)
			port = atoi(o->val);
	}
	snprintf(pq->host, sizeof(pq->host), "%s", host ? host : "localhost");
	pq->port = port ? port : 5432;
	PQconninfoFree(options);
}

static bool pq_is_url(const char *url)
{
	return strncmp(url, "postgresql://", 13) == 0 ||
	       strncmp(url, "postgres://", 11) == 0;
}

int pq_check(const struct settings *settings)
{
	struct pq pq = {.settings = settings};
	const char *url = settings->database_url;
	char *error = NULL;
	int status = 0;

	pq_read_url(&pq, &error);
	pq_find_server(&pq);
	if (url && (!pq.url || !pq_is_url(url)))
		status = fail("DATABASE_URL=...: takes postgresql://user:"
			      "password@host:port/database, escaped with %%");
	else if (strchr(pq.host, ','))
		status = fail("DB_HOST=%.200s: takes one host: of several, "
			      "none is asked which is the first; give a name "
			      "with several addresses, or a proxy",
			      pq.host);
	PQfreemem(error);
	PQconninfoFree(pq.url);
	return status;
}

int pq_open(struct pq *pq, const struct settings *settings,
	    const char *const *texts, int epoll)
{
	static const struct net_protocol protocol = {pq_begin, pq_go_on,
						     pq_end};

	char *error;

	*pq = (struct pq){.settings = settings, .texts = texts};
	pq_read_url(pq, &error);
	PQfreemem(error);
	pq_find_server(pq);
	return net_open(&pq->peer, "PostgreSQL", pq->host, pq->port,
			settings->store_timeout, epoll, &protocol, pq);
}

void pq_close(struct pq *pq)
{
	net_close(&pq->peer);
	PQconninfoFree(pq->url);
}

/*
 * Calling
 */

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
