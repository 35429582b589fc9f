/*
 * 1. The commands for a node are sent and answered in the order in which they
 *    were added.
 * 2. When a node fails, only the commands that it has not answered fail.
 * 3. A command is sent again only when a reply said that it was not carried
 *    out, or when no byte of the node's commands was sent.
 */
#include "store/net/pipeline.h"

#include "store/failure.h"
#include "store/net/keys.h"
#include "util/clock.h"
#include "util/grow.h"
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
	AGAIN_MS = 5, /* before a command is sent again after TRYAGAIN */
	/* Commands, and their bytes, that stay allocated between calls. */
	KEPT_MAX = 1024,
	BYTES_KEPT = 1 << 20,
	HOST_MAX = 256,
};

struct node {
	struct resp link;
	char host[HOST_MAX];
	int port;
	bool is_used;	      /* false: `link` is closed, the entry is free */
	size_t waiting, next; /* commands without a reply, and the first */
	bool is_started;      /* its commands of this exchange are sent */
	bool is_old;	      /* the conversation was open before this call */
	bool is_asking;	      /* the next reply answers an ASKING */
	bool is_doomed;	      /* a reply has told to open another connection */
};

struct command {
	size_t at, len; /* in pipeline.bytes */
	int slot;
	struct node *node;
	int hops;
	bool is_waiting, is_asking;
	redisReply *reply;
	const char *why; /* without a reply; lives as long as the turn */
	enum fault fault;
};

static struct {
	const struct settings *settings;
	struct resp_login login;
	int epoll;
	int64_t until; /* of the call */
	struct node nodes[NODES_MAX];
	size_t nodes_len;
	unsigned past;	      /* generations of the nodes that were closed */
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

static int pipeline_open_node(struct node *node, const char *host, int port)
{
	const struct settings *s = pipeline.settings;

	memset(node, 0, sizeof(*node));
	snprintf(node->host, sizeof(node->host), "%s", host);
	node->port = port;
	int status = resp_open(&node->link, node->host, port, s->store_timeout,
			       pipeline.epoll, &pipeline.login);
	node->is_used = status == 0;
	return status;
}

static void pipeline_close_node(struct node *node)
{
	for (size_t slot = 0; slot < SLOTS; slot++)
		if (&pipeline.nodes[pipeline.slots[slot]] == node)
			pipeline.slots[slot] = 0;
	pipeline.past += node->link.peer.generation;
	resp_close(&node->link);
}

static bool pipeline_is_up(const struct node *node)
{
	return node->is_used && !net_is_down(&node->link.peer);
}

/* An entry of the table that is free; or that of a node that is down and is not
 * the one of the settings, which is closed. NULL: there is none. */
static struct node *pipeline_free_node(void)
{
	struct node *down = NULL;

	for (size_t i = 1; i < NODES_MAX; i++) {
		struct node *node = &pipeline.nodes[i];

		if (!node->is_used) {
			if (pipeline.nodes_len == i)
				pipeline.nodes_len++;
			return node;
		}
		if (!down && node->waiting == 0 && !pipeline_is_up(node))
			down = node;
	}
	if (down)
		pipeline_close_node(down);
	return down;
}

static struct node *pipeline_find_node(const char *host, int port)
{
	struct node *node;

	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		node = &pipeline.nodes[i];
		if (node->is_used && node->port == port &&
		    strcmp(node->host, host) == 0)
			return node;
	}
	node = pipeline_free_node();
	return node && pipeline_open_node(node, host, port) == 0 ? node : NULL;
}

/* The node that has the slot. When it is down, any other: that one knows
 * whether a replica has taken over. */
static struct node *pipeline_pick_node(int slot)
{
	struct node *owner = &pipeline.nodes[pipeline.slots[slot]];

	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		if (pipeline_is_up(owner))
			break;
		if (pipeline_is_up(&pipeline.nodes[i]))
			return &pipeline.nodes[i];
	}
	return owner;
}

/* CRC16 of the key, or of its first part in braces that is not empty. */
static int pipeline_slot(struct slice key)
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
 * The commands of one node
 */

static bool pipeline_is_of(const struct command *command,
			   const struct node *node)
{
	return command->is_waiting && command->node == node;
}

static size_t pipeline_next_of(const struct node *node, size_t from)
{
	while (from < pipeline.len &&
	       !pipeline_is_of(&pipeline.commands[from], node))
		from++;
	return from;
}

static void pipeline_begin_command(struct node *node)
{
	node->is_asking = node->next < pipeline.len &&
			  pipeline.commands[node->next].is_asking;
}

