/*
 * http_parse, whole and cut anywhere; what it takes is read once more by a
 * reader that knows lines and nothing else.
 */
#include "http/parse.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <strings.h>

enum {
	TEXT_LIMIT = 40000,
	EVERY_SPLIT = 128, /* bytes up to which all cuts are made */
	SOME_SPLITS = 32,  /* and how many else */
};

static struct fuzz_text text;

/* The answer to one call, as offsets. */
struct answer {
	ssize_t n;
	struct http_request request;
	const char *bytes; /* the slices point into them */
	size_t len;
};

static bool is_inside(struct slice part, const char *bytes, size_t len)
{
	if (!part.p)
		return part.n == 0;
	return part.p >= bytes && part.p <= bytes + len &&
	       part.n <= (size_t)(bytes + len - part.p);
}

static bool is_clean(struct slice part)
{
	for (size_t i = 0; i < part.n; i++)
		if (part.p[i] == '\r' || part.p[i] == '\n' || part.p[i] == '\0')
			return false;
	return true;
}

/* An absolute target without a path has one that is a constant. */
static bool is_constant_path(const struct http_request *r)
{
	return slice_equal(r->path, SLICE("/")) ||
	       slice_equal(r->path, SLICE("*"));
}

static bool is_word(struct slice part, const char *word)
{
	return part.n == strlen(word) && strncasecmp(part.p, word, part.n) == 0;
}

/* Takes what comes before the next CR LF. */
static struct slice take_line(struct slice *rest)
{
	const char *end = memmem(rest->p, rest->n, "\r\n", 2);

	must(end);
	struct slice line = {rest->p, (size_t)(end - rest->p)};
	*rest = slice_after(*rest, line.n + 2);
	return line;
}

/*
 * The oracle
 */

static bool is_token(struct slice part)
{
	for (size_t i = 0; i < part.n; i++) {
		char c = part.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') &&
		    !(c >= 'A' && c <= 'Z') &&
		    !fuzz_is_in(c, "!#$%&'*+-.^_`|~"))
			return false;
	}
	return part.n > 0;
}

static bool is_port(struct slice part)
{
	long port = 0;

	for (size_t i = 0; i < part.n; i++) {
		if (part.p[i] < '0' || part.p[i] > '9')
			return false;
		port = port * 10 + part.p[i] - '0';
		if (port > 65535)
			return false;
	}
	return true;
}

/* What no host may hold; the parser may refuse more. */
static bool is_host(struct slice part)
{
	const char *close = memrchr(part.p, ']', part.n);
	struct slice rest = part;

	if (part.n == 0)
		return false;
	for (size_t i = 0; i < part.n; i++)
		if (part.p[i] <= ' ' || part.p[i] >= 0x7f ||
		    fuzz_is_in(part.p[i], "/\\@?#,\"<>{}|^`"))
			return false;
	if (part.p[0] == '[') {
		if (!close || close == part.p + 1)
			return false;
		rest = slice_after(part, (size_t)(close + 1 - part.p));
	} else if (close || memchr(part.p, '[', part.n) || part.p[0] == ':') {
		return false;
	}
	const char *colon = rest.n ? memchr(rest.p, ':', rest.n) : NULL;
	if (!colon)
		return part.p[0] != '[' || rest.n == 0;
	if (part.p[0] == '[' && colon != rest.p)
		return false;
	return is_port(slice_after(rest, (size_t)(colon + 1 - rest.p)));
}

static void check_target(const struct http_request *r, struct slice target)
{
	struct slice path = r->path;

	for (size_t i = 0; i < target.n; i++)
		must(target.p[i] > ' ' && target.p[i] < 0x7f &&
		     !fuzz_is_in(target.p[i], "#\\"));
	for (size_t i = 0; i + 3 <= target.n; i++) {
		must(strncmp(target.p + i, "%00", 3) != 0);
		must(strncasecmp(target.p + i, "%0a", 3) != 0);
		must(strncasecmp(target.p + i, "%0d", 3) != 0);
	}
	must(path.n > 0 && !memchr(path.p, '?', path.n));
	if (is_word(target, "*")) {
		must(r->method == HTTP_OPTIONS && is_word(path, "*"));
		return;
	}
	if (target.p[0] == '/') {
		must(path.p == target.p);
	} else {
		const char *host = strstr(target.p, "//") + 2;
		size_t n = strcspn(host, "/? ");

		must(strncasecmp(target.p, "http", 4) == 0);
		must(is_host((struct slice){host, n}));
		if (host[n] == '/')
			must(path.p == host + n);
		else
			must(is_constant_path(r));
	}
	const char *mark = memchr(target.p, '?', target.n);
	must(!!mark == !!r->query.p);
	if (mark)
		must(r->query.p == mark + 1 &&
		     r->query.p + r->query.n == target.p + target.n);
	for (size_t i = 0; i < path.n; i++)
		if (path.p[i] == '%')
			must(path.n - i >= 3 &&
			     fuzz_is_in(path.p[i + 1],
					"0123456789abcdefABCDEF") &&
			     fuzz_is_in(path.p[i + 2],
					"0123456789abcdefABCDEF"));
}

