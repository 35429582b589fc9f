/*
 * folder.h - the folder that files stand in, and whether it is still that one
 *
 * 1. The master holds the folder open from its first look, and workers inherit
 *    that: an open folder's inode number is not used again (ext4 gives the same
 *    number to the next mkdir after an rmdir).
 * 2. A folder that is away, or another one at its path, is an error, also for
 *    reads: a missing file means "nothing yet" only in the right folder.
 * 3. Another folder is accepted in its place if it is on another device (it was
 *    mounted again) and `proves` says that its content goes on from here.
 *
 * The folder is checked when a file is opened: as long as a path names the open
 * file, the file's folder is the right one.
 */
#ifndef STORE_FILE_FOLDER_H
#define STORE_FILE_FOLDER_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct identity {
	uint64_t inode;
	uint32_t major, minor; /* of the device */
};

/* The identity of `path` under the folder `at`; of `at` itself if `path` is
 * empty. Gives 0, or -1 with errno. */
int identity_of(int at, const char *path, struct identity *identity);

bool identity_equal(const struct identity *a, const struct identity *b);

struct folder {
	char path[PATH_MAX];
	int fd; /* O_PATH; -1: not held */
	struct identity identity;
	/* Whether the folder that is at `path` now goes on from what was
	 * answered; NULL: never. */
	bool (*proves)(void);
};

/* The errno of folder_check, and of calls that open a file, for invariant 2. */
enum { FOLDER_WRONG = 78 /* EREMCHG */ };

/* Makes a folder that is missing, not its parents, and syncs its parent: 1, 0
 * if it is there already, or -1 with errno. Called by the master's first look
 * alone. */
int folder_create(const char *path);

/* Holds the folder that is at f->path now. Gives 0, or -1 with errno. */
int folder_hold(struct folder *f);

/* Whether the folder at f->path is the right one; if none is held, the one that
 * is there is. Gives 0, or -1 with errno: FOLDER_WRONG. */
int folder_check(struct folder *f);

/* What is wrong with it, after a call that failed with FOLDER_WRONG: notes the
 * reason (failure.h) and gives 503. */
int folder_fail(const struct folder *f);

/* Lets go of it. */
void folder_drop(struct folder *f);

/* The folder of the file at `path`, "." for a bare name, of PATH_MAX bytes. */
void folder_of(const char *path, char out[PATH_MAX]);

/* The path of a file without links, of PATH_MAX bytes: also of one that is not
 * there yet, which may be made through a link. */
void folder_real_path(const char *path, char out[PATH_MAX]);

/* Syncs a folder. Gives 0, or -1 with errno. */
int folder_sync(const char *path);

#endif
