/*
 * A turn of the loop is a transaction: wake, read every request that has
 * arrived, commit all their visits in one store_add, and only then answer.
 * While the worker waits for the disk, the next batch gathers in the sockets:
 * the more load, the larger the batch, the cheaper a durable visit.
 *
 * 1. No reply that shows a total leaves before the commit of its turn.
 * 2. A counter's k-th visitor of a turn gets total-n+k; a read sees the visits
 *    before it: what one client sees never goes back.
 * 3. An ordinary request costs one recv and one send. Everything else is paid
 *    once a turn. No memory is taken on its path: requests are parsed where
 *    they were received, in the turn's arena.
 * 4. Whatever a peer does, what the worker holds is bounded: ARENA_SIZE and
 *    CONN_BUFFERED_MAX, PARTS_MAX and JOBS_MAX, TURN_OUT_MAX for a connection.
 */
#include "http.h"

#include "turn/access.h"
#include "turn/conn.h"
#include "http/parse.h"
#include "http/reply.h"
#include "turn/balance.h"
#include "site/site.h"
#include "store/store.h"
#include "util/clock.h"
#include "util/log.h"
#include "util/reason.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	RECV_SIZE = 16384,    /* bytes received from a connection in a turn */
	ARENA_SIZE = 4 << 20, /* bytes received in a turn */
	PARTS_MAX = 1024,     /* connections in a turn */
	JOBS_MAX = 4096,      /* requests in a turn */
	ACCEPT_MAX = 64,      /* connections accepted in a turn */
	TURN_OUT_MAX = 61440, /* expected bytes of replies, a connection */
	REPLY_MAX = STORE_ITEM_JSON_MAX + 1024, /* bytes of any one reply */
	RETIRE_MS = 10000,     /* the life of a worker that ends */
	RETIRE_IDLE_MS = 5000, /* of idle connections, with a successor */
	STOP_IDLE_MS = 1000,   /* and without: time for a request under way */
	MODEST_MS = 1,	       /* a worker with too many leaves the listener */
	PAUSE_TOLD_MS = 10000, /* between two lines of the log about it */
	PAUSE_MS = 100, /* until the next try to accept, out of descriptors */
	TALLY_SLOTS = 2 * JOBS_MAX, /* a power of two */
};

/* A connection's part of a turn. */
struct part {
	struct conn *conn;
	char *input;	    /* in the arena, or the connection's own */
	size_t len;	    /* bytes of it */
	size_t used;	    /* bytes of whole requests, all of them jobs */
	size_t first, jobs; /* its jobs */
	size_t out;	    /* bytes that their replies are expected to have */
	struct progress progress; /* of the request at input + used */
	bool is_ready;		  /* that one could be a job at once */
	bool wants_continue;
	bool may_have_more; /* in the socket */
	bool closes;	    /* after its last job */
};

/* A job and its place among the visits of its counter. */
struct place {
	struct job job;
	size_t tally;	/* or the number of the item */
	int64_t visits; /* of the counter in this turn, up to this job */
};

struct turn {
	struct part parts[PARTS_MAX];
	size_t parts_len;
	struct place places[JOBS_MAX];
	struct access access[JOBS_MAX];	 /* touched only with an access log */
	char rooms[JOBS_MAX][SITE_ROOM]; /* and these only by escapes */
	size_t len;
	struct tally tallies[JOBS_MAX];
	size_t tallies_len;
	uint16_t slots[TALLY_SLOTS]; /* hash of a name -> its tally, plus one */
	uint16_t taken[JOBS_MAX];    /* the slot of each tally */
	size_t arena_used;
	struct item items[STORE_ITEMS_MAX];
	size_t items_len;
	bool pings;	    /* somebody asks for the store's health */
	struct job *change; /* the one that changes the store, or NULL */
	char arena[ARENA_SIZE];
};

enum told { TOLD_NOTHING, TOLD_SUCCEEDED, TOLD_STOP };

