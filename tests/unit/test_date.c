/* Dates, against the C library's gmtime_r, localtime_r and strftime. */
#include "tests/unit/unit.h"
#include "util/date.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const zones[] = {"UTC",
				    "Europe/Berlin",
				    "America/New_York",
				    "America/Sao_Paulo",
				    "America/Havana",
				    "Atlantic/Azores",
				    "Africa/Cairo",
				    "Asia/Kathmandu",
				    "Australia/Lord_Howe",
				    "Pacific/Apia",
				    "Asia/Beirut",
				    "America/Asuncion",
				    "Pacific/Chatham",
				    "America/Santiago",
				    "Africa/Casablanca",
				    "America/Scoresbysund",
				    "CET-1CEST,M3.5.0,M10.5.0/3",
				    "<-03>3",
				    "EST5EDT",
				    "Asia/Gaza"};
enum { ZONES = sizeof(zones) / sizeof(*zones) };

static void enter(const char *zone)
{
	setenv("TZ", zone, 1);
	tzset();
}

static void compare(const char *got, size_t size, const char *wanted,
		    time_t when)
{
	if (strlen(wanted) == size && memcmp(got, wanted, size) == 0)
		return;
	print_error("%lld in %s: \"%.*s\", and not \"%s\"\n", (long long)when,
		    getenv("TZ"), (int)size, got, wanted);
	fail();
}

static void check_utc(time_t when)
{
	char wanted[64];
	struct tm t;
	char *out = guard_end() - DATE_HTTP_SIZE;

	gmtime_r(&when, &t);
	if (t.tm_year < -1900 || t.tm_year > 9999 - 1900)
		return;
	strftime(wanted, sizeof(wanted), "%a, %d %b ", &t);
	sprintf(wanted + strlen(wanted), "%04d ", t.tm_year + 1900);
	strftime(wanted + strlen(wanted), 32, "%H:%M:%S GMT", &t);
	date_write_http(out, when);
	compare(out, DATE_HTTP_SIZE, wanted, when);
	out = guard_end() - DATE_UTC_SIZE;
	sprintf(wanted, "%04d-", t.tm_year + 1900);
	strftime(wanted + 5, 32, "%m-%dT%H:%M:%SZ", &t);
	date_write_utc(out, when);
	compare(out, DATE_UTC_SIZE, wanted, when);
}

static void check_local(time_t when)
{
	char wanted[64], offset[16];
	struct tm t;
	char *out = guard_end() - DATE_LOCAL_SIZE;

	localtime_r(&when, &t);
	strftime(offset, sizeof(offset), "%z", &t);
	strftime(wanted, sizeof(wanted), "%Y-%m-%dT%H:%M:%S", &t);
	sprintf(wanted + strlen(wanted), "%.3s:%s", offset, offset + 3);
	date_write_local(out, when);
	compare(out, DATE_LOCAL_SIZE, wanted, when);
	out = guard_end() - DATE_LOG_SIZE;
	strftime(wanted, sizeof(wanted), "%d/%b/%Y:%H:%M:%S %z", &t);
	date_write_log(out, when);
	compare(out, DATE_LOG_SIZE, wanted, when);
	out = guard_end() - DATE_DAY_SIZE;
	strftime(wanted, sizeof(wanted), "%Y-%m-%d", &t);
	date_write_day(out, when);
	compare(out, DATE_DAY_SIZE, wanted, when);
}

static void test_known(void **state)
{
	char out[DATE_HTTP_SIZE];

	(void)state;
	date_write_http(out, 784111777);
	assert_memory_equal(out, "Sun, 06 Nov 1994 08:49:37 GMT", sizeof(out));
	date_write_utc(out, 784111777);
	assert_memory_equal(out, "1994-11-06T08:49:37Z", DATE_UTC_SIZE);
	enter("Europe/Berlin");
	date_write_local(out, 784111777);
	assert_memory_equal(out, "1994-11-06T09:49:37+01:00", DATE_LOCAL_SIZE);
	date_write_log(out, 784111777);
	assert_memory_equal(out, "06/Nov/1994:09:49:37 +0100", DATE_LOG_SIZE);
	date_write_day(out, 784111777);
	assert_memory_equal(out, "1994-11-06", DATE_DAY_SIZE);
	enter("America/St_Johns");
	date_write_local(out, 784111777);
	assert_memory_equal(out, "1994-11-06T05:19:37-03:30", DATE_LOCAL_SIZE);
}

