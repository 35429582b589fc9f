# make [STORE=file]          build/$(STORE)/visitd, with cc, make and libc alone
# make STORE=redis           the same with libhiredis, for counters in a Redis
# make STORE=postgres        with libpq and libhiredis; make deps STORE=... installs
# make run                   serves on 127.0.0.1:8080, counts in data/visits
# make check test lint bench see below; make help lists them

STORE ?= file
OUT ?= build/$(STORE)
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3

VERSION := $(shell cat VERSION)

# A folder is a part of the program because it is there. A store is a folder,
# too; its store.mk names what it needs besides:
#	STORE_LIBS     libraries to link with
#	STORE_HEADERS  of them, so that a missing one is told with its package
#	STORE_CFLAGS   where these headers are
#	STORE_ROOMS    store/net, for stores behind a socket
STORES := $(patsubst store/%/store.mk,%,$(wildcard store/*/store.mk))
ifeq ($(filter $(STORE),$(STORES))$(filter deps,$(MAKECMDGOALS)),)
$(error STORE=$(STORE): there is no such store; it takes one of: $(STORES))
endif
-include store/$(STORE)/store.mk

store_src = $(wildcard store/*.c $(addsuffix /*.c,store/$(1) $(2)))
SRC := main.c http.c $(wildcard http/*.c run/*.c site/*.c turn/*.c util/*.c) \
	$(call store_src,$(STORE),$(STORE_ROOMS))
OBJ := $(SRC:%.c=$(OUT)/%.o)

# Files whose bytes are part of the program: site/home.html is included as
# site/home.html.inc
EMBEDDED := $(wildcard $(addprefix site/*.,html ico txt) \
	$(addprefix store/$(STORE)/*.,lua sql))
INC := $(EMBEDDED:%=$(OUT)/%.inc)

# Ours, apart from the user's CFLAGS. WERROR is set in check and test only. Times
# and sizes of files have 64 bits where a long has 32, too: else it is 1901 after
# 2038.
VISITD_CFLAGS = -std=c11 -D_GNU_SOURCE -D_TIME_BITS=64 \
	-D_FILE_OFFSET_BITS=64 -DVERSION='"$(VERSION)"' \
	-DSOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),0) -I. -I$(OUT) \
	-MMD -MP -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wwrite-strings -Wundef -Wformat=2 -Wvla $(WERROR)

.PHONY: all run help install clean check test lint unit e2e crash \
	crash-table sabotage setup bench bench-quick deps headers restarts image \
	test-store test-gcc test-clang test-musl test-m32 test-asan test-redis \
	test-postgres test-valgrind test-sabotage test-fuzz docker-test
.DELETE_ON_ERROR:

all: $(OUT)/visitd

$(OUT)/visitd: $(OBJ)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(OBJ) $(STORE_LIBS) $(LDLIBS)

$(OUT)/%.o: %.c VERSION Makefile
	@mkdir -p $(@D)
	$(CC) $(VISITD_CFLAGS) $(STORE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -c -o $@ $<

# Where a header is missing, which packages have it.
$(OBJ): | headers
headers:
	@for header in $(STORE_HEADERS); do \
		echo "#include <$$header>" | \
		$(CC) $(STORE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -E -x c - \
			>/dev/null 2>&1 || \
		{ store/deps missing $(STORE) "$$header" >&2; exit 1; }; \
	done

deps:
	store/deps install $(STORE)

# A file as the bytes of a char array.
BYTES = od -An -v -td1
COMMAS = sed 's/  */ /g; s/^ //; s/ *$$//; s/ /,/g; s/$$/,/'

$(OUT)/%.inc: %
	@mkdir -p $(@D)
	$(BYTES) $< | $(COMMAS) >$@

# Redis gets a script with each call: its comments would cost 1.7 us of 9.4.
$(OUT)/%.lua.inc: %.lua
	@mkdir -p $(@D)
	sed '/^--/d' $< | $(BYTES) | $(COMMAS) >$@

# The first time; afterwards the .d files know who includes which.
$(OBJ): | $(INC)

-include $(OBJ:.o=.d)

run: all
	@mkdir -p data
	@echo "visitd: http://127.0.0.1:$${PORT:-8080}/ counts in $${DATA_DIR:-data}/visits (end it with ctrl-C)"
	@BIND=$${BIND:-127.0.0.1} $(OUT)/visitd

help:
	@echo "make              build/$(STORE)/visitd, with cc and libc alone"
	@echo "make run          serve on 127.0.0.1:8080, count in data/visits"
	@echo "make deps         install what make STORE=$(STORE) needs (apt-get or apk)"
	@echo "make install      under DESTDIR and PREFIX ($(PREFIX))"
	@echo "make setup        install what the tests need (Debian packages)"
	@echo "make check        the fast loop: lint, unit tests, quick e2e"
	@echo "make test         everything; with Docker, if an engine runs"
	@echo "make docker-test  the stacks, on a Docker engine"
	@echo "make image        visitd:latest, or visitd:\$$STORE"
	@echo "make restarts     STORE=redis or postgres: its server under load, RESTARTS=100"
	@echo "make crash        kill -9 under load, ROUNDS=20"
	@echo "make sabotage     break the code, see the tests fail"
	@echo "make bench        measure (bench-quick: its first three rows)"
	@echo "make clean"

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 755 $(OUT)/visitd $(DESTDIR)$(PREFIX)/bin/visitd
	install -m 644 docs/visitd.8 $(DESTDIR)$(PREFIX)/share/man/man8/visitd.8

clean:
	rm -rf build

# The tests. Each build has a folder of its own: build/file-musl, ...

STRICT := WERROR=-Werror
SANITIZE := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
	-fno-omit-frame-pointer
PYTEST = VISITD=$(OUT)/visitd $(PYTHON) -B -m pytest -q -p no:cacheprovider \
	-c tests/e2e/pytest.ini --rootdir=tests/e2e $(E2E:%=tests/e2e/%)
C_FILES = $(shell git ls-files '*.c' '*.h')

# An image is built without the tests.
include $(wildcard tests/unit/unit.mk tests/fuzz/fuzz.mk)

setup:
	tests/setup

# Files of tests/e2e; nothing: all of them.
E2E ?= .

e2e: all
	$(PYTEST) -n $(JOBS) $(PYTEST_ARGS)

JOBS ?= 4
ROUNDS ?= 20

lint:
	clang-format --dry-run -Werror $(C_FILES)
	cppcheck -q --std=c11 --enable=warning,performance,portability \
		--inline-suppr --error-exitcode=1 -D_GNU_SOURCE -DVERSION='""' \
		-DLIBPQ_HAS_PIPELINING=1 \
		-I. -Ibuild/file main.c http.c http run site store turn util
	shellcheck $$(git grep -lE '^#!/bin/(ba)?sh' -- ':!*.py')
	mandoc -T lint -W warning docs/visitd.8

check: setup
	@$(MAKE) -s --no-print-directory lint
	@$(MAKE) -s --no-print-directory $(STRICT) OUT=build/$(STORE)-check all unit
	@$(MAKE) -s --no-print-directory $(STRICT) OUT=build/$(STORE)-check e2e \
		PYTEST_ARGS='-m "not slow"'

# The other stores, and moving between all of them.
STORE_UNITS := test_store test_counters
STORE_UNITS_redis := test_resolver
STORE_E2E := test_admin.py test_check.py test_clock.py \
	test_commands.py test_counters.py \
	test_exactness.py test_export.py test_items.py test_names.py \
	test_net.py test_start.py test_transfer.py
STORE_E2E_redis := test_cluster.py test_redis.py
STORE_E2E_postgres := test_cache.py test_pgbouncer.py test_postgres.py

test-store: all
	@$(MAKE) -s --no-print-directory $(STRICT) unit \
		UNIT_TESTS='$(STORE_UNITS) $(STORE_UNITS_$(STORE))'
	@$(MAKE) -s --no-print-directory $(STRICT) e2e \
		E2E='$(STORE_E2E) $(STORE_E2E_$(STORE))' \
		PYTEST_ARGS="-k 'not ten_thousand'"

# The server of the store ends and comes back, again and again.
restarts: all
	RESTARTS=$(or $(RESTARTS),100) $(PYTEST) -k restarted

# All there is. Two parts at a time, since most of them wait more than they
# compute; what a part says comes when it ends.
TEST_PARTS := test-gcc test-sabotage test-asan docker-test test-postgres \
	test-valgrind test-redis test-clang test-musl test-m32 test-fuzz
MAKE_PART = $(MAKE) -s --no-print-directory $(STRICT)

test: setup
	@$(MAKE) -s --no-print-directory lint
	@for store in file redis postgres; do \
		$(MAKE_PART) -j2 STORE=$$store || exit 1; \
	done
	@echo "-- two at a time: $(TEST_PARTS)"
	@$(MAKE) -s --no-print-directory -j2 --output-sync=recurse $(TEST_PARTS)

test-gcc:
	@echo "-- gcc"
	+@$(MAKE_PART) OUT=build/$(STORE)-gcc CC=gcc CFLAGS='-O2 -g' \
		all unit e2e crash ROUNDS=5

test-clang:
	@echo "-- clang"
	+@$(MAKE_PART) OUT=build/$(STORE)-clang CC=clang CFLAGS='-O2 -g' all unit \
		UNIT_RUNNER='env UNIT_SHARE=10'

test-musl:
	@echo "-- musl, static"
	+@$(MAKE_PART) OUT=build/$(STORE)-musl CC=musl-gcc CFLAGS='-Os -g' \
		LDFLAGS=-static all e2e PYTEST_ARGS='-m "not slow"'

# What a long of 32 bits may be too small for. Debian's multilib has no cmocka,
# and strace names the calls otherwise.
M32_E2E := $(addprefix test_,$(addsuffix .py,api bodies bounds commands counters \
	edges export file history http items log zone))

test-m32:
	@echo "-- 32 bits"
	+@if echo 'int main(void) { return 0; }' | \
		gcc -m32 -x c -o /dev/null - 2>/dev/null; then \
		$(MAKE_PART) OUT=build/$(STORE)-m32 CC='gcc -m32' \
			CFLAGS='-O2 -g -Wno-psabi' all e2e E2E='$(M32_E2E)' \
			PYTEST_ARGS='-m "not slow and not strace"'; \
	else \
		echo "left out: gcc -m32 (gcc-multilib) is not here"; \
	fi

test-asan:
	@echo "-- AddressSanitizer and UndefinedBehaviorSanitizer"
	+@$(MAKE_PART) OUT=build/$(STORE)-asan CC=gcc CFLAGS='$(SANITIZE)' \
		all unit e2e PYTEST_ARGS='-k "not a_thousand"'

test-redis test-postgres: test-%:
	@echo "-- STORE=$*, with the sanitizers, too"
	+@$(MAKE_PART) STORE=$* unit UNIT_TESTS='$(STORE_UNITS)'
	+@$(MAKE_PART) STORE=$* OUT=build/$*-asan CFLAGS='$(SANITIZE)' test-store

# With the programs of test-gcc.
test-valgrind: test-gcc
	@echo "-- valgrind"
	+@$(MAKE_PART) OUT=build/$(STORE)-gcc CC=gcc CFLAGS='-O2 -g' unit \
		UNIT_RUNNER='env UNIT_SHARE=10 valgrind -q --error-exitcode=99 --trace-children=no'

# Its tests are those of the other parts, which find out whether they pass.
test-sabotage:
	@echo "-- sabotage"
	@$(PYTHON) -B tests/sabotage/run --proven

test-fuzz:
	@echo "-- fuzzing, the seeds alone"
	+@$(MAKE_PART) fuzz-seeds

# On a Docker engine, if one answers; with CI=true it is started.
docker-test:
	@echo "-- Docker"
	@tests/docker/run

image:
	docker build --build-arg STORE=$(STORE) -t visitd:$(if \
		$(filter file,$(STORE)),latest,$(STORE)) .

crash: all crash-table
	VISITD=$(OUT)/visitd $(PYTHON) -B tests/crash/run --rounds $(ROUNDS)

# The named counters, by the calls of store.h
crash-table: $(OUT)/tests/crash_table
	$(OUT)/tests/crash_table $(ROUNDS)

$(OUT)/tests/crash_table: $(OUT)/tests/crash/table.o \
		$(filter-out $(OUT)/main.o,$(OBJ))
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LDLIBS)

-include $(OUT)/tests/crash/table.d

sabotage: all
	$(PYTHON) -B tests/sabotage/run

bench: all
	VISITD=$(OUT)/visitd tests/bench/run

bench-quick: all
	VISITD=$(OUT)/visitd tests/bench/run quick
