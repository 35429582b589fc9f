/*
 * parse.h - bytes to requests (RFC 9112)
 *
 * Pure: no I/O, no memory of its own. A request's slices point into the bytes
 * it was parsed from and are valid as long as these stay where they are: until
 * its reply is rendered.
 */
#ifndef HTTP_PARSE_H
#define HTTP_PARSE_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
	HTTP_LINE_MAX = 8192, /* bytes of a request line, its end left out */
	HTTP_SECTION_MAX = 16384, /* bytes of a header or trailer section */
	HTTP_FIELDS_MAX = 100,
	HTTP_BODY_MAX = 65536,
	HTTP_EMPTY_LINES_MAX = 4, /* before a request (RFC 9112 2.2) */
};

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_POST,
	HTTP_PUT,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_PATCH,
	HTTP_METHODS, /* how many are known */
};

extern const struct slice http_method_names[HTTP_METHODS];

struct http_field {
	struct slice name, value; /* the value without the space around it */
};

struct http_request {
	enum http_method method;
	int minor;	    /* 0 for HTTP/1.0, 1 for 1.1 and later */
	struct slice line;  /* the request line, without its end */
	struct slice path;  /* as sent, escapes and all; or "*" */
	struct slice query; /* what follows "?", or empty */
	bool keep_alive;
	bool chunked;
	int64_t content_length; /* 0 without one */
	bool expects_continue;
	bool expects_unknown;  /* 417 */
	uint64_t name_lengths; /* bit n: a name has n bytes, modulo 64 */
	size_t fields_len;
	struct http_field fields[HTTP_FIELDS_MAX];
};

/*
 * Parses the head of a request, from its first byte to the end of the empty
 * line, out of `buf` of `len` bytes. Gives
 *   > 0  the bytes used; *r is filled
 *   0    the head is not complete; what is there is no error so far
 *   < 0  minus the HTTP status: 400, 414, 431, 501 (method or transfer coding)
 *        or 505. Nothing after these bytes can be trusted: answer and close.
 *        r->line is what there is of the request line, and *why says in one
 *        static phrase what is wrong.
 */
ssize_t http_parse(const char *buf, size_t len, struct http_request *r,
		   const char **why);

/*
 * The next field called `name` (lower or upper case alike) from field *at on,
 * which then stands behind it; NULL when there is no further one.
 */
const struct http_field *http_field_next(const struct http_request *r,
					 struct slice name, size_t *at);

/* The first field called `name`: its value, or an empty slice (p is NULL). */
struct slice http_field_value(const struct http_request *r, struct slice name);

/*
 * Takes the next element off a comma-separated list, without the space around
 * it (RFC 9110 5.6.1). False at its end. Empty elements are skipped.
 */
bool http_list_next(struct slice *list, struct slice *element);

#endif
