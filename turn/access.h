/*
 * access.h - the access log: a line a request on standard output
 */
#ifndef TURN_ACCESS_H
#define TURN_ACCESS_H

#include "http/parse.h"
#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

/* What the log wants to know of a request. */
struct access {
	struct slice line, referer, agent; /* into the request; NULL: none */
};

/* Fills in the fields of a parsed request; only its line of another one. */
void access_note(struct access *access, const struct http_request *request,
		 bool is_parsed);

/*
 * Adds a line for one answered request, `bytes` of body; `fd` is its
 * connection. In the combined format, or as JSON. Bytes of a peer that are not
 * printable ASCII are escaped.
 */
void access_log(const struct access *access, bool json, time_t now, int fd,
		int status, size_t bytes);

/* Writes what was added. To be called at the end of a turn. */
void access_flush(void);

#endif
