#include "util/log.h"

#include "util/date.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct sink {
	int fd;
	bool is_socket; /* write by send(MSG_DONTWAIT) */
	bool may_block; /* could not be opened again: poll before writing */
};

static struct sink err = {.fd = STDERR_FILENO};
static struct sink out = {.fd = STDOUT_FILENO, .may_block = true};
static enum log_level shown = LOG_INFO;
static uint64_t dropped, dropped_told;

/*
 * O_NONBLOCK belongs to the open file description, which a shell or a
 * supervisor shares with us: setting it would break their writes. Opening the
 * same pipe, terminal or file once more gives a description of our own.
 */
static struct sink sink_open(int fd)
{
	char path[32];
	struct stat st;
	struct sink sink = {.fd = fd, .may_block = true};

	if (fstat(fd, &st) < 0)
		return sink;
	if (S_ISSOCK(st.st_mode)) {
		sink.is_socket = true;
		return sink;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path,
		       O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (own >= 0) {
		sink.fd = own;
		sink.may_block = false;
	}
	return sink;
}

void log_open(enum log_level level)
{
	shown = level;
	err = sink_open(STDERR_FILENO);
	out = sink_open(STDOUT_FILENO);
}

/* One write of whole lines; false when nothing or not all of it was taken. */
static bool sink_write(const struct sink *sink, const char *text, size_t len)
{
	ssize_t n;

	if (sink->is_socket) {
		n = send(sink->fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		struct pollfd ready = {.fd = sink->fd, .events = POLLOUT};

		if (sink->may_block && poll(&ready, 1, 0) != 1)
			return false;
		n = write(sink->fd, text, len);
	}
	return n == (ssize_t)len;
}

/* Appends the formatted text to `line`, and errno's if it ends in ':'. Control
 * bytes become '?': a line is a line, whatever a path or a peer holds. */
__attribute__((format(printf, 4, 0))) static size_t
format_line(char *line, size_t cap, size_t len, const char *format,
	    va_list args)
{
	int error = errno;
	size_t start = len;
	int n = vsnprintf(line + len, cap - len, format, args);

	if (n > 0)
		len += (size_t)n < cap - len ? (size_t)n : cap - len - 1;
	size_t format_len = strlen(format);
	if (format_len > 0 && format[format_len - 1] == ':') {
		n = snprintf(line + len, cap - len, " %s", strerror(error));
		if (n > 0)
			len += (size_t)n < cap - len ? (size_t)n
						     : cap - len - 1;
	}
	for (size_t i = start; i < len; i++)
		if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
			line[i] = '?';
	line[len++] = '\n'; /* in the place of the NUL */
	return len;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	char line[1024], when[DATE_UTC_SIZE];
	va_list args;
	int error = errno;

	if (level > shown)
		return;
	date_write_utc(when, time(NULL));
	int n = snprintf(line, sizeof(line),
			 "%.*s visitd[%d] %s: ", DATE_UTC_SIZE, when,
			 (int)getpid(), names[level]);
	va_start(args, format);
	errno = error;
	size_t len = format_line(line, sizeof(line), (size_t)n, format, args);
	va_end(args);
	sink_write(&err, line, len);
	errno = error;
}

void die(int status, const char *format, ...)
{
	char line[1024] = "visitd: ";
	va_list args;

	va_start(args, format);
	size_t len =
		format_line(line, sizeof(line), strlen(line), format, args);
	va_end(args);
	if (write(STDERR_FILENO, line, len) < 0)
		status = EXIT_SYSTEM;
	exit(status);
}

void log_access(const char *text, size_t len, unsigned lines)
{
	static time_t told_at;
	time_t now;

	if (!sink_write(&out, text, len)) {
		dropped += lines;
		return;
	}
	if (dropped == dropped_told || (now = time(NULL)) == told_at)
		return;
	log_warn("standard output was full: %llu lines of the access log were "
		 "dropped",
		 (unsigned long long)(dropped - dropped_told));
	dropped_told = dropped;
	told_at = now;
}
