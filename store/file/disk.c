#include "store/file/disk.h"

#include "store/failure.h"
#include "store/file/rights.h"
#include "store/file/room.h"
#include "util/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

enum { LOCKED_MS = 20 /* the wait for a lock that was held too long before */ };

int disk_open(struct disk_file *file, bool create)
{
	struct stat st;
	int flags = O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	if (file->fd >= 0)
		return 0;
	if (file->folder && folder_check(file->folder) < 0)
		return -1;
	int fd = open(file->path, flags | (create ? O_CREAT : 0), 0644);
	if (fd < 0)
		return -1;
	if (fstat(fd, &st) < 0 || identity_of(fd, "", &file->identity) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	file->fd = fd;
	file->fresh = true;
	file->safe = 0; /* Others may have failed to sync what is there. */
	file->end = st.st_size;
	file->opened++;
	return 0;
}

void disk_close(struct disk_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
	file->locked = false;
}

int disk_is_current(const struct disk_file *file)
{
	struct identity named;

	if (identity_of(AT_FDCWD, file->path, &named) < 0)
		return errno == ENOENT ? 0 : -1;
	return identity_equal(&named, &file->identity);
}

static void disk_wake(int signal_number)
{
	(void)signal_number;
}

/*
 * flock has no timeout, so a signal interrupts it. The timer repeats: a single
 * one that fires between the look at the clock and flock is lost.
 */
static int disk_lock_by(int fd, int64_t deadline)
{
	struct sigaction action = {.sa_handler = disk_wake}; /* no SA_RESTART */
	struct itimerval timer = {.it_interval = {.tv_usec = 10000}};
	struct itimerval off = {.it_interval = {0, 0}};
	int64_t left = deadline - clock_ms();
	int done;

	if (left <= 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	sigaction(SIGALRM, &action, NULL);
	timer.it_value.tv_sec = left / 1000;
	timer.it_value.tv_usec = left % 1000 * 1000;
	setitimer(ITIMER_REAL, &timer, NULL);
	do {
		done = flock(fd, LOCK_EX);
	} while (done < 0 && errno == EINTR && clock_ms() < deadline);
	int error = errno == EINTR ? ETIMEDOUT : errno;
	setitimer(ITIMER_REAL, &off, NULL);
	errno = error;
	return done;
}

static int disk_flock(int fd, int64_t deadline)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno != EWOULDBLOCK && errno != EINTR)
		return -1;
	return disk_lock_by(fd, deadline);
}

int disk_lock(struct disk_file *file, bool create, int64_t deadline)
{
	for (;;) {
		if (disk_open(file, create) < 0)
			return -1;
		int done = disk_flock(file->fd, deadline);
		int error = errno;
		int current = disk_is_current(file);
		file->locked = done == 0;
		if (done == 0 && current == 1)
			return 0;
		if (current < 0 && done == 0)
			error = errno;
		/* Unlocks it. Who replaced the file does not care who holds
		 * the old one, either. */
		if (current != 1)
			disk_close(file);
		if (done == 0 && current == 0 && clock_ms() <= deadline)
			continue;
		errno = done == 0 && current == 0 ? ESTALE : error;
		return -1;
	}
}

/* LOCKED_MS after the last wait in vain: a call that comes sooner is of the
 * same turn, whichever file it is about. */
static int64_t late_until;

int disk_take(struct disk_file *file, bool create, int64_t deadline)
{
	int64_t now = clock_ms();
	bool is_short = file->is_late || now < late_until;

	if (is_short && now + LOCKED_MS < deadline)
		deadline = now + LOCKED_MS;
	file->is_late = false;
	if (disk_lock(file, create, deadline) == 0)
		return 0;
	if (errno == ENOENT && !create)
		return 0;
	if (create)
		room_note(file, errno);
	file->is_late = errno == ETIMEDOUT;
	if (file->is_late)
		late_until = clock_ms() + LOCKED_MS;
	return disk_fail(file, "open and lock");
}

int disk_fail(const struct disk_file *file, const char *verb)
{
	switch (errno) {
	case FOLDER_WRONG:
		return folder_fail(file->folder);
	case ETIMEDOUT:
		return fail_as(FAULT_LATE, "%s is locked by another process",
			       file->path);
	case EINVAL:
		if (file->fd < 0)
			return fail("%s is not a regular file", file->path);
		break;
	}
	return rights_fail(verb, file->path);
}

void disk_unlock(struct disk_file *file)
{
	int error = errno;

	file->locked = false;
	while (flock(file->fd, LOCK_UN) < 0 && errno == EINTR)
		;
	errno = error;
}

int disk_write(struct disk_file *file, const char *text, size_t len,
	       off_t offset)
{
	if (offset < file->safe)
		file->safe = offset;
	if (offset + (off_t)len > file->end)
		file->end = offset + (off_t)len;
	while (len > 0) {
		ssize_t n = pwrite(file->fd, text, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0) {
			errno = ENOSPC;
			return -1;
		}
		text += n;
		len -= (size_t)n;
		offset += n;
	}
	return 0;
}

