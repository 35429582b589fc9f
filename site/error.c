/* Refusals, in the representation that was asked for. */
#include "site/pages.h"
#include "util/text.h"
#include "store/store.h"
#include "util/json.h"

#include <stdio.h>

enum { ERROR_MAX = 1024 /* bytes of a reason that are told */ };

/* no counter "blog/post-1" */
static struct slice no_counter(struct slice counter)
{
	static char reason[STORE_NAME_MAX + 16];
	char *to = text_put(reason, SLICE("no counter \""));

	to = text_put(to, counter);
	to = text_put(to, SLICE("\""));
	return (struct slice){reason, (size_t)(to - reason)};
}

void site_unknown(struct job *job)
{
	job->total = job->today = 0;
	if (job->reason == REASON_READ)
		job->status = 404;
}

struct slice error_reason(const struct job *job)
{
	if (job->status == 404 && job->counter.p)
		return no_counter(job->counter);
	struct slice reason = slice_of(job->error);

	if (reason.n > ERROR_MAX)
		reason.n = ERROR_MAX;
	return reason;
}

const char *site_keep_error(const char *error)
{
	static char kept[ERROR_MAX + 1];

	snprintf(kept, sizeof(kept), "%s", error);
	return kept;
}

void error_of_store(struct job *job, int status)
{
	static char why[ERROR_MAX + 1];

	snprintf(why, sizeof(why), "%s%s",
		 status == 503 ? "store unavailable: " : "", store_error());
	job->status = status;
	job->error = why;
}

static char *put_status(char *to, int status)
{
	to = text_put_number(to, status);
	to = text_put(to, SLICE(" "));
	return text_put(to, http_reason(status));
}

static char *put_escaped(char *to, struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		switch (text.p[i]) {
		case '<':
			to = text_put(to, SLICE("&lt;"));
			break;
		case '&':
			to = text_put(to, SLICE("&amp;"));
			break;
		default:
			*to++ = text.p[i];
		}
	}
	return to;
}

static char *write_html(char *to, const struct job *job)
{
	to = text_put(to, SLICE("<!doctype html>\n<html lang=\"en\">\n"
				"<meta charset=\"utf-8\">\n<title>"));
	to = put_status(to, job->status);
	to = text_put(to, SLICE("</title>\n<h1>"));
	to = put_status(to, job->status);
	to = text_put(to, SLICE("</h1>\n<p>"));
	to = put_escaped(to, error_reason(job));
	return text_put(to, SLICE("</p>\n</html>\n"));
}

void error_page(const struct job *job, const struct moment *moment,
		struct http_reply *reply, char *scratch)
{
	char *to = scratch;

	(void)moment;
	switch (job->media) {
	case MEDIA_HTML:
		to = write_html(to, job);
		break;
	case MEDIA_JSON:
		to = text_put(to, SLICE("{\"error\":"));
		to += json_write_string(to, error_reason(job));
		to = text_put(to, SLICE("}"));
		break;
	default:
		to = put_status(to, job->status);
		to = text_put(to, SLICE(": "));
		to = text_put(to, error_reason(job));
		to = text_put(to, SLICE("\n"));
	}
	reply->body = (struct slice){scratch, (size_t)(to - scratch)};
}
