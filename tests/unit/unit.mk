# The unit tests: included by the Makefile.
#
#	make unit                      builds and runs all of them
#	make unit UNIT_TESTS=test_file only this one
#	make unit UNIT_RUNNER="valgrind -q --error-exitcode=9 --leak-check=full"
#
# To add one: tests/unit/test_NAME.c. It is linked with everything but main.o;
# libc's functions that it replaces go into UNIT_WRAP_test_NAME.

# Tests of what one store alone is made of; the others run for every store.
UNIT_OF_file := test_file test_faults test_index test_lost test_room \
	test_row test_table
UNIT_OF_redis := test_resolver
UNIT_OF_OTHERS := $(filter-out $(UNIT_OF_$(STORE)), \
	$(UNIT_OF_file) $(UNIT_OF_redis))

UNIT_TESTS ?= $(filter-out $(UNIT_OF_OTHERS),$(sort \
	$(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))))
UNIT_BIN := $(UNIT_TESTS:%=$(OUT)/tests/%)
UNIT_RUNNER ?=

UNIT_WRAP_test_file := time clock_gettime nanosleep pread pwrite fsync \
	fdatasync flock setitimer log_line
UNIT_WRAP_test_table := time clock_gettime nanosleep pread flock setitimer \
	log_line
UNIT_WRAP_test_lost := time pwrite fsync fdatasync ftruncate log_line
UNIT_WRAP_test_room := pwrite fallocate statvfs log_line
UNIT_WRAP_test_turn := http_parse store_items_create store_set
UNIT_WRAP_test_resolver := fork getaddrinfo
UNIT_WRAP_test_faults := open close flock pread pwrite fsync fdatasync \
	ftruncate fstat stat rename unlink access malloc calloc lseek \
	syscall nanosleep clock_gettime time log_line

# With file sizes of 64 bits (see the Makefile), glibc's headers give these calls
# another name.
UNIT_WRAP_64 := open openat pread pwrite ftruncate fstat lstat stat lseek \
	fallocate statvfs
unit_wrap = $(1:%=-Wl,--wrap=%) $(foreach call,$(filter $(UNIT_WRAP_64),$(1)), \
	-Wl,--wrap=$(call)64,--defsym=__wrap_$(call)64=__wrap_$(call))

.PHONY: unit
unit: $(UNIT_BIN)
	@UNIT_RUNNER="$(UNIT_RUNNER)" sh tests/unit/run $(UNIT_BIN)

$(addprefix $(OUT)/tests/,test_store test_counters test_turn): \
	$(OUT)/tests/unit/backend_$(STORE).o

# The objects come by the Makefile's rule: $(OUT)/tests/unit/test_NAME.o
$(UNIT_BIN): $(OUT)/tests/%: $(OUT)/tests/unit/%.o $(OUT)/tests/unit/unit.o \
		$(filter-out $(OUT)/main.o,$(OBJ)) tests/unit/unit.mk
	$(CC) $(CFLAGS) $(LDFLAGS) $(call unit_wrap,$(UNIT_WRAP_$*)) -o $@ \
		$(filter %.o,$^) $(STORE_LIBS) $(LDLIBS) -lcmocka

-include $(UNIT_TESTS:%=$(OUT)/tests/unit/%.d) $(OUT)/tests/unit/unit.d \
	$(OUT)/tests/unit/backend_$(STORE).d
