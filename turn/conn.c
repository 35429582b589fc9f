#include "turn/conn.h"

#include "util/clock.h"
#include "util/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * glibc keeps freed memory below the highest block that is in use: after a
 * flood 22 MiB of 35 stayed with the worker. malloc_trim returns it to the
 * kernel. musl has no such call and returns memory by itself.
 */
#ifdef __GLIBC__
#include <malloc.h>
#else
static int malloc_trim(size_t pad)
{
	return (int)pad;
}
#endif

enum { TRIM_MIN = 4 << 20 /* bytes of buffers below which it is not called */ };

static void conn_give_memory_back(struct conn_pool *pool)
{
	if (pool->buffered > pool->peak)
		pool->peak = pool->buffered;
	if (pool->peak < TRIM_MIN || pool->buffered > pool->peak / 4)
		return;
	pool->peak = pool->buffered;
	malloc_trim(0);
}

enum { DRAIN_MAX = 1 << 20 /* bytes that a lingering peer may send */ };

/* Milliseconds; 0: none. */
static const int limits[CONN_STATES] = {
	[CONN_IDLE] = 60000, [CONN_HEAD] = 10000,  [CONN_BODY] = 30000,
	[CONN_SEND] = 60000, [CONN_LINGER] = 2000,
};

static void conn_list_add(struct conn_list *list, struct conn *c)
{
	c->next = NULL;
	c->prev = list->last;
	if (list->last)
		list->last->next = c;
	else
		list->first = c;
	list->last = c;
	list->len++;
}

static void conn_list_remove(struct conn_list *list, struct conn *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		list->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		list->last = c->prev;
	c->next = c->prev = NULL;
	list->len--;
}

int conn_pool_open(struct conn_pool *pool, size_t size, int epoll)
{
	*pool = (struct conn_pool){.epoll = epoll, .size = size};
	/* Pages of records that were never used cost no memory. Records are
	 * first taken in the order of the array. */
	pool->all = calloc(size, sizeof(*pool->all));
	return pool->all ? 0 : -1;
}

static struct conn *conn_take_record(struct conn_pool *pool)
{
	struct conn *c = pool->lists[CONN_FREE].first;

	if (c)
		conn_list_remove(&pool->lists[CONN_FREE], c);
	else if (pool->used < pool->size)
		c = &pool->all[pool->used++];
	return c;
}

bool conn_is_full(const struct conn_pool *pool)
{
	return !pool->lists[CONN_FREE].first && pool->used == pool->size;
}

struct conn *conn_open(struct conn_pool *pool, int fd)
{
	struct conn *c = conn_take_record(pool);

	if (!c)
		return NULL;
	*c = (struct conn){.fd = fd, .state = CONN_IDLE};
	c->deadline = pool->now + limits[CONN_IDLE];
	conn_list_add(&pool->lists[CONN_IDLE], c);
	pool->open++;
	return c;
}

static void conn_free_input(struct conn_pool *pool, struct conn *c)
{
	if (!c->input)
		return;
	pool->buffered -= sizeof(*c->input) + c->input->cap;
	free(c->input);
	c->input = NULL;
}

/* The output of a connection has grown or shrunk to `size` bytes. */
static void conn_reckon_output(struct conn_pool *pool, size_t old, size_t size)
{
	pool->buffered += size - old;
	pool->unsent += size - old;
}

static void conn_free_output(struct conn_pool *pool, struct conn *c)
{
	if (!c->output)
		return;
	conn_reckon_output(pool, sizeof(*c->output) + c->output->cap, 0);
	free(c->output);
	c->output = NULL;
}

void conn_close(struct conn_pool *pool, struct conn *c)
{
	conn_free_input(pool, c);
	conn_free_output(pool, c);
	close(c->fd); /* removes it from epoll, too */
	conn_list_remove(&pool->lists[c->state], c);
	c->state = CONN_FREE;
	conn_list_add(&pool->dead, c);
	pool->open--;
	pool->has_closed = true;
}

