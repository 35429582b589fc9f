/* Decoding a chunked body in place, as it arrives. */
#include "http/chunks.h"

#include "http/bytes.h"

/* The next element of a chunked body. */
enum { SIZE, DATA, DATA_END, TRAILER, DONE };

enum {
	CHUNK_LINE_MAX = 4096,	     /* bytes of one size line */
	CHUNK_EXTENSIONS_MAX = 16384 /* of extensions in one body */
};

static struct slice chunks_skip_space(struct slice text)
{
	while (text.n > 0 && (*text.p == ' ' || *text.p == '\t'))
		text = slice_after(text, 1);
	return text;
}

/* Skips a token, or if `may_quote` a quoted string (RFC 9110 5.6.4). False:
 * `text` begins with neither. */
static bool chunks_skip_value(struct slice *text, bool may_quote)
{
	size_t n = 0;

	if (may_quote && text->n > 0 && *text->p == '"') {
		for (n = 1; n < text->n && text->p[n] != '"'; n++)
			n += text->p[n] == '\\';
		if (n++ >= text->n)
			return false;
	} else {
		while (n < text->n && byte_is(text->p[n], BYTE_TOKEN))
			n++;
	}
	*text = slice_after(*text, n);
	return n > 0;
}

/* Whether `text` is *( BWS ";" BWS name [ BWS "=" BWS value ] ), RFC 9112
 * 7.1.1. */
static bool chunks_is_extension(struct slice text)
{
	while (text.n > 0) {
		text = chunks_skip_space(text);
		if (text.n == 0 || *text.p != ';')
			return false;
		text = chunks_skip_space(slice_after(text, 1));
		if (!chunks_skip_value(&text, false))
			return false;
		struct slice rest = chunks_skip_space(text);
		if (rest.n == 0 || *rest.p != '=')
			continue;
		text = chunks_skip_space(slice_after(rest, 1));
		if (!chunks_skip_value(&text, true))
			return false;
	}
	return true;
}

/* chunk-size [chunk-ext] CRLF; extensions are checked and dropped */
static int chunks_read_size(struct bytes *in, struct http_chunks *c)
{
	struct slice digits, extension;
	uint64_t size = 0;

	if (!bytes_read_run(in, BYTE_HEX, &digits))
		return digits.n > 16 ? -400 : 0;
	if (digits.n == 0 || digits.n > 16)
		return -400;
	for (size_t i = 0; i < digits.n; i++)
		size = size * 16 + (uint64_t)ascii_hex_value(digits.p[i]);
	if (!bytes_read_run(in, BYTE_VALUE, &extension))
		return extension.n > CHUNK_LINE_MAX ? -400 : 0;
	if (extension.n > CHUNK_LINE_MAX || !chunks_is_extension(extension))
		return -400;
	int done = bytes_read_line_end(in, "");
	if (done <= 0)
		return done;
	c->extension += extension.n;
	if (c->extension > CHUNK_EXTENSIONS_MAX)
		return -400;
	if (size > HTTP_BODY_MAX - c->len)
		return -413;
	c->left = size;
	c->state = size > 0 ? DATA : TRAILER;
	return 1;
}

static int chunks_read_data(struct bytes *in, struct http_chunks *c, char *body)
{
	size_t n = (size_t)(in->end - in->p);

	if (n > c->left)
		n = (size_t)c->left;
	memmove(body + c->len, in->p, n);
	in->p += n;
	c->len += n;
	c->left -= n;
	if (c->left > 0)
		return 0;
	c->state = DATA_END;
	return 1;
}

static int chunks_read_trailer(struct bytes *in, struct http_chunks *c)
{
	const char *start = in->p;
	struct http_field field;
	int done;

	if (*in->p == '\r') {
		done = bytes_read_line_end(in, "");
		if (done > 0)
			c->state = DONE;
		return done;
	}
	done = bytes_read_field(in, &field);
	size_t n = (size_t)(in->p - start);
	if (c->section + n > HTTP_SECTION_MAX)
		return -431;
	if (done > 0)
		c->section += n;
	return done;
}

static int chunks_read_step(struct bytes *in, struct http_chunks *c, char *body)
{
	int done;

	switch (c->state) {
	case SIZE:
		return chunks_read_size(in, c);
	case DATA:
		return chunks_read_data(in, c, body);
	case DATA_END:
		done = bytes_read_line_end(in, "");
		if (done > 0)
			c->state = SIZE;
		return done;
	default:
		return chunks_read_trailer(in, c);
	}
}

int http_dechunk(struct http_chunks *c, char *body, size_t *have)
{
	struct bytes in = {.p = body + c->len, .end = body + *have};
	int done = 1;

	while (done > 0 && c->state != DONE) {
		const char *start = in.p;

		done = in.p < in.end ? chunks_read_step(&in, c, body) : 0;
		/* An incomplete element is read again from its start when more
		 * bytes have arrived; chunk data is consumed as it comes. */
		if (done == 0 && c->state != DATA)
			in.p = start;
		c->used += (size_t)(in.p - start);
	}
	size_t rest = (size_t)(in.end - in.p);
	memmove(body + c->len, in.p, rest);
	*have = c->len + rest;
	return done < 0 ? done : c->state == DONE;
}
