/*
 * Export and import: a line for each counter, with its total, a space and its
 * name. The format is the same for all stores. An import sets totals and does
 * not add, so that it can be repeated.
 */
#include "run/run.h"

#include "store/store.h"
#include "util/grow.h"
#include "util/log.h"
#include "util/number.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LINE_BYTES = NUMBER_MAX + 1 + STORE_NAME_MAX + 1,
	READ_SIZE = 4096, /* room for what is read at once */
};

struct line {
	struct slice name;
	int64_t total;
	size_t number; /* from 1 */
};

/* What is read, all of it checked before the first total is set. */
struct import {
	const struct settings *settings;
	char *text;
	size_t text_len, text_cap;
	struct line *lines;
	size_t len, cap;
};

static void transfer_print_line(struct slice counter, int64_t total,
				void *context)
{
	(void)context;
	printf("%" PRId64 " %.*s\n", total, (int)counter.n, counter.p);
}

/* export */
int run_export(const struct settings *settings, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	run_open_store(settings);
	if (store_each(transfer_print_line, NULL))
		die(EXIT_SYSTEM, "%s", store_error());
	store_close();
	if (fflush(stdout) != 0 || ferror(stdout))
		die(EXIT_SYSTEM, "cannot write all of it:");
	return EXIT_DONE;
}

/* Makes room for `need` elements, or ends the program. */
static void *transfer_grow(void *memory, size_t *cap, size_t need, size_t size)
{
	void *more = grow(memory, cap, need, size);

	if (!more)
		die(EXIT_SYSTEM, "cannot keep what is read:");
	return more;
}

__attribute__((noreturn)) static void
transfer_refuse(size_t number, struct slice line, const char *fault)
{
	die(EXIT_DATA,
	    "line %zu: %s: \"%.*s\" (takes a total, a space and a name, such "
	    "as \"42 blog/post-1\"; nothing is set)",
	    number, fault, (int)(line.n < 130 ? line.n : 130), line.p);
}

/* No more digits than the largest one has: a line is at most so long. */
static bool transfer_read_total(struct slice text, int64_t *total)
{
	return text.n < NUMBER_MAX && number_read(text, total);
}

/* What an editor may have put around a line: a CR before its end, blanks, and a
 * byte order mark before the first one. */
static struct slice transfer_bare_line(struct slice text, size_t number)
{
	if (number == 1 && text.n >= 3 &&
	    memcmp(text.p, "\xef\xbb\xbf", 3) == 0)
		text = slice_after(text, 3);
	if (text.n > 0 && text.p[text.n - 1] == '\r')
		text.n--;
	return slice_trim(text);
}

static struct line transfer_read_line(struct slice text, size_t number)
{
	struct line line = {.number = number};
	struct slice bare = transfer_bare_line(text, number);
	const char *space = bare.n ? memchr(bare.p, ' ', bare.n) : NULL;
	const char *fault;

	if (!space)
		transfer_refuse(number, text, "there is no space in it");
	size_t digits = (size_t)(space - bare.p);
	if (!transfer_read_total((struct slice){bare.p, digits}, &line.total))
		transfer_refuse(number, text,
				"the total is no whole number from 0 to "
				"9223372036854775807");
	line.name = slice_trim(slice_after(bare, digits + 1));
	if ((fault = store_name_fault(line.name)))
		transfer_refuse(number, text, fault);
	return line;
}

/* What more there is cannot be right: there is a bad line in what was read, or
 * one counter too many. */
static uint64_t transfer_text_max(const struct settings *settings)
{
	return ((uint64_t)settings->max_counters + 2) * LINE_BYTES;
}

static void transfer_read_text(struct import *in)
{
	size_t n;

	do {
		in->text = transfer_grow(in->text, &in->text_cap,
					 in->text_len + READ_SIZE, 1);
		n = fread(in->text + in->text_len, 1,
			  in->text_cap - in->text_len, stdin);
		in->text_len += n;
	} while (n > 0 && in->text_len <= transfer_text_max(in->settings));
	if (ferror(stdin))
		die(EXIT_SYSTEM, "cannot read standard input:");
}

static void transfer_read_lines(struct import *in)
{
	struct slice rest = {in->text, in->text_len};
	int named = 0;

	while (rest.n > 0) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;

		in->lines = transfer_grow(in->lines, &in->cap, in->len + 1,
					  sizeof(*in->lines));
		struct line *line = &in->lines[in->len++];
		*line = transfer_read_line((struct slice){rest.p, n}, in->len);
		named += !store_is_home(line->name);
		if (named > in->settings->max_counters)
			transfer_refuse(in->len, (struct slice){rest.p, n},
					"one counter more than MAX_COUNTERS");
		rest = slice_after(rest, end ? n + 1 : n);
	}
}

/* qsort's: by name, then by number */
static int transfer_compare(const void *a, const void *b)
{
	const struct line *x = *(struct line *const *)a;
	const struct line *y = *(struct line *const *)b;
	size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
	int order = memcmp(x->name.p, y->name.p, n);

	if (order == 0 && x->name.n != y->name.n)
		return x->name.n < y->name.n ? -1 : 1;
	return order ? order
		     : (x->number > y->number) - (x->number < y->number);
}

/* The first line whose name was there before, or NULL. */
static const struct line *transfer_find_duplicate(const struct line **sorted,
						  size_t len)
{
	const struct line *found = NULL;

	for (size_t i = 1; i < len; i++)
		if (slice_equal(sorted[i]->name, sorted[i - 1]->name) &&
		    (!found || sorted[i]->number < found->number))
			found = sorted[i];
	return found;
}

static void transfer_check_names(const struct import *in)
{
	const struct line **sorted = calloc(in->len + 1, sizeof(*sorted));

	if (!sorted)
		die(EXIT_SYSTEM, "cannot keep what is read:");
	for (size_t i = 0; i < in->len; i++)
		sorted[i] = &in->lines[i];
	qsort(sorted, in->len, sizeof(*sorted), transfer_compare);
	const struct line *found = transfer_find_duplicate(sorted, in->len);
	free(sorted);
	if (found)
		transfer_refuse(found->number, found->name,
				"this name was there before");
}

static void transfer_set_totals(const struct import *in)
{
	for (size_t i = 0; i < in->len; i++) {
		const struct line *line = &in->lines[i];

		if (store_set(line->name, line->total))
			die(EXIT_SYSTEM,
			    "line %zu: %s (the lines before it are set; to "
			    "repeat the import does no harm)",
			    line->number, store_error());
	}
}

/* import */
int run_import(const struct settings *settings, int argc, char **argv)
{
	struct import in = {.settings = settings};
	struct settings at_once = *settings;

	(void)argc;
	(void)argv;
	transfer_read_text(&in);
	transfer_read_lines(&in);
	transfer_check_names(&in);
	/* One sync for all of them: 100,000 took 40 s with one for each. */
	if (at_once.sync == SYNC_ALWAYS)
		at_once.sync = SYNC_EVERYSEC;
	run_open_store(&at_once);
	transfer_set_totals(&in);
	if (store_close())
		die(EXIT_SYSTEM, "%s", store_error());
	free(in.lines);
	free(in.text);
	return EXIT_DONE;
}
