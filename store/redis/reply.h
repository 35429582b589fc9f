/*
 * reply.h - what Redis replies to commands, and how calls fail
 */
#ifndef STORE_REDIS_REPLY_H
#define STORE_REDIS_REPLY_H

#include "store/failure.h"
#include "util/slice.h"

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The answer to a command that was run; valid until the next call of the store.
 */
struct redis_answer {
	const redisReply *reply; /* NULL: none came */
	const char *why;	 /* without a reply: the reason, */
	enum fault fault;	 /* and its kind */
	const char *server;	 /* its name, for messages */
};
struct redis_answer redis_answer_to(size_t command);

bool redis_is_text(const redisReply *reply);
struct slice redis_text(const redisReply *reply);

/* Whether it is an error that contains this text; false for NULL. */
bool redis_is_error(const redisReply *reply, const char *part);

/* Reads a total as Redis writes it: 007 is none. */
bool redis_read_total(struct slice text, int64_t *total);

/*
 * The answer of a script is an array: a word and values. Gives 0 for ok, which
 * has at least `texts` texts; -1 for new; or the status, with fail(), of full,
 * garbage, and any other reply. `key` is named in the reason.
 */
int redis_judge(const struct redis_answer *answer, const char *key,
		size_t texts);

/* Notes why a call fails and gives the status: the reply is missing or an
 * unexpected one; the key holds a text that is not a number. */
int redis_fail(const struct redis_answer *answer, const char *key);
int redis_fail_text(const struct redis_answer *answer, const char *key,
		    struct slice text);

#endif
