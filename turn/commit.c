/*
 * Makes the store calls of a turn and puts their results into the jobs. No
 * other file makes the store's counting calls.
 *
 * The order is: the change of a counter, new items, health, reading items, and
 * the visits last. So a client that sets a total or makes an item reads it in
 * the same turn.
 */
#include "turn/turn.h"

#include "util/clock.h"
#include "util/hash.h"

#include <stdio.h>

enum { HEALTH_MS = 1000 /* between two pings */ };

/* The answer to a set shows the total: the job goes on as a read of it. */
static void commit_change(struct job *job)
{
	job->status = job->call == CALL_SET
			      ? store_set(job->counter, job->value)
			      : store_drop(job->counter);
	if (job->status) {
		job->error = store_answer();
	} else if (job->call == CALL_SET) {
		job->call = CALL_ADD;
		job->reason = REASON_READ;
	}
}

/* Puts the results of a call about items into its jobs. */
static void commit_take_items(struct turn *turn, enum site_call call,
			      const struct item *items)
{
	for (size_t i = 0; i < turn->len; i++) {
		struct place *place = &turn->places[i];

		if (place->job.call != call)
			continue;
		const struct item *item = &items[place->at];
		place->job.id = item->id;
		place->job.item = item->json;
		place->job.status = item->status;
		if (item->status)
			place->job.error = item->error;
	}
}

static void commit_new_items(struct turn *turn)
{
	store_items_create(turn->new_items, turn->new_items_len);
	commit_take_items(turn, CALL_CREATE, turn->new_items);
}

/* Jobs that ask for the same item are separate reads. */
static void commit_items(struct turn *turn)
{
	store_items_get(turn->items, turn->items_len);
	commit_take_items(turn, CALL_ITEM, turn->items);
}

/* A ping costs the store a visit: one a second, whoever asks. */
static void commit_ask_health(struct health *health)
{
	int64_t now = clock_ms();

	if (now < health->until)
		return;
	health->status = store_ping();
	health->until = now + HEALTH_MS;
	snprintf(health->error, sizeof(health->error), "%s",
		 health->status ? store_told() : "");
}

static void commit_pings(struct turn *turn)
{
	struct health *health = &turn->health;

	commit_ask_health(health);

	for (size_t i = 0; i < turn->len; i++) {
		struct job *job = &turn->places[i].job;

		if (job->call == CALL_PING) {
			job->status = health->status;
			job->error = health->error;
		}
	}
}

/* Adds tally `i` to the hash table unless its counter has a tally there. Gives
 * the index of the counter's tally. */
static size_t commit_hash_tally(struct turn *turn, struct slice counter,
				size_t i)
{
	size_t slot = hash_name(counter) & (TURN_SLOTS - 1);

	while (turn->slots[slot]) {
		size_t other = turn->slots[slot] - 1u;

		if (slice_equal(turn->tallies[other].counter, counter))
			return other;
		slot = (slot + 1) & (TURN_SLOTS - 1);
	}
	turn->slots[slot] = (uint16_t)(i + 1);
	turn->taken[turn->slots_len++] = (uint16_t)slot;
	return i;
}

/*
 * Finds or adds the tally of a counter. Most turns are about one counter: names
 * are hashed when there is a second one.
 */
static size_t commit_find_tally(struct turn *turn, struct slice counter)
{
	size_t len = turn->tallies_len;

	if (len > 0) {
		if (slice_equal(turn->tallies[len - 1].counter, counter))
			return len - 1;
		if (len == 1)
			commit_hash_tally(turn, turn->tallies[0].counter, 0);
		size_t i = commit_hash_tally(turn, counter, len);
		if (i < len)
			return i;
	}
	turn->tallies[len] = (struct tally){.counter = counter};
	return turn->tallies_len++;
}

/* Counts the visits of the turn by counter, in the order of arrival. A total
 * that was set in this turn was set before all of them. */
static void commit_tally_up(struct turn *turn)
{
	for (size_t i = 0; i < turn->len; i++) {
		struct place *place = &turn->places[i];

		if (place->job.call != CALL_ADD)
			continue;
		place->at = commit_find_tally(turn, place->job.counter);
		struct tally *tally = &turn->tallies[place->at];
		tally->n += place->job.reason == REASON_COUNTED;
		place->visits = &place->job == turn->change ? 0 : tally->n;
	}
}

/*
 * Whether a job that is not counted finds no counter: the counter does not
 * exist, or this turn made it and the job came before its first visit, or there
 * was no room for it (507), or the store cannot hold its name (400).
 */
static bool commit_finds_none(const struct tally *tally,
			      const struct place *place)
{
	if (place->job.reason == REASON_COUNTED)
		return false;
	if (tally->status)
		return tally->status == 404 || tally->status == 507 ||
		       tally->status == 400;
	return tally->is_new && place->visits == 0;
}

static void commit_settle(const struct tally *tally, struct place *place)
{
	struct job *job = &place->job;
	int64_t later = tally->n - place->visits;

	if (commit_finds_none(tally, place)) {
		site_unknown(job);
		return;
	}
	job->status = tally->status;
	if (tally->status) {
		job->error = tally->error;
		return;
	}
	job->total = tally->total - later;
	job->today = tally->today > later ? tally->today - later : 0;
}

/* What became of a visit is newer than an answer to a ping that says something
 * else. */
static void commit_compare_health(struct health *health,
				  const struct tally *tally)
{
	if (tally->n > 0 && store_is_home(tally->counter) &&
	    (tally->status != 0) != (health->status != 0))
		health->until = 0;
}

void turn_commit(struct turn *turn)
{
	if (turn->change)
		commit_change(turn->change);
	if (turn->new_items_len > 0)
		commit_new_items(turn);
	commit_tally_up(turn);
	if (turn->pings)
		commit_pings(turn);
	if (turn->items_len > 0)
		commit_items(turn);
	if (turn->tallies_len == 0)
		return;
	store_add(turn->tallies, turn->tallies_len);
	for (size_t i = 0; turn->health.until && i < turn->tallies_len; i++)
		commit_compare_health(&turn->health, &turn->tallies[i]);
	for (size_t i = 0; i < turn->len; i++) {
		struct place *place = &turn->places[i];

		if (place->job.call == CALL_ADD)
			commit_settle(&turn->tallies[place->at], place);
	}
}
