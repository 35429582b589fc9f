/*
 * The file store: `visits` (visits.c), `counters` (counters.c), `history` and
 * `items` in DATA_DIR. This file has the calls of store.h that concern all of
 * them, and the folders.
 */
#include "store/store.h"

#include "store/begin.h"
#include "store/failure.h"
#include "store/file/counters.h"
#include "store/file/items.h"
#include "store/file/rights.h"
#include "store/file/room.h"
#include "store/file/visits.h"
#include "util/clock.h"
#include "util/container.h"
#include "util/log.h"
#include "util/reason.h"
#include "util/shared.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char store_name[] = "file";

const char *const failure_words[FAULTS] = {
	[FAULT_ANY] = "its files cannot be used",
	[FAULT_AWAY] = "its folder or a file is away",
	[FAULT_LATE] = "its file is locked by another program",
	[FAULT_LOGIN] = "its files may not be used",
	[FAULT_DENIED] = "its files may not be used",
	[FAULT_FULL] = "its disk is full",
	[FAULT_GARBAGE] = "a file is not understood",
	[FAULT_COUNTERS_FULL] = "no room for new counters",
	[FAULT_ITEMS_FULL] = "no room for new items",
};

enum { SYNC_EVERY = 1000 /* SYNC=everysec, ms */ };

/* One process has one store. */
static struct {
	const struct settings *settings;
	char visits_path[PATH_MAX], history_path[PATH_MAX];
	int64_t synced_at; /* by the tick */
} store;

/* Held by the master, inherited by workers. That of `visits` is another one
 * only with VISITS_FILE. */
static struct folder data_folder = {.fd = -1}, visits_folder = {.fd = -1};

/* What all workers know. */
struct shared {
	_Atomic int64_t last_total;   /* that any of them has read or written */
	_Atomic int append_errors[4]; /* room.h */
};

static struct shared *shared; /* NULL in a command, */
static struct shared alone;   /* which has this */

static int64_t store_deadline(void)
{
	return clock_ms() + store.settings->store_timeout;
}

void store_add(struct tally *tallies, size_t len)
{
	int64_t until = store_deadline();

	for (size_t i = 0; i < len; i++) {
		struct tally *t = &tallies[i];

		t->total = t->today = 0;
		t->is_new = false;
		if (store_is_home(t->counter))
			visits_add(t, until);
	}
	counters_add(tallies, len, until);
}

/* FNV-1a: the hash of util/hash.h is another one in each process. */
static uint64_t store_hash_path(const char *path)
{
	uint64_t hash = 14695981039346656037u;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 1099511628211u;
	return hash;
}

/*
 * `history` of the file `visits` beside it, `history.<hash>` of another one:
 * two servers that share DATA_DIR, each with a VISITS_FILE of its own, have no
 * lock in common. Gives the length of the path.
 */
static int store_name_history(const struct settings *s, char out[PATH_MAX])
{
	char visits[PATH_MAX], own[PATH_MAX];

	if (snprintf(out, PATH_MAX, "%s/visits", s->data_dir) < PATH_MAX &&
	    s->visits_file) {
		folder_real_path(out, own);
		folder_real_path(s->visits_file, visits);
		if (strcmp(visits, own) != 0)
			return snprintf(
				out, PATH_MAX, "%s/history.%016llx",
				s->data_dir,
				(unsigned long long)store_hash_path(visits));
	}
	return snprintf(out, PATH_MAX, "%s/history", s->data_dir);
}

/* The history of a VISITS_FILE was called `history`, too, before it had a name
 * of its own. */
static void store_take_over_history(const struct settings *s)
{
	char mine[PATH_MAX], old[PATH_MAX], visits[PATH_MAX];

	if (!s->visits_file || store_name_history(s, mine) >= PATH_MAX ||
	    snprintf(old, PATH_MAX, "%s/history", s->data_dir) >= PATH_MAX ||
	    snprintf(visits, PATH_MAX, "%s/visits", s->data_dir) >= PATH_MAX ||
	    access(mine, F_OK) == 0 || access(visits, F_OK) == 0)
		return;
	if (rename(old, mine) == 0)
		log_info("%s is called %s now", old, mine);
	else if (errno != ENOENT)
		log_warn("cannot call %s %s:", old, mine);
}

