/* Changes of counters: PUT and DELETE. */
#include "site/body.h"
#include "site/pages.h"
#include "store/store.h"
#include "util/number.h"

/* {"value": 1000}; refuses the body that is none. */
static bool read_value(struct job *job, int64_t *value)
{
	struct json_member member = {.name = SLICE_INIT("value")};

	if (!body_read(job, &member, 1))
		return false;
	if (member.kind == JSON_MISSING)
		job_refuse(job, 400, "\"value\" is missing");
	else if (member.kind != JSON_NUMBER)
		job_refuse(job, 400, "\"value\" is not a number");
	else if (!number_read(member.value, value))
		job_refuse(job, 400,
			   "\"value\" is not a whole number from 0 to "
			   "9223372036854775807");
	return job->status == 0;
}

void counter_set(struct job *job)
{
	int64_t value;

	if (!read_value(job, &value))
		return;
	int status = store_set(job->counter, value);
	if (status) {
		error_of_store(job, status);
		return;
	}
	job->call = CALL_ADD;
	job->reason = REASON_READ;
}

void counter_drop(struct job *job)
{
	int status = store_drop(job->counter);

	if (status)
		error_of_store(job, status);
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
