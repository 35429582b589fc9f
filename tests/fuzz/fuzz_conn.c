/*
 * The loop of http.c and turn/ with connections that are cut anywhere: the
 * answers do not depend on the cuts, every visit that is answered is counted
 * and none else, nothing follows the answer that closes, and a connection that
 * is gone has left nothing behind.
 *
 * The real serve() runs, on a socketpair; in its epoll_wait the client has its
 * turn. The first byte of an input says what is done besides (enum mode). The
 * bytes of the arena that were not received are poisoned.
 */
#include "http.h"

#include "turn/access.h"
#include "turn/conn.h"
#include "http/parse.h"
#include "http/reply.h"
#include "turn/balance.h"
#include "site/site.h"
#include "store/item.h"
#include "store/store.h"
#include "tests/fuzz/fuzz.h"
#include "util/clock.h"
#include "util/json.h"
#include "util/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sanitizer/asan_interface.h>

static int fuzz_epoll_wait(int epoll, struct epoll_event *events, int len,
			   int timeout);
static int fuzz_accept(void);
static ssize_t fuzz_recv(int fd, void *to, size_t len, int flags);
static time_t fuzz_time(void);
static int64_t fuzz_clock(void);

#define epoll_wait			       fuzz_epoll_wait
#define accept4(listener, address, len, flags) fuzz_accept()
#define recv				       fuzz_recv
#define time(x)				       fuzz_time()
#define clock_ms			       fuzz_clock
#include "turn/read.c"

#include "http.c"
#undef epoll_wait
#undef accept4
#undef recv
#undef time
#undef clock_ms

/* What is done to the worker, by the bits of the first byte less '0'. */
enum mode {
	SLOW_CLIENT = 1, /* reads only when nothing else goes on */
	LOG_TEXT = 2,	 /* an access log */
	LOG_JSON = 4,
	TIME_PASSES = 8,  /* three seconds with each cut */
	FALSE_WAKES = 16, /* recv says EAGAIN and EINTR at times */
	BAD_STORE = 32,	  /* it refuses at times */
};

enum {
	INPUT_LIMIT = 120000, /* bytes that are sent */
	ANSWERS_MAX = 8 << 20,
	CLIENTS = 2,
	TURNS_MAX = 20000,
	FIRST_TOTAL = 1000000, /* so that all totals have as many digits */
	ITEMS_MAX = 6,
	COUNTERS_MAX = 6,
	VALUE_MAX = 1000000000, /* that is set: far from full */
};

struct client {
	int fd;
	bool has_ended; /* its own side */
	bool sees_end;	/* of the other one */
	bool is_cut;
	size_t sent, split;
	char *answers;
	size_t len;
};

static struct worker worker;
static struct settings settings;
static struct fuzz_text text;
static int mode;
static jmp_buf over;
static struct client clients[CLIENTS];
static size_t clients_len, opened;
static int turns, recvs, adds;
static int64_t clock_now = 1000000;
static int64_t visits, log_lines;

/*
 * The store
 */

const char store_name[] = "fuzz";

int store_open(const struct settings *s)
{
	(void)s;
	return 0;
}

int store_close(void)
{
	return 0;
}

/* The counters; the first is that of the page. They are forgotten with each
 * run. */
static struct counter {
	char name[STORE_NAME_MAX];
	size_t len; /* 0: it was forgotten */
	int64_t total;
} counters[COUNTERS_MAX];
static size_t counters_len;
static bool is_changed; /* one is new, or was set or forgotten */

static struct counter *find_counter(struct slice name)
{
	must(!store_name_fault(name));
	for (size_t i = 0; i < counters_len; i++)
		if (slice_equal(
			    (struct slice){counters[i].name, counters[i].len},
			    name))
			return &counters[i];
	return NULL;
}

static struct counter *make_counter(struct slice name)
{
	if (counters_len == COUNTERS_MAX)
		return NULL;
	struct counter *counter = &counters[counters_len++];
	memcpy(counter->name, name.p, name.n);
	counter->len = name.n;
	counter->total = FIRST_TOTAL;
	is_changed |= counters_len > 1;
	return counter;
}

static void forget_counters(void)
{
	counters_len = 0;
	make_counter(SLICE(STORE_HOME));
	is_changed = false;
}

