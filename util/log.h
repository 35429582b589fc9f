/*
 * log.h - what visitd says to its operator
 *
 * Whole lines, each in one write of at most PIPE_BUF bytes, so that lines of
 * several processes never mix. A reader that does not read never stops a
 * worker: lines that do not fit are dropped and counted.
 */
#ifndef UTIL_LOG_H
#define UTIL_LOG_H

#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * Opens standard error and standard output for writing without blocking. Call
 * once, before forking and as the user who started the program: another one
 * may not open /proc/self/fd/2 again. Before it, lines go to stderr as it is.
 */
void log_open(enum log_level level);

/* A line on stderr: "2026-11-20T11:42:00Z visitd[42] warn: ...". A format that
 * ends in ':' gets a space and the text of errno. */
__attribute__((format(printf, 2, 3))) void log_line(enum log_level level,
						    const char *format, ...);

#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

/* One line on stderr as it is, then exit(status). Only before serving. */
__attribute__((format(printf, 2, 3), noreturn)) void
die(int status, const char *format, ...);

/*
 * Writes whole lines to stdout, `len` <= PIPE_BUF bytes holding `lines` of
 * them; drops them and counts when they would block or fail. The dropped ones
 * are told on stderr, at most once a second, when there is room again.
 */
void log_access(const char *text, size_t len, unsigned lines);

/* Exit codes (the contract's table). */
enum {
	EXIT_DONE = 0,
	EXIT_NO = 1,
	EXIT_USAGE = 100,
	EXIT_DATA = 102,
	EXIT_SYSTEM = 111
};

#endif
