STORE_LIBS := -lpq -lhiredis
STORE_HEADERS := libpq-fe.h hiredis/hiredis.h
STORE_CFLAGS := $(addprefix -I,$(shell pg_config --includedir 2>/dev/null))
STORE_ROOMS := store/net
