/* The names of counters: one rule for every store and for the site. */
#include "store/store.h"

#include "util/utf8.h"

/* ASCII of a path that needs no escape (RFC 3986 3.3), and the slash. */
static bool name_is_ascii(char c)
{
	char lower = ascii_lower(c);

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("._~-!$&'()*+,;=:@/", c));
}

bool store_name_has(char c)
{
	return (unsigned char)c >= 0x80 || name_is_ascii(c);
}

/* White space, controls, and what has no width or turns the direction of the
 * text around it. U+200C and U+200D are allowed: they join letters. */
static bool name_is_hidden(uint32_t code)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x80, 0xa0},	  {0x61c, 0x61c},   {0x1680, 0x1680},
		{0x2000, 0x200b}, {0x200e, 0x200f}, {0x2028, 0x202f},
		{0x205f, 0x2064}, {0x2066, 0x2069}, {0x3000, 0x3000},
		{0xfeff, 0xfeff},
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (code >= ranges[i].first && code <= ranges[i].last)
			return true;
	return false;
}

/* What is wrong with the bytes of a name, as a phrase; NULL: nothing. */
static const char *name_bytes_fault(struct slice name)
{
	while (name.n > 0) {
		size_t length = utf8_length(name.p, name.n);

		if (length == 0)
			return "the name is not UTF-8";
		if (length == 1 && !name_is_ascii(*name.p))
			return "of ASCII a name has only A-Z a-z 0-9 . _ ~ - ! "
			       "$ & ' ( ) * + , ; = : @ and /";
		if (length > 1 && name_is_hidden(utf8_code(name.p, length)))
			return "a name has no white space and no control "
			       "characters";
		name = slice_after(name, length);
	}
	return NULL;
}

/* An empty segment, and "." and "..", which browsers resolve themselves. */
static bool name_is_bad_segment(struct slice segment)
{
	return segment.n == 0 || slice_equal(segment, SLICE(".")) ||
	       slice_equal(segment, SLICE(".."));
}

const char *store_name_fault(struct slice name)
{
	if (name.n == 0)
		return "the name is empty";
	if (name.n > STORE_NAME_MAX)
		return "the name is over 100 bytes";
	const char *fault = name_bytes_fault(name);
	if (fault)
		return fault;
	for (;;) {
		const char *slash = memchr(name.p, '/', name.n);
		size_t n = slash ? (size_t)(slash - name.p) : name.n;

		if (name_is_bad_segment((struct slice){name.p, n}))
			return "a segment of the name is empty, \".\" or "
			       "\"..\"";
		if (!slash)
			return NULL;
		name = slice_after(name, n + 1);
		if (name.n == 0)
			return "the name ends in /";
	}
}

bool store_is_home(struct slice name)
{
	return slice_equal(name, SLICE(STORE_HOME));
}
