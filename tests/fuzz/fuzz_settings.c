/*
 * settings_read with any environment: lines NAME=value of an input, the lines
 * that begin otherwise being part of the value before them. The first byte is
 * the room for the error.
 */
#include "tests/fuzz/fuzz.h"
#include "util/settings.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

static const char *const names[] = {
	"BIND=",
	"PORT=",
	"WORKERS=",
	"DATA_DIR=",
	"VISITS_FILE=",
	"SYNC=",
	"ACCESS_LOG=",
	"LOG_FORMAT=",
	"STORE_TIMEOUT=",
	"MAX_CONNECTIONS=",
	"LOG_LEVEL=",
	"TZ=",
	"MAX_COUNTERS=",
	"MAX_ITEMS=",
	"REPEAT_WINDOW=",
	"ADMIN_TOKEN=",
	"ADMIN_TOKEN_FILE=",
	"REDIS_URL=",
	"REDIS_PREFIX=",
	"REDIS_KEY=",
	"HEALTH_DETAIL=",
	"BASE_PATH=",
};

enum { NAMES = sizeof(names) / sizeof(*names) };

static struct fuzz_text text;

/* Which setting begins at text.bytes[at], or NAMES. */
static size_t name_at(size_t at)
{
	size_t i = 0;

	while (i < NAMES &&
	       (text.len - at < strlen(names[i]) ||
		memcmp(text.bytes + at, names[i], strlen(names[i])) != 0))
		i++;
	return i;
}

static size_t value_end(size_t at)
{
	while (at < text.len &&
	       !(text.bytes[at] == '\n' &&
		 (at + 1 == text.len || name_at(at + 1) < NAMES)))
		at++;
	return at;
}

/* As the kernel gives it: NUL-ended strings, each name once here. */
static void fill(char *env[NAMES + 1])
{
	bool seen[NAMES] = {false};
	size_t len = 0;

	for (size_t at = 0; at < text.len;) {
		size_t end = value_end(at), name = name_at(at);

		if (name < NAMES && !seen[name]) {
			size_t n = strnlen(text.bytes + at, end - at);

			env[len] = malloc(n + 1);
			memcpy(env[len], text.bytes + at, n);
			env[len++][n] = '\0';
			seen[name] = true;
		}
		at = end + 1;
	}
	env[len] = NULL;
}

static void check_settings(const struct settings *s)
{
	must(s->port >= 1 && s->port <= 65535);
	must(s->workers >= 0 && s->workers <= 1024);
	must(s->sync >= SYNC_ALWAYS && s->sync <= SYNC_NO);
	must(s->store_timeout >= 1 && s->store_timeout <= 600000);
	must(s->max_connections >= 1 && s->max_connections <= 1000000);
	must(s->max_items >= 0 && s->max_items <= 100000000);
	must(s->max_counters >= 0 && s->max_counters <= 100000000);
	must(s->repeat_window >= 0 && s->repeat_window <= 31536000);
	must(!s->admin_token ||
	     (*s->admin_token && strlen(s->admin_token) <= 4096));
	must(s->access_log == 0 || s->access_log == 1);
	must(s->log_json == 0 || s->log_json == 1);
	must(s->log_level >= 0 && s->log_level <= 3);
	must(s->data_dir && *s->data_dir && strlen(s->data_dir) < PATH_MAX);
	must(!s->visits_file ||
	     (*s->visits_file && strlen(s->visits_file) < PATH_MAX));
	must(!s->bind || *s->bind);
	must(!s->base_path ||
	     (s->base_path[0] == '/' && s->base_path[1] != '\0' &&
	      strlen(s->base_path) <= 100 && !strstr(s->base_path, "//")));
}

/* One line that names the variable. */
static void check_error(const char *error, size_t cap)
{
	size_t i = 0;

	must(memchr(error, '\0', cap));
	must(!strchr(error, '\n'));
	if (cap < 32)
		return;
	while (i < NAMES && strncmp(error, names[i], strlen(names[i])) != 0)
		i++;
	must(i < NAMES);
	must(cap < 255 || strstr(error, ": takes "));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *env[NAMES + 1], **old = environ;
	struct settings settings;

	if (size < 1)
		return 0;
	size_t cap = data[0] % 8 ? 1024 : 1 + data[0] / 8u;
	char *error = malloc(cap);
	fuzz_expand(&text, data + 1, size - 1, 3 * PATH_MAX);
	fill(env);
	environ = env;
	int done = settings_read(&settings, error, cap);
	environ = old;
	must(done == 0 || done == -1);
	if (done == 0)
		check_settings(&settings);
	else
		check_error(error, cap);
	for (size_t i = 0; env[i]; i++)
		free(env[i]);
	free(error);
	return 0;
}
