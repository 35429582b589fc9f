# The fuzz targets: included by the Makefile. They need clang with its runtime.
#
#	make fuzz                     all of them, FUZZ_SECONDS=60 each
#	make fuzz FUZZ_TARGETS=json   only this one
#	make fuzz-seeds               each over its seeds only
#
# build/fuzz/corpus/NAME grows from run to run; an input that is a finding
# lands in build/fuzz/crashes/NAME. To see it again:
#	build/fuzz/fuzz_NAME build/fuzz/crashes/NAME/crash-...

FUZZ_TARGETS ?= parse chunks conn json accept settings table
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 2
FUZZ_CC ?= clang
FUZZ_OUT := build/fuzz

# What each is linked with, and functions that it replaces. The loop is included by its target, the store and
# the log are of its own.
FUZZ_OBJ_parse := http/parse.o util/number.o
FUZZ_OBJ_chunks := http/chunks.o $(FUZZ_OBJ_parse)
FUZZ_OBJ_json := util/hash.o util/json.o util/utf8.o
FUZZ_OBJ_accept := site/accept.o $(FUZZ_OBJ_parse)
FUZZ_OBJ_settings := util/settings.o util/date.o util/number.o util/secret.o util/url.o
FUZZ_OBJ_table := $(patsubst %.c,%.o,$(call store_src,file)) $(patsubst %.c,%.o,$(filter-out \
	util/log.c,$(wildcard util/*.c)))
FUZZ_WRAP_table := clock_gettime nanosleep fsync fdatasync
FUZZ_OBJ_conn := $(patsubst %.c,%.o,$(wildcard http/*.c site/*.c) \
	$(filter-out turn/read.c,$(wildcard turn/*.c)) \
	store/item.c store/name.c $(filter-out util/log.c,$(wildcard util/*.c)))

FUZZ_SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_BIN := $(FUZZ_TARGETS:%=$(OUT)/fuzz_%)

.PHONY: fuzz fuzz-seeds fuzz-build
fuzz fuzz-seeds: %:
	@$(MAKE) -s --no-print-directory OUT=$(FUZZ_OUT) CC=$(FUZZ_CC) \
		CFLAGS='-O1 -g -fno-omit-frame-pointer $(FUZZ_SANITIZE) \
		-fsanitize=fuzzer-no-link' fuzz-build
	@FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_JOBS=$(FUZZ_JOBS) \
		tests/fuzz/run $@ $(FUZZ_OUT) $(FUZZ_TARGETS)

fuzz-build: $(FUZZ_BIN)

$(foreach name,$(FUZZ_TARGETS),$(eval \
	$(OUT)/fuzz_$(name): $(addprefix $(OUT)/,$(FUZZ_OBJ_$(name)))))

$(FUZZ_BIN): $(OUT)/fuzz_%: $(OUT)/tests/fuzz/fuzz_%.o \
		$(OUT)/tests/fuzz/fuzz.o tests/fuzz/fuzz.mk
	$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) \
		$(FUZZ_WRAP_$*:%=-Wl,--wrap=%) -o $@ $(filter %.o,$^) $(LDLIBS)

-include $(FUZZ_TARGETS:%=$(OUT)/tests/fuzz/fuzz_%.d) $(OUT)/tests/fuzz/fuzz.d
