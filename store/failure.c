#include "store/failure.h"

#include "util/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DOWN "store unavailable: "

enum { REASON_MAX = PATH_MAX + 256, DOWN_LEN = sizeof(DOWN) - 1 };

static char answer[DOWN_LEN + REASON_MAX] = DOWN;
static char *const reason = answer + DOWN_LEN;
static char told[REASON_MAX]; /* the last failure in the log */

int fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	int n = vsnprintf(reason, REASON_MAX, format, args);
	va_end(args);
	if (format[strlen(format) - 1] == ':' && n < REASON_MAX)
		snprintf(reason + n, (size_t)(REASON_MAX - n), " %s",
			 strerror(error));
	return 503;
}

const char *failure_reason(void)
{
	return reason;
}

const char *failure_answer(void)
{
	return answer;
}

void failure_tell(int status)
{
	if (status == 0) {
		if (told[0])
			log_info("the store works again");
		told[0] = '\0';
	} else if (strcmp(told, reason) != 0) {
		log_error("%s", reason);
		memcpy(told, reason, sizeof(told));
	}
}