static void test_utc(void **state)
{
	uint64_t seed = 20261120;

	(void)state;
	/* Each day from 1600 to 2500, at times that wander. */
	for (time_t day = -135140; day < 193575; day += unit_share())
		check_utc(day * 86400 + (time_t)(random_next(&seed) % 86400));
	for (int i = 0; i < 100000 / unit_share(); i++)
		check_utc((time_t)(random_next(&seed) % 315537897600) -
			  62135596800 - 31536000);
	for (time_t when = -100; when < 100; when++)
		check_utc(when);
	check_utc(253402300799); /* the last second of 9999 */
	check_utc(951782400);	 /* 2000-02-29 */
	check_utc(4107542399);	 /* 2100-02-28 */
	check_utc(4107542400);	 /* 2100-03-01 */
	check_utc(2147483647);
	check_utc(2147483648);
}

static void test_local(void **state)
{
	uint64_t seed = 20261120;

	(void)state;
	for (size_t i = 0; i < ZONES; i++) {
		enter(zones[i]);
		for (int k = 0; k < 3000; k++) /* 1970 to 2070 */
			check_local((time_t)(random_next(&seed) % 3155760000));
	}
	/* Around the changes of the clocks in Berlin in 2026. */
	enter("Europe/Berlin");
	for (time_t d = -7200; d <= 7200; d += 60) {
		check_local(1774746000 + d);
		check_local(1792890000 + d);
	}
}

static bool same_day(time_t a, time_t b)
{
	char first[DATE_DAY_SIZE], second[DATE_DAY_SIZE];

	date_write_day(first, a);
	date_write_day(second, b);
	return memcmp(first, second, DATE_DAY_SIZE) == 0;
}

/* That `end` is the end of the day that holds `when`. */
static bool is_end(time_t when, time_t end)
{
	return end > when && same_day(when, end - 1) && !same_day(when, end);
}

/* Every day of some years is found from its start, its noon and its last
 * hours, whatever happens at midnight. Gives how many ends are wrong. */
static int count_wrong(time_t from, time_t until)
{
	static const time_t before_end[] = {1,	  60,	1800,  3599, 3600,
					    5400, 7200, 10800, 43200};
	int wrong = 0;

	for (time_t start = from; start < until;) {
		time_t end = date_day_end(start);

		if (!is_end(start, end)) {
			char day[DATE_LOCAL_SIZE], got[DATE_LOCAL_SIZE];

			date_write_local(day, start);
			date_write_local(got, end);
			if (wrong++ < 3)
				print_error("in %s the day of %.25s does not "
					    "end at %.25s\n",
					    getenv("TZ"), day, got);
			/* Find the true one. */
			for (end = start + 1; same_day(start, end);)
				end++;
		}
		for (size_t i = 0; i < sizeof(before_end) / sizeof(time_t);
		     i++) {
			time_t when = end - before_end[i];

			if (when < start || date_day_end(when) == end)
				continue;
			char at[DATE_LOCAL_SIZE], got[DATE_LOCAL_SIZE];

			date_write_local(at, when);
			date_write_local(got, date_day_end(when));
			if (wrong++ < 3)
				print_error("in %s the day of %.25s does not "
					    "end at %.25s\n",
					    getenv("TZ"), at, got);
		}
		start = end;
	}
	return wrong;
}

static void test_day_end(void **state)
{
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < ZONES; i++) {
		enter(zones[i]);
		/* 2008 to 2030 */
		wrong += count_wrong(1199188800,
				     1199188800 + 694267200 / unit_share());
	}
	assert_int_equal(wrong, 0);
}