struct worker {
	const struct settings *settings;
	int epoll, listener, leash, signals;
	const struct balance *balance;
	bool accepts;	      /* the listener is in epoll */
	bool has_accepted;    /* in this turn */
	int64_t modest_until; /* it is not, for others hold less */
	int64_t pause_until;  /* it is not, for want of descriptors */
	int64_t pause_told;   /* when the log said so */
	enum told told;	      /* to end: by a successor's start, or for good */
	int64_t retire_at;    /* 0: serving; else when the process ends */
	int64_t idle_until;   /* retiring: idle connections are closed then */
	struct conn_pool pool;
	struct turn *turn;
	struct moment moment;
	struct http_request request;
	size_t out_len;
	char out[TURN_OUT_MAX + REPLY_MAX];
	char scratch[SITE_SCRATCH];
};

/* What epoll says of descriptors that are no connections. */
static char listener_mark, leash_mark, signals_mark, store_mark;

static void tell_time(struct worker *w)
{
	time_t now = time(NULL);

	w->pool.now = clock_ms();
	if (now == w->moment.now)
		return;
	w->moment.now = now;
	date_write_http(w->moment.date, now);
	date_write_local(w->moment.local, now);
}

/*
 * Accepting
 */

static int watch(struct worker *w, int fd, uint32_t events, void *mark)
{
	struct epoll_event event = {.events = events, .data.ptr = mark};

	return epoll_ctl(w->epoll, EPOLL_CTL_ADD, fd, &event);
}

static void start_accepting(struct worker *w)
{
	if (w->accepts || w->retire_at)
		return;
	w->accepts = watch(w, w->listener, EPOLLIN | EPOLLEXCLUSIVE,
			   &listener_mark) == 0 ||
		     errno == EEXIST; /* it could not be taken out */
	w->modest_until = 0;
	w->pause_until = w->accepts ? 0 : w->pool.now + PAUSE_MS;
}

static void stop_accepting(struct worker *w)
{
	if (w->accepts)
		epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->listener, NULL);
	w->accepts = false;
}

/* Out of descriptors, memory or connections: until one closes, or a moment
 * later, since others may be the ones who let go. */
static void pause_accepting(struct worker *w, const char *why)
{
	if (w->pool.now >= w->pause_told + PAUSE_TOLD_MS) {
		log_warn("not accepting for now: %s", why);
		w->pause_told = w->pool.now;
	}
	stop_accepting(w);
	w->pause_until = w->pool.now + PAUSE_MS;
	w->pool.has_closed = false;
}

/* The two rules of balance.h, once in a turn that accepted. */
static void share_listener(struct worker *w)
{
	bool over = balance_is_over(w->balance, w->pool.open, w->pool.now);

	if (w->has_accepted && w->accepts && !balance_is_alone(w->balance)) {
		stop_accepting(w);
		w->modest_until = w->pool.now + MODEST_MS;
	}
	w->has_accepted = false;
	if (w->modest_until && (!over || w->pool.now >= w->modest_until))
		start_accepting(w);
}

static void read_conn(struct worker *w, struct conn *c);

static bool accept_one(struct worker *w)
{
	int fd = accept4(w->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS)
			pause_accepting(w, strerror(errno));
		/* Of the others, ECONNABORTED and the network's errors concern
		 * that one connection (accept(2)). */
		return errno == ECONNABORTED || errno == EINTR ||
		       errno == EPROTO;
	}
	struct conn *c = conn_open(&w->pool, fd);
	w->has_accepted = true;
	/* Its request has often come with it: that saves a turn, and for a
	 * connection of one request the registration, too. */
	read_conn(w, c);
	if (c->state != CONN_FREE && !c->in_turn)
		conn_register(&w->pool, c);
	return true;
}

