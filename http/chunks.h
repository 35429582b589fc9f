/*
 * chunks.h - chunked bodies (RFC 9112 7.1)
 *
 * Pure: no I/O, no memory of its own.
 */
#ifndef HTTP_CHUNKS_H
#define HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

/* A chunked body while it is read Begins as all zeros. */
struct http_chunks {
	size_t used;	  /* encoded bytes read */
	size_t len;	  /* decoded bytes: they stand at the body's start */
	uint64_t left;	  /* of the chunk at hand */
	size_t section;	  /* bytes of the trailer section so far */
	size_t extension; /* bytes of the extensions so far */
	int state;
};

/*
 * Decodes in place what has come of a chunked body. `body` is where it begins,
 * `have` how many bytes stand there: c->len decoded ones first, then those not
 * decoded before. Gives 1 when the body is complete, 0 when more is needed, or
 * minus the status (400, 413 over HTTP_BODY_MAX, 431 for the trailers). In
 * either case *have is what stands there now: the c->len decoded bytes, then
 * the rest that was not read (after 1: the next request).
 */
int http_dechunk(struct http_chunks *c, char *body, size_t *have);

#endif
