#include "util/settings.h"

#include "util/date.h"
#include "util/log.h"
#include "util/number.h"
#include "util/secret.h"
#include "util/url.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum kind { NUMBER, WORD, TEXT, ADDRESS, PREFIX, KEY, SECRET };

enum { PREFIX_MAX = 100 /* bytes of a PREFIX */ };

struct setting {
	const char *name;
	enum kind kind;
	size_t offset;
	const char *value; /* the default; NULL: none */
	const char *shown; /* the default as people read it; NULL: `value` */
	int min, max;	   /* of a NUMBER */
	/* Of a WORD: "first|second", meaning 0, 1 ...; of a KEY: how it must
	 * not begin. */
	const char *words;
	const char *libpq; /* its own variable; or NULL */
	const char *what;
};

#define AT(member) offsetof(struct settings, member)

static const struct setting table[] = {
	{.name = "BIND",
	 .kind = ADDRESS,
	 .offset = AT(bind),
	 .shown = "::",
	 .what = "address to listen on (::, both families; 0.0.0.0 without "
		 "IPv6)"},
	{.name = "PORT",
	 .kind = NUMBER,
	 .offset = AT(port),
	 .value = "8080",
	 .min = 1,
	 .max = 65535,
	 .what = "port to listen on"},
	{.name = "BASE_PATH",
	 .kind = PREFIX,
	 .offset = AT(base_path),
	 .shown = "none",
	 .what = "a prefix that every path has, such as /counter"},
	{.name = "WORKERS",
	 .kind = NUMBER,
	 .offset = AT(workers),
	 .shown = "CPUs",
	 .min = 1,
	 .max = 1024,
	 .what = "worker processes (the CPUs this process may run on)"},
	{.name = "DATA_DIR",
	 .kind = TEXT,
	 .offset = AT(data_dir),
	 .value = "data",
	 .what = "folder of the store's files"},
	{.name = "VISITS_FILE",
	 .kind = TEXT,
	 .offset = AT(visits_file),
	 .shown = "$DATA_DIR/visits",
	 .what = "the home counter's file"},
	{.name = "SYNC",
	 .kind = WORD,
	 .offset = AT(sync),
	 .value = "always",
	 .words = "always|everysec|no",
	 .what = "when a visit is on disk: before its answer, within a second, "
		 "or "
		 "when the kernel likes"},
	{.name = "REDIS_HOST",
	 .kind = TEXT,
	 .offset = AT(redis_host),
	 .shown = "localhost",
	 .what = "Redis store: its host, or the path of its socket"},
	{.name = "REDIS_PORT",
	 .kind = NUMBER,
	 .offset = AT(redis_port),
	 .value = "6379",
	 .min = 1,
	 .max = 65535,
	 .what = "its port"},
	{.name = "REDIS_USER",
	 .kind = TEXT,
	 .offset = AT(redis_user),
	 .shown = "none",
	 .what = "its user (ACL)"},
	{.name = "REDIS_PASSWORD",
	 .kind = SECRET,
	 .offset = AT(redis_password),
	 .shown = "none",
	 .what = "its password"},
	{.name = "REDIS_DB",
	 .kind = NUMBER,
	 .offset = AT(redis_db),
	 .value = "0",
	 .max = 1000000,
	 .what = "the number of its database"},
	{.name = "REDIS_URL",
	 .kind = SECRET,
	 .offset = AT(redis_url),
	 .shown = "none",
	 .what = "redis://user:password@host:port/db, instead of those five"},
	{.name = "REDIS_PREFIX",
	 .kind = KEY,
	 .offset = AT(redis_prefix),
	 .shown = "none",
	 .words = "",
	 .what = "what every key begins with"},
	{.name = "REDIS_KEY",
	 .kind = KEY,
	 .offset = AT(redis_key),
	 .value = "visit_counter:homepage",
	 .words = "visit_|item:",
	 .what = "the home counter's key"},
	{.name = "REDIS_ALLOW_EVICTION",
	 .kind = WORD,
	 .offset = AT(redis_allow_eviction),
	 .value = "off",
	 .words = "off|on",
	 .what = "whether it may throw counters away for want of memory"},
	{.name = "DB_HOST",
	 .libpq = "PGHOST",
	 .kind = TEXT,
	 .offset = AT(db_host),
	 .shown = "localhost",
	 .what = "PostgreSQL: host, address or folder of its socket (or "
		 "PGHOST)"},
	{.name = "DB_PORT",
	 .libpq = "PGPORT",
	 .kind = NUMBER,
	 .offset = AT(db_port),
	 .shown = "5432",
	 .min = 1,
	 .max = 65535,
	 .what = "its port (or PGPORT)"},
	{.name = "DB_NAME",
	 .libpq = "PGDATABASE",
	 .kind = TEXT,
	 .offset = AT(db_name),
	 .shown = "visitd",
	 .what = "its database (or PGDATABASE)"},
	{.name = "DB_USER",
	 .libpq = "PGUSER",
	 .kind = TEXT,
	 .offset = AT(db_user),
	 .shown = "visitd",
	 .what = "its user (or PGUSER)"},
	{.name = "DB_PASSWORD",
	 .libpq = "PGPASSWORD",
	 .kind = SECRET,
	 .offset = AT(db_password),
	 .shown = "none",
	 .what = "and the password (or PGPASSWORD)"},
	{.name = "DATABASE_URL",
	 .kind = SECRET,
	 .offset = AT(database_url),
	 .shown = "none",
	 .what = "postgresql://user:password@host:port/database, instead of "
		 "those"},
	{.name = "CACHE_TTL",
	 .kind = NUMBER,
	 .offset = AT(cache_ttl),
	 .value = "60",
	 .min = 1,
	 .max = 31536000,
	 .what = "seconds that a cached total or item lives"},
	{.name = "STORE_TIMEOUT",
	 .kind = NUMBER,
	 .offset = AT(store_timeout),
	 .value = "1000",
	 .min = 1,
	 .max = 600000,
	 .what = "milliseconds for one store call"},
	{.name = "MAX_COUNTERS",
	 .kind = NUMBER,
	 .offset = AT(max_counters),
	 .value = "100000",
	 .max = 100000000,
	 .what = "counters with names that there can be"},
	{.name = "MAX_ITEMS",
	 .kind = NUMBER,
	 .offset = AT(max_items),
	 .value = "100000",
	 .max = 100000000,
	 .what = "items that can be created"},
	{.name = "MAX_CONNECTIONS",
	 .kind = NUMBER,
	 .offset = AT(max_connections),
	 .value = "10000",
	 .min = 1,
	 .max = 1000000,
	 .what = "connections of one worker"},
	{.name = "REPEAT_WINDOW",
	 .kind = NUMBER,
	 .offset = AT(repeat_window),
	 .value = "0",
	 .max = 31536000,
	 .what = "seconds in which a returning browser is not counted again"},
	{.name = "ADMIN_TOKEN",
	 .kind = SECRET,
	 .offset = AT(admin_token),
	 .shown = "none",
	 .what = "who may set and forget totals: those who send it"},
	{.name = "HEALTH_DETAIL",
	 .kind = WORD,
	 .offset = AT(health_detail),
	 .value = "off",
	 .words = "off|on",
	 .what = "whether /health and 503s tell visitors the store's own "
		 "words"},
	{.name = "ACCESS_LOG",
	 .kind = WORD,
	 .offset = AT(access_log),
	 .value = "off",
	 .words = "off|on",
	 .what = "a line a request on standard output"},
	{.name = "LOG_FORMAT",
	 .kind = WORD,
	 .offset = AT(log_json),
	 .value = "text",
	 .words = "text|json",
	 .what = "format of these lines: combined, or JSON"},
	{.name = "LOG_LEVEL",
	 .kind = WORD,
	 .offset = AT(log_level),
	 .value = "info",
	 .words = "error|warn|info|debug",
	 .what = "what is told on standard error"},
};

