#include "store/postgres/pq_open.h"

#include "store/failure.h"
#include "store/postgres/pq_fail.h"
#include "util/number.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PARAMETERS_MAX = 64, /* of a connection; libpq 15 knows 42 */
	INT4 = 23,	     /* oids of types: pg_type.dat */
	INT8 = 20,
};

/* What is asked before a conversation counts as open. */
static const char greeting[] = {
#include "store/postgres/greeting.sql.inc"
	0};

struct parameters {
	const char *names[PARAMETERS_MAX + 1], *values[PARAMETERS_MAX + 1];
	size_t len;
	char number[NI_MAXHOST], port[16]; /* some values */
};

static void pq_open_add_parameter(struct parameters *p, const char *name,
				  const char *value)
{
	if (!value || p->len == PARAMETERS_MAX)
		return;
	p->names[p->len] = name;
	p->values[p->len++] = value;
	p->names[p->len] = p->values[p->len] = NULL;
}

/* libpq is to take its own variable, if that is set. */
static const char *pq_open_unless(const char *variable, const char *value)
{
	return getenv(variable) || getenv("PGSERVICE") ? NULL : value;
}

static struct pq *pq_open_self(struct net_peer *peer)
{
	return peer->context;
}

/* Where the server is. */
static void pq_open_add_server(struct parameters *p, const struct pq *pq,
			       const struct net_address *address)
{
	pq_open_add_parameter(p, "host", pq->host);
	if (pq->host[0] != '/' &&
	    getnameinfo((const struct sockaddr *)&address->where, address->len,
			p->number, sizeof(p->number), NULL, 0,
			NI_NUMERICHOST) == 0)
		pq_open_add_parameter(p, "hostaddr", p->number);
	snprintf(p->port, sizeof(p->port), "%d", pq->port);
	pq_open_add_parameter(p, "port", p->port);
}

/* What DATABASE_URL says of an option; NULL: nothing. */
static const char *pq_open_in_url(const struct pq *pq, const char *name)
{
	for (const PQconninfoOption *o = pq->url; o && o->keyword; o++)
		if (strcmp(o->keyword, name) == 0 && o->val && *o->val)
			return o->val;
	return NULL;
}

/* A setting; else what the URL says; else this. */
static const char *pq_open_choose(const struct pq *pq, const char *setting,
				  const char *name, const char *other)
{
	const char *url = pq_open_in_url(pq, name);

	return setting ? setting : url ? url : other;
}

/* What the URL says beside what has a setting: sslmode, say. */
static void pq_open_add_url(struct parameters *p, const struct pq *pq)
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
			pq_open_add_parameter(p, o->keyword, o->val);
	}
}

/* Whose database is used, and how. */
static void pq_open_add_session(struct parameters *p, const struct pq *pq)
{
	const struct settings *s = pq->settings;

	pq_open_add_parameter(
		p, "dbname",
		pq_open_choose(pq, s->db_name, "dbname",
			       pq_open_unless("PGDATABASE", "visitd")));
	pq_open_add_parameter(
		p, "user",
		pq_open_choose(pq, s->db_user, "user",
			       pq_open_unless("PGUSER", "visitd")));
	pq_open_add_parameter(
		p, "password",
		pq_open_choose(pq, s->db_password, "password", NULL));
	pq_open_add_url(p, pq);
	/* Kerberos would ask its servers, and wait for them. */
	if (!pq_open_in_url(pq, "gssencmode"))
		pq_open_add_parameter(
			p, "gssencmode",
			pq_open_unless("PGGSSENCMODE", "disable"));
	pq_open_add_parameter(p, "client_encoding", "UTF8");
	pq_open_add_parameter(p, "fallback_application_name", "visitd");
}

