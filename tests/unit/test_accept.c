#include "site/accept.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

#define T (1u << MEDIA_TEXT)
#define J (1u << MEDIA_JSON)
#define H (1u << MEDIA_HTML)

static enum media choose(const char *fields, unsigned offered, enum media first)
{
	struct http_request *r = test_malloc(sizeof(*r));
	char text[9000];

	snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n",
		 fields);
	request_read(r, text);
	enum media media = accept_media(r, offered, first);
	test_free(r);
	return media;
}

struct row {
	const char *accept; /* the value of the field; NULL: no field */
	enum media media;   /* of text, JSON and HTML, text first */
};

static const struct row rows[] = {
	{NULL, MEDIA_TEXT},
	{"", MEDIA_TEXT},
	{"*/*", MEDIA_TEXT},
	{"text/plain", MEDIA_TEXT},
	{"application/json", MEDIA_JSON},
	{"text/html", MEDIA_HTML},
	{"TEXT/HTML", MEDIA_HTML},
	{"Application/Json", MEDIA_JSON},
	/* What browsers send */
	{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
	 MEDIA_HTML},
	{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
	 "image/webp,image/apng,*/*;q=0.8,"
	 "application/signed-exchange;v=b3;q=0.7",
	 MEDIA_HTML},
	{"application/json, text/plain, */*", MEDIA_JSON},
	{"application/json, text/javascript, */*; q=0.01", MEDIA_JSON},
	{"image/avif,image/webp,*/*", MEDIA_TEXT},
	/* q-values */
	{"text/plain;q=0.5, application/json", MEDIA_JSON},
	{"text/plain;q=0.5, application/json;q=0.6", MEDIA_JSON},
	{"text/plain;q=0.6, application/json;q=0.5", MEDIA_TEXT},
	{"text/html;q=0.1, application/json;q=0.01", MEDIA_HTML},
	{"application/json;q=0.001", MEDIA_JSON},
	{"text/html;q=0.999, application/json;q=1.000", MEDIA_JSON},
	{"text/html;q=1., application/json;q=0.9", MEDIA_HTML},
	{"text/html;q=0., application/json;q=0.1", MEDIA_JSON},
	{"text/html;Q=0.2, application/json;Q=0.3", MEDIA_JSON},
	{"text/html ; q=0.2 , application/json ;\tq=0.3", MEDIA_JSON},
	/* Of equal q: the more specific range, then the client's order */
	{"text/html, application/json, text/plain", MEDIA_HTML},
	{"text/html, application/json", MEDIA_HTML},
	{"application/json, text/html", MEDIA_JSON},
	{"text/html;q=0.5, application/json;q=0.5", MEDIA_HTML},
	{"*/*, text/html", MEDIA_HTML},
	{"text/*, application/json", MEDIA_JSON},
	{"application/*, text/*", MEDIA_JSON},
	{"text/*, application/*", MEDIA_TEXT},
	{"text/*", MEDIA_TEXT},
	{"application/*", MEDIA_JSON},
	{"APPLICATION/*", MEDIA_JSON},
	/* The most precise range decides about a type */
	{"text/*;q=0.1, text/html", MEDIA_HTML},
	{"text/html;q=0.1, text/*;q=0.2, */*;q=0.15", MEDIA_TEXT},
	{"text/plain;q=0.1, */*;q=0.5", MEDIA_JSON},
	{"*/*;q=0.5, text/plain;q=0.1, application/json;q=0.2", MEDIA_HTML},
	{"text/plain;q=0, */*", MEDIA_JSON},
	{"text/plain;q=0, application/json;q=0, */*;q=0.1", MEDIA_HTML},
	{"*/*;q=0.1, text/*;q=0, text/html;q=0.2", MEDIA_HTML},
	/* Parameters other than q do not matter here */
	{"application/json;charset=utf-8", MEDIA_JSON},
	{"text/html;level=1;q=0.4, application/json;q=0.3", MEDIA_HTML},
	{"application/json;v=\"1\"", MEDIA_JSON},
	/* Never 406 */
	{"image/png", MEDIA_TEXT},
	{"text/plain;q=0", MEDIA_TEXT},
	{"*/*;q=0", MEDIA_TEXT},
	{"text/plain;q=0, application/json;q=0, text/html;q=0", MEDIA_TEXT},
	{"application/xml, image/*", MEDIA_TEXT},
	/* Malformed ones are passed over */
	{",", MEDIA_TEXT},
	{",,application/json,,", MEDIA_JSON},
	{"json", MEDIA_TEXT},
	{"*", MEDIA_TEXT},
	{"/", MEDIA_TEXT},
	{"/*", MEDIA_TEXT},
	{"*/html", MEDIA_TEXT},
	{"application", MEDIA_TEXT},
	{"application/", MEDIA_TEXT},
	{"application/jso", MEDIA_TEXT},
	{"application/jsonx", MEDIA_TEXT},
	{"text/h*", MEDIA_TEXT},
	{"a*/*", MEDIA_TEXT},
	{"text/html;q=2, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=1.1, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=1.001, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=-1, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=x, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=0.1234, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=.9, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=0,9, application/json;q=0.1", MEDIA_JSON},
	{"text/html;q=10, application/json;q=0.1", MEDIA_JSON},
	{"text/html;;;, application/json;q=0.1", MEDIA_HTML},
	{";q=1, application/json;q=0.1", MEDIA_JSON},
	{"\xff\xfe/\x80, application/json;q=0.1", MEDIA_JSON},
};

