/*
 * redis.h - what the parts of the Redis store share; for them alone
 *
 * redis.c        the whole: setting, dropping, health
 * redis_count.c  the visits of a turn
 * redis_each.c   all counters
 * redis_items.c  the items
 * redis_script.c keys, commands, scripts
 * redis_reply.c  what is answered
 *
 * A command is known by the number that pipeline_add has given it.
 */
#ifndef STORE_REDIS_REDIS_H
#define STORE_REDIS_REDIS_H

#include "store/net/pipeline.h"
#include "store/store.h"
#include "util/number.h"

#define REDIS_NAMES_KEY "visit_counters"
#define REDIS_ITEM_KEY	"item:"

enum {
	REDIS_KEY_MAX = STORE_NAME_MAX + 32, /* bytes of any key, and a NUL */
	REDIS_DROPPED_S = 300, /* how long a dropped counter is known as one */
};

/*
 * Keys and commands
 */

/* Those of a counter, both with a NUL behind them. */
struct redis_keys {
	char total[REDIS_KEY_MAX], history[REDIS_KEY_MAX];
	struct slice total_key, history_key;
};
void redis_make_keys(struct redis_keys *keys, struct slice counter);

/* The number of the local day; what is asked until the next call of this is
 * about that day. */
int64_t redis_day(void);

static inline struct slice redis_number(char out[NUMBER_MAX], int64_t value)
{
	return (struct slice){out, number_write(out, value)};
}

/* GET; and HGET of what the total was when the day began. */
size_t redis_get(struct slice key);
size_t redis_get_base(const struct redis_keys *keys);

/*
 * A script about one counter, with a number: the visits to add, the total to
 * set, the seconds to remember that it was dropped. `is_booked`: its name is in
 * the set of the names. Its answer is a word: ok, full (of names), new (not
 * booked, or nothing to drop) or garbage, with the text that is there.
 */
enum redis_script { REDIS_ADD, REDIS_SET, REDIS_DROP };
size_t redis_run_script(enum redis_script script, struct slice counter,
			const struct redis_keys *keys, int64_t number,
			bool is_booked);

/* The script that books a name: ok or full. */
size_t redis_book(struct slice counter);

/* Lua: whether a text is a total, as Redis writes it. */
#define REDIS_IS_TOTAL                                               \
	"local function is_total(s)\n"                               \
	"  return (s == '0' or string.find(s, '^[1-9]%d*$')) and\n"  \
	"    (#s < 19 or #s == 19 and s <= '9223372036854775807')\n" \
	"end\n"

/*
 * Replies
 */

struct slice redis_text(const redisReply *reply);
bool redis_is_text(const redisReply *reply);

/* Whether it is an error with this in its words; of no reply it is not. */
bool redis_is_error(const redisReply *reply, const char *part);

/* A total, in the one way that Redis writes it. */
bool redis_read_total(struct slice text, int64_t *total);

/*
 * The word that a script has answered, with as many texts after it as it should
 * have: `texts` after ok, one after garbage. NULL: it is another reply, or
 * none.
 */
const char *redis_word(size_t command, size_t texts);

/*
 * The same of a script about a counter: 0 for ok, -1 for new, else the status,
 * with its reason noted, of what it could not do or of another reply.
 */
int redis_judge(size_t command, const char *key, size_t texts);
struct slice redis_word_text(size_t command, size_t i);

/* Each notes why a call fails and gives the status: a reply that is not what it
 * should be, or did not come; a key that holds no number. */
int redis_fail(size_t command, const char *key);
int redis_fail_text(size_t command, const char *key, struct slice text);

/*
 * Counting
 */

/* Takes the replies to redis_get and redis_get_base, which is the command after
 * it: fills the tally in, or gives 503. */
int redis_settle_read(struct tally *t, size_t command, const char *key);

/* Tells the log of a status that somebody gets. */
void redis_tell(int status);

/* What is known of counters. */
void redis_forget_all(void);

#endif
