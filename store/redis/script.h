/*
 * script.h - the keys, commands and scripts about a counter
 *
 * Each command is added to the pipeline; its result is its number there.
 */
#ifndef STORE_REDIS_SCRIPT_H
#define STORE_REDIS_SCRIPT_H

#include "store/net/keys.h"
#include "store/store.h"
#include "util/number.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	REDIS_DROPPED_S = 300, /* how long a dropped counter is marked */
};

/* The keys of a counter. */
struct redis_keys {
	struct key total_bytes, history_bytes;
	struct slice total, history;
};
void redis_make_keys(struct redis_keys *keys, struct slice counter);

/* Reads the clock: the commands added until the next call of this are about
 * that local day. Gives its number. */
int64_t redis_day(void);
/* Whether the clock is right, so that visits belong to it. */
bool redis_is_dated(void);

static inline struct slice redis_number(char out[NUMBER_MAX], int64_t value)
{
	return (struct slice){out, number_write(out, value)};
}

/* GET */
size_t redis_get(struct slice key);

/* HGET of a counter's base today. */
size_t redis_get_base(const struct redis_keys *keys);

/* GET of a counter's total, and as the next command redis_get_base. */
size_t redis_get_total(const struct redis_keys *keys);

/*
 * A script about a counter, and its number: the visits to add, the total to
 * set, the seconds to mark it as dropped. `is_booked`: in a Cluster, the name
 * is in the set of the names already.
 */
enum redis_script { REDIS_ADD, REDIS_SET, REDIS_DROP, REDIS_CHECK };
size_t redis_run_script(enum redis_script script, struct slice counter,
			const struct redis_keys *keys, int64_t number,
			bool is_booked);

/* In a Cluster: the script that adds a name to the set of the names. */
size_t redis_book(struct slice counter);

#endif