/* The commands that are not answered get the reason noted last. */
static void pipeline_give_up(struct node *node)
{
	for (size_t i = node->next; i < pipeline.len; i++) {
		struct command *command = &pipeline.commands[i];

		if (!pipeline_is_of(command, node))
			continue;
		command->is_waiting = false;
		command->why = store_error();
		command->fault = failure_fault();
	}
	node->waiting = 0;
}

static int pipeline_put_commands(struct node *node)
{
	const struct slice asking = SLICE("*1\r\n$6\r\nASKING\r\n");

	resp_begin(&node->link);
	for (size_t i = node->next; i < pipeline.len;
	     i = pipeline_next_of(node, i + 1)) {
		const struct command *c = &pipeline.commands[i];

		if (c->is_asking && resp_put(&node->link, asking) < 0)
			return -1;
		if (resp_put(&node->link, (struct slice){pipeline.bytes + c->at,
							 c->len}) < 0)
			return -1;
	}
	return 0;
}

static void pipeline_start(struct node *node)
{
	struct net_peer *peer = &node->link.peer;
	unsigned generation = peer->generation;

	if (net_ready(peer, pipeline.until) != 0) {
		pipeline_give_up(node);
		return;
	}
	node->is_old = peer->generation == generation;
	if (pipeline_put_commands(node) == 0 && resp_send(&node->link) == 0)
		return;
	if (node->link.sent == 0 && node->is_old) {
		net_broken(peer);
		pipeline_start(node); /* once: the next conversation is new */
		return;
	}
	net_broken(peer);
	pipeline_give_up(node);
}

/* The address may lead to another server by now, or the password may have
 * changed: the next call is to open another connection. */
static bool pipeline_needs_another(const redisReply *reply)
{
	return resp_is_error(reply, "READONLY") ||
	       resp_is_error(reply, "NOAUTH") ||
	       resp_is_error(reply, "MASTERDOWN");
}

static void pipeline_take(struct node *node, redisReply *reply)
{
	struct command *command = &pipeline.commands[node->next];

	if (node->is_asking) {
		node->is_asking = false;
		freeReplyObject(reply);
		return;
	}
	node->is_doomed |= pipeline_needs_another(reply);
	command->reply = reply;
	command->is_waiting = false;
	node->waiting--;
	node->next = pipeline_next_of(node, node->next);
	pipeline_begin_command(node);
}

static void pipeline_finish(struct node *node)
{
	if (node->is_doomed || !resp_is_clean(&node->link))
		net_broken(&node->link.peer);
	node->is_doomed = false;
}

/* Sends and receives what is possible now. */
static void pipeline_go_on(struct node *node)
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
		pipeline_take(node, reply);
	}
	if (node->waiting == 0) {
		pipeline_finish(node);
	} else if (failed) {
		net_broken(&node->link.peer);
		pipeline_give_up(node);
	}
}

static void pipeline_be_late(struct node *node)
{
	fail_as(FAULT_LATE, "%s: no answer within %d ms", node->link.peer.name,
		pipeline.settings->store_timeout);
	net_late(&node->link.peer);
	pipeline_give_up(node);
}

/*
 * A run
 */

/* Waits for any node that owes a reply. False: none does. */
static bool pipeline_await(void)
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
			pipeline_go_on(nodes[i]);
		else if (n <= 0)
			pipeline_be_late(nodes[i]);
	}
	return true;
}

/* Nodes with an open connection are started first: connecting to another one
 * may take the whole time, and they are not to be late because of it. */
static void pipeline_start_all(bool is_open)
{
	for (size_t i = 0; i < pipeline.nodes_len; i++) {
		struct node *node = &pipeline.nodes[i];

		if (node->waiting == 0 ||
		    (node->link.peer.state == NET_OPEN) != is_open ||
		    node->is_started)
			continue;
		node->is_started = true;
		pipeline_begin_command(node);
		pipeline_start(node);
	}
}

static void pipeline_exchange(void)
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
	pipeline_start_all(true);
	pipeline_start_all(false);
	while (pipeline_await())
		;
}

/* Reads "MOVED 3999 127.0.0.1:6381". Without a host, it is that of the node
 * that has sent it. NULL: it is not understood, or there is no room. */
static struct node *pipeline_read_redirect(const struct command *command)
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
		pipeline_find_node(n ? host : command->node->host, (int)port);
	if (node && resp_is_error(command->reply, "MOVED"))
		pipeline.slots[slot] = (uint8_t)(node - pipeline.nodes);
	return node;
}

