/*
 * failure.h - why the last call of a store failed
 */
#ifndef STORE_FAILURE_H
#define STORE_FAILURE_H

#include <stdbool.h>

/*
 * Notes why a call fails, and gives 503. A format that ends in ':' gets a space
 * and the text of errno. The reason lives for the turn (util/reason.h).
 */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

/* The same for what cannot be understood, */
__attribute__((format(printf, 1, 2))) int fail_garbage(const char *format, ...);
/* and for what concerns the visitor's own counter or item, not the store. */
__attribute__((format(printf, 1, 2))) int fail_own(const char *format, ...);
bool failure_is_garbage(void);
bool failure_is_own(void);

/* What was noted last. */
const char *failure_reason(void);

/* The same as visitors are told it: with "store unavailable: " before it, where
 * the store is to blame. */
const char *failure_answer(void);

/* What a store keeps apart, so that one may fail while the others work. */
enum failure_part {
	FAILURE_HOME,
	FAILURE_COUNTERS,
	FAILURE_ITEMS,
	FAILURE_PARTS
};

/* Tells the log of a call's status: a failure once, until something else
 * happens to that part. */
void failure_tell(enum failure_part part, int status);

#endif
