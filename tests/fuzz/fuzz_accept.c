/*
 * accept_media: gives something that is offered; several fields say what one
 * with commas says (RFC 9110 5.3); the case of letters says nothing.
 *
 * The first byte of an input is what is offered, each line after it a field.
 */
#include "site/accept.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

enum { FIELDS = 8 };

struct asked {
	struct http_request request;
	char *values[FIELDS];
};

static void add_field(struct asked *asked, const char *value, size_t len)
{
	struct http_request *r = &asked->request;

	asked->values[r->fields_len] = fuzz_copy(value, len);
	r->fields[r->fields_len] = (struct http_field){
		.name = SLICE("aCCept"),
		.value = slice_trim(
			(struct slice){asked->values[r->fields_len], len}),
	};
	r->name_lengths = UINT64_MAX; /* for all that the parser knows */
	r->fields_len++;
}

static enum media ask(struct asked *asked, unsigned offered, enum media first)
{
	enum media media = accept_media(&asked->request, offered, first);

	must(media == first || (media < MEDIA_LEN && (offered & 1u << media)));
	return media;
}

static void release(struct asked *asked)
{
	for (size_t i = 0; i < asked->request.fields_len; i++)
		free(asked->values[i]);
	asked->request.fields_len = 0;
}

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct asked several, one, loud;
	const char *bytes = (const char *)data + 1;

	if (size < 1 || size > HTTP_SECTION_MAX)
		return 0;
	unsigned offered = data[0] & ((1u << MEDIA_LEN) - 1);
	enum media first = (enum media)(data[0] / 8 % MEDIA_LEN);
	char *joined = fuzz_copy(bytes, size - 1);
	struct slice rest = {bytes, size - 1};

	while (rest.n > 0) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end && several.request.fields_len < FIELDS - 1
				   ? (size_t)(end - rest.p)
				   : rest.n;

		add_field(&several, rest.p, n);
		if (n < rest.n)
			joined[rest.p + n - bytes] = ',';
		rest = slice_after(rest, n + (n < rest.n));
	}
	add_field(&one, joined, size - 1);
	for (size_t i = 0; i + 1 < size; i++)
		joined[i] = upper(joined[i]);
	add_field(&loud, joined, size - 1);
	free(joined);
	enum media media = ask(&several, offered, first);
	must(ask(&one, offered, first) == media);
	must(ask(&loud, offered, first) == media);
	must(ask(&one, 0, first) == first);
	release(&several);
	release(&one);
	release(&loud);
	return 0;
}
