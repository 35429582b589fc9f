#include "site/accept.h"
#include "site/pages.h"
#include "util/text.h"
#include "store/store.h"

#define BIT(x) (1u << (x))

enum {
	READS = BIT(HTTP_GET) | BIT(HTTP_HEAD) | BIT(HTTP_OPTIONS),
	POSTS = BIT(HTTP_POST) | BIT(HTTP_OPTIONS),
	TEXT = BIT(MEDIA_TEXT),
	JSON = BIT(MEDIA_JSON),
	HTML = BIT(MEDIA_HTML),
};

/* What a path has behind the route's. */
enum rest { REST_NONE, REST_ID };

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
};

/*
 * Everything that is served. To add a page: write its function (see pages.h),
 * add a row here, a line to docs/visitd.8 and a test to tests/e2e.
 */
/* clang-format off */
static const struct route routes[] = {
	{SLICE_INIT("/"), REST_NONE, READS, CALL_ADD, COUNTS | TOTAL,
	 TEXT | JSON | HTML, MEDIA_TEXT, home_page, NULL},
	{SLICE_INIT("/visits"), REST_NONE, READS, CALL_ADD, SUFFIX | TOTAL,
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

enum {
	ROUTES_LEN = sizeof(routes) / sizeof(*routes),
	PATH_BUFFER = 64, /* a longer path is none of the table's */
};

static const struct {
	struct slice suffix;
	enum media media;
} suffixes[] = {
	{SLICE_INIT(".txt"), MEDIA_TEXT},
	{SLICE_INIT(".json"), MEDIA_JSON},
};

/* The path without escapes (the parser has seen that they are whole), or one
 * that matches nothing when it does not fit. */
static struct slice decode(struct slice path, char buffer[PATH_BUFFER])
{
	size_t n = 0;

	if (!memchr(path.p, '%', path.n))
		return path;
	for (size_t i = 0; i < path.n; i++) {
		if (n == PATH_BUFFER)
			return (struct slice){NULL, 0};
		if (path.p[i] != '%') {
			buffer[n++] = path.p[i];
			continue;
		}
		buffer[n++] = (char)(ascii_hex_value(path.p[i + 1]) * 16 +
				     ascii_hex_value(path.p[i + 2]));
		i += 2;
	}
	return (struct slice){buffer, n};
}

static bool ends_with(struct slice text, struct slice end)
{
	return text.n >= end.n &&
	       memcmp(text.p + text.n - end.n, end.p, end.n) == 0;
}

/* Takes a known suffix off the path; gives the set of media that it leaves. */
static unsigned take_suffix(struct slice *path)
{
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++) {
		if (!ends_with(*path, suffixes[i].suffix))
			continue;
		path->n -= suffixes[i].suffix.n;
		return BIT(suffixes[i].media);
	}
	return 0;
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
	return true;
}

static const struct route *find_route(struct slice path, struct slice *rest)
{
	for (size_t i = 0; i < ROUTES_LEN; i++)
		if (fits(&routes[i], path, rest))
			return &routes[i];
	return NULL;
}

/* The route of a path; *suffix are the media that its suffix names, or 0. */
static const struct route *match_path(struct slice path, unsigned *suffix,
				      struct slice *rest)
{
	const struct route *route = find_route(path, rest);

	*suffix = 0;
	if (route)
		return route;
	*suffix = take_suffix(&path);
	if (*suffix)
		route = find_route(path, rest);
	if (!route || !(route->flags & SUFFIX) || !(route->media & *suffix))
		return NULL;
	return route;
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
			 unsigned suffix)
{
	const struct route *route = job->route;
	unsigned offered = TEXT | JSON | HTML; /* of a refusal */
	enum media first = MEDIA_TEXT;

	if (suffix) {
		job->media = suffix & JSON ? MEDIA_JSON : MEDIA_TEXT;
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

/* The first refusal in the contract's order: 404, 405, 417, 413, 415. */
static int check(const struct http_request *request, const struct job *job,
		 const char **why)
{
	if (!job->route && !slice_equal(request->path, SLICE("*"))) {
		*why = "there is nothing at this path";
		return 404;
	}
	if (job->route && job->route->rest == REST_ID && job->id == 0) {
		*why = "there is no such item";
		return 404;
	}
	if (job->route && !(job->route->methods & BIT(job->method))) {
		*why = "this path does not take this method";
		return 405;
	}
	if (request->expects_unknown) {
		*why = "no expectation but 100-continue is known";
		return 417;
	}
	if (!request->chunked && request->content_length > HTTP_BODY_MAX) {
		*why = "the body is over 65536 bytes";
		return 413;
	}
	if (job->route && (job->route->flags & TAKES_JSON) &&
	    job->method != HTTP_OPTIONS && !is_json(request)) {
		*why = "the body should be application/json";
		return 415;
	}
	return 0;
}

static enum reason reason_of(const struct http_request *request,
			     const struct job *job)
{
	if (!(job->route->flags & COUNTS))
		return REASON_READ;
	if (job->method == HTTP_HEAD)
		return REASON_HEAD;
	return is_prefetch(request) ? REASON_PREFETCH : REASON_COUNTED;
}

void site_route(const struct http_request *request, struct job *job)
{
	char buffer[PATH_BUFFER];
	struct slice rest;
	unsigned suffix;

	*job = (struct job){
		.method = request->method,
		.minor = request->minor,
		.keep_alive = request->keep_alive,
		.error = "",
	};
	job->route = match_path(decode(request->path, buffer), &suffix, &rest);
	if (job->route && job->route->rest == REST_ID)
		job->id = read_id(rest);
	job->status = check(request, job, &job->error);
	choose_media(request, job, suffix);
	job->size = job->media == MEDIA_HTML ? 2048 : 512;
	if (job->status || !job->route || job->method == HTTP_OPTIONS)
		return;
	job->call = job->route->call;
	if (job->call == CALL_ITEM)
		job->size += STORE_ITEM_JSON_MAX;
	if (job->call == CALL_ADD) {
		job->counter = SLICE(STORE_HOME);
		job->reason = reason_of(request, job);
	}
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
	choose_media(request, job, 0);
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

static unsigned methods_of(const struct job *job)
{
	unsigned methods = 0;

	if (job->route)
		return job->route->methods;
	for (size_t i = 0; i < ROUTES_LEN; i++) /* OPTIONS * */
		methods |= routes[i].methods;
	return methods;
}

static char *put_allow(char *to, const struct job *job)
{
	to = text_put(to, SLICE("Allow: "));
	to = put_methods(to, methods_of(job));
	return text_put(to, SLICE("\r\n"));
}

/* What a browser asks before it sends a request to another site (CORS). */
static void answer_options(const struct job *job, struct http_reply *reply,
			   char *scratch)
{
	char *to = put_allow(scratch, job);

	to = text_put(to, SLICE("Access-Control-Allow-Methods: "));
	to = put_methods(to, methods_of(job));
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
	} else if (job->status == 503) {
		reply->fields[3] = SLICE("Retry-After: 1\r\n");
	}
	reply->fields[2] = SLICE("Cache-Control: no-store\r\n");
	(health ? health_page : error_page)(job, moment, reply, scratch);
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
#undef FRESH
	};

	if (job->route->flags & TOTAL)
		reply->fields[2] = counted[job->reason];
	else if (job->call != CALL_NONE)
		reply->fields[2] = SLICE("Cache-Control: no-store\r\n");
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
