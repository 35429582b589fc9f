/*
 * Strict where a difference in reading could be used to smuggle a request
 * (RFC 9112 11.2), tolerant where the RFC asks for it. The first thing wrong
 * in the order of the bytes decides between errors of syntax; a version or
 * method that is not ours is said only of a head that is otherwise in order.
 */
#include "http/parse.h"

#include "util/number.h"

#include <arpa/inet.h>
#include <netinet/in.h>

const struct slice http_method_names[HTTP_METHODS] = {
	[HTTP_GET] = {"GET", 3},       [HTTP_HEAD] = {"HEAD", 4},
	[HTTP_POST] = {"POST", 4},     [HTTP_PUT] = {"PUT", 3},
	[HTTP_DELETE] = {"DELETE", 6}, [HTTP_OPTIONS] = {"OPTIONS", 7},
	[HTTP_PATCH] = {"PATCH", 5},
};

/* What a byte may be part of. */
enum {
	TOKEN = 1,  /* RFC 9110 5.6.2 */
	TARGET = 2, /* visible ASCII but for "#" and "\" */
	VALUE = 4,  /* field value: visible, space, tab, 0x80 and up */
	HOST = 8,   /* reg-name of RFC 3986 3.2.2, without the comma */
	HEX = 16,
};

#define ALPHA  (TOKEN | TARGET | VALUE | HOST)
#define A_TO_F (ALPHA | HEX)
#define MARK   (TARGET | VALUE)

#define X4(c)  c, c, c, c
#define X16(c) X4(c), X4(c), X4(c), X4(c)

/* clang-format off */
static const unsigned char class[256] = {
	/* 00 */ 0, 0, 0, 0, 0, 0, 0, 0, 0, VALUE /* tab */, 0, 0, 0, 0, 0, 0,
	/* 10 */ X16(0),
	/*  !"# */ VALUE, ALPHA, MARK, TOKEN | VALUE,
	/* $%&' */ X4(ALPHA),
	/* ()*+ */ MARK | HOST, MARK | HOST, ALPHA, ALPHA,
	/* ,-./ */ MARK, ALPHA, ALPHA, MARK,
	/* 0-7 */ X4(A_TO_F), X4(A_TO_F),
	/* 89:; */ A_TO_F, A_TO_F, MARK, MARK | HOST,
	/* <=>? */ MARK, MARK | HOST, MARK, MARK,
	/* @A-G */ MARK, X4(A_TO_F), A_TO_F, A_TO_F, ALPHA,
	/* H-W */ X16(ALPHA),
	/* XYZ[ */ ALPHA, ALPHA, ALPHA, MARK,
	/* \]^_ */ VALUE, MARK, TOKEN | MARK, ALPHA,
	/* `a-g */ TOKEN | MARK, X4(A_TO_F), A_TO_F, A_TO_F, ALPHA,
	/* h-w */ X16(ALPHA),
	/* xyz{ */ ALPHA, ALPHA, ALPHA, MARK,
	/* |}~  */ TOKEN | MARK, MARK, ALPHA, 0,
	/* 80 */ X16(VALUE), X16(VALUE), X16(VALUE), X16(VALUE),
	/* c0 */ X16(VALUE), X16(VALUE), X16(VALUE), X16(VALUE),
};
/* clang-format on */

static inline bool is(char c, int kind)
{
	return class[(unsigned char)c] & kind;
}

/* The bytes at hand, and how far they have been read. */
struct reader {
	const char *p, *end;
	const char *why;
};

static int fail(struct reader *in, int status, const char *why)
{
	in->why = why;
	return -status;
}

/*
 * Reads bytes of `kind` up to the first other one, which is left. 0 when that
 * other one has not come yet: whether the run ends here is not known.
 */
static int read_run(struct reader *in, int kind, struct slice *run)
{
	const char *start = in->p;

	while (in->p < in->end && is(*in->p, kind))
		in->p++;
	*run = (struct slice){start, (size_t)(in->p - start)};
	return in->p < in->end;
}

/* Reads CR LF. */
static int read_line_end(struct reader *in, const char *why)
{
	if (*in->p != '\r')
		return fail(in, 400, why);
	if (in->end - in->p < 2)
		return 0;
	if (in->p[1] != '\n')
		return fail(in, 400, "a bare CR");
	in->p += 2;
	return 1;
}

