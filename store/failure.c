#include "store/failure.h"

#include "util/log.h"
#include "util/reason.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOWN "store unavailable: "

enum kind { KIND_DOWN, KIND_GARBAGE, KIND_OWN };

static enum kind kind;
static const char *reason = "";
static char told[FAILURE_PARTS][REASON_MAX]; /* the last failures in the log */

__attribute__((format(printf, 2, 0))) static void
failure_note(enum kind how, const char *format, va_list args)
{
	reason = reason_write_list(format, args);
	kind = how;
}

int fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(KIND_DOWN, format, args);
	va_end(args);
	return 503;
}

int fail_garbage(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(KIND_GARBAGE, format, args);
	va_end(args);
	return 503;
}

int fail_own(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	failure_note(KIND_OWN, format, args);
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

const char *store_error(void)
{
	return reason;
}

const char *store_answer(void)
{
	return kind == KIND_OWN ? reason : reason_write(DOWN "%s", reason);
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
