/* Who counts: one table decides. */
#include "site/reason.h"

#include "site/repeat.h"

static bool reason_is_read(const struct http_request *request,
			   const struct job *job, time_t now)
{
	(void)request;
	(void)now;
	return !(job->route->flags & COUNTS);
}

static bool reason_is_head(const struct http_request *request,
			   const struct job *job, time_t now)
{
	(void)request;
	(void)now;
	return job->method == HTTP_HEAD;
}

static bool reason_is_prefetch(const struct http_request *request,
			       const struct job *job, time_t now)
{
	static const struct {
		struct slice field, values[2];
	} marks[] = {
		{SLICE_INIT("sec-purpose"), {SLICE_INIT("prefetch")}},
		{SLICE_INIT("purpose"),
		 {SLICE_INIT("prefetch"), SLICE_INIT("preview")}},
		{SLICE_INIT("x-purpose"), {SLICE_INIT("preview")}},
		{SLICE_INIT("x-moz"), {SLICE_INIT("prefetch")}},
	};

	(void)job;
	(void)now;
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		struct slice value = http_field_value(request, marks[i].field);

		if (value.n == 0)
			continue;
		/* "prefetch;prerender" is a prefetch, too. */
		struct slice purpose = slice_take(&value, ';');

		if (purpose.n > 0 &&
		    (slice_same_word(purpose, marks[i].values[0]) ||
		     slice_same_word(purpose, marks[i].values[1])))
			return true;
	}
	return false;
}

static bool reason_is_repeat(const struct http_request *request,
			     const struct job *job, time_t now)
{
	int window = site_settings()->repeat_window;

	return window && repeat_is_known(request, job->counter, now, window);
}

#define FRESH                                                               \
	"Cache-Control: max-age=0, no-cache, no-store, must-revalidate\r\n" \
	"Access-Control-Expose-Headers: X-Visit-Counted\r\n"                \
	"X-Visit-Counted: "

/*
 * In the order in which the reasons are tried. To add one: a member of enum
 * reason, a row with the function that tests it, and its test in
 * tests/unit/test_routes.c.
 */
static const struct {
	bool (*applies)(const struct http_request *request,
			const struct job *job, time_t now);
	struct slice fields;
} reasons[REASON_LEN] = {
	[REASON_COUNTED] = {.fields = SLICE_INIT(FRESH "1\r\n")},
	[REASON_READ] = {.applies = reason_is_read,
			 .fields = SLICE_INIT(FRESH "0; reason=read\r\n")},
	[REASON_HEAD] = {.applies = reason_is_head,
			 .fields = SLICE_INIT(FRESH "0; reason=head\r\n")},
	[REASON_PREFETCH] = {.applies = reason_is_prefetch,
			     .fields = SLICE_INIT(FRESH
						  "0; reason=prefetch\r\n")},
	[REASON_REPEAT] = {.applies = reason_is_repeat,
			   .fields = SLICE_INIT(FRESH "0; reason=repeat\r\n")},
};

enum reason reason_find(const struct http_request *request,
			const struct job *job, time_t now)
{
	for (int i = REASON_COUNTED + 1; i < REASON_LEN; i++)
		if (reasons[i].applies(request, job, now))
			return (enum reason)i;
	return REASON_COUNTED;
}

struct slice reason_fields(enum reason reason)
{
	return reasons[reason].fields;
}
