/*
 * secret.h - secrets that come from files
 */
#ifndef UTIL_SECRET_H
#define UTIL_SECRET_H

#include <stdbool.h>

enum { SECRET_MAX = 4096 /* bytes of a secret */ };

/* Whether it is one line of at most SECRET_MAX bytes. */
bool secret_is_good(const char *value);

/*
 * The file of the secret that a variable names: NAME_FILE, else what systemd's
 * LoadCredential= has put into $CREDENTIALS_DIRECTORY under the lower-case
 * name, unless the variable itself is set. NULL: there is none. Valid until the
 * next call.
 */
const char *secret_path(const char *name);

/* Reads a secret from a file. Gives NULL, or what is wrong: a phrase; `room`
 * then stays as it is. */
const char *secret_read(const char *path, char room[SECRET_MAX + 1]);

#endif
