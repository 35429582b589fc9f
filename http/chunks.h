/*
 * chunks.h - chunked bodies (RFC 9112 7.1)
 *
 * Pure: no I/O, no memory of its own.
 */
#ifndef HTTP_CHUNKS_H
#define HTTP_CHUNKS_H

#include <stddef.h>
#include <stdint.h>

/* The state of a chunked body while it is decoded; zeros at first. */
struct http_chunks {
	size_t used;	  /* encoded bytes read */
	size_t len;	  /* decoded bytes: they stand at the body's start */
	uint64_t left;	  /* of the chunk at hand */
	size_t section;	  /* bytes of the trailer section so far */
	size_t extension; /* bytes of the extensions so far */
	int state;
};

/*
 * Decodes in place the part of a chunked body that has arrived. At `body` are
 * *have bytes: c->len decoded ones, then encoded ones. Gives 1 when the body is
 * complete, 0 when more is needed, or minus the HTTP status (400; 413: over
 * HTTP_BODY_MAX; 431: the trailer section). *have is then the number of bytes
 * at `body`: the c->len decoded ones, then those that were not consumed (after
 * 1: the next request).
 */
int http_dechunk(struct http_chunks *c, char *body, size_t *have);

#endif
