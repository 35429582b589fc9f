#include "tests/unit/unit.h"
#include "util/log.h"
#include "util/settings.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {"BIND",
				    "PORT",
				    "BASE_PATH",
				    "WORKERS",
				    "DATA_DIR",
				    "VISITS_FILE",
				    "SYNC",
				    "STORE_TIMEOUT",
				    "MAX_COUNTERS",
				    "MAX_ITEMS",
				    "MAX_CONNECTIONS",
				    "REPEAT_WINDOW",
				    "ADMIN_TOKEN",
				    "ADMIN_TOKEN_FILE",
				    "REDIS_PASSWORD_FILE",
				    "DB_PASSWORD_FILE",
				    "ACCESS_LOG",
				    "LOG_FORMAT",
				    "LOG_LEVEL",
				    "TZ"};
enum { NAMES = sizeof(names) / sizeof(*names) };

static int forget_all(void **state)
{
	(void)state;
	for (size_t i = 0; i < NAMES; i++)
		unsetenv(names[i]);
	return 0;
}

static int read_with(struct settings *s, const char *name, const char *value)
{
	static char error[512];

	memset(s, 0xa5, sizeof(*s));
	forget_all(NULL);
	setenv(name, value, 1);
	strcpy(error, "?");
	int done = settings_read(s, error, sizeof(error));
	if (done < 0)
		print_message("%s\n", error);
	return done;
}

static void assert_defaults(const struct settings *s)
{
	assert_null(s->bind);
	assert_int_equal(s->port, 8080);
	assert_null(s->base_path);
	assert_int_equal(s->workers, 0);
	assert_string_equal(s->data_dir, "data");
	assert_null(s->visits_file);
	assert_int_equal(s->sync, SYNC_ALWAYS);
	assert_int_equal(s->store_timeout, 1000);
	assert_int_equal(s->max_counters, 100000);
	assert_int_equal(s->max_items, 100000);
	assert_int_equal(s->repeat_window, 0);
	assert_null(s->admin_token);
	assert_int_equal(s->max_connections, 10000);
	assert_int_equal(s->access_log, 0);
	assert_int_equal(s->log_json, 0);
	assert_int_equal(s->log_level, LOG_INFO);
}

static void test_defaults(void **state)
{
	struct settings s;
	char error[512];

	(void)state;
	memset(&s, 0xa5, sizeof(s));
	assert_int_equal(settings_read(&s, error, sizeof(error)), 0);
	assert_defaults(&s);
	/* An empty value is none. */
	for (size_t i = 0; i < NAMES; i++)
		setenv(names[i], "", 1);
	memset(&s, 0xa5, sizeof(s));
	assert_int_equal(settings_read(&s, error, sizeof(error)), 0);
	assert_defaults(&s);
}

static void test_numbers(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
		long min, max;
	} rows[] = {
		{"PORT", offsetof(struct settings, port), 1, 65535},
		{"WORKERS", offsetof(struct settings, workers), 1, 1024},
		{"STORE_TIMEOUT", offsetof(struct settings, store_timeout), 1,
		 600000},
		{"MAX_COUNTERS", offsetof(struct settings, max_counters), 0,
		 100000000},
		{"MAX_ITEMS", offsetof(struct settings, max_items), 0,
		 100000000},
		{"REPEAT_WINDOW", offsetof(struct settings, repeat_window), 0,
		 31536000},
		{"MAX_CONNECTIONS", offsetof(struct settings, max_connections),
		 1, 1000000},
	};
	struct settings s;
	char text[64];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const int *value =
			(const void *)((const char *)&s + rows[i].offset);
		const long good[] = {rows[i].min, rows[i].min + 1,
				     rows[i].max - 1, rows[i].max};
		const char *const bad[] = {
			"-1",	     "+1",   "1.5",
			"0x10",	     "1k",   " 1",
			"1 ",	     "many", "9223372036854775808",
			"4294967297"};

		for (size_t k = 0; k < 4; k++) {
			sprintf(text, "%ld", good[k]);
			assert_int_equal(read_with(&s, rows[i].name, text), 0);
			assert_int_equal(*value, good[k]);
		}
		assert_int_equal(read_with(&s, rows[i].name, "007"), 0);
		assert_int_equal(*value, 7);
		for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++)
			assert_int_equal(read_with(&s, rows[i].name, bad[k]),
					 -1);
		sprintf(text, "%ld", rows[i].min - 1);
		assert_int_equal(read_with(&s, rows[i].name, text), -1);
		sprintf(text, "%ld", rows[i].max + 1);
		assert_int_equal(read_with(&s, rows[i].name, text), -1);
	}
}

