/*
 * 1. Commands of one node are sent and answered in their order.
 * 2. A node that fails takes with it only the commands that it has not answered
 *    yet. What was answered counts, and is told.
 * 3. A command is sent again only when a reply said that it was not carried
 *    out, or when not a byte of the node's commands could be sent.
 */
#include "store/net/pipeline.h"

#include "store/failure.h"
#include "util/clock.h"
#include "util/number.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
	NODES_MAX = 32,
	SLOTS = 16384,
	HOPS_MAX = 5, /* of one command, from node to node */
	AGAIN_MS = 5, /* before a command that Redis wants to be tried again */
	KEPT_MAX = 1024, /* commands for which room stays allocated */
	HOST_MAX = 256,
};

struct node {
	struct resp link;
	char host[HOST_MAX];
	int port;
	size_t waiting, next; /* commands without a reply, and the first */
	bool is_started;      /* its commands of this exchange are under way */
	bool is_old;	      /* the conversation is not of this call */
	bool is_asking;	      /* the reply to an ASKING comes first */
	bool is_doomed;	      /* a reply says that another one is needed */
	char why[256];	      /* it failed last */
};

struct command {
	size_t at, len; /* its bytes */
	int slot;
	struct node *node;
	int hops;
	bool is_waiting, is_asking;
	redisReply *reply;
};

static struct {
	const struct settings *settings;
	struct resp_login login;
	int epoll;
	int64_t until; /* of the call */
	struct node nodes[NODES_MAX];
	size_t nodes_len;
	uint8_t slots[SLOTS]; /* the node of each, as far as is known */
	bool is_cluster;
	struct command *commands;
	size_t len, cap, ran;
	char *bytes;
	size_t bytes_len, bytes_cap;
	bool no_memory;
} pipeline;

/*
 * Nodes
 */

static struct node *open_node(struct node *node, const char *host, int port)
{
	const struct settings *s = pipeline.settings;

	memset(node, 0, sizeof(*node));
	snprintf(node->host, sizeof(node->host), "%s", host);
	node->port = port;
	if (resp_open(&node->link, node->host, port, s->store_timeout,
		      pipeline.epoll, &pipeline.login))
		return NULL;
	return node;
}

/* One that nobody needs: it is down, and is not the one of the settings. */
static struct node *free_node(void)
{
	for (size_t i = 1; i < pipeline.nodes_len; i++) {
		struct node *node = &pipeline.nodes[i];

		if (node->waiting > 0 || !net_is_down(&node->link.peer))
			continue;
		resp_close(&node->link);
		for (size_t slot = 0; slot < SLOTS; slot++)
			if (pipeline.slots[slot] == i)
				pipeline.slots[slot] = 0;
		return node;
	}
	return NULL;
}

static struct node *find_node(const char *host, int port)
{
	struct node *node;

	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		node = &pipeline.nodes[i];
		if (node->port == port && strcmp(node->host, host) == 0)
			return node;
	}
	node = pipeline.nodes_len < NODES_MAX
		       ? &pipeline.nodes[pipeline.nodes_len]
		       : free_node();
	if (!node || !open_node(node, host, port))
		return NULL;
	if (node == &pipeline.nodes[pipeline.nodes_len])
		pipeline.nodes_len++;
	return node;
}

/* Who has the slot; or, when that is down, anybody else: it will know whether
 * somebody has taken its place. */
static struct node *pick_node(int slot)
{
	struct node *owner = &pipeline.nodes[0];

	if (pipeline.is_cluster)
		owner = &pipeline.nodes[pipeline.slots[slot]];
	for (size_t i = 0; i < pipeline.nodes_len && pipeline.is_cluster; i++) {
		if (!net_is_down(&owner->link.peer))
			break;
		if (!net_is_down(&pipeline.nodes[i].link.peer))
			return &pipeline.nodes[i];
	}
	return owner;
}

/* CRC16 of the key, or of what stands between its first braces. */
static int slot_of(struct slice key)
{
	const char *open = memchr(key.p, '{', key.n);
	unsigned crc = 0;

	if (open) {
		struct slice rest =
			slice_after(key, (size_t)(open + 1 - key.p));
		const char *close =
			rest.n > 0 ? memchr(rest.p, '}', rest.n) : NULL;

		if (close && close > rest.p)
			key = (struct slice){rest.p, (size_t)(close - rest.p)};
	}
	for (size_t i = 0; i < key.n; i++) {
		crc ^= (unsigned)(unsigned char)key.p[i] << 8;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1;
	}
	return (int)(crc & (SLOTS - 1));
}

