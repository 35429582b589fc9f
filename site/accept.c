#include "site/accept.h"

const struct slice media_types[MEDIA_LEN] = {
	[MEDIA_TEXT] = SLICE_INIT("text/plain; charset=utf-8"),
	[MEDIA_JSON] = SLICE_INIT("application/json"),
	[MEDIA_HTML] = SLICE_INIT("text/html; charset=utf-8"),
};

/* The media types as a range of Accept names them. */
static const struct slice bare_types[MEDIA_LEN] = {
	[MEDIA_TEXT] = SLICE_INIT("text/plain"),
	[MEDIA_JSON] = SLICE_INIT("application/json"),
	[MEDIA_HTML] = SLICE_INIT("text/html"),
};

/* The preference for a media type by the ranges read so far. */
struct wish {
	int precision; /* 0: none; 1: any type; 2: the type; 3: its name */
	int quality;   /* 0 to 1000 */
	int order;     /* of the range in the list */
};

/* 0, 0.5, 1.000 in thousandths (RFC 9110 12.4.2), or -1. */
static int accept_read_quality(struct slice text)
{
	int quality = 0, unit = 1000;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[1] != '.'))
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		if (i == 1)
			continue;
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		quality += (text.p[i] - '0') * unit;
		unit /= 10;
	}
	return quality <= 1000 ? quality : -1;
}

/* The precision with which `range` matches `type`; 0: it does not. */
static int accept_match(struct slice range, struct slice type)
{
	if (slice_equal(range, SLICE("*/*")))
		return 1;
	if (slice_same_word(range, type))
		return 3;
	if (range.n < 2 || range.p[range.n - 1] != '*' ||
	    range.p[range.n - 2] != '/' || range.n - 1 > type.n)
		return 0;
	return slice_same_word((struct slice){range.p, range.n - 1},
			       (struct slice){type.p, range.n - 1})
		       ? 2
		       : 0;
}

/* Reads one element of the list, a range and its parameters. Only q matters; an
 * element with a malformed q is ignored. */
static void accept_read_range(struct slice element, int order,
			      struct wish wishes[MEDIA_LEN])
{
	struct slice range = slice_take(&element, ';');
	int quality = 1000;

	while (element.n > 0) {
		struct slice value = slice_take(&element, ';');
		struct slice name = slice_take(&value, '=');

		if (slice_same_word(name, SLICE("q")))
			quality = accept_read_quality(value);
	}
	if (quality < 0)
		return;
	for (int i = 0; i < MEDIA_LEN; i++) {
		int precision = accept_match(range, bare_types[i]);

		if (precision > wishes[i].precision)
			wishes[i] = (struct wish){precision, quality, order};
	}
}

/* Whether the first of two wishes is the stronger one: the higher quality, then
 * the more precise range, then the one that the client names first. */
static bool accept_is_stronger(const struct wish *a, const struct wish *b)
{
	if (a->quality != b->quality)
		return a->quality > b->quality;
	if (a->precision != b->precision)
		return a->precision > b->precision;
	return a->order < b->order;
}

/* Whether any type will do, as most programs say it. */
static bool accept_is_any(const struct http_request *request)
{
	size_t at = 0;
	const struct http_field *field =
		http_field_next(request, SLICE("accept"), &at);

	return !field || (slice_equal(field->value, SLICE("*/*")) &&
			  !http_field_next(request, SLICE("accept"), &at));
}

enum media accept_media(const struct http_request *request, unsigned offered,
			enum media first)
{
	struct wish wishes[MEDIA_LEN] = {{0}};
	const struct http_field *field;
	size_t at = 0;
	int order = 0;

	if (accept_is_any(request))
		return first;
	while ((field = http_field_next(request, SLICE("accept"), &at))) {
		struct slice list = field->value, element;

		while (http_list_next(&list, &element))
			accept_read_range(element, order++, wishes);
	}
	enum media best = first;
	for (int i = 0; i < MEDIA_LEN; i++)
		if ((offered & 1u << i) && wishes[i].quality > 0 &&
		    accept_is_stronger(&wishes[i], &wishes[best]))
			best = (enum media)i;
	return best;
}
