/*
 * store.h - where the visits are kept
 *
 * One store is linked into a program: make STORE=name takes store/name/ and
 * what its store.mk names. To add a store: a folder with such a file, in which
 * all of these are defined; then run tests/unit/test_store.c and tests/e2e
 * against it: they are the contract.
 *
 * A store is opened in the process that uses it, after fork: a flock belongs
 * to an open file and a connection to one conversation. Calls block, none for
 * longer than settings.store_timeout (but for a disk that hangs in a sync).
 *
 * What store_error and the member `error` give lives until the end of the turn
 * (util/reason.h), whatever is called meanwhile.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "util/settings.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the store is called: "file", "redis", "postgres". */
extern const char store_name[];

/* The counter of the page itself. */
#define STORE_HOME "homepage"

/*
 * What is wrong with the name of a counter, as a phrase; NULL: nothing. A name
 * has 1 to 100 bytes of UTF-8 without white space and controls, the ASCII ones
 * from A-Z a-z 0-9 . _ ~ - ! $ & ' ( ) * + , ; = : @, in segments separated by
 * single slashes, none of them empty, "." or "..". Stores are given no other,
 * and take none from their files.
 */
enum { STORE_NAME_MAX = 100 /* bytes */ };
const char *store_name_fault(struct slice name);
/* Whether a name may have this byte. */
bool store_name_has(char c);
/* Whether it is STORE_HOME. */
bool store_is_home(struct slice name);

/* The visits of one counter in one turn. */
struct tally {
	struct slice counter;
	int64_t n;     /* how many; 0 only reads, and creates nothing */
	int64_t total; /* out: after them */
	int64_t today; /* out: how many of the total since midnight */
	bool is_new; /* out: it had no total before this call (home always has)
		      */
	int status;  /* out: 0, or the HTTP status its visitors get */
	const char *error; /* out: with a status, why */
};

/*
 * In the master, before it forks for the first time: makes what the processes
 * of this store share (util/shared.h). A command does without. Gives 0, or the
 * exit code to end with; store_error() says why.
 */
int store_prepare(const struct settings *settings);

/*
 * Makes the store ready, with settings that must outlive it. Gives 0, or the
 * exit code that the first process to look at the store ends with: EXIT_DATA
 * (what is there cannot be understood) or EXIT_SYSTEM; store_error() says why.
 * After either the calls below may be made all the same: they try again.
 */
int store_open(const struct settings *settings);

/* Brings everything to disk and lets go of it. Gives 0, or 503 with
 * store_error(): something that was counted may not be there. */
int store_close(void);

/*
 * Commits the visits of a whole turn: `len` tallies with different counters.
 * The n numbers total-n+1 .. total belong to this call alone. A tally whose
 * status is set has counted nothing, or nothing that may be answered: 503
 * store down, locked, slow or counter full; 404 nothing was ever counted there
 * (n is 0); 507 no room for a new counter.
 */
void store_add(struct tally *tallies, size_t len);

/*
 * Sets a total, 0 <= value, of a counter that there may not be yet. Today's
 * visits stay what they are. Gives 0 or an HTTP status, with store_error():
 * 503, or 507 no room for a new counter.
 */
int store_set(struct slice counter, int64_t value);

/*
 * Forgets a counter, but for the home counter: the next visit there is the
 * first. Gives 0, 404 or 503, with store_error().
 */
int store_drop(struct slice counter);

/*
 * Calls `each` for every counter with its total, the home counter (if it was
 * ever counted) first. It may take its time: nothing is locked meanwhile, and
 * the slice is valid during the call. Gives 0, or 503 with store_error(), also
 * when some were told already.
 */
int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context);

/* An item of POST /items. */
enum {
	STORE_ITEM_NAME_MAX = 200,	    /* bytes */
	STORE_ITEM_DESCRIPTION_MAX = 10000, /* bytes */
	/* Bytes of an item as JSON: every byte of it may take six. */
	STORE_ITEM_JSON_MAX =
		6 * (STORE_ITEM_NAME_MAX + STORE_ITEM_DESCRIPTION_MAX) + 128,
	STORE_ITEMS_MAX = 64, /* that one store_items_get reads */
	/* That one store_items_create adds, and bytes of their texts. */
	STORE_NEW_ITEMS_MAX = 1024,
	STORE_NEW_BYTES_MAX = 1 << 20,
};

struct item {
	int64_t id;
	struct slice name, description; /* of a new one */
	struct slice json; /* of one that is read: {"id":1,"name":"...",
			    * "description":null}; valid until the next
			    * store_items_get */
	int status;	   /* out: 0, or the HTTP status its client gets */
	const char *error; /* out: with a status, why */
};

/*
 * Adds up to STORE_NEW_ITEMS_MAX items, with STORE_NEW_BYTES_MAX bytes of names
 * and descriptions, in one call to the disk or the server. In: name and
 * description, valid UTF-8 within the limits above; a description whose p is
 * NULL is null. Out: id, 1 or more, in the order of the array; or a status:
 * 503, 507 when there are MAX_ITEMS, 400 for what this store cannot hold. One
 * that has a status is not there, or nothing is known of it (503).
 */
void store_items_create(struct item *items, size_t len);

/* Reads up to STORE_ITEMS_MAX items by their ids: 0, 404 or 503. */
void store_items_get(struct item *items, size_t len);

/* Whether a visit could be counted now: 0 or 503, with store_error(). */
int store_ping(void);

/* The same for an operator, instead of store_open: changes nothing, not even
 * for a moment that others could see. Gives 0 and the home total, or an exit
 * code with store_error(); the store is then open unless opening it has failed.
 */
int store_check(const struct settings *settings, int64_t *total);

/*
 * Does what is due by the clock (SYNC=everysec). Gives the milliseconds after
 * which it wants to be called again, or -1: not before the next store_add.
 */
int store_tick(void);

/*
 * A descriptor that becomes readable when store_tick wants to be called, for as
 * long as the store is open; or -1: the clock alone says when.
 */
int store_watch(void);

/*
 * At start, by the process that has opened the store to look at it: tells the
 * log what its operator should know. Gives 0, or the exit code of a store that
 * must not be served from, with store_error(). One that is out of reach may be.
 */
int store_look(void);

/* What becomes of an answered visit when the store's server dies, in that
 * server's words; NULL where the settings say it. Valid until the next call. */
const char *store_durability(void);

/*
 * Why the last call failed: a phrase for the log. What clients are told: the
 * same if they are shown details, else the kind of fault. And that with
 * "store unavailable: " before it, unless one counter or item alone is
 * concerned.
 */
const char *store_error(void);
const char *store_told(void);
const char *store_answer(void);

/* Whether clients are shown details; they are not, at first. */
void store_show_detail(bool shows);

#endif