/*
 * One node's part of a run
 */

static bool is_of(const struct command *command, const struct node *node)
{
	return command->is_waiting && command->node == node;
}

static size_t next_of(const struct node *node, size_t from)
{
	while (from < pipeline.len && !is_of(&pipeline.commands[from], node))
		from++;
	return from;
}

static void begin_command(struct node *node)
{
	node->is_asking = node->next < pipeline.len &&
			  pipeline.commands[node->next].is_asking;
}

/* No reply comes any more. */
static void give_up(struct node *node)
{
	snprintf(node->why, sizeof(node->why), "%s", failure_reason());
	for (size_t i = node->next; i < pipeline.len; i++)
		if (is_of(&pipeline.commands[i], node))
			pipeline.commands[i].is_waiting = false;
	node->waiting = 0;
}

static int put_commands(struct node *node)
{
	static const char asking[] = "*1\r\n$6\r\nASKING\r\n";

	resp_begin(&node->link);
	for (size_t i = node->next; i < pipeline.len;
	     i = next_of(node, i + 1)) {
		const struct command *c = &pipeline.commands[i];

		if (c->is_asking &&
		    resp_put(&node->link, asking, sizeof(asking) - 1) < 0)
			return -1;
		if (resp_put(&node->link, pipeline.bytes + c->at, c->len) < 0)
			return -1;
	}
	return 0;
}

static void start(struct node *node)
{
	struct net_peer *peer = &node->link.peer;
	unsigned generation = peer->generation;

	if (net_ready(peer, pipeline.until) != 0) {
		give_up(node);
		return;
	}
	node->is_old = peer->generation == generation;
	if (put_commands(node) == 0 && resp_send(&node->link) == 0)
		return;
	if (node->link.sent == 0 && node->is_old) {
		net_broken(peer);
		start(node); /* once: it is new then */
		return;
	}
	net_broken(peer);
	give_up(node);
}

static bool says(const redisReply *reply, const char *word)
{
	return reply->type == REDIS_REPLY_ERROR &&
	       strncmp(reply->str, word, strlen(word)) == 0;
}

/* The address may lead to another server by now, or the password be another. */
static bool needs_another(const redisReply *reply)
{
	return says(reply, "READONLY") || says(reply, "NOAUTH") ||
	       says(reply, "MASTERDOWN");
}

static void take(struct node *node, redisReply *reply)
{
	struct command *command = &pipeline.commands[node->next];

	if (node->is_asking) {
		node->is_asking = false;
		freeReplyObject(reply);
		return;
	}
	node->is_doomed |= needs_another(reply);
	command->reply = reply;
	command->is_waiting = false;
	node->waiting--;
	node->next = next_of(node, node->next);
	begin_command(node);
}

static void finish(struct node *node)
{
	if (node->is_doomed || !resp_is_clean(&node->link))
		net_broken(&node->link.peer);
	node->is_doomed = false;
}

/* Something can be sent or received. */
static void go_on(struct node *node)
{
	bool failed =
		resp_send(&node->link) < 0 || resp_receive(&node->link) < 0;
	redisReply *reply;
	int got;

	while (node->waiting > 0) {
		got = resp_take(&node->link, &reply);
		failed |= got < 0;
		if (got <= 0)
			break;
		take(node, reply);
	}
	if (node->waiting == 0) {
		finish(node);
	} else if (failed) {
		net_broken(&node->link.peer);
		give_up(node);
	}
}

static void be_late(struct node *node)
{
	fail("%s: no answer within %d ms", node->link.peer.name,
	     pipeline.settings->store_timeout);
	net_late(&node->link.peer);
	give_up(node);
}

/*
 * A run
 */

/* Waits for any of the nodes; false when none of them is waited for. */
static bool await_some(void)
{
	struct pollfd ready[NODES_MAX];
	struct node *nodes[NODES_MAX];
	int64_t left = pipeline.until - clock_ms();
	nfds_t len = 0;

	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		struct node *node = &pipeline.nodes[i];

		if (node->waiting == 0)
			continue;
		ready[len].fd = node->link.peer.fd;
		ready[len].events = resp_wants(&node->link);
		nodes[len++] = node;
	}
	if (len == 0)
		return false;
	int n = poll(ready, len, left > 0 ? (int)left : 0);
	if (n < 0 && errno == EINTR)
		return true;
	for (nfds_t i = 0; i < len; i++) {
		if (n > 0 && ready[i].revents)
			go_on(nodes[i]);
		else if (n <= 0)
			be_late(nodes[i]);
	}
	return true;
}