static void test_words(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
		const char *words[5];
	} rows[] = {
		{"SYNC",
		 offsetof(struct settings, sync),
		 {"always", "everysec", "no"}},
		{"ACCESS_LOG",
		 offsetof(struct settings, access_log),
		 {"off", "on"}},
		{"LOG_FORMAT",
		 offsetof(struct settings, log_json),
		 {"text", "json"}},
		{"LOG_LEVEL",
		 offsetof(struct settings, log_level),
		 {"error", "warn", "info", "debug"}},
	};
	static const char *const bad[] = {
		"x",   "ALWAYS", "On",	      "0",	 "1",
		"|",   "off|on", "alway",     "alwayss", "error|",
		" on", "on ",	 "text|json", "yes"};
	struct settings s;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const int *value =
			(const void *)((const char *)&s + rows[i].offset);

		for (int k = 0; rows[i].words[k]; k++) {
			assert_int_equal(
				read_with(&s, rows[i].name, rows[i].words[k]),
				0);
			assert_int_equal(*value, k);
		}
		for (size_t k = 0; k < sizeof(bad) / sizeof(*bad); k++)
			assert_int_equal(read_with(&s, rows[i].name, bad[k]),
					 -1);
	}
}

static void test_address(void **state)
{
	static const char *const good[] = {"0.0.0.0", "127.0.0.1",
					   "::",      "::1",
					   "fe80::1", "::ffff:1.2.3.4"};
	static const char *const bad[] = {
		"localhost", "1.2.3",  "1.2.3.4.5", "256.0.0.1",
		"[::1]",     ":::",    "*",	    "0.0.0.0:80",
		" ::",	     "::1/64", "x"};
	struct settings s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(read_with(&s, "BIND", good[i]), 0);
		assert_string_equal(s.bind, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(read_with(&s, "BIND", bad[i]), -1);
}

static void test_base_path(void **state)
{
	static const char *const good[] = {"/a",      "/counter", "/a/b",
					   "/~x/-._", "/...",	  "/.a",
					   "/a..",    "/a/..b"};
	static const char *const bad[] = {
		"/",	"a",	"//",	 "/a/",	      "//a",   "/a//b", "/.",
		"/..",	"/a/.", "/../a", "/a/./b",    "/a%62", "/a b",	"/a?",
		"/a#b", "/a:b", "\\a",	 "/\xc3\xa9", "/a\n"};
	char text[102] = "/";
	struct settings s;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(read_with(&s, "BASE_PATH", good[i]), 0);
		assert_string_equal(s.base_path, good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(read_with(&s, "BASE_PATH", bad[i]), -1);
	memset(text + 1, 'x', 99);
	assert_int_equal(read_with(&s, "BASE_PATH", text), 0);
	text[100] = 'x';
	assert_int_equal(read_with(&s, "BASE_PATH", text), -1);
}

static void test_paths(void **state)
{
	char *path = test_malloc(PATH_MAX + 2);
	struct settings s;

	(void)state;
	memset(path, 'x', PATH_MAX + 1);
	for (int i = 0; i < 2; i++) {
		const char *name = i ? "VISITS_FILE" : "DATA_DIR";

		assert_int_equal(read_with(&s, name, "/a b/\xc3\xa9"), 0);
		assert_string_equal(i ? s.visits_file : s.data_dir,
				    "/a b/\xc3\xa9");
		path[PATH_MAX] = '\0';
		assert_int_equal(read_with(&s, name, path), -1);
		path[PATH_MAX - 1] = '\0';
		assert_int_equal(read_with(&s, name, path), 0);
		path[PATH_MAX - 1] = 'x';
	}
	test_free(path);
}

static void test_zone(void **state)
{
	struct settings s;

	(void)state;
	assert_int_equal(read_with(&s, "TZ", "Europe/Berlin"), 0);
	assert_int_equal(read_with(&s, "TZ", "CET-1CEST,M3.5.0,M10.5.0/3"), 0);
	assert_int_equal(read_with(&s, "TZ", "Europe/Berlln"), -1);
}

static void test_secret(void **state)
{
	char *value = test_malloc(SETTINGS_SECRET_MAX + 2);
	struct settings s;

	(void)state;
	assert_int_equal(read_with(&s, "ADMIN_TOKEN", "a \xc3\xa9\"\\"), 0);
	assert_string_equal(s.admin_token, "a \xc3\xa9\"\\");
	assert_int_equal(read_with(&s, "ADMIN_TOKEN", "a\nb"), -1);
	memset(value, 'x', SETTINGS_SECRET_MAX + 1);
	value[SETTINGS_SECRET_MAX + 1] = '\0';
	assert_int_equal(read_with(&s, "ADMIN_TOKEN", value), -1);
	value[SETTINGS_SECRET_MAX] = '\0';
	assert_int_equal(read_with(&s, "ADMIN_TOKEN", value), 0);
	test_free(value);
}

static void test_secret_file(void **state)
{
	static char large[SETTINGS_SECRET_MAX + 3];
	static const struct {
		const char *bytes;
		size_t len;
		const char *token; /* NULL: refused */
	} rows[] = {
		{"token", 5, "token"},
		{"token\n", 6, "token"},
		{"token\r\n", 7, "token"},
		{"to ken ", 7, "to ken "},
		{"", 0, NULL},
		{"\n", 1, NULL},
		{"token\n\n", 7, NULL},
		{"a\nb", 3, NULL},
		{"a\0b", 3, NULL},
		{"a\0", 2, NULL},
		{large, SETTINGS_SECRET_MAX + 1, NULL},
		{large, SETTINGS_SECRET_MAX + 2, NULL},
	};
	struct settings s;

	(void)state;
	memset(large, 'x', sizeof(large));
	folder_make();
	const char *path = folder_path("token");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		file_put(path, rows[i].bytes, rows[i].len);
		assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", path),
				 rows[i].token ? 0 : -1);
		if (rows[i].token)
			assert_string_equal(s.admin_token, rows[i].token);
	}
	file_put(path, large, SETTINGS_SECRET_MAX);
	assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", path), 0);
	assert_int_equal(strlen(s.admin_token), SETTINGS_SECRET_MAX);
	assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", folder_path("none")),
			 -1);
	/* No file to read: a folder, and a pipe would be waited for. */
	assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", "/"), -1);
	assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", "/dev/zero"), -1);
	folder_remove();
}