static void add(struct tally *tally)
{
	struct counter *counter = find_counter(tally->counter);

	tally->is_new = !counter;
	if (!counter && tally->n > 0)
		counter = make_counter(tally->counter);
	if (!counter) {
		tally->status = tally->n > 0 ? 507 : 404;
		tally->error = "no";
		return;
	}
	visits += tally->n;
	counter->total += tally->n;
	tally->total = counter->total;
	tally->today = counter->total;
}

void store_add(struct tally *tallies, size_t len)
{
	bool fails = mode & BAD_STORE && ++adds % 2 == 0;

	for (size_t i = 0; i < len; i++) {
		struct tally *tally = &tallies[i];

		must(tally->n >= 0 && tally->n <= TURN_JOBS);
		must(tally->status == 0);
		for (size_t k = 0; k < i; k++)
			must(!slice_equal(tally->counter, tallies[k].counter));
		if (fails) {
			tally->status = 503;
			tally->error = "\xff<&\"it fails\"\n";
			continue;
		}
		add(tally);
	}
}

int store_drop(struct slice name)
{
	struct counter *counter = find_counter(name);

	must(counter != counters); /* that of the page stays */
	if (mode & BAD_STORE && ++adds % 2 == 0)
		return 503;
	if (!counter)
		return 404;
	counter->len = 0;
	is_changed = true;
	return 0;
}

int store_set(struct slice name, int64_t value)
{
	struct counter *counter = find_counter(name);

	must(value >= 0);
	if (mode & BAD_STORE && ++adds % 2 == 0)
		return 503;
	if (!counter && value <= VALUE_MAX)
		counter = make_counter(name);
	if (!counter || value > VALUE_MAX)
		return 507;
	counter->total = value;
	is_changed = true;
	return 0;
}

/* The items, as JSON; they are forgotten with each run. */
static char *items[ITEMS_MAX];
static size_t item_sizes[ITEMS_MAX];
static int64_t items_len;

static int create_one(struct slice name, struct slice description, int64_t *id)
{
	static char json[STORE_ITEM_JSON_MAX];

	must(name.n > 0 && name.n <= STORE_ITEM_NAME_MAX);
	must(description.n <= STORE_ITEM_DESCRIPTION_MAX);
	if (mode & BAD_STORE && ++adds % 2 == 0)
		return 503;
	if (items_len == ITEMS_MAX)
		return 507;
	*id = items_len + 1;
	item_sizes[items_len] = item_write(json, *id, name, description);
	items[items_len] = fuzz_copy(json, item_sizes[items_len]);
	items_len++;
	return 0;
}

void store_items_create(struct item *new, size_t len)
{
	must(len > 0 && len <= STORE_NEW_ITEMS_MAX);
	for (size_t i = 0; i < len; i++) {
		new[i].status =
			create_one(new[i].name, new[i].description, &new[i].id);
		new[i].error = "no room";
	}
}

void store_items_get(struct item *wanted, size_t len)
{
	must(len > 0 && len <= STORE_ITEMS_MAX);
	for (size_t i = 0; i < len; i++) {
		struct item *item = &wanted[i];

		must(item->id > 0);
		item->status = item->id > items_len ? 404 : 0;
		item->error = "there is no such item";
		if (item->status == 0)
			item->json = (struct slice){items[item->id - 1],
						    item_sizes[item->id - 1]};
	}
}

static void forget_items(void)
{
	while (items_len > 0)
		free(items[--items_len]);
}

int store_ping(void)
{
	return mode & BAD_STORE ? 503 : 0;
}

int store_watch(void)
{
	return -1;
}

const char *store_durability(void)
{
	return NULL;
}

int store_tick(void)
{
	return -1;
}

const char *store_error(void)
{
	return "it fails";
}

const char *store_told(void)
{
	return store_error();
}

const char *store_answer(void)
{
	return store_error();
}

/*
 * The log
 */

void log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	(void)format;
}

static void check_log_line(struct slice line)
{
	struct json_member member = {.name = SLICE("status")};
	static char buffer[PIPE_BUF];
	size_t fault_at;

	for (size_t i = 0; i < line.n; i++)
		must((unsigned char)line.p[i] >= ' ' && line.p[i] != 0x7f);
	if (!settings.log_json)
		return;
	must(!json_read_object(line, &member, 1, buffer, &fault_at));
	must(member.kind == JSON_NUMBER);
}

