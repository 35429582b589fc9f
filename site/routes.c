#include "site/accept.h"
#include "site/admin.h"
#include "site/pages.h"
#include "site/repeat.h"
#include "util/text.h"
#include "store/store.h"

#define BIT(x) (1u << (x))

enum {
	READS = BIT(HTTP_GET) | BIT(HTTP_HEAD) | BIT(HTTP_OPTIONS),
	POSTS = BIT(HTTP_POST) | BIT(HTTP_OPTIONS),
	PUTS = BIT(HTTP_PUT),
	DELETES = BIT(HTTP_DELETE),
	TEXT = BIT(MEDIA_TEXT),
	JSON = BIT(MEDIA_JSON),
	HTML = BIT(MEDIA_HTML),
};

/* What a path has behind the route's. */
enum rest { REST_NONE, REST_ID, REST_NAME };

struct route {
	struct slice path; /* whole, or up to the rest */
	enum rest rest;
	unsigned methods;    /* BIT(enum http_method) */
	enum site_call call; /* what the loop asks the store for */
	unsigned flags;
	unsigned media;	  /* BIT(enum media) */
	enum media first; /* where Accept does not decide */
	page_fn *page;
	void (*change)(struct job *job); /* with CALL_CHANGE */
};

/* Flags of a route. */
enum {
	COUNTS = 1, /* GET adds a visit */
	SUFFIX = 2, /* a suffix of the path may choose the media */
	TOTAL = 4,  /* shows a total */
	TAKES_JSON = 8,
	ADMIN = 16,    /* only with the ADMIN_TOKEN */
	NOT_HOME = 32, /* of every counter but that */
};

/*
 * Everything that is served. A path has a row for each kind of request that it
 * takes; the first one tells how a refusal looks. To add a page: write its
 * function (see pages.h), add a row here, a line to docs/visitd.8 and a test to
 * tests/e2e.
 */
/* clang-format off */
static const struct route routes[] = {
	{SLICE_INIT("/"), REST_NONE, READS, CALL_ADD, COUNTS | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, home_page, NULL},
	{SLICE_INIT("/hit"), REST_NONE, READS, CALL_ADD,
	 SUFFIX | COUNTS | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, home_page, NULL},
	{SLICE_INIT("/hit/"), REST_NAME, READS, CALL_ADD,
	 SUFFIX | COUNTS | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, home_page, NULL},
	{SLICE_INIT("/visits"), REST_NONE, READS, CALL_ADD, SUFFIX | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, visits_page, NULL},
	{SLICE_INIT("/visits"), REST_NONE, PUTS, CALL_CHANGE,
	 SUFFIX | TOTAL | TAKES_JSON | ADMIN,
	 TEXT | JSON, MEDIA_JSON, visits_page, counter_set},
	{SLICE_INIT("/visits/"), REST_NAME, READS, CALL_ADD, SUFFIX | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, visits_page, NULL},
	{SLICE_INIT("/visits/"), REST_NAME, PUTS, CALL_CHANGE,
	 SUFFIX | TOTAL | TAKES_JSON | ADMIN,
	 TEXT | JSON, MEDIA_JSON, visits_page, counter_set},
	{SLICE_INIT("/visits/"), REST_NAME, DELETES, CALL_CHANGE,
	 SUFFIX | ADMIN | NOT_HOME,
	 TEXT | JSON, MEDIA_JSON, dropped_page, counter_drop},
	{SLICE_INIT("/get/"), REST_NAME, READS, CALL_ADD, SUFFIX | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, visits_page, NULL},
	{SLICE_INIT("/items"), REST_NONE, POSTS, CALL_CHANGE, TAKES_JSON,
	 TEXT | JSON, MEDIA_JSON, item_page, items_create},
	{SLICE_INIT("/items/"), REST_ID, READS, CALL_ITEM, 0,
	 TEXT | JSON, MEDIA_JSON, item_page, NULL},
	{SLICE_INIT("/health"), REST_NONE, READS, CALL_PING, 0,
	 TEXT | JSON, MEDIA_JSON, health_page, NULL},
	{SLICE_INIT("/favicon.ico"), REST_NONE, READS, CALL_NONE, 0,
	 0, MEDIA_TEXT, favicon_page, NULL},
	{SLICE_INIT("/robots.txt"), REST_NONE, READS, CALL_NONE, 0,
	 0, MEDIA_TEXT, robots_page, NULL},
};
/* clang-format on */

enum { ROUTES_LEN = sizeof(routes) / sizeof(*routes) };

/*
 * The longest first. A name that ends in one of them is reached with another
 * one behind it; those of the badges are kept for them, so that no name grows
 * that could not be reached later.
 */