enum { TABLE_LEN = sizeof(table) / sizeof(*table) };

static int *int_at(struct settings *s, const struct setting *row)
{
	return (int *)(void *)((char *)s + row->offset);
}

static const char **text_at(struct settings *s, const struct setting *row)
{
	return (const char **)(void *)((char *)s + row->offset);
}

static int set_number(struct settings *s, const struct setting *row,
		      const char *value)
{
	int64_t n;

	if (!number_read(slice_of(value), &n) || n < row->min || n > row->max)
		return -1;
	*int_at(s, row) = (int)n;
	return 0;
}

static int set_word(struct settings *s, const struct setting *row,
		    const char *value)
{
	int index = 0;

	for (const char *word = row->words; *word; index++) {
		size_t n = strcspn(word, "|");

		if (slice_equal((struct slice){word, n}, slice_of(value))) {
			*int_at(s, row) = index;
			return 0;
		}
		word += n + (word[n] == '|');
	}
	return -1;
}

static int set_text(struct settings *s, const struct setting *row,
		    const char *value)
{
	if (strlen(value) >= PATH_MAX)
		return -1;
	*text_at(s, row) = value;
	return 0;
}

static int set_address(struct settings *s, const struct setting *row,
		       const char *value)
{
	unsigned char address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, value, address) != 1 &&
	    inet_pton(AF_INET6, value, address) != 1)
		return -1;
	*text_at(s, row) = value;
	return 0;
}

