/*
 * routes.h - what is served, a row for each kind of request of a path
 */
#ifndef SITE_ROUTES_H
#define SITE_ROUTES_H

#include "site/pages.h"

#define BIT(x) (1u << (x))

/* What a path has behind the route's. */
enum rest { REST_NONE, REST_ID, REST_NAME };

/* Flags of a route. */
enum {
	COUNTS = 1, /* GET adds a visit */
	SUFFIX = 2, /* a suffix of the path may choose the media */
	TOTAL = 4,  /* shows a total */
	TAKES_JSON = 8,
	ADMIN = 16,    /* only with the ADMIN_TOKEN */
	NOT_HOME = 32, /* of every counter but that */
};

struct route {
	struct slice path; /* whole, or up to the rest */
	enum rest rest;
	unsigned methods;    /* BIT(enum http_method) */
	enum site_call call; /* of the store */
	unsigned flags;
	unsigned media; /* BIT(enum media); 0: there is one form, its page's */
	enum media first; /* where Accept does not decide */
	page_fn *page;
	body_fn *body; /* of CALL_CREATE and CALL_SET */
};

/* A suffix of a path that chooses the media. */
struct suffix {
	struct slice text;
	enum media media; /* of a refusal, where it is not served */
	bool is_served;
};

/* What a path says. */
struct target {
	struct slice path;	     /* decoded; without its suffix, if any */
	struct slice rest;	     /* of it: what is behind the route's */
	const struct suffix *suffix; /* or NULL */
	const struct route *route;   /* or NULL: nothing is served there */
};

/* Finds what a request asks for; `room` as in site_route. */
void routes_find(const struct http_request *request, struct target *target,
		 char room[SITE_ROOM]);

/* BIT(enum http_method) of all rows of the path; of "*", all there are. */
unsigned routes_methods(struct slice path);

/* 1, 42: an id as it is given out. 0: this text names no item. */
int64_t routes_read_id(struct slice text);

#endif
