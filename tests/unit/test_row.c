/* The rows of the table of counters: pure calls, on rows at a guard page. */
#include "store/file/row.h"
#include "store/store.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

enum { TOTAL_END = 20, DAY_AT = 21, NAME_AT = 32, DAYS_AT = 132 };

static struct date_day day_of(const char *text)
{
	struct date_day day = {.number = 0};

	memcpy(day.text, text, DATE_DAY_SIZE);
	assert_true(date_read_day(text, &day.number));
	return day;
}

/* A row of `name` that ends at the guard page. */
static char *row_at_guard(const char *name, const char *day)
{
	struct date_day today = day_of(day);
	char *row = guard_end() - ROW_SIZE;

	row_make(row, slice_of(name), &today);
	return row;
}

/* The visits of the last days, today's first; the rest is none. */
static void assert_days(const char *row, const char *wanted)
{
	char days[ROW_DAYS * 12 + 1], text[ROW_DAYS * 12 + 1] = "";
	char *p = text;

	memcpy(days, row + DAYS_AT, sizeof(days) - 1);
	days[sizeof(days) - 1] = '\0';
	for (char *at = days; *at;) {
		at += strspn(at, " ");
		size_t n = strcspn(at, " ");

		p += sprintf(p, "%.*s ", (int)n, at);
		at += n;
	}
	while (p - text >= 2 && strcmp(p - 2, "0 ") == 0 &&
	       (p - text == 2 || p[-3] == ' '))
		*(p -= 2) = '\0';
	if (p > text)
		p[-1] = '\0';
	assert_string_equal(text, wanted);
}

static void test_bytes(void **state)
{
	static const char begin[] =
		"                   0 2026-11-20 blog/post-1 ";
	char *row = row_at_guard("blog/post-1", "2026-11-20");

	(void)state;
	assert_memory_equal(row, begin, sizeof(begin) - 1);
	for (int i = NAME_AT + 11; i < DAYS_AT; i++)
		assert_int_equal(row[i], ' ');
	for (int i = 0; i < ROW_DAYS; i++)
		assert_memory_equal(row + DAYS_AT + i * 12, "           0", 12);
	for (int i = DAYS_AT + ROW_DAYS * 12; i < ROW_SIZE - 1; i++)
		assert_int_equal(row[i], ' ');
	assert_int_equal(row[ROW_SIZE - 1], '\n');
	assert_true(row_is_whole(row));
	assert_int_equal(row_total(row), 0);
	assert_slice(row_name(row), "blog/post-1");
	row_set_total(row, 42);
	assert_memory_equal(row, "                  42 2", 22);
	row_set_total(row, INT64_MAX);
	assert_memory_equal(row, " 9223372036854775807 2", 22);
	assert_int_equal(row_total(row), INT64_MAX);
	row_set_total(row, ROW_DROPPED);
	assert_memory_equal(row, "                   - 2", 22);
	assert_int_equal(row_total(row), ROW_DROPPED);
	assert_true(row_is_whole(row));
}

static void test_names(void **state)
{
	char longest[STORE_NAME_MAX + 1];
	const char *const names[] = {"a",  "-",		 "a/b/c",
				     "42", "2026-11-20", longest};

	(void)state;
	memset(longest, 'x', STORE_NAME_MAX);
	longest[STORE_NAME_MAX] = '\0';
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char *row = row_at_guard(names[i], "2026-11-20");

		assert_true(row_is_whole(row));
		assert_slice(row_name(row), names[i]);
	}
	/* The home counter has a file of its own. */
	assert_false(row_is_whole(row_at_guard(STORE_HOME, "2026-11-20")));
}

