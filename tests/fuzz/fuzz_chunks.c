/*
 * http_dechunk: the same bytes, rest and status however the body comes; and
 * what it decodes is what a decoder of ten lines does.
 */
#include "http/chunks.h"
#include "http/parse.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

enum { BYTE_BY_BYTE = 512 /* bytes up to which every cut is made */ };

static struct fuzz_text text;

struct result {
	int status;
	size_t len;  /* decoded */
	size_t used; /* encoded */
	char *body;
};

/* A body that grows as the pieces come, each time in a new block. */
struct growing {
	char *body;
	size_t have;
	size_t came; /* bytes of the text */
};

static void grow(struct growing *g, size_t upto)
{
	size_t n = upto - g->came;
	char *body = malloc(g->have + n);

	must(body || g->have + n == 0);
	if (g->have > 0)
		memcpy(body, g->body, g->have);
	if (n > 0)
		memcpy(body + g->have, text.bytes + g->came, n);
	free(g->body);
	g->body = body;
	g->have += n;
	g->came = upto;
}

/* The bytes not read are those of the text that were not used. */
static void check_rest(const struct http_chunks *c, const struct growing *g)
{
	must(c->used <= g->came && c->len <= c->used);
	must(g->have == c->len + (g->came - c->used));
	must(g->have == c->len || memcmp(g->body + c->len, text.bytes + c->used,
					 g->have - c->len) == 0);
}

static struct result decode(const size_t *splits, size_t splits_len)
{
	struct http_chunks c = {0};
	struct growing g = {NULL, 0, 0};
	int status = 0;

	for (size_t i = 0; i <= splits_len && status == 0; i++) {
		grow(&g, i < splits_len ? splits[i] : text.len);
		status = http_dechunk(&c, g.body, &g.have);
		must(status == 0 || status == 1 || status == -400 ||
		     status == -413 || status == -431);
		must(c.len <= HTTP_BODY_MAX && c.len <= g.have);
		if (status >= 0)
			check_rest(&c, &g);
	}
	return (struct result){status, c.len, c.used, g.body};
}

static void check_same(const struct result *a, struct result b)
{
	must(a->status == b.status);
	if (a->status >= 0) {
		must(a->len == b.len && a->used == b.used);
		must(a->len == 0 || memcmp(a->body, b.body, a->len) == 0);
	}
	free(b.body);
}

static size_t line_end(size_t at)
{
	const char *end = memmem(text.bytes + at, text.len - at, "\r\n", 2);

	must(end);
	return (size_t)(end - text.bytes) + 2;
}

/* Decodes again what was found to be whole. */
static void check_body(const struct result *result)
{
	size_t at = 0, len = 0, extensions = 0;

	for (;;) {
		char *end;
		size_t size = strtoul(text.bytes + at, &end, 16);
		size_t next = line_end(at);

		must(fuzz_is_in(text.bytes[at], "0123456789abcdefABCDEF"));
		must(fuzz_is_in(*end, "\r; \t"));
		must(!memchr(text.bytes + at, '\0', next - at));
		extensions += (size_t)(text.bytes + next - 2 - end);
		at = next;
		if (size == 0)
			break;
		must(size <= result->len - len);
		must(memcmp(result->body + len, text.bytes + at, size) == 0);
		len += size;
		at += size;
		must(memcmp(text.bytes + at, "\r\n", 2) == 0);
		at += 2;
	}
	size_t trailers = at, next;
	while ((next = line_end(at)) > at + 2) {
		must(memchr(text.bytes + at, ':', next - at));
		at = next;
	}
	must(len == result->len && next == result->used);
	must(extensions <= 16384 && at - trailers <= HTTP_SECTION_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_expand(&text, data, size, FUZZ_TEXT_MAX);
	struct result whole = decode(NULL, 0);

	check_same(&whole, decode(text.splits, text.splits_len));
	if (text.len <= BYTE_BY_BYTE) {
		size_t every[BYTE_BY_BYTE];

		for (size_t i = 0; i < text.len; i++)
			every[i] = i;
		check_same(&whole, decode(every, text.len));
	}
	if (whole.status == 1)
		check_body(&whole);
	free(whole.body);
	return 0;
}
