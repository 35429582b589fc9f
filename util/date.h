/*
 * date.h - the dates that visitd writes
 *
 * UTC is computed here rather than by gmtime_r, whose lock and look at TZ it
 * does without.
 */
#ifndef UTIL_DATE_H
#define UTIL_DATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
	DATE_HTTP_SIZE =
		29,	    /* Sun, 06 Nov 1994 08:49:37 GMT (RFC 9110 5.6.7) */
	DATE_UTC_SIZE = 20, /* 1994-11-06T08:49:37Z */
	DATE_LOCAL_SIZE = 25, /* 1994-11-06T08:49:37+00:00 (ISO 8601) */
	DATE_DAY_SIZE = 10,   /* 1994-11-06 */
	DATE_LOG_SIZE = 26,   /* 06/Nov/1994:08:49:37 +0000 */
};

/* Each writes exactly its size at `out`, without a NUL. Years 0 to 9999. */
void date_write_http(char *out, time_t when);
void date_write_utc(char *out, time_t when);

/* Local time, by the TZ of this process. */
void date_write_local(char *out, time_t when);
void date_write_log(char *out, time_t when);
void date_write_day(char *out, time_t when);

/*
 * The moment when the local day that holds `when` ends. After it, and not
 * before, date_write_day gives another day.
 */
time_t date_day_end(time_t when);

/* A local day, and the time in which it is today. Zeroed, it is not known. */
struct date_day {
	char text[DATE_DAY_SIZE];
	int64_t number; /* of the day: tomorrow's is one more */
	time_t from, until;
};

/* Makes it the day of `now`; the zone is asked once a day. */
void date_know_day(struct date_day *day, time_t now);

/* Reads 1994-11-06 into the number of that day. False: it is no date. */
bool date_read_day(const char *text, int64_t *number);

/*
 * Whether the C library can load the zone that TZ names: unset, a file of the
 * zone database, or a POSIX rule such as CET-1CEST,M3.5.0,M10.5.0/3. (The
 * library itself would silently count in UTC.)
 */
bool date_zone_known(const char *tz);

/*
 * Loads the zone that TZ names, or the system's (/etc/localtime) where it is
 * unset or empty, for this process and those that it forks: a worker must have
 * the zone of the others, and may have given up the rights to read its file.
 * Called again, reads that file again; false: it cannot be loaded now, and the
 * zone stays what it was. Sets TZ, so that the C library looks for no change of
 * /etc/localtime by itself.
 */
bool date_load_zone(void);

#endif
