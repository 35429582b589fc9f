/* Connections: their lists, deadlines and buffers, on socket pairs. */
#include "turn/conn.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 4 };

static struct conn_pool pool;
static int peers[16];

static int begin(void **state)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	assert_true(epoll >= 0);
	assert_int_equal(conn_pool_open(&pool, SIZE, epoll), 0);
	pool.now = 1000000;
	for (int i = 0; i < 16; i++)
		peers[i] = -1;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (int i = CONN_IDLE; i < CONN_STATES; i++)
		while (pool.lists[i].first)
			conn_close(&pool, pool.lists[i].first);
	assert_int_equal(pool.open, 0);
	assert_int_equal(pool.buffered, 0);
	for (int i = 0; i < 16; i++)
		if (peers[i] >= 0)
			close(peers[i]);
	close(pool.epoll);
	free(pool.all);
	return 0;
}

/* A connection whose other end is peers[i]. */
static struct conn *open_one(int i)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	struct conn *c = conn_open(&pool, pair[0]);
	if (c)
		peers[i] = pair[1];
	else
		close(pair[1]);
	if (!c)
		close(pair[0]);
	return c;
}

/* The list of a state, forwards and backwards. */
static void assert_list(enum conn_state state, size_t len, ...)
{
	const struct conn *c = pool.lists[state].first, *before = NULL;
	va_list args;

	va_start(args, len);
	for (size_t i = 0; i < len; i++) {
		assert_non_null(c);
		assert_ptr_equal(c, va_arg(args, struct conn *));
		assert_ptr_equal(c->prev, before);
		assert_int_equal(c->state, state);
		before = c;
		c = c->next;
	}
	va_end(args);
	assert_null(c);
	assert_ptr_equal(pool.lists[state].last, before);
}

static bool is_closed(int i)
{
	char byte;

	return recv(peers[i], &byte, 1, MSG_DONTWAIT) == 0;
}

static void test_lists(void **state)
{
	struct conn *a = open_one(0), *b = open_one(1), *c = open_one(2);

	(void)state;
	assert_int_equal(pool.open, 3);
	assert_list(CONN_IDLE, (size_t)3, a, b, c);
	conn_move(&pool, b, CONN_HEAD);
	assert_list(CONN_IDLE, (size_t)2, a, c);
	assert_list(CONN_HEAD, (size_t)1, b);
	conn_move(&pool, a, CONN_HEAD);
	assert_list(CONN_IDLE, (size_t)1, c);
	assert_list(CONN_HEAD, (size_t)2, b, a);
	/* To be moved into the state it is in renews it. */
	conn_move(&pool, b, CONN_HEAD);
	assert_list(CONN_HEAD, (size_t)2, a, b);
	conn_close(&pool, a);
	assert_list(CONN_HEAD, (size_t)1, b);
	conn_close(&pool, b);
	assert_list(CONN_HEAD, (size_t)0);
	assert_int_equal(pool.open, 1);
	assert_true(pool.has_closed);
	assert_true(is_closed(0));
	assert_true(is_closed(1));
	assert_false(is_closed(2));
}

/* A closed record is not used again before the end of the turn: an event of
 * it may still name it. */
static void test_reuse(void **state)
{
	struct conn *c[SIZE];

	(void)state;
	for (int i = 0; i < SIZE; i++) {
		assert_false(conn_is_full(&pool));
		c[i] = open_one(i);
		assert_non_null(c[i]);
	}
	assert_true(conn_is_full(&pool));
	assert_null(open_one(4));
	conn_close(&pool, c[2]);
	assert_int_equal(c[2]->state, CONN_FREE);
	assert_true(conn_is_full(&pool));
	assert_null(open_one(4));
	conn_end_turn(&pool);
	assert_false(conn_is_full(&pool));
	struct conn *again = open_one(4);
	assert_ptr_equal(again, c[2]);
	assert_int_equal(again->state, CONN_IDLE);
	assert_null(again->input);
	assert_null(again->output);
	assert_false(again->is_registered);
	assert_false(again->closing);
	assert_int_equal(pool.open, SIZE);
	assert_list(CONN_IDLE, (size_t)SIZE, c[0], c[1], c[3], c[2]);
}

