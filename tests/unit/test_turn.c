/*
 * A turn, from the bytes of its connections to their answers, on the real
 * store: what is made together, in which order, and what waits.
 */
#include "tests/unit/backend.h"
#include "turn/turn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS = 300, TEXT_MAX = 65536 };

static struct settings settings;
static const struct process process = {.workers = 1};
static struct conn_pool pool;
static struct turn *turn;
static struct conn *conns[CONNS];
static int peers[CONNS];
static size_t len; /* connections */
static unsigned parsed, created, changed;

ssize_t __real_http_parse(const char *buf, size_t n, struct http_request *r,
			  const char **why);
ssize_t __wrap_http_parse(const char *buf, size_t n, struct http_request *r,
			  const char **why);
void __real_store_items_create(struct item *items, size_t n);
void __wrap_store_items_create(struct item *items, size_t n);
int __real_store_set(struct slice counter, int64_t value);
int __wrap_store_set(struct slice counter, int64_t value);

ssize_t __wrap_http_parse(const char *buf, size_t n, struct http_request *r,
			  const char **why)
{
	parsed++;
	return __real_http_parse(buf, n, r, why);
}

void __wrap_store_items_create(struct item *items, size_t n)
{
	created++;
	__real_store_items_create(items, n);
}

int __wrap_store_set(struct slice counter, int64_t value)
{
	changed++;
	return __real_store_set(counter, value);
}

static int begin(void **state)
{
	(void)state;
	settings = (struct settings){
		.data_dir = folder_make(),
		.store_timeout = 5000,
		.max_counters = 1000,
		.max_items = 1000,
		.sync = SYNC_NO,
		.admin_token = "secret",
	};
	backend_begin(&settings);
	assert_int_equal(store_open(&settings), 0);
	site_open(&settings, &process);
	assert_int_equal(conn_pool_open(&pool, CONNS, epoll_create1(0)), 0);
	if (!turn)
		turn = turn_open(&settings, &pool);
	assert_non_null(turn);
	len = 0;
	parsed = created = changed = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (size_t i = 0; i < len; i++) {
		conn_close(&pool, conns[i]);
		close(peers[i]);
	}
	conn_end_turn(&pool);
	close(pool.epoll);
	free(pool.all);
	store_close();
	backend_end();
	folder_remove();
	return 0;
}

/* A connection whose peer has sent that. */
static size_t open_conn(const char *bytes)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	conns[len] = conn_open(&pool, pair[0]);
	peers[len] = pair[1];
	assert_int_equal(write(pair[1], bytes, strlen(bytes)), strlen(bytes));
	return len++;
}

/* One turn, in which every connection is read. */
static void take_turn(void)
{
	turn_begin(turn, len);
	for (size_t i = 0; i < len; i++)
		turn_read(turn, conns[i]);
	turn_commit(turn);
	turn_answer(turn);
}

static void take_turns(unsigned n)
{
	while (n-- > 0)
		take_turn();
}

