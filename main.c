/* visitd: counts visits and tells every visitor its number. */
#include "run/run.h"
#include "store/store.h"
#include "util/date.h"
#include "util/log.h"
#include "util/misses.h"

#include <stdio.h>
#include <string.h>

static void help(void)
{
	printf("visitd " VERSION " (%s store): counts visits\n\n"
	       "  visitd             serves\n"
	       "  visitd health      asks the server on PORT how it is\n"
	       "  visitd check       tells the settings, and whether a visit "
	       "would count\n"
	       "  visitd get [NAME]  prints a total\n"
	       "  visitd set NAME N  sets a total (the home counter "
	       "is " STORE_HOME ")\n"
	       "  visitd export      prints all totals, \"42 blog/post-1\" "
	       "a line\n"
	       "  visitd import      sets the totals that it reads, in lines "
	       "like these\n"
	       "  visitd --help, visitd --version\n\n"
	       "Settings, from the environment:\n\n",
	       store_name);
	settings_print(stdout);
	printf("\nExit codes: 0 done, 1 a negative answer, 100 usage, 102 bad "
	       "setting or\nunreadable data, 111 the system refused.\n");
}

static void read_settings(struct settings *settings)
{
	char error[512];

	if (settings_read(settings, error, sizeof(error)) < 0)
		die(EXIT_DATA, "%s", error);
	date_load_zone();
}

static int serve(struct settings *settings)
{
	run_block_signals();
	log_open((enum log_level)settings->log_level);
	misses_warn(store_name);
	run_raise_limits(settings);
	run_look_at_store(settings);
	int listener = run_listen(settings);
	log_info("serving on %s port %d: %d workers, store %s",
		 settings->bind ? settings->bind : "every address",
		 settings->port, run_workers(settings), store_name);
	return run_master(settings, listener);
}

int main(int argc, char **argv)
{
	struct settings settings;

	if (argc > 1 && strcmp(argv[1], "--help") == 0) {
		help();
		return EXIT_DONE;
	}
	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		printf("visitd " VERSION " (%s)\n", store_name);
		return EXIT_DONE;
	}
	if (argc > 1 && strcmp(argv[1], "--") == 0) {
		argc--;
		argv++;
	} else if (argc > 1 && argv[1][0] == '-') {
		die(EXIT_USAGE, "there is no option \"%s\": see visitd --help",
		    argv[1]);
	}
	read_settings(&settings);
	return argc > 1 ? run_command(&settings, argc - 1, argv + 1)
			: serve(&settings);
}
