/*
 * The addresses of a host, with a name server and a fork that obey the test.
 */
#include "store/net/resolver.h"
#include "tests/unit/unit.h"
#include "util/clock.h"
#include "util/shared.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PATIENCE_MS = 60000, PORT = 6379 };

static atomic_int *known; /* 0: the name is not found; else 127.0.0.known */
static int fork_error;	  /* errno of the next forks; 0: they succeed */
static int forks;

int __real_getaddrinfo(const char *host, const char *service,
		       const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *service,
		       const struct addrinfo *hints, struct addrinfo **list);
pid_t __real_fork(void);
pid_t __wrap_fork(void);

/* Numbers are looked up by the parent, names by the child. */
int __wrap_getaddrinfo(const char *host, const char *service,
		       const struct addrinfo *hints, struct addrinfo **list)
{
	char number[] = "127.0.0.0";

	if (!(hints->ai_flags & AI_NUMERICHOST)) {
		if (*known == 0)
			return EAI_NONAME;
		number[8] = (char)('0' + *known);
		host = number;
	}
	return __real_getaddrinfo(host, service, hints, list);
}

pid_t __wrap_fork(void)
{
	forks++;
	errno = fork_error;
	return fork_error ? -1 : __real_fork();
}

static int begin(void **state)
{
	(void)state;
	if (!known)
		known = shared_make(sizeof(*known));
	assert_non_null(known);
	*known = 1;
	fork_error = forks = 0;
	return 0;
}

/* Checks that the only address is 127.0.0.last; 0: that there is none. */
static void assert_address(struct resolver *r, int last)
{
	struct net_address out[RESOLVER_MAX];
	const char *why;
	int n = resolver_get(r, out, &why, clock_ms() + PATIENCE_MS);

	assert_int_equal(n, last ? 1 : 0);
	if (last == 0)
		return;
	const struct sockaddr_in *in = (const void *)&out[0].where;
	assert_int_equal(in->sin_family, AF_INET);
	assert_int_equal(ntohs(in->sin_port), PORT);
	assert_int_equal(ntohl(in->sin_addr.s_addr), 0x7f000000 + last);
}

/* Until the child has answered, or has died. */
static void await_line(struct resolver *r)
{
	struct pollfd ready = {.fd = r->line, .events = POLLIN};

	assert_int_equal(poll(&ready, 1, PATIENCE_MS), 1);
	resolver_tick(r);
}

static void close_it(struct resolver *r)
{
	pid_t child = r->child;

	resolver_close(r);
	assert_int_equal(r->line, -1);
	if (child > 0)
		assert_int_equal(kill(child, 0), -1); /* reaped */
}

static void test_numbers_and_paths(void **state)
{
	static const char *const hosts[] = {"127.0.0.1", "::1", "/run/socket"};
	struct net_address out[RESOLVER_MAX];
	struct resolver r;
	const char *why;

	(void)state;
	*known = 0;
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(resolver_open(&r, hosts[i], PORT), 0);
		assert_int_equal(resolver_get(&r, out, &why, 0), 1);
		resolver_ask(&r);
		close_it(&r);
	}
	assert_int_equal(forks, 0);
}

static void test_a_path_that_is_too_long(void **state)
{
	char path[200] = {0};
	struct resolver r;

	(void)state;
	memset(path, '/', sizeof(path) - 1);
	assert_int_equal(resolver_open(&r, path, PORT), -1);
	assert_int_equal(errno, ENAMETOOLONG);
	resolver_ask(&r);
	assert_address(&r, 0);
	assert_int_equal(forks, 0);
}

static void test_a_name(void **state)
{
	struct resolver r;

	(void)state;
	assert_int_equal(resolver_open(&r, "name", PORT), 0);
	assert_address(&r, 1);
	*known = 2;
	resolver_ask(&r);
	await_line(&r);
	assert_address(&r, 2);
	assert_int_equal(forks, 1);
	close_it(&r);
}

/* All that have come are answered by one look-up. */
static void test_many_questions(void **state)
{
	struct resolver r;
	int status, unread = -1;

	(void)state;
	assert_int_equal(resolver_open(&r, "name", PORT), 0);
	assert_address(&r, 1);
	kill(r.child, SIGSTOP);
	assert_int_equal(waitpid(r.child, &status, WUNTRACED), r.child);
	*known = 3;
	for (int i = 0; i < 100; i++)
		resolver_ask(&r);
	assert_int_equal(ioctl(r.line, SIOCOUTQ, &unread), 0);
	assert_true(unread > 0);
	kill(r.child, SIGCONT);
	await_line(&r);
	assert_address(&r, 3);
	assert_int_equal(ioctl(r.line, SIOCOUTQ, &unread), 0);
	assert_int_equal(unread, 0);
	close_it(&r);
}

static void test_a_name_that_is_not_found(void **state)
{
	struct net_address out[RESOLVER_MAX];
	struct resolver r;
	const char *why;

	(void)state;
	*known = 0;
	assert_int_equal(resolver_open(&r, "name", PORT), 0);
	assert_int_equal(resolver_get(&r, out, &why, clock_ms() + PATIENCE_MS),
			 0);
	assert_string_equal(why, gai_strerror(EAI_NONAME));
	*known = 2;
	resolver_ask(&r);
	await_line(&r);
	assert_address(&r, 2);
	*known = 0; /* what was found stays in use */
	resolver_ask(&r);
	await_line(&r);
	assert_address(&r, 2);
	close_it(&r);
}

static void test_a_child_that_dies(void **state)
{
	struct resolver r;

	(void)state;
	assert_int_equal(resolver_open(&r, "name", PORT), 0);
	assert_address(&r, 1);
	kill(r.child, SIGKILL);
	await_line(&r);
	assert_int_equal(r.line, -1);
	assert_address(&r, 1);
	r.forked_at = clock_ms() + PATIENCE_MS; /* a moment ago, for long */
	resolver_ask(&r);
	assert_int_equal(r.line, -1);
	r.forked_at = clock_ms() - 1000;
	*known = 2;
	resolver_ask(&r);
	await_line(&r);
	assert_address(&r, 2);
	assert_int_equal(forks, 2);
	close_it(&r);
}

static void test_a_child_that_cannot_be_forked(void **state)
{
	struct net_address out[RESOLVER_MAX];
	struct resolver r;
	const char *why;

	(void)state;
	fork_error = EAGAIN;
	assert_int_equal(resolver_open(&r, "name", PORT), 0);
	assert_int_equal(resolver_get(&r, out, &why, clock_ms() + PATIENCE_MS),
			 0);
	assert_string_equal(why, strerror(EAGAIN));
	r.forked_at = clock_ms() + PATIENCE_MS;
	resolver_ask(&r);
	assert_int_equal(forks, 1);
	r.forked_at = clock_ms() - 1000;
	fork_error = 0;
	resolver_ask(&r);
	assert_int_equal(forks, 2);
	assert_address(&r, 1);
	close_it(&r);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
	const struct CMUnitTest tests[] = {
		TEST(test_numbers_and_paths),
		TEST(test_a_path_that_is_too_long),
		TEST(test_a_name),
		TEST(test_many_questions),
		TEST(test_a_name_that_is_not_found),
		TEST(test_a_child_that_dies),
		TEST(test_a_child_that_cannot_be_forked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
