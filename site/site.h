/*
 * site.h - what is served: requests to jobs, jobs to replies
 *
 * Knows no socket and nothing of a store's inside. The loop calls site_route
 * for each request as it arrives, commits the visits of all of them, and then
 * calls site_answer for each.
 */
#ifndef SITE_SITE_H
#define SITE_SITE_H

#include "http/parse.h"
#include "http/reply.h"
#include "util/date.h"
#include "util/settings.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
	SITE_SCRATCH = 16384, /* bytes that a reply may be rendered in */
	SITE_ROOM = 160,      /* bytes that a path is decoded in */
};

/* The representations, in the order that decides ties of Accept. */
enum media { MEDIA_TEXT, MEDIA_JSON, MEDIA_HTML, MEDIA_LEN };

/*
 * Which store call a request needs. A turn makes one store_add and one
 * store_items_get for all of its jobs, and one store_ping; a change of the
 * store is the only one of its turn (the others wait for the next).
 */
enum site_call { CALL_NONE, CALL_ADD, CALL_PING, CALL_ITEM, CALL_CHANGE };

/* Why a request that shows a total was not counted. */
enum reason {
	REASON_COUNTED,
	REASON_READ,
	REASON_HEAD,
	REASON_PREFETCH,
	REASON_REPEAT,
};

struct route;

/* One request of a turn, from its arrival to its reply. */
struct job {
	const struct route *route; /* NULL: refused before there was one */
	struct slice counter;	   /* whose total is asked for, if one is */
	enum http_method method;
	unsigned allowed; /* of a 405 or OPTIONS: 1 << enum http_method */
	enum media media;
	enum site_call call;
	enum reason reason;
	int minor;	   /* of its HTTP version */
	bool by_accept;	   /* Accept decided about the media */
	bool keep_alive;   /* as the client wants it */
	size_t size;	   /* bytes that the reply is expected to have */
	int status;	   /* 0, or the refusal */
	const char *error; /* why it is refused */
	int64_t id;	   /* of the item that is asked for, or was created */
	struct slice body; /* of a change; the loop fills it in */
	/* Filled in by the loop between route and answer: */
	int64_t total, today;
	struct slice item; /* as JSON */
};

/* The time of a turn, written out once a second. */
struct moment {
	time_t now;
	char date[DATE_HTTP_SIZE];
	char local[DATE_LOCAL_SIZE];
};

/* Goes by these settings, which must outlive it. */
void site_open(const struct settings *settings);

/*
 * Says what `request`, which came `now`, asks for. What is refused has
 * job->status and goes to site_answer like any other; job->call is then
 * CALL_NONE. Bodies are refused here, too, by their announced length: 413.
 *
 * A counter's name is where it was received, in the request. One with escapes
 * is decoded into `room`, which is not touched otherwise and has to live as
 * long: what was received is const, and may be parsed again.
 */
void site_route(const struct http_request *request, time_t now, struct job *job,
		char room[SITE_ROOM]);

/*
 * The job of a request that is refused with `status` and a static phrase.
 * `request` is what is known of it (its Accept may have been read before the
 * fault), or NULL.
 */
void site_refuse(struct job *job, const struct http_request *request,
		 int status, const char *why);

/*
 * Makes the change that a job with CALL_CHANGE asks for: the store's call, its
 * result in the job. One whose answer shows a total becomes a read of it:
 * job->call is then CALL_ADD.
 */
void site_change(struct job *job);

/* There was nothing of the counter that a job does not count: a read is a 404,
 * any other shows 0. */
void site_unknown(struct job *job);

/* A copy of `error` that lasts until the next call of this. */
const char *site_keep_error(const char *error);

/*
 * Fills in the reply to a job. What it needs to write it puts into `scratch`,
 * of SITE_SCRATCH bytes; the reply's slices live as long as it.
 */
void site_answer(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch);

#endif