/* What a peer has been answered since the last look, ended by a NUL. */
static const char *answer(size_t i)
{
	static char text[TEXT_MAX];
	ssize_t n = read(peers[i], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void assert_status(const char *text, int status)
{
	if (strncmp(text, "HTTP/1.1 ", 9) != 0 || atoi(text + 9) != status)
		print_error("%d: %s\n", status, text);
	assert_memory_equal(text, "HTTP/1.1 ", 9);
	assert_int_equal(atoi(text + 9), status);
}

/* The answers that follow each other in a text. */
static unsigned count_answers(const char *text)
{
	unsigned n = 0;

	while ((text = strstr(text, "HTTP/1.1 "))) {
		text++;
		n++;
	}
	return n;
}

#define POST                                                            \
	"POST /items HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\n" \
	"{\"name\":\"a\"}"
#define PUT                                                                 \
	"PUT /visits/a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer secret" \
	"\r\nContent-Length: 11\r\n\r\n{\"value\":7}"
#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* All new items of a turn are one call, whoever they come from. */
static void test_new_items_are_one_call(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		open_conn(POST POST);
	take_turn();
	assert_int_equal(created, 1);
	for (size_t i = 0; i < len; i++) {
		const char *text = answer(i);

		assert_status(text, 201);
		assert_int_equal(count_answers(text), 2);
	}
}

/* A change is alone in its turn; who waits for one is read when it is sent and
 * when it is made, however long it waits. */
static void test_changes_wait_unread(void **state)
{
	enum { CHANGES = 200 };

	(void)state;
	for (int i = 0; i < CHANGES; i++)
		open_conn(PUT);
	for (unsigned n = 1; n <= CHANGES; n++) {
		take_turn();
		assert_int_equal(changed, n);
	}
	for (size_t i = 0; i < len; i++)
		assert_status(answer(i), 200);
	/* Each time the first that has to go on waiting is read, too. */
	assert_in_range(parsed, CHANGES, 3 * CHANGES);
}

/* Those that read more items than a call takes are served in their order. */
static void test_items_wait_in_order(void **state)
{
	unsigned served = 0;

	(void)state;
	open_conn(POST);
	take_turn();
	for (int i = 0; i < 3 * STORE_ITEMS_MAX; i++)
		open_conn(GET("/items/1"));
	for (unsigned n = 1; n <= 3; n++) {
		take_turn();
		for (; served < n * STORE_ITEMS_MAX; served++)
			assert_status(answer(1 + served), 200);
		assert_true(served == len - 1 || !*answer(1 + served));
	}
	assert_in_range(parsed, 0, 1 + 3 * 3 * STORE_ITEMS_MAX);
}

/* What a client sends first is answered from what there was then. */
static void test_order_of_one_client(void **state)
{
	(void)state;
	size_t a = open_conn(GET("/items/1") POST GET("/items/1"));
	size_t b = open_conn(GET("/visits/a") PUT GET("/hit/a"));
	take_turns(3);
	const char *text = answer(a);
	assert_int_equal(count_answers(text), 3);
	assert_status(text, 404);
	assert_non_null(strstr(text, "HTTP/1.1 201 "));
	assert_non_null(strstr(strstr(text, "HTTP/1.1 201 "), "HTTP/1.1 200 "));
	text = answer(b);
	assert_int_equal(count_answers(text), 3);
	assert_status(text, 404);
	assert_non_null(strstr(text, "\"value\":7"));
	assert_non_null(strstr(text, "\"value\":8"));
}

/* A body that is refused is no call of the store, and spoils no other one. */
static void test_a_bad_body_among_good_ones(void **state)
{
	(void)state;
	size_t a = open_conn(POST);
	size_t b = open_conn("POST /items HTTP/1.1\r\nHost: a\r\n"
			     "Content-Length: 12\r\n\r\n{\"name\": 55}");
	size_t c = open_conn(POST);
	take_turn();
	assert_int_equal(created, 1);
	const char *text = answer(a);
	assert_status(text, 201);
	assert_non_null(strstr(text, "{\"id\":1,"));
	text = answer(b);
	assert_status(text, 400);
	assert_non_null(strstr(text, "\\\"name\\\" is not a string"));
	text = answer(c);
	assert_non_null(strstr(text, "{\"id\":2,"));
}

/* A connection takes its share of a crowded turn, and goes on in the next. */
static void test_a_share_of_the_jobs(void **state)
{
	enum { REQUESTS = 400 };
	static char many[REQUESTS * sizeof(GET("/visits"))];

	(void)state;
	*many = '\0';
	for (int i = 0; i < REQUESTS; i++)
		strcat(many, GET("/visits"));
	for (int i = 0; i < 100; i++)
		open_conn(many);
	take_turn();
	for (size_t i = 0; i < len; i++)
		assert_int_equal(count_answers(answer(i)), TURN_JOBS / 100);
}

/* A worker that ends says so in each answer, and closes the connection. */
static void test_an_ending_worker_closes(void **state)
{
	(void)state;
	size_t a = open_conn(GET("/visits"));
	turn->ends = true;
	take_turn();
	turn->ends = false;
	const char *text = answer(a);
	assert_status(text, 200);
	assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
	assert_int_equal(conns[a]->state, CONN_LINGER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new_items_are_one_call,
						begin, end),
		cmocka_unit_test_setup_teardown(test_changes_wait_unread, begin,
						end),
		cmocka_unit_test_setup_teardown(test_items_wait_in_order, begin,
						end),
		cmocka_unit_test_setup_teardown(test_order_of_one_client, begin,
						end),
		cmocka_unit_test_setup_teardown(test_a_bad_body_among_good_ones,
						begin, end),
		cmocka_unit_test_setup_teardown(test_a_share_of_the_jobs, begin,
						end),
		cmocka_unit_test_setup_teardown(test_an_ending_worker_closes,
						begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
