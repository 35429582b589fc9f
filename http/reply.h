/*
 * reply.h - replies to bytes (RFC 9112 4)
 */
#ifndef HTTP_REPLY_H
#define HTTP_REPLY_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>

struct http_reply {
	int status;
	struct slice type; /* media type; empty: no Content-Type */
	struct slice body; /* none with 204 */
	/* Further field lines, each ended by CR LF; what is empty is left out.
	 */
	struct slice common; /* those of all replies of this kind */
	struct slice vary;
	struct slice cache; /* Cache-Control, and whether it was counted */
	struct slice own;   /* of this reply: Allow, Location, Set-Cookie ... */
	bool head;	    /* answers HEAD: all but the body */
	bool close;	    /* says that the connection closes */
	bool keep_alive;    /* confirms it to an HTTP/1.0 client */
};

/* The reason phrase of a status that visitd sends. */
struct slice http_reason(int status);

/* At most how many bytes http_reply_write writes. */
size_t http_reply_bound(const struct http_reply *reply);

/*
 * Writes the whole reply at `out`; gives its length. `date` are the
 * DATE_HTTP_SIZE bytes of the Date field (RFC 9110 6.6.1), which the caller
 * keeps for a second.
 */
size_t http_reply_write(char *out, const struct http_reply *reply,
			const char *date);

#endif