static void accept_some(struct worker *w, int max)
{
	for (int i = 0; i < max; i++) {
		if (conn_is_full(&w->pool)) {
			pause_accepting(w, "MAX_CONNECTIONS are open");
			return;
		}
		/* The first is always taken: nobody else was woken for it. */
		if (i > 0 &&
		    balance_is_over(w->balance, w->pool.open, w->pool.now))
			return;
		if (w->turn->parts_len == PARTS_MAX || !accept_one(w))
			return;
	}
}

/*
 * Reading
 */

static struct place *add_place(struct turn *turn, struct part *part)
{
	part->jobs++;
	return &turn->places[turn->len++];
}

static void note_access(struct worker *w, bool is_parsed)
{
	if (w->settings->access_log)
		access_note(&w->turn->access[w->turn->len - 1], &w->request,
			    is_parsed);
}

/* What cannot be read further: answered, and nothing after it is read. */
static void refuse_part(struct worker *w, struct part *part,
			const struct job *job, bool is_parsed)
{
	add_place(w->turn, part)->job = *job;
	note_access(w, is_parsed);
	part->closes = true;
	part->conn->lingering = true;
}

/* The room of a job that is not added yet is that of the next one: whatever
 * becomes of it, nobody else uses it until then. */
static void route(struct worker *w, struct job *job)
{
	site_route(&w->request, w->moment.now, job,
		   w->turn->rooms[w->turn->len]);
}

/* The head of the request at hand: > 0 its bytes, 0 more is needed, < 0 it is
 * refused. */
static ssize_t read_head(struct worker *w, struct part *part)
{
	struct progress *progress = &part->progress;
	const char *buf = part->input + part->used;
	size_t len = part->len - part->used;
	const char *why;
	struct job job;

	/* A head that comes in drops is not parsed again for each of them, but
	 * for each line; and near a limit. */
	if (progress->scanned && !progress->head && len <= HTTP_LINE_MAX &&
	    !memchr(buf + progress->scanned, '\n', len - progress->scanned)) {
		progress->scanned = len;
		return 0;
	}
	ssize_t n = http_parse(buf, len, &w->request, &why);
	if (n == 0)
		progress->scanned = len;
	if (n < 0) {
		site_refuse(&job, &w->request, (int)-n, why);
		refuse_part(w, part, &job, false);
	}
	return n;
}

/* A body has not wholly come: 100 Continue, or the refusal that makes it
 * needless. < 0: refused; 0: it is waited for. */
static int await_body(struct worker *w, struct part *part)
{
	const struct http_request *request = &w->request;
	struct progress *progress = &part->progress;
	struct job job;

	route(w, &job);
	bool needless = request->expects_continue || request->expects_unknown ||
			request->content_length > HTTP_BODY_MAX;
	if (job.status && needless && !progress->continued) {
		refuse_part(w, part, &job, true);
		return -1;
	}
	if (request->expects_continue && !progress->continued)
		progress->continued = part->wants_continue = true;
	return 0;
}

/* A body over the limit is told after what is wrong with the head, but for its
 * media type. */
static void refuse_chunks(struct worker *w, struct part *part, int status)
{
	struct job job;

	route(w, &job);
	if (!job.status || job.status == 415 || status == 400)
		site_refuse(&job, &w->request, status,
			    "a bad or too long chunked body");
	refuse_part(w, part, &job, true);
}

/* The body of the request at hand: 1 it is there, 0 more is needed, < 0 it is
 * refused. A chunked one is decoded in its place. */
static int read_body(struct worker *w, struct part *part)
{
	struct progress *progress = &part->progress;
	char *body = part->input + part->used + progress->head;
	size_t have = part->len - part->used - progress->head;

	if (!w->request.chunked) {
		size_t length = (size_t)w->request.content_length;

		progress->whole = progress->head + length;
		return have >= length ? 1 : await_body(w, part);
	}
	int done = http_dechunk(&progress->chunks, body, &have);
	part->len = part->used + progress->head + have;
	if (done < 0) {
		refuse_chunks(w, part, -done);
		return -1;
	}
	if (done == 0)
		return await_body(w, part);
	progress->whole = progress->head + progress->chunks.len;
	return 1;
}

