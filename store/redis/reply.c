/* What Redis answers, and how it fails. */
#include "store/redis/redis.h"

#include "store/failure.h"
#include "util/number.h"

#include <string.h>

struct slice redis_text(const redisReply *reply)
{
	return (struct slice){reply->str, reply->len};
}

bool redis_is_text(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING;
}

/* The words of an error, without the place in a script that Redis adds. */
static struct slice error_words(const redisReply *reply)
{
	const char *end = strstr(reply->str, " script: ");

	return (struct slice){reply->str, end ? (size_t)(end - reply->str)
					      : strlen(reply->str)};
}

/* A reply that is none of those that were expected, or did not come. */
int redis_fail(size_t command, const char *key)
{
	const redisReply *reply = pipeline_reply(command);

	if (!reply)
		return fail("%s", pipeline_why(command));
	if (reply->type != REDIS_REPLY_ERROR)
		return fail("%s: an unexpected reply about %s",
			    pipeline_name(command), key);
	struct slice words = error_words(reply);
	if (strncmp(words.p, "WRONGTYPE", 9) == 0)
		return fail_garbage("%s says of %s: %.*s",
				    pipeline_name(command), key, (int)words.n,
				    words.p);
	return fail("%s says: %.*s", pipeline_name(command), (int)words.n,
		    words.p);
}

int redis_fail_text(size_t command, const char *key, struct slice text)
{
	return fail_garbage("%s: %s is not understood: it holds \"%.*s\"%s",
			    pipeline_name(command), key,
			    text.n < 32 ? (int)text.n : 32, text.p,
			    text.n > 32 ? " ..." : "");
}

bool redis_is_error(const redisReply *reply, const char *part)
{
	return reply && reply->type == REDIS_REPLY_ERROR &&
	       strstr(reply->str, part);
}

static int fail_full(void)
{
	fail_own("there are MAX_COUNTERS=%d counters",
		 pipeline_settings()->max_counters);
	return 507;
}

const char *redis_word(size_t command, size_t texts)
{
	const redisReply *reply = pipeline_reply(command);

	if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements < 1 ||
	    !redis_is_text(reply->element[0]))
		return NULL;
	const char *word = reply->element[0]->str;
	if (strcmp(word, "garbage") == 0)
		texts = 1;
	else if (strcmp(word, "ok") != 0)
		texts = 0;
	for (size_t i = 1; i <= texts; i++)
		if (i >= reply->elements || !redis_is_text(reply->element[i]))
			return NULL;
	return word;
}

struct slice redis_word_text(size_t command, size_t i)
{
	return redis_text(pipeline_reply(command)->element[i]);
}

int redis_judge(size_t command, const char *key, size_t texts)
{
	const char *word = redis_word(command, texts);

	if (!word)
		return redis_fail(command, key);
	if (strcmp(word, "full") == 0)
		return fail_full();
	if (strcmp(word, "garbage") == 0)
		return redis_fail_text(command, key,
				       redis_word_text(command, 1));
	return strcmp(word, "new") == 0 ? -1 : 0;
}

/* As Redis reads it: 007 is none. */
bool redis_read_total(struct slice text, int64_t *total)
{
	return number_read(text, total) && (text.n == 1 || *text.p != '0');
}
