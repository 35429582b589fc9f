/* The command that an operator runs before and after a change. */
#include "run/run.h"

#include "store/day.h"
#include "store/store.h"
#include "util/date.h"
#include "util/log.h"
#include "util/misses.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* A line about one thing. Gives `status`. */
__attribute__((format(printf, 3, 4))) static int
check_tell(const char *what, int status, const char *format, ...)
{
	va_list args;

	printf("%s: %s", what, status ? "FAILED: " : "");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	return status;
}

/* With too few of them visitd goes on with fewer connections. */
static void check_descriptors(const struct settings *settings)
{
	struct settings tried = *settings;
	struct rlimit limit = {0};

	run_raise_limits(&tried);
	getrlimit(RLIMIT_NOFILE, &limit);
	check_tell("descriptors", 0,
		   "%llu, for %d connections of each of %d workers",
		   (unsigned long long)limit.rlim_cur, tried.max_connections,
		   run_workers(settings));
}

static int check_clock(void)
{
	char now[64] = "";
	struct date_day today = {0};

	date_write_local(now, time(NULL));
	date_know_day(&today, time(NULL));
	return day_precedes_build(&today)
		       ? check_tell(
				 "clock", EXIT_SYSTEM,
				 "%s is before this program was made: visits "
				 "count, and belong to no day",
				 now)
		       : check_tell("clock", 0, "%s", now);
}

static int check_store(const struct settings *settings)
{
	int64_t total = 0;

	if (run_drop_privileges(settings, false) < 0)
		return check_tell("store", EXIT_SYSTEM,
				  "cannot become the owner of the data");
	int status = store_check(settings, &total);
	if (status)
		return check_tell("store", status, "%s", store_error());
	if (total == INT64_MAX)
		return check_tell("store", EXIT_SYSTEM, "the counter is full");
	const char *durability = store_durability();
	return check_tell("store", 0,
			  "at %" PRId64 ", and a visit would count%s%s", total,
			  durability ? "; " : "", durability ? durability : "");
}

int run_check(const struct settings *settings, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	printf("visitd " VERSION " (%s)\n", store_name);
	settings_show(settings, stdout);
	misses_warn(store_name);
	check_descriptors(settings);
	int clock = check_clock();
	int store = check_store(settings);
	return store ? store : clock;
}