static void test_rows(void **state)
{
	char fields[1024];
	int wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		fields[0] = '\0';
		if (rows[i].accept)
			snprintf(fields, sizeof(fields), "Accept: %s\r\n",
				 rows[i].accept);
		enum media media = choose(fields, T | J | H, MEDIA_TEXT);
		if (media != rows[i].media) {
			print_error("%s: %d, and not %d\n", fields, (int)media,
				    (int)rows[i].media);
			wrong++;
		}
	}
	assert_int_equal(wrong, 0);
}

static void test_several_fields(void **state)
{
	(void)state;
	assert_int_equal(choose("Accept: text/plain;q=0.1\r\n"
				"X: y\r\naccept: application/json;q=0.2\r\n",
				T | J | H, MEDIA_TEXT),
			 MEDIA_JSON);
	assert_int_equal(choose("Accept:\r\nAccept: text/html\r\n", T | J | H,
				MEDIA_TEXT),
			 MEDIA_HTML);
}

static void test_offered(void **state)
{
	(void)state;
	/* What is not offered is never chosen. */
	assert_int_equal(choose("Accept: text/html\r\n", T | J, MEDIA_TEXT),
			 MEDIA_TEXT);
	assert_int_equal(
		choose("Accept: text/html, */*;q=0.1\r\n", T | J, MEDIA_JSON),
		MEDIA_JSON);
	assert_int_equal(choose("Accept: application/json\r\n", T, MEDIA_TEXT),
			 MEDIA_TEXT);
	/* Ties go to the first one named. */
	assert_int_equal(choose("", T | J, MEDIA_JSON), MEDIA_JSON);
	assert_int_equal(choose("Accept: */*\r\n", T | J, MEDIA_JSON),
			 MEDIA_JSON);
	assert_int_equal(choose("Accept: text/plain\r\n", T | J, MEDIA_JSON),
			 MEDIA_TEXT);
	assert_int_equal(choose("Accept: image/png\r\n", T | J, MEDIA_JSON),
			 MEDIA_JSON);
}

static void test_long_list(void **state)
{
	char fields[8192];
	char *p = fields + sprintf(fields, "Accept: ");

	(void)state;
	for (int i = 0; i < 500; i++)
		p += sprintf(p, "a/b;q=0.%d,", i);
	sprintf(p, "text/html;q=0.3\r\n");
	assert_int_equal(choose(fields, T | J | H, MEDIA_TEXT), MEDIA_HTML);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_several_fields),
		cmocka_unit_test(test_offered),
		cmocka_unit_test(test_long_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