ssize_t disk_read(const struct disk_file *file, char *buf, size_t len,
		  off_t offset)
{
	size_t have = 0;

	while (have < len) {
		ssize_t n = pread(file->fd, buf + have, len - have,
				  offset + (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	return (ssize_t)have;
}

/* Under the lock: makes all pages behind `safe` dirty once more. */
static int disk_copy_over(struct disk_file *file)
{
	static char bytes[65536];

	for (off_t at = file->safe;;) {
		ssize_t n = disk_read(file, bytes, sizeof(bytes), at);

		if (n <= 0)
			return (int)n;
		if (disk_write(file, bytes, (size_t)n, at) < 0)
			return -1;
		at += n;
	}
}

/* After a sync that has failed. */
static int disk_write_again(struct disk_file *file)
{
	struct disk_file *lock = file->guard ? file->guard : file;
	bool was_locked = lock->locked;

	if (!was_locked && disk_flock(lock->fd, clock_ms() + LOCKED_MS) < 0)
		return -1;
	int done = -1;
	/* The lock of a file that was replaced keeps nobody from another. */
	if (lock == file || disk_is_current(lock) == 1)
		done = disk_copy_over(file);
	else
		errno = ESTALE;
	if (!was_locked)
		disk_unlock(lock);
	if (done == 0)
		file->lost = false;
	return done;
}

static int disk_sync_once(const struct disk_file *file)
{
	char folder[PATH_MAX];
	int done;

	do {
		done = file->fresh ? fsync(file->fd) : fdatasync(file->fd);
	} while (done < 0 && errno == EINTR);
	if (done < 0 || !file->fresh)
		return done;
	folder_of(file->path, folder);
	return folder_sync(folder);
}

int disk_sync(struct disk_file *file)
{
	if (file->lost && disk_write_again(file) < 0)
		return -1;
	if (disk_sync_once(file) == 0) {
		file->fresh = file->unsynced = false;
		file->safe = file->end;
		return 0;
	}
	int error = errno;
	file->fresh = file->lost = true;
	disk_write_again(file); /* else the next sync does */
	errno = error;
	return -1;
}

int disk_settle(struct disk_file *file, enum sync_mode sync, bool wrote)
{
	file->unsynced |= wrote && sync != SYNC_NO;
	if (file->fd < 0 || sync != SYNC_ALWAYS || !(wrote || file->fresh))
		return 0;
	return disk_sync(file) < 0 ? disk_fail(file, "sync") : 0;
}

off_t disk_size(const struct disk_file *file)
{
	return lseek(file->fd, 0, SEEK_END);
}

static void disk_keep_owner(const struct disk_file *file, int fresh)
{
	struct stat st;

	if (stat(file->path, &st) < 0)
		return;
	/* Whom a host's user has let read it may go on to. */
	if (fchmod(fresh, st.st_mode & 07777) < 0 ||
	    fchown(fresh, st.st_uid, st.st_gid) < 0)
		return;
}

int disk_new(const struct disk_file *file, struct disk_file *fresh, char *path)
{
	*fresh = (struct disk_file){.path = path, .fd = -1};
	if (snprintf(path, PATH_MAX, "%s.new", file->path) >= PATH_MAX) {
		errno = ENAMETOOLONG;
		return -1;
	}
	unlink(path); /* what a crash may have left */
	if (disk_open(fresh, true) < 0)
		return -1;
	disk_keep_owner(file, fresh->fd);
	fresh->locked = flock(fresh->fd, LOCK_EX | LOCK_NB) == 0;
	if (fresh->locked)
		return 0;
	disk_discard(fresh);
	return -1;
}

void disk_discard(struct disk_file *fresh)
{
	int error = errno;

	disk_close(fresh);
	unlink(fresh->path);
	errno = error;
}

int disk_put(struct disk_file *file, struct disk_file *fresh)
{
	if (fsync(fresh->fd) < 0 || rename(fresh->path, file->path) < 0) {
		disk_discard(fresh);
		return -1;
	}
	disk_close(file);
	file->fd = fresh->fd;
	file->identity = fresh->identity;
	file->locked = file->fresh = true;
	file->safe = file->end = fresh->end;
	file->lost = false;
	file->opened++;
	return 0;
}

int disk_replace(struct disk_file *file, const char *text, size_t len)
{
	char path[PATH_MAX];
	struct disk_file fresh;

	if (disk_new(file, &fresh, path) < 0)
		return -1;
	if (disk_write(&fresh, text, len, 0) < 0) {
		disk_discard(&fresh);
		return -1;
	}
	if (disk_put(file, &fresh) < 0)
		return -1;
	disk_close(file);
	return 0;
}
