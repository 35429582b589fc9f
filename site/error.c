/* Refusals, in the representation that was asked for. */
#include "site/routes.h"
#include "util/json.h"
#include "util/text.h"

enum { ERROR_MAX = 1024 /* bytes of a reason that are told */ };

struct slice error_reason(const struct job *job)
{
	struct slice reason = slice_of(job->error);

	if (reason.n > ERROR_MAX)
		reason.n = ERROR_MAX;
	return reason;
}

static char *error_put_status(char *to, int status)
{
	to = text_put_number(to, status);
	to = text_put(to, SLICE(" "));
	return text_put(to, http_reason(status));
}

static char *error_write_html(char *to, const struct job *job)
{
	to = text_put(to, SLICE("<!doctype html>\n<html lang=\"en\">\n"
				"<meta charset=\"utf-8\">\n<title>"));
	to = error_put_status(to, job->status);
	to = text_put(to, SLICE("</title>\n<h1>"));
	to = error_put_status(to, job->status);
	to = text_put(to, SLICE("</h1>\n<p>"));
	to = text_put_html(to, error_reason(job));
	return text_put(to, SLICE("</p>\n</html>\n"));
}

void error_page(const struct job *job, const struct moment *moment,
		struct http_reply *reply, char *scratch)
{
	char *to = scratch;

	(void)moment;
	switch (job->media) {
	case MEDIA_HTML:
		to = error_write_html(to, job);
		break;
	case MEDIA_JSON:
		to = text_put(to, SLICE("{\"error\":"));
		to += json_write_string(to, error_reason(job));
		if (job->route && (job->route->flags & NULL_VALUE))
			to = text_put(to, SLICE(",\"value\":null"));
		to = text_put(to, SLICE("}"));
		break;
	default:
		to = error_put_status(to, job->status);
		to = text_put(to, SLICE(": "));
		to = text_put(to, error_reason(job));
		to = text_put(to, SLICE("\n"));
	}
	reply->body = slice_between(scratch, to);
}
