#include "store/net/resp.h"

#include "store/failure.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECEIVED_MAX = 64 << 20, /* bytes of a call's replies */
	OUT_KEPT = 1 << 20,	 /* bytes of room that stay allocated */
};

/*
 * Bytes
 */

void resp_begin(struct resp *resp)
{
	if (resp->out_cap > OUT_KEPT) {
		free(resp->out);
		resp->out = NULL;
		resp->out_cap = 0;
	}
	resp->out_len = resp->sent = resp->received = 0;
}

int resp_put(struct resp *resp, const char *bytes, size_t len)
{
	if (resp->out_cap - resp->out_len < len) {
		size_t cap = 2 * (resp->out_len + len);
		char *more = realloc(resp->out, cap);

		if (!more) {
			fail("%s: out of memory", resp->peer.name);
			return -1;
		}
		resp->out = more;
		resp->out_cap = cap;
	}
	memcpy(resp->out + resp->out_len, bytes, len);
	resp->out_len += len;
	return 0;
}

short resp_wants(const struct resp *resp)
{
	return resp->sent < resp->out_len ? POLLIN | POLLOUT : POLLIN;
}

static bool is_later(int error)
{
	return error == EAGAIN || error == EINTR;
}

int resp_send(struct resp *resp)
{
	while (resp->sent < resp->out_len) {
		ssize_t n = send(resp->peer.fd, resp->out + resp->sent,
				 resp->out_len - resp->sent, MSG_NOSIGNAL);

		if (n < 0 && is_later(errno))
			return 0;
		if (n < 0) {
			fail("%s:", resp->peer.name);
			return -1;
		}
		resp->sent += (size_t)n;
	}
	return 0;
}

int resp_receive(struct resp *resp)
{
	static char bytes[65536];
	ssize_t n;

	do {
		n = recv(resp->peer.fd, bytes, sizeof(bytes), 0);
		if (n < 0 && is_later(errno))
			return 0;
		if (n < 0) {
			fail("%s:", resp->peer.name);
			return -1;
		}
		if (n == 0) {
			fail("%s: it has closed the connection",
			     resp->peer.name);
			return -1;
		}
		resp->received += (size_t)n;
		if (resp->received > RECEIVED_MAX ||
		    redisReaderFeed(resp->reader, bytes, (size_t)n) !=
			    REDIS_OK) {
			fail("%s: its replies are too long", resp->peer.name);
			return -1;
		}
	} while (n == sizeof(bytes));
	return 0;
}

int resp_take(struct resp *resp, redisReply **reply)
{
	void *whole = NULL;

	if (redisReaderGetReply(resp->reader, &whole) != REDIS_OK) {
		fail("%s: %s", resp->peer.name, resp->reader->errstr);
		return -1;
	}
	*reply = whole;
	return whole != NULL;
}

bool resp_is_clean(const struct resp *resp)
{
	return resp->reader->pos == resp->reader->len && !resp->reader->reply;
}

/*
 * What a server says of itself
 */

static const char *const questions[RESP_QUESTIONS][3] = {
	{"CONFIG", "GET", "maxmemory-policy"},
	{"CONFIG", "GET", "appendonly"},
	{"CONFIG", "GET", "appendfsync"},
	{"CONFIG", "GET", "save"},
	{"INFO", "cluster", NULL},
};

const char *const *resp_question(int i, int *argc)
{
	*argc = questions[i][2] ? 3 : 2;
	return questions[i];
}

static int put_command(struct resp *resp, int argc, const char *const *argv)
{
	char *bytes;
	int len = (int)redisFormatCommandArgv(
		&bytes, argc, (const char **)(size_t)argv, NULL);

	if (len < 0) {
		fail("%s: out of memory", resp->peer.name);
		return -1;
	}
	int done = resp_put(resp, bytes, (size_t)len);
	redisFreeCommand(bytes);
	return done;
}

static int put_question(struct resp *resp, int i)
{
	int argc;
	const char *const *argv = resp_question(i, &argc);

	return put_command(resp, argc, argv);
}

static void learn_text(struct resp_facts *facts, char *out, size_t cap,
		       const redisReply *reply)
{
	bool is_pair = reply->type == REDIS_REPLY_ARRAY &&
		       reply->elements == 2 &&
		       reply->element[1]->type == REDIS_REPLY_STRING;

	facts->is_denied |= !is_pair;
	snprintf(out, cap, "%s", is_pair ? reply->element[1]->str : "");
}

