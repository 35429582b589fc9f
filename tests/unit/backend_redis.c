/* A real redis-server, in the folder of the test, on a socket there. */
#include "tests/unit/backend.h"

#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TRIES = 60000 };

static pid_t server;
static redisContext *redis;
static char path[256];

static void run_server(const char *folder)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	dup2(null, 0);
	dup2(null, 1);
	execlp("redis-server", "redis-server", "--port", "0", "--unixsocket",
	       path, "--dir", folder, "--save", "", "--appendonly", "yes",
	       "--appendfsync", "no", (char *)NULL);
	perror("redis-server");
	_exit(127);
}

static void *ask(const char *command)
{
	void *reply = redisCommand(redis, command);

	assert_non_null(reply);
	return reply;
}

static void connect_server(void)
{
	const struct timespec moment = {.tv_nsec = 1000000};

	for (int i = 0; i < TRIES; i++) {
		redis = redisConnectUnix(path);
		if (redis && !redis->err)
			return;
		redisFree(redis);
		nanosleep(&moment, NULL);
	}
	fail_msg("redis-server does not come up");
}

void backend_begin(struct settings *settings)
{
	snprintf(path, sizeof(path), "%s", folder_path("socket"));
	server = fork();
	assert_true(server >= 0);
	if (server == 0)
		run_server(settings->data_dir);
	connect_server();
	settings->redis_host = path;
	settings->redis_key = "visit_counter:homepage";
}

void backend_end(void)
{
	redisFree(redis);
	kill(server, SIGKILL);
	while (waitpid(server, NULL, 0) < 0 && errno == EINTR)
		;
}

bool backend_has_something(void)
{
	redisReply *reply = ask("DBSIZE");
	bool has = reply->integer > 0;

	freeReplyObject(reply);
	return has;
}
