#include "turn/access.h"

#include "util/date.h"
#include "util/json.h"
#include "util/log.h"
#include "util/number.h"
#include "util/text.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Bytes logged of the request line and of a field. An escaped byte takes up to
 * four bytes in the combined format and up to six in JSON, and a line has to
 * fit into PIPE_BUF: 512 * 4 + 2 * 200 * 4 = 3648, 256 * 6 + 2 * 160 * 6 =
 * 3456. */
enum {
	COMBINED_LINE = 512,
	COMBINED_FIELD = 200,
	JSON_LINE = 256,
	JSON_FIELD = 160,
};

/* The lines of this turn, written at its end. */
static char lines[PIPE_BUF];
static size_t lines_len;
static unsigned lines_count;

void access_note(struct access *access, const struct http_request *request,
		 bool is_parsed)
{
	*access = (struct access){.line = request->line};
	if (!is_parsed)
		return;
	access->referer = http_field_value(request, SLICE("referer"));
	access->agent = http_field_value(request, SLICE("user-agent"));
}

static char *access_put_peer(char *to, int fd)
{
	struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
	socklen_t len = sizeof(address);
	char text[INET6_ADDRSTRLEN] = "-";

	getpeername(fd, (struct sockaddr *)&address, &len);
	if (address.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)&address;

		inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
	} else if (address.ss_family == AF_INET6) {
		const struct sockaddr_in6 *in = (const void *)&address;
		const unsigned char *bytes = in->sin6_addr.s6_addr;

		if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr))
			inet_ntop(AF_INET, bytes + 12, text, sizeof(text));
		else
			inet_ntop(AF_INET6, bytes, text, sizeof(text));
	}
	return text_put(to, slice_of(text));
}

static struct slice access_cut(struct slice text, size_t max)
{
	return (struct slice){text.p, text.n < max ? text.n : max};
}

/* Writes a quoted string; bytes that are not printable ASCII, quotes and
 * backslashes become \xhh. */
static char *access_put_quoted(char *to, struct slice text)
{
	static const char hex[] = "0123456789abcdef";

	*to++ = '"';
	if (!text.p)
		*to++ = '-';
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];

		if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
			*to++ = (char)c;
			continue;
		}
		*to++ = '\\';
		*to++ = 'x';
		*to++ = hex[c >> 4];
		*to++ = hex[c & 15];
	}
	*to++ = '"';
	return to;
}

/* The combined format of Apache and nginx. */
static char *access_put_combined(char *to, const struct access *access,
				 time_t now, int fd, int status, size_t bytes)
{
	to = access_put_peer(to, fd);
	to = text_put(to, SLICE(" - - ["));
	date_write_log(to, now);
	to = text_put(to + DATE_LOG_SIZE, SLICE("] "));
	to = access_put_quoted(to, access_cut(access->line, COMBINED_LINE));
	*to++ = ' ';
	to += number_write(to, status);
	*to++ = ' ';
	to += number_write(to, (int64_t)bytes);
	*to++ = ' ';
	to = access_put_quoted(to, access_cut(access->referer, COMBINED_FIELD));
	*to++ = ' ';
	return access_put_quoted(to, access_cut(access->agent, COMBINED_FIELD));
}

static char *access_put_member(char *to, struct slice name, struct slice value)
{
	to = text_put(to, name);
	if (!value.p)
		return text_put(to, SLICE("null"));
	return to + json_write_string(to, value);
}

static char *access_put_json(char *to, const struct access *access, time_t now,
			     int fd, int status, size_t bytes)
{
	char local[DATE_LOCAL_SIZE];

	date_write_local(local, now);
	to = text_put(to, SLICE("{\"time\":\""));
	to = text_put(to, (struct slice){local, sizeof(local)});
	to = text_put(to, SLICE("\",\"client\":\""));
	to = access_put_peer(to, fd);
	to = access_put_member(to, SLICE("\",\"request\":"),
			       access_cut(access->line, JSON_LINE));
	to = text_put(to, SLICE(",\"status\":"));
	to += number_write(to, status);
	to = text_put(to, SLICE(",\"bytes\":"));
	to += number_write(to, (int64_t)bytes);
	to = access_put_member(to, SLICE(",\"referer\":"),
			       access_cut(access->referer, JSON_FIELD));
	to = access_put_member(to, SLICE(",\"user_agent\":"),
			       access_cut(access->agent, JSON_FIELD));
	return text_put(to, SLICE("}"));
}

void access_log(const struct access *access, bool json, time_t now, int fd,
		int status, size_t bytes)
{
	char line[PIPE_BUF];
	char *end = json ? access_put_json(line, access, now, fd, status, bytes)
			 : access_put_combined(line, access, now, fd, status,
					       bytes);
	size_t len;

	*end++ = '\n';
	len = (size_t)(end - line);
	if (lines_len + len > sizeof(lines))
		access_flush();
	memcpy(lines + lines_len, line, len);
	lines_len += len;
	lines_count++;
}

void access_flush(void)
{
	if (lines_len > 0)
		log_access(lines, lines_len, lines_count);
	lines_len = 0;
	lines_count = 0;
}
