/*
 * body.h - the JSON object that a change of the store brings along
 */
#ifndef SITE_BODY_H
#define SITE_BODY_H

#include "site/site.h"
#include "util/json.h"

/*
 * Reads job->body into the `len` members that are looked for (see
 * json_read_object); their decoded strings are valid until the next call.
 * False: it is refused, and the job says why and where.
 */
bool body_read(struct job *job, struct json_member *members, size_t len);

/* Refuses a job; `why` has to outlive it. */
void job_refuse(struct job *job, int status, const char *why);

#endif
