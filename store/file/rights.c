#include "store/file/rights.h"

#include "store/failure.h"
#include "store/file/folder.h"
#include "util/container.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What this user may not do everything with: the first of it, and all of it as
 * words of a command. */
struct denied {
	char first[PATH_MAX];
	struct stat st; /* of the first */
	char words[2048];
};

/* Adds a path, if it is there and not all of `wanted` is allowed. */
static void rights_add(struct denied *d, const char *path, int wanted)
{
	size_t n = strlen(d->words);
	struct stat st;

	if (stat(path, &st) < 0 || access(path, wanted) == 0)
		return;
	if (n == 0) {
		snprintf(d->first, sizeof(d->first), "%s", path);
		d->st = st;
	}
	snprintf(d->words + n, sizeof(d->words) - n, " %s", path);
}

/* One command is to do for all of the store. */
static void rights_look(struct denied *d, const char *path, const char *folder)
{
	static const char *const names[] = {"visits", "counters", "history",
					    "items"};
	char other[PATH_MAX];

	rights_add(d, folder, R_OK | W_OK | X_OK);
	rights_add(d, path, R_OK | W_OK);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		int n = snprintf(other, sizeof(other), "%s/%s", folder,
				 names[i]);

		if (n < (int)sizeof(other) && strcmp(other, path) != 0)
			rights_add(d, other, R_OK | W_OK);
	}
}

/* Where nothing is wrong with the file and its folder. */
static int rights_fail_above(const char *what, const char *path)
{
	char folder[PATH_MAX], inner[PATH_MAX];
	struct stat st;

	do {
		snprintf(inner, sizeof(inner), "%s", path);
		folder_of(inner, folder);
		path = folder;
	} while (stat(folder, &st) < 0 && strchr(folder + 1, '/'));
	if (access(folder, X_OK) < 0)
		return fail_as(
			FAULT_DENIED,
			"%s: Permission denied: user %u may not enter %s: "
			"as root, chmod a+x %s",
			what, geteuid(), folder, folder);
	return fail_as(
		FAULT_DENIED,
		"%s: Permission denied, though owner and mode would do: "
		"is there an access control list, or SELinux (a container "
		"mounts with :z then)?",
		what);
}

int rights_fail_enter(const char *what, const char *folder)
{
	return errno == EACCES ? rights_fail_above(what, folder)
			       : fail("%s:", what);
}

int rights_fail_make(const char *folder)
{
	char parent[PATH_MAX], what[PATH_MAX + 64];

	snprintf(what, sizeof(what), "DATA_DIR=%s: cannot make this folder",
		 folder);
	if (errno != EACCES)
		return fail("%s:", what);
	folder_of(folder, parent);
	if (access(parent, X_OK) < 0)
		return rights_fail_above(what, folder);
	return fail_as(
		FAULT_DENIED,
		"%s: Permission denied: as root, install -d -o %u -g %u %s "
		"(in a container, mount a volume there)",
		what, geteuid(), getegid(), folder);
}

/* By another one than its owner. */
static int rights_fail_owner(const char *what, const struct denied *d,
			     const char *folder)
{
	char how[PATH_MAX + 128] = "as root, chown";

	/* A container seldom has the right to. */
	if (container_is_inside(""))
		snprintf(how, sizeof(how),
			 "on the host, docker run --rm --user 0 --entrypoint "
			 "chown -v VOLUME:%s IMAGE",
			 folder);
	return fail_as(
		FAULT_DENIED,
		"%s: Permission denied: %s belongs to %u:%u with mode "
		"%04o, and visitd runs as %u:%u: %s %u:%u%s, or run visitd "
		"as %u (in a container: user: \"%u\")",
		what, d->first, d->st.st_uid, d->st.st_gid,
		d->st.st_mode & 07777, geteuid(), getegid(), how, geteuid(),
		getegid(), d->words, d->st.st_uid, d->st.st_uid);
}

int rights_fail(const char *verb, const char *path)
{
	struct denied d = {.words = ""};
	char folder[PATH_MAX], what[PATH_MAX + 64];

	snprintf(what, sizeof(what), "cannot %s %s", verb, path);
	if (errno != EACCES)
		return fail("%s:", what);
	folder_of(path, folder);
	rights_look(&d, path, folder);
	mode_t own = S_ISDIR(d.st.st_mode) ? 0700 : 0600;
	if (!d.words[0] ||
	    (d.st.st_uid == geteuid() && (d.st.st_mode & own) == own))
		return rights_fail_above(what, path);
	if (d.st.st_uid == geteuid())
		return fail_as(FAULT_DENIED,
			       "%s: Permission denied: %s has mode %04o: chmod "
			       "u+rwX%s",
			       what, d.first, d.st.st_mode & 07777, d.words);
	return rights_fail_owner(what, &d, folder);
}