static void test_deadlines(void **state)
{
	static const struct {
		enum conn_state state;
		int64_t limit;
	} rows[] = {
		{CONN_IDLE, 60000}, {CONN_HEAD, 10000},	 {CONN_BODY, 30000},
		{CONN_SEND, 60000}, {CONN_LINGER, 2000},
	};
	struct conn *c = open_one(0);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		pool.now += 12345;
		conn_move(&pool, c, rows[i].state);
		assert_int_equal(conn_next_deadline(&pool),
				 pool.now + rows[i].limit);
		pool.now += rows[i].limit - 1;
		assert_null(conn_expired(&pool));
		pool.now += 1;
		assert_ptr_equal(conn_expired(&pool), c);
	}
	/* Who only waits for its turn has none. */
	conn_move(&pool, c, CONN_READY);
	assert_true(conn_next_deadline(&pool) == INT64_MAX);
	pool.now += 1000000;
	assert_null(conn_expired(&pool));
	conn_move(&pool, c, CONN_IDLE);
	assert_int_equal(conn_idle_since(c), pool.now);
}

static void test_first_deadline(void **state)
{
	struct conn *idle = open_one(0);

	(void)state;
	pool.now += 100;
	struct conn *head = open_one(1);
	conn_move(&pool, head, CONN_HEAD);
	pool.now += 100;
	struct conn *later = open_one(2);
	conn_move(&pool, later, CONN_HEAD);
	assert_int_equal(conn_next_deadline(&pool), head->deadline);
	pool.now = head->deadline;
	assert_ptr_equal(conn_expired(&pool), head);
	conn_close(&pool, head);
	assert_null(conn_expired(&pool));
	assert_int_equal(conn_next_deadline(&pool), later->deadline);
	pool.now = idle->deadline;
	conn_close(&pool, conn_expired(&pool));
	conn_close(&pool, conn_expired(&pool));
	assert_null(conn_expired(&pool));
	assert_int_equal(pool.open, 0);
	assert_true(conn_next_deadline(&pool) == INT64_MAX);
}

/* Who has waited longest gives way: half requests, then unread replies. */
static void test_oldest(void **state)
{
	struct conn *a = open_one(0), *b = open_one(1), *c = open_one(2);

	(void)state;
	assert_null(conn_surplus(&pool));
	conn_move(&pool, a, CONN_SEND);
	assert_ptr_equal(conn_surplus(&pool), a);
	pool.now += 10;
	conn_move(&pool, b, CONN_BODY);
	assert_ptr_equal(conn_surplus(&pool), b);
	pool.now += 10;
	conn_move(&pool, c, CONN_HEAD);
	/* Its deadline is earlier, and yet it came later. */
	assert_ptr_equal(conn_surplus(&pool), b);
	pool.now += 10;
	conn_move(&pool, b, CONN_BODY);
	assert_ptr_equal(conn_surplus(&pool), c);
}

/* Half requests do not pay for those who never read, nor the other way. */
static void test_oldest_of_the_larger_kind(void **state)
{
	enum { LEN = 1 << 20 };
	struct conn *half = open_one(0), *deaf = open_one(1);
	struct progress progress = {.head = 1};
	char *bytes = test_calloc(1, LEN);

	(void)state;
	conn_move(&pool, half, CONN_BODY);
	conn_move(&pool, deaf, CONN_SEND);
	assert_int_equal(conn_keep(&pool, half, bytes, 1000, &progress), 0);
	assert_ptr_equal(conn_surplus(&pool), half);
	assert_int_equal(conn_send(&pool, deaf, bytes, LEN), 0);
	assert_true(pool.unsent > LEN / 2 && pool.unsent < pool.buffered);
	assert_ptr_equal(conn_surplus(&pool), deaf);
	conn_close(&pool, deaf);
	assert_int_equal(pool.unsent, 0);
	assert_ptr_equal(conn_surplus(&pool), half);
	test_free(bytes);
}

/* First the longest idle one, then heads, then bodies; none of a turn, none
 * that has an answer, and none whose request may be on its way. */
static void test_give_way(void **state)
{
	struct conn *a = open_one(0), *b = open_one(1), *c = open_one(2),
		    *d = open_one(3);

	(void)state;
	conn_move(&pool, a, CONN_BODY);
	conn_move(&pool, b, CONN_HEAD);
	c->in_turn = true;
	pool.now += CONN_GRACE - 1;
	assert_false(conn_give_way(&pool));
	pool.now++;
	assert_true(conn_give_way(&pool));
	assert_int_equal(d->state, CONN_FREE);
	assert_true(conn_give_way(&pool));
	assert_int_equal(b->state, CONN_FREE);
	assert_true(conn_give_way(&pool));
	assert_int_equal(a->state, CONN_FREE);
	assert_false(conn_give_way(&pool));
	c->in_turn = false;
	conn_move(&pool, c, CONN_SEND);
	assert_false(conn_give_way(&pool));
}

