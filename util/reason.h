/*
 * reason.h - why something was refused: texts that live for a turn
 *
 * A reason is written once, where the failure is met, and everybody who tells
 * it keeps the pointer. All of them are in one arena, which the loop resets at
 * the end of each turn. A process without turns (a command) never resets it.
 */
#ifndef UTIL_REASON_H
#define UTIL_REASON_H

#include <stdarg.h>

enum {
	REASON_MAX = 4096 + 256, /* bytes of a reason: a path and what of it */
	REASON_ARENA = 1 << 20,	 /* bytes of all the reasons of a turn */
};

/*
 * Writes a reason; valid until reason_reset. A format that ends in ':' gets a
 * space and the text of errno, which is kept. One that is the same as the last
 * is not written again. Where the arena is full: a phrase that says so.
 */
__attribute__((format(printf, 1, 2))) const char *
reason_write(const char *format, ...);
__attribute__((format(printf, 1, 0))) const char *
reason_write_list(const char *format, va_list args);

/* Ends the life of all reasons. */
void reason_reset(void);

#endif
