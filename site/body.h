/*
 * body.h - JSON bodies of requests that change the store
 */
#ifndef SITE_BODY_H
#define SITE_BODY_H

#include "site/site.h"
#include "util/json.h"

/*
 * Reads the `len` members that are looked for (see json_read_object) out of a
 * body; strings are decoded into `room`, of at least body.n bytes. False: the
 * job is refused, with the fault and its offset.
 */
bool body_read(struct job *job, struct slice body, struct json_member *members,
	       size_t len, char *room);

/* Refuses a job with 400; `why` has to outlive it. */
void body_refuse(struct job *job, const char *why);

#endif
