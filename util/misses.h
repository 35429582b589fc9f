/*
 * misses.h - variables that somebody has set in the belief that visitd reads
 * them
 */
#ifndef UTIL_MISSES_H
#define UTIL_MISSES_H

/* Warns of each that is set while the one that is meant is not, as far as it
 * concerns this store: "file", "redis", "postgres". */
void misses_warn(const char *store);

#endif
