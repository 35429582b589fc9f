/*
 * reason.h - error texts that live for a turn
 *
 * An error text is written once, where the failure occurs, and callers keep the
 * pointer. The texts of a turn are in one arena, which is reset at the end of
 * the turn. A command has no turns and never resets it.
 */
#ifndef UTIL_REASON_H
#define UTIL_REASON_H

#include <stdarg.h>

enum {
	REASON_MAX = 4096 + 256, /* bytes of a reason: a path and what of it */
	REASON_ARENA = 1 << 20,	 /* bytes of all the reasons of a turn */
};

/*
 * Formats a reason, valid until reason_reset. A format that ends in ':' is
 * followed by a space and the text of errno; errno is preserved. A text that
 * equals the last one is stored once. When the arena is full, the result is a
 * static phrase that says so.
 */
__attribute__((format(printf, 1, 2))) const char *
reason_write(const char *format, ...);
__attribute__((format(printf, 1, 0))) const char *
reason_write_list(const char *format, va_list args);

/* Resets the arena: all reasons become invalid. */
void reason_reset(void);

#endif