int store_set(struct slice counter, int64_t value)
{
	if (!store_is_home(counter))
		return counters_set(counter, value, store_deadline());
	/* A command may come before the first start of this version. */
	store_take_over_history(store.settings);
	return visits_set(value, store_deadline());
}

int store_drop(struct slice counter)
{
	return counters_drop(counter, store_deadline());
}

int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};

	visits_add(&home, store_deadline());
	if (home.status)
		return home.status;
	if (visits_has_number())
		each(home.counter, home.total, context);
	return counters_each(each, context, store_deadline());
}

static int store_look_for_room(void)
{
	if (room_look(counters_file(), store_deadline()))
		return failure_refine(FAULT_COUNTERS_FULL);
	if (room_look(items_file(), store_deadline()))
		return failure_refine(FAULT_ITEMS_FULL);
	return 0;
}

/*
 * By counting no visit, up to the disk: a full or failing disk, a quota or a
 * folder made read-only show in nothing less; and a store without visitors
 * (since its health check failed) could else never be found to work again. What
 * a visit in place does not need, new counters and items do: room.h.
 */
int store_ping(void)
{
	int status = visits_look(store_deadline(), true);

	failure_tell(FAILURE_HOME, status);
	if (status)
		return status;
	status = counters_look(store_deadline());
	failure_tell(FAILURE_COUNTERS, status);
	if (status)
		return status;
	status = store_look_for_room();
	failure_tell(FAILURE_ROOM, status);
	return status;
}

/* Brings to disk what was written to a file and not synced. */
static int store_sync_file(struct disk_file *file)
{
	if (!file->unsynced)
		return 0;
	if (disk_open(file, false) < 0) {
		if (errno != ENOENT)
			return disk_fail(file, "sync");
		file->unsynced = false; /* it was removed */
		return 0;
	}
	return disk_sync(file) < 0 ? disk_fail(file, "sync") : 0;
}

static int store_sync_all(void)
{
	struct disk_file *files[] = {visits_file(), visits_history_file(),
				     items_file(), counters_file()};
	int worst = 0;

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (store_sync_file(files[i]))
			worst = 503;
	return worst;
}

int store_tick(void)
{
	int64_t now = clock_ms();

	if (store.settings->sync != SYNC_EVERYSEC ||
	    !(visits_file()->unsynced || items_file()->unsynced ||
	      counters_file()->unsynced))
		return -1;
	if (now - store.synced_at < SYNC_EVERY)
		return (int)(store.synced_at + SYNC_EVERY - now);
	store.synced_at = now;
	if (store_sync_all()) {
		log_error("%s", store_error());
		return SYNC_EVERY;
	}
	return -1;
}

int store_watch(void)
{
	return -1;
}

int store_look(void)
{
	begin_tell(reason_write("file %s", store.visits_path));
	container_check_volume(store.visits_path);
	return 0; /* the rest was looked at when it was opened */
}

const char *store_durability(void)
{
	return NULL; /* SYNC */
}

/* Whether a missing file could be made. */
static int store_check_folder(void)
{
	char folder[PATH_MAX];

	folder_of(store.visits_path, folder);
	if (access(folder, W_OK | X_OK) < 0)
		return rights_fail("make", store.visits_path);
	return 0;
}

static int store_check_writable(void)
{
	const char *path = store.visits_path;

	if (visits_file()->fd < 0)
		return store_check_folder();
	if (access(path, W_OK) < 0)
		return rights_fail("write", path);
	return 0;
}

/*
 * Folders and paths
 */

static bool store_goes_on(void)
{
	return shared && visits_reaches(shared->last_total);
}

static void store_name_folders(const struct settings *s)
{
	snprintf(data_folder.path, PATH_MAX, "%s", s->data_dir);
	data_folder.proves = s->visits_file ? NULL : store_goes_on;
	if (s->visits_file)
		folder_of(s->visits_file, visits_folder.path);
	visits_folder.proves = store_goes_on;
}

