#include "store/failure.h"

#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOWN "store unavailable: "

enum { REASON_MAX = PATH_MAX + 256, DOWN_LEN = sizeof(DOWN) - 1 };

enum kind { KIND_DOWN, KIND_GARBAGE, KIND_OWN };

static enum kind kind;
static char answer[DOWN_LEN + REASON_MAX] = DOWN;
static char *const reason = answer + DOWN_LEN;
static char told[FAILURE_PARTS][REASON_MAX]; /* the last failures in the log */

__attribute__((format(printf, 2, 0))) static void
note(enum kind how, const char *format, va_list args)
{
	int error = errno;
	int n = vsnprintf(reason, REASON_MAX, format, args);

	if (format[strlen(format) - 1] == ':' && n < REASON_MAX)
		snprintf(reason + n, (size_t)(REASON_MAX - n), " %s",
			 strerror(error));
	kind = how;
}

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(KIND_DOWN, format, args);
	va_end(args);
	return 503;
}

int fail_garbage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(KIND_GARBAGE, format, args);
	va_end(args);
	return 503;
}

int fail_own(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	note(KIND_OWN, format, args);
	va_end(args);
	return 503;
}

bool failure_is_garbage(void)
{
	return kind == KIND_GARBAGE;
}

bool failure_is_own(void)
{
	return kind == KIND_OWN;
}

const char *failure_reason(void)
{
	return reason;
}

const char *failure_answer(void)
{
	return kind == KIND_OWN ? reason : answer;
}

void failure_tell(enum failure_part part, int status)
{
	if (status == 0) {
		if (told[part][0])
			log_info("the store works again");
		told[part][0] = '\0';
	} else if (strcmp(told[part], reason) != 0) {
		log_error("%s", reason);
		memcpy(told[part], reason, REASON_MAX);
	}
}
