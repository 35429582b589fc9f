#include "store/failure.h"

#include "util/log.h"
#include "util/reason.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOWN "store unavailable: "

static bool is_own;
static enum fault fault;
static const char *reason = "";
static bool shows_detail;
static char told[FAILURE_PARTS][REASON_MAX]; /* the last failures in the log */

__attribute__((format(printf, 2, 0))) static void
failure_note(enum fault how, const char *format, va_list args)
{
	reason = reason_write_list(format, args);
	fault = how;
	is_own = false;
}

static enum fault failure_of_errno(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
	case ECONNRESET:
	case EPIPE:
	case ENETUNREACH:
	case EHOSTUNREACH:
		return FAULT_AWAY;
	case ETIMEDOUT:
		return FAULT_LATE;
	case EACCES:
	case EPERM:
	case EROFS:
		return FAULT_DENIED;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return FAULT_FULL;
	default:
		return FAULT_ANY;
	}
}

int fail(const char *format, ...)
{
	size_t n = strlen(format);
	bool has_errno = n > 0 && format[n - 1] == ':';
	enum fault how = has_errno ? failure_of_errno(errno) : FAULT_ANY;
	va_list args;

	va_start(args, format);
	failure_note(how, format, args);
	va_end(args);
	return 503;
}

int fail_as(enum fault how, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(how, format, args);
	va_end(args);
	return 503;
}

int fail_garbage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(FAULT_GARBAGE, format, args);
	va_end(args);
	return 503;
}

int fail_own(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(FAULT_ANY, format, args);
	va_end(args);
	is_own = true;
	return 503;
}

enum fault failure_fault(void)
{
	return fault;
}

int failure_refine(enum fault how)
{
	if (fault == FAULT_FULL)
		fault = how;
	return 503;
}

bool failure_is_garbage(void)
{
	return fault == FAULT_GARBAGE;
}

bool failure_is_own(void)
{
	return is_own;
}

const char *store_error(void)
{
	return reason;
}

void store_show_detail(bool shows)
{
	shows_detail = shows;
}

const char *store_told(void)
{
	return is_own || shows_detail ? reason : failure_words[fault];
}

const char *store_answer(void)
{
	return is_own ? reason : reason_write(DOWN "%s", store_told());
}

void failure_tell(enum failure_part part, int status)
{
	if (status == 0) {
		if (told[part][0])
			log_info("the store works again");
		told[part][0] = '\0';
	} else if (strcmp(told[part], reason) != 0) {
		log_error("%s", reason);
		snprintf(told[part], REASON_MAX, "%s", reason);
	}
}

void failure_tell_probe(int status)
{
	bool is_single = status && failure_is_garbage();

	if (is_single || status == 0)
		failure_tell(FAILURE_COUNTERS, status);
	if (!is_single)
		failure_tell(FAILURE_HOME, status);
}
