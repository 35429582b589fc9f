/*
 * routes.h - the table of routes, and how a request is matched to one
 */
#ifndef SITE_ROUTES_H
#define SITE_ROUTES_H

#include "site/pages.h"

#define BIT(x) (1u << (x))

/* What may follow the path of a route: nothing; an id; nothing, for the home
 * counter, or a slash and the name of a counter. */
enum rest { REST_NONE, REST_ID, REST_NAME };

/* Flags of a route. */
enum {
	COUNTS = 1, /* GET adds a visit */
	SUFFIX = 2, /* a suffix of the path may choose the media */
	TOTAL = 4,  /* shows a total */
	TAKES_JSON = 8,
	ADMIN = 16,	 /* only with the ADMIN_TOKEN */
	NOT_HOME = 32,	 /* only with a name, and not the home counter's */
	NULL_VALUE = 64, /* an error as JSON has "value":null beside it */
};

struct route {
	struct slice path; /* the whole path, or the part before the rest */
	enum rest rest;
	unsigned methods;    /* BIT(enum http_method) */
	enum site_call call; /* of the store */
	unsigned flags;
	unsigned media;	  /* BIT(enum media); 0: the page has one form */
	enum media first; /* if Accept does not decide */
	page_fn *page;
	body_fn *body; /* of CALL_CREATE and CALL_SET */
};

/* A suffix of a path that chooses the media. */
struct suffix {
	struct slice text;
	enum media media; /* of a refusal, where it is not served */
	bool is_served;
};

/* A path that was matched. */
struct target {
	/* As it was sent, without BASE_PATH; empty if that is all of it. */
	struct slice sent;
	struct slice path;	     /* decoded; without its suffix, if any */
	struct slice rest;	     /* the id or the name; p is NULL: none */
	const struct suffix *suffix; /* or NULL */
	const struct route *route;   /* or NULL: 404 */
};

/* Matches the path of a request; `room` as in site_route. */
void routes_find(const struct http_request *request, struct target *target,
		 char room[SITE_ROOM]);

/* BIT(enum http_method) of all rows of a path; for "*", of all rows. */
unsigned routes_methods(struct slice path);

/* An id as it is written in a path: 1, 42. Gives 0 for any other text. */
int64_t routes_read_id(struct slice text);

#endif