/* Whether braces in a key, if there are any, enclose a hash tag, as Redis looks
 * for it. */
static bool is_tagged_well(const char *key)
{
	const char *open = strchr(key, '{');
	const char *close = strchr(open ? open : key, '}');

	return open ? close && close > open + 1 : !close;
}

static int set_key(struct settings *s, const struct setting *row,
		   const char *value)
{
	for (const char *word = row->words; *word;) {
		size_t n = strcspn(word, "|");

		if (strncmp(value, word, n) == 0 &&
		    strcmp(value, row->value) != 0)
			return -1;
		word += n + (word[n] == '|');
	}
	if (strlen(value) > SETTINGS_KEY_MAX || !secret_is_good(value) ||
	    !is_tagged_well(value))
		return -1;
	*text_at(s, row) = value;
	return 0;
}

/* Of unreserved bytes alone: a path that no client and no proxy writes in
 * another way. */
static int set_prefix(struct settings *s, const struct setting *row,
		      const char *value)
{
	const char *p = value;

	do {
		if (*p++ != '/')
			return -1;
		size_t n = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz"
				     "0123456789._~-");
		if (n == strspn(p, ".") && n < 3) /* empty, "." or ".." */
			return -1;
		p += n;
	} while (*p);
	if (p - value > PREFIX_MAX)
		return -1;
	*text_at(s, row) = value;
	return 0;
}

static int set_secret(struct settings *s, const struct setting *row,
		      const char *value)
{
	if (!secret_is_good(value))
		return -1;
	*text_at(s, row) = value;
	return 0;
}

static void say_takes(const struct setting *row, char *out, size_t cap)
{
	switch (row->kind) {
	case NUMBER:
		snprintf(out, cap, "a whole number from %d to %d", row->min,
			 row->max);
		break;
	case WORD:
		snprintf(out, cap, "one of %s", row->words);
		break;
	case TEXT:
		snprintf(out, cap, "a path of less than %d bytes", PATH_MAX);
		break;
	case KEY:
		snprintf(out, cap,
			 "a line of at most %d bytes; braces enclose a hash "
			 "tag%s%s",
			 SETTINGS_KEY_MAX,
			 *row->words ? "; its beginning is none of " : "",
			 row->words);
		break;
	case PREFIX:
		snprintf(out, cap,
			 "a path such as /counter: a slash before "
			 "each part and none at its end, parts of "
			 "A-Z a-z 0-9 . _ ~ -, at most %d bytes",
			 PREFIX_MAX);
		break;
	case SECRET:
		snprintf(out, cap, "1 to %d bytes, none of them a control byte",
			 SETTINGS_SECRET_MAX);
		break;
	case ADDRESS:
		snprintf(out, cap, "an IPv4 or IPv6 address, such as 0.0.0.0");
		break;
	}
}

/* Where the value of each row came from; NULL: its default. */
static const char *sources[TABLE_LEN];

