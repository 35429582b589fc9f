#include "util/reason.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Pages that were never used cost no memory. */
static char arena[REASON_ARENA];
static size_t used;
static const char *last; /* the newest reason of this turn, or NULL */

const char *reason_write_list(const char *format, va_list args)
{
	char *text = arena + used;
	int error = errno;

	if (sizeof(arena) - used < REASON_MAX)
		return "too much has failed in this turn to say why";
	int n = vsnprintf(text, REASON_MAX, format, args);
	if (format[strlen(format) - 1] == ':' && n < REASON_MAX)
		snprintf(text + n, (size_t)(REASON_MAX - n), " %s",
			 strerror(error));
	errno = error;
	if (last && strcmp(last, text) == 0)
		return last;
	used += strlen(text) + 1;
	return last = text;
}

const char *reason_write(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	const char *text = reason_write_list(format, args);
	va_end(args);
	return text;
}

void reason_reset(void)
{
	used = 0;
	last = NULL;
}
