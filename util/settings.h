/*
 * settings.h - what the environment says, read once at start
 *
 * To add a setting: a member here, a row in the table of settings.c, a line in
 * docs/visitd.8. A row of the kind SECRET can be given by a file, too
 * (NAME_FILE), and is shown in no message.
 */
#ifndef UTIL_SETTINGS_H
#define UTIL_SETTINGS_H

#include "util/secret.h"

#include <stddef.h>
#include <stdio.h>

enum {
	SETTINGS_SECRET_MAX = SECRET_MAX,
	SETTINGS_KEY_MAX = 200, /* of REDIS_PREFIX, and of REDIS_KEY */
};

enum sync_mode { SYNC_ALWAYS, SYNC_EVERYSEC, SYNC_NO };

struct settings {
	const char
		*bind; /* an IP address; NULL: every address, both families */
	int port;
	const char *base_path; /* "/counter"; NULL: none */
	int workers;	       /* 0: one for each CPU that may be used */
	const char *data_dir;
	const char *visits_file; /* NULL: data_dir/visits */
	int sync;		 /* enum sync_mode */
	const char *redis_host;	 /* a name, an address, the path of a socket; or
				    NULL */
	int redis_port;
	const char *redis_user, *redis_password; /* NULL: none */
	const char *redis_url;			 /* spread over the others */
	const char *redis_prefix;		 /* of all keys; or NULL */
	const char *redis_key;			 /* of the home counter */
	int redis_db;
	int redis_allow_eviction;			       /* 0 or 1 */
	const char *db_host, *db_name, *db_user, *db_password; /* or NULL */
	int db_port;					       /* 0: none */
	const char *database_url; /* postgresql://...; or NULL */
	int cache_ttl;		  /* seconds */
	int store_timeout;	  /* milliseconds */
	int max_counters;
	int max_items;
	int max_connections;	 /* of one worker */
	int repeat_window;	 /* seconds; 0: all visits count */
	const char *admin_token; /* NULL: none */
	int health_detail;	 /* 0 or 1 */
	int access_log;		 /* 0 or 1 */
	int log_json;		 /* 0: combined format; 1: JSON */
	int log_level;		 /* enum log_level */
};

/*
 * Fills *s from the environment; texts point into it, or are kept here when
 * they come from files. An empty value counts as none. Gives 0, or -1 with one
 * line in `error` (of `cap` bytes) that names the variable, its value and what
 * it takes.
 */
int settings_read(struct settings *s, char *error, size_t cap);

/*
 * Reads the secrets that come from files again. One that cannot be read stays
 * what it was; gives then -1, with one line in `error` about the first such.
 */
int settings_read_secrets(struct settings *s, char *error, size_t cap);

/* Every setting with its value, but for secrets, and where it came from. */
void settings_show(const struct settings *s, FILE *to);

/* The table of settings, for --help. */
void settings_print(FILE *to);

#endif
