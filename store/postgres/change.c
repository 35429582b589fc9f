/* Setting and dropping counters, and reading all of them. */
#include "store/failure.h"
#include "store/postgres/add.h"
#include "store/postgres/cache.h"
#include "store/postgres/session.h"
#include "util/log.h"

#include <inttypes.h>
#include <string.h>

/* A name as libpq takes it. */
struct change_name {
	char text[STORE_NAME_MAX + 1];
};

static struct change_name change_name(struct slice name)
{
	struct change_name copy = {""};

	memcpy(copy.text, name.p,
	       name.n < STORE_NAME_MAX ? name.n : STORE_NAME_MAX);
	return copy;
}

int store_set(struct slice counter, int64_t value)
{
	struct change_name name = change_name(counter);
	struct session_number total = session_number(value);
	int max = session_settings()->max_counters;
	struct session_number limit = session_number(max);
	struct pq_step steps[] = {
		{.statement = STATEMENT_LOCK},
		{.statement = STATEMENT_SET,
		 .len = 3,
		 .values = {name.text, total.text, limit.text}},
	};

	cache_bury(counter);
	int64_t until = session_deadline();
	int status = session_check_table(until);
	if (!status && value > add_largest_total()) {
		fail_own("visit_counter holds totals up to %" PRId64,
			 add_largest_total());
		return 400;
	}
	if (!status)
		status = session_judge_table(
			session_call(steps, 2, session_make_counters, until));
	if (status && session_lacks_letter()) {
		session_fail_letter();
		return 400;
	}
	failure_tell(FAILURE_HOME, status);
	const char *error = store_error();
	enum fault fault = failure_fault();
	/* A call that failed may have been made, or be made yet. */
	cache_bury(counter);
	if (status)
		return fail_as(fault, "%s", error);
	bool was_set = PQntuples(steps[1].result) == 1;
	session_clear(steps, 2);
	if (was_set)
		return 0;
	fail_own("there are MAX_COUNTERS=%d counters", max);
	return 507;
}

/* Whether there is no table, so that nothing was ever counted: 404. 0: the
 * table of counters is there, and that of the history was made. */
static int change_find_table(int64_t until)
{
	struct pq_step step = {.statement = STATEMENT_IS_THERE};
	int status = pq_call(session_pq(), &step, 1, until);

	if (status)
		return status;
	bool is_there = *PQgetvalue(step.result, 0, 0) == 't';
	session_clear(&step, 1);
	return is_there ? pq_run(session_pq(), session_make_counters, until)
			: 404;
}

static int change_drop(struct slice counter, int64_t until)
{
	struct change_name name = change_name(counter);
	struct pq_step step = {
		.statement = STATEMENT_DROP, .len = 1, .values = {name.text}};
	int status = pq_call(session_pq(), &step, 1, until);

	if (status && session_misses_table()) {
		status = change_find_table(until);
		if (!status)
			status = pq_call(session_pq(), &step, 1, until);
	}
	if (status ? session_lacks_letter() : PQntuples(step.result) == 0)
		status = 404;
	session_clear(&step, 1);
	return status;
}

int store_drop(struct slice counter)
{
	int status = 404;

	if (!store_is_home(counter)) {
		cache_bury(counter);
		status = change_drop(counter, session_deadline());
		failure_tell(FAILURE_HOME, status == 404 ? 0 : status);
		const char *error = store_error();
		enum fault fault = failure_fault();
		cache_bury(counter);
		if (status == 503)
			fail_as(fault, "%s", error);
	}
	if (status == 404)
		fail_own("no counter \"%.*s\"", (int)counter.n, counter.p);
	return status;
}

/* A row of export. A row whose name is no counter's is somebody else's; a total
 * below zero is not left out in silence. */
static int change_tell_row(const PGresult *result, int row,
			   void (*each)(struct slice counter, int64_t total,
					void *context),
			   void *context)
{
	struct slice name = slice_of(PQgetvalue(result, row, 0));
	int64_t total = session_value(result, row, 1);
	const char *fault = store_name_fault(name);

	if (fault) {
		log_warn(
			"visit_counter has a row that is no counter: \"%s\" %s",
			name.p, fault);
		return 0;
	}
	if (total < 0)
		return fail_garbage("%s: the total of \"%s\" in visit_counter "
				    "is below zero",
				    session_pq()->peer.name, name.p);
	each(name, total, context);
	return 0;
}

int store_each(void (*each)(struct slice counter, int64_t total, void *context),
	       void *context)
{
	struct pq_step step = {.statement = STATEMENT_EACH};
	int64_t until = session_deadline();
	int status = session_check_table(until);

	if (!status)
		status = session_judge_table(
			pq_call(session_pq(), &step, 1, until));
	if (status && session_misses_table())
		return 0; /* nothing was ever counted */
	for (int row = 0; !status && row < PQntuples(step.result); row++)
		status = change_tell_row(step.result, row, each, context);
	session_clear(&step, 1);
	return status;
}