/* The days of 23 and 25 hours, and those that begin at 01:00. */
static void test_known_day_ends(void **state)
{
	static const struct {
		const char *zone;
		time_t when, end;
	} rows[] = {
		{"UTC", 0, 86400},
		{"UTC", 86399, 86400},
		{"UTC", 86400, 172800},
		/* 2026-03-29, 2026-10-25 */
		{"Europe/Berlin", 1774738800, 1774738800 + 23 * 3600},
		{"Europe/Berlin", 1792879200, 1792879200 + 25 * 3600},
		/* 2018-11-04 began at 01:00 in Sao Paulo: 03:00 UTC. */
		{"America/Sao_Paulo", 1541300400 - 1, 1541300400},
		{"America/Sao_Paulo", 1541300400 - 86400, 1541300400},
		{"America/Sao_Paulo", 1541300400, 1541300400 + 23 * 3600},
		/* 2018-11-04 was 25 hours long in Havana, with two midnights:
		 * it began at the first one, 04:00 UTC. */
		{"America/Havana", 1541304000 - 1, 1541304000},
		{"America/Havana", 1541304000 - 43200, 1541304000},
		/* 2011-12-30 did not take place in Apia. */
		{"Pacific/Apia", 1325239200 - 1, 1325239200},
	};
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		enter(rows[i].zone);
		assert_true(is_end(rows[i].when, rows[i].end));
		time_t end = date_day_end(rows[i].when);

		if (end == rows[i].end)
			continue;
		wrong++;
		print_error("%s: the day of %lld ends at %lld, and not %lld\n",
			    rows[i].zone, (long long)rows[i].when,
			    (long long)end, (long long)rows[i].end);
	}
	assert_int_equal(wrong, 0);
}

static void test_zone_known(void **state)
{
	static const char *const good[] = {"",
					   ":",
					   "UTC",
					   "GMT",
					   ":UTC",
					   "Europe/Berlin",
					   ":Europe/Berlin",
					   "/usr/share/zoneinfo/Europe/Berlin",
					   "America/Argentina/Buenos_Aires",
					   "CET-1CEST,M3.5.0,M10.5.0/3",
					   "EST5EDT",
					   "UTC0",
					   "UTC+3",
					   "<-03>3",
					   "<+0330>-3:30",
					   "EST5",
					   "NZST-12NZDT-13,M9.5.0,M4.1.0/3",
					   "IST-1GMT0,M10.5.0,M3.5.0/1",
					   "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
					   "EET-2EEST,M3.4.4/50,M10.4.4/50",
					   "XXX3EDT4,0/0,J365/23:59:59",
					   "LMT-0:53:28"};
	static const char *const bad[] = {"Europe/Berlln",
					  "europe/berlin",
					  "Nowhere",
					  "Europe",
					  "Mars/X",
					  "/etc/passwd",
					  "/nonexistent",
					  "+3",
					  "3",
					  "AB3",
					  "<ABC3",
					  "<AB>3",
					  "<A/B>3",
					  "UTC+25",
					  "UTC+0100",
					  "UTC3 ",
					  "UTC3:60",
					  "UTC3:00:00:00",
					  "CET-1garbage!",
					  "CET-1CEST,",
					  "CET-1CEST,M3.5.0",
					  "CET-1CEST,M3.5.0,M10.5.0/3x",
					  "CET-1CEST,M3.5.0,M10.5.0/3,M1.1.1",
					  "CET-1CEST,M13.5.0,M10.5.0",
					  "CET-1CEST,M3.6.0,M10.5.0",
					  "CET-1CEST,M3.5.7,M10.5.0",
					  "CET-1CEST,M3-5-0,M10.5.0",
					  "CET-1CEST,M3.5.0/168,M10.5.0",
					  "CET-1CEST,J0,J366",
					  "CET-1,M3.5.0,M10.5.0",
					  "CET-1CE",
					  "-",
					  "CEST",
					  "../../../etc/passwd",
					  "Europe/Berlin ",
					  "/",
					  "/usr/share/zoneinfo"};
	char *longest = test_malloc(100000);

	(void)state;
	unsetenv("TZDIR");
	assert_true(date_zone_known(NULL));
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		if (!date_zone_known(good[i]))
			print_error("%s\n", good[i]);
		assert_true(date_zone_known(good[i]));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (date_zone_known(bad[i]))
			print_error("%s\n", bad[i]);
		assert_false(date_zone_known(bad[i]));
	}
	memset(longest, 'x', 99999);
	longest[99999] = '\0';
	assert_false(date_zone_known(longest));
	test_free(longest);

	setenv("TZDIR", "/usr/share/zoneinfo/Europe", 1);
	assert_true(date_zone_known("Berlin"));
	assert_false(date_zone_known("Europe/Berlin"));
	setenv("TZDIR", "", 1);
	assert_true(date_zone_known("Europe/Berlin"));
	unsetenv("TZDIR");
}

static void copy_file(const char *from, const char *to)
{
	static char bytes[65536];
	long n = file_get(from, bytes, sizeof(bytes));

	assert_true(n > 0);
	file_put(to, bytes, (size_t)n);
}

