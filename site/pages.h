/*
 * pages.h - who renders which route, for the table in routes.c
 *
 * Each fills in the media type, the body and the fields of its own; what all
 * replies carry comes from routes.c. Contracts are those of site_answer.
 */
#ifndef SITE_PAGES_H
#define SITE_PAGES_H

#include "site/site.h"

typedef void page_fn(const struct job *job, const struct moment *moment,
		     struct http_reply *reply, char *scratch);

page_fn home_page;    /* the time and a total: text, JSON, HTML */
page_fn visits_page;  /* a total: text, JSON, the same page as HTML */
page_fn health_page;  /* text, JSON */
page_fn item_page;    /* an item, read or just created: text, JSON */
page_fn dropped_page; /* nothing: the counter is forgotten */
page_fn favicon_page;
page_fn robots_page;

/* The refusal in job->status, in every representation. */
page_fn error_page;

/* POST /items: reads job->body and creates the item. */
void items_create(struct job *job);

/* PUT: reads job->body and sets the total of job->counter; the job then goes on
 * as one that reads it. */
void counter_set(struct job *job);

/* DELETE: forgets job->counter. */
void counter_drop(struct job *job);

/* The refusal of a change by the store, which says why by store_error(). */
void error_of_store(struct job *job, int status);

/* What job->error says, or that its counter is not there; as much of it as is
 * told: 1024 bytes at most. Valid until the next call. */
struct slice error_reason(const struct job *job);

#endif