static const struct suffix {
	struct slice text;
	enum media media; /* of a refusal, where it is not served */
	bool is_served;
} suffixes[] = {
	{SLICE_INIT(".shields.json"), MEDIA_JSON, false},
	{SLICE_INIT(".json"), MEDIA_JSON, true},
	{SLICE_INIT(".txt"), MEDIA_TEXT, true},
	{SLICE_INIT(".svg"), MEDIA_TEXT, false},
	{SLICE_INIT(".gif"), MEDIA_TEXT, false},
};

/* What a path says. */
struct target {
	struct slice path;	     /* decoded; without its suffix, if any */
	struct slice rest;	     /* of it: what is behind the route's */
	const struct suffix *suffix; /* or NULL */
	const struct route *route;   /* or NULL */
};

static const struct settings *settings;

void site_open(const struct settings *by)
{
	settings = by;
}

/* An escaped slash is none: it becomes NUL, which is part of no path (the
 * parser refuses %00) and of no name. */
static char decode_byte(const char *escape)
{
	char c = (char)(ascii_hex_value(escape[1]) * 16 +
			ascii_hex_value(escape[2]));

	return c == '/' ? '\0' : c;
}

/* The path without escapes (the parser has seen that they are whole). What
 * does not fit is cut off: it is too long for a name and for the table, too. */
static struct slice decode(struct slice path, char room[SITE_ROOM])
{
	size_t n = 0;

	if (!memchr(path.p, '%', path.n))
		return path;
	for (size_t i = 0; i < path.n && n < SITE_ROOM; i++) {
		if (path.p[i] != '%') {
			room[n++] = path.p[i];
			continue;
		}
		room[n++] = decode_byte(path.p + i);
		i += 2;
	}
	return (struct slice){room, n};
}

static bool ends_with(struct slice text, struct slice end)
{
	return text.n >= end.n &&
	       memcmp(text.p + text.n - end.n, end.p, end.n) == 0;
}

static const struct suffix *find_suffix(struct slice path)
{
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (ends_with(path, suffixes[i].text))
			return &suffixes[i];
	return NULL;
}

/* Whether the path is that of the route; *rest is what is behind it. */
static bool fits(const struct route *route, struct slice path,
		 struct slice *rest)
{
	if (route->rest == REST_NONE)
		return slice_equal(path, route->path);
	if (path.n < route->path.n ||
	    memcmp(path.p, route->path.p, route->path.n) != 0)
		return false;
	*rest = slice_after(path, route->path.n);
	return !(route->flags & NOT_HOME) || !store_is_home(*rest);
}

/* The row of the path and the method; without one, the first of the path. */
static void find_route(struct target *target, enum http_method method)
{
	target->route = NULL;
	for (size_t i = 0; i < ROUTES_LEN; i++) {
		bool takes = routes[i].methods & BIT(method);

		if ((target->route && !takes) ||
		    !fits(&routes[i], target->path, &target->rest))
			continue;
		target->route = &routes[i];
		if (takes)
			return;
	}
}

/* What all rows of the path take; of "*", all there are. */
static unsigned methods_at(struct slice path)
{
	bool is_all = slice_equal(path, SLICE("*"));
	unsigned methods = 0;
	struct slice rest;

	for (size_t i = 0; i < ROUTES_LEN; i++)
		if (is_all || fits(&routes[i], path, &rest))
			methods |= routes[i].methods;
	return methods;
}

static void read_path(const struct http_request *request, struct target *target,
		      char room[SITE_ROOM])
{
	*target = (struct target){.path = decode(request->path, room)};
	find_route(target, request->method);
	if (target->route && !(target->route->flags & SUFFIX))
		return;
	target->suffix = find_suffix(target->path);
	if (!target->suffix)
		return;
	target->path.n -= target->suffix->text.n;
	find_route(target, request->method);
	if (target->route &&
	    (!(target->route->flags & SUFFIX) || !target->suffix->is_served))
		target->route = NULL;
}

/* 1, 42: an id as it was given. 0: this text names no item. */
static int64_t read_id(struct slice text)
{
	int64_t id = 0;

	return text.n > 0 && text.p[0] != '0' && number_read(text, &id) ? id
									: 0;
}

static bool is_prefetch(const struct http_request *request)
{
	static const struct slice names[] = {
		SLICE_INIT("sec-purpose"),
		SLICE_INIT("purpose"),
		SLICE_INIT("x-moz"),
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct slice value = http_field_value(request, names[i]);
		/* "prefetch;prerender" is a prefetch, too. */
		struct slice purpose = slice_take(&value, ';');

		if (slice_same_word(purpose, SLICE("prefetch")))
			return true;
	}
	return false;
}

