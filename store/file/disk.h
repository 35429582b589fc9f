/*
 * disk.h - a file that other processes write, too
 *
 * Calls give 0, or -1 with errno.
 */
#ifndef STORE_FILE_DISK_H
#define STORE_FILE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_file {
	const char *path;
	int fd;		 /* -1: not open */
	bool fresh;	 /* not yet synced together with its folder */
	unsigned opened; /* how often it was: what is known of another opening
			  * may be about another file */
	struct disk_identity {
		uint64_t inode;
		uint32_t major, minor; /* of the device */
	} identity;		       /* of the open file */
};

/*
 * Opens the file for reading and writing, if it is not open; `create` makes it
 * when it is missing (mode 0644). EINVAL: it is no regular file.
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
void disk_unlock(const struct disk_file *file);

/* All of `len` bytes at `offset`; ENOSPC when the file takes none of them. */
int disk_write(const struct disk_file *file, const char *text, size_t len,
	       off_t offset);
/* Up to `len` bytes at `offset`: how many, less only at the end of file. */
ssize_t disk_read(const struct disk_file *file, char *buf, size_t len,
		  off_t offset);

/* Brings what was written to disk; a fresh file with its folder. */
int disk_sync(struct disk_file *file);

/* Bytes of the open file. (Not by stat: see disk.c.) */
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