/* Puts a job down for the turn's store calls; false: they cannot take it. */
static bool book_call(struct turn *turn, const struct part *part,
		      struct place *place)
{
	switch (place->job.call) {
	case CALL_PING:
		turn->pings = true;
		return true;
	case CALL_CHANGE:
		/* It is made before the turn's reads, so it waits until those
		 * that its client sent before it are answered. */
		if (turn->change || part->jobs > 0)
			return false;
		turn->change = &place->job;
		return true;
	case CALL_ITEM:
		if (turn->items_len == STORE_ITEMS_MAX)
			return false;
		turn->items[turn->items_len] =
			(struct item){.id = place->job.id};
		place->tally = turn->items_len++;
		return true;
	default:
		return true;
	}
}

/* Makes a job of the request at hand, or false: of what is there none can be
 * made (any more). */
static bool take_request(struct worker *w, struct part *part)
{
	struct progress *progress = &part->progress;
	size_t len = part->len - part->used;

	if (len == 0 || len < progress->whole)
		return false;
	ssize_t n = read_head(w, part);
	if (n <= 0)
		return false;
	progress->head = (size_t)n;
	if (read_body(w, part) <= 0)
		return false;
	struct place *place = &w->turn->places[w->turn->len];
	struct job *job = &place->job;
	route(w, job);
	if (!book_call(w->turn, part, place)) {
		part->is_ready = true;
		return false;
	}
	job->body = (struct slice){part->input + part->used + progress->head,
				   progress->whole - progress->head};
	add_place(w->turn, part);
	note_access(w, true);
	part->used += progress->whole;
	part->out += job->size;
	part->closes = !job->keep_alive || w->retire_at;
	*progress = (struct progress){.scanned = 0};
	return true;
}

static void take_requests(struct worker *w, struct part *part)
{
	while (!part->closes) {
		if (w->turn->len == JOBS_MAX || part->out >= TURN_OUT_MAX) {
			part->is_ready = part->used < part->len;
			return;
		}
		if (!take_request(w, part))
			return;
	}
}

static struct part *begin_part(struct worker *w, struct conn *c)
{
	struct turn *turn = w->turn;
	struct part *part = &turn->parts[turn->parts_len++];

	*part = (struct part){.conn = c, .first = turn->len};
	c->in_turn = true;
	return part;
}

/* Takes up what the connection kept. */
static void take_kept(struct worker *w, struct conn *c, bool may_have_more)
{
	struct part *part = begin_part(w, c);

	part->may_have_more = may_have_more;
	part->input = c->input->bytes;
	part->len = c->input->len;
	part->progress = c->input->progress;
	take_requests(w, part);
}

static bool is_turn_full(const struct turn *turn)
{
	return turn->parts_len == PARTS_MAX || turn->len == JOBS_MAX ||
	       ARENA_SIZE - turn->arena_used < RECV_SIZE;
}

static void read_conn(struct worker *w, struct conn *c)
{
	struct turn *turn = w->turn;
	char *room = turn->arena + turn->arena_used;

	/* What is not read now is announced again: epoll is level-triggered. */
	if (c->in_turn || c->state == CONN_READY || is_turn_full(turn))
		return;
	ssize_t n = recv(c->fd, room, RECV_SIZE, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) { /* gone, or an end in the middle of a request */
		conn_close(&w->pool, c);
		return;
	}
	if (c->input) {
		if (conn_append(&w->pool, c, room, (size_t)n) < 0)
			conn_close(&w->pool, c);
		else
			take_kept(w, c, n == RECV_SIZE);
		return;
	}
	turn->arena_used += (size_t)n;
	struct part *part = begin_part(w, c);
	part->input = room;
	part->len = (size_t)n;
	part->may_have_more = n == RECV_SIZE;
	take_requests(w, part);
}