static int skip_empty_lines(struct reader *in)
{
	for (int lines = 0; in->p < in->end && *in->p == '\r'; lines++) {
		if (lines == HTTP_EMPTY_LINES_MAX)
			return fail(in, 400, "empty lines before the request");
		int done = read_line_end(in, "");
		if (done <= 0)
			return done;
	}
	return in->p < in->end;
}

static enum http_method find_method(struct slice name)
{
	for (int i = 0; i < HTTP_METHODS; i++)
		if (slice_equal(name, http_method_names[i]))
			return (enum http_method)i;
	return HTTP_METHODS;
}

/* "[::1]" at the start of `text`: its length, or 0. What RFC 3986 keeps for
 * future versions of IP, nobody has. */
static size_t ip_literal_length(struct slice text)
{
	unsigned char address[sizeof(struct in6_addr)];
	char literal[INET6_ADDRSTRLEN];
	size_t n = 1;

	while (n < text.n && text.p[n] != ']')
		n++;
	if (n == text.n || n > sizeof(literal))
		return 0;
	memcpy(literal, text.p + 1, n - 1);
	literal[n - 1] = '\0';
	return inet_pton(AF_INET6, literal, address) == 1 ? n + 1 : 0;
}

/* host [":" [port]], RFC 9110 7.2 and RFC 3986 3.2 */
static bool is_authority(struct slice text)
{
	const char *p = text.p, *end = text.p + text.n;

	if (p < end && *p == '[') {
		p += ip_literal_length(text);
		if (p == text.p)
			return false;
	} else {
		while (p < end && is(*p, HOST)) {
			if (*p == '%' &&
			    (end - p < 3 || !is(p[1], HEX) || !is(p[2], HEX)))
				return false;
			p++;
		}
		if (p == text.p)
			return false;
	}
	if (p == end)
		return true;
	if (*p++ != ':')
		return false;
	int64_t port = 0;
	struct slice digits = {p, (size_t)(end - p)};
	return digits.n == 0 || (number_read(digits, &port) && port <= 65535);
}

/* Escapes in the path are whole; none anywhere means NUL, CR or LF. */
static const char *check_escapes(struct slice path, struct slice target)
{
	const char *end = target.p + target.n;
	const char *path_end = path.p + path.n;
	const char *p = target.p;

	while ((p = memchr(p, '%', (size_t)(end - p)))) {
		bool whole = end - p >= 3 && is(p[1], HEX) && is(p[2], HEX);

		if (!whole && p >= path.p && p < path_end)
			return "a bad escape in the path";
		if (whole) {
			int byte = ascii_hex_value(p[1]) * 16 +
				   ascii_hex_value(p[2]);

			if (byte == 0 || byte == '\r' || byte == '\n')
				return "an escaped control byte in the target";
		}
		p++;
	}
	return NULL;
}

/* "http://" or "https://" in any case: its length, or 0 */
static size_t scheme_length(struct slice target)
{
	static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};

	for (int i = 0; i < 2; i++) {
		size_t n = schemes[i].n;

		if (target.n >= n &&
		    slice_same_word((struct slice){target.p, n}, schemes[i]))
			return n;
	}
	return 0;
}

/* How many bytes of `text` come before the first one out of `stops`. */
static size_t span_until(struct slice text, const char *stops)
{
	size_t n = 0;

	while (n < text.n && !strchr(stops, text.p[n]))
		n++;
	return n;
}

/* Splits the target into path and query (RFC 9112 3.2). */
static int read_target(struct reader *in, struct slice target,
		       struct http_request *r)
{
	size_t scheme = scheme_length(target);
	struct slice rest = target;

	if (r->method == HTTP_METHODS) { /* CONNECT's is an authority */
		r->path = target;
		return 1;
	}
	if (slice_equal(target, SLICE("*"))) {
		if (r->method != HTTP_OPTIONS)
			return fail(in, 400, "the target * is for OPTIONS");
		r->path = target;
		return 1;
	}
	if (scheme) {
		struct slice authority = slice_after(target, scheme);

		authority.n = span_until(authority, "/?");
		if (!is_authority(authority))
			return fail(in, 400, "a bad authority in the target");
		rest = slice_after(target, scheme + authority.n);
	} else if (target.p[0] != '/') {
		return fail(in, 400, "the target does not begin with /");
	}
	r->path = (struct slice){rest.p, span_until(rest, "?")};
	if (r->path.n < rest.n)
		r->query = slice_after(rest, r->path.n + 1);
	const char *why = check_escapes(r->path, target);
	if (why)
		return fail(in, 400, why);
	if (r->path.n == 0) /* RFC 9112 3.2.4, RFC 3986 6.2.3 */
		r->path = r->method == HTTP_OPTIONS && !r->query.p ? SLICE("*")
								   : SLICE("/");
	return 1;
}

