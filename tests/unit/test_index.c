/* The hash table from names to rows. */
#include "store/index.h"
#include "tests/unit/unit.h"
#include "util/hash.h"

#include <stdio.h>
#include <stdlib.h>

enum { MANY = 100000 };

static struct slice name_of(size_t i)
{
	static char text[32];

	snprintf(text, sizeof(text), "blog/post-%zu", i);
	return slice_of(text);
}

/* Whether the row is among those with this hash; *looks counts them. */
static bool has(const struct index *index, uint32_t hash, size_t row,
		size_t *looks)
{
	size_t cursor = 0, found;

	while (index_next(index, hash, &cursor, &found)) {
		++*looks;
		if (found == row)
			return true;
	}
	return false;
}

static void test_empty(void **state)
{
	struct index index = {.len = 0};
	size_t cursor = 0, row;

	(void)state;
	assert_int_equal(index_next(&index, 7, &cursor, &row), 0);
	index_free(&index);
	assert_int_equal(index_add(&index, 7, 0), 0);
	cursor = 0;
	assert_int_equal(index_next(&index, 8, &cursor, &row), 0);
	cursor = 0;
	assert_int_equal(index_next(&index, 7, &cursor, &row), 1);
	assert_int_equal(row, 0);
	assert_int_equal(index_next(&index, 7, &cursor, &row), 0);
	index_free(&index);
	index_free(&index);
}

static void test_many(void **state)
{
	struct index index = {.len = 0};
	size_t looks = 0;

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(index_add(&index, hash_name(name_of(i)), i),
				 0);
	assert_int_equal(index.len, MANY);
	assert_true(index.cap * 2 >= index.len * 3);
	assert_true(index.cap <= index.len * 3);
	for (size_t i = 0; i < MANY; i++)
		assert_true(has(&index, hash_name(name_of(i)), i, &looks));
	/* Two of them may have one hash, and no more than a few do. */
	assert_in_range(looks, MANY, MANY + 20);
	looks = 0;
	for (size_t i = MANY; i < 2 * MANY; i++)
		assert_false(has(&index, hash_name(name_of(i)), i, &looks));
	assert_in_range(looks, 0, 20);
	index_free(&index);
}

/* Hashes that are equal, and such as want the same slot or the last ones. */
static void test_collisions(void **state)
{
	static const uint32_t hashes[] = {0, 1023, UINT32_MAX, 1024, 1 << 20};
	struct index index = {.len = 0};
	size_t looks = 0;

	(void)state;
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(index_add(&index, hashes[i % 5], i), 0);
	for (size_t i = 0; i < 5; i++) {
		size_t cursor = 0, row, wanted = 5000;
		uint64_t sum = 0;

		while (index_next(&index, hashes[i], &cursor, &row)) {
			assert_int_equal(row % 5, i);
			sum += row;
			wanted -= 5;
		}
		assert_int_equal(wanted, 0);
		assert_int_equal(sum, 1000 * i + 5 * (999 * 1000 / 2));
	}
	assert_false(has(&index, 2, 0, &looks));
	assert_int_equal(looks, 0);
	index_free(&index);
}

/* Every byte of a name and its length take part. */
static void test_hash(void **state)
{
	char text[101] = {0};
	uint32_t seen[101];

	(void)state;
	memset(text, 'a', 100);
	for (size_t n = 0; n <= 100; n++) {
		struct slice name = {guard_copy(text, n), n};

		seen[n] = hash_name(name);
		assert_int_equal(hash_name((struct slice){text, n}), seen[n]);
		for (size_t k = 0; k < n; k++)
			assert_int_not_equal(seen[n], seen[k]);
	}
	for (size_t i = 0; i < 100; i++) {
		text[i] = 'b';
		assert_int_not_equal(hash_name(slice_of(text)), seen[100]);
		text[i] = 'a';
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_collisions),
		cmocka_unit_test(test_hash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