bool conn_give_way(struct conn_pool *pool)
{
	static const enum conn_state order[] = {CONN_IDLE, CONN_HEAD,
						CONN_BODY};

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		struct conn *c = pool->lists[order[i]].first;

		while (c && c->in_turn)
			c = c->next;
		if (!c ||
		    c->deadline - limits[order[i]] + CONN_GRACE > pool->now)
			continue;
		conn_close(pool, c);
		return true;
	}
	return false;
}

void conn_end_turn(struct conn_pool *pool)
{
	struct conn *c;

	while ((c = pool->dead.first)) {
		conn_list_remove(&pool->dead, c);
		conn_list_add(&pool->lists[CONN_FREE], c);
	}
	conn_give_memory_back(pool);
}

void conn_move(struct conn_pool *pool, struct conn *c, enum conn_state state)
{
	conn_list_remove(&pool->lists[c->state], c);
	c->state = (uint8_t)state;
	c->deadline = pool->now + limits[state];
	conn_list_add(&pool->lists[state], c);
}

int64_t conn_next_deadline(const struct conn_pool *pool)
{
	int64_t next = INT64_MAX;

	for (int i = CONN_FREE + 1; i < CONN_TIMED; i++) {
		const struct conn *c = pool->lists[i].first;

		if (c && c->deadline < next)
			next = c->deadline;
	}
	return next;
}

struct conn *conn_expired(const struct conn_pool *pool)
{
	for (int i = CONN_FREE + 1; i < CONN_TIMED; i++) {
		struct conn *c = pool->lists[i].first;

		if (c && c->deadline <= pool->now)
			return c;
	}
	return NULL;
}

int64_t conn_idle_since(const struct conn *c)
{
	return c->deadline - limits[CONN_IDLE];
}

bool conn_waits_for_turn(const struct conn *c)
{
	return c->state >= CONN_TIMED;
}

size_t conn_waiting(const struct conn_pool *pool)
{
	size_t n = 0;

	for (int i = CONN_TIMED; i < CONN_STATES; i++)
		n += pool->lists[i].len;
	return n;
}

static struct conn *conn_last_waiting(const struct conn_pool *pool)
{
	struct conn *c = NULL;

	for (int i = CONN_TIMED; i < CONN_STATES && !c; i++)
		c = pool->lists[i].last;
	return c;
}

struct conn *conn_surplus(const struct conn_pool *pool)
{
	struct conn *head = pool->lists[CONN_HEAD].first;
	struct conn *body = pool->lists[CONN_BODY].first;
	struct conn *slow = pool->lists[CONN_SEND].first;

	/* Peers that do not read are closed before half requests are. */
	if (slow && (pool->unsent > pool->buffered / 2 || (!head && !body)))
		return slow;
	if (conn_waiting(pool) >
	    pool->lists[CONN_HEAD].len + pool->lists[CONN_BODY].len)
		return conn_last_waiting(pool);
	if (!head || !body)
		return head ? head : body;
	return head->deadline - limits[CONN_HEAD] <=
			       body->deadline - limits[CONN_BODY]
		       ? head
		       : body;
}

/* Makes room for `cap` bytes of input. */
static int conn_grow_input(struct conn_pool *pool, struct conn *c, size_t cap)
{
	size_t old = c->input ? sizeof(*c->input) + c->input->cap : 0;
	struct input *input = realloc(c->input, sizeof(*input) + cap);

	if (!input)
		return -1;
	if (!c->input)
		*input = (struct input){.len = 0};
	input->cap = cap;
	c->input = input;
	pool->buffered += sizeof(*input) + cap - old;
	return 0;
}

