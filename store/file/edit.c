#include "store/file/edit.h"

#include "store/failure.h"
#include "util/clock.h"

#include <sys/stat.h>

enum {
	/* A shell between its truncation and its write was seen to wait more
	 * than 20 ms for a CPU when two of them had ten processes to run. */
	EDIT_MS = 100,
};

static bool edit_is_same_time(const struct timespec *a,
			      const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool edit_is_over(struct edit *e, const struct disk_file *file)
{
	struct stat st = {.st_size = -1}; /* missing */
	int64_t now = clock_ms();

	if (file->fd >= 0 && fstat(file->fd, &st) < 0)
		st = (struct stat){.st_size = -1};
	if (e->over_at == 0 || st.st_size != e->size ||
	    !edit_is_same_time(&st.st_ctim, &e->changed))
		*e = (struct edit){st.st_size, st.st_ctim, now + EDIT_MS};
	return now >= e->over_at;
}

void edit_forget(struct edit *e)
{
	e->over_at = 0;
}

int edit_wait(const struct disk_file *file, int64_t until)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	if (clock_ms() > until)
		return fail("%s is being edited all the time", file->path);
	nanosleep(&moment, NULL);
	return 0;
}
