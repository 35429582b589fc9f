#include "store/net/resp.h"

#include "store/failure.h"
#include "util/grow.h"
#include "util/text.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECEIVED_MAX = 64 << 20, /* bytes of the replies of a call */
	OUT_KEPT = 1 << 20,	 /* bytes that stay allocated between calls */
};

/*
 * Bytes
 */

/* "*2\r\n$3\r\nGET\r\n$6\r\nitem:7\r\n" */
size_t resp_size(size_t argc, const struct slice *argv)
{
	enum { FRAME = NUMBER_MAX + 5 }; /* $, a length and two CRLFs */
	size_t size = (argc + 1) * FRAME;

	for (size_t i = 0; i < argc; i++)
		size += argv[i].n;
	return size;
}

char *resp_write(char *to, size_t argc, const struct slice *argv)
{
	*to++ = '*';
	to = text_put(text_put_number(to, (int64_t)argc), SLICE("\r\n"));
	for (size_t i = 0; i < argc; i++) {
		*to++ = '$';
		to = text_put_number(to, (int64_t)argv[i].n);
		to = text_put(to, SLICE("\r\n"));
		to = text_put(text_put(to, argv[i]), SLICE("\r\n"));
	}
	return to;
}

void resp_begin(struct resp *resp)
{
	if (resp->out_cap > OUT_KEPT) {
		free(resp->out);
		resp->out = NULL;
		resp->out_cap = 0;
	}
	resp->out_len = resp->sent = resp->received = 0;
}

/* Room for `len` more bytes. */
static char *resp_reserve(struct resp *resp, size_t len)
{
	char *out = grow(resp->out, &resp->out_cap, resp->out_len + len, 1);

	if (!out) {
		fail("%s: out of memory", resp->peer.name);
		return NULL;
	}
	resp->out = out;
	return out + resp->out_len;
}

int resp_put(struct resp *resp, struct slice bytes)
{
	char *to = resp_reserve(resp, bytes.n);

	if (!to)
		return -1;
	text_put(to, bytes);
	resp->out_len += bytes.n;
	return 0;
}

static int resp_put_command(struct resp *resp, size_t argc,
			    const struct slice *argv)
{
	char *to = resp_reserve(resp, resp_size(argc, argv));

	if (!to)
		return -1;
	resp->out_len += (size_t)(resp_write(to, argc, argv) - to);
	return 0;
}

short resp_wants(const struct resp *resp)
{
	return resp->sent < resp->out_len ? POLLIN | POLLOUT : POLLIN;
}

static bool resp_would_block(int error)
{
	return error == EAGAIN || error == EINTR;
}