static void check_line(const struct http_request *r, struct slice line)
{
	struct slice rest = line;
	struct slice method = slice_take(&rest, ' ');
	struct slice target = slice_take(&rest, ' ');

	must(line.n <= HTTP_LINE_MAX);
	must(line.p == r->line.p && line.n == r->line.n);
	must(method.n + target.n + rest.n + 2 == line.n);
	must(r->method < HTTP_METHODS);
	must(slice_equal(method, http_method_names[r->method]));
	must(rest.n == 8 && memcmp(rest.p, "HTTP/1.", 7) == 0);
	must(rest.p[7] >= '0' && rest.p[7] <= '9');
	must(r->minor == (rest.p[7] != '0'));
	must(target.n > 0);
	check_target(r, target);
}

/* What the fields say of the message. */
struct facts {
	int hosts, lengths, codings;
	bool close, keep_alive, expects, expects_else;
};

static void check_length(const struct http_request *r, struct slice value)
{
	uint64_t sum = 0;

	must(value.n > 0);
	for (size_t i = 0; i < value.n; i++) {
		must(value.p[i] >= '0' && value.p[i] <= '9');
		sum = sum * 10 + (uint64_t)(value.p[i] - '0');
		must(sum <= INT64_MAX);
	}
	must(r->content_length == (int64_t)sum);
}

/* "chunked" once, and commas: a list may have empty elements. */
static void check_coding(struct slice value)
{
	int found = 0;

	while (value.n > 0) {
		struct slice element = slice_take(&value, ',');

		must(element.n == 0 || is_word(element, "chunked"));
		found += element.n > 0;
	}
	must(found == 1);
}

static void check_field(const struct http_request *r, struct slice line,
			const struct http_field *field, struct facts *facts)
{
	const char *colon = memchr(line.p, ':', line.n);

	must(colon);
	struct slice name = {line.p, (size_t)(colon - line.p)};
	struct slice value = slice_after(line, name.n + 1);
	must(is_token(name));
	for (size_t i = 0; i < value.n; i++)
		must((unsigned char)value.p[i] >= ' ' || value.p[i] == '\t');
	must(!memchr(value.p, 0x7f, value.n));
	value = slice_trim(value);
	must(field->name.p == name.p && field->name.n == name.n);
	must(field->value.n == value.n);
	must(value.n == 0 || field->value.p == value.p);
	if (is_word(name, "host")) {
		facts->hosts++;
		must(is_host(value));
	} else if (is_word(name, "content-length")) {
		facts->lengths++;
		check_length(r, value);
	} else if (is_word(name, "transfer-encoding")) {
		facts->codings++;
		check_coding(value);
	} else if (is_word(name, "connection")) {
		while (value.n > 0) {
			struct slice option = slice_take(&value, ',');

			facts->close |= is_word(option, "close");
			facts->keep_alive |= is_word(option, "keep-alive");
		}
	} else if (is_word(name, "expect")) {
		while (value.n > 0) {
			struct slice expectation = slice_take(&value, ',');
			bool known = is_word(expectation, "100-continue");

			facts->expects |= known;
			facts->expects_else |= !known && expectation.n > 0;
		}
	}
}

static void check_facts(const struct http_request *r, const struct facts *facts)
{
	must(facts->hosts == 1 || (facts->hosts == 0 && r->minor == 0));
	must(facts->lengths + facts->codings <= 1);
	must(r->chunked == (facts->codings == 1));
	must(!r->chunked || r->minor == 1);
	must(facts->lengths > 0 || r->content_length == 0);
	must(r->expects_continue == (facts->expects && r->minor == 1));
	must(r->expects_unknown == (facts->expects_else && r->minor == 1));
	must(r->keep_alive ==
	     (!facts->close && (r->minor == 1 || facts->keep_alive)));
}

static void check_taken(const struct answer *answer)
{
	const struct http_request *r = &answer->request;
	struct slice rest = {answer->bytes, (size_t)answer->n};
	struct facts facts = {0};
	struct slice line;
	int empty = 0;

	must((size_t)answer->n <= answer->len);
	must(r->fields_len <= HTTP_FIELDS_MAX);
	while ((line = take_line(&rest)).n == 0)
		empty++;
	must(empty <= HTTP_EMPTY_LINES_MAX);
	check_line(r, line);
	must(rest.n <= HTTP_SECTION_MAX + 2);
	for (size_t i = 0; i < r->fields_len; i++) {
		size_t at = i;

		check_field(r, take_line(&rest), &r->fields[i], &facts);
		must(http_field_next(r, r->fields[i].name, &at) ==
		     &r->fields[i]);
	}
	must(rest.n == 2 && memcmp(rest.p, "\r\n", 2) == 0);
	check_facts(r, &facts);
}