void resp_learn(struct resp_facts *facts, int i, const redisReply *reply)
{
	switch (i) {
	case 0:
		facts->is_denied = false;
		learn_text(facts, facts->policy, sizeof(facts->policy), reply);
		break;
	case 1:
		learn_text(facts, facts->appendonly, sizeof(facts->appendonly),
			   reply);
		break;
	case 2:
		learn_text(facts, facts->fsync, sizeof(facts->fsync), reply);
		break;
	case 3:
		learn_text(facts, facts->save, sizeof(facts->save), reply);
		break;
	case 4:
		facts->is_cluster = reply->type == REDIS_REPLY_STRING &&
				    strstr(reply->str, "cluster_enabled:1");
		facts->is_known = true;
		break;
	}
}

int resp_check_eviction(const struct resp *resp)
{
	const struct resp_facts *facts = &resp->facts;

	if (resp->login->allow_eviction ||
	    strncmp(facts->policy, "allkeys-", 8) != 0)
		return 0;
	return fail_garbage("%s would throw counters away when its memory is "
			    "full (maxmemory-policy %s): set it to noeviction, "
			    "or REDIS_ALLOW_EVICTION=on",
			    resp->peer.name, facts->policy);
}

/*
 * The greeting
 */

static int put_greeting(struct resp *resp)
{
	const struct resp_login *login = resp->login;
	char db[16];

	snprintf(db, sizeof(db), "%d", login->db);
	const char *const auth[] = {"AUTH", login->password};
	const char *const select[] = {"SELECT", db};
	const char *const ping[] = {"PING"};

	resp_begin(resp);
	if (login->password && put_command(resp, 2, auth) < 0)
		return -1;
	if (login->db && put_command(resp, 2, select) < 0)
		return -1;
	for (int i = 0; i < RESP_QUESTIONS; i++)
		if (put_question(resp, i) < 0)
			return -1;
	return put_command(resp, 1, ping);
}

static bool begins(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* MISCONF answers a PING, too, but is about writing alone. */
static int check_greeting(struct resp *resp, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ERROR || begins(reply->str, "MISCONF"))
		return 0;
	return fail("%s says: %s", resp->peer.name, reply->str);
}

/* The reply with this number. */
static int take_greeting(struct resp *resp, const redisReply *reply, int i)
{
	int before = (resp->login->password != NULL) + (resp->login->db != 0);

	if (i < before)
		return check_greeting(resp, reply);
	i -= before;
	if (i == RESP_QUESTIONS)
		return check_greeting(resp, reply) ? 503
						   : resp_check_eviction(resp);
	resp_learn(&resp->facts, i, reply);
	return 0;
}

static enum net_step greet(struct resp *resp)
{
	int all = (resp->login->password != NULL) + (resp->login->db != 0) +
		  RESP_QUESTIONS + 1;
	redisReply *reply;
	int got = 0;

	if (resp_send(resp) < 0 || resp_receive(resp) < 0)
		return NET_FAILED;
	while (resp->greeted < all && (got = resp_take(resp, &reply)) > 0) {
		int status = take_greeting(resp, reply, resp->greeted++);

		freeReplyObject(reply);
		if (status)
			return NET_FAILED;
	}
	if (got < 0)
		return NET_FAILED;
	if (resp->greeted == all)
		return NET_DONE;
	return resp->sent < resp->out_len ? NET_WRITE : NET_READ;
}

static enum net_step go_on(struct net_peer *peer)
{
	struct resp *resp = peer->context;

	if (!resp->is_connected) {
		int connected = net_is_connected(peer->fd);

		if (connected < 0)
			fail("%s:", peer->name);
		if (connected <= 0)
			return connected < 0 ? NET_FAILED : NET_WRITE;
		resp->is_connected = true;
	}
	return greet(resp);
}

static enum net_step begin(struct net_peer *peer,
			   const struct net_address *address)
{
	struct resp *resp = peer->context;

	resp->is_connected = false;
	resp->greeted = 0;
	peer->fd = net_connect(address);
	if (peer->fd < 0) {
		fail("%s:", peer->name);
		return NET_FAILED;
	}
	resp->reader = redisReaderCreate();
	if (!resp->reader || put_greeting(resp) < 0)
		return NET_FAILED;
	return go_on(peer);
}

static void end(struct net_peer *peer)
{
	struct resp *resp = peer->context;

	if (resp->reader)
		redisReaderFree(resp->reader);
	resp->reader = NULL;
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

static const struct net_protocol protocol = {begin, go_on, end};

int resp_open(struct resp *resp, const char *host, int port, int timeout,
	      int epoll, const struct resp_login *login)
{
	*resp = (struct resp){.login = login};
	return net_open(&resp->peer, "redis", host, port, timeout, epoll,
			&protocol, resp);
}

void resp_close(struct resp *resp)
{
	net_close(&resp->peer);
	free(resp->out);
	resp->out = NULL;
}