void log_access(const char *lines, size_t len, unsigned count)
{
	struct slice rest = {lines, len};

	must(len > 0 && len <= PIPE_BUF && lines[len - 1] == '\n');
	log_lines += count;
	for (; rest.n > 0; count--) {
		const char *end = memchr(rest.p, '\n', rest.n);

		check_log_line((struct slice){rest.p, (size_t)(end - rest.p)});
		rest = slice_after(rest, (size_t)(end + 1 - rest.p));
	}
	must(count == 0);
}

/*
 * The clients
 */

static time_t fuzz_time(void)
{
	return 1800000000;
}

static int64_t fuzz_clock(void)
{
	return clock_now;
}

static ssize_t fuzz_recv(int fd, void *to, size_t len, int flags)
{
	static char bytes[TURN_RECV];

	must(len == TURN_RECV);
	if (mode & FALSE_WAKES && ++recvs % 3 == 0) {
		errno = recvs % 2 ? EAGAIN : EINTR;
		return -1;
	}
	ssize_t n = recv(fd, bytes, len, flags);
	if (n > 0) {
		ASAN_UNPOISON_MEMORY_REGION(to, (size_t)n);
		memcpy(to, bytes, (size_t)n);
	}
	return n;
}

static int fuzz_accept(void)
{
	int pair[2], small = 4096;

	if (opened == clients_len) {
		errno = EAGAIN;
		return -1;
	}
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
			pair) == 0);
	if (mode & SLOW_CLIENT)
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &small,
			   sizeof(small));
	clients[opened++].fd = pair[0];
	return pair[1];
}

