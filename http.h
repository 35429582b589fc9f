/*
 * http.h - a worker: the loop that reads, commits and answers
 */
#ifndef HTTP_H
#define HTTP_H

#include "turn/balance.h"
#include "util/process.h"
#include "util/settings.h"

/*
 * Serves on `listener` until it is told to end. The store is open in this
 * process, and `balance` entered. `leash` is a pipe whose other end the master
 * holds: at its end of file the master is gone. Ends
 *   - after SIGTERM or SIGINT, or without a master: takes no new connection,
 *     answers what has begun, 10 s at most;
 *   - after SIGHUP, which here means that a successor has begun: the same,
 *     and idle connections stay for 5 s.
 * All signals but SIGALRM are blocked. Gives the exit code of the process.
 */
int http_serve(const struct settings *settings, const struct process *process,
	       int listener, int leash, const struct balance *balance);

#endif
