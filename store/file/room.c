#include "store/file/room.h"

#include "store/file/row.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/statvfs.h>
#include <unistd.h>

void room_note(const struct disk_file *file, int error)
{
	if (file->append_error)
		atomic_store_explicit(file->append_error, error,
				      memory_order_relaxed);
}

static int room_last_error(const struct disk_file *file)
{
	return file->append_error ? atomic_load_explicit(file->append_error,
							 memory_order_relaxed)
				  : 0;
}

/* Whether the file system has no block, or no inode, for an ordinary user. One
 * that tells of no inodes makes them as it needs them. */
static bool room_is_short(const struct disk_file *file)
{
	struct statvfs fs;

	return statvfs(file->folder->path, &fs) == 0 &&
	       (fs.f_bavail == 0 || (fs.f_files > 0 && fs.f_favail == 0));
}

/* Sets bytes aside behind `size` and gives them back. */
static int room_try(int fd, off_t size)
{
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, size, ROW_SIZE) < 0)
		return -1;
	return ftruncate(fd, size);
}

static int room_try_new(const struct folder *folder)
{
	int fd = open(folder->path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return -1;
	int done = room_try(fd, 0), error = errno;
	close(fd);
	errno = error;
	return done;
}

static int room_ask(const struct disk_file *file)
{
	const char *folder = file->folder->path;
	int done = file->fd < 0 ? room_try_new(file->folder)
				: room_try(file->fd, disk_size(file));

	/* EISDIR: a file system without O_TMPFILE. */
	if (done == 0 || (errno != EOPNOTSUPP && errno != EISDIR))
		return done;
	if (file->fd < 0 && access(folder, W_OK | X_OK) < 0)
		return -1;
	errno = ENOSPC;
	return room_is_short(file) ? -1 : 0;
}

static bool room_is_doubtful(const struct disk_file *file)
{
	return room_last_error(file) || room_is_short(file) ||
	       access(file->path, F_OK) < 0;
}

int room_check(const struct disk_file *file)
{
	if (!room_is_doubtful(file))
		return 0;
	if (room_ask(file) < 0)
		return disk_fail(file, "write");
	room_note(file, 0);
	return 0;
}

int room_look(const struct disk_file *file, int64_t deadline)
{
	struct disk_file mine = {
		.path = file->path,
		.folder = file->folder,
		.fd = -1,
		.is_late = true,
		.append_error = file->append_error,
	};

	if (!room_is_doubtful(file))
		return 0;
	int status = disk_take(&mine, false, deadline);
	if (!status)
		status = room_check(&mine);
	disk_close(&mine);
	return status;
}
