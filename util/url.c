#include "util/url.h"

#include <ctype.h>
#include <string.h>

/* Decodes escapes; the text's NUL ends up at *room, which moves on. NULL: one
 * is not whole, or is a NUL. */
static const char *url_decode(struct slice text, char **room)
{
	char *start = *room, *to = start;

	for (size_t i = 0; i < text.n; i++) {
		char byte = text.p[i];

		if (byte == '%') {
			if (text.n - i < 3 ||
			    !isxdigit((unsigned char)text.p[i + 1]) ||
			    !isxdigit((unsigned char)text.p[i + 2]))
				return NULL;
			byte = (char)(ascii_hex_value(text.p[i + 1]) * 16 +
				      ascii_hex_value(text.p[i + 2]));
			i += 2;
		}
		if (byte == '\0')
			return NULL;
		*to++ = byte;
	}
	*to++ = '\0';
	*room = to;
	return start;
}

/* The last '@' ends user and password, since a careless password has one. */
static struct slice url_take_login(struct slice *rest)
{
	const char *at = memrchr(rest->p, '@', rest->n);
	struct slice login = {NULL, 0};

	if (at) {
		login = slice_between(rest->p, at);
		*rest = slice_after(*rest, login.n + 1);
	}
	return login;
}

/* "host:port" or "[address]:port"; false: it is neither. */
static bool url_split_host(struct slice text, struct slice *host,
			   struct slice *port)
{
	const char *colon = memchr(text.p, ':', text.n);

	*port = (struct slice){NULL, 0};
	if (text.n > 0 && *text.p == '[') {
		const char *end = memchr(text.p, ']', text.n);

		if (!end)
			return false;
		*host = slice_between(text.p + 1, end);
		text = slice_after(text, host->n + 2);
		colon = text.n > 0 ? text.p : NULL;
	} else {
		*host = slice_between(text.p, colon ? colon : text.p + text.n);
	}
	if (colon && *colon != ':')
		return false;
	if (colon)
		*port = slice_between(colon + 1, text.p + text.n);
	return host->n > 0;
}

static const char *url_text(struct slice text, char **room, bool *good)
{
	if (text.n == 0)
		return NULL;
	const char *decoded = url_decode(text, room);
	*good &= decoded != NULL;
	return decoded;
}

const char *url_read(const char *text, const char *scheme, char *room,
		     struct url *url)
{
	size_t n = strlen(scheme);
	struct slice host, port;
	bool good = true;

	memset(url, 0, sizeof(*url));
	if (strncmp(text, scheme, n) != 0 || strncmp(text + n, "://", 3) != 0)
		return "it begins in another way";
	struct slice path = slice_of(text + n + 3);
	if (strpbrk(path.p, "?#"))
		return "it has a query or a fragment";
	struct slice login = url_take_login(&path);
	struct slice server = slice_take(&path, '/');
	struct slice password = login;
	struct slice user = slice_take(&password, ':');
	if (!url_split_host(server, &host, &port))
		return "it has no host";
	url->user = url_text(user, &room, &good);
	url->password = url_text(password, &room, &good);
	url->host = url_text(host, &room, &good);
	url->port = url_text(port, &room, &good);
	url->path = url_text(path, &room, &good);
	return good ? NULL : "it has a bad escape";
}
