/* Sends the replies of a turn and moves its connections to their next states.
 */
#include "turn/turn.h"

#include "http/parse.h"
#include "util/reason.h"

#include <string.h>

/* Sends what is in turn->out. False: the connection is closed. */
static bool answer_send(struct turn *turn, struct conn *c)
{
	size_t len = turn->out_len;

	turn->out_len = 0;
	if (len == 0 || conn_send(turn->pool, c, turn->out, len) == 0)
		return true;
	conn_close(turn->pool, c);
	return false;
}

/* Makes room for `len` bytes in turn->out. */
static bool answer_make_room(struct turn *turn, struct conn *c, size_t len)
{
	return len <= sizeof(turn->out) - turn->out_len || answer_send(turn, c);
}

/* Appends the reply to turn->out. False: the connection is closed. */
static bool answer_render(struct turn *turn, struct conn *c,
			  const struct job *job, bool closes,
			  const struct access *access)
{
	struct http_reply reply;

	site_answer(job, &turn->moment, &reply, turn->scratch);
	reply.close = closes;
	reply.keep_alive = job->minor == 0;
	if (!answer_make_room(turn, c, http_reply_bound(&reply)))
		return false;
	turn->out_len += http_reply_write(turn->out + turn->out_len, &reply,
					  turn->moment.date);
	if (turn->settings->access_log)
		access_log(access, turn->settings->log_json, turn->moment.now,
			   c->fd, reply.status, reply.head ? 0 : reply.body.n);
	return true;
}

/* False: the connection is closed. */
static bool answer_part(struct turn *turn, const struct part *part)
{
	static const struct slice go_on =
		SLICE_INIT("HTTP/1.1 100 Continue\r\n\r\n");
	struct conn *c = part->conn;
	size_t end = part->first + part->jobs;

	for (size_t i = part->first; i < end; i++)
		if (!answer_render(turn, c, &turn->places[i].job,
				   part->closes && i + 1 == end,
				   &turn->access[i]))
			return false;
	if (part->wants_continue) {
		if (!answer_make_room(turn, c, go_on.n))
			return false;
		memcpy(turn->out + turn->out_len, go_on.p, go_on.n);
		turn->out_len += go_on.n;
	}
	return answer_send(turn, c);
}

/* Empty lines before a request do not start its deadline. */
static bool answer_is_blank(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != '\r' && bytes[i] != '\n')
			return false;
	return true;
}

/* The state of a connection by the input that is left. */
static enum conn_state answer_rest(const struct part *part)
{
	if (part->waits)
		return part->waits;
	if (answer_is_blank(part->input + part->used, part->len - part->used))
		return CONN_IDLE;
	return part->progress.head ? CONN_BODY : CONN_HEAD;
}

/* Keeps the input that is left and moves the connection to its next state. */
static void answer_reap(struct turn *turn, const struct part *part)
{
	struct conn *c = part->conn;
	size_t rest = part->len - part->used;
	/* conn_keep may free the input. */
	enum conn_state state = part->closes ? CONN_SEND : answer_rest(part);

	c->in_turn = false;
	c->closing = part->closes;
	if (part->closes) {
		c->lingering |= rest > 0 || part->may_have_more || turn->ends;
		rest = 0;
	}
	if (conn_keep(turn->pool, c, part->input + part->used, rest,
		      &part->progress) < 0)
		conn_close(turn->pool, c);
	else
		conn_settle(turn->pool, c, state, part->jobs > 0);
}

static void answer_end_turn(struct turn *turn)
{
	if (turn->settings->access_log)
		access_flush();
	for (size_t i = 0; i < turn->slots_len; i++)
		turn->slots[turn->taken[i]] = 0;
	turn->parts_len = turn->len = turn->tallies_len = 0;
	turn->items_len = turn->new_items_len = 0;
	turn->arena_used = turn->texts_used = turn->slots_len = 0;
	turn->pings = false;
	turn->change = NULL;
	reason_reset();
}

void turn_answer(struct turn *turn)
{
	for (size_t i = 0; i < turn->parts_len; i++)
		if (!answer_part(turn, &turn->parts[i]))
			turn->parts[i].conn = NULL;
	for (size_t i = 0; i < turn->parts_len; i++)
		if (turn->parts[i].conn)
			answer_reap(turn, &turn->parts[i]);
	answer_end_turn(turn);
}

/* The head may be parsed again to learn the method: a refusal of HEAD has no
 * body. */
void turn_refuse(struct turn *turn, struct conn *c, int status, const char *why)
{
	static const struct access nothing;
	const char *fault;
	struct job job;

	if (c->input)
		http_parse(c->input->bytes, c->input->len, &turn->request,
			   &fault);
	site_refuse(&job, c->input ? &turn->request : NULL, status, why);
	c->closing = c->lingering = true;
	turn->out_len = 0;
	if (answer_render(turn, c, &job, true, &nothing) &&
	    answer_send(turn, c))
		conn_settle(turn->pool, c, CONN_IDLE, true);
}

void turn_flush(struct turn *turn, struct conn *c)
{
	if (conn_flush(turn->pool, c) < 0)
		conn_close(turn->pool, c);
	else if (!c->output)
		conn_settle(turn->pool, c, c->input ? CONN_READY : CONN_IDLE,
			    true);
}
