/*
 * site.h - what is served: requests become jobs, jobs become replies
 *
 * The site does no I/O and makes no call of the store: a job says which call it
 * needs. A turn calls site_route for each request, makes the store calls of all
 * jobs, and then calls site_answer for each job.
 */
#ifndef SITE_SITE_H
#define SITE_SITE_H

#include "http/parse.h"
#include "http/reply.h"
#include "store/store.h"
#include "util/date.h"
#include "util/process.h"
#include "util/settings.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
	/* Bytes to render a reply in. The largest one is an item as text, whose
	 * JSON is decoded first. */
	SITE_SCRATCH = 2 * STORE_ITEM_JSON_MAX + 4096,
	SITE_ROOM = 160, /* bytes for a decoded path */
};

/* The representations; ties of Accept go to the first. */
enum media { MEDIA_TEXT, MEDIA_JSON, MEDIA_HTML, MEDIA_LEN };

/* The call of the store that a job needs, with the members it takes. */
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
	const struct route *route; /* NULL: refused before routing */
	union {
		struct slice counter; /* of calls about a counter */
		struct slice sent;    /* of a 308: path and query, as sent */
	};
	enum http_method method;
	unsigned allowed; /* of a 405 or OPTIONS: 1 << enum http_method */
	enum media media;
	enum site_call call;
	enum reason reason;
	int minor;	 /* of its HTTP version */
	bool by_accept;	 /* Accept decided about the media */
	bool keep_alive; /* the client keeps the connection */
	/* Slashes of the sent path below BASE_PATH, after the first one. */
	size_t depth;
	size_t size;	   /* expected bytes of the reply */
	int status;	   /* 0, or the refusal */
	const char *error; /* why it is refused */
	int64_t id;	   /* of the item that is read, or was made */
	int64_t value;	   /* that a total is set to */
	struct slice name, description; /* of a new item; p is NULL: null */
	/* Filled in between route and answer: */
	int64_t total, today;
	struct slice item; /* one that was read, as JSON */
};

/* The time of a turn, formatted. */
struct moment {
	time_t now;
	char date[DATE_HTTP_SIZE];
	char local[DATE_LOCAL_SIZE];
};

/* Sets what pages may need to know; both must outlive the site. */
void site_open(const struct settings *settings, const struct process *process);
const struct settings *site_settings(void);
const struct process *site_process(void);

/*
 * Makes a job of a request that arrived at `now`. A refused one has a status,
 * CALL_NONE, and is answered like any other; a body whose announced length is
 * over the limit is refused here, too (413).
 *
 * The counter's name points into the request; a path with escapes is decoded
 * into `room`, which must live as long as the job. (It is not decoded in place,
 * since the bytes may have to be parsed again.)
 */
void site_route(const struct http_request *request, time_t now, struct job *job,
		char room[SITE_ROOM]);

/*
 * Makes a job that refuses a request with `status` and a static phrase.
 * `request` holds what was parsed before the fault (Accept may be among it), or
 * is NULL.
 */
void site_refuse(struct job *job, const struct http_request *request,
		 int status, const char *why);

/* Whether the job needs the body of its request. */
static inline bool site_takes_body(const struct job *job)
{
	return job->call == CALL_CREATE || job->call == CALL_SET;
}

/*
 * Reads the body of a job. Texts are decoded into `room`, of at least body.n
 * bytes, which must live until the reply is rendered. If the body is refused
 * the job has a status and CALL_NONE.
 */
void site_read_body(struct job *job, struct slice body, char *room);

/* The counter of a job that is not counted does not exist: a read is a 404, any
 * other job shows 0. */
void site_unknown(struct job *job);

/*
 * Fills in the reply to a job. Text is rendered into `scratch`, of SITE_SCRATCH
 * bytes; the slices of the reply live as long as scratch and job.
 */
void site_answer(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch);

#endif