/* Those with whole requests left over from the last turn. */
static void take_ready(struct worker *w)
{
	struct conn *c = w->pool.lists[CONN_READY].first;

	for (; c && !is_turn_full(w->turn); c = c->next)
		take_kept(w, c, true);
}

/*
 * Committing
 */

static size_t hash(struct slice name)
{
	uint32_t h = 2166136261; /* FNV-1a */

	for (size_t i = 0; i < name.n; i++)
		h = (h ^ (unsigned char)name.p[i]) * 16777619;
	return h;
}

/* The tally of a counter in this turn; a new one is empty. */
static size_t find_tally(struct turn *turn, struct slice counter)
{
	size_t slot = hash(counter) & (TALLY_SLOTS - 1);

	while (turn->slots[slot]) {
		size_t i = turn->slots[slot] - 1u;

		if (slice_equal(turn->tallies[i].counter, counter))
			return i;
		slot = (slot + 1) & (TALLY_SLOTS - 1);
	}
	turn->slots[slot] = (uint16_t)(turn->tallies_len + 1);
	turn->taken[turn->tallies_len] = (uint16_t)slot;
	turn->tallies[turn->tallies_len] = (struct tally){.counter = counter};
	return turn->tallies_len++;
}

/* Counts the turn's visits by counter, in the order of their arrival; but a
 * total that was set in this turn was set before all of them. */
static void tally_up(struct turn *turn)
{
	for (size_t i = 0; i < turn->len; i++) {
		struct place *place = &turn->places[i];

		if (place->job.call != CALL_ADD)
			continue;
		place->tally = find_tally(turn, place->job.counter);
		struct tally *tally = &turn->tallies[place->tally];
		tally->n += place->job.reason == REASON_COUNTED;
		place->visits = &place->job == turn->change ? 0 : tally->n;
	}
}

/*
 * Whether a job that is not counted finds no counter: it came before the first
 * visit there was, or there was none, or (507) no room for one.
 */
static bool finds_none(const struct tally *tally, const struct place *place)
{
	if (place->job.reason == REASON_COUNTED)
		return false;
	if (tally->status)
		return tally->status == 404 || tally->status == 507;
	return tally->is_new && place->visits == 0;
}

static void settle_place(struct turn *turn, struct place *place)
{
	const struct tally *tally = &turn->tallies[place->tally];
	int64_t later = tally->n - place->visits;

	if (finds_none(tally, place)) {
		site_unknown(&place->job);
		return;
	}
	place->job.status = tally->status;
	if (tally->status) {
		place->job.error = tally->error;
		return;
	}
	place->job.total = tally->total - later;
	place->job.today = tally->today > later ? tally->today - later : 0;
}

static void settle_pings(struct turn *turn)
{
	int status = store_ping();

	for (size_t i = 0; i < turn->len; i++) {
		struct job *job = &turn->places[i].job;

		if (job->call == CALL_PING) {
			job->status = status;
			job->error =
				status ? site_keep_error(store_error()) : "";
		}
	}
}

/* An item that several ask for is read for each. */
static void settle_items(struct turn *turn)
{
	store_items_get(turn->items, turn->items_len);
	for (size_t i = 0; i < turn->len; i++) {
		struct place *place = &turn->places[i];

		if (place->job.call != CALL_ITEM)
			continue;
		const struct item *item = &turn->items[place->tally];
		place->job.status = item->status;
		if (item->status)
			place->job.error = item->error;
		place->job.item = item->json;
	}
}

/* Why a call failed is known until the next call: the adds, whose texts are
 * not copied, come last. */
static void commit(struct turn *turn)
{
	if (turn->change)
		site_change(turn->change);
	tally_up(turn);
	if (turn->pings)
		settle_pings(turn);
	if (turn->items_len > 0)
		settle_items(turn);
	if (turn->tallies_len == 0)
		return;
	store_add(turn->tallies, turn->tallies_len);
	for (size_t i = 0; i < turn->len; i++)
		if (turn->places[i].job.call == CALL_ADD)
			settle_place(turn, &turn->places[i]);
}