static void choose_media(const struct http_request *request, struct job *job,
			 const struct suffix *suffix)
{
	const struct route *route = job->route;
	unsigned offered = TEXT | JSON | HTML; /* of a refusal */
	enum media first = MEDIA_TEXT;

	if (suffix) {
		job->media = suffix->media;
		return;
	}
	if (route && !route->media && !job->status)
		return; /* there is one form of it */
	if (route && route->media) {
		offered = route->media;
		first = route->first;
	}
	job->media = accept_media(request, offered, first);
	job->by_accept = true;
}

/* No Content-Type counts as JSON; its parameters say nothing here. */
static bool is_json(const struct http_request *request)
{
	struct slice type = http_field_value(request, SLICE("content-type"));

	return !type.p || slice_same_word(slice_take(&type, ';'),
					  SLICE("application/json"));
}

/* 404, or 400 for a name that can be none. */
static int check_path(const struct target *target, const char **why)
{
	const char *fault;

	if (!target->route && !slice_equal(target->path, SLICE("*"))) {
		*why = "there is nothing at this path";
		return 404;
	}
	if (target->route && target->route->rest == REST_ID &&
	    read_id(target->rest) == 0) {
		*why = "there is no such item";
		return 404;
	}
	if (target->route && target->route->rest == REST_NAME &&
	    (fault = store_name_fault(target->rest))) {
		*why = fault;
		return 400;
	}
	return 0;
}

/* 405, and 401 or 403 */
static int check_method(const struct http_request *request,
			const struct route *route, const char **why)
{
	if (!(route->methods & BIT(request->method))) {
		*why = "this path does not take this method";
		return 405;
	}
	if (route->flags & ADMIN)
		return admin_check(request, settings->admin_token, why);
	return 0;
}

/* 417, 413, 415; and 400 for a part of a body (RFC 9110 14.5) */
static int check_body(const struct http_request *request,
		      const struct route *route, const char **why)
{
	if (request->expects_unknown) {
		*why = "no expectation but 100-continue is known";
		return 417;
	}
	if (!request->chunked && request->content_length > HTTP_BODY_MAX) {
		*why = "the body is over 65536 bytes";
		return 413;
	}
	if (route && (route->flags & TAKES_JSON) &&
	    request->method != HTTP_OPTIONS && !is_json(request)) {
		*why = "the body should be application/json";
		return 415;
	}
	if (request->method == HTTP_PUT &&
	    http_field_value(request, SLICE("content-range")).p) {
		*why = "Content-Range: a total is set as a whole";
		return 400;
	}
	return 0;
}

/* The first refusal, in the contract's order. */
static int check(const struct http_request *request,
		 const struct target *target, const char **why)
{
	int status = check_path(target, why);

	if (!status && target->route)
		status = check_method(request, target->route, why);
	return status ? status : check_body(request, target->route, why);
}

static enum reason reason_of(const struct http_request *request, time_t now,
			     const struct job *job)
{
	if (!(job->route->flags & COUNTS))
		return REASON_READ;
	if (job->method == HTTP_HEAD)
		return REASON_HEAD;
	if (is_prefetch(request))
		return REASON_PREFETCH;
	if (settings->repeat_window &&
	    repeat_is_known(request, job->counter, now,
			    settings->repeat_window))
		return REASON_REPEAT;
	return REASON_COUNTED;
}

/* What the store is asked for: about an item, or a counter, if at all. */
static void ask_store(const struct http_request *request, time_t now,
		      struct job *job, struct slice rest)
{
	const struct route *route = job->route;

	job->call = route->call;
	if (route->rest == REST_ID) {
		job->id = read_id(rest);
		job->size += STORE_ITEM_JSON_MAX;
	}
	if (route->rest == REST_NAME)
		job->counter = rest;
	else if (route->flags & TOTAL)
		job->counter = SLICE(STORE_HOME);
	if (job->call == CALL_ADD)
		job->reason = reason_of(request, now, job);
}

void site_route(const struct http_request *request, time_t now, struct job *job,
		char room[SITE_ROOM])
{
	struct target target;

	*job = (struct job){
		.method = request->method,
		.minor = request->minor,
		.keep_alive = request->keep_alive,
		.error = "",
	};
	read_path(request, &target, room);
	job->route = target.route;
	job->status = check(request, &target, &job->error);
	choose_media(request, job, target.suffix);
	job->size = job->media == MEDIA_HTML ? 2048 : 512;
	if (job->status == 405 || job->method == HTTP_OPTIONS)
		job->allowed = methods_at(target.path);
	if (!job->status && job->route && job->method != HTTP_OPTIONS)
		ask_store(request, now, job, target.rest);
}

void site_change(struct job *job)
{
	job->route->change(job);
}

void site_refuse(struct job *job, const struct http_request *request,
		 int status, const char *why)
{
	*job = (struct job){.status = status, .error = why, .minor = 1};
	if (!request)
		return;
	job->method = request->method;
	choose_media(request, job, NULL);
}

