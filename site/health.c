/* Whether a visit could be counted now. */
#include "site/pages.h"
#include "store/store.h"
#include "util/json.h"
#include "util/text.h"

/* {"status":"ok","store":"file"}, with "durability" where that is a server's
 * affair; or with "error" and unavailable */
static char *health_write_json(char *to, const struct job *job)
{
	bool ok = job->status == 0;

	to = text_put(to, SLICE("{\"status\":\""));
	to = text_put(to, ok ? SLICE("ok") : SLICE("unavailable"));
	to = text_put(to, SLICE("\",\"store\":\""));
	to = text_put(to, slice_of(store_name));
	to = text_put(to, SLICE("\""));
	if (ok && store_durability()) {
		to = text_put(to, SLICE(",\"durability\":"));
		to += json_write_string(to, slice_of(store_durability()));
	}
	if (!ok) {
		to = text_put(to, SLICE(",\"error\":"));
		to += json_write_string(to, error_reason(job));
	}
	return text_put(to, SLICE("}"));
}

void health_page(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch)
{
	char *end;

	if (job->status && job->media == MEDIA_TEXT) {
		error_page(job, moment, reply, scratch);
		return;
	}
	end = job->media == MEDIA_TEXT ? text_put(scratch, SLICE("ok\n"))
				       : health_write_json(scratch, job);
	reply->body = slice_between(scratch, end);
}
