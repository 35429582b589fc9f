/*
 * reason.h - who counts
 */
#ifndef SITE_REASON_H
#define SITE_REASON_H

#include "site/routes.h"

/* Why the request of a job, which came `now`, is not counted: the first reason
 * of the table that applies; or REASON_COUNTED. */
enum reason reason_find(const struct http_request *request,
			const struct job *job, time_t now);

/* The fields of an answer that shows a total: Cache-Control and
 * X-Visit-Counted. */
struct slice reason_fields(enum reason reason);

#endif
