/*
 * unit.h - what the unit tests share
 */
#ifndef TESTS_UNIT_UNIT_H
#define TESTS_UNIT_UNIT_H

#include "http/parse.h"
#include "util/slice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { GUARD_ROOM = 512 * 1024 };

/* The first byte behind GUARD_ROOM writable ones; to touch it is a crash. */
char *guard_end(void);

/* A copy of `len` bytes whose last one stands directly before guard_end(). */
char *guard_copy(const char *bytes, size_t len);

#define assert_slice(slice, text) \
	assert_slice_at(slice, text, __FILE__, __LINE__)
void assert_slice_at(struct slice slice, const char *text, const char *file,
		     int line);

/* Parses a head that is in order, from bytes that outlive it. */
void request_read(struct http_request *r, const char *text);

/* An empty folder, until folder_remove; in memory where there is such a file
 * system. One at a time. */
const char *folder_make(void);
void folder_remove(void);

/* The path of `name` in the folder, valid for eight more calls of this. */
const char *folder_path(const char *name);

void file_put(const char *path, const char *bytes, size_t len);
void file_put_text(const char *path, const char *text);

/* Empties it, at another tick of the file system's clock than the one of its
 * last change. */
void file_empty_later(const char *path);

/* What the file holds, ended by a NUL, and its length; -1 if there is none. */
long file_get(const char *path, char *buf, size_t cap);

#define assert_file(path, text) assert_file_at(path, text, __FILE__, __LINE__)
void assert_file_at(const char *path, const char *text, const char *file,
		    int line);

/* What long loops take a share of: 1, or UNIT_SHARE=10 for valgrind and its
 * like, where all of it takes minutes. */
int unit_share(void);

/* xorshift64*: the same numbers for the same seed everywhere. */
uint64_t random_next(uint64_t *state);

#endif
