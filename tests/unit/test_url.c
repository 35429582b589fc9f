/* The parts of a URL. */
#include "unit.h"

#include "util/url.h"

static void same(const char *part, const char *expected)
{
	if (!expected)
		assert_null(part);
	else
		assert_string_equal(part, expected);
}

static void test_parts(void **state)
{
	static const struct {
		const char *text;
		struct url url;
	} cases[] = {
		{"redis://h", {.host = "h"}},
		{"redis://h/", {.host = "h"}},
		{"redis://h:1/2", {.host = "h", .port = "1", .path = "2"}},
		{"redis://u@h", {.user = "u", .host = "h"}},
		{"redis://:p@h", {.password = "p", .host = "h"}},
		{"redis://u:p@h:1/2",
		 {.user = "u",
		  .password = "p",
		  .host = "h",
		  .port = "1",
		  .path = "2"}},
		{"redis://u:a:b@h",
		 {.user = "u", .password = "a:b", .host = "h"}},
		{"redis://u%3a:%40%2F@h",
		 {.user = "u:", .password = "@/", .host = "h"}},
		{"redis://[::1]:7", {.host = "::1", .port = "7"}},
		{"redis://[::1]/3", {.host = "::1", .path = "3"}},
		{"redis://%2ftmp%2fs", {.host = "/tmp/s"}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const struct url *expected = &cases[i].url;
		char *room = test_malloc(strlen(cases[i].text) + 8);
		struct url url;

		assert_null(url_read(cases[i].text, "redis", room, &url));
		same(url.user, expected->user);
		same(url.password, expected->password);
		same(url.host, expected->host);
		same(url.port, expected->port);
		same(url.path, expected->path);
		test_free(room);
	}
}

static void test_none(void **state)
{
	static const char *const texts[] = {
		"",
		"redis",
		"redis:/h",
		"http://h",
		"redis://",
		"redis:///1",
		"redis://u@",
		"redis://:7",
		"redis://[::1",
		"redis://[::1]7",
		"redis://[]",
		"redis://h?a",
		"redis://h#a",
		"redis://%zz",
		"redis://h%0",
		"redis://h%",
		"redis://%00",
		"redis://a:%0@h",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char *room = test_malloc(strlen(texts[i]) + 8);
		struct url url;

		assert_non_null(url_read(texts[i], "redis", room, &url));
		test_free(room);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
