#include "util/misses.h"

#include "util/log.h"

#include <stdlib.h>
#include <string.h>

/* Names that other programs have for these settings. A list and no rule:
 * Kubernetes sets REDIS_PORT_6379_TCP, POSTGRES_PORT and the like by itself. */
static const struct {
	const char *name, *meant;
	const char *stores; /* NULL: all of them */
} misses[] = {
	{"REDIS_USERNAME", "REDIS_USER", "redis postgres"},
	{"REDIS_PASS", "REDIS_PASSWORD", "redis postgres"},
	{"REDIS_PWD", "REDIS_PASSWORD", "redis postgres"},
	{"REDIS_AUTH", "REDIS_PASSWORD", "redis postgres"},
	{"REDIS_HOSTNAME", "REDIS_HOST", "redis postgres"},
	{"REDIS_SERVER", "REDIS_HOST", "redis postgres"},
	{"REDIS_URI", "REDIS_URL", "redis postgres"},
	{"REDIS_DATABASE", "REDIS_DB", "redis postgres"},
	{"REDIS_KEY_PREFIX", "REDIS_PREFIX", "redis postgres"},
	{"REDIS_SENTINELS", "REDIS_HOST (no Sentinel is asked)",
	 "redis postgres"},
	{"REDIS_SENTINEL_HOST", "REDIS_HOST (no Sentinel is asked)",
	 "redis postgres"},
	{"DB_PASS", "DB_PASSWORD", "postgres"},
	{"DB_USERNAME", "DB_USER", "postgres"},
	{"DB_DATABASE", "DB_NAME", "postgres"},
	{"DB_HOSTNAME", "DB_HOST", "postgres"},
	{"DB_URL", "DATABASE_URL", "postgres"},
	{"POSTGRES_HOST", "DB_HOST", "postgres"},
	{"POSTGRES_DB", "DB_NAME", "postgres"},
	{"POSTGRES_USER", "DB_USER", "postgres"},
	{"POSTGRES_PASSWORD", "DB_PASSWORD", "postgres"},
	{"POSTGRES_URL", "DATABASE_URL", "postgres"},
	{"PG_HOST", "PGHOST", "postgres"},
	{"PG_PASSWORD", "PGPASSWORD", "postgres"},
	{"DATA_PATH", "DATA_DIR", "file"},
	{"DATADIR", "DATA_DIR", "file"},
	{"VISITS_PATH", "VISITS_FILE", "file"},
	{"LISTEN_PORT", "PORT", NULL},
	{"HTTP_PORT", "PORT", NULL},
	{"BIND_ADDRESS", "BIND", NULL},
	{"LISTEN_ADDRESS", "BIND", NULL},
	{"WEB_CONCURRENCY", "WORKERS", NULL},
	{"LOGLEVEL", "LOG_LEVEL", NULL},
	{"ADMIN_PASSWORD", "ADMIN_TOKEN", NULL},
	{"AUTH_TOKEN", "ADMIN_TOKEN", NULL},
};

static int misses_is_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

void misses_warn(const char *store)
{
	for (size_t i = 0; i < sizeof(misses) / sizeof(*misses); i++)
		if (misses_is_set(misses[i].name) &&
		    !misses_is_set(misses[i].meant) &&
		    (!misses[i].stores || strstr(misses[i].stores, store)))
			log_warn("%s is set and not read: set %s",
				 misses[i].name, misses[i].meant);
}
