#include "store/begin.h"

#include "store/store.h"
#include "util/log.h"

#include <inttypes.h>

void begin_tell_total(const char *where, int64_t total)
{
	if (total > 0)
		log_info("%s, at %" PRId64, where, total);
	else
		log_info("%s, no number yet: begins at 0", where);
}

void begin_tell(const char *where)
{
	struct tally home = {.counter = SLICE(STORE_HOME)};

	store_add(&home, 1);
	if (!home.status)
		begin_tell_total(where, home.total);
}
