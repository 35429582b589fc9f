/* What never changes while the program runs. */
#include "site/pages.h"

static const char favicon[] = {
#include "site/favicon.ico.inc"
};

static const char robots[] = {
#include "site/robots.txt.inc"
};

void favicon_page(const struct job *job, const struct moment *moment,
		  struct http_reply *reply, char *scratch)
{
	(void)job;
	(void)moment;
	(void)scratch;
	reply->type = SLICE("image/vnd.microsoft.icon");
	reply->body = (struct slice){favicon, sizeof(favicon)};
	reply->cache = SLICE("Cache-Control: max-age=86400\r\n");
}

void robots_page(const struct job *job, const struct moment *moment,
		 struct http_reply *reply, char *scratch)
{
	(void)job;
	(void)moment;
	(void)scratch;
	reply->body = (struct slice){robots, sizeof(robots)};
	reply->cache = SLICE("Cache-Control: max-age=86400\r\n");
}
