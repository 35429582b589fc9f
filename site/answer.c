/* Makes jobs of requests and replies of jobs: what all pages have in common. */
#include "site/accept.h"
#include "site/checks.h"
#include "site/reason.h"
#include "site/repeat.h"
#include "util/reason.h"
#include "util/text.h"

static const struct settings *settings;
static const struct process *process;

void site_open(const struct settings *of_server,
	       const struct process *of_master)
{
	settings = of_server;
	process = of_master;
}

const struct process *site_process(void)
{
	return process;
}

const struct settings *site_settings(void)
{
	return settings;
}

static void answer_choose_media(const struct http_request *request,
				struct job *job, const struct suffix *suffix)
{
	const struct route *route = job->route;
	unsigned offered = BIT(MEDIA_LEN) - 1; /* of a refusal */
	enum media first = MEDIA_TEXT;

	if (suffix) {
		job->media = suffix->media;
		return;
	}
	if (route && !route->media && !job->status)
		return; /* the page has one form */
	if (route && route->media) {
		offered = route->media;
		first = route->first;
	}
	job->media = accept_media(request, offered, first);
	job->by_accept = true;
}

/* Fills in the call of the store, and what it is about. */
static void answer_ask_store(const struct http_request *request, time_t now,
			     struct job *job, struct slice rest)
{
	const struct route *route = job->route;

	job->call = route->call;
	if (route->rest == REST_ID) {
		job->id = routes_read_id(rest);
		job->size += STORE_ITEM_JSON_MAX;
	}
	if (route->rest == REST_NAME && rest.p)
		job->counter = rest;
	else if (route->flags & TOTAL)
		job->counter = SLICE(STORE_HOME);
	if (job->call == CALL_ADD)
		job->reason = reason_find(request, job, now);
}

/* BASE_PATH without the slash at its end. */
static void answer_redirect(const struct http_request *request, struct job *job)
{
	job->sent = request->path;
	if (request->query.n > 0)
		job->sent.n = (size_t)(request->query.p + request->query.n -
				       request->path.p);
	job->size += job->sent.n;
}

/* The slashes of the path as it was sent, after the first one. */
static size_t answer_depth(struct slice path)
{
	size_t n = 0;

	for (size_t i = 1; i < path.n; i++)
		n += path.p[i] == '/';
	return n;
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
	routes_find(request, &target, room);
	job->route = target.route;
	job->depth = answer_depth(target.sent);
	job->status = checks_refuse(request, &target, &job->error);
	answer_choose_media(request, job, target.suffix);
	job->size = job->media == MEDIA_HTML ? 2048 : 512;
	if (job->status == 308)
		answer_redirect(request, job);
	if (job->status == 405 || job->method == HTTP_OPTIONS)
		job->allowed = routes_methods(target.path);
	if (!job->status && job->route && job->method != HTTP_OPTIONS)
		answer_ask_store(request, now, job, target.rest);
}

void site_read_body(struct job *job, struct slice body, char *room)
{
	job->route->body(job, body, room);
	if (job->status)
		job->call = CALL_NONE;
}

void site_unknown(struct job *job)
{
	job->total = job->today = 0;
	if (job->reason != REASON_READ)
		return;
	job->status = 404;
	job->error = reason_write("no counter \"%.*s\"", (int)job->counter.n,
				  job->counter.p);
}

void site_refuse(struct job *job, const struct http_request *request,
		 int status, const char *why)
{
	*job = (struct job){.status = status, .error = why, .minor = 1};
	if (!request)
		return;
	job->method = request->method;
	answer_choose_media(request, job, NULL);
}

/* "GET, HEAD, OPTIONS" */
static char *answer_put_methods(char *to, unsigned methods)
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

static char *answer_put_allow(char *to, const struct job *job)
{
	to = text_put(to, SLICE("Allow: "));
	to = answer_put_methods(to, job->allowed);
	return text_put(to, SLICE("\r\n"));
}

/* A browser asks with OPTIONS before a cross-origin request (CORS). */
static void answer_options(const struct job *job, struct http_reply *reply,
			   char *scratch)
{
	char *to = answer_put_allow(scratch, job);

	to = text_put(to, SLICE("Access-Control-Allow-Methods: "));
	to = answer_put_methods(to, job->allowed);
	to = text_put(to, SLICE("\r\nAccess-Control-Allow-Headers: "
				"Authorization, Content-Type\r\n"
				"Access-Control-Max-Age: 86400\r\n"));
	reply->status = 204;
	reply->type = (struct slice){NULL, 0};
	reply->own = slice_between(scratch, to);
}

/* "Location: counter/?a=b": relative to where the client sees the path. */
static char *answer_put_location(char *to, struct slice sent)
{
	struct slice query = sent, path = slice_take(&query, '?');
	const char *name = (const char *)memrchr(path.p, '/', path.n) + 1;

	to = text_put(to, SLICE("Location: "));
	to = text_put(to, slice_between(name, path.p + path.n));
	to = text_put(to, SLICE("/"));
	to = text_put(to, slice_between(path.p + path.n, sent.p + sent.n));
	return text_put(to, SLICE("\r\n"));
}

static void answer_refusal(const struct job *job, const struct moment *moment,
			   struct http_reply *reply, char *scratch)
{
	bool health = job->call == CALL_PING;

	reply->status = job->status;
	if (job->status == 405 || job->status == 308) {
		char *end = job->status == 405
				    ? answer_put_allow(scratch, job)
				    : answer_put_location(scratch, job->sent);

		reply->own = slice_between(scratch, end);
		scratch = end;
	} else if (job->status == 401) {
		reply->own = SLICE("WWW-Authenticate: Bearer\r\n");
	} else if (job->status == 503) {
		reply->own = SLICE("Retry-After: 1\r\n");
	}
	reply->cache = SLICE("Cache-Control: no-store\r\n");
	(health ? health_page : error_page)(job, moment, reply, scratch);
}

/* Gives the rest of the scratch. */
static char *answer_set_cookie(const struct job *job, time_t now,
			       struct http_reply *reply, char *scratch)
{
	char *end = repeat_put_cookie(scratch, job->counter, now,
				      settings->repeat_window);

	reply->own = slice_between(scratch, end);
	return end;
}

static void answer_page(const struct job *job, const struct moment *moment,
			struct http_reply *reply, char *scratch)
{
	if (job->route->flags & TOTAL)
		reply->cache = reason_fields(job->reason);
	else /* a page may replace it */
		reply->cache = SLICE("Cache-Control: no-store\r\n");
	if ((job->route->flags & COUNTS) && job->reason == REASON_COUNTED &&
	    settings->repeat_window)
		scratch = answer_set_cookie(job, moment->now, reply, scratch);
	job->route->page(job, moment, reply, scratch);
}

void site_answer(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch)
{
	static const struct slice common[] = {
#define NOSNIFF "X-Content-Type-Options: nosniff\r\n"
		SLICE_INIT(NOSNIFF
			   "Access-Control-Allow-Origin: *\r\n"
			   "Cross-Origin-Resource-Policy: cross-origin\r\n"),
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
	reply->common =
		common[job->media == MEDIA_HTML && job->method != HTTP_OPTIONS];
	if (job->by_accept)
		reply->vary = SLICE("Vary: Accept\r\n");
	if (job->status)
		answer_refusal(job, moment, reply, scratch);
	else if (job->method == HTTP_OPTIONS)
		answer_options(job, reply, scratch);
	else
		answer_page(job, moment, reply, scratch);
}
