/* Totals: with their page, and alone. */
#include "site/accept.h"
#include "site/pages.h"
#include "store/store.h"
#include "util/text.h"

enum {
	ROOT_MAX = 512 /* "../" before a reference: no longer path is routed */
};

/* The bytes of the pages, made by the Makefile. */
static const char home[] = {
#include "site/home.html.inc"
};
static const char named[] = {
#include "site/counter.html.inc"
};

static struct slice home_local_time(const struct moment *moment)
{
	return (struct slice){moment->local, DATE_LOCAL_SIZE};
}

/* {"visits":42,"today":3,"time":"2026-11-20T11:42:00+00:00"} */
static char *home_write_home_json(char *to, const struct job *job,
				  const struct moment *moment)
{
	to = text_put(to, SLICE("{\"visits\":"));
	to = text_put_number(to, job->total);
	to = text_put(to, SLICE(",\"today\":"));
	to = text_put_number(to, job->today);
	to = text_put(to, SLICE(",\"time\":\""));
	to = text_put(to, home_local_time(moment));
	return text_put(to, SLICE("\"}"));
}

/* {"counter":"blog/post-1","value":42,"today":3}; no byte of a name needs an
 * escape in JSON. */
static char *home_write_named_json(char *to, const struct job *job)
{
	to = text_put(to, SLICE("{\"counter\":\""));
	to = text_put(to, job->counter);
	to = text_put(to, SLICE("\",\"value\":"));
	to = text_put_number(to, job->total);
	to = text_put(to, SLICE(",\"today\":"));
	to = text_put_number(to, job->today);
	return text_put(to, SLICE("}"));
}

/* The root of the site, as seen from the page: a proxy may take a prefix off.
 */
static char *home_write_root(char *to, const struct job *job)
{
	if (job->depth == 0)
		return text_put(to, SLICE("./"));
	for (size_t i = 0; i < job->depth && i < ROOT_MAX; i++)
		to = text_put(to, SLICE("../"));
	return to;
}

/* A name in a reference: all but unreserved bytes and slashes are escaped. */
static char *home_write_path(char *to, struct slice name)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		char lower = ascii_lower((char)c);

		if ((lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("-._~/", c))) {
			*to++ = (char)c;
			continue;
		}
		*to++ = '%';
		*to++ = hex[c >> 4];
		*to++ = hex[c & 15];
	}
	return to;
}

static char *home_write_mark(char *to, struct slice mark, const struct job *job,
			     const struct moment *moment)
{
	if (slice_equal(mark, SLICE("visits")))
		return text_put_number(to, job->total);
	if (slice_equal(mark, SLICE("today")))
		return text_put_number(to, job->today);
	if (slice_equal(mark, SLICE("name")))
		return text_put_html(to, job->counter);
	if (slice_equal(mark, SLICE("path")))
		return home_write_path(to, job->counter);
	if (slice_equal(mark, SLICE("root")))
		return home_write_root(to, job);
	return text_put(to, home_local_time(moment)); /* {{time}} */
}

/* The page with its {{marks}} replaced */
static char *home_write_html(char *to, const struct job *job,
			     const struct moment *moment)
{
	const char *p = store_is_home(job->counter) ? home : named, *mark;
	const char *end = p + (store_is_home(job->counter) ? sizeof(home)
							   : sizeof(named));

	while ((mark = memmem(p, (size_t)(end - p), "{{", 2))) {
		to = text_put(to, slice_between(p, mark));
		mark += 2;
		p = memmem(mark, (size_t)(end - mark), "}}", 2);
		if (!p) /* the page's author's fault; a test sees it */
			return to;
		to = home_write_mark(to, slice_between(mark, p), job, moment);
		p += 2;
	}
	return text_put(to, slice_between(p, end));
}

void home_page(const struct job *job, const struct moment *moment,
	       struct http_reply *reply, char *scratch)
{
	char *end = scratch;

	switch (job->media) {
	case MEDIA_HTML:
		end = home_write_html(end, job, moment);
		break;
	case MEDIA_JSON:
		end = home_write_home_json(end, job, moment);
		break;
	default:
		end = text_put(end, home_local_time(moment));
		end = text_put(end, SLICE("\nvisits: "));
		end = text_put_number(end, job->total);
		end = text_put(end, SLICE("\n"));
	}
	reply->body = slice_between(scratch, end);
}

void visits_page(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch)
{
	char *end = scratch;

	if (job->media == MEDIA_HTML) {
		end = home_write_html(end, job, moment);
	} else if (job->media == MEDIA_JSON) {
		end = home_write_named_json(end, job);
	} else {
		end = text_put_number(end, job->total);
		end = text_put(end, SLICE("\n"));
	}
	reply->body = slice_between(scratch, end);
}