/*
 * Answering
 */

/* Sends what is in w->out. False: the connection is closed. */
static bool send_out(struct worker *w, struct conn *c)
{
	size_t len = w->out_len;

	w->out_len = 0;
	if (len == 0 || conn_send(&w->pool, c, w->out, len) == 0)
		return true;
	conn_close(&w->pool, c);
	return false;
}

/* Appends the reply to w->out. */
static bool render(struct worker *w, struct conn *c, const struct job *job,
		   bool closes, const struct access *access)
{
	struct http_reply reply;

	site_answer(job, &w->moment, &reply, w->scratch);
	reply.close = closes;
	reply.keep_alive = job->minor == 0;
	if (http_reply_bound(&reply) > sizeof(w->out) - w->out_len &&
	    !send_out(w, c))
		return false;
	w->out_len +=
		http_reply_write(w->out + w->out_len, &reply, w->moment.date);
	if (access)
		access_log(access, w->settings->log_json, w->moment.now, c->fd,
			   reply.status, reply.head ? 0 : reply.body.n);
	return true;
}

static void answer_part(struct worker *w, struct part *part)
{
	static const struct slice go_on =
		SLICE_INIT("HTTP/1.1 100 Continue\r\n\r\n");
	struct turn *turn = w->turn;
	struct conn *c = part->conn;
	size_t end = part->first + part->jobs;

	for (size_t i = part->first; i < end; i++) {
		bool closes = part->closes && i + 1 == end;

		if (!render(w, c, &turn->places[i].job, closes,
			    w->settings->access_log ? &turn->access[i]
						    : NULL)) {
			part->conn = NULL;
			return;
		}
	}
	if (part->wants_continue && sizeof(w->out) - w->out_len < go_on.n &&
	    !send_out(w, c)) {
		part->conn = NULL;
		return;
	}
	if (part->wants_continue) {
		memcpy(w->out + w->out_len, go_on.p, go_on.n);
		w->out_len += go_on.n;
	}
	if (!send_out(w, c))
		part->conn = NULL;
}

/* A reply of its own, outside of a turn; the connection ends. What has come of
 * the request is read once more: a refusal of HEAD has no body. */
static void refuse_conn(struct worker *w, struct conn *c, int status,
			const char *why)
{
	static const struct access nothing;
	struct job job;

	const char *fault;
	if (c->input)
		http_parse(c->input->bytes, c->input->len, &w->request, &fault);
	site_refuse(&job, c->input ? &w->request : NULL, status, why);
	c->closing = c->lingering = true;
	w->out_len = 0;
	if (!render(w, c, &job, true,
		    w->settings->access_log ? &nothing : NULL) ||
	    !send_out(w, c))
		return;
	if (!c->output) {
		conn_finish(&w->pool, c);
		return;
	}
	conn_move(&w->pool, c, CONN_SEND);
	conn_register(&w->pool, c);
}

/*
 * Reaping
 */

/* Empty lines before a request are not the beginning of one. */
static bool is_blank(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != '\r' && bytes[i] != '\n')
			return false;
	return true;
}

static enum conn_state state_of(const struct part *part)
{
	const char *rest = part->input + part->used;
	size_t len = part->len - part->used;

	if (part->conn->output)
		return CONN_SEND;
	if (part->is_ready)
		return CONN_READY;
	if (is_blank(rest, len))
		return CONN_IDLE;
	return part->progress.head ? CONN_BODY : CONN_HEAD;
}