/* HTTP/1.1: one digit each. *major and r->minor are as sent. */
static int read_version(struct reader *in, struct http_request *r, int *major)
{
	static const char form[] = "HTTP/";
	size_t have = (size_t)(in->end - in->p);

	for (size_t i = 0; i < have && i < 8; i++) {
		bool good = i < 5    ? in->p[i] == form[i]
			    : i == 6 ? in->p[i] == '.'
				     : in->p[i] >= '0' && in->p[i] <= '9';
		if (!good)
			return fail(in, 400, "a bad HTTP version");
	}
	if (have <= 8)
		return 0;
	*major = in->p[5] - '0';
	r->minor = in->p[7] - '0';
	in->p += 8;
	return read_line_end(in, "a bad HTTP version");
}

/* method SP target SP version CRLF */
static int read_line(struct reader *in, struct http_request *r, int *major)
{
	struct slice method, target;
	int more;

	more = read_run(in, TOKEN, &method);
	if (!more)
		return 0;
	if (method.n == 0 || *in->p != ' ')
		return fail(in, 400, "a bad method");
	r->method = find_method(method); /* a refusal of HEAD has no body */
	in->p++;
	more = read_run(in, TARGET, &target);
	if (!more)
		return 0;
	if (*in->p == '\r')
		return fail(in, 400, "no HTTP version in the request line");
	if (target.n == 0 || *in->p != ' ')
		return fail(in, 400, "a bad byte in the target");
	in->p++;
	more = read_version(in, r, major);
	return more > 0 ? read_target(in, target, r) : more;
}

/* name ":" OWS value OWS CRLF */
static int read_field(struct reader *in, struct http_field *field)
{
	if (!read_run(in, TOKEN, &field->name))
		return 0;
	if (field->name.n == 0 || *in->p != ':')
		return fail(in, 400, "a bad field name");
	in->p++;
	if (!read_run(in, VALUE, &field->value))
		return 0;
	field->value = slice_trim(field->value);
	return read_line_end(in, "a control byte in a field");
}

/* The header section and the empty line behind it. */
static int read_fields(struct reader *in, struct http_request *r)
{
	for (;;) {
		if (in->p == in->end)
			return 0;
		if (*in->p == '\r')
			return read_line_end(in, "");
		if (r->fields_len == HTTP_FIELDS_MAX)
			return fail(in, 431, "more than 100 header fields");
		int done = read_field(in, &r->fields[r->fields_len]);
		if (done <= 0)
			return done;
		r->fields_len++;
	}
}

bool http_list_next(struct slice *list, struct slice *element)
{
	while (list->n > 0) {
		*element = slice_take(list, ',');
		if (element->n > 0)
			return true;
	}
	return false;
}

/* What the fields say about the message itself, gathered while reading. */
struct framing {
	int hosts, lengths, codings;
	bool close, keep_alive;
	bool unknown_coding;
};

static int use_host(struct reader *in, struct http_request *r,
		    struct framing *f, struct slice value)
{
	(void)r;
	if (f->hosts++ > 0)
		return fail(in, 400, "more than one Host");
	if (!is_authority(value))
		return fail(in, 400, "a bad Host");
	return 1;
}

static int use_connection(struct reader *in, struct http_request *r,
			  struct framing *f, struct slice value)
{
	struct slice option;

	(void)in;
	(void)r;
	while (http_list_next(&value, &option)) {
		f->close |= slice_same_word(option, SLICE("close"));
		f->keep_alive |= slice_same_word(option, SLICE("keep-alive"));
	}
	return 1;
}

static int use_length(struct reader *in, struct http_request *r,
		      struct framing *f, struct slice value)
{
	if (f->lengths++ > 0)
		return fail(in, 400, "more than one Content-Length");
	if (!number_read(value, &r->content_length))
		return fail(in, 400, "a bad Content-Length");
	return 1;
}

/* Nothing but one "chunked" is understood (RFC 9112 6.1). */
static int use_coding(struct reader *in, struct http_request *r,
		      struct framing *f, struct slice value)
{
	struct slice coding;

