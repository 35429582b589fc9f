/*
 * pipeline.h - commands for Redis, and where they go
 *
 * A call adds its commands and runs them: one round trip, whatever their
 * number. A Redis Cluster is followed: a command goes to the node that has its
 * key's slot, as far as is known, and again to the one that the reply names
 * (MOVED, ASK): such a reply says that it was not carried out. Each node has a
 * breaker of its own, so that one that is gone takes only its own slots away.
 */
#ifndef STORE_NET_PIPELINE_H
#define STORE_NET_PIPELINE_H

#include "store/net/resp.h"
#include "util/settings.h"
#include "util/slice.h"

#include <stddef.h>

/* 0, or 503 with fail(). The settings must outlive it. */
int pipeline_open(const struct settings *settings);
void pipeline_close(void);

/* What store_watch and store_tick give. */
int pipeline_watch(void);
int pipeline_tick(void);

/*
 * Begins a call and its deadline; the commands and replies of the one before
 * are gone. Gives 0, or 503 with fail() when nothing is known of the server yet
 * and it cannot be asked.
 */
int pipeline_begin(void);

/* Adds a command, and gives its number. `key` is the first of its keys. */
size_t pipeline_add(struct slice key, size_t argc, const struct slice *argv);

/* Sends those that were added since the last run, and waits for their replies,
 * to the deadline of the call. */
void pipeline_run(void);

/* The reply to a command that was run, or NULL: none came, and why is told by
 * pipeline_why. It may have been carried out all the same. */
const redisReply *pipeline_reply(size_t command);
const char *pipeline_why(size_t command);

/* The name, for people, of the server that a command went to. */
const char *pipeline_name(size_t command);

/* What it was opened with. */
const struct settings *pipeline_settings(void);

/* Of the server that the settings name. */
struct resp *pipeline_server(void);

/* Whether it is part of a Cluster, as far as is known. */
bool pipeline_is_cluster(void);

/* Whether the breaker of any node is open. */
bool pipeline_is_hurt(void);

/* A number that changes with each new connection. */
unsigned pipeline_generation(void);

#endif
