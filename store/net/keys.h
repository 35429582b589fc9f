/*
 * keys.h - the names of the keys in Redis
 *
 * | visit_counter:NAME      | the total of a counter                       |
 * | visit_counter:homepage  | that of the home counter, or REDIS_KEY       |
 * | visit_history:{TOTAL} ..| helpers, whose tag is the key of the total   |
 * | visit_counters          | the set of the names                         |
 * | item:id, item:7         | the last id, and an item                     |
 *
 * REDIS_PREFIX goes before each. The braces are Redis's hash tag: the keys of a
 * counter share a slot. Where prefix or REDIS_KEY has a tag of its own, the
 * helpers have that one. Only totals begin with "visit_counter:", since a name
 * may hold a colon.
 *
 * Each key is written into the caller's bytes, with a NUL behind it.
 */
#ifndef STORE_NET_KEYS_H
#define STORE_NET_KEYS_H

#include "util/settings.h"
#include "util/slice.h"

#include <stdint.h>

enum { KEYS_MAX = 1024 /* bytes of any key */ };

struct key {
	char bytes[KEYS_MAX];
};

/* Before any other: the settings, which must outlive the keys. */
void keys_open(const struct settings *settings);

struct slice keys_total(struct key *key, struct slice counter);

/* A key that belongs to `counter`: `kind` is how it begins. */
struct slice keys_helper(struct key *key, struct slice kind,
			 struct slice counter);

struct slice keys_item(struct key *key, int64_t id);

/* "item:id", and the set of the names; valid until the next keys_open. */
struct slice keys_last_id(void);
struct slice keys_names(void);

#endif
