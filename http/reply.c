#include "http/reply.h"

#include "util/date.h"
#include "util/number.h"
#include "util/text.h"

/* To add a status: a row. The line is sent as it stands. */
static const struct status {
	int status;
	struct slice line;
} statuses[] = {
#define ROW(status, reason)                                       \
	{                                                         \
		status, SLICE_INIT("HTTP/1.1 " #status " " reason \
				   "\r\nDate: ")                  \
	}
	ROW(200, "OK"),
	ROW(201, "Created"),
	ROW(204, "No Content"),
	ROW(308, "Permanent Redirect"),
	ROW(400, "Bad Request"),
	ROW(401, "Unauthorized"),
	ROW(403, "Forbidden"),
	ROW(404, "Not Found"),
	ROW(405, "Method Not Allowed"),
	ROW(408, "Request Timeout"),
	ROW(413, "Content Too Large"),
	ROW(414, "URI Too Long"),
	ROW(415, "Unsupported Media Type"),
	ROW(417, "Expectation Failed"),
	ROW(431, "Request Header Fields Too Large"),
	ROW(500, "Internal Server Error"),
	ROW(501, "Not Implemented"),
	ROW(503, "Service Unavailable"),
	ROW(505, "HTTP Version Not Supported"),
	ROW(507, "Insufficient Storage"),
#undef ROW
};

enum {
	BEFORE_REASON = sizeof("HTTP/1.1 200 ") - 1,
	AFTER_REASON = sizeof("\r\nDate: ") - 1,
	/* Longest status line, Date, Content-Type and -Length, Connection */
	HEAD_BOUND = 256,
};

static struct slice reply_status_line(int status)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(*statuses); i++)
		if (statuses[i].status == status)
			return statuses[i].line;
	return reply_status_line(500);
}

struct slice http_reason(int status)
{
	struct slice line = reply_status_line(status);

	return (struct slice){line.p + BEFORE_REASON,
			      line.n - BEFORE_REASON - AFTER_REASON};
}

size_t http_reply_bound(const struct http_reply *reply)
{
	return HEAD_BOUND + reply->type.n + reply->common.n + reply->vary.n +
	       reply->cache.n + reply->own.n + reply->body.n;
}

size_t http_reply_write(char *out, const struct http_reply *reply,
			const char *date)
{
	char *to = text_put(out, reply_status_line(reply->status));

	to = text_put(to, (struct slice){date, DATE_HTTP_SIZE});
	if (reply->type.n > 0) {
		to = text_put(to, SLICE("\r\nContent-Type: "));
		to = text_put(to, reply->type);
	}
	if (reply->status != 204) { /* RFC 9110 8.6 */
		to = text_put(to, SLICE("\r\nContent-Length: "));
		to += number_write(to, (int64_t)reply->body.n);
	}
	if (reply->close)
		to = text_put(to, SLICE("\r\nConnection: close"));
	else if (reply->keep_alive)
		to = text_put(to, SLICE("\r\nConnection: keep-alive"));
	to = text_put(to, SLICE("\r\n"));
	to = text_put(to, reply->common);
	to = text_put(to, reply->vary);
	to = text_put(to, reply->cache);
	to = text_put(to, reply->own);
	to = text_put(to, SLICE("\r\n"));
	if (!reply->head)
		to = text_put(to, reply->body);
	return (size_t)(to - out);
}
