STORE_LIBS := -lhiredis
STORE_HEADERS := hiredis/hiredis.h
STORE_ROOMS := store/net
