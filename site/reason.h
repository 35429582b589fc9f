/*
 * reason.h - which requests count
 */
#ifndef SITE_REASON_H
#define SITE_REASON_H

#include "site/routes.h"

/* The first reason not to count the request of a job, which arrived at `now`;
 * or REASON_COUNTED. */
enum reason reason_find(const struct http_request *request,
			const struct job *job, time_t now);

/* The fields of an answer that shows a total: Cache-Control and
 * X-Visit-Counted. */
struct slice reason_fields(enum reason reason);

#endif
