/* A real PostgreSQL server, made once for all tests of a program; each test
 * gets a database of its own. */
#include "tests/unit/backend.h"

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 60000 };

static pid_t server;
static char folder[64], binaries[256], database[32];
static int databases;
static PGconn *conn;

/* It does not run as root. */
static void become_postgres(void)
{
	const struct passwd *user = getpwnam("postgres");

	if (geteuid() != 0)
		return;
	if (!user || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		_exit(126);
}

/* By its path, as argv[0], too: initdb finds the server beside itself. */
static pid_t run(const char *program, const char *arguments[])
{
	char path[512];
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	int null = open("/dev/null", O_RDWR);
	prctl(PR_SET_PDEATHSIG, SIGQUIT, 0, 0, 0);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	become_postgres();
	prctl(PR_SET_PDEATHSIG, SIGQUIT, 0, 0, 0); /* setuid has cleared it */
	snprintf(path, sizeof(path), "%s/%s", binaries, program);
	arguments[0] = path;
	if (chdir("/") == 0)
		execv(path, (char *const *)(uintptr_t)arguments);
	_exit(127);
}

static void find_binaries(void)
{
	FILE *out = popen("ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1",
			  "r");

	assert_non_null(out);
	assert_non_null(fgets(binaries, sizeof(binaries), out));
	binaries[strcspn(binaries, "\n")] = '\0';
	pclose(out);
}

static PGconn *connect_to(const char *name)
{
	const char *const names[] = {"host", "user", "dbname", NULL};
	const char *const values[] = {folder, "visitd", name, NULL};

	return PQconnectdbParams(names, values, 0);
}

static void connect_server(void)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < TRIES; i++) {
		conn = connect_to("postgres");
		if (PQstatus(conn) == CONNECTION_OK)
			return;
		PQfinish(conn);
		nanosleep(&moment, NULL);
	}
	fail_msg("the PostgreSQL server does not come up");
}

static void end_server(void)
{
	char command[128];

	kill(server, SIGQUIT);
	waitpid(server, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	if (system(command) != 0)
		perror(folder);
}

static void start_server(void)
{
	char data[128];
	const char *init[] = {"initdb", "--no-sync", "-U", "visitd", "-E",
			      "UTF8",	"--locale",  "C",  "-A",     "trust",
			      "-D",	data,	     NULL};
	const char *serve[] = {"postgres",
			       "-D",
			       data,
			       "-k",
			       folder,
			       "-c",
			       "listen_addresses=",
			       "-c",
			       "fsync=off",
			       "-c",
			       "deadlock_timeout=100ms",
			       NULL};
	const struct passwd *user = getpwnam("postgres");
	int status;

	find_binaries();
	strcpy(folder, "/tmp/visitd-postgres-XXXXXX");
	assert_non_null(mkdtemp(folder));
	if (geteuid() == 0 && user)
		assert_int_equal(chown(folder, user->pw_uid, user->pw_gid), 0);
	snprintf(data, sizeof(data), "%s/data", folder);
	assert_int_equal(waitpid(run("initdb", init), &status, 0) > 0, 1);
	assert_int_equal(status, 0);
	server = run("postgres", serve);
	connect_server();
	atexit(end_server);
}

static void command(const char *text)
{
	PGresult *result = PQexec(conn, text);

	assert_int_equal(PQresultStatus(result), PGRES_COMMAND_OK);
	PQclear(result);
}

void backend_begin(struct settings *settings)
{
	char text[64];

	if (!server)
		start_server();
	snprintf(database, sizeof(database), "d%d", databases++);
	snprintf(text, sizeof(text), "CREATE DATABASE %s", database);
	command(text);
	settings->db_host = folder;
	settings->db_name = database;
	settings->db_user = "visitd";
}

void backend_end(void)
{
	char text[64];

	snprintf(text, sizeof(text), "DROP DATABASE %s WITH (FORCE)", database);
	command(text);
}

bool backend_has_something(void)
{
	PGconn *look = connect_to(database);
	PGresult *result =
		PQexec(look, "SELECT FROM pg_class WHERE relnamespace = "
			     "'public'::regnamespace");
	bool has = PQntuples(result) > 0;

	PQclear(result);
	PQfinish(look);
	return has;
}