static void test_input(void **state)
{
	struct conn *c = open_one(0);
	struct progress progress = {.whole = 3, .head = 2};

	(void)state;
	assert_int_equal(conn_keep(&pool, c, "abc", 3, &progress), 0);
	assert_non_null(c->input);
	assert_int_equal(c->input->len, 3);
	assert_memory_equal(c->input->bytes, "abc", 3);
	assert_int_equal(c->input->progress.head, 2);
	assert_true(pool.buffered >= 3);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(conn_append(&pool, c, "0123456789", 10), 0);
	assert_int_equal(c->input->len, 10003);
	assert_memory_equal(c->input->bytes, "abc0123456789", 13);
	assert_memory_equal(c->input->bytes + 9993, "0123456789", 10);
	assert_true(pool.buffered >= 10003 && pool.buffered < 3 * 10003);
	/* What is left may be the end of what was kept. */
	assert_int_equal(
		conn_keep(&pool, c, c->input->bytes + 5, 9998, &progress), 0);
	assert_int_equal(c->input->len, 9998);
	assert_memory_equal(c->input->bytes, "23456789012", 11);
	/* Nothing left, nothing owned. */
	assert_int_equal(conn_keep(&pool, c, NULL, 0, &progress), 0);
	assert_null(c->input);
	assert_int_equal(pool.buffered, 0);
	assert_int_equal(conn_keep(&pool, c, "abc", 3, &progress), 0);
	conn_close(&pool, c);
	assert_int_equal(pool.buffered, 0);
}

static size_t read_all(int i, char *to, size_t cap)
{
	size_t have = 0;
	ssize_t n;

	while ((n = recv(peers[i], to + have, cap - have, MSG_DONTWAIT)) > 0)
		have += (size_t)n;
	return have;
}

/* A peer that reads slowly gets every byte in order. */
static void test_output(void **state)
{
	enum { LEN = 3 << 20 };
	struct conn *c = open_one(0);
	char *sent = test_malloc(LEN), *got = test_malloc(LEN + 1);
	size_t have = 0;

	(void)state;
	for (size_t i = 0; i < LEN; i++)
		sent[i] = (char)(i * 7 >> 3);
	assert_int_equal(conn_send(&pool, c, sent, 100), 0);
	assert_null(c->output);
	assert_int_equal(pool.buffered, 0);
	assert_int_equal(conn_send(&pool, c, sent + 100, LEN / 2), 0);
	assert_non_null(c->output);
	assert_true(pool.buffered > 0);
	/* What comes behind kept bytes goes behind them. */
	assert_int_equal(
		conn_send(&pool, c, sent + 100 + LEN / 2, LEN / 2 - 100), 0);
	for (int i = 0; i < 100000 && c->output; i++) {
		have += read_all(0, got + have, LEN + 1 - have);
		assert_int_equal(conn_flush(&pool, c), 0);
	}
	have += read_all(0, got + have, LEN + 1 - have);
	assert_null(c->output);
	assert_int_equal(pool.buffered, 0);
	assert_int_equal(have, LEN);
	assert_memory_equal(got, sent, LEN);
	test_free(sent);
	test_free(got);
}

static void test_peer_is_gone(void **state)
{
	struct conn *c = open_one(0);

	(void)state;
	close(peers[0]);
	peers[0] = -1;
	assert_int_equal(conn_send(&pool, c, "abc", 3), -1);
	assert_null(c->output);
}

/* The last reply is read, and then the peer sees the end. */
static void test_linger(void **state)
{
	struct conn *c = open_one(0);
	char text[16];

	(void)state;
	assert_int_equal(send(peers[0], "unread", 6, 0), 6);
	c->lingering = true;
	assert_int_equal(conn_send(&pool, c, "bye", 3), 0);
	c->closing = true;
	conn_settle(&pool, c, CONN_IDLE, true);
	assert_int_equal(c->state, CONN_LINGER);
	assert_list(CONN_LINGER, (size_t)1, c);
	assert_int_equal(read_all(0, text, sizeof(text)), 3);
	assert_true(is_closed(0));
	conn_drain(&pool, c);
	assert_int_equal(c->state, CONN_LINGER);
	conn_drain(&pool, c); /* nothing there */
	assert_int_equal(c->state, CONN_LINGER);
	shutdown(peers[0], SHUT_WR);
	conn_drain(&pool, c);
	assert_int_equal(c->state, CONN_FREE);
}

