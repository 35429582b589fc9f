/*
 * url.h - the parts of a URL that says where a store is (RFC 3986)
 */
#ifndef UTIL_URL_H
#define UTIL_URL_H

#include "util/slice.h"

#include <stddef.h>

/* Texts with a NUL, decoded; NULL where there is none. */
struct url {
	const char *user, *password, *host, *port, *path; /* path: without / */
};

/*
 * Reads "scheme://user:password@host:port/path", of which everything but scheme
 * and host may be missing; a host in brackets is an IPv6 address. The texts are
 * written to `room`, which must have as many bytes as the text and 8 more.
 * Gives NULL, or what is wrong: a phrase.
 */
const char *url_read(const char *text, const char *scheme, char *room,
		     struct url *url);

#endif
