/*
 * resp.h - a conversation with one Redis server, in its protocol (RESP)
 *
 * hiredis parses the replies; net.h has the socket and the deadlines. The
 * greeting of a conversation sends the password and the database's number, asks
 * for the settings that decide whether data can be lost, and ends with the
 * reply to a PING.
 */
#ifndef STORE_NET_RESP_H
#define STORE_NET_RESP_H

#include "store/failure.h"
#include "store/net/net.h"
#include "util/slice.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>

struct resp_login {
	const char *user, *password; /* or NULL */
	int db;
	bool allow_eviction; /* of keys without a time to live */
};

/* Settings of a server. */
struct resp_facts {
	bool is_known;
	bool is_denied;	    /* CONFIG is: the four texts are empty */
	char policy[32];    /* maxmemory-policy */
	char appendonly[8]; /* yes or no */
	char fsync[16];	    /* appendfsync */
	char save[128];	    /* of the RDB file: "3600 1 300 100" */
	bool is_cluster;
	bool is_sentinel; /* which keeps no counters */
};

struct resp {
	struct net_peer peer;
	const struct resp_login *login;
	struct resp_facts facts;
	redisReader *reader;
	char *out;				 /* bytes to send */
	size_t out_len, out_cap, sent, received; /* of this call */
	bool is_connected;
	int greeted;	   /* replies to the greeting so far */
	char refusal[256]; /* the first of them, if it is an error; or "" */
};

/* Parameters and result are those of net_open; the login must outlive it. */
int resp_open(struct resp *resp, const char *host, int port, int timeout,
	      int epoll, const struct resp_login *login);
void resp_close(struct resp *resp);

/* A command as bytes: at most how many, and the bytes, written at `to`; gives
 * their end. */
size_t resp_size(size_t argc, const struct slice *argv);
char *resp_write(char *to, size_t argc, const struct slice *argv);

/* Begins a call: no byte is sent or received yet. */
void resp_begin(struct resp *resp);

/* Adds bytes to be sent. Gives 0, or -1 with fail(): out of memory. */
int resp_put(struct resp *resp, struct slice bytes);

/*
 * Sends or receives as much as is possible without waiting. Gives 0, or -1 with
 * fail(): the connection has failed. resp->sent is the number of bytes sent.
 */
int resp_send(struct resp *resp);
int resp_receive(struct resp *resp);

/* The events of poll(2) to wait for. */
short resp_wants(const struct resp *resp);

/* Takes the next reply; the caller frees it with freeReplyObject. Gives 1; 0:
 * no whole reply has come yet; -1 with fail(): it is not RESP. */
int resp_take(struct resp *resp, redisReply **reply);

/* Whether everything that was received has been taken. */
bool resp_is_clean(const struct resp *resp);

/* The kind of failure that the text of an error tells. */
enum fault resp_fault(const char *words);

/* Whether a reply is an error that begins with this code. */
bool resp_is_error(const redisReply *reply, const char *code);

/* Commands that ask for the facts, and what is learnt from their replies. */
enum { RESP_QUESTIONS = 6 };
const struct slice *resp_question(int i, size_t *argc);
void resp_learn(struct resp_facts *facts, int i, const redisReply *reply);

/* Whether this server may evict counters. Gives 0, or 503 with fail(). */
int resp_check_eviction(const struct resp *resp);

#endif
