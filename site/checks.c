/* What is refused before the store is asked, in the order of the contract. */
#include "site/checks.h"

#include "site/admin.h"

/* A missing Content-Type counts as JSON; parameters are ignored. */
static bool checks_is_json(const struct http_request *request)
{
	struct slice type = http_field_value(request, SLICE("content-type"));

	return !type.p || slice_same_word(slice_take(&type, ';'),
					  SLICE("application/json"));
}

/* 308, 404, or 400 for a malformed name. */
static int checks_path(const struct target *target, const char **why)
{
	const char *fault;

	if (target->sent.n == 0) {
		*why = "the path ends in a slash";
		return 308;
	}
	if (!target->route && !slice_equal(target->path, SLICE("*"))) {
		*why = "there is nothing at this path";
		return 404;
	}
	if (target->route && target->route->rest == REST_ID &&
	    routes_read_id(target->rest) == 0) {
		*why = "there is no such item";
		return 404;
	}
	if (target->route && target->rest.p &&
	    target->route->rest == REST_NAME &&
	    (fault = store_name_fault(target->rest))) {
		*why = fault;
		return 400;
	}
	return 0;
}

/* 405, and 401 or 403 */
static int checks_method(const struct http_request *request,
			 const struct route *route, const char **why)
{
	if (!(route->methods & BIT(request->method))) {
		*why = "this path does not take this method";
		return 405;
	}
	if (route->flags & ADMIN)
		return admin_check(request, site_settings()->admin_token, why);
	return 0;
}

/* 417, 413, 415; and 400 for a part of a body (RFC 9110 14.5) */
static int checks_body(const struct http_request *request,
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
	    request->method != HTTP_OPTIONS && !checks_is_json(request)) {
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

int checks_refuse(const struct http_request *request,
		  const struct target *target, const char **why)
{
	int status = checks_path(target, why);

	if (!status && target->route)
		status = checks_method(request, target->route, why);
	return status ? status : checks_body(request, target->route, why);
}
