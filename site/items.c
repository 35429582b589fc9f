/* The items: POST /items and GET /items/{id}. */
#include "site/body.h"
#include "site/pages.h"
#include "store/item.h"
#include "util/text.h"

enum { NAME, DESCRIPTION, ID, MEMBERS };

static const struct json_member item_members[MEMBERS] = {
	[NAME] = {.name = SLICE_INIT("name")},
	[DESCRIPTION] = {.name = SLICE_INIT("description")},
	[ID] = {.name = SLICE_INIT("id")},
};

/* What is wrong with a new item, as a phrase, or NULL. */
static const char *item_fault(const struct json_member *name,
			      const struct json_member *description)
{
	if (name->kind == JSON_MISSING)
		return "\"name\" is missing";
	if (name->kind != JSON_STRING)
		return "\"name\" is not a string";
	if (name->value.n == 0)
		return "\"name\" is empty";
	if (name->value.n > STORE_ITEM_NAME_MAX)
		return "\"name\" is over 200 bytes";
	if (description->kind <= JSON_NULL)
		return NULL;
	if (description->kind != JSON_STRING)
		return "\"description\" is not a string";
	if (description->value.n > STORE_ITEM_DESCRIPTION_MAX)
		return "\"description\" is over 10000 bytes";
	return NULL;
}

void item_body(struct job *job, struct slice body, char *room)
{
	struct json_member members[MEMBERS];

	memcpy(members, item_members, sizeof(members));
	if (!body_read(job, body, members, MEMBERS, room))
		return;
	const char *fault = item_fault(&members[NAME], &members[DESCRIPTION]);
	if (fault) {
		body_refuse(job, fault);
		return;
	}
	job->name = members[NAME].value;
	job->description = (struct slice){NULL, 0};
	if (members[DESCRIPTION].kind == JSON_STRING)
		job->description = members[DESCRIPTION].value;
}

/* id: 7, name: Docker, description: the bytes as they are; nothing for null */
static char *item_put_text(char *to, struct slice id, struct slice name,
			   struct slice description)
{
	to = text_put(text_put(to, SLICE("id: ")), id);
	to = text_put(text_put(to, SLICE("\nname: ")), name);
	to = text_put(text_put(to, SLICE("\ndescription: ")), description);
	return text_put(to, SLICE("\n"));
}

/* An item that was read, as a text. */
static struct slice item_as_text(struct slice json, char *scratch)
{
	struct json_member members[MEMBERS];
	struct slice description = {NULL, 0};
	size_t at;

	memcpy(members, item_members, sizeof(members));
	if (json_read_object(json, members, MEMBERS, scratch, &at))
		return json; /* the store has looked at it: not reached */
	if (members[DESCRIPTION].kind == JSON_STRING)
		description = members[DESCRIPTION].value;
	char *text = scratch + json.n;
	char *end = item_put_text(text, members[ID].value, members[NAME].value,
				  description);
	return slice_between(text, end);
}

static void item_read_page(const struct job *job, struct http_reply *reply,
			   char *scratch)
{
	reply->body = job->media == MEDIA_TEXT
			      ? item_as_text(job->item, scratch)
			      : job->item;
}

static void item_created_page(const struct job *job, struct http_reply *reply,
			      char *scratch)
{
	char *location = text_put(scratch, SLICE("Location: items/"));
	char *id = location;
	char *end = text_put_number(location, job->id);
	struct slice digits = slice_between(id, end);

	end = text_put(end, SLICE("\r\n"));
	reply->status = 201;
	reply->own = slice_between(scratch, end);
	scratch = end;
	if (job->media == MEDIA_TEXT)
		end = item_put_text(end, digits, job->name, job->description);
	else
		end += item_write(end, job->id, job->name, job->description);
	reply->body = slice_between(scratch, end);
}

void item_page(const struct job *job, const struct moment *moment,
	       struct http_reply *reply, char *scratch)
{
	(void)moment;
	if (job->call == CALL_CREATE)
		item_created_page(job, reply, scratch);
	else
		item_read_page(job, reply, scratch);
}