/* "GET, HEAD, OPTIONS" */
static char *put_methods(char *to, unsigned methods)
{
	const char *start = to;

	for (int i = 0; i < HTTP_METHODS; i++) {
		if (!(methods & BIT(i)))
			continue;
		if (to > start)
			to = text_put(to, SLICE(", "));
		to = text_put(to, http_method_names[i]);
	}
	return to;
}

static char *put_allow(char *to, const struct job *job)
{
	to = text_put(to, SLICE("Allow: "));
	to = put_methods(to, job->allowed);
	return text_put(to, SLICE("\r\n"));
}

/* What a browser asks before it sends a request to another site (CORS). */
static void answer_options(const struct job *job, struct http_reply *reply,
			   char *scratch)
{
	char *to = put_allow(scratch, job);

	to = text_put(to, SLICE("Access-Control-Allow-Methods: "));
	to = put_methods(to, job->allowed);
	to = text_put(to, SLICE("\r\nAccess-Control-Allow-Headers: "
				"Authorization, Content-Type\r\n"
				"Access-Control-Max-Age: 86400\r\n"));
	reply->status = 204;
	reply->type = (struct slice){NULL, 0};
	reply->fields[3] = (struct slice){scratch, (size_t)(to - scratch)};
}

static void answer_refusal(const struct job *job, const struct moment *moment,
			   struct http_reply *reply, char *scratch)
{
	bool health = job->call == CALL_PING;

	reply->status = job->status;
	if (job->status == 405) {
		char *end = put_allow(scratch, job);

		reply->fields[3] =
			(struct slice){scratch, (size_t)(end - scratch)};
		scratch = end;
	} else if (job->status == 401) {
		reply->fields[3] = SLICE("WWW-Authenticate: Bearer\r\n");
	} else if (job->status == 503) {
		reply->fields[3] = SLICE("Retry-After: 1\r\n");
	}
	reply->fields[2] = SLICE("Cache-Control: no-store\r\n");
	(health ? health_page : error_page)(job, moment, reply, scratch);
}

/* Gives what is left of the scratch. */
static char *set_cookie(const struct job *job, time_t now,
			struct http_reply *reply, char *scratch)
{
	char *end = repeat_put_cookie(scratch, job->counter, now,
				      settings->repeat_window);

	reply->fields[3] = (struct slice){scratch, (size_t)(end - scratch)};
	return end;
}

static void answer_page(const struct job *job, const struct moment *moment,
			struct http_reply *reply, char *scratch)
{
	static const struct slice counted[] = {
#define FRESH                                                               \
	"Cache-Control: max-age=0, no-cache, no-store, must-revalidate\r\n" \
	"X-Visit-Counted: "
		[REASON_COUNTED] = SLICE_INIT(FRESH "1\r\n"),
		[REASON_READ] = SLICE_INIT(FRESH "0; reason=read\r\n"),
		[REASON_HEAD] = SLICE_INIT(FRESH "0; reason=head\r\n"),
		[REASON_PREFETCH] = SLICE_INIT(FRESH "0; reason=prefetch\r\n"),
		[REASON_REPEAT] = SLICE_INIT(FRESH "0; reason=repeat\r\n"),
#undef FRESH
	};

	if (job->route->flags & TOTAL)
		reply->fields[2] = counted[job->reason];
	else if (job->call != CALL_NONE)
		reply->fields[2] = SLICE("Cache-Control: no-store\r\n");
	if ((job->route->flags & COUNTS) && job->reason == REASON_COUNTED &&
	    settings->repeat_window)
		scratch = set_cookie(job, moment->now, reply, scratch);
	job->route->page(job, moment, reply, scratch);
}

void site_answer(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch)
{
	static const struct slice common[] = {
#define NOSNIFF "X-Content-Type-Options: nosniff\r\n"
		SLICE_INIT(NOSNIFF "Access-Control-Allow-Origin: *\r\n"),
		SLICE_INIT(NOSNIFF
			   "Content-Security-Policy: default-src 'none'; "
			   "base-uri 'none'; form-action 'none'; "
			   "frame-ancestors 'none'\r\n"),
#undef NOSNIFF
	};

	*reply = (struct http_reply){
		.status = 200,
		.type = media_types[job->media],
		.head = job->method == HTTP_HEAD,
	};
	reply->fields[0] =
		common[job->media == MEDIA_HTML && job->method != HTTP_OPTIONS];
	if (job->by_accept)
		reply->fields[1] = SLICE("Vary: Accept\r\n");
	if (job->status)
		answer_refusal(job, moment, reply, scratch);
	else if (job->method == HTTP_OPTIONS)
		answer_options(job, reply, scratch);
	else
		answer_page(job, moment, reply, scratch);
}
