#include "site/body.h"

#include "util/reason.h"

void body_refuse(struct job *job, const char *why)
{
	job->status = 400;
	job->error = why;
}

bool body_read(struct job *job, struct slice body, struct json_member *members,
	       size_t len, char *room)
{
	size_t at;
	const char *fault = json_read_object(body, members, len, room, &at);

	if (fault)
		body_refuse(job, reason_write("the body: %s, at byte %zu",
					      fault, at));
	return !fault;
}
