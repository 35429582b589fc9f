/*
 * bytes.h - the lexical elements of HTTP/1.1: runs of bytes of one class, line
 * ends, field lines
 *
 * For parse.c and chunks.c alone. The bytes_read_* calls give 1 when the
 * element was read, 0 when more bytes are needed, or minus the HTTP status.
 */
#ifndef HTTP_BYTES_H
#define HTTP_BYTES_H

#include "http/parse.h"

/* The classes of bytes. */
enum {
	BYTE_TOKEN = 1,	 /* RFC 9110 5.6.2 */
	BYTE_TARGET = 2, /* visible ASCII but for "#" and "\" */
	BYTE_VALUE = 4,	 /* field value: visible, space, tab, 0x80 and up */
	BYTE_HOST = 8,	 /* reg-name of RFC 3986 3.2.2, without the comma */
	BYTE_HEX = 16,
};

extern const unsigned char byte_kinds[256];

static inline bool byte_is(char c, int kind)
{
	return byte_kinds[(unsigned char)c] & kind;
}

/* A reader: the bytes that have not been read, and the error. */
struct bytes {
	const char *p, *end;
	const char *why;
};

static inline int bytes_fail(struct bytes *in, int status, const char *why)
{
	in->why = why;
	return -status;
}

/*
 * Reads a run of bytes of `kind`, up to the first byte of another one, which is
 * left unread. 0: that byte has not arrived, so the run may go on.
 */
static inline int bytes_read_run(struct bytes *in, int kind, struct slice *run)
{
	const char *p = in->p, *end = in->end;

	while (p < end && byte_is(*p, kind))
		p++;
	*run = slice_between(in->p, p);
	in->p = p;
	return p < end;
}

/* Reads CR LF. */
static inline int bytes_read_line_end(struct bytes *in, const char *why)
{
	if (*in->p != '\r')
		return bytes_fail(in, 400, why);
	if (in->end - in->p < 2)
		return 0;
	if (in->p[1] != '\n')
		return bytes_fail(in, 400, "a bare CR");
	in->p += 2;
	return 1;
}

/* name ":" OWS value OWS CRLF */
static inline int bytes_read_field(struct bytes *in, struct http_field *field)
{
	if (!bytes_read_run(in, BYTE_TOKEN, &field->name))
		return 0;
	if (field->name.n == 0 || *in->p != ':')
		return bytes_fail(in, 400, "a bad field name");
	in->p++;
	if (!bytes_read_run(in, BYTE_VALUE, &field->value))
		return 0;
	field->value = slice_trim(field->value);
	return bytes_read_line_end(in, "a control byte in a field");
}

#endif
