/*
 * The PostgreSQL store: the row of a counter in `visit_counter`, its total at
 * the beginning of a day in `visit_history`, and `items`.
 *
 * 1. A turn is one statement (add.c); its text, like all others, is a file.
 * 2. A table is made when it is first missed, so a dropped one heals, and one
 *    made by hand is used as it is, if it fits. Reads create nothing.
 * 3. What the server refused was not done; where that is sure to be a matter of
 *    the moment (a deadlock, a serialization failure) it is tried again, by the
 *    same deadline (pq.c). Any other failed call may have counted, and is not.
 * 4. The snapshot of a statement is its own (READ COMMITTED, pq.c): what is
 *    counted under a lock is what there is then.
 * 5. A Redis may cache totals and items (cache.h). PostgreSQL is the truth.
 */
#include "store/store.h"

#include "store/begin.h"
#include "store/failure.h"
#include "store/postgres/add.h"
#include "store/postgres/cache.h"
#include "store/postgres/check.h"
#include "store/postgres/items.h"
#include "store/postgres/session.h"
#include "util/log.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

const char store_name[] = "postgres";

const char *const failure_words[FAULTS] = {
	[FAULT_ANY] = "PostgreSQL failed",
	[FAULT_AWAY] = "PostgreSQL cannot be reached",
	[FAULT_LATE] = "PostgreSQL does not answer in time",
	[FAULT_LOGIN] = "PostgreSQL refused the login",
	[FAULT_DENIED] = "PostgreSQL does not allow it",
	[FAULT_FULL] = "PostgreSQL has no room",
	[FAULT_GARBAGE] = "data or settings of PostgreSQL cannot be used",
};

static int store_epoll = -1;

int store_ping(void)
{
	return add_probe();
}

int store_check(const struct settings *settings, int64_t *total)
{
	int status = store_open(settings);

	if (status)
		return status;
	if (check_visit() == 0 && check_total(total) == 0)
		return 0;
	return failure_is_garbage() ? EXIT_DATA : EXIT_SYSTEM;
}

const char *store_durability(void)
{
	const char *durability = session_pq()->durability;

	return *durability ? durability : NULL;
}

int store_look(void)
{
	const struct pq *pq = session_pq();
	int64_t total;

	if (store_ping() != 0) {
		log_warn("the store cannot be used now, and is tried again");
		return 0;
	}
	log_info("%s: %s", pq->peer.name, pq->durability);
	if (check_total(&total) == 0)
		begin_tell_total(pq->peer.name, total);
	if (strcmp(pq->facts.encoding, "UTF8") != 0)
		log_warn("%s: the encoding of its database is %s, and not "
			 "UTF8: names and items with letters that it does not "
			 "have get a 400",
			 pq->peer.name, pq->facts.encoding);
	if (strstr(pq->durability, " off"))
		log_warn("%s loses answered visits when it loses its power: "
			 "set synchronous_commit=on",
			 pq->peer.name);
	return 0;
}

int store_watch(void)
{
	return store_epoll;
}

int store_tick(void)
{
	int ms = pq_tick(session_pq()), cache_ms = cache_tick();

	return ms < 0 || (cache_ms >= 0 && cache_ms < ms) ? cache_ms : ms;
}

int store_prepare(const struct settings *settings)
{
	(void)settings;
	return 0;
}

/* A server that is down now is no reason to end. */
int store_open(const struct settings *settings)
{
	store_epoll = epoll_create1(EPOLL_CLOEXEC);
	if (store_epoll < 0) {
		fail("cannot watch connections:");
		return EXIT_SYSTEM;
	}
	if (session_open(settings, store_epoll))
		return EXIT_SYSTEM;
	cache_open(settings, store_epoll);
	/* Last, since a worker whose secret has become a bad one serves 503. */
	return session_check(settings) ? EXIT_DATA : 0;
}

int store_close(void)
{
	cache_close();
	session_close();
	add_forget();
	items_free();
	close(store_epoll);
	store_epoll = -1;
	return 0;
}
