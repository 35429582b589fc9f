/* The commands. */
#include "run/run.h"

#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/number.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEALTH_MS = 5000 /* beyond STORE_TIMEOUT */ };

void run_open_store(const struct settings *settings)
{
	if (run_drop_privileges(settings, false) < 0)
		die(EXIT_SYSTEM, "cannot become the owner of the data");
	int status = store_open(settings);
	if (status != 0)
		die(status, "%s", store_error());
}

/* A counter's name, as an argument. */
static struct slice command_read_name(const char *command, const char *name)
{
	const char *fault = store_name_fault(slice_of(name));

	if (fault)
		die(EXIT_USAGE, "%s %s: %s", command, name, fault);
	return slice_of(name);
}

/* get [NAME] */
static int command_get(const struct settings *settings, int argc, char **argv)
{
	struct tally tally = {.counter = SLICE(STORE_HOME)};

	if (argc > 0)
		tally.counter = command_read_name("get", argv[0]);
	run_open_store(settings);
	store_add(&tally, 1);
	if (tally.status == 404)
		die(EXIT_NO, "no counter \"%s\"", argv[0]);
	if (tally.status)
		die(EXIT_SYSTEM, "%s", tally.error);
	store_close();
	printf("%" PRId64 "\n", tally.total);
	return EXIT_DONE;
}

/* set NAME N */
static int command_set(const struct settings *settings, int argc, char **argv)
{
	struct slice counter = command_read_name("set", argv[0]);
	int64_t value;

	(void)argc;
	if (!number_read(slice_of(argv[1]), &value))
		die(EXIT_USAGE,
		    "set %s %s: takes a whole number from 0 to %" PRId64,
		    argv[0], argv[1], INT64_MAX);
	run_open_store(settings);
	int status = store_set(counter, value);
	if (status)
		die(EXIT_SYSTEM, "%s", store_error());
	if (store_close())
		die(EXIT_SYSTEM, "%s", store_error());
	return EXIT_DONE;
}

/* Connects to the server that runs with these settings on this machine. */
static int command_connect_server(const struct settings *settings)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_addr = in6addr_loopback};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr *address = (struct sockaddr *)&in;
	const char *bind = settings->bind ? settings->bind : "0.0.0.0";
	socklen_t len = sizeof(in);

	in.sin_port = in6.sin6_port = htons((uint16_t)settings->port);
	if (strcmp(bind, "::") == 0)
		bind = "0.0.0.0"; /* it is dual stack */
	if (strcmp(bind, "0.0.0.0") == 0)
		bind = "127.0.0.1";
	if (inet_pton(AF_INET, bind, &in.sin_addr) != 1) {
		inet_pton(AF_INET6, bind, &in6.sin6_addr);
		address = (struct sockaddr *)&in6;
		len = sizeof(in6);
	}
	int fd = socket(address->sa_family,
			SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0 && connect(fd, address, len) < 0 && errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static int command_wait_for(int fd, short events, int64_t until)
{
	struct pollfd ready = {.fd = fd, .events = events};
	int64_t left = until - clock_ms();
	int n = left > 0 ? poll(&ready, 1, (int)left) : 0;

	if (n == 0)
		errno = ETIMEDOUT;
	return n == 1 ? 0 : -1;
}

/* Asks for a path and reads the whole reply. Gives its length, or -1. */
static ssize_t command_ask(int fd, const char *base, const char *path,
			   char *reply, size_t cap, int64_t until)
{
	char request[256]; /* BASE_PATH has at most 100 bytes */
	size_t len = (size_t)snprintf(request, sizeof(request),
				      "GET %s%s HTTP/1.0\r\n\r\n",
				      base ? base : "", path);

	if (command_wait_for(fd, POLLOUT, until) < 0 ||
	    send(fd, request, len, MSG_NOSIGNAL) < 0)
		return -1;
	len = 0;
	while (len < cap) {
		if (command_wait_for(fd, POLLIN, until) < 0)
			return -1;
		ssize_t n = recv(fd, reply + len, cap - len, 0);
		if (n < 0)
			return -1;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

/* health */
static int command_health(const struct settings *settings, int argc,
			  char **argv)
{
	static const char good[] = "HTTP/1.1 200 ";
	char reply[8192];
	int64_t until = clock_ms() + settings->store_timeout + HEALTH_MS;
	int fd = command_connect_server(settings);
	ssize_t n = fd >= 0 ? command_ask(fd, settings->base_path, "/health",
					  reply, sizeof(reply) - 1, until)
			    : -1;

	(void)argc;
	(void)argv;
	if (n < 0)
		die(EXIT_NO, "no answer from port %d:", settings->port);
	reply[n] = '\0';
	close(fd);
	const char *body = strstr(reply, "\r\n\r\n");
	printf("%s\n", body ? body + 4 : "no HTTP answer");
	return strncmp(reply, good, sizeof(good) - 1) == 0 ? EXIT_DONE
							   : EXIT_NO;
}

/* To add a command: a row, a function like those above, its line in --help. */
static const struct command {
	const char *name;
	int min, max; /* arguments */
	const char *takes;
	int (*run)(const struct settings *settings, int argc, char **argv);
} commands[] = {
	{"health", 0, 0, "nothing", command_health},
	{"get", 0, 1, "[NAME], or -- NAME where that begins with \"-\"",
	 command_get},
	{"set", 2, 2, "NAME N, or -- NAME N where NAME begins with \"-\"",
	 command_set},
	{"check", 0, 0, "nothing", run_check},
	{"export", 0, 0, "nothing", run_export},
	{"import", 0, 0, "nothing: it reads standard input", run_import},
};

/*
 * Takes the "--" that ends the options off the arguments of a command: a name
 * may begin with "-". No command has an option yet. A "-" alone, and a number
 * behind the first argument, are none (POSIX.1-2008, XBD 12.2).
 */
static void command_take_options(const struct command *c, int *argc,
				 char ***argv)
{
	const char *first = *argc > 0 ? **argv : "";

	if (strcmp(first, "--") == 0) {
		(*argc)--;
		(*argv)++;
	} else if (first[0] == '-' && first[1] != '\0') {
		die(EXIT_USAGE, "%s has no option \"%s\": it takes %s", c->name,
		    first, c->takes);
	}
}

int run_command(const struct settings *settings, int argc, char **argv)
{
	const char *name = argv[0];

	argc--;
	argv++;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		const struct command *c = &commands[i];

		if (strcmp(name, c->name) != 0)
			continue;
		command_take_options(c, &argc, &argv);
		if (argc < c->min || argc > c->max)
			die(EXIT_USAGE, "%s takes %s", name, c->takes);
		return c->run(settings, argc, argv);
	}
	die(EXIT_USAGE, "there is no command \"%s\": see visitd --help", name);
}
