#include "util/date.h"

#include "util/number.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed",
				"Thu", "Fri", "Sat"};
static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
				   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* Days to civil date: Howard Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms", civil_from_days. Eras of 400 years that begin on 1 March. */
static struct tm date_utc(time_t when)
{
	int64_t day = when / 86400;
	int second = (int)(when % 86400);

	if (second < 0) {
		second += 86400;
		day--;
	}
	int64_t z = day + 719468;
	int64_t era = (z >= 0 ? z : z - 146096) / 146097;
	int64_t doe = z - era * 146097;
	int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	int64_t mp = (5 * doy + 2) / 153;
	int month = (int)(mp < 10 ? mp + 2 : mp - 10); /* 0 is January */

	return (struct tm){
		.tm_sec = second % 60,
		.tm_min = second / 60 % 60,
		.tm_hour = second / 3600,
		.tm_mday = (int)(doy - (153 * mp + 2) / 5 + 1),
		.tm_mon = month,
		.tm_year = (int)(yoe + era * 400 + (month < 2) - 1900),
		.tm_wday = (int)(((day + 4) % 7 + 7) % 7),
	};
}

static void date_write_clock(char *out, const struct tm *t)
{
	memcpy(out, "00:00:00", 8);
	number_write_2(out, t->tm_hour);
	number_write_2(out + 3, t->tm_min);
	number_write_2(out + 6, t->tm_sec);
}

static void date_write_year(char *out, const struct tm *t)
{
	int year = t->tm_year + 1900;

	number_write_2(out, year / 100);
	number_write_2(out + 2, year % 100);
}

/* 1994-11-06 */
static void date_write_tm_day(char *out, const struct tm *t)
{
	date_write_year(out, t);
	out[4] = '-';
	number_write_2(out + 5, t->tm_mon + 1);
	out[7] = '-';
	number_write_2(out + 8, t->tm_mday);
}

/* +hhmm */
static void date_write_offset(char *out, const struct tm *t)
{
	long minutes = t->tm_gmtoff / 60;

	*out = minutes < 0 ? '-' : '+';
	minutes = labs(minutes);
	number_write_2(out + 1, (int)(minutes / 60));
	number_write_2(out + 3, (int)(minutes % 60));
}

void date_write_http(char *out, time_t when)
{
	struct tm t = date_utc(when);

	memcpy(out, "Sun, 06 Nov 1994 08:49:37 GMT", DATE_HTTP_SIZE);
	memcpy(out, days[t.tm_wday], 3);
	number_write_2(out + 5, t.tm_mday);
	memcpy(out + 8, months[t.tm_mon], 3);
	date_write_year(out + 12, &t);
	date_write_clock(out + 17, &t);
}

void date_write_utc(char *out, time_t when)
{
	struct tm t = date_utc(when);

	date_write_tm_day(out, &t);
	out[10] = 'T';
	date_write_clock(out + 11, &t);
	out[19] = 'Z';
}

void date_write_local(char *out, time_t when)
{
	char offset[5];
	struct tm t;

	localtime_r(&when, &t);
	date_write_tm_day(out, &t);
	out[10] = 'T';
	date_write_clock(out + 11, &t);
	date_write_offset(offset, &t);
	memcpy(out + 19, offset, 3);
	out[22] = ':';
	memcpy(out + 23, offset + 3, 2);
}

void date_write_log(char *out, time_t when)
{
	struct tm t;

	localtime_r(&when, &t);
	memcpy(out, "06/Nov/1994:08:49:37 +0000", DATE_LOG_SIZE);
	number_write_2(out, t.tm_mday);
	memcpy(out + 3, months[t.tm_mon], 3);
	date_write_year(out + 7, &t);
	date_write_clock(out + 12, &t);
	date_write_offset(out + 21, &t);
}

void date_write_day(char *out, time_t when)
{
	struct tm t;

	localtime_r(&when, &t);
	date_write_tm_day(out, &t);
}

time_t date_day_end(time_t when)
{
	struct tm t;

	localtime_r(&when, &t);
	/* Never +86400: a day has 23 or 25 hours where clocks are changed, and
	 * where they are changed at midnight the next day begins at 01:00. */
	t.tm_mday++;
	t.tm_hour = t.tm_min = t.tm_sec = 0;
	t.tm_isdst = -1;
	time_t end = mktime(&t);
	return end > when ? end : when + 1;
}

void date_know_day(struct date_day *day, time_t now)
{
	if (now >= day->from && now < day->until)
		return;
	date_write_day(day->text, now);
	date_read_day(day->text, &day->number);
	day->from = now;
	day->until = date_day_end(now);
}

