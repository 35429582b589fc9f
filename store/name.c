/* The names of counters: one rule for every store and for the site. */
#include "store/store.h"

bool store_name_has(char c)
{
	char lower = ascii_lower(c);

	return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '~' || c == '-' || c == '/';
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
	for (size_t i = 0; i < name.n; i++)
		if (!store_name_has(name.p[i]))
			return "a name has only A-Z a-z 0-9 . _ ~ - and /";
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