/* Each is kept apart from the others. */
static void test_secrets_of_several_files(void **state)
{
	static const char *const files[] = {
		"REDIS_PASSWORD_FILE", "DB_PASSWORD_FILE", "ADMIN_TOKEN_FILE"};
	struct settings s;
	char error[512];

	(void)state;
	folder_make();
	for (size_t i = 0; i < 3; i++) {
		file_put_text(folder_path(files[i]), files[i]);
		setenv(files[i], folder_path(files[i]), 1);
	}
	assert_int_equal(settings_read(&s, error, sizeof(error)), 0);
	assert_string_equal(s.redis_password, files[0]);
	assert_string_equal(s.db_password, files[1]);
	assert_string_equal(s.admin_token, files[2]);
	folder_remove();
}

/* One from a file may change; when it cannot be read it stays what it was. */
static void test_secret_again(void **state)
{
	struct settings s;
	char error[512];

	(void)state;
	folder_make();
	const char *path = folder_path("token");
	file_put_text(path, "first\n");
	assert_int_equal(read_with(&s, "ADMIN_TOKEN_FILE", path), 0);
	file_put_text(path, "second\n");
	assert_int_equal(settings_read_secrets(&s, error, sizeof(error)), 0);
	assert_string_equal(s.admin_token, "second");
	file_put_text(path, "third\nline\n");
	assert_int_equal(settings_read_secrets(&s, error, sizeof(error)), -1);
	assert_string_equal(s.admin_token, "second");
	assert_non_null(strstr(error, "ADMIN_TOKEN_FILE="));
	assert_null(strstr(error, "third"));
	folder_remove();
	assert_int_equal(settings_read_secrets(&s, error, sizeof(error)), -1);
	assert_string_equal(s.admin_token, "second");
	assert_int_equal(read_with(&s, "ADMIN_TOKEN", "env"), 0);
	assert_int_equal(settings_read_secrets(&s, error, sizeof(error)), 0);
	assert_string_equal(s.admin_token, "env");
}

