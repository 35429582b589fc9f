/*
 * failure.h - why a call of the store failed
 *
 * What is noted here is what store_error() and store_answer() give: failure.c
 * defines them for all stores.
 */
#ifndef STORE_FAILURE_H
#define STORE_FAILURE_H

#include "store/store.h"

#include <stdbool.h>

/* The kinds of failures that visitors are told of, where HEALTH_DETAIL is off:
 * a reason may hold addresses, paths and names of users. */
enum fault {
	FAULT_ANY,
	FAULT_AWAY,    /* nothing is there that could be asked */
	FAULT_LATE,    /* it does not answer in time, or is locked */
	FAULT_LOGIN,   /* it does not know us */
	FAULT_DENIED,  /* it does not let us */
	FAULT_FULL,    /* it has no room */
	FAULT_GARBAGE, /* what it holds is not understood */
	/* Files have no room, while visits in place need none. */
	FAULT_COUNTERS_FULL,
	FAULT_ITEMS_FULL,
	FAULTS
};

/* Each in a phrase about the store; a store defines them. */
extern const char *const failure_words[FAULTS];

/*
 * Notes the reason of a failure and gives 503. A format that ends in ':' is
 * followed by a space and the text of errno, and errno says which kind it is.
 * The text lives until the end of the turn (util/reason.h).
 */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);
__attribute__((format(printf, 2, 3))) int fail_as(enum fault fault,
						  const char *format, ...);

/* The same for data that is not understood, */
__attribute__((format(printf, 1, 2))) int fail_garbage(const char *format, ...);
/* and for a failure of one counter or item, while the store works. */
__attribute__((format(printf, 1, 2))) int fail_own(const char *format, ...);
enum fault failure_fault(void);
/* Says which file a FAULT_FULL that was just noted is about. Gives 503. */
int failure_refine(enum fault fault);
bool failure_is_garbage(void);
bool failure_is_own(void);

/* The parts of a store that may fail while the others work. */
enum failure_part {
	FAILURE_HOME,
	FAILURE_COUNTERS,
	FAILURE_ITEMS,
	FAILURE_ROOM, /* for new counters and items */
	FAILURE_ROWS, /* what a server refuses of single rows */
	FAILURE_PARTS
};

/* Logs the status of a call: a failure when its reason is new for that part,
 * and its end. */
void failure_tell(enum failure_part part, int status);

/* The same of a probe of the home counter on a server: data that is not
 * understood is this counter's alone, and the store works. */
void failure_tell_probe(int status);

#endif