/* What a connection is after its part of the turn. */
static void reap_part(struct worker *w, struct part *part)
{
	struct conn *c = part->conn;
	size_t rest = part->len - part->used;

	c->in_turn = false;
	c->closing = part->closes;
	if (part->closes) {
		c->lingering |= rest > 0 || part->may_have_more || w->retire_at;
		rest = 0;
	}
	if (conn_keep(&w->pool, c, part->input + part->used, rest,
		      &part->progress) < 0) {
		conn_close(&w->pool, c);
		return;
	}
	if (part->closes && !c->output) {
		conn_finish(&w->pool, c);
		return;
	}
	enum conn_state state = part->closes ? CONN_SEND : state_of(part);
	/* A half request's deadline runs on, whatever has come of it. */
	if (state != c->state || part->jobs > 0)
		conn_move(&w->pool, c, state);
	conn_register(&w->pool, c);
}

static void reap_parts(struct worker *w)
{
	struct turn *turn = w->turn;

	for (size_t i = 0; i < turn->parts_len; i++)
		if (turn->parts[i].conn)
			reap_part(w, &turn->parts[i]);
	if (w->settings->access_log)
		access_flush();
	for (size_t i = 0; i < turn->tallies_len; i++)
		turn->slots[turn->taken[i]] = 0;
	reason_reset();
	turn->parts_len = turn->len = turn->tallies_len = 0;
	turn->arena_used = turn->items_len = 0;
	turn->pings = false;
	turn->change = NULL;
}

static void expire(struct worker *w, struct conn *c)
{
	if (c->state == CONN_HEAD)
		refuse_conn(w, c, 408, "the head did not come within 10 s");
	else if (c->state == CONN_BODY)
		refuse_conn(w, c, 408, "the body did not come within 30 s");
	else
		conn_close(&w->pool, c);
}

static void keep_bounds(struct worker *w)
{
	struct conn *c;

	while ((c = conn_expired(&w->pool)))
		expire(w, c);
	while (w->pool.buffered > CONN_BUFFERED_MAX &&
	       (c = conn_oldest(&w->pool))) {
		if (c->state == CONN_SEND)
			conn_close(&w->pool, c);
		else
			refuse_conn(w, c, 503,
				    "too many half requests are waiting");
	}
}

/*
 * Ending
 */

static void close_idle(struct worker *w, int64_t idle_before)
{
	struct conn *c;

	while ((c = w->pool.lists[CONN_IDLE].first) &&
	       conn_idle_since(c) < idle_before)
		conn_close(&w->pool, c);
}

/* At the end of the turn in which the worker was told. */
static void retire(struct worker *w)
{
	bool succeeded = w->told == TOLD_SUCCEEDED;
	int64_t now = w->pool.now;

	stop_accepting(w);
	balance_leave(w->balance, w->balance->own);
	close(w->listener);
	epoll_ctl(w->epoll, EPOLL_CTL_DEL, w->leash, NULL);
	w->retire_at = now + RETIRE_MS;
	w->idle_until = now + (succeeded ? RETIRE_IDLE_MS : STOP_IDLE_MS);
	if (!succeeded)
		close_idle(w, now - STOP_IDLE_MS);
}

