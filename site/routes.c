#include "site/routes.h"

#include "util/number.h"

enum {
	READS = BIT(HTTP_GET) | BIT(HTTP_HEAD) | BIT(HTTP_OPTIONS),
	POSTS = BIT(HTTP_POST) | BIT(HTTP_OPTIONS),
	PUTS = BIT(HTTP_PUT),
	DELETES = BIT(HTTP_DELETE),
	TEXT = BIT(MEDIA_TEXT),
	JSON = BIT(MEDIA_JSON),
	HTML = BIT(MEDIA_HTML),
};

/*
 * All routes. A path has a row for each call of the store that its methods
 * need; the first row decides the representation of a refusal. To add a page:
 * write its function (see pages.h), add a row here, a line to README.md and
 * docs/visitd.8 (a test finds every path there) and a test to tests/e2e.
 */
static const struct route routes[] = {
	{
		.path = SLICE_INIT("/"),
		.methods = READS,
		.call = CALL_ADD,
		.flags = COUNTS | TOTAL,
		.media = TEXT | JSON | HTML,
		.page = home_page,
	},
	{
		.path = SLICE_INIT("/hit"),
		.rest = REST_NAME,
		.methods = READS | POSTS,
		.call = CALL_ADD,
		.flags = SUFFIX | COUNTS | TOTAL | NULL_VALUE,
		.media = TEXT | JSON | HTML,
		.first = MEDIA_JSON,
		.page = visits_page,
	},
	{
		.path = SLICE_INIT("/visits"),
		.rest = REST_NAME,
		.methods = READS,
		.call = CALL_ADD,
		.flags = SUFFIX | TOTAL,
		.media = TEXT | JSON | HTML,
		.page = visits_page,
	},
	{
		.path = SLICE_INIT("/visits"),
		.rest = REST_NAME,
		.methods = PUTS,
		.call = CALL_SET,
		.flags = SUFFIX | TOTAL | TAKES_JSON | ADMIN,
		.media = TEXT | JSON,
		.first = MEDIA_JSON,
		.page = visits_page,
		.body = counter_body,
	},
	{
		.path = SLICE_INIT("/visits"),
		.rest = REST_NAME,
		.methods = DELETES,
		.call = CALL_DROP,
		.flags = SUFFIX | ADMIN | NOT_HOME,
		.media = TEXT | JSON,
		.first = MEDIA_JSON,
		.page = dropped_page,
	},
	{
		.path = SLICE_INIT("/get"),
		.rest = REST_NAME,
		.methods = READS,
		.call = CALL_ADD,
		.flags = SUFFIX | TOTAL | NULL_VALUE,
		.media = TEXT | JSON | HTML,
		.first = MEDIA_JSON,
		.page = visits_page,
	},
	{
		.path = SLICE_INIT("/items"),
		.methods = POSTS,
		.call = CALL_CREATE,
		.flags = TAKES_JSON,
		.media = TEXT | JSON,
		.first = MEDIA_JSON,
		.page = item_page,
		.body = item_body,
	},
	{
		.path = SLICE_INIT("/items/"),
		.rest = REST_ID,
		.methods = READS,
		.call = CALL_ITEM,
		.media = TEXT | JSON,
		.first = MEDIA_JSON,
		.page = item_page,
	},
	{
		.path = SLICE_INIT("/health"),
		.methods = READS,
		.call = CALL_PING,
		.media = TEXT | JSON,
		.first = MEDIA_JSON,
		.page = health_page,
	},
	{
		.path = SLICE_INIT("/favicon.ico"),
		.methods = READS,
		.page = favicon_page,
	},
	{
		.path = SLICE_INIT("/robots.txt"),
		.methods = READS,
		.page = robots_page,
	},
};

enum { ROUTES_LEN = sizeof(routes) / sizeof(*routes) };

/*
 * Longer suffixes first. A counter whose name ends in a suffix is reached with
 * another suffix behind it. Suffixes that are not served yet are reserved, so
 * that no counter gets a name that a later version could not reach.
 */
static const struct suffix suffixes[] = {
	{.text = SLICE_INIT(".shields.json"), .media = MEDIA_JSON},
	{.text = SLICE_INIT(".json"), .media = MEDIA_JSON, .is_served = true},
	{.text = SLICE_INIT(".txt"), .media = MEDIA_TEXT, .is_served = true},
	{.text = SLICE_INIT(".svg"), .media = MEDIA_TEXT},
	{.text = SLICE_INIT(".gif"), .media = MEDIA_TEXT},
};

/* An escaped slash does not separate segments: it is decoded to NUL, which no
 * path (the parser refuses %00) and no name contains. */
