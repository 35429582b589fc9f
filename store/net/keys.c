#include "store/net/keys.h"

#include "store/store.h"
#include "util/number.h"
#include "util/text.h"

#include <string.h>

/* The longest key is that of a helper. */
_Static_assert(2 * SETTINGS_KEY_MAX + SETTINGS_KEY_MAX + STORE_NAME_MAX + 64 <
		       KEYS_MAX,
	       "a key must fit");

static struct {
	struct slice prefix, home; /* home: without the prefix */
	bool prefix_has_tag, home_has_tag;
	struct key last_id_key, names_key;
	struct slice last_id, names;
} keys;

static struct slice keys_write(struct key *key, struct slice middle,
			       struct slice end)
{
	char *to = text_put(key->bytes, keys.prefix);

	to = text_put(text_put(to, middle), end);
	*to = '\0';
	return slice_between(key->bytes, to);
}

void keys_open(const struct settings *s)
{
	keys.prefix = slice_of(s->redis_prefix ? s->redis_prefix : "");
	keys.home = slice_of(s->redis_key);
	keys.prefix_has_tag = keys.prefix.n && strchr(keys.prefix.p, '{');
	keys.home_has_tag = keys.prefix_has_tag || strchr(s->redis_key, '{');
	keys.last_id =
		keys_write(&keys.last_id_key, SLICE("item:"), SLICE("id"));
	keys.names =
		keys_write(&keys.names_key, SLICE("visit_counters"), SLICE(""));
}

struct slice keys_total(struct key *key, struct slice counter)
{
	return store_is_home(counter)
		       ? keys_write(key, keys.home, SLICE(""))
		       : keys_write(key, SLICE("visit_counter:"), counter);
}

struct slice keys_helper(struct key *key, struct slice kind,
			 struct slice counter)
{
	bool has_tag = store_is_home(counter) ? keys.home_has_tag
					      : keys.prefix_has_tag;
	struct slice head =
		keys_write(key, kind, has_tag ? SLICE("") : SLICE("{"));
	struct key total;
	char *to = text_put(key->bytes + head.n, keys_total(&total, counter));

	if (!has_tag)
		*to++ = '}';
	*to = '\0';
	return slice_between(key->bytes, to);
}

struct slice keys_item(struct key *key, int64_t id)
{
	char digits[NUMBER_MAX];
	size_t n = number_write(digits, id);

	return keys_write(key, SLICE("item:"), (struct slice){digits, n});
}

struct slice keys_last_id(void)
{
	return keys.last_id;
}

struct slice keys_names(void)
{
	return keys.names;
}