static void test_days(void **state)
{
	static const struct {
		const char *day, *wanted;
		int64_t n;
	} visits[] = {
		{"2026-11-20", "1", 1},
		{"2026-11-20", "3", 2},
		{"2026-11-21", "1 3", 1},
		{"2026-11-24", "5 0 0 1 3", 5},
		/* The clock went back: each day has its column. */
		{"2026-11-20", "5 0 0 1 4", 1},
		{"2026-11-23", "5 2 0 1 4", 2},
		{"2026-11-24", "9 2 0 1 4", 4},
		/* 29 days later the oldest column is the last one, */
		{"2026-12-23",
		 "1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 9",
		 1},
		/* 30 later it is gone, */
		{"2027-01-22", "2", 2},
		/* 31 later, too, */
		{"2027-02-22", "3", 3},
		/* and a year is no more than that. */
		{"2028-02-28", "4", 4},
		{"2028-02-29", "1 4", 1},
		{"2028-03-01", "7 1 4", 7},
	};
	char *row = row_at_guard("a", "2026-11-20");

	(void)state;
	for (size_t i = 0; i < sizeof(visits) / sizeof(*visits); i++) {
		struct date_day today = day_of(visits[i].day);

		row_count(row, visits[i].n, &today);
		assert_days(row, visits[i].wanted);
		assert_true(row_is_whole(row));
		assert_true(row_today(row, &today) >= visits[i].n);
	}
	assert_int_equal(row_total(row), 0);
}

static void test_month_and_year_ends(void **state)
{
	static const char *const nights[][2] = {
		{"2026-11-30", "2026-12-01"}, {"2026-12-31", "2027-01-01"},
		{"2027-02-28", "2027-03-01"}, {"2028-02-28", "2028-02-29"},
		{"2028-02-29", "2028-03-01"}, {"1999-12-31", "2000-01-01"},
		{"2100-02-28", "2100-03-01"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(nights) / sizeof(*nights); i++) {
		struct date_day before = day_of(nights[i][0]);
		struct date_day after = day_of(nights[i][1]);
		char *row = row_at_guard("a", nights[i][0]);

		row_count(row, 5, &before);
		assert_int_equal(row_today(row, &before), 5);
		assert_int_equal(row_today(row, &after), 0);
		row_count(row, 2, &after);
		assert_days(row, "2 5");
		assert_int_equal(row_today(row, &after), 2);
		/* The clock goes back, and comes again. */
		assert_int_equal(row_today(row, &before), 5);
		row_count(row, 1, &before);
		assert_days(row, "2 6");
		row_count(row, 1, &after);
		assert_days(row, "3 6");
		assert_memory_equal(row + DAY_AT, nights[i][1], DATE_DAY_SIZE);
	}
}

/* A row of a day that is still to come. */
static void test_clock_that_was_ahead(void **state)
{
	static const struct {
		const char *day, *after, *days;
		int today;
	} rows[] = {
		/* Today has a column: each day keeps its own. */
		{"2026-11-21", "2026-11-21", "7 1", 0},
		{"2026-12-19", "2026-12-19",
		 "7 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1",
		 0},
		/* It has none: the last day was today. */
		{"2026-12-20", "2026-11-20", "8", 7},
		{"2039-01-01", "2026-11-20", "8", 7},
		{"9999-12-31", "2026-11-20", "8", 7},
	};
	struct date_day today = day_of("2026-11-20");

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct date_day ahead = day_of(rows[i].day);
		char *row = row_at_guard("a", rows[i].day);

		row_count(row, 7, &ahead);
		assert_int_equal(row_today(row, &today), rows[i].today);
		row_count(row, 1, &today);
		assert_int_equal(row_today(row, &today), rows[i].today + 1);
		assert_memory_equal(row + DAY_AT, rows[i].after, DATE_DAY_SIZE);
		assert_days(row, rows[i].days);
		assert_true(row_is_whole(row));
	}
}

/* The days before the clock went wrong are kept, whichever it was. */
static void test_days_outlive_a_wrong_clock(void **state)
{
	struct date_day yesterday = day_of("2026-11-19");
	struct date_day today = day_of("2026-11-20");
	struct date_day ahead = day_of("2026-11-30");
	struct date_day behind = day_of("2026-11-02");
	char *row = row_at_guard("a", "2026-11-19");

	(void)state;
	row_count(row, 3, &yesterday);
	row_count(row, 4, &today);
	row_count(row, 5, &behind);
	row_count(row, 6, &ahead);
	row_count(row, 1, &today);
	assert_int_equal(row_today(row, &today), 5);
	assert_int_equal(row_today(row, &yesterday), 3);
	assert_int_equal(row_today(row, &behind), 5);
	assert_int_equal(row_today(row, &ahead), 6);
}