	if (f->codings++ > 0)
		return fail(in, 400, "more than one Transfer-Encoding");
	while (http_list_next(&value, &coding)) {
		if (r->chunked)
			return fail(in, 400, "a coding after chunked");
		if (slice_same_word(coding, SLICE("chunked")))
			r->chunked = true;
		else
			f->unknown_coding = true;
	}
	if (!r->chunked && !f->unknown_coding)
		return fail(in, 400, "an empty Transfer-Encoding");
	return 1;
}

static int use_expect(struct reader *in, struct http_request *r,
		      struct framing *f, struct slice value)
{
	struct slice expectation;

	(void)in;
	(void)f;
	while (http_list_next(&value, &expectation)) {
		if (slice_same_word(expectation, SLICE("100-continue")))
			r->expects_continue = true;
		else
			r->expects_unknown = true;
	}
	return 1;
}

/* To heed another field here: a row, and a function like those above. */
static const struct use {
	struct slice name;
	int (*use)(struct reader *in, struct http_request *r, struct framing *f,
		   struct slice value);
} uses[] = {
	{{"host", 4}, use_host},
	{{"connection", 10}, use_connection},
	{{"content-length", 14}, use_length},
	{{"transfer-encoding", 17}, use_coding},
	{{"expect", 6}, use_expect},
};

static int use_field(struct reader *in, struct http_request *r,
		     struct framing *f, const struct http_field *field)
{
	for (size_t i = 0; i < sizeof(uses) / sizeof(*uses); i++)
		if (slice_same_word(field->name, uses[i].name))
			return uses[i].use(in, r, f, field->value);
	return 1;
}

static int check_framing(struct reader *in, struct http_request *r, int major)
{
	struct framing f = {0};

	for (size_t i = 0; i < r->fields_len; i++) {
		int done = use_field(in, r, &f, &r->fields[i]);

		if (done < 0)
			return done;
	}
	bool old = major == 1 && r->minor == 0;
	if (major == 1 && !old && f.hosts == 0)
		return fail(in, 400, "no Host");
	if (f.codings && f.lengths)
		return fail(in, 400, "Content-Length with Transfer-Encoding");
	if (f.codings && old)
		return fail(in, 400, "Transfer-Encoding in HTTP/1.0");
	if (major != 1)
		return fail(in, 505, "this server speaks HTTP/1.1");
	if (f.unknown_coding)
		return fail(in, 501, "no transfer coding but chunked is known");
	if (r->method == HTTP_METHODS)
		return fail(in, 501, "this method is not known");
	if (old)
		r->expects_continue = r->expects_unknown = false;
	else
		r->minor = 1;
	r->keep_alive = !f.close && (r->minor == 1 || f.keep_alive);
	return 1;
}

/* Whether what has been read, or waits without an end, is over its limit. */
static int check_size(struct reader *in, const char *start, size_t max,
		      int status, const char *why)
{
	return (size_t)(in->p - start) > max ? fail(in, status, why) : 0;
}

static int read_head(struct reader *in, struct http_request *r)
{
	int major = 1, done, over;

	done = skip_empty_lines(in);
	if (done <= 0)
		return done;
	const char *line = in->p;
	done = read_line(in, r, &major);
	/* The line's end is two bytes; one that has not come yet, none. */
	over = check_size(in, line, HTTP_LINE_MAX + (done > 0 ? 2 : 0), 414,
			  "the request line is over 8192 bytes");
	size_t ended = done > 0 ? 2 : 0;
	r->line = (struct slice){line, (size_t)(in->p - line) - ended};
	if (over < 0 || done <= 0)
		return over < 0 ? over : done;
	const char *section = in->p;
	done = read_fields(in, r);
	over = check_size(in, section, HTTP_SECTION_MAX + (done > 0 ? 2 : 0),
			  431, "the header section is over 16384 bytes");
	if (over < 0 || done <= 0)
		return over < 0 ? over : done;
	return check_framing(in, r, major);
}

ssize_t http_parse(const char *buf, size_t len, struct http_request *r,
		   const char **why)
{
	struct reader in = {.p = buf, .end = buf + len};

	/* All but the fields, which fields_len bounds: clearing 3 KiB for
	 * every request would cost more than parsing a short one. */
	memset(r, 0, offsetof(struct http_request, fields));
	int done = read_head(&in, r);
	*why = in.why;
	return done > 0 ? in.p - buf : done;
}

const struct http_field *http_field_next(const struct http_request *r,
					 struct slice name, size_t *at)
{
	while (*at < r->fields_len) {
		const struct http_field *field = &r->fields[(*at)++];

		if (slice_same_word(field->name, name))
			return field;
	}
	return NULL;
}

