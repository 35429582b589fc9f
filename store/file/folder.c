#include "store/file/folder.h"

#include "store/failure.h"
#include "store/file/rights.h"
#include "util/reason.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LINKS_MAX = 40 /* that are followed, as by the kernel */ };

_Static_assert((int)FOLDER_WRONG == EREMCHG, "an errno that no file gives");

/*
 * Not by stat: since Linux 6.13 reading the time of the last change makes the
 * next write dirty the inode, for a finer stamp, and each fdatasync then writes
 * the inode, too (ext4, 2,000 syncs: 4,002 blocks and 120 us each with stat,
 * 2,048 and 82 us so). The structure is that of linux/stat.h, which musl has
 * since 1.2.4.
 */
int identity_of(int at, const char *path, struct identity *identity)
{
	struct {
		uint32_t mask, block_size;
		uint64_t attributes;
		uint32_t links, uid, gid;
		uint16_t mode, spare;
		uint64_t inode;
		uint64_t others[11];   /* sizes and times */
		uint32_t major, minor; /* of a device file */
		uint32_t device_major, device_minor;
		uint64_t reserved[14];
	} x;
	const int flags = *path ? 0 : 0x1000; /* AT_EMPTY_PATH: `at` itself */
	const unsigned inode_only = 0x100;    /* STATX_INO */

	_Static_assert(sizeof(x) == 256, "the kernel's struct statx");
	if (syscall(SYS_statx, at, path, flags, inode_only, &x) < 0)
		return -1;
	*identity = (struct identity){x.inode, x.device_major, x.device_minor};
	return 0;
}

static bool folder_identity_same_device(const struct identity *a,
					const struct identity *b)
{
	return a->major == b->major && a->minor == b->minor;
}

bool identity_equal(const struct identity *a, const struct identity *b)
{
	return a->inode == b->inode && folder_identity_same_device(a, b);
}

void folder_of(const char *path, char out[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash == path ? 1 : slash ? (size_t)(slash - path) : 0;

	snprintf(out, PATH_MAX, "%.*s", slash ? (int)n : 1, slash ? path : ".");
}

/* What a link in the folder `real` points to, or a name there. */
static void folder_join(const char *real, const char *link, char out[PATH_MAX])
{
	const char *slash = real[1] ? "/" : ""; /* not behind "/" */

	if (*link == '/')
		snprintf(out, PATH_MAX, "%s", link);
	else if (snprintf(out, PATH_MAX, "%s%s%s", real, slash, link) >=
		 PATH_MAX)
		*out = '\0';
}

void folder_real_path(const char *path, char out[PATH_MAX])
{
	char folder[PATH_MAX], real[PATH_MAX], link[PATH_MAX];
	ssize_t n = 0;

	snprintf(out, PATH_MAX, "%s", path);
	for (int i = 0; i < LINKS_MAX && n >= 0; i++) {
		if (realpath(out, real)) {
			memcpy(out, real, PATH_MAX);
			return;
		}
		folder_of(out, folder);
		if (!realpath(folder, real))
			return;
		const char *name = strrchr(out, '/');
		n = readlink(out, link, sizeof(link) - 1);
		if (n < 0)
			snprintf(link, PATH_MAX, "%s", name ? name + 1 : out);
		else
			link[n] = '\0';
		folder_join(real, link, out);
	}
}

int folder_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	int done = fsync(fd);
	/* Some file systems cannot sync a folder and say so. */
	if (done < 0 && errno == EINVAL)
		done = 0;
	int error = errno;
	close(fd);
	errno = error;
	return done;
}

int folder_create(const char *path)
{
	char parent[PATH_MAX];

	if (mkdir(path, 0755) < 0)
		return errno == EEXIST ? 0 : -1;
	folder_of(path, parent);
	return folder_sync(parent) < 0 ? -1 : 1;
}

int folder_hold(struct folder *f)
{
	int fd = open(f->path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (identity_of(fd, "", &f->identity) < 0) {
		close(fd);
		return -1;
	}
	folder_drop(f);
	f->fd = fd;
	return 0;
}

void folder_drop(struct folder *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

int folder_check(struct folder *f)
{
	struct identity now;

	if (f->fd < 0 && folder_hold(f) == 0)
		return 0;
	if (f->fd >= 0 && identity_of(AT_FDCWD, f->path, &now) == 0) {
		if (identity_equal(&now, &f->identity))
			return 0;
		if (!folder_identity_same_device(&now, &f->identity) &&
		    f->proves && f->proves() && folder_hold(f) == 0)
			return 0;
	}
	errno = FOLDER_WRONG;
	return -1;
}

int folder_fail(const struct folder *f)
{
	struct identity now;

	if (identity_of(AT_FDCWD, f->path, &now) < 0)
		return errno == EACCES
			       ? rights_fail_enter(
					 reason_write("cannot enter the folder "
						      "%s",
						      f->path),
					 f->path)
			       : fail("the folder %s is away:", f->path);
	return fail_as(
		FAULT_AWAY,
		"the folder %s is another one than at the start, and does "
		"not go on from there: put the right one in its place, or "
		"restart visitd",
		f->path);
}