static void test_full_column(void **state)
{
	struct date_day today = day_of("2026-11-20");
	char *row = row_at_guard("a", "2026-11-20");

	(void)state;
	row_count(row, 99999999998, &today);
	assert_days(row, "99999999998");
	row_count(row, 1, &today);
	assert_days(row, "99999999999");
	row_count(row, 1, &today);
	assert_days(row, "99999999999");
	row_count(row, INT64_MAX, &today);
	assert_days(row, "99999999999");
	assert_true(row_is_whole(row));
	today = day_of("2026-11-21");
	row_count(row, INT64_MAX, &today);
	assert_days(row, "99999999999 99999999999");
	assert_true(row_is_whole(row));
}

/* What is whole reads back as itself: nothing is hidden in it. */
static void assert_meaning(const char *row)
{
	char again[ROW_SIZE];
	struct date_day today = day_of("2026-11-20");

	assert_true(row_total(row) >= ROW_DROPPED);
	assert_null(store_name_fault(row_name(row)));
	assert_true(row_today(row, &today) >= 0);
	assert_null(
		row_parse(again, (struct slice){row, ROW_SIZE - 1}, &today));
	assert_true(row_is_whole(again));
	assert_int_equal(row_total(again), row_total(row));
	assert_true(slice_equal(row_name(again), row_name(row)));
	assert_int_equal(row_today(again, &today), row_today(row, &today));
	row_count(again, 1, &today);
	assert_true(row_is_whole(again));
}

/* Each byte as any other: it is a row all the same, or refused. */
static void test_each_byte_altered(void **state)
{
	struct date_day today = day_of("2026-11-20");
	char *row = row_at_guard("blog/post-1", "2026-11-20"), good[ROW_SIZE];
	int whole = 0;

	(void)state;
	row_count(row, 7, &today);
	row_set_total(row, 42);
	memcpy(good, row, ROW_SIZE);
	for (int at = 0; at < ROW_SIZE; at++)
		for (int value = 0; value < 256; value++) {
			memcpy(row, good, ROW_SIZE);
			row[at] = (char)value;
			if (memcmp(row, good, ROW_SIZE) == 0 ||
			    !row_is_whole(row))
				continue;
			assert_true(strchr("0123456789 -._~/"
					   "!$&'()*+,;=:@"
					   "abcdefghijklmnopqrstuvwxyz"
					   "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
					   value));
			assert_true(at < ROW_SIZE - 20);
			assert_meaning(row);
			whole++;
		}
	assert_in_range(whole, 1000, 10000);
}

static void test_not_whole(void **state)
{
	static const struct {
		int at;
		const char *bytes;
	} faults[] = {
		{0, "99999999999999999999"},
		{0, " 9223372036854775808"},
		{0, "                    "},
		{0, "                  -1"},
		{0, "                 4 2"},
		{0, "42                  "},
		{0, "-                   "},
		{20, "x"},
		{DAY_AT, "          "},
		{DAY_AT, "2026-02-29"},
		{DAY_AT, "2026-13-01"},
		{DAY_AT, "2026-00-10"},
		{DAY_AT, "2026-11-31"},
		{DAY_AT, "2026-11-00"},
		{31, "x"},
		{NAME_AT, " "},
		{NAME_AT, "/"},
		{NAME_AT, "homepage   "},
		{NAME_AT, "a b"},
		{NAME_AT, "a//b"},
		{NAME_AT, "../b "},
		{NAME_AT, "\t"},
		{DAYS_AT, "1"},
		{DAYS_AT, "            "},
		{DAYS_AT, "           -"},
		{DAYS_AT, "          + "},
		{DAYS_AT + 29 * 12, "000000000000"},
		{DAYS_AT + 30 * 12, "0"},
		{ROW_SIZE - 2, "0"},
		{ROW_SIZE - 1, " "},
	};
	char *row, zeros[ROW_SIZE] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(faults) / sizeof(*faults); i++) {
		row = row_at_guard("blog/post-1", "2026-11-20");
		memcpy(row + faults[i].at, faults[i].bytes,
		       strlen(faults[i].bytes));
		if (row_is_whole(row))
			print_error("fault %zu\n", i);
		assert_false(row_is_whole(row));
	}
	row = guard_copy(zeros, ROW_SIZE);
	assert_false(row_is_whole(row));
	memset(row, ' ', ROW_SIZE);
	assert_false(row_is_whole(row));
	memset(row, '\n', ROW_SIZE);
	assert_false(row_is_whole(row));
}