static int set_value(struct settings *s, const struct setting *row,
		     const char *value, const char *source)
{
	static int (*const setters[])(struct settings *, const struct setting *,
				      const char *) = {
		[NUMBER] = set_number, [WORD] = set_word,
		[TEXT] = set_text,     [ADDRESS] = set_address,
		[PREFIX] = set_prefix, [KEY] = set_key,
		[SECRET] = set_secret,
	};

	sources[row - table] = source;
	return setters[row->kind](s, row, value);
}

static int set_row(struct settings *s, const struct setting *row, char *error,
		   size_t cap)
{
	const char *value = getenv(row->name);
	const char *source = "the environment";
	char takes[160];

	if (!value || !*value) {
		value = row->value;
		source = NULL;
	}
	if (!value || set_value(s, row, value, source) == 0)
		return 0;
	say_takes(row, takes, sizeof(takes));
	snprintf(error, cap, "%s=%.200s: takes %s", row->name,
		 row->kind == SECRET ? "..." : value, takes);
	return -1;
}

/*
 * Secrets in files
 */

/* Where the content of its file is kept. Pages of rows that are not secrets are
 * never touched. */
static char *room_of_secret(const struct setting *row)
{
	static char rooms[TABLE_LEN][SETTINGS_SECRET_MAX + 1];

	return rooms[row - table];
}

static int read_secret(struct settings *s, const struct setting *row,
		       char *error, size_t cap)
{
	const char *path = secret_path(row->name), *value = getenv(row->name);

	if (!path)
		return 0;
	if (value && *value) {
		snprintf(error, cap,
			 "%s_FILE=%.200s: takes the place of %s, which is set, "
			 "too: unset one of them",
			 row->name, path, row->name);
		return -1;
	}
	const char *fault = secret_read(path, room_of_secret(row));
	if (!fault) {
		*text_at(s, row) = room_of_secret(row);
		sources[row - table] = "a file";
		return 0;
	}
	snprintf(error, cap,
		 "%s_FILE=%.200s: takes a file that holds 1 to %d bytes in one "
		 "line: %s",
		 row->name, path, SETTINGS_SECRET_MAX, fault);
	return -1;
}

/*
 * URLs
 */

static const struct setting *find_row(const char *name)
{
	const struct setting *row = table;

	while (strcmp(row->name, name) != 0)
		row++;
	return row;
}

static bool is_set(const struct setting *row)
{
	const char *value = getenv(row->name);

	return (value && *value) ||
	       (row->kind == SECRET && secret_path(row->name) != NULL);
}

/* A part of a URL becomes a setting that is not set by itself. */
static int spread_part(struct settings *s, const char *name, const char *part,
		       char *error, size_t cap)
{
	const struct setting *row = find_row(name);
	char takes[160];

	if (is_set(row))
		return 0;
	if (!part && !row->value) {
		*text_at(s, row) = NULL;
		return 0;
	}
	if (set_value(s, row, part ? part : row->value,
		      part ? "REDIS_URL" : NULL) == 0)
		return 0;
	say_takes(row, takes, sizeof(takes));
	snprintf(error, cap, "REDIS_URL=...: what it gives for %s takes %s",
		 name, takes);
	return -1;
}

/* All of it or nothing: a URL that has become a bad one leaves the settings,
 * and the texts that they point to, as they were. */
static int spread_redis_url(struct settings *s, char *error, size_t cap)
{
	static char rooms[2][SETTINGS_SECRET_MAX + 8];
	static int used;
	char *room = rooms[!used];
	struct settings tried = *s;
	struct url url;

	if (!s->redis_url)
		return 0;
	const char *fault =
		strncmp(s->redis_url, "rediss:", 7) == 0
			? "TLS is not spoken here: connect by a "
			  "proxy that does, such as stunnel"
			: url_read(s->redis_url, "redis", room, &url);
	if (fault) {
		snprintf(error, cap,
			 "REDIS_URL=...: takes "
			 "redis://user:password@host:port/db, escaped with %%: "
			 "%s",
			 fault);
		return -1;
	}
	const struct {
		const char *name, *part;
	} parts[] = {
		{"REDIS_HOST", url.host},	  {"REDIS_PORT", url.port},
		{"REDIS_USER", url.user},	  {"REDIS_DB", url.path},
		{"REDIS_PASSWORD", url.password},
	};
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		if (spread_part(&tried, parts[i].name, parts[i].part, error,
				cap) < 0)
			return -1;
	*s = tried;
	used = !used;
	return 0;
}

