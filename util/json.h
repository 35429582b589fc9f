/*
 * json.h - JSON texts, read and written (RFC 8259)
 */
#ifndef UTIL_JSON_H
#define UTIL_JSON_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>

enum {
	JSON_TEXT_MAX = 65536, /* bytes that are read */
	JSON_DEPTH_MAX = 64,   /* arrays and objects in each other */
};

enum json_kind {
	JSON_MISSING, /* the member was not there */
	JSON_NULL,
	JSON_BOOL,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* A member that is looked for. */
struct json_member {
	struct slice name;   /* in: decoded */
	enum json_kind kind; /* out */
	struct slice value;  /* out: a string decoded, in the buffer; else as
			      * it was written, in the text */
};

/*
 * Reads `text`, JSON_TEXT_MAX bytes at most, which has to be one object and
 * nothing else, and fills in the `len` members that are looked for; others are
 * ignored. Strings are decoded into `buffer`, of at least text.n bytes. The
 * grammar is strict; a text that is no valid UTF-8, begins with a byte order
 * mark, has a lone surrogate, a name twice, or is nested deeper than
 * JSON_DEPTH_MAX is refused. A number of any size is taken as it is written.
 *
 * Gives NULL, or a static phrase that says what is wrong; *fault_at is then the
 * offset of the byte.
 */
const char *json_read_object(struct slice text, struct json_member *members,
			     size_t len, char *buffer, size_t *fault_at);

/*
 * Writes `text` as a JSON string, quotes included, at `out`: at most
 * 6 * text.n + 2 bytes. Control bytes, the quote and the backslash are escaped;
 * a byte that is no part of valid UTF-8 becomes U+FFFD. Gives the length.
 */
size_t json_write_string(char *out, struct slice text);

#endif