static enum net_step pq_open_begin(struct net_peer *peer,
				   const struct net_address *address)
{
	struct pq *pq = pq_open_self(peer);
	struct parameters p = {.len = 0};

	pq_open_add_server(&p, pq, address);
	pq_open_add_session(&p, pq);
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
static void pq_open_ignore_notice(void *arg, const PGresult *result)
{
	(void)arg;
	(void)result;
}

/* A setting of sessions, unless the operator has chosen another one. */
static const char *pq_open_unless_chosen(const char *name, const char *value)
{
	const char *options = getenv("PGOPTIONS");

	return options && strstr(options, name) ? NULL : value;
}

/*
 * No option of the connection has these settings: a pooler refuses "options".
 * A pooler is known by the process that it names, which is not the server's:
 * it has to make up keys of its own, by which a query is cancelled.
 */
static enum net_step pq_open_ask(struct pq *pq)
{
	char pid[16], timeout[16];
	const char *values[] = {
		pid,
		pq_open_unless_chosen("statement_timeout", timeout),
		pq_open_unless_chosen("default_transaction_isolation",
				      "read committed"),
	};

	snprintf(pid, sizeof(pid), "%d", PQbackendPID(pq->conn));
	snprintf(timeout, sizeof(timeout), "%d", pq->settings->store_timeout);
	PQsetNoticeReceiver(pq->conn, pq_open_ignore_notice, NULL);
	if (PQsetnonblocking(pq->conn, 1) < 0 ||
	    !PQsendQueryParams(pq->conn, greeting, 3, NULL, values, NULL, NULL,
			       0)) {
		pq_fail_connection(pq);
		return NET_FAILED;
	}
	pq->is_asking = true;
	return PQflush(pq->conn) > 0 ? NET_WRITE : NET_READ;
}

static enum net_step pq_open_go_on_connecting(struct pq *pq)
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
		return pq_open_ask(pq);
	default:
		pq_fail_connection(pq);
		return NET_FAILED;
	}
}

static void pq_open_learn(struct pq *pq, const PGresult *result)
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

static enum net_step pq_open_go_on_asking(struct pq *pq)
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
			pq_open_learn(pq, result);
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

static enum net_step pq_open_go_on(struct net_peer *peer)
{
	struct pq *pq = pq_open_self(peer);

	return pq->is_asking ? pq_open_go_on_asking(pq)
			     : pq_open_go_on_connecting(pq);
}

static void pq_open_end(struct net_peer *peer)
{
	struct pq *pq = pq_open_self(peer);

	PQfinish(pq->conn);
	pq->conn = NULL;
	pq->prepared = 0;
	peer->fd = -1;
}

/* Reads DATABASE_URL; that it is wrong was told by pq_check. */
static void pq_open_read_url(struct pq *pq, char **error)
{
	const char *url = pq->settings->database_url;

	*error = NULL;
	pq->url = url ? PQconninfoParse(url, error) : NULL;
}

/* What DB_HOST, DB_PORT and the URL do not say, libpq's own variables may. */
static void pq_open_find_server(struct pq *pq)
{
	PQconninfoOption *options = PQconndefaults(), *o;
	const char *host = pq_open_choose(pq, pq->settings->db_host, "host",
					  pq_open_in_url(pq, "hostaddr"));
	const char *url_port = pq_open_in_url(pq, "port");
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

static bool pq_open_is_url(const char *url)
{
	return strncmp(url, "postgresql://", 13) == 0 ||
	       strncmp(url, "postgres://", 11) == 0;
}

static bool pq_open_is_port(const char *text)
{
	int64_t port;

	return !text || (number_read(slice_of(text), &port) && port >= 1 &&
			 port <= 65535);
}

int pq_check(const struct settings *settings)
{
	struct pq pq = {.settings = settings};
	const char *url = settings->database_url;
	char *error = NULL;
	int status = 0;

	pq_open_read_url(&pq, &error);
	pq_open_find_server(&pq);
	if (url && (!pq.url || !pq_open_is_url(url)))
		status = fail("DATABASE_URL=...: takes postgresql://user:"
			      "password@host:port/database, escaped with %%");
	else if (!pq_open_is_port(pq_open_in_url(&pq, "port")))
		status = fail("DATABASE_URL=...: takes one port from 1 to "
			      "65535");
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
	static const struct net_protocol protocol = {
		pq_open_begin, pq_open_go_on, pq_open_end};

	char *error;

	*pq = (struct pq){.settings = settings, .texts = texts};
	pq_open_read_url(pq, &error);
	PQfreemem(error);
	pq_open_find_server(pq);
	return net_open(&pq->peer, "PostgreSQL", pq->host, pq->port,
			settings->store_timeout, epoll, &protocol, pq);
}

void pq_close(struct pq *pq)
{
	net_close(&pq->peer);
	PQconninfoFree(pq->url);
}
