/*
 * repeat.h - a browser that returns within REPEAT_WINDOW is not counted again
 *
 * The browser keeps the time of its counted visit, in one cookie for each
 * counter. The server keeps nothing about a visitor, neither address nor id.
 */
#ifndef SITE_REPEAT_H
#define SITE_REPEAT_H

#include "http/parse.h"

#include <stdbool.h>
#include <time.h>

enum { REPEAT_COOKIE_MAX = 160 /* bytes of the field that sets one */ };

/*
 * Whether the request has the cookie of a visit that `counter` counted less
 * than `window` seconds before `now`. A malformed time, or one after `now`, is
 * ignored.
 */
bool repeat_is_known(const struct http_request *request, struct slice counter,
		     time_t now, int window);

/* Writes the Set-Cookie field of a visit that is counted `now`, up to
 * REPEAT_COOKIE_MAX bytes; gives its end. */
char *repeat_put_cookie(char *to, struct slice counter, time_t now, int window);

#endif
