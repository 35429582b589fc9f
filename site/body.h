/*
 * body.h - the JSON object that a change of the store brings along
 */
#ifndef SITE_BODY_H
#define SITE_BODY_H

#include "site/site.h"
#include "util/json.h"

/*
 * Reads a body into the `len` members that are looked for (see
 * json_read_object); strings are decoded into `room`, of at least body.n bytes.
 * False: the job is refused, and says why and where.
 */
bool body_read(struct job *job, struct slice body, struct json_member *members,
	       size_t len, char *room);

/* Refuses a job with 400; `why` has to outlive it. */
void body_refuse(struct job *job, const char *why);

#endif
