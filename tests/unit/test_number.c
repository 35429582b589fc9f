#include "tests/unit/unit.h"
#include "util/number.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool read_text(const char *text, int64_t *value)
{
	size_t n = strlen(text);

	return number_read((struct slice){guard_copy(text, n), n}, value);
}

static void test_read(void **state)
{
	static const struct {
		const char *text;
		int64_t value;
	} good[] = {
		{"0", 0},
		{"00", 0},
		{"7", 7},
		{"010", 10},
		{"1234567890", 1234567890},
		{"9223372036854775806", INT64_MAX - 1},
		{"9223372036854775807", INT64_MAX},
		{"0000000000000000000000009223372036854775807", INT64_MAX},
	};
	static const char *const bad[] = {"",
					  " ",
					  "-",
					  "+",
					  "-1",
					  "+1",
					  " 1",
					  "1 ",
					  "1\n",
					  "0x1",
					  "1_0",
					  "1e3",
					  "1.0",
					  "a",
					  "1a",
					  "/",
					  ":",
					  "\xb2",
					  "\xff",
					  "9223372036854775808",
					  "9223372036854775810",
					  "9999999999999999999",
					  "18446744073709551616",
					  "18446744073709551617",
					  "99999999999999999999999999999999"};
	int64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(read_text(good[i].text, &value));
		assert_int_equal(value, good[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		value = 4711;
		assert_false(read_text(bad[i], &value));
		assert_int_equal(value, 4711);
	}
	assert_false(number_read((struct slice){"1\0", 2}, &value));
	assert_false(number_read((struct slice){NULL, 0}, &value));
}

static void check_write(int64_t value)
{
	char wanted[32];
	char *out;
	int64_t again;
	int n = snprintf(wanted, sizeof(wanted), "%" PRId64, value);

	out = guard_end() - n;
	assert_int_equal(number_write(out, value), n);
	assert_memory_equal(out, wanted, (size_t)n);
	assert_true(number_read((struct slice){out, (size_t)n}, &again));
	assert_int_equal(again, value);
}

static void test_write(void **state)
{
	uint64_t seed = 20261120;

	(void)state;
	for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10)
		for (int64_t d = -2; d <= 2; d++)
			if (power + d >= 0)
				check_write(power + d);
	for (int shift = 1; shift < 63; shift++)
		for (int i = 0; i < 200; i++)
			check_write(
				(int64_t)(random_next(&seed) << 16 >> shift) &
				INT64_MAX);
	check_write(INT64_MAX);
}

static void test_write_2(void **state)
{
	char wanted[32];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		snprintf(wanted, sizeof(wanted), "%02d", i % 100);
		char *out = guard_end() - 2;
		number_write_2(out, i);
		assert_memory_equal(out, wanted, 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read),
		cmocka_unit_test(test_write),
		cmocka_unit_test(test_write_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
