/*
 * run.h - the processes: a master that listens and supervises, and its workers
 */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include "util/settings.h"

#include <stdbool.h>

/* Blocks the signals that the master and its workers wait for, and ignores
 * those that should not end them. The first thing in a server: as PID 1 it
 * would lose them, else it would die of them. */
void run_block_signals(void);

/*
 * Listens on settings->bind and port. Gives the socket, or dies with
 * EXIT_SYSTEM.
 */
int run_listen(const struct settings *settings);

/* How many workers: WORKERS, or the CPUs that affinity and the cgroup's quota
 * leave to this process. At least 1. */
int run_workers(const struct settings *settings);

/*
 * Raises the soft limit of descriptors; where the hard one is too low for
 * MAX_CONNECTIONS, lowers that and says so.
 */
void run_raise_limits(struct settings *settings);

/* Remembers who owns DATA_DIR now: workers that start while it is away become
 * that user, too. */
void run_remember_owner(const struct settings *settings);

/*
 * As root: becomes the owner of DATA_DIR for good, or, when that is root, drops
 * every capability. Gives 0, or -1 with a log line. `warn`: say that it stays
 * root.
 */
int run_drop_privileges(const struct settings *settings, bool warn);

/*
 * Prepares the store in this process, and remembers the owner of DATA_DIR; then
 * looks at the store in a process of its own, as a worker would see it. Dies
 * with the store's exit code if it cannot be used.
 */
void run_look_at_store(const struct settings *settings);

/*
 * Forks the workers and keeps them alive until SIGTERM or SIGINT; reads the
 * secrets of the settings again with SIGHUP. Gives the exit code.
 */
int run_master(struct settings *settings, int listener);

/* One of the commands in the table of command.c; gives the exit code. Dies
 * with EXIT_USAGE for another one. */
int run_command(const struct settings *settings, int argc, char **argv);

/* In check.c: whether a visit would count, without any change. */
int run_check(const struct settings *settings, int argc, char **argv);

/* In transfer.c: a line a counter on stdout, and from stdin. */
int run_export(const struct settings *settings, int argc, char **argv);
int run_import(const struct settings *settings, int argc, char **argv);

/* Opens the store for a command, as a worker would see it; dies if it cannot be
 * used. */
void run_open_store(const struct settings *settings);

#endif
