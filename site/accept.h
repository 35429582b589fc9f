/*
 * accept.h - which representation Accept asks for (RFC 9110 12.5.1)
 */
#ifndef SITE_ACCEPT_H
#define SITE_ACCEPT_H

#include "site/site.h"

/* The media types, by enum media. */
extern const struct slice media_types[MEDIA_LEN];

/*
 * The best of the media in the set `offered` (bit 1 << media), by the Accept
 * fields of the request: the highest q, then the more specific range, then the
 * order of the client. Of several under one range it is `first`, or the lowest.
 * Never a refusal: when nothing fits, or there is no Accept, it is `first`.
 */
enum media accept_media(const struct http_request *request, unsigned offered,
			enum media first);

#endif