struct slice http_field_value(const struct http_request *r, struct slice name)
{
	size_t at = 0;
	const struct http_field *field = http_field_next(r, name, &at);

	return field ? field->value : (struct slice){NULL, 0};
}

/* The states of a chunked body; the resting one is zero. */
enum { SIZE, DATA, DATA_END, TRAILER, DONE };

enum {
	CHUNK_LINE_MAX = 4096,	     /* bytes of one size line */
	CHUNK_EXTENSIONS_MAX = 16384 /* of all of them, beyond their digits */
};

static struct slice skip_space(struct slice text)
{
	while (text.n > 0 && (*text.p == ' ' || *text.p == '\t'))
		text = slice_after(text, 1);
	return text;
}

/* What is behind a token, or behind a quoted string (RFC 9110 5.6.4): false
 * when `text` begins with neither. */
static bool skip_value(struct slice *text, bool may_quote)
{
	size_t n = 0;

	if (may_quote && text->n > 0 && *text->p == '"') {
		for (n = 1; n < text->n && text->p[n] != '"'; n++)
			n += text->p[n] == '\\';
		if (n++ >= text->n)
			return false;
	} else {
		while (n < text->n && is(text->p[n], TOKEN))
			n++;
	}
	*text = slice_after(*text, n);
	return n > 0;
}

/* *( BWS ";" BWS name [ BWS "=" BWS value ] ), RFC 9112 7.1.1; read only to
 * know that it is one. */
static bool is_extension(struct slice text)
{
	while (text.n > 0) {
		text = skip_space(text);
		if (text.n == 0 || *text.p != ';')
			return false;
		text = skip_space(slice_after(text, 1));
		if (!skip_value(&text, false))
			return false;
		struct slice rest = skip_space(text);
		if (rest.n == 0 || *rest.p != '=')
			continue;
		text = skip_space(slice_after(rest, 1));
		if (!skip_value(&text, true))
			return false;
	}
	return true;
}

/* chunk-size [chunk-ext] CRLF; extensions are read and dropped */
static int read_chunk_size(struct reader *in, struct http_chunks *c)
{
	struct slice digits, extension;
	uint64_t size = 0;

	if (!read_run(in, HEX, &digits))
		return digits.n > 16 ? -400 : 0;
	if (digits.n == 0 || digits.n > 16)
		return -400;
	for (size_t i = 0; i < digits.n; i++)
		size = size * 16 + (uint64_t)ascii_hex_value(digits.p[i]);
	if (!read_run(in, VALUE, &extension))
		return extension.n > CHUNK_LINE_MAX ? -400 : 0;
	if (extension.n > CHUNK_LINE_MAX || !is_extension(extension))
		return -400;
	int done = read_line_end(in, "");
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

static int read_chunk_data(struct reader *in, struct http_chunks *c, char *body)
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

static int read_trailer(struct reader *in, struct http_chunks *c)
{
	const char *start = in->p;
	struct http_field field;
	int done;

	if (*in->p == '\r') {
		done = read_line_end(in, "");
		if (done > 0)
			c->state = DONE;
		return done;
	}
	done = read_field(in, &field);
	size_t n = (size_t)(in->p - start);
	if (c->section + n > HTTP_SECTION_MAX)
		return -431;
	if (done > 0)
		c->section += n;
	return done;
}

static int read_chunk_step(struct reader *in, struct http_chunks *c, char *body)
{
	int done;

	switch (c->state) {
	case SIZE:
		return read_chunk_size(in, c);
	case DATA:
		return read_chunk_data(in, c, body);
	case DATA_END:
		done = read_line_end(in, "");
		if (done > 0)
			c->state = SIZE;
		return done;
	default:
		return read_trailer(in, c);
	}
}

int http_dechunk(struct http_chunks *c, char *body, size_t *have)
{
	struct reader in = {.p = body + c->len, .end = body + *have};
	int done = 1;

	while (done > 0 && c->state != DONE) {
		const char *start = in.p;

		done = in.p < in.end ? read_chunk_step(&in, c, body) : 0;
		/* A step that wants more begins anew when more has come; only
		 * chunk data is used up to the last byte. */
		if (done == 0 && c->state != DATA)
			in.p = start;
		c->used += (size_t)(in.p - start);
	}
	size_t rest = (size_t)(in.end - in.p);
	memmove(body + c->len, in.p, rest);
	*have = c->len + rest;
	return done < 0 ? done : c->state == DONE;
}