/* No message shows a secret. */
static void test_secret_messages(void **state)
{
	static const char *const values[] = {"se\tcret", "secret\n"};
	struct settings s;
	char error[512];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		setenv("ADMIN_TOKEN", values[i], 1);
		assert_int_equal(settings_read(&s, error, sizeof(error)), -1);
		assert_non_null(strstr(error, "ADMIN_TOKEN=...: takes "));
		assert_null(strstr(error, "cret"));
	}
	setenv("ADMIN_TOKEN", "secret", 1);
	setenv("ADMIN_TOKEN_FILE", "/run/token", 1);
	assert_int_equal(settings_read(&s, error, sizeof(error)), -1);
	assert_non_null(strstr(error, "ADMIN_TOKEN_FILE=/run/token: takes "));
	assert_null(strstr(error, "secret"));
}

/* The message is one line: the variable, its value, and what it takes. */
static void test_messages(void **state)
{
	static const struct {
		const char *name, *value, *takes;
	} rows[] = {
		{"BIND", "here", "address"},
		{"PORT", "0", "1 to 65535"},
		{"PORT", "65536", "1 to 65535"},
		{"BASE_PATH", "counter/", "a path such as /counter"},
		{"WORKERS", "many", "1 to 1024"},
		{"SYNC", "never", "always|everysec|no"},
		{"STORE_TIMEOUT", "-5", "1 to 600000"},
		{"MAX_COUNTERS", "few", "0 to 100000000"},
		{"MAX_ITEMS", "few", "0 to 100000000"},
		{"REPEAT_WINDOW", "1d", "0 to 31536000"},
		{"ADMIN_TOKEN_FILE", "/none", "a file that holds"},
		{"MAX_CONNECTIONS", "all", "1 to 1000000"},
		{"ACCESS_LOG", "yes", "off|on"},
		{"LOG_FORMAT", "xml", "text|json"},
		{"LOG_LEVEL", "loud", "error|warn|info|debug"},
		{"TZ", "Mars/Olympus", "zone"},
	};
	struct settings s;
	char error[512], start[128];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		forget_all(NULL);
		setenv(rows[i].name, rows[i].value, 1);
		assert_int_equal(settings_read(&s, error, sizeof(error)), -1);
		snprintf(start, sizeof(start), "%s=%s: takes ", rows[i].name,
			 rows[i].value);
		if (strncmp(error, start, strlen(start)) != 0 ||
		    !strstr(error, rows[i].takes))
			print_error("%s\n", error);
		assert_int_equal(strncmp(error, start, strlen(start)), 0);
		assert_non_null(strstr(error, rows[i].takes));
		assert_null(strchr(error, '\n'));
	}
	/* A long value, and a small buffer. */
	char *value = test_malloc(5000);
	memset(value, 'x', 4999);
	value[4999] = '\0';
	setenv("PORT", value, 1);
	assert_int_equal(settings_read(&s, error, sizeof(error)), -1);
	assert_non_null(strstr(error, "1 to 65535"));
	char *small = guard_end() - 10;
	assert_int_equal(settings_read(&s, small, 10), -1);
	assert_string_equal(small, "PORT=xxxx");
	test_free(value);
}

/* A line, whatever the value holds: found by fuzzing. */
static void test_message_of_control_bytes(void **state)
{
	static const char *const texts[] = {"SYNC", "TZ"};
	struct settings s;
	char error[512];

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		forget_all(NULL);
		setenv(texts[i], "a\nb\r\x1b[2J\x7f", 1);
		assert_int_equal(settings_read(&s, error, sizeof(error)), -1);
		for (const char *p = error; *p; p++)
			assert_true(*p >= ' ' && *p < 0x7f);
	}
}

/* --help names every variable, with its default. */
static void test_print(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *to = open_memstream(&text, &len);

	(void)state;
	assert_non_null(to);
	settings_print(to);
	fclose(to);
	for (size_t i = 0; i < NAMES; i++)
		assert_non_null(strstr(text, names[i]));
	assert_non_null(strstr(text, "8080"));
	assert_non_null(strstr(text, "$DATA_DIR/visits"));
	assert_null(strstr(text, "(null)"));
	free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, forget_all, forget_all)
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_numbers),
		TEST(test_words),
		TEST(test_address),
		TEST(test_paths),
		TEST(test_zone),
		TEST(test_base_path),
		TEST(test_messages),
		TEST(test_message_of_control_bytes),
		TEST(test_print),
		TEST(test_secret),
		TEST(test_secret_file),
		TEST(test_secret_again),
		TEST(test_secret_messages),
		TEST(test_secrets_of_several_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