/*
 * What a crash may have left of an append
 */

static bool is_torn(const char *bytes, size_t n)
{
	return row_is_torn(guard_copy(bytes, n), n);
}

/* Any beginning of a row, with NULs behind it or not. */
static void test_torn(void **state)
{
	struct date_day today = day_of("2026-11-20");
	char good[ROW_SIZE], row[ROW_SIZE], longest[STORE_NAME_MAX + 1];
	const char *const names[] = {"a", "a/b", longest};

	(void)state;
	memset(longest, '~', STORE_NAME_MAX);
	longest[STORE_NAME_MAX] = '\0';
	for (int i = 0; i < 6; i++) {
		row_make(good, slice_of(names[i % 3]), &today);
		row_count(good, 12345, &today);
		row_set_total(good, i < 3 ? INT64_MAX : ROW_DROPPED);
		for (size_t n = 1; n < ROW_SIZE; n++) {
			/* With all of its columns it is a line that has only
			 * lost its end: nothing of it is thrown away. */
			bool torn = n < DAYS_AT + ROW_DAYS * 12;

			assert_int_equal(is_torn(good, n), torn);
			memset(row, 0, ROW_SIZE);
			memcpy(row, good, n);
			assert_int_equal(is_torn(row, n + 1), torn);
			assert_int_equal(is_torn(row, ROW_SIZE), torn);
		}
		assert_false(is_torn(good, ROW_SIZE));
	}
	memset(row, 0, ROW_SIZE);
	for (size_t n = 1; n <= ROW_SIZE; n++)
		assert_true(is_torn(row, n));
}

/* What somebody has written is none of it. */
static void test_not_torn(void **state)
{
	static const char *const texts[] = {
		"x",
		"42",
		"42 a",
		"-",
		"hello",
		"   hello",
		"\n",
		"                  42\n",
		"                  42 a",
		"                  42 2026-11-20 a\tb",
		"                  42 2026/11/20 a",
		"                  42 2026-11-20 a\r",
		"{\"a\":1}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_false(is_torn(texts[i], strlen(texts[i])));
	assert_false(is_torn("\0x", 2));
	assert_false(is_torn("    \0\0  ", 8));
}

/*
 * Lines by hand
 */

static void test_parse(void **state)
{
	static const struct {
		const char *line, *name, *day, *days;
		int64_t total;
	} lines[] = {
		{"42 a", "a", "2026-11-20", "", 42},
		{"0 a", "a", "2026-11-20", "", 0},
		{"0042 a", "a", "2026-11-20", "", 42},
		{" \t 42 \t a/b \t ", "a/b", "2026-11-20", "", 42},
		{"42\ta", "a", "2026-11-20", "", 42},
		{"- a", "a", "2026-11-20", "", ROW_DROPPED},
		{"42 2026-11-20", "2026-11-20", "2026-11-20", "", 42},
		{"42 2026-11-01 a", "a", "2026-11-01", "", 42},
		{"42 2099-01-01 a", "a", "2099-01-01", "", 42},
		{"42 2026-11-01 a 5", "a", "2026-11-01", "5", 42},
		{"42 2026-11-01 a 5 0 007", "a", "2026-11-01", "5 0 7", 42},
		{"42 2026-11-01 2026-11-02 99999999999", "2026-11-02",
		 "2026-11-01", "99999999999", 42},
		{"9223372036854775807 a", "a", "2026-11-20", "", INT64_MAX},
		{"1 2026-11-01 a 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 "
		 "5 6 7 8 9 1 2 3",
		 "a", "2026-11-01",
		 "1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3",
		 1},
	};
	struct date_day today = day_of("2026-11-20");
	char *row = guard_end() - ROW_SIZE;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct slice line = slice_of(lines[i].line);
		const char *fault = row_parse(row, line, &today);

		if (fault)
			print_error("%s: %s\n", lines[i].line, fault);
		assert_null(fault);
		assert_true(row_is_whole(row));
		assert_int_equal(row_total(row), lines[i].total);
		assert_slice(row_name(row), lines[i].name);
		assert_memory_equal(row + DAY_AT, lines[i].day, DATE_DAY_SIZE);
		assert_days(row, lines[i].days);
	}
}

