#include "store/redis/reply.h"

#include "store/failure.h"
#include "store/net/pipeline.h"
#include "util/number.h"

#include <string.h>

enum { SHOWN_MAX = 32 /* bytes of a text that are shown in a reason */ };

struct redis_answer redis_answer_to(size_t command)
{
	return (struct redis_answer){
		.reply = pipeline_reply(command),
		.why = pipeline_why(command),
		.fault = pipeline_fault(command),
		.server = pipeline_name(command),
	};
}

bool redis_is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING;
}

struct slice redis_text(const redisReply *reply)
{
	return (struct slice){reply->str, reply->len};
}

bool redis_is_error(const redisReply *reply, const char *part)
{
	return reply && reply->type == REDIS_REPLY_ERROR &&
	       strstr(reply->str, part);
}

bool redis_read_total(struct slice text, int64_t *total)
{
	return number_read(text, total) && (text.n == 1 || *text.p != '0');
}

/* The text of an error, without the position in a script that Redis appends. */
static struct slice reply_error_text(const redisReply *reply)
{
	const char *end = strstr(reply->str, " script: ");

	return (struct slice){reply->str, end ? (size_t)(end - reply->str)
					      : strlen(reply->str)};
}

int redis_fail(const struct redis_answer *answer, const char *key)
{
	const redisReply *reply = answer->reply;

	if (!reply)
		return fail_as(answer->fault, "%s", answer->why);
	if (reply->type != REDIS_REPLY_ERROR)
		return fail("%s: an unexpected reply about %s", answer->server,
			    key);
	struct slice text = reply_error_text(reply);
	if (resp_is_error(reply, "WRONGTYPE"))
		return fail_garbage("%s says of %s: %.*s", answer->server, key,
				    (int)text.n, text.p);
	return fail_as(resp_fault(reply->str), "%s says: %.*s", answer->server,
		       (int)text.n, text.p);
}

int redis_fail_text(const struct redis_answer *answer, const char *key,
		    struct slice text)
{
	return fail_garbage("%s: %s is not understood: it holds \"%.*s\"%s",
			    answer->server, key,
			    text.n < SHOWN_MAX ? (int)text.n : SHOWN_MAX,
			    text.p, text.n > SHOWN_MAX ? " ..." : "");
}

/* Whether a script has answered this word and at least so many texts. */
static bool reply_says(const redisReply *reply, const char *word, size_t texts)
{
	if (!reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements < 1 + texts)
		return false;
	for (size_t i = 0; i <= texts; i++)
		if (!redis_is_text(reply->element[i]))
			return false;
	return strcmp(reply->element[0]->str, word) == 0;
}

int redis_judge(const struct redis_answer *answer, const char *key,
		size_t texts)
{
	const redisReply *reply = answer->reply;

	if (reply_says(reply, "ok", texts))
		return 0;
	if (reply_says(reply, "new", 0))
		return -1;
	if (reply_says(reply, "garbage", 1))
		return redis_fail_text(answer, key,
				       redis_text(reply->element[1]));
	if (!reply_says(reply, "full", 0))
		return redis_fail(answer, key);
	fail_own("there are MAX_COUNTERS=%d counters",
		 pipeline_settings()->max_counters);
	return 507;
}