/* Those with an open connection come first: to connect may take all the time,
 * and they shall not look late for that. */
static void start_all(bool open)
{
	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		struct node *node = &pipeline.nodes[i];

		if (node->waiting == 0 ||
		    (node->link.peer.state == NET_OPEN) != open ||
		    node->is_started)
			continue;
		node->is_started = true;
		begin_command(node);
		start(node);
	}
}

static void exchange(void)
{
	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		pipeline.nodes[i].waiting = 0;
		pipeline.nodes[i].is_started = false;
	}
	for (size_t i = pipeline.len; i-- > pipeline.ran;) {
		struct command *command = &pipeline.commands[i];

		if (!command->is_waiting)
			continue;
		command->node->waiting++;
		command->node->next = i;
	}
	start_all(true);
	start_all(false);
	while (await_some())
		;
}

/* "MOVED 3999 127.0.0.1:6381"; without a host it is the one that says so. */
static struct node *read_redirect(const struct command *command)
{
	struct slice text = slice_of(command->reply->str);
	char host[HOST_MAX];
	int64_t slot, port;

	slice_take(&text, ' ');
	if (!number_read(slice_take(&text, ' '), &slot) || slot >= SLOTS)
		return NULL;
	const char *colon = memrchr(text.p, ':', text.n);
	if (!colon)
		return NULL;
	size_t n = (size_t)(colon - text.p);
	if (n >= sizeof(host) ||
	    !number_read(slice_after(text, n + 1), &port) || port < 1 ||
	    port > 65535)
		return NULL;
	snprintf(host, sizeof(host), "%.*s", (int)n, text.p);
	struct node *node =
		find_node(n ? host : command->node->host, (int)port);
	if (node && says(command->reply, "MOVED"))
		pipeline.slots[slot] = (uint8_t)(node - pipeline.nodes);
	return node;
}

/* Whether the command is to be sent again; its reply is then gone. */
static bool redirect(struct command *command, bool *is_busy)
{
	bool moved = says(command->reply, "MOVED");
	bool ask = says(command->reply, "ASK ");

	if (says(command->reply, "TRYAGAIN")) {
		*is_busy = true;
	} else if ((moved || ask) && command->hops++ < HOPS_MAX) {
		struct node *node = read_redirect(command);

		if (!node)
			return false;
		pipeline.is_cluster = true;
		command->node = node;
		command->is_asking = ask;
	} else {
		return false;
	}
	freeReplyObject(command->reply);
	command->reply = NULL;
	return command->is_waiting = true;
}

/* Whether some of the commands have to be sent again. */
static bool redirect_all(void)
{
	bool is_busy = false, any = false;

	if (clock_ms() + AGAIN_MS >= pipeline.until)
		return false;
	for (size_t i = pipeline.ran; i < pipeline.len; i++)
		if (pipeline.commands[i].reply &&
		    pipeline.commands[i].reply->type == REDIS_REPLY_ERROR)
			any |= redirect(&pipeline.commands[i], &is_busy);
	if (is_busy)
		poll(NULL, 0, AGAIN_MS);
	return any;
}

void pipeline_run(void)
{
	for (size_t i = pipeline.ran; i < pipeline.len; i++) {
		pipeline.commands[i].node =
			pick_node(pipeline.commands[i].slot);
		pipeline.commands[i].is_waiting = !pipeline.no_memory;
	}
	do
		exchange();
	while (redirect_all());
	pipeline.ran = pipeline.len;
}

/*
 * A call
 */

static void forget(void)
{
	for (size_t i = 0; i < pipeline.len; i++)
		if (pipeline.commands[i].reply)
			freeReplyObject(pipeline.commands[i].reply);
	if (pipeline.cap > KEPT_MAX) {
		free(pipeline.commands);
		free(pipeline.bytes);
		pipeline.commands = NULL;
		pipeline.bytes = NULL;
		pipeline.cap = pipeline.bytes_cap = 0;
	}
	pipeline.len = pipeline.ran = pipeline.bytes_len = 0;
	pipeline.no_memory = false;
}

int pipeline_begin(void)
{
	struct resp *server = pipeline_server();

	forget();
	/* The clock is rounded down: not less than it says. */
	pipeline.until = clock_ms() + pipeline.settings->store_timeout + 1;
	if (!server->facts.is_known && net_ready(&server->peer, pipeline.until))
		return 503;
	pipeline.is_cluster |= server->facts.is_cluster;
	return 0;
}