static int store_set_paths(const struct settings *s)
{
	struct folder *folder = s->visits_file ? &visits_folder : &data_folder;
	struct shared *known = shared ? shared : &alone;
	int n = store_name_history(s, store.history_path);
	int m = s->visits_file ? snprintf(store.visits_path, PATH_MAX, "%s",
					  s->visits_file)
			       : snprintf(store.visits_path, PATH_MAX,
					  "%s/visits", s->data_dir);

	store_name_folders(s);
	visits_open(s, store.visits_path, folder, store.history_path,
		    &data_folder, shared ? &shared->last_total : NULL);
	items_open(s, &data_folder);
	counters_open(s, &data_folder);
	visits_file()->append_error = &known->append_errors[0];
	visits_history_file()->append_error = &known->append_errors[1];
	items_file()->append_error = &known->append_errors[2];
	counters_file()->append_error = &known->append_errors[3];
	if (n >= PATH_MAX - 8 || m >= PATH_MAX - 8)
		return fail("DATA_DIR=%.64s...: this path is too long",
			    s->data_dir);
	return 0;
}

/* Holds the folders, unless the master does. */
static int store_hold_folders(const struct settings *s)
{
	if (data_folder.fd < 0 && folder_hold(&data_folder) < 0)
		return rights_fail_enter(
			reason_write("DATA_DIR=%s: cannot open this folder",
				     s->data_dir),
			s->data_dir);
	if (s->visits_file && visits_folder.fd < 0 &&
	    folder_hold(&visits_folder) < 0)
		return rights_fail_enter(
			reason_write("VISITS_FILE=%s: cannot open its folder",
				     s->visits_file),
			visits_folder.path);
	return 0;
}

/* The folder is made, not its parents: a mistyped path should not grow. */
int store_prepare(const struct settings *settings)
{
	int made = folder_create(settings->data_dir);

	if (made < 0) {
		rights_fail_make(settings->data_dir);
		return EXIT_SYSTEM;
	}
	if (made > 0)
		log_info("made the folder %s", settings->data_dir);
	shared = shared_make(sizeof(*shared));
	if (!shared) {
		fail("cannot share memory:");
		return EXIT_SYSTEM;
	}
	store_take_over_history(settings);
	store_name_folders(settings);
	return store_hold_folders(settings) ? EXIT_SYSTEM : 0;
}

int store_open(const struct settings *settings)
{
	memset(&store, 0, sizeof(store));
	memset(&alone, 0, sizeof(alone));
	store.settings = settings;
	if (store_set_paths(settings) || store_hold_folders(settings))
		return EXIT_SYSTEM;
	int status = visits_look(store_deadline(), false);
	if (!status)
		status = store_check_writable();
	bool is_late = visits_file()->is_late;
	if (!status) {
		status = counters_look(store_deadline());
		is_late = counters_file()->is_late;
	}
	if (!status || is_late)
		return 0;
	return failure_is_garbage() ? EXIT_DATA : EXIT_SYSTEM;
}

/* By reading, and asking for room: a torn tail and an editor's table stay. */
int store_check(const struct settings *settings, int64_t *total)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};

	counters_only_look();
	int status = store_open(settings);
	if (status)
		return status;
	visits_add(&home, store_deadline());
	status = home.status;
	if (!status)
		status = visits_check_room(store_deadline());
	if (!status)
		status = counters_look(store_deadline());
	if (!status)
		status = store_look_for_room();
	*total = home.total;
	return status ? EXIT_SYSTEM : 0;
}

int store_close(void)
{
	/* Also with SYNC=no: there is time. */
	visits_file()->unsynced |= visits_file()->fd >= 0;
	int status = store_sync_all();

	items_close();
	counters_close();
	visits_close();
	if (!shared) { /* what the master holds is inherited */
		folder_drop(&data_folder);
		folder_drop(&visits_folder);
	}
	return status;
}