/* Whether the command is to be sent again; its reply is then freed. */
static bool pipeline_redirect(struct command *command, bool *is_busy)
{
	bool moved = resp_is_error(command->reply, "MOVED");
	bool ask = resp_is_error(command->reply, "ASK ");

	if (resp_is_error(command->reply, "TRYAGAIN")) {
		*is_busy = true;
	} else if ((moved || ask) && command->hops++ < HOPS_MAX) {
		struct node *node = pipeline_read_redirect(command);

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
static bool pipeline_redirect_all(void)
{
	bool is_busy = false, any = false;

	if (clock_ms() + AGAIN_MS >= pipeline.until)
		return false;
	for (size_t i = pipeline.ran; i < pipeline.len; i++)
		if (pipeline.commands[i].reply &&
		    pipeline.commands[i].reply->type == REDIS_REPLY_ERROR)
			any |= pipeline_redirect(&pipeline.commands[i],
						 &is_busy);
	if (is_busy)
		poll(NULL, 0, AGAIN_MS);
	return any;
}

void pipeline_run(void)
{
	for (size_t i = pipeline.ran; i < pipeline.len; i++) {
		pipeline.commands[i].node =
			pipeline_pick_node(pipeline.commands[i].slot);
		pipeline.commands[i].is_waiting = !pipeline.no_memory;
	}
	do
		pipeline_exchange();
	while (pipeline_redirect_all());
	pipeline.ran = pipeline.len;
}

/*
 * A call
 */

static void pipeline_free(void)
{
	free(pipeline.commands);
	free(pipeline.bytes);
	pipeline.commands = NULL;
	pipeline.bytes = NULL;
	pipeline.cap = pipeline.bytes_cap = 0;
}

static void pipeline_forget(void)
{
	for (size_t i = 0; i < pipeline.len; i++)
		if (pipeline.commands[i].reply)
			freeReplyObject(pipeline.commands[i].reply);
	if (pipeline.cap > KEPT_MAX || pipeline.bytes_cap > BYTES_KEPT)
		pipeline_free();
	pipeline.len = pipeline.ran = pipeline.bytes_len = 0;
	pipeline.no_memory = false;
}

int pipeline_begin(void)
{
	struct resp *server = pipeline_server();

	pipeline_forget();
	/* clock_ms() rounds down: 1 more, so that it is not less. */
	pipeline.until = clock_ms() + pipeline.settings->store_timeout + 1;
	if (!server->facts.is_known && net_ready(&server->peer, pipeline.until))
		return 503;
	pipeline.is_cluster |= server->facts.is_cluster;
	return 0;
}

/* Room for one more command of so many bytes. */
static bool pipeline_reserve(size_t size)
{
	struct command *commands = grow(pipeline.commands, &pipeline.cap,
					pipeline.len + 1, sizeof(*commands));

	if (!commands)
		return false;
	pipeline.commands = commands;
	char *bytes = grow(pipeline.bytes, &pipeline.bytes_cap,
			   pipeline.bytes_len + size, 1);
	if (!bytes)
		return false;
	pipeline.bytes = bytes;
	return true;
}

size_t pipeline_add(struct slice key, size_t argc, const struct slice *argv)
{
	if (!pipeline_reserve(resp_size(argc, argv))) {
		pipeline.no_memory = true;
		return 0;
	}
	char *bytes = pipeline.bytes + pipeline.bytes_len;
	size_t len = (size_t)(resp_write(bytes, argc, argv) - bytes);
	pipeline.commands[pipeline.len] = (struct command){
		.at = pipeline.bytes_len,
		.len = len,
		.slot = pipeline.is_cluster ? pipeline_slot(key) : 0,
	};
	pipeline.bytes_len += len;
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
	return pipeline.commands[command].why;
}

enum fault pipeline_fault(size_t command)
{
	return pipeline.no_memory || command >= pipeline.len
		       ? FAULT_ANY
		       : pipeline.commands[command].fault;
}

const char *pipeline_name(size_t command)
{
	if (pipeline.no_memory || command >= pipeline.len)
		return pipeline_server()->peer.name;
	return pipeline.commands[command].node->link.peer.name;
}

/*
 * The server, and its nodes
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
	unsigned sum = pipeline.past;

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
	keys_open(settings);
	pipeline.login = (struct resp_login){
		.user = settings->redis_user,
		.password = settings->redis_password,
		.db = settings->redis_db,
		.allow_eviction = settings->redis_allow_eviction,
	};
	pipeline.nodes_len = 1;
	pipeline.epoll = epoll_create1(EPOLL_CLOEXEC);
	int error = errno;
	const char *host = settings->redis_host;
	int status = pipeline_open_node(&pipeline.nodes[0],
					host ? host : "localhost",
					settings->redis_port);
	errno = error;
	return !status && pipeline.epoll < 0 ? fail("epoll:") : status;
}

void pipeline_close(void)
{
	pipeline_forget();
	for (size_t i = 0; i < pipeline.nodes_len; i++)
		if (pipeline.nodes[i].is_used)
			resp_close(&pipeline.nodes[i].link);
	pipeline_free();
	close(pipeline.epoll);
	memset(&pipeline, 0, sizeof(pipeline));
}
