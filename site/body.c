#include "site/body.h"

#include <stdio.h>

/* The members' texts: there is one change a turn. */
static char decoded[JSON_TEXT_MAX];

void job_refuse(struct job *job, int status, const char *why)
{
	job->status = status;
	job->error = why;
}

bool body_read(struct job *job, struct json_member *members, size_t len)
{
	static char why[128];
	size_t at;
	const char *fault =
		json_read_object(job->body, members, len, decoded, &at);

	if (!fault)
		return true;
	snprintf(why, sizeof(why), "the body: %s, at byte %zu", fault, at);
	job_refuse(job, 400, why);
	return false;
}
