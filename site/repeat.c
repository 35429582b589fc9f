#include "site/repeat.h"

#include "util/text.h"

enum { HASH_DIGITS = 16 };

#define PREFIX "visitd-"

enum { NAME_LEN = sizeof(PREFIX) - 1 + HASH_DIGITS };

/* visitd-cbf29ce484222325. A counter's name may have bytes that the name of a
 * cookie may not have, so the cookie is named by its FNV-1a. This hash has no
 * key: browsers bring it back after a restart, and to other workers. */
static struct slice repeat_write_name(char name[NAME_LEN], struct slice counter)
{
	static const char digits[] = "0123456789abcdef";
	uint64_t h = 14695981039346656037u;
	char *to = text_put(name, SLICE(PREFIX));

	for (size_t i = 0; i < counter.n; i++)
		h = (h ^ (unsigned char)counter.p[i]) * 1099511628211u;
	for (int shift = 60; shift >= 0; shift -= 4)
		*to++ = digits[h >> shift & 15];
	return (struct slice){name, NAME_LEN};
}

static bool repeat_is_within(struct slice value, time_t now, int window)
{
	int64_t then;

	return number_read(value, &then) && then <= now && now - then < window;
}

/* One Cookie field: "a=1; b=2" (RFC 6265 4.2.1) */
static bool repeat_has_visit(struct slice cookies, struct slice name,
			     time_t now, int window)
{
	while (cookies.n > 0) {
		struct slice value = slice_take(&cookies, ';');

		if (slice_equal(slice_take(&value, '='), name) &&
		    repeat_is_within(value, now, window))
			return true;
	}
	return false;
}

bool repeat_is_known(const struct http_request *request, struct slice counter,
		     time_t now, int window)
{
	char buffer[NAME_LEN];
	struct slice name = repeat_write_name(buffer, counter);
	const struct http_field *field;
	size_t at = 0;

	while ((field = http_field_next(request, SLICE("cookie"), &at)))
		if (repeat_has_visit(field->value, name, now, window))
			return true;
	return false;
}

char *repeat_put_cookie(char *to, struct slice counter, time_t now, int window)
{
	char buffer[NAME_LEN];

	to = text_put(to, SLICE("Set-Cookie: "));
	to = text_put(to, repeat_write_name(buffer, counter));
	to = text_put(to, SLICE("="));
	to = text_put_number(to, now);
	to = text_put(to, SLICE("; Max-Age="));
	to = text_put_number(to, window);
	return text_put(to, SLICE("; Path=/; SameSite=Lax; HttpOnly\r\n"));
}
