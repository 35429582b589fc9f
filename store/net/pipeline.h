/*
 * pipeline.h - commands for Redis, and the nodes that they go to
 *
 * A call adds its commands and runs them: one round trip, whatever their
 * number. A Redis Cluster is followed: a command goes to the node that has its
 * key's slot, as far as is known, and is sent again to the node that a MOVED or
 * ASK reply names: such a reply says that it was not carried out. Each node has
 * a breaker of its own, so that a node that is down fails its own slots only.
 */
#ifndef STORE_NET_PIPELINE_H
#define STORE_NET_PIPELINE_H

#include "store/failure.h"
#include "store/net/resp.h"
#include "util/settings.h"
#include "util/slice.h"

#include <stddef.h>

/* Gives 0, or 503 with fail(). The settings must outlive it. After 503, calls
 * may be made all the same. */
int pipeline_open(const struct settings *settings);
void pipeline_close(void);

/* The results of store_watch and store_tick. */
int pipeline_watch(void);
int pipeline_tick(void);

/*
 * Begins a call and its deadline, and frees the commands and replies of the
 * call before. Gives 0, or 503 with fail(): nothing is known of the server yet
 * and it cannot be asked.
 */
int pipeline_begin(void);

/* Adds a command, which is copied, and gives its number. `key` is the first of
 * its keys. */
size_t pipeline_add(struct slice key, size_t argc, const struct slice *argv);

/* Sends the commands that were added since the last run, and waits for their
 * replies until the deadline of the call. */
void pipeline_run(void);

/*
 * The reply to a command that was run; valid until the next pipeline_begin.
 * NULL: none came, but the command may have been carried out. pipeline_why then
 * says why, and pipeline_fault of which kind; the text lives as long as the
 * turn.
 */
const redisReply *pipeline_reply(size_t command);
const char *pipeline_why(size_t command);
enum fault pipeline_fault(size_t command);

/* The name, for messages, of the server that a command was sent to. */
const char *pipeline_name(size_t command);

/* The settings that it was opened with. */
const struct settings *pipeline_settings(void);

/* The server that the settings name. */
struct resp *pipeline_server(void);

/* Whether that is part of a Cluster, as far as is known. */
bool pipeline_is_cluster(void);

/* Whether the breaker of any node is open. */
bool pipeline_is_hurt(void);

/* A number that increases with each new connection. */
unsigned pipeline_generation(void);

#endif
