/*
 * process.h - facts about the server process, for pages
 */
#ifndef UTIL_PROCESS_H
#define UTIL_PROCESS_H

#include <time.h>

/* Filled in by the master, before it forks. */
struct process {
	time_t started;
	int workers;
};

#endif