/* One line, whatever the value holds. */
static int refuse(char *error)
{
	for (char *p = error; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return -1;
}

int settings_read_secrets(struct settings *s, char *error, size_t cap)
{
	char untold[1] = "";
	int status = 0;

	for (size_t i = 0; i < TABLE_LEN; i++)
		if (table[i].kind == SECRET &&
		    read_secret(s, &table[i], status ? untold : error,
				status ? sizeof(untold) : cap) < 0)
			status = -1;
	if (!status)
		status = spread_redis_url(s, error, cap);
	return status ? refuse(error) : 0;
}

int settings_read(struct settings *s, char *error, size_t cap)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < TABLE_LEN; i++)
		if (set_row(s, &table[i], error, cap) < 0)
			return refuse(error);
	if (settings_read_secrets(s, error, cap) < 0)
		return -1;
	if (!date_zone_known(getenv("TZ"))) {
		snprintf(error, cap,
			 "TZ=%.200s: takes a zone that is installed here (such "
			 "as Europe/Berlin; is tzdata there?) or a POSIX rule "
			 "(such as CET-1CEST,M3.5.0,M10.5.0/3)",
			 getenv("TZ"));
		return refuse(error);
	}
	return 0;
}

static void show_value(const struct settings *s, const struct setting *row,
		       FILE *to)
{
	const char *at = (const char *)s + row->offset;
	const char *text = row->kind == NUMBER || row->kind == WORD
				   ? NULL
				   : *(const char *const *)(const void *)at;
	int number = text ? 0 : *(const int *)(const void *)at;

	if (row->kind == WORD) {
		const char *word = row->words;

		while (number-- > 0)
			word += strcspn(word, "|") + 1;
		fprintf(to, "%.*s", (int)strcspn(word, "|"), word);
	} else if (row->kind == NUMBER &&
		   (sources[row - table] || row->value)) {
		fprintf(to, "%d", number);
	} else if (row->kind == SECRET && text) {
		fprintf(to, "...");
	} else {
		fprintf(to, "%s", text ? text : row->shown ? row->shown : "");
	}
}

/* What the environment tells libpq instead of a setting; or NULL. */
static const char *show_libpq(const struct settings *s,
			      const struct setting *row)
{
	if (!row->libpq || sources[row - table])
		return NULL;
	return s->database_url ? "DATABASE_URL" : row->libpq;
}

void settings_show(const struct settings *s, FILE *to)
{
	for (size_t i = 0; i < TABLE_LEN; i++) {
		const char *source = show_libpq(s, &table[i]);
		bool is_url = source && s->database_url;

		fprintf(to, "%s=", table[i].name);
		if (is_url || (source && getenv(source))) {
			fprintf(to, "%s\t(%s)\n",
				is_url || table[i].kind == SECRET
					? "..."
					: getenv(source),
				source);
			continue;
		}
		show_value(s, &table[i], to);
		fprintf(to, "\t(%s)\n", sources[i] ? sources[i] : "default");
	}
}

void settings_print(FILE *to)
{
	for (size_t i = 0; i < TABLE_LEN; i++) {
		const struct setting *row = &table[i];
		const char *value = row->shown ? row->shown : row->value;

		fprintf(to, "  %-16s %-18s %s\n", row->name, value, row->what);
		if (row->kind == WORD)
			fprintf(to, "  %-16s %-18s (%s)\n", "", "", row->words);
		if (row->kind == SECRET)
			fprintf(to, "  %-16s %-18s (%s_FILE: a file with it)\n",
				"", "", row->name);
	}
	fprintf(to, "  %-16s %-18s %s\n", "TZ", "the system's",
		"zone of the times and of the days");
}
