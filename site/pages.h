/*
 * pages.h - the functions that render the replies of routes and read their
 * bodies
 *
 * A page fills in the body, and media type, status and fields where they differ
 * from what answer.c has set. The contracts are those of site_answer and
 * site_read_body.
 */
#ifndef SITE_PAGES_H
#define SITE_PAGES_H

#include "site/site.h"

typedef void page_fn(const struct job *job, const struct moment *moment,
		     struct http_reply *reply, char *scratch);
typedef void body_fn(struct job *job, struct slice body, char *room);

page_fn home_page;    /* the time and a total: text, JSON, HTML */
page_fn visits_page;  /* a total: text, JSON, the same page as HTML */
page_fn health_page;  /* text, JSON */
page_fn item_page;    /* an item, read or just created: text, JSON */
page_fn dropped_page; /* nothing: the counter is forgotten */
page_fn favicon_page;
page_fn robots_page;

body_fn item_body;    /* {"name": "...", "description": "..."} */
body_fn counter_body; /* {"value": 1000} */

/* The refusal in job->status, in every representation. */
page_fn error_page;

/* job->error, cut off at 1024 bytes. */
struct slice error_reason(const struct job *job);

#endif
