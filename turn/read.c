/* Reads the bytes of connections into jobs. */
#include "turn/turn.h"

#include "http/chunks.h"
#include "http/parse.h"
#include "util/clock.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

struct turn *turn_open(const struct settings *settings, struct conn_pool *pool)
{
	/* Pages that are never touched cost nothing. */
	struct turn *turn = mmap(NULL, sizeof(*turn), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (turn == MAP_FAILED)
		return NULL;
	turn->settings = settings;
	turn->pool = pool;
	return turn;
}

/* The dates are formatted once a second. */
static void read_clock(struct turn *turn)
{
	time_t now = time(NULL);

	turn->pool->now = clock_ms();
	if (now == turn->moment.now)
		return;
	turn->moment.now = now;
	date_write_http(turn->moment.date, now);
	date_write_local(turn->moment.local, now);
}

/* The place of a job that was just made. */
static struct place *read_add_place(struct turn *turn, struct part *part,
				    bool is_parsed)
{
	if (turn->settings->access_log)
		access_note(&turn->access[turn->len], &turn->request,
			    is_parsed);
	part->jobs++;
	return &turn->places[turn->len++];
}

/* Adds a refusal after which nothing more is read from the connection. */
static void read_refuse(struct turn *turn, struct part *part,
			const struct job *job, bool is_parsed)
{
	read_add_place(turn, part, is_parsed)->job = *job;
	part->closes = true;
	part->conn->lingering = true;
}

/* Routes the parsed request. The decoded path is put into the room of the next
 * job, which is free until a job is added. */
static void read_route(struct turn *turn, struct job *job)
{
	site_route(&turn->request, turn->moment.now, job,
		   turn->rooms[turn->len]);
}

/* Parses the head of the next request. Gives its bytes, 0: more are needed, or
 * < 0: it was refused. */
static ssize_t read_head(struct turn *turn, struct part *part)
{
	const char *buf = part->input + part->used;
	size_t len = part->len - part->used;
	const char *why;
	struct job job;

	/* All of it each time, so that what is wrong is answered as soon as it
	 * has arrived. A head has at most 24 KiB. */
	ssize_t n = http_parse(buf, len, &turn->request, &why);
	if (n < 0) {
		site_refuse(&job, &turn->request, (int)-n, why);
		read_refuse(turn, part, &job, false);
	}
	return n;
}

/* The body is not complete: asks for it with 100 Continue where the client
 * waits for that, or refuses the request where the body would not matter. Gives
 * 0: wait for it, or < 0: refused. */
static int read_await_body(struct turn *turn, struct part *part)
{
	const struct http_request *request = &turn->request;
	struct progress *progress = &part->progress;
	struct job job;

	read_route(turn, &job);
	bool needless = request->expects_continue || request->expects_unknown ||
			request->content_length > HTTP_BODY_MAX;
	if (job.status && needless && !progress->continued) {
		read_refuse(turn, part, &job, true);
		return -1;
	}
	if (request->expects_continue && !progress->continued)
		progress->continued = part->wants_continue = true;
	return 0;
}

/* A chunked body that is too long or malformed. What is wrong with the head
 * goes first, but for a 415. */
static void read_refuse_chunks(struct turn *turn, struct part *part, int status)
{
	struct job job;

	read_route(turn, &job);
	if (!job.status || job.status == 415 || status == 400)
		site_refuse(&job, &turn->request, status,
			    "a bad or too long chunked body");
	read_refuse(turn, part, &job, true);
}

/* Reads the body of the next request; a chunked one is decoded in place. Gives
 * 1: complete, 0: more is needed, or < 0: refused. */
static int read_body(struct turn *turn, struct part *part)
{
	struct progress *progress = &part->progress;
	char *body = part->input + part->used + progress->head;
	size_t have = part->len - part->used - progress->head;

	if (!turn->request.chunked) {
		uint64_t length = (uint64_t)turn->request.content_length;

		/* Where a size has 32 bits, 2^32 must not become 0. */
		if (length > SIZE_MAX / 2)
			length = SIZE_MAX / 2;
		progress->whole = progress->head + (size_t)length;
		return have >= length ? 1 : read_await_body(turn, part);
	}
	int done = http_dechunk(&progress->chunks, body, &have);
	part->len = part->used + progress->head + have;
	if (done < 0) {
		read_refuse_chunks(turn, part, -done);
		return -1;
	}
	if (done == 0)
		return read_await_body(turn, part);
	progress->whole = progress->head + progress->chunks.len;
	return 1;
}

/*
 * Whether the store calls of this turn have room for a job with `body` bytes:
 * CONN_FREE, or the state in which the connection waits for room. Changes and
 * new items are committed before the reads of a turn, so they wait for a turn
 * in which no read of the same client precedes them.
 */
static enum conn_state read_wait_for(const struct turn *turn,
				     const struct part *part,
				     const struct job *job, size_t body)
{
	bool fits = body <= sizeof(turn->texts) - turn->texts_used;

	switch (job->call) {
	case CALL_ITEM:
		return turn->items_len == STORE_ITEMS_MAX ? CONN_WAIT_ITEM
							  : CONN_FREE;
	case CALL_CREATE:
		return !fits || part->reads_items ||
				       turn->new_items_len ==
					       STORE_NEW_ITEMS_MAX
			       ? CONN_WAIT_CREATE
			       : CONN_FREE;
	case CALL_SET:
	case CALL_DROP:
		return !fits || turn->change || part->jobs > 0
			       ? CONN_WAIT_CHANGE
			       : CONN_FREE;
	default:
		return CONN_FREE;
	}
}

/* Adds a job to the store calls of the turn. */
static void read_book(struct turn *turn, struct part *part, struct place *place)
{
	struct job *job = &place->job;

	switch (job->call) {
	case CALL_PING:
		turn->pings = true;
		break;
	case CALL_ITEM:
		place->at = turn->items_len++;
		turn->items[place->at] = (struct item){.id = job->id};
		part->reads_items = true;
		break;
	case CALL_CREATE:
		place->at = turn->new_items_len++;
		turn->new_items[place->at] = (struct item){
			.name = job->name, .description = job->description};
		break;
	case CALL_SET:
	case CALL_DROP:
		turn->change = job;
		break;
	default:
		break;
	}
}

/* Makes a job of the next request. False: it is incomplete, was refused, or has
 * to wait. */
static bool read_request(struct turn *turn, struct part *part)
{
	struct progress *progress = &part->progress;
	size_t len = part->len - part->used;

	if (len == 0 || len < progress->whole)
		return false;
	ssize_t n = read_head(turn, part);
	if (n <= 0)
		return false;
	progress->head = (size_t)n;
	if (read_body(turn, part) <= 0)
		return false;
	struct place *place = &turn->places[turn->len];
	struct job *job = &place->job;
	struct slice body = {part->input + part->used + progress->head,
			     progress->whole - progress->head};
	read_route(turn, job);
	part->waits = read_wait_for(turn, part, job,
				    site_takes_body(job) ? body.n : 0);
	if (part->waits)
		return false;
	if (site_takes_body(job)) {
		site_read_body(job, body, turn->texts + turn->texts_used);
		turn->texts_used += body.n;
	}
	read_add_place(turn, part, true);
	read_book(turn, part, place);
	part->used += progress->whole;
	part->out += job->size;
	part->closes = !job->keep_alive || turn->ends;
	*progress = (struct progress){.head = 0};
	return true;
}

static void read_requests(struct turn *turn, struct part *part)
{
	while (!part->closes) {
		if (turn->len >= turn->jobs_max || part->out >= TURN_OUT ||
		    part->jobs >= turn->jobs_share) {
			if (part->used < part->len)
				part->waits = CONN_READY;
			return;
		}
		if (!read_request(turn, part))
			return;
	}
}

static struct part *read_begin_part(struct turn *turn, struct conn *c)
{
	struct part *part = &turn->parts[turn->parts_len++];