static void read_answers(struct client *client)
{
	while (!client->sees_end) {
		ssize_t n = recv(client->fd, client->answers + client->len,
				 ANSWERS_MAX - client->len, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		must(client->len + (size_t)(n > 0 ? n : 0) < ANSWERS_MAX);
		if (n > 0)
			client->len += (size_t)n;
		else
			client->sees_end = true;
	}
}

/* Sends up to the next cut; the end, when all is sent. */
static void send_piece(struct client *client)
{
	size_t end = text.len;

	if (client->sent == text.len) {
		shutdown(client->fd, SHUT_WR);
		client->has_ended = true;
		return;
	}
	if (client->is_cut && client->split < text.splits_len)
		end = text.splits[client->split];
	ssize_t n = send(client->fd, text.bytes + client->sent,
			 end - client->sent, MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		n = (ssize_t)(text.len - client->sent); /* it was closed */
	if (n > 0)
		client->sent += (size_t)n;
	if (client->sent >= end)
		client->split++;
	if (mode & TIME_PASSES)
		clock_now += 3000;
}

/* Whether the worker is done with everything. */
static bool is_gone(void)
{
	for (size_t i = 0; i < clients_len; i++)
		if (!clients[i].has_ended || !clients[i].sees_end)
			return false;
	return worker.pool.open == 0;
}

/* The turn of the clients: when the worker has nothing to do. */
static void take_turns(void)
{
	for (size_t i = 0; i < opened; i++) {
		size_t len = clients[i].len;

		read_answers(&clients[i]);
		/* Something may be sent now that the peer has read. */
		if (clients[i].len == len && !clients[i].has_ended)
			send_piece(&clients[i]);
	}
}

static int fuzz_epoll_wait(int epoll, struct epoll_event *events, int len,
			   int timeout)
{
	must(++turns < TURNS_MAX);
	must(worker.turn->parts_len == 0 && worker.turn->arena_used == 0);
	ASAN_POISON_MEMORY_REGION(worker.turn->arena, TURN_ARENA);
	if (opened < clients_len) {
		events[0].data.ptr = &listener_mark;
		return 1;
	}
	if (!(mode & SLOW_CLIENT))
		for (size_t i = 0; i < opened; i++)
			read_answers(&clients[i]);
	int n = epoll_wait(epoll, events, len, 0);
	if (n > 0 || timeout == 0)
		return n;
	if (is_gone())
		longjmp(over, 1);
	take_turns();
	/* A lingering connection is waited for by the clock alone. */
	return epoll_wait(epoll, events, len, 0);
}

static void open_clients(size_t len, size_t cut_from)
{
	clients_len = len;
	opened = 0;
	for (size_t i = 0; i < len; i++) {
		char *answers = clients[i].answers;

		clients[i] = (struct client){
			.is_cut = i >= cut_from,
			.answers = answers ? answers : malloc(ANSWERS_MAX),
		};
		must(clients[i].answers);
	}
}

static void check_pool(const struct conn_pool *pool)
{
	must(pool->open == 0 && pool->buffered == 0);
	must(!pool->dead.first);
	for (int i = 0; i < CONN_STATES; i++)
		must(i == CONN_FREE || !pool->lists[i].first);
}

/* `len` clients send the text; those from `cut_from` on in its pieces. */
static void run(size_t len, size_t cut_from)
{
	static const struct settings plain;

	turns = recvs = adds = 0;
	visits = log_lines = 0;
	forget_items();
	forget_counters();
	settings = plain;
	settings.access_log = !!(mode & (LOG_TEXT | LOG_JSON));
	settings.log_json = !!(mode & LOG_JSON);
	settings.admin_token = "secret";
	settings.repeat_window = 60;
	open_clients(len, cut_from);
	if (setjmp(over) == 0)
		http_loop(&worker);
	check_pool(&worker.pool);
	for (size_t i = 0; i < len; i++)
		close(clients[i].fd);
}

/*
 * The answers
 */

struct answers {
	int all, counted, created; /* without 100 Continue */
	bool closed;		   /* the last one said so */
};

static bool has_line(struct slice head, const char *line)
{
	return memmem(head.p, head.n, line, strlen(line));
}

static size_t body_length(struct slice head, struct slice rest)
{
	static const char name[] = "\r\nContent-Length: ";
	const char *at = memmem(head.p, head.n, name, sizeof(name) - 1);

	must(at);
	size_t n = strtoul(at + sizeof(name) - 1, NULL, 10);
	/* The answer to HEAD has no body, and no body begins like this. */
	if (rest.n == 0 || (rest.n >= 9 && memcmp(rest.p, "HTTP/1.1 ", 9) == 0))
		return 0;
	return n;
}

static int status_of(struct slice head)
{
	must(head.n > 13 && memcmp(head.p, "HTTP/1.1 ", 9) == 0);
	return atoi(head.p + 9);
}

/* Takes one answer off the text and gives its status. */
static int take_answer(struct slice *rest, struct slice *head)
{
	const char *end = memmem(rest->p, rest->n, "\r\n\r\n", 4);

	must(end);
	*head = (struct slice){rest->p, (size_t)(end - rest->p) + 4};
	*rest = slice_after(*rest, head->n);
	int status = status_of(*head);
	if (status == 100) {
		must(head->n == 25);
		return status;
	}
	must(has_line(*head, "\r\nDate: "));
	if (status == 204) {
		must(!has_line(*head, "\r\nContent-Length: "));
		return status;
	}
	size_t body = body_length(*head, *rest);
	must(body <= rest->n);
	*rest = slice_after(*rest, body);
	return status;
}

/* A 400 closes, unless it is about the members of a body, or a name. */
static bool may_go_on(int status)
{
	static const char *const paths[] = {"/items", "/hit", "/visits", "/get",
					    "%"};

	if (status != 400)
		return true;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		if (memmem(text.bytes, text.len, paths[i], strlen(paths[i])))
			return true;
	return false;
}

static struct answers check_answers(struct slice rest)
{
	struct answers seen = {0};
	bool goes_on = false;
	struct slice head;

	while (rest.n > 0) {
		must(!seen.closed);
		int status = take_answer(&rest, &head);

		must(status != 100 || !goes_on); /* one a request */
		goes_on = status == 100;
		if (goes_on)
			continue;
		seen.all++;
		seen.created += status == 201;
		seen.closed = has_line(head, "\r\nConnection: close\r\n");
		must(seen.closed || may_go_on(status));
		if (has_line(head, "\r\nX-Visit-Counted: 1\r\n")) {
			must(status == 200);
			seen.counted++;
		}
	}
	return seen;
}

/* In TIME_PASSES a connection may be closed before its answers are read. */
static void check_counts(void)
{
	int64_t all = 0, counted = 0, created = 0;

	for (size_t i = 0; i < clients_len; i++) {
		struct slice answers = {clients[i].answers, clients[i].len};

		if (mode & TIME_PASSES && mode & SLOW_CLIENT)
			return;
		struct answers seen = check_answers(answers);
		all += seen.all;
		counted += seen.counted;
		created += seen.created;
	}
	must(items_len == created);
	must(visits == counted);
	must(!settings.access_log || log_lines == all);
}

/* A text that holds only what has to be the same with any cuts. */
static struct slice keep_plain(struct client *client, bool mask_totals)
{
	static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
	size_t go_on_len = sizeof(go_on) - 1, n = 0;
	char *p = client->answers;

	for (size_t i = 0; i < client->len;) {
		size_t digits = 0;

		if (client->len - i >= go_on_len &&
		    memcmp(p + i, go_on, go_on_len) == 0) {
			i += go_on_len;
			continue;
		}
		while (mask_totals && i + digits < client->len &&
		       p[i + digits] >= '0' && p[i + digits] <= '9')
			digits++;
		if (digits == 7)
			memset(p + i, '#', digits);
		digits += digits == 0;
		memmove(p + n, p + i, digits);
		n += digits;
		i += digits;
	}
	return (struct slice){p, n};
}

static struct slice take_whole(struct slice *rest, int *status)
{
	struct slice head, all = *rest;

	*status = take_answer(rest, &head);
	all.n -= rest->n;
	return all;
}

/* The same answer but for "Connection: close". */
static bool is_same_but_close(struct slice closing, struct slice other)
{
	static const char line[] = "Connection: close\r\n";
	size_t n = sizeof(line) - 1;
	const char *at = memmem(closing.p, closing.n, line, n);
	size_t before = at ? (size_t)(at - closing.p) : 0;

	return at && other.n >= closing.n - n &&
	       memcmp(closing.p, other.p, before) == 0 &&
	       memcmp(at + n, other.p + before, closing.n - before - n) == 0;
}

/*
 * A refusal may come before the body that it makes needless, and then closes
 * (Expect, RFC 9110 10.1.1): one text then ends earlier with that answer.
 */
static bool is_refused_earlier(struct slice a, struct slice b)
{
	int a_status, b_status;

	while (a.n > 0 && b.n > 0) {
		struct slice x = take_whole(&a, &a_status);
		struct slice y = take_whole(&b, &b_status);

		if (slice_equal(x, y))
			continue;
		if (a_status < 400 || b_status < 400)
			return false;
		/* The body was bad, too; a bad name has the same status. */
		if (a_status != b_status || (a_status == 400 && a.n == b.n))
			return a.n == 0 && b.n == 0;
		return (a.n == 0 && is_same_but_close(x, y)) ||
		       (b.n == 0 && is_same_but_close(y, x));
	}
	return a.n == b.n;
}

static bool may_expect(void)
{
	for (size_t i = 0; i + 6 <= text.len; i++)
		if (strncasecmp(text.bytes + i, "expect", 6) == 0)
			return true;
	return false;
}

static void check_same(struct slice a, struct slice b)
{
	if (!slice_equal(a, b))
		must(may_expect() && is_refused_earlier(a, b));
}

/* Alone and uncut, alone and cut, two at a time. */
static void check_cuts(void)
{
	check_counts();
	struct slice plain = keep_plain(&clients[0], false);
	struct slice first = {fuzz_copy(plain.p, plain.n), plain.n};

	run(1, 0);
	check_counts();
	check_same(first, keep_plain(&clients[0], false));
	run(2, 1);
	check_counts();
	/* The items and counters of one are there for the other. */
	if (items_len == 0 && !is_changed)
		check_same(keep_plain(&clients[0], true),
			   keep_plain(&clients[1], true));
	free((void *)(uintptr_t)first.p);
}

static void open_once(void)
{
	static struct balance balance;
	static struct process process;

	if (worker.turn)
		return;
	must(balance_open(&balance, 1) == 0);
	balance_enter(&balance, 0);
	settings.max_connections = CLIENTS;
	worker.settings = &settings;
	worker.balance = &balance;
	worker.listener = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	worker.leash = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	site_open(&settings, &process);
	must(http_open_worker(&worker) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	mode = data[0] - '0';
	open_once();
	fuzz_expand(&text, data + 1, size - 1, INPUT_LIMIT);
	/* A head without a line end is waited for, whatever it holds: a line
	 * end behind everything makes that no matter. */
	text.bytes[text.len++] = '\n';
	run(1, mode & (TIME_PASSES | BAD_STORE) ? 0 : 1);
	if (mode & (TIME_PASSES | BAD_STORE))
		check_counts();
	else
		check_cuts();
	return 0;
}
