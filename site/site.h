/*
 * site.h - what is served: requests to jobs, jobs to replies
 *
 * Knows no socket and makes no call of the store: a job says what it needs. A
 * turn calls site_route for each request as it arrives, makes the calls of all
 * jobs, and then calls site_answer for each.
 */
#ifndef SITE_SITE_H
#define SITE_SITE_H

#include "http/parse.h"
#include "http/reply.h"
#include "store/store.h"
#include "util/date.h"
#include "util/settings.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
	/* Bytes that a reply may be rendered in: an item as JSON is the largest
	 * one, and as text it is decoded first. */
	SITE_SCRATCH = 2 * STORE_ITEM_JSON_MAX + 4096,
	SITE_ROOM = 160, /* bytes that a path is decoded in */
};

/* The representations, in the order that decides ties of Accept. */
enum media { MEDIA_TEXT, MEDIA_JSON, MEDIA_HTML, MEDIA_LEN };

/* Which call of the store a job needs, and what the job has for it. */
enum site_call {
	CALL_NONE,
	CALL_ADD,    /* counter; a visit if the reason is REASON_COUNTED */
	CALL_PING,   /* nothing */
	CALL_ITEM,   /* id */
	CALL_CREATE, /* name and description of a new item */
	CALL_SET,    /* counter and value; then it goes on as CALL_ADD */
	CALL_DROP,   /* counter */
};

/* Why a request that shows a total was not counted; see reason.c. */
enum reason {
	REASON_COUNTED,
	REASON_READ,
	REASON_HEAD,
	REASON_PREFETCH,
	REASON_REPEAT,
	REASON_LEN
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
	int64_t value;	   /* that a total is set to */
	struct slice name, description; /* of a new item; p is NULL: null */
	/* Filled in between route and answer: */
	int64_t total, today;
	struct slice item; /* one that was read, as JSON */
};

/* The time of a turn, written out once a second. */
struct moment {
	time_t now;
	char date[DATE_HTTP_SIZE];
	char local[DATE_LOCAL_SIZE];
};

/* Goes by these settings, which must outlive it. */
void site_open(const struct settings *settings);

/* Which they are: for the pages. */
const struct settings *site_settings(void);

/*
 * Says what `request`, which came `now`, asks for. What is refused has
 * job->status and goes to site_answer like any other; job->call is then
 * CALL_NONE. A body is refused here, too, by its announced length: 413.
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

/* Whether the job takes what it needs from the body of its request. */
static inline bool site_takes_body(const struct job *job)
{
	return job->call == CALL_CREATE || job->call == CALL_SET;
}

/*
 * Takes it. Texts are decoded into `room`, of at least body.n bytes, and have
 * to live until the reply is rendered. A body that is refused leaves the job
 * with a status and CALL_NONE.
 */
void site_read_body(struct job *job, struct slice body, char *room);

/* There was nothing of the counter that a job does not count: a read is a 404,
 * any other shows 0. */
void site_unknown(struct job *job);

/*
 * Fills in the reply to a job. What has to be written for it is written into
 * `scratch`, of SITE_SCRATCH bytes; the reply's slices live as long as that.
 */
void site_answer(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch);

#endif