static void test_parse_refuses(void **state)
{
	static const char many[] = /* 31 days */
		"1 2026-11-01 a 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9 1 2 3 4 "
		"5 6 7 8 9 1 2 3 4";
	static const char *const lines[] = {
		"",
		" ",
		"a",
		"42",
		"a 42",
		"42 ",
		"-1 a",
		"+1 a",
		"1.5 a",
		"1,000 a",
		"0x10 a",
		"-- a",
		"9223372036854775808 a",
		"42 homepage",
		"42 2026-11-20 homepage",
		"42 a\r",
		"42 a b",
		"42 a 1",
		"42 /a",
		"42 a/",
		"42 a//b",
		"42 ..",
		"42 \xc3",
		"42 2026-02-30 a",
		"42 2026-11-2 a",
		"42 20/11/2026 a",
		"42 2026-11-20 a x",
		"42 2026-11-20 a -1",
		"42 2026-11-20 a 100000000000",
		"42 2026-11-20 a 1 \r",
		many,
		"<html>",
		"{\"a\": 42}",
		"a=42",
		"42,a",
	};
	struct date_day today = day_of("2026-11-20");
	char row[ROW_SIZE], longest[110] = "42 ";

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		size_t n = strlen(lines[i]);
		struct slice line = {guard_copy(lines[i], n), n};
		const char *fault = row_parse(row, line, &today);

		if (!fault)
			print_error("%s\n", lines[i]);
		assert_non_null(fault);
		assert_in_range(strlen(fault), 10, 100);
	}
	memset(longest + 3, 'x', 101);
	assert_non_null(row_parse(row, slice_of(longest), &today));
	longest[103] = '\0';
	assert_null(row_parse(row, slice_of(longest), &today));
	assert_non_null(row_parse(row, (struct slice){"4\0 a", 4}, &today));
	assert_non_null(row_parse(row, (struct slice){"4 a\0", 4}, &today));
}

static void merge(char *row, const char *line, const char *other)
{
	struct date_day today = day_of("2026-11-20");
	char its[ROW_SIZE];

	assert_null(row_parse(row, slice_of(line), &today));
	assert_null(row_parse(its, slice_of(other), &today));
	row_merge(row, its);
	assert_true(row_is_whole(row));
}

static void test_merge(void **state)
{
	char row[ROW_SIZE];

	(void)state;
	merge(row, "5 2026-11-18 a 1 2", "7 2026-11-19 a 3");
	assert_int_equal(row_total(row), 7);
	assert_days(row, "3");
	merge(row, "9 2026-11-18 a 1 2", "7 2026-11-19 a 3");
	assert_int_equal(row_total(row), 9);
	assert_days(row, "3");
	merge(row, "5 2026-11-19 a 1 2", "7 2026-11-18 a 3");
	assert_int_equal(row_total(row), 7);
	assert_days(row, "1 2");
	merge(row, "- 2026-11-19 a 1 2", "7 2026-11-18 a 3");
	assert_int_equal(row_total(row), 7);
	merge(row, "0 2026-11-18 a", "- 2026-11-19 a");
	assert_int_equal(row_total(row), 0);
	merge(row, "- 2026-11-18 a", "- 2026-11-19 a");
	assert_int_equal(row_total(row), ROW_DROPPED);
	assert_slice(row_name(row), "a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_month_and_year_ends),
		cmocka_unit_test(test_clock_that_was_ahead),
		cmocka_unit_test(test_days_outlive_a_wrong_clock),
		cmocka_unit_test(test_full_column),
		cmocka_unit_test(test_each_byte_altered),
		cmocka_unit_test(test_not_whole),
		cmocka_unit_test(test_torn),
		cmocka_unit_test(test_not_torn),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_refuses),
		cmocka_unit_test(test_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
