#include "tests/unit/backend.h"

#include "tests/unit/unit.h"

#include <unistd.h>

void backend_begin(struct settings *settings)
{
	(void)settings; /* DATA_DIR is all */
}

void backend_end(void)
{
}

bool backend_has_something(void)
{
	return access(folder_path("visits"), F_OK) == 0 ||
	       access(folder_path("history"), F_OK) == 0 ||
	       access(folder_path("counters"), F_OK) == 0;
}