static bool is_status(ssize_t n)
{
	return n == -400 || n == -414 || n == -431 || n == -501 || n == -505;
}

static void check_slices(const struct answer *answer)
{
	const struct http_request *r = &answer->request;
	const char *bytes = answer->bytes;

	must(is_inside(r->line, bytes, answer->len));
	if (answer->n <= 0)
		return;
	must(is_constant_path(r) || is_inside(r->path, bytes, answer->len));
	must(is_inside(r->query, bytes, answer->len));
	must(is_clean(r->line) && is_clean(r->path) && is_clean(r->query));
	for (size_t i = 0; i < r->fields_len; i++) {
		const struct http_field *field = &r->fields[i];

		must(is_inside(field->name, bytes, answer->len));
		must(is_inside(field->value, bytes, answer->len));
		must(is_clean(field->name) && is_clean(field->value));
	}
}

/*
 * The cuts
 */

static void parse(struct answer *answer, const char *bytes, size_t len)
{
	const char *why = NULL;

	answer->bytes = fuzz_copy(bytes, len);
	answer->len = len;
	answer->n = http_parse(answer->bytes, len, &answer->request, &why);
	must(answer->n >= 0 || (is_status(answer->n) && why && *why));
	check_slices(answer);
	if (answer->n > 0)
		check_taken(answer);
}

static void release(struct answer *answer)
{
	free((void *)(uintptr_t)answer->bytes);
}

static bool is_same_place(struct slice a, const struct answer *in_a,
			  struct slice b, const struct answer *in_b)
{
	if (!is_inside(a, in_a->bytes, in_a->len) || !a.p)
		return slice_equal(a, b);
	return a.n == b.n && a.p - in_a->bytes == b.p - in_b->bytes;
}

static void check_same(const struct answer *a, const struct answer *b)
{
	const struct http_request *x = &a->request, *y = &b->request;

	must(x->method == y->method && x->minor == y->minor);
	must(x->keep_alive == y->keep_alive && x->chunked == y->chunked);
	must(x->content_length == y->content_length);
	must(x->expects_continue == y->expects_continue);
	must(x->expects_unknown == y->expects_unknown);
	must(is_same_place(x->line, a, y->line, b));
	must(is_same_place(x->path, a, y->path, b));
	must(is_same_place(x->query, a, y->query, b));
	must(x->fields_len == y->fields_len);
	for (size_t i = 0; i < x->fields_len; i++) {
		must(is_same_place(x->fields[i].name, a, y->fields[i].name, b));
		must(is_same_place(x->fields[i].value, a, y->fields[i].value,
				   b));
	}
}

/* What a beginning of the text gives is never taken back. */
static void check_cut(const struct answer *whole, const char *bytes, size_t len)
{
	struct answer part;

	parse(&part, bytes, len);
	if (part.n == 0)
		must(whole->n <= 0 || len < (size_t)whole->n);
	else
		must(part.n == whole->n);
	if (part.n > 0)
		check_same(&part, whole);
	release(&part);
}

static void check_cuts(const struct answer *whole)
{
	size_t len = text.len;
	uint64_t random = len + (unsigned char)text.bytes[len / 2];

	if (len <= EVERY_SPLIT) {
		for (size_t n = 0; n < len; n++)
			check_cut(whole, text.bytes, n);
		return;
	}
	for (int i = 0; i < SOME_SPLITS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		check_cut(whole, text.bytes, (size_t)(random >> 33) % len);
	}
	for (size_t i = 0; i < text.splits_len; i++)
		check_cut(whole, text.bytes, text.splits[i]);
	if (whole->n > 4 && (size_t)whole->n < len)
		for (size_t n = 0; n < 4; n++)
			check_cut(whole, text.bytes, (size_t)whole->n - n);
}

/* Nor by what comes behind it. */
static void check_longer(const struct answer *whole)
{
	static char longer[TEXT_LIMIT + 8];
	struct answer more;

	memcpy(longer, text.bytes, text.len);
	memcpy(longer + text.len, "\r\n\0:\xff x\n", 8);
	parse(&more, longer, text.len + 8);
	if (whole->n != 0)
		must(more.n == whole->n);
	release(&more);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer whole;

	fuzz_expand(&text, data, size, TEXT_LIMIT);
	parse(&whole, text.bytes, text.len);
	check_cuts(&whole);
	check_longer(&whole);
	release(&whole);
	return 0;
}
