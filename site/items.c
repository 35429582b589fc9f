/* The items: POST /items and GET /items/{id}. */
#include "site/body.h"
#include "site/pages.h"
#include "util/text.h"
#include "store/item.h"
#include "store/store.h"

enum { NAME, DESCRIPTION, ID, MEMBERS };

/* Reads the body; refuses it with the field that is wrong. */
static bool read_item(struct job *job, struct json_member members[MEMBERS])
{
	if (!body_read(job, members, MEMBERS))
		return false;
	if (members[NAME].kind == JSON_MISSING) {
		job_refuse(job, 400, "\"name\" is missing");
	} else if (members[NAME].kind != JSON_STRING) {
		job_refuse(job, 400, "\"name\" is not a string");
	} else if (members[NAME].value.n == 0) {
		job_refuse(job, 400, "\"name\" is empty");
	} else if (members[NAME].value.n > STORE_ITEM_NAME_MAX) {
		job_refuse(job, 400, "\"name\" is over 200 bytes");
	} else if (members[DESCRIPTION].kind > JSON_NULL &&
		   members[DESCRIPTION].kind != JSON_STRING) {
		job_refuse(job, 400, "\"description\" is not a string");
	} else if (members[DESCRIPTION].kind == JSON_STRING &&
		   members[DESCRIPTION].value.n > STORE_ITEM_DESCRIPTION_MAX) {
		job_refuse(job, 400, "\"description\" is over 10000 bytes");
	}
	return job->status == 0;
}

void items_create(struct job *job)
{
	static char json[STORE_ITEM_JSON_MAX];
	struct json_member members[MEMBERS] = {
		[NAME] = {.name = SLICE_INIT("name")},
		[DESCRIPTION] = {.name = SLICE_INIT("description")},
		[ID] = {.name = SLICE_INIT("id")},
	};
	struct slice none = {NULL, 0};

	if (!read_item(job, members))
		return;
	struct slice description = members[DESCRIPTION].kind == JSON_STRING
					   ? members[DESCRIPTION].value
					   : none;
	struct item item = {.name = members[NAME].value,
			    .description = description};
	store_items_create(&item, 1);
	job->id = item.id;
	if (item.status) {
		error_of_store(job, item.status);
		return;
	}
	job->item = (struct slice){
		json,
		item_write(json, job->id, members[NAME].value, description)};
}

/* "name: Docker", the bytes as they are; nothing for null */
static char *put_line(char *to, struct slice name,
		      const struct json_member *member)
{
	to = text_put(to, name);
	if (member->kind != JSON_MISSING && member->kind != JSON_NULL)
		to = text_put(to, member->value);
	return text_put(to, SLICE("\n"));
}

/* An item, as a text to read. */
static struct slice write_text(struct slice json)
{
	static char text[STORE_ITEM_JSON_MAX];
	static char buffer[STORE_ITEM_JSON_MAX];
	struct json_member members[MEMBERS] = {
		[NAME] = {.name = SLICE_INIT("name")},
		[DESCRIPTION] = {.name = SLICE_INIT("description")},
		[ID] = {.name = SLICE_INIT("id")},
	};
	char *to = text;
	size_t at;

	if (json_read_object(json, members, MEMBERS, buffer, &at))
		return json; /* the store has looked at it: not reached */
	to = put_line(to, SLICE("id: "), &members[ID]);
	to = put_line(to, SLICE("name: "), &members[NAME]);
	to = put_line(to, SLICE("description: "), &members[DESCRIPTION]);
	return (struct slice){text, (size_t)(to - text)};
}

void item_page(const struct job *job, const struct moment *moment,
	       struct http_reply *reply, char *scratch)
{
	(void)moment;
	reply->body =
		job->media == MEDIA_TEXT ? write_text(job->item) : job->item;
	if (job->call != CALL_CHANGE)
		return;
	char *end = text_put(scratch, SLICE("Location: /items/"));
	end = text_put_number(end, job->id);
	end = text_put(end, SLICE("\r\n"));
	reply->status = 201;
	reply->fields[3] = (struct slice){scratch, (size_t)(end - scratch)};
}
