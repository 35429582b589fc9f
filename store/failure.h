/*
 * failure.h - why the last call of a store failed
 */
#ifndef STORE_FAILURE_H
#define STORE_FAILURE_H

/*
 * Notes why a call fails, and gives 503. A format that ends in ':' gets a space
 * and the text of errno.
 */
__attribute__((format(printf, 1, 2))) int fail(const char *format, ...);

/* What was noted last, valid until the next note. */
const char *failure_reason(void);

/* The same as visitors are told it: "store unavailable: " and the reason. */
const char *failure_answer(void);

/* Tells the log of a call's status: a failure once, until something else
 * happens. */
void failure_tell(int status);

#endif
