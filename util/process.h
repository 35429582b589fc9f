/*
 * process.h - what a page may tell of the processes
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