	*part = (struct part){.conn = c, .first = turn->len};
	c->in_turn = true;
	return part;
}

/* Reads the input that a connection has kept. */
static void read_kept(struct turn *turn, struct conn *c, bool may_have_more)
{
	struct part *part = read_begin_part(turn, c);

	part->may_have_more = may_have_more;
	part->input = c->input->bytes;
	part->len = c->input->len;
	part->progress = c->input->progress;
	read_requests(turn, part);
}

bool turn_has_place(const struct turn *turn)
{
	return turn->parts_len < TURN_PARTS && turn->len < turn->jobs_max &&
	       TURN_ARENA - turn->arena_used >= TURN_RECV;
}

void turn_read(struct turn *turn, struct conn *c)
{
	char *room = turn->arena + turn->arena_used;

	/* epoll is level-triggered: what is not read now is reported again. */
	if (c->in_turn || conn_waits_for_turn(c) || !turn_has_place(turn))
		return;
	ssize_t n = recv(c->fd, room, TURN_RECV, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* an error, or end of input */
		conn_close(turn->pool, c);
		return;
	}
	if (c->input) {
		if (conn_append(turn->pool, c, room, (size_t)n) < 0)
			conn_close(turn->pool, c);
		else
			read_kept(turn, c, n == TURN_RECV);
		return;
	}
	turn->arena_used += (size_t)n;
	struct part *part = read_begin_part(turn, c);
	part->input = room;
	part->len = (size_t)n;
	part->may_have_more = n == TURN_RECV;
	read_requests(turn, part);
}

/* Reads the connections that wait in a state, in their order, until one has to
 * wait on: then there is no room for the others either. */
static void read_waiting(struct turn *turn, enum conn_state state, size_t parts)
{
	struct conn *c = turn->pool->lists[state].first;

	for (; c && turn->parts_len < parts && turn->len < turn->jobs_max;
	     c = c->next) {
		read_kept(turn, c, true);
		if (state != CONN_READY &&
		    turn->parts[turn->parts_len - 1].waits == state)
			return;
	}
}

static void read_all_waiting(struct turn *turn)
{
	turn->jobs_max = TURN_JOBS / 2;
	read_waiting(turn, CONN_WAIT_CHANGE, TURN_PARTS / 2);
	read_waiting(turn, CONN_WAIT_ITEM, TURN_PARTS / 2);
	read_waiting(turn, CONN_WAIT_CREATE, TURN_PARTS / 4);
	read_waiting(turn, CONN_READY, TURN_PARTS / 2);
	turn->jobs_max = TURN_JOBS;
}

void turn_begin(struct turn *turn, size_t events)
{
	size_t parts = events + conn_waiting(turn->pool);

	read_clock(turn);
	turn->jobs_share = TURN_JOBS;
	turn->jobs_max = TURN_JOBS;
	if (parts > 1)
		turn->jobs_share /= parts < TURN_PARTS ? parts : TURN_PARTS;
	if (parts > events)
		read_all_waiting(turn);
}