static bool date_is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int date_month_length(int year, int month)
{
	if (month == 2)
		return date_is_leap(year) ? 29 : 28;
	return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Hinnant's days_from_civil: years begin on 1 March. */
static int64_t date_day_number(int year, int month, int day)
{
	int64_t y = month <= 2 ? year - 1 : year;
	int64_t era = (y >= 0 ? y : y - 399) / 400;
	int64_t yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

	return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static int date_digits(const char *p, int n)
{
	int value = 0;

	for (; n > 0; n--)
		value = value * 10 + (*p++ - '0');
	return value;
}

bool date_read_day(const char *text, int64_t *number)
{
	static const char form[] = "0000-00-00";

	for (int i = 0; i < DATE_DAY_SIZE; i++) {
		bool digit = text[i] >= '0' && text[i] <= '9';

		if (form[i] == '0' ? !digit : text[i] != '-')
			return false;
	}
	int year = date_digits(text, 4);
	int month = date_digits(text + 5, 2), day = date_digits(text + 8, 2);
	if (month < 1 || month > 12 || day < 1 ||
	    day > date_month_length(year, month))
		return false;
	*number = date_day_number(year, month, day);
	return true;
}

/* Takes a number off a text: 1 to 3 digits, from min to max. */
static bool date_take_number(const char **p, int min, int max)
{
	int n = (int)strspn(*p, "0123456789");
	int value = n > 0 && n <= 3 ? date_digits(*p, n) : -1;

	*p += n;
	return value >= min && value <= max;
}

/* [+-]hh[:mm[:ss]] */
static bool date_take_time(const char **p, int hours)
{
	*p += **p == '+' || **p == '-';
	if (!date_take_number(p, 0, hours))
		return false;
	for (int i = 0; i < 2 && **p == ':'; i++) {
		++*p;
		if (!date_take_number(p, 0, 59))
			return false;
	}
	return true;
}

/* CET, or <+03> */
static bool date_take_zone_name(const char **p)
{
	const char *start = *p;

	if (*start != '<') {
		while (isalpha((unsigned char)**p))
			++*p;
		return *p - start >= 3;
	}
	do
		++*p;
	while (isalnum((unsigned char)**p) || **p == '+' || **p == '-');
	return *(*p)++ == '>' && *p - start >= 5;
}

/* ,M3.5.0/2 or ,J60 or ,59: when clocks are changed. RFC 8536 3.3.1 has hours
 * up to 167 there. */
static bool date_take_change(const char **p)
{
	bool good;

	if (*(*p)++ != ',')
		return false;
	if (**p == 'M') {
		++*p;
		good = date_take_number(p, 1, 12) && *(*p)++ == '.' &&
		       date_take_number(p, 1, 5) && *(*p)++ == '.' &&
		       date_take_number(p, 0, 6);
	} else {
		bool is_julian = **p == 'J';

		*p += is_julian;
		good = date_take_number(p, is_julian, 365);
	}
	if (!good || **p != '/')
		return good;
	++*p;
	return date_take_time(p, 167);
}

/* std offset [dst [offset] [,start[/time],end[/time]]]: POSIX.1-2008, 8.3 */
static bool date_is_posix_rule(const char *p)
{
	if (!date_take_zone_name(&p) || !date_take_time(&p, 24))
		return false;
	if (!*p)
		return true;
	if (!date_take_zone_name(&p))
		return false;
	if (*p && *p != ',' && !date_take_time(&p, 24))
		return false;
	return !*p || (date_take_change(&p) && date_take_change(&p) && !*p);
}

static bool date_is_zone_file(const char *path)
{
	char magic[4];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, magic, sizeof(magic));
	close(fd);
	return n == 4 && memcmp(magic, "TZif", 4) == 0;
}

bool date_zone_known(const char *tz)
{
	const char *folder = getenv("TZDIR");
	char path[512];

	if (!tz)
		return true;
	if (*tz == ':')
		tz++;
	if (!*tz || strcmp(tz, "UTC") == 0 || strcmp(tz, "GMT") == 0)
		return true;
	if (*tz == '/')
		return date_is_zone_file(tz);
	if (!folder || !*folder)
		folder = "/usr/share/zoneinfo";
	int n = snprintf(path, sizeof(path), "%s/%s", folder, tz);
	if (n < (int)sizeof(path) && !strstr(tz, "..") &&
	    date_is_zone_file(path))
		return true;
	return date_is_posix_rule(tz);
}

bool date_load_zone(void)
{
	static const char system[] = ":/etc/localtime";
	static char *zone; /* as TZ was at first */
	const char *tz = getenv("TZ");
	bool is_first = !zone;

	if (is_first)
		zone = strdup(tz && *tz ? tz : system);
	if (!zone || (!is_first && !date_zone_known(zone)))
		return zone && strcmp(zone, system) == 0;
	/* Nothing is read where TZ has not changed. */
	setenv("TZ", "UTC0", 1);
	tzset();
	setenv("TZ", zone, 1);
	tzset();
	return true;
}
