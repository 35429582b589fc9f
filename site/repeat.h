/*
 * repeat.h - a browser that comes again is not counted again
 *
 * It brings the time of its counted visit along, in a cookie of its own for
 * each counter: nothing about a visitor is kept here, neither address nor id.
 */
#ifndef SITE_REPEAT_H
#define SITE_REPEAT_H

#include "http/parse.h"

#include <stdbool.h>
#include <time.h>

enum { REPEAT_COOKIE_MAX = 160 /* bytes of the field that sets one */ };

/*
 * Whether the request says that its browser was counted by `counter` less than
 * `window` seconds ago. What is no such time, or one that is still to come,
 * says nothing.
 */
bool repeat_is_known(const struct http_request *request, struct slice counter,
		     time_t now, int window);

/* Writes the Set-Cookie field of a visit that was counted `now`; gives its
 * end. */
char *repeat_put_cookie(char *to, struct slice counter, time_t now, int window);

#endif