/* mktime, which looks at TZ, makes it another one neither. */
static void assert_zone(const char *offset)
{
	char text[DATE_LOCAL_SIZE];
	const time_t now = 1795172400;

	assert_true(date_day_end(now) > now);
	date_write_local(text, now);
	assert_memory_equal(text + 19, offset, 6);
}

static void test_load_zone(void **state)
{
	char tz[4096];

	(void)state;
	folder_make();
	const char *zone = folder_path("zone");
	snprintf(tz, sizeof(tz), ":%s", zone);
	copy_file("/usr/share/zoneinfo/Asia/Kathmandu", zone);
	setenv("TZ", tz, 1);
	assert_true(date_load_zone());
	assert_zone("+05:45");
	copy_file("/usr/share/zoneinfo/America/Caracas", zone);
	assert_zone("+05:45");
	assert_true(date_load_zone());
	assert_zone("-04:00");
	remove(zone);
	assert_false(date_load_zone());
	assert_zone("-04:00");
	assert_string_equal(getenv("TZ"), tz);
	folder_remove();
}

/* The numbers of days, against the time at their noon. */
static void test_read_day(void **state)
{
	static const char *const bad[] = {
		"2026-11-31",	      "2026-02-29", "2100-02-29", "2026-00-01",
		"2026-13-01",	      "2026-11-00", "2026-11-1 ", " 2026-11-1",
		"2026/11/20",	      "2026-1-020", "20261-1-20", "-026-11-20",
		"+026-11-20",	      "2026-11-2x", "2026-11- 2", "          ",
		"\0\0\0\0\0\0\0\0\0",
	};
	char text[64];
	int64_t number;
	int days = 0;

	(void)state;
	enter("UTC");
	for (int64_t day = -719528; day < 2932897;
	     day += (1 + days % 3 * 5) * unit_share()) {
		time_t noon = day * 86400 + 43200;
		struct tm t;

		gmtime_r(&noon, &t);
		sprintf(text, "%04d-%02d-%02d", t.tm_year + 1900, t.tm_mon + 1,
			t.tm_mday);
		assert_true(date_read_day(guard_copy(text, DATE_DAY_SIZE),
					  &number));
		assert_int_equal(number, day);
		days++;
	}
	assert_true(days > 100000 / unit_share());
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(date_read_day(bad[i], &number));
	/* A month has its days and no more. */
	for (int year = 1999; year <= 2004; year++)
		for (int month = 0; month <= 13; month++)
			for (int day = 0; day <= 40; day++) {
				struct tm t = {.tm_year = year - 1900,
					       .tm_mon = month - 1,
					       .tm_mday = day};
				struct tm same = t;

				timegm(&same);
				sprintf(text, "%04d-%02d-%02d", year, month,
					day);
				assert_int_equal(
					date_read_day(text, &number),
					same.tm_year == t.tm_year &&
						same.tm_mon == t.tm_mon &&
						same.tm_mday == t.tm_mday);
			}
}

static void assert_day(const struct date_day *day, const char *text)
{
	int64_t number;

	assert_memory_equal(day->text, text, DATE_DAY_SIZE);
	assert_true(date_read_day(text, &number));
	assert_int_equal(day->number, number);
}

/* It is today's at any moment, forward and back, wherever a day begins. */
static void test_know_day(void **state)
{
	char text[DATE_DAY_SIZE];
	uint64_t seed = 1120;

	(void)state;
	for (size_t i = 0; i < ZONES; i++) {
		struct date_day day = {.number = 0};
		time_t now = 1795172400;

		enter(zones[i]);
		for (int k = 0; k < 2000; k++) {
			date_know_day(&day, now);
			date_write_day(text, now);
			assert_day(&day, text);
			now += (time_t)(random_next(&seed) % 100000);
			if (k % 10 == 0)
				now -= 400000;
			if (k % 7 == 0)
				now = date_day_end(now) - k % 2;
		}
	}
	enter("Europe/Berlin");
	struct date_day day = {.number = 0};
	date_know_day(&day, 1795215599);
	assert_day(&day, "2026-11-20");
	date_know_day(&day, 1795215600);
	assert_day(&day, "2026-11-21");
	date_know_day(&day, 1795215599);
	assert_day(&day, "2026-11-20");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_utc),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_known_day_ends),
		cmocka_unit_test(test_day_end),
		cmocka_unit_test(test_zone_known),
		cmocka_unit_test(test_load_zone),
		cmocka_unit_test(test_read_day),
		cmocka_unit_test(test_know_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
