/* A clock that is wrong for sure. The zone is the test's own. */
#include "store/day.h"
#include "tests/unit/unit.h"

#include <stdlib.h>
#include <time.h>

enum {
	NOVEMBER = 1793491200, /* 2026-11-01 00:00 UTC */
	HOUR = 3600,
	DAY = 24 * HOUR,
};

static bool precedes(const char *zone, time_t now)
{
	struct date_day today = {.number = 0};

	setenv("TZ", zone, 1);
	tzset();
	date_know_day(&today, now);
	return day_precedes_build(&today);
}

/* Whole days: what is true in the morning is true in the evening. */
static void test_days_before_the_build(void **state)
{
	(void)state;
	if (SOURCE_DATE_EPOCH > NOVEMBER) /* It is another date, then. */
		skip();
	assert_true(precedes("UTC", 0));
	assert_true(precedes("UTC", -DAY));
	assert_true(precedes("UTC", NOVEMBER - 1));
	assert_false(precedes("UTC", NOVEMBER));
	assert_false(precedes("UTC", NOVEMBER + 19 * DAY));
	assert_false(precedes("UTC", (time_t)1 << 33));
	/* 1 November begins later there, and earlier here. */
	assert_false(precedes("XXX11", NOVEMBER - HOUR));
	assert_true(precedes("XXX11", NOVEMBER - 14 * HOUR));
	assert_true(precedes("XXX-13", NOVEMBER - 14 * HOUR));
	assert_false(precedes("XXX-13", NOVEMBER - 12 * HOUR));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days_before_the_build),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