/* Room for one more, and for so many bytes. */
static int make_room(size_t bytes)
{
	if (pipeline.len == pipeline.cap) {
		size_t cap = pipeline.cap ? 2 * pipeline.cap : 64;
		struct command *more = realloc(
			pipeline.commands, cap * sizeof(*pipeline.commands));

		if (!more)
			return -1;
		pipeline.commands = more;
		pipeline.cap = cap;
	}
	if (pipeline.bytes_cap - pipeline.bytes_len < bytes) {
		size_t cap = 2 * (pipeline.bytes_len + bytes);
		char *more = realloc(pipeline.bytes, cap);

		if (!more)
			return -1;
		pipeline.bytes = more;
		pipeline.bytes_cap = cap;
	}
	return 0;
}

enum { ARGS_MAX = 16 };

size_t pipeline_add(struct slice key, size_t argc, const struct slice *argv)
{
	const char *texts[ARGS_MAX];
	size_t lens[ARGS_MAX];
	char *bytes = NULL;

	for (size_t i = 0; i < argc; i++) {
		texts[i] = argv[i].n ? argv[i].p : "";
		lens[i] = argv[i].n;
	}
	long long len = redisFormatCommandArgv(&bytes, (int)argc, texts, lens);
	if (len < 0 || make_room((size_t)len) < 0) {
		pipeline.no_memory = true;
		if (len >= 0)
			redisFreeCommand(bytes);
		return 0;
	}
	memcpy(pipeline.bytes + pipeline.bytes_len, bytes, (size_t)len);
	redisFreeCommand(bytes);
	pipeline.commands[pipeline.len] = (struct command){
		.at = pipeline.bytes_len,
		.len = (size_t)len,
		.slot = pipeline.is_cluster ? slot_of(key) : 0,
	};
	pipeline.bytes_len += (size_t)len;
	return pipeline.len++;
}

const redisReply *pipeline_reply(size_t command)
{
	return !pipeline.no_memory && command < pipeline.len
		       ? pipeline.commands[command].reply
		       : NULL;
}

const char *pipeline_why(size_t command)
{
	if (pipeline.no_memory || command >= pipeline.len)
		return "out of memory";
	return pipeline.commands[command].node->why;
}

const char *pipeline_name(size_t command)
{
	return pipeline.commands[command].node->link.peer.name;
}

/*
 * The whole
 */

const struct settings *pipeline_settings(void)
{
	return pipeline.settings;
}

struct resp *pipeline_server(void)
{
	return &pipeline.nodes[0].link;
}

bool pipeline_is_cluster(void)
{
	return pipeline.is_cluster;
}

bool pipeline_is_hurt(void)
{
	for (size_t i = 0; i < pipeline.nodes_len; i++)
		if (net_is_down(&pipeline.nodes[i].link.peer))
			return true;
	return false;
}

unsigned pipeline_generation(void)
{
	unsigned sum = 0;

	for (size_t i = 0; i < pipeline.nodes_len; i++)
		sum += pipeline.nodes[i].link.peer.generation;
	return sum;
}

int pipeline_watch(void)
{
	return pipeline.epoll;
}

int pipeline_tick(void)
{
	int next = -1;

	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		int ms = net_tick(&pipeline.nodes[i].link.peer);

		if (ms >= 0 && (next < 0 || ms < next))
			next = ms;
	}
	return next;
}

int pipeline_open(const struct settings *settings)
{
	memset(&pipeline, 0, sizeof(pipeline));
	pipeline.settings = settings;
	pipeline.login = (struct resp_login){
		.password = settings->redis_password,
		.db = settings->redis_db,
		.allow_eviction = settings->redis_allow_eviction,
	};
	pipeline.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (pipeline.epoll < 0)
		return fail("epoll:");
	const char *host = settings->redis_host;
	if (!open_node(&pipeline.nodes[0], host ? host : "localhost",
		       settings->redis_port))
		return 503;
	pipeline.nodes_len = 1;
	return 0;
}

void pipeline_close(void)
{
	forget();
	for (size_t i = 0; i < pipeline.nodes_len; i++)
		resp_close(&pipeline.nodes[i].link);
	free(pipeline.commands);
	free(pipeline.bytes);
	close(pipeline.epoll);
	memset(&pipeline, 0, sizeof(pipeline));
}