int conn_keep(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len, const struct progress *progress)
{
	if (len == 0) {
		conn_free_input(pool, c);
		return 0;
	}
	if (!c->input && conn_grow_input(pool, c, len) < 0)
		return -1;
	/* `bytes` may be the tail of the kept input: then it fits. */
	if (c->input->bytes != bytes)
		memmove(c->input->bytes, bytes, len);
	c->input->len = len;
	c->input->progress = *progress;
	return 0;
}

int conn_append(struct conn_pool *pool, struct conn *c, const char *bytes,
		size_t len)
{
	size_t need = c->input->len + len;

	if (need > c->input->cap) {
		size_t cap = c->input->cap * 2;

		if (conn_grow_input(pool, c, cap > need ? cap : need) < 0)
			return -1;
	}
	memcpy(c->input->bytes + c->input->len, bytes, len);
	c->input->len = need;
	return 0;
}

/* Gives how many bytes the socket took, or -1. */
static ssize_t conn_send_some(int fd, const char *bytes, size_t len)
{
	ssize_t n;

	do {
		n = send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK ||
		      errno == ENOBUFS || errno == ENOMEM))
		return 0;
	return n;
}

static int conn_keep_output(struct conn_pool *pool, struct conn *c,
			    const char *bytes, size_t len)
{
	size_t have = c->output ? c->output->len : 0;
	size_t old = c->output ? sizeof(*c->output) + c->output->cap : 0;
	struct output *output =
		realloc(c->output, sizeof(*output) + have + len);

	if (!output)
		return -1;
	if (!c->output)
		output->at = 0;
	memcpy(output->bytes + have, bytes, len);
	output->len = output->cap = have + len;
	c->output = output;
	conn_reckon_output(pool, old, sizeof(*output) + output->cap);
	return 0;
}

int conn_send(struct conn_pool *pool, struct conn *c, const char *bytes,
	      size_t len)
{
	ssize_t n = 0;

	if (!c->output) {
		n = conn_send_some(c->fd, bytes, len);
		if (n < 0)
			return -1;
	}
	if ((size_t)n == len)
		return 0;
	return conn_keep_output(pool, c, bytes + n, len - (size_t)n);
}

int conn_flush(struct conn_pool *pool, struct conn *c)
{
	struct output *output = c->output;
	ssize_t n = conn_send_some(c->fd, output->bytes + output->at,
				   output->len - output->at);

	if (n < 0)
		return -1;
	output->at += (size_t)n;
	if (output->at == output->len)
		conn_free_output(pool, c);
	return 0;
}

static void conn_finish(struct conn_pool *pool, struct conn *c)
{
	if (!c->lingering || shutdown(c->fd, SHUT_WR) < 0) {
		conn_close(pool, c);
		return;
	}
	conn_free_input(pool, c);
	conn_move(pool, c, CONN_LINGER);
	conn_register(pool, c);
}

void conn_settle(struct conn_pool *pool, struct conn *c, enum conn_state rest,
		 bool fresh)
{
	enum conn_state state = c->output ? CONN_SEND : rest;

	if (c->closing && !c->output) {
		conn_finish(pool, c);
		return;
	}
	if (fresh || state != c->state)
		conn_move(pool, c, state);
	conn_register(pool, c);
}

void conn_drain(struct conn_pool *pool, struct conn *c)
{
	char bytes[16384];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0)
		c->drained += (unsigned)n;
	if (n <= 0 || c->drained > DRAIN_MAX)
		conn_close(pool, c);
}

void conn_register(struct conn_pool *pool, struct conn *c)
{
	bool wants_out = c->output != NULL;
	struct epoll_event event = {.events = wants_out ? EPOLLOUT : EPOLLIN};

	if (c->is_registered && c->wants_out == wants_out)
		return;
	event.data.ptr = c;
	if (epoll_ctl(pool->epoll,
		      c->is_registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd,
		      &event) < 0) {
		log_error("cannot watch a connection:");
		conn_close(pool, c);
		return;
	}
	c->is_registered = true;
	c->wants_out = wants_out;
}
