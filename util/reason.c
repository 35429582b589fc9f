#include "util/reason.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Pages that were never used cost no memory. */
static char arena[REASON_ARENA];
static size_t used;
/* The newest reasons of this turn, or NULL: most failures of a turn are the
 * same, and each is told as a reason and as an answer. */
static const char *last[2];

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
	for (int i = 0; i < 2; i++)
		if (last[i] && strcmp(last[i], text) == 0)
			return last[i];
	used += strlen(text) + 1;
	last[1] = last[0];
	return last[0] = text;
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
	last[0] = last[1] = NULL;
}