/* A lingering peer may not send for ever. */
static void test_linger_is_bounded(void **state)
{
	static char bytes[16384];
	struct conn *c = open_one(0);
	size_t sent = 0;

	(void)state;
	c->lingering = true;
	c->closing = true;
	conn_settle(&pool, c, CONN_IDLE, true);
	while (c->state == CONN_LINGER && sent < 8 << 20) {
		ssize_t n = send(peers[0], bytes, sizeof(bytes), MSG_NOSIGNAL);

		sent += n > 0 ? (size_t)n : 0;
		conn_drain(&pool, c);
	}
	assert_int_equal(c->state, CONN_FREE);
	assert_in_range(sent, 1 << 20, 2 << 20);
}

static void test_finish_at_once(void **state)
{
	struct conn *c = open_one(0);

	(void)state;
	c->closing = true;
	conn_settle(&pool, c, CONN_IDLE, true);
	assert_int_equal(c->state, CONN_FREE);
	assert_true(is_closed(0));
}

static uint32_t events_of(struct conn *c)
{
	struct epoll_event events[4];
	int n = epoll_wait(pool.epoll, events, 4, 0);

	for (int i = 0; i < n; i++)
		if (events[i].data.ptr == c)
			return events[i].events;
	return 0;
}

/* Readable is asked for, or writable while there is output. */
static void test_register(void **state)
{
	struct conn *c = open_one(0);
	static char bytes[4 << 20];

	(void)state;
	assert_int_equal(events_of(c), 0);
	conn_register(&pool, c);
	assert_true(c->is_registered);
	assert_int_equal(events_of(c), 0);
	assert_int_equal(send(peers[0], "x", 1, 0), 1);
	assert_int_equal(events_of(c), EPOLLIN);
	assert_int_equal(conn_send(&pool, c, bytes, sizeof(bytes)), 0);
	conn_register(&pool, c);
	assert_int_equal(events_of(c), 0);
	static char got[4 << 20];
	assert_true(read_all(0, got, sizeof(got)) > 0);
	assert_int_equal(events_of(c), EPOLLOUT);
	for (int i = 0; i < 10000 && c->output; i++) {
		assert_int_equal(conn_flush(&pool, c), 0);
		read_all(0, got, sizeof(got));
	}
	assert_null(c->output);
	conn_register(&pool, c);
	assert_int_equal(events_of(c), EPOLLIN);
	conn_close(&pool, c);
	assert_int_equal(events_of(c), 0);
}

/* Random moves against a plain model of the lists. */
static void test_random_moves(void **state)
{
	struct conn *c[SIZE] = {NULL};
	uint64_t seed = 20261120;

	(void)state;
	for (int i = 0; i < 5000; i++) {
		size_t k = random_next(&seed) % SIZE;
		size_t count = 0;

		pool.now += (int64_t)(random_next(&seed) % 100);
		if (!c[k]) {
			conn_end_turn(&pool);
			if (peers[k] >= 0)
				close(peers[k]);
			c[k] = open_one((int)k);
			assert_non_null(c[k]);
		} else if (random_next(&seed) % 8 == 0) {
			conn_close(&pool, c[k]);
			c[k] = NULL;
		} else {
			conn_move(&pool, c[k],
				  (enum conn_state)(CONN_IDLE +
						    random_next(&seed) %
							    (CONN_STATES - 1)));
		}
		for (int s = CONN_IDLE; s < CONN_STATES; s++) {
			int64_t last = 0;

			for (struct conn *p = pool.lists[s].first; p;
			     p = p->next, count++) {
				assert_int_equal(p->state, s);
				assert_true(p->deadline >= last);
				last = p->deadline;
			}
		}
		assert_int_equal(count, pool.open);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_lists),	   TEST(test_reuse),
		TEST(test_deadlines),	   TEST(test_first_deadline),
		TEST(test_oldest),	   TEST(test_oldest_of_the_larger_kind),
		TEST(test_give_way),	   TEST(test_input),
		TEST(test_output),	   TEST(test_peer_is_gone),
		TEST(test_linger),	   TEST(test_linger_is_bounded),
		TEST(test_finish_at_once), TEST(test_register),
		TEST(test_random_moves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