int resp_send(struct resp *resp)
{
	while (resp->sent < resp->out_len) {
		ssize_t n = send(resp->peer.fd, resp->out + resp->sent,
				 resp->out_len - resp->sent, MSG_NOSIGNAL);

		if (n < 0 && resp_would_block(errno))
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
		if (n < 0 && resp_would_block(errno))
			return 0;
		if (n < 0) {
			fail("%s:", resp->peer.name);
			return -1;
		}
		if (n == 0) {
			fail_as(FAULT_AWAY, "%s: it has closed the connection",
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

bool resp_is_error(const redisReply *reply, const char *code)
{
	return reply->type == REDIS_REPLY_ERROR &&
	       strncmp(reply->str, code, strlen(code)) == 0;
}

enum fault resp_fault(const char *words)
{
	static const struct {
		const char *code;
		enum fault fault;
	} codes[] = {
		{"NOAUTH", FAULT_LOGIN},
		{"WRONGPASS", FAULT_LOGIN},
		{"ERR invalid password", FAULT_LOGIN},
		{"ERR AUTH", FAULT_LOGIN},
		{"ERR max number of clients", FAULT_AWAY},
		{"DENIED", FAULT_LOGIN},
		{"NOPERM", FAULT_DENIED},
		{"READONLY", FAULT_DENIED},
		{"OOM", FAULT_FULL},
		{"MISCONF", FAULT_FULL},
		{"LOADING", FAULT_AWAY},
		{"CLUSTERDOWN", FAULT_AWAY},
		{"MASTERDOWN", FAULT_AWAY},
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
		if (strncmp(words, codes[i].code, strlen(codes[i].code)) == 0)
			return codes[i].fault;
	return FAULT_ANY;
}

/*
 * The server's settings
 */

#define CONFIG_GET(name, member)                                   \
	{                                                          \
		.words = {SLICE_INIT("CONFIG"), SLICE_INIT("GET"), \
			  SLICE_INIT(name)},                       \
		.at = offsetof(struct resp_facts, member),         \
		.size = sizeof(((struct resp_facts *)0)->member)   \
	}

/* A command, and where its result, a text, is kept. */
static const struct question {
	struct slice words[3];
	size_t at, size;
} questions[RESP_QUESTIONS] = {
	CONFIG_GET("maxmemory-policy", policy),
	CONFIG_GET("appendonly", appendonly),
	CONFIG_GET("appendfsync", fsync),
	CONFIG_GET("save", save),
	{.words = {SLICE_INIT("INFO"), SLICE_INIT("cluster")}},
	{.words = {SLICE_INIT("INFO"), SLICE_INIT("server")}},
};

const struct slice *resp_question(int i, size_t *argc)
{
	*argc = questions[i].words[2].n ? 3 : 2;
	return questions[i].words;
}

static void resp_learn_text(struct resp_facts *facts,
			    const struct question *question,
			    const redisReply *reply)
{
	bool is_pair = reply->type == REDIS_REPLY_ARRAY &&
		       reply->elements == 2 &&
		       reply->element[1]->type == REDIS_REPLY_STRING;

	facts->is_denied |= !is_pair;
	snprintf((char *)facts + question->at, question->size, "%s",
		 is_pair ? reply->element[1]->str : "");
}

static bool resp_says(const redisReply *reply, const char *words)
{
	return reply->type == REDIS_REPLY_STRING && strstr(reply->str, words);
}

void resp_learn(struct resp_facts *facts, int i, const redisReply *reply)
{
	if (i == 0)
		facts->is_denied = facts->is_cluster = facts->is_sentinel =
			false;
	if (questions[i].size) {
		resp_learn_text(facts, &questions[i], reply);
		return;
	}
	facts->is_cluster |= resp_says(reply, "cluster_enabled:1");
	facts->is_sentinel |= resp_says(reply, "redis_mode:sentinel");
	facts->is_known = i == RESP_QUESTIONS - 1;
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
 * The greeting: AUTH and SELECT, where they are needed, the questions, PING
 */

static int resp_put_greeting(struct resp *resp)
{
	const struct resp_login *login = resp->login;
	char db[NUMBER_MAX];
	const struct slice auth[] = {
		SLICE("AUTH"), slice_of(login->user ? login->user : ""),
		slice_of(login->password ? login->password : "")};
	const struct slice old_auth[] = {auth[0], auth[2]};
	const struct slice select[] = {SLICE("SELECT"),
				       {db, number_write(db, login->db)}};
	const struct slice ping[] = {SLICE("PING")};

	resp_begin(resp);
	/* Redis 5 knows no users. */
	if (login->user ? resp_put_command(resp, 3, auth) < 0
			: login->password &&
				  resp_put_command(resp, 2, old_auth) < 0)
		return -1;
	if (login->db && resp_put_command(resp, 2, select) < 0)
		return -1;
	for (int i = 0; i < RESP_QUESTIONS; i++) {
		size_t argc;
		const struct slice *argv = resp_question(i, &argc);

		if (resp_put_command(resp, argc, argv) < 0)
			return -1;
	}
	return resp_put_command(resp, 1, ping);
}

/* Its own words, and what can be done. */
static int resp_fail_login(const struct resp *resp, const char *words)
{
	bool lacks = strncmp(words, "NOAUTH", 6) == 0;
	bool is_wrong = strncmp(words, "WRONGPASS", 9) == 0 ||
			strncmp(words, "ERR invalid password", 20) == 0;

	return fail_as(resp_fault(words), "%s says: %s%s", resp->peer.name,
		       words,
		       lacks	  ? " (set REDIS_PASSWORD)"
		       : is_wrong ? " (look at REDIS_USER and REDIS_PASSWORD)"
				  : "");
}

/* A server that cannot save answers MISCONF even to a PING, but it can be
 * read. */
static int resp_check_greeting(struct resp *resp, const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ERROR || resp_is_error(reply, "MISCONF"))
		return 0;
	return resp_fail_login(resp, reply->str);
}

static int resp_fail_sentinel(const struct resp *resp)
{
	return fail("%s is a Sentinel, which keeps no counters and is not "
		    "asked where they are: set REDIS_HOST and REDIS_PORT to "
		    "the server, or to a proxy that follows it",
		    resp->peer.name);
}

/* Number of the greeting's replies before those to the questions. */
static int resp_logins(const struct resp *resp)
{
	return (resp->login->user || resp->login->password) +
	       (resp->login->db != 0);
}

/* Takes reply number i of the greeting. */
static int resp_take_greeting(struct resp *resp, const redisReply *reply, int i)
{
	int question = i - resp_logins(resp);

	if (question < 0)
		return resp_check_greeting(resp, reply);
	if (question == RESP_QUESTIONS && resp_check_greeting(resp, reply))
		return 503;
	if (question == RESP_QUESTIONS && resp->facts.is_sentinel)
		return resp_fail_sentinel(resp);
	if (question == RESP_QUESTIONS)
		return resp_check_eviction(resp);
	resp_learn(&resp->facts, question, reply);
	return 0;
}

/*
 * A server that wants no connection says so without having been asked, and
 * closes it: "DENIED Redis is running in protected mode ...", "ERR max number
 * of clients reached". What it says is the reason, and not that it has closed.
 */
static enum net_step resp_fail_greeting(const struct resp *resp)
{
	if (*resp->refusal)
		resp_fail_login(resp, resp->refusal);
	return NET_FAILED;
}

static enum net_step resp_greet(struct resp *resp)
{
	int all = resp_logins(resp) + RESP_QUESTIONS + 1;
	redisReply *reply;
	int got = 0;
	bool failed = resp_send(resp) < 0;

	failed |= resp_receive(resp) < 0;
	while (resp->greeted < all && (got = resp_take(resp, &reply)) > 0) {
		if (resp->greeted == 0 && reply->type == REDIS_REPLY_ERROR &&
		    !resp_is_error(reply, "NOPERM"))
			snprintf(resp->refusal, sizeof(resp->refusal), "%s",
				 reply->str);
		int status = resp_take_greeting(resp, reply, resp->greeted++);

		freeReplyObject(reply);
		if (status)
			return NET_FAILED;
	}
	if (got < 0)
		return NET_FAILED;
	if (failed && resp->greeted < all)
		return resp_fail_greeting(resp);
	if (resp->greeted == all)
		return NET_DONE;
	return resp->sent < resp->out_len ? NET_WRITE : NET_READ;
}

static enum net_step resp_go_on_opening(struct net_peer *peer)
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
	return resp_greet(resp);
}

static enum net_step resp_begin_opening(struct net_peer *peer,
					const struct net_address *address)
{
	struct resp *resp = peer->context;

	resp->is_connected = false;
	resp->greeted = 0;
	resp->refusal[0] = '\0';
	peer->fd = net_connect(address);
	if (peer->fd < 0) {
		fail("%s:", peer->name);
		return NET_FAILED;
	}
	resp->reader = redisReaderCreate();
	if (!resp->reader) {
		fail("%s: out of memory", peer->name);
		return NET_FAILED;
	}
	if (resp_put_greeting(resp) < 0)
		return NET_FAILED;
	return resp_go_on_opening(peer);
}

static void resp_end(struct net_peer *peer)
{
	struct resp *resp = peer->context;

	if (resp->reader)
		redisReaderFree(resp->reader);
	resp->reader = NULL;
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

int resp_open(struct resp *resp, const char *host, int port, int timeout,
	      int epoll, const struct resp_login *login)
{
	static const struct net_protocol protocol = {
		.begin = resp_begin_opening,
		.go_on = resp_go_on_opening,
		.end = resp_end,
	};

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
