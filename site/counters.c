/* Changes of counters: PUT and DELETE. */
#include "site/body.h"
#include "site/pages.h"
#include "util/number.h"

void counter_body(struct job *job, struct slice body, char *room)
{
	struct json_member member = {.name = SLICE_INIT("value")};

	if (!body_read(job, body, &member, 1, room))
		return;
	if (member.kind == JSON_MISSING)
		body_refuse(job, "\"value\" is missing");
	else if (member.kind != JSON_NUMBER)
		body_refuse(job, "\"value\" is not a number");
	else if (!number_read(member.value, &job->value))
		body_refuse(job, "\"value\" is not a whole number from 0 to "
				 "9223372036854775807");
}

void dropped_page(const struct job *job, const struct moment *moment,
		  struct http_reply *reply, char *scratch)
{
	(void)job;
	(void)moment;
	(void)scratch;
	reply->status = 204;
	reply->type = (struct slice){NULL, 0};
}