static void take_signal(struct worker *w)
{
	struct signalfd_siginfo info;

	if (read(w->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo != SIGHUP)
		w->told = TOLD_STOP;
	else if (!w->told)
		w->told = TOLD_SUCCEEDED;
}

static bool is_over(const struct worker *w)
{
	return w->retire_at &&
	       (w->pool.open == 0 || w->pool.now >= w->retire_at);
}

/*
 * The loop
 */

static void take_event(struct worker *w, struct conn *c)
{
	switch (c->state) {
	case CONN_FREE: /* closed in this turn */
		return;
	case CONN_LINGER:
		conn_drain(&w->pool, c);
		return;
	case CONN_SEND:
		break;
	default:
		read_conn(w, c);
		return;
	}
	if (conn_flush(&w->pool, c) < 0) {
		conn_close(&w->pool, c);
	} else if (!c->output && c->closing) {
		conn_finish(&w->pool, c);
	} else if (!c->output) {
		conn_move(&w->pool, c, c->input ? CONN_READY : CONN_IDLE);
		conn_register(&w->pool, c);
	}
}

static void take_events(struct worker *w, const struct epoll_event *events,
			int n)
{
	bool may_accept = false;

	for (int i = 0; i < n; i++) {
		void *mark = events[i].data.ptr;

		if (mark == &listener_mark)
			may_accept = true;
		else if (mark == &leash_mark)
			w->told = TOLD_STOP;
		else if (mark == &signals_mark)
			take_signal(w);
		else if (mark != &store_mark) /* that is for store_tick */
			take_event(w, mark);
	}
	/* Whoever is connected already when the worker is told to stop gets an
	 * answer: nobody else would give it. */
	if (w->accepts && w->told == TOLD_STOP)
		accept_some(w, PARTS_MAX);
	else if (may_accept && w->accepts)
		accept_some(w, ACCEPT_MAX);
}

static int wait_time(const struct worker *w, int tick)
{
	int64_t next = conn_next_deadline(&w->pool);
	int64_t now = w->pool.now;

	if (w->pool.lists[CONN_READY].first)
		return 0;
	if (tick >= 0 && now + tick < next)
		next = now + tick;
	if (w->pause_until && w->pause_until < next)
		next = w->pause_until;
	if (w->modest_until && w->modest_until < next)
		next = w->modest_until;
	if (w->retire_at && w->retire_at < next)
		next = w->retire_at;
	if (w->idle_until && w->idle_until < next)
		next = w->idle_until;
	if (next == INT64_MAX)
		return -1;
	return next <= now ? 0 : next - now > 60000 ? 60000 : (int)(next - now);
}

static void do_due(struct worker *w)
{
	keep_bounds(w);
	if (w->told && !w->retire_at)
		retire(w);
	if (w->idle_until && w->pool.now >= w->idle_until) {
		w->idle_until = 0;
		close_idle(w, INT64_MAX);
	}
	if (w->pause_until &&
	    (w->pool.has_closed || w->pool.now >= w->pause_until))
		start_accepting(w);
	share_listener(w);
	conn_end_turn(&w->pool);
}

static void serve(struct worker *w)
{
	static struct epoll_event events[512];
	int tick = -1;

	while (!is_over(w)) {
		int timeout = wait_time(w, tick);

		balance_tell(w->balance, w->pool.open, 0);
		int n = epoll_wait(w->epoll, events, 512, timeout);
		tell_time(w);
		balance_tell(w->balance, w->pool.open, w->pool.now);
		take_ready(w);
		take_events(w, events, n);
		commit(w->turn);
		for (size_t i = 0; i < w->turn->parts_len; i++)
			answer_part(w, &w->turn->parts[i]);
		reap_parts(w);
		do_due(w);
		tick = store_tick();
	}
}

static int open_worker(struct worker *w)
{
	size_t size = (size_t)w->settings->max_connections;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	w->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->turn = mmap(NULL, sizeof(*w->turn), PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (w->signals < 0 || w->epoll < 0 || w->turn == MAP_FAILED ||
	    conn_pool_open(&w->pool, size, w->epoll) < 0 ||
	    watch(w, w->signals, EPOLLIN, &signals_mark) < 0 ||
	    watch(w, w->leash, EPOLLIN, &leash_mark) < 0 ||
	    (store_watch() >= 0 &&
	     watch(w, store_watch(), EPOLLIN, &store_mark) < 0))
		return -1;
	site_open(w->settings);
	tell_time(w);
	start_accepting(w);
	return 0;
}

int http_serve(const struct settings *settings, int listener, int leash,
	       const struct balance *balance)
{
	static struct worker worker;

	worker.settings = settings;
	worker.listener = listener;
	worker.leash = leash;
	worker.balance = balance;
	if (open_worker(&worker) < 0) {
		log_error("a worker cannot start:");
		return EXIT_SYSTEM;
	}
	serve(&worker);
	return EXIT_DONE;
}