static char routes_decode_byte(const char *escape)
{
	char c = (char)(ascii_hex_value(escape[1]) * 16 +
			ascii_hex_value(escape[2]));

	return c == '/' ? '\0' : c;
}

/* Decodes the escapes of a path, which the parser has checked. A path that does
 * not fit is cut off: it is too long for a name and for any route. */
static struct slice routes_decode(struct slice path, char room[SITE_ROOM])
{
	size_t n = 0;

	if (!memchr(path.p, '%', path.n))
		return path;
	for (size_t i = 0; i < path.n && n < SITE_ROOM; i++) {
		if (path.p[i] != '%') {
			room[n++] = path.p[i];
			continue;
		}
		room[n++] = routes_decode_byte(path.p + i);
		i += 2;
	}
	return (struct slice){room, n};
}

/* Takes BASE_PATH off a path, which may have escapes in it (RFC 3986 6.2.2.2).
 * False: the path is outside of it. */
static bool routes_take_base(const char *base, struct slice *path)
{
	size_t at = 0;

	for (; *base; base++) {
		if (at == path->n)
			return false;
		bool is_escape = path->p[at] == '%';
		char c = is_escape ? routes_decode_byte(path->p + at)
				   : path->p[at];
		if (c != *base)
			return false;
		at += is_escape ? 3 : 1;
	}
	*path = slice_after(*path, at);
	return path->n == 0 || *path->p == '/';
}

static bool routes_ends_with(struct slice text, struct slice end)
{
	return text.n >= end.n &&
	       memcmp(text.p + text.n - end.n, end.p, end.n) == 0;
}

static const struct suffix *routes_find_suffix(struct slice path)
{
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		if (routes_ends_with(path, suffixes[i].text))
			return &suffixes[i];
	return NULL;
}

/* Whether the path matches the route; *rest is the id or the name. */
static bool routes_fits(const struct route *route, struct slice path,
			struct slice *rest)
{
	*rest = (struct slice){NULL, 0};
	if (path.n < route->path.n ||
	    memcmp(path.p, route->path.p, route->path.n) != 0)
		return false;
	struct slice after = slice_after(path, route->path.n);
	if (route->rest == REST_ID)
		*rest = after;
	else if (route->rest == REST_NAME && after.n > 0 && *after.p == '/')
		*rest = slice_after(after, 1);
	else if (after.n > 0)
		return false;
	return !(route->flags & NOT_HOME) || (rest->p && !store_is_home(*rest));
}

/* Finds the row of path and method, else the first row of the path. */
static void routes_find_route(struct target *target, enum http_method method)
{
	target->route = NULL;
	for (size_t i = 0; i < ROUTES_LEN; i++) {
		bool takes = routes[i].methods & BIT(method);

		if ((target->route && !takes) ||
		    !routes_fits(&routes[i], target->path, &target->rest))
			continue;
		target->route = &routes[i];
		if (takes)
			return;
	}
}

unsigned routes_methods(struct slice path)
{
	bool is_all = slice_equal(path, SLICE("*"));
	unsigned methods = 0;
	struct slice rest;

	for (size_t i = 0; i < ROUTES_LEN; i++)
		if (is_all || routes_fits(&routes[i], path, &rest))
			methods |= routes[i].methods;
	return methods;
}

/* Takes the suffix off the path, if it has one that is known. */
static void routes_take_suffix(struct target *target, enum http_method method)
{
	target->suffix = routes_find_suffix(target->path);
	if (!target->suffix)
		return;
	target->path.n -= target->suffix->text.n;
	routes_find_route(target, method);
	if (target->route &&
	    (!(target->route->flags & SUFFIX) || !target->suffix->is_served))
		target->route = NULL;
}

/* Takes one slash off the end of a name: scripts count location.pathname. */
static void routes_take_slash(struct target *target, enum http_method method)
{
	if (!target->route || target->route->rest != REST_NAME ||
	    target->rest.n < 2 || !routes_ends_with(target->rest, SLICE("/")))
		return;
	target->path.n--;
	routes_find_route(target, method);
}

void routes_find(const struct http_request *request, struct target *target,
		 char room[SITE_ROOM])
{
	const char *base = site_settings()->base_path;

	*target = (struct target){.sent = request->path};
	/* OPTIONS * is about the server, which has no prefix. */
	if (base && *request->path.p != '*' &&
	    !routes_take_base(base, &target->sent))
		return;
	target->path = routes_decode(target->sent, room);
	routes_find_route(target, request->method);
	if (target->route && !(target->route->flags & SUFFIX))
		return;
	routes_take_suffix(target, request->method);
	routes_take_slash(target, request->method);
}

int64_t routes_read_id(struct slice text)
{
	int64_t id = 0;

	return text.n > 0 && text.p[0] != '0' && number_read(text, &id) ? id
									: 0;
}
