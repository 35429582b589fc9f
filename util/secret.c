#include "util/secret.h"

#include "util/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A second line in a file, or a NUL, would be somebody's mistake. */
bool secret_is_good(const char *value)
{
	for (const char *p = value; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	return strlen(value) <= SECRET_MAX;
}

static const char *secret_credential(const char *name)
{
	static char path[PATH_MAX];
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	const char *value = getenv(name);

	if (!folder || (value && *value))
		return NULL;
	size_t n = strlen(folder), len = strlen(name);
	if (n + 1 + len >= sizeof(path))
		return NULL;
	memcpy(path, folder, n);
	path[n] = '/';
	for (size_t i = 0; i <= len; i++)
		path[n + 1 + i] = ascii_lower(name[i]);
	return access(path, F_OK) == 0 ? path : NULL;
}

const char *secret_path(const char *name)
{
	char variable[64];

	snprintf(variable, sizeof(variable), "%s_FILE", name);
	const char *path = getenv(variable);
	return path && *path ? path : secret_credential(name);
}

/* Up to `cap` bytes of a file, none other than a regular one: the length, or
 * -1 with errno. */
static ssize_t secret_read_file(const char *path, char *bytes, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	size_t len = 0;
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		while ((n = read(fd, bytes + len, cap - len)) > 0)
			len += (size_t)n;
	else
		errno = EINVAL;
	int error = errno;
	close(fd);
	errno = error;
	return n < 0 ? -1 : (ssize_t)len;
}

/* The newline that an editor or a shell puts behind it is no part of it. */
static size_t secret_without_newline(const char *text, size_t len)
{
	if (len > 0 && text[len - 1] == '\n')
		len--;
	if (len > 0 && text[len - 1] == '\r')
		len--;
	return len;
}

const char *secret_read(const char *path, char room[SECRET_MAX + 1])
{
	char text[SECRET_MAX + 3];
	ssize_t n = secret_read_file(path, text, sizeof(text) - 1);

	if (n < 0)
		return strerror(errno);
	size_t len = secret_without_newline(text, (size_t)n);
	text[len] = '\0';
	if (len == 0)
		return "it is empty";
	if (strlen(text) < len || !secret_is_good(text))
		return "it is longer, or more than one line of text";
	memcpy(room, text, len + 1);
	return NULL;
}
