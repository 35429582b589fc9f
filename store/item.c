#include "store/item.h"

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
