#include "store/item.h"

#include "store/store.h"
#include "util/json.h"
#include "util/number.h"
#include "util/text.h"

size_t item_write(char *out, int64_t id, struct slice name,
		  struct slice description)
{
	char *to = text_put(out, SLICE("{"));

	if (id > 0) {
		to = text_put(to, SLICE("\"id\":"));
		to += number_write(to, id);
		to = text_put(to, SLICE(","));
	}
	to = text_put(to, SLICE("\"name\":"));
	to += json_write_string(to, name);
	to = text_put(to, SLICE(",\"description\":"));
	if (description.p)
		to += json_write_string(to, description);
	else
		to = text_put(to, SLICE("null"));
	to = text_put(to, SLICE("}"));
	return (size_t)(to - out);
}

bool item_is_valid(struct slice json)
{
	static char decoded[STORE_ITEM_JSON_MAX];
	struct json_member members[] = {
		{.name = SLICE_INIT("name")},
		{.name = SLICE_INIT("description")},
		{.name = SLICE_INIT("id")},
	};
	size_t fault_at;

	return json.n > 2 && json.n <= sizeof(decoded) && json.p[0] == '{' &&
	       !json_read_object(json, members, 3, decoded, &fault_at) &&
	       members[0].kind == JSON_STRING &&
	       members[2].kind == JSON_MISSING;
}

size_t item_with_id(char *out, int64_t id, struct slice json)
{
	char *to = out;

	if (!item_is_valid(json) ||
	    json.n + NUMBER_MAX + 8 > STORE_ITEM_JSON_MAX)
		return 0;
	to = text_put(to, SLICE("{\"id\":"));
	to = text_put_number(to, id);
	to = text_put(to, SLICE(","));
	to = text_put(to, slice_after(json, 1));
	return (size_t)(to - out);
}
