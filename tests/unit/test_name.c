/* What a counter may be called. */
#include "store/store.h"
#include "tests/unit/unit.h"

#include <string.h>

static const char *fault_of(const char *bytes, size_t n)
{
	return store_name_fault((struct slice){guard_copy(bytes, n), n});
}

static void test_good(void **state)
{
	static const char *const names[] = {
		"a",
		"Z",
		"0",
		"-",
		"_",
		"~",
		"...",
		".a",
		"a.",
		"..a",
		"a..",
		"a/b",
		"a/b/c",
		"a/.b",
		"a/...",
		"~/x",
		"homepage",
		"2026-11-20",
		"blog/post-1.html",
		"ABC/def_~.-",
		"a!$&'()*+,;=:@b",
		"\xc3\xa4",
		"2020/\xe8\xaf\xbb\xe4\xb9\xa6",
		"\xf0\x9f\x98\x80",
		"a\xe2\x80\x8c"
		"b\xe2\x80\x8d"
		"c",	    /* joiners */
		"\xc2\xa1", /* U+00A1, behind the no-break space */
		"\xef\xbb\xbe",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_null(fault_of(names[i], strlen(names[i])));
}

static void test_bad(void **state)
{
	static const char *const names[] = {
		"/",
		"//",
		"/a",
		"a/",
		"a//b",
		".",
		"..",
		"./a",
		"../a",
		"a/.",
		"a/..",
		"a/./b",
		"a/../b",
		" ",
		"a b",
		"a ",
		" a",
		"a\n",
		"a\r",
		"a\t",
		"a%20",
		"a?b",
		"a#b",
		"a\\b",
		"a\"b",
		"a<b",
		"a>b",
		"a[b",
		"a]b",
		"a^b",
		"a`b",
		"a{b",
		"a|b",
		"a}b",
		"\x7f",
		"a\x80",
		/* no UTF-8 */
		"\xc3",
		"\xc3(",
		"\xff",
		"\xc0\xaf",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		/* controls, white space, and what is not seen */
		"a\xc2\x80",
		"a\xc2\x9f",
		"\xc2\xa0",
		"\xd8\x9c",
		"\xe1\x9a\x80",
		"\xe2\x80\x80",
		"\xe2\x80\x8b",
		"\xe2\x80\x8e",
		"\xe2\x80\x8f",
		"\xe2\x80\xa8",
		"\xe2\x80\xa9",
		"\xe2\x80\xaa",
		"\xe2\x80\xae",
		"\xe2\x80\xaf",
		"\xe2\x81\x9f",
		"\xe2\x81\xa0",
		"\xe2\x81\xa4",
		"\xe2\x81\xa6",
		"\xe2\x81\xa9",
		"\xe3\x80\x80",
		"\xef\xbb\xbf",
	};

	(void)state;
	assert_non_null(fault_of("", 0));
	assert_non_null(store_name_fault((struct slice){NULL, 0}));
	assert_non_null(fault_of("a\0b", 3));
	assert_non_null(fault_of("\0", 1));
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		assert_non_null(fault_of(names[i], strlen(names[i])));
}

static void test_bytes(void **state)
{
	static const char good[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789._~-/!$&'()*+,;=:@";

	(void)state;
	for (int c = 0; c < 256; c++) {
		char text[3] = {'a', (char)c, 'a'};
		bool is_good = c != 0 && strchr(good, c) != NULL;

		assert_int_equal(fault_of(text, 3) == NULL, is_good);
		assert_int_equal(store_name_has((char)c), is_good || c >= 0x80);
	}
}

static void test_lengths(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (size_t n = 1; n <= sizeof(text); n++)
		assert_int_equal(fault_of(text, n) == NULL,
				 n <= STORE_NAME_MAX);
	for (size_t i = 1; i < STORE_NAME_MAX; i += 2)
		text[i] = '/';
	assert_non_null(fault_of(text, STORE_NAME_MAX));
	assert_null(fault_of(text, STORE_NAME_MAX - 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
