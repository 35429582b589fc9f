/* The items. */
#include "store/failure.h"
#include "store/item.h"
#include "store/postgres/array.h"
#include "store/postgres/cache.h"
#include "store/postgres/items.h"
#include "store/postgres/session.h"
#include "util/reason.h"

#include <string.h>

static struct {
	struct array names, descriptions, ids;
	char jsons[STORE_ITEMS_MAX][STORE_ITEM_JSON_MAX];
} items;

void items_free(void)
{
	array_free(&items.names);
	array_free(&items.descriptions);
	array_free(&items.ids);
}

/*
 * New ones
 */

static bool items_has_nul(struct slice text)
{
	return text.n > 0 && memchr(text.p, '\0', text.n);
}

/* Whether PostgreSQL can hold a new item; a status that it has is for good. */
static bool items_is_wanted(const struct item *item)
{
	return item->status == 0;
}

/* Writes the items that are wanted as arrays; gives how many, or -1. */
static int items_write_arrays(const struct item *new, size_t len)
{
	int wanted = 0;

	array_begin(&items.names);
	array_begin(&items.descriptions);
	for (size_t i = 0; i < len; i++) {
		if (!items_is_wanted(&new[i]))
			continue;
		array_add_text(&items.names, new[i].name);
		array_add_text(&items.descriptions, new[i].description);
		wanted++;
	}
	return array_end(&items.names) < 0 || array_end(&items.descriptions) < 0
		       ? -1
		       : wanted;
}

/* The ids come in the order of the items; the items behind the last one found
 * no room. */
static void items_take_ids(const PGresult *result, struct item *new, size_t len)
{
	int row = 0, max = session_settings()->max_items;

	for (size_t i = 0; i < len; i++) {
		if (!items_is_wanted(&new[i]))
			continue;
		if (row < PQntuples(result)) {
			new[i].id = session_value(result, row++, 0);
			continue;
		}
		new[i].status = 507;
		new[i].error =
			reason_write("there are MAX_ITEMS=%d items", max);
	}
}

/* One transaction: all that there is room for, or 503 for none. */
static int items_create(struct item *new, size_t len, int64_t until)
{
	int wanted = items_write_arrays(new, len);
	struct session_number limit =
		session_number(session_settings()->max_items);
	struct pq_step steps[] = {
		{.statement = STATEMENT_LOCK},
		{.statement = STATEMENT_CREATE_ITEMS,
		 .len = 3,
		 .values = {items.names.text, items.descriptions.text,
			    limit.text}},
	};

	if (wanted < 0)
		return fail("no memory for %zu items:", len);
	if (wanted == 0)
		return 0;
	int status = session_call(steps, 2, session_make_items, until);
	if (!status)
		items_take_ids(steps[1].result, new, len);
	session_clear(steps, 2);
	return status;
}

static void items_refuse_new(struct item *new, size_t len)
{
	int status = session_lacks_letter() ? 400 : 503;

	if (status == 400)
		session_fail_letter();
	const char *error = store_answer();

	for (size_t i = 0; i < len; i++) {
		if (!items_is_wanted(&new[i]))
			continue;
		new[i].status = status;
		new[i].error = error;
	}
}

void store_items_create(struct item *new, size_t len)
{
	int64_t until = session_deadline();

	for (size_t i = 0; i < len; i++) {
		bool has_nul = items_has_nul(new[i].name) ||
			       items_has_nul(new[i].description);

		new[i].status = has_nul ? 400 : 0;
		new[i].error = "PostgreSQL cannot hold U+0000 in a text";
	}
	int status = items_create(new, len, until);
	/* One that a CHECK of a table made by hand refuses does not fail the
	 * others. */
	if (status && len > 1 && session_is_of_a_row()) {
		for (size_t i = 0; i < len; i++)
			if (items_is_wanted(&new[i]) &&
			    items_create(&new[i], 1, until))
				items_refuse_new(&new[i], 1);
		return;
	}
	if (!status || !session_lacks_letter())
		failure_tell(FAILURE_ITEMS, status);
	if (status)
		items_refuse_new(new, len);
}

/*
 * Reading
 */

/* The ids that an int4 holds. */
static int items_write_ids(const struct item *wanted, size_t len)
{
	array_begin(&items.ids);
	for (size_t i = 0; i < len; i++)
		if (wanted[i].id <= INT32_MAX)
			array_add_number(&items.ids, wanted[i].id);
	return array_end(&items.ids);
}

/* A row is the item of all jobs that ask for it. Its texts may be longer than
 * an item's here if another program has made it. */
static void items_take_row(const PGresult *result, int row, struct item *wanted,
			   size_t len)
{
	int64_t id = session_value(result, row, 0);
	struct slice name = slice_of(PQgetvalue(result, row, 1));
	struct slice description = {NULL, 0};
	bool fits = *PQgetvalue(result, row, 3) == 't';

	if (!PQgetisnull(result, row, 2))
		description = slice_of(PQgetvalue(result, row, 2));
	for (size_t i = 0; i < len; i++) {
		if (wanted[i].id != id)
			continue;
		wanted[i].status = fits ? 0 : 503;
		wanted[i].error = "the item is too long";
		if (fits)
			wanted[i].json = (struct slice){
				items.jsons[i], item_write(items.jsons[i], id,
							   name, description)};
	}
}

/* PostgreSQL is asked for all of them as soon as one is not in the cache: it is
 * one call either way. */
void store_items_get(struct item *wanted, size_t len)
{
	struct session_number most = session_number(STORE_ITEM_NAME_MAX +
						    STORE_ITEM_DESCRIPTION_MAX);
	struct pq_step step = {.statement = STATEMENT_GET_ITEMS, .len = 2};
	int64_t until = session_deadline();

	if (cache_get_items(wanted, len))
		return;
	int status = items_write_ids(wanted, len) < 0
			     ? fail("no memory for %zu items:", len)
			     : 0;
	step.values[0] = items.ids.text;
	step.values[1] = most.text;
	if (!status)
		status = pq_call(session_pq(), &step, 1, until);
	if (status && session_misses_table())
		status = 404; /* no table, no items */
	failure_tell(FAILURE_ITEMS, status == 404 ? 0 : status);
	for (size_t i = 0; i < len; i++) {
		wanted[i].status = status == 503 ? 503 : 404;
		wanted[i].error = status == 503 ? store_answer()
						: "there is no such item";
	}
	for (int row = 0; !status && row < PQntuples(step.result); row++)
		items_take_row(step.result, row, wanted, len);
	session_clear(&step, 1);
	cache_put_items(wanted, len);
}
