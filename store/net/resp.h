/*
 * resp.h - a conversation with one Redis server: bytes out, replies in
 *
 * hiredis reads the replies; the socket, and the time, are net.h's. Each new
 * conversation begins with the password and the database, looks at what the
 * server does with its data, and is open when the server answers a PING.
 */
#ifndef STORE_NET_RESP_H
#define STORE_NET_RESP_H

#include "store/net/net.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

struct resp_login {
	const char *password; /* or NULL */
	int db;
	bool allow_eviction; /* of keys that were not asked to expire */
};

/* What a server says of itself. */
struct resp_facts {
	bool is_known;
	bool is_denied;	    /* CONFIG is, so that of these nothing is known: */
	char policy[32];    /* maxmemory-policy */
	char appendonly[8]; /* yes or no */
	char fsync[16];	    /* appendfsync */
	char save[128];	    /* when it writes everything: "3600 1 300 100" */
	bool is_cluster;
};

struct resp {
	struct net_peer peer;
	const struct resp_login *login;
	struct resp_facts facts;
	redisReader *reader;
	char *out; /* the bytes to send */
	size_t out_len, out_cap, sent, received;
	bool is_connected;
	int greeted; /* replies to the greeting so far */
};

/* Gives 0, or 503 with fail(). The host and the login must outlive it. */
int resp_open(struct resp *resp, const char *host, int port, int timeout,
	      int epoll, const struct resp_login *login);
void resp_close(struct resp *resp);

/* Before a call's first byte. */
void resp_begin(struct resp *resp);

/* Adds bytes to be sent. -1: no memory, with fail(). */
int resp_put(struct resp *resp, const char *bytes, size_t len);

/*
 * Sends, and receives, what can be at once. Give 0, or -1 with fail(): the
 * connection has failed. resp->sent tells how much of the call has left.
 */
int resp_send(struct resp *resp);
int resp_receive(struct resp *resp);

/* The events of poll(2) to go on after. */
short resp_wants(const struct resp *resp);

/* The next reply, to be freed with freeReplyObject: 1; 0 none is whole yet; -1
 * it is not understood, with fail(). */
int resp_take(struct resp *resp, redisReply **reply);

/* Whether nothing has come that nobody has taken. */
bool resp_is_clean(const struct resp *resp);

/* Commands that ask for the facts, and what is learnt from their replies. */
enum { RESP_QUESTIONS = 5 };
const char *const *resp_question(int i, int *argc);
void resp_learn(struct resp_facts *facts, int i, const redisReply *reply);

/* Whether this server may throw away keys that count. 0, or 503 with fail(). */
int resp_check_eviction(const struct resp *resp);

#endif
