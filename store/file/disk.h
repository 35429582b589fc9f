/*
 * disk.h - a file that other processes write, too
 *
 * Calls give 0, or -1 with errno.
 *
 * A kernel that cannot write a page tells it once, by the next sync, and takes
 * the page as clean from then on: the sync after that is passed without the
 * bytes. So when a sync has failed, everything since the last good one is
 * written again at once, under the lock, before anybody builds upon it; and
 * until a sync is good, no call answers without one, not even to read.
 */
#ifndef STORE_FILE_DISK_H
#define STORE_FILE_DISK_H

#include "store/file/folder.h"
#include "util/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_file {
	const char *path;
	struct folder
		*folder; /* is checked before the file is opened; or NULL */
	int fd;		 /* -1: not open */
	/* The file whose lock is this one's; NULL: its own. */
	struct disk_file *guard;
	bool locked;   /* by this process */
	bool fresh;    /* not yet synced together with its folder, or not since
			* a sync failed */
	bool unsynced; /* written, and not synced since */
	off_t safe;    /* what is before it was synced, as far as known */
	off_t end;     /* of what was there or was written */
	bool lost;     /* a sync failed: what is behind `safe` is to be written
			* again first */
	bool is_late;  /* the last wait for its lock was in vain */
	/* What the last append of any worker said (room.h), or NULL. */
	_Atomic int *append_error;
	unsigned opened;	  /* how often it was: what is known of another
				   * opening may be about another file */
	struct identity identity; /* of the open file */
};

/*
 * Opens the file for reading and writing, if it is not open; `create` makes it
 * when it is missing (mode 0644). EINVAL: it is no regular file. FOLDER_WRONG:
 * see folder.h; a file is missing (ENOENT) only in the right folder.
 */
int disk_open(struct disk_file *file, bool create);
void disk_close(struct disk_file *file);

/*
 * Whether `path` still names the open file: 1, or 0 when it was replaced or
 * removed. (The open descriptor keeps the inode's number from being reused.)
 */
int disk_is_current(const struct disk_file *file);

/*
 * Opens the file that the path names now, or makes it, and takes LOCK_EX,
 * waiting until `deadline` (clock_ms) at most: ETIMEDOUT. ESTALE: the file was
 * replaced again and again until then. SIGALRM and ITIMER_REAL are its own.
 */
int disk_lock(struct disk_file *file, bool create, int64_t deadline);
void disk_unlock(struct disk_file *file);

/*
 * The same for a call of the store: gives 0, or 503 with the reason noted
 * (failure.h). 0 with file->fd < 0: the file is missing, and without `create`
 * none is needed. After a wait that was in vain, later calls wait for this file
 * for a few milliseconds, until its lock is had again; and so do calls about
 * other files in the same turn. So a turn waits once, whatever its calls are,
 * and not every turn while somebody else holds a file.
 */
int disk_take(struct disk_file *file, bool create, int64_t deadline);

/* Notes why `verb`, such as "read", has failed, by errno; gives 503. */
int disk_fail(const struct disk_file *file, const char *verb);

/* All of `len` bytes at `offset`; ENOSPC when the file takes none of them. */
int disk_write(struct disk_file *file, const char *text, size_t len,
	       off_t offset);
/* Up to `len` bytes at `offset`: how many, less only at the end of file. */
ssize_t disk_read(const struct disk_file *file, char *buf, size_t len,
		  off_t offset);

/* Brings what was written to disk; a fresh file with its folder. With or
 * without the lock. */
int disk_sync(struct disk_file *file);

/*
 * After the lock was released, and before answering: syncs what the setting
 * asks for. `wrote`: this call has written. With SYNC_ALWAYS a file that was
 * written, or is fresh, is synced now; with SYNC_EVERYSEC it is `unsynced`, for
 * the tick. Gives 0, or 503 with the reason noted.
 */
int disk_settle(struct disk_file *file, enum sync_mode sync, bool wrote);

/* Bytes of the open file. (Not by stat: see folder.c.) */
off_t disk_size(const struct disk_file *file);

/*
 * A new, empty, locked file that may take the place of `file`, with its mode
 * and, if possible, its owner. Its name goes to `path`, of PATH_MAX bytes,
 * which must outlive it.
 */
int disk_new(const struct disk_file *file, struct disk_file *fresh, char *path);

/*
 * Puts it there: syncs it and renames it. `file` is then open as what `fresh`
 * was, with its lock; disk_sync brings the rename to disk. After -1 the old
 * file is in its place, and the new one is gone.
 */
int disk_put(struct disk_file *file, struct disk_file *fresh);

/* Gives a new file up. Keeps errno. */
void disk_discard(struct disk_file *fresh);

/* Puts `len` bytes in the place of the file, which is then closed. */
int disk_replace(struct disk_file *file, const char *text, size_t len);

#endif
