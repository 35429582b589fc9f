/*
 * fuzz.h - what the fuzz targets share
 *
 * To add a target: fuzz_NAME.c with LLVMFuzzerTestOneInput, seeds in
 * corpus/NAME/, words in NAME.dict, and a row in fuzz.mk.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "util/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What has to be so; else the input is a finding. */
#define must(holds) ((holds) ? (void)0 : fuzz_fail(#holds, __FILE__, __LINE__))
_Noreturn void fuzz_fail(const char *what, const char *file, int line);

/* A copy in a block of exactly that size: AddressSanitizer sees every byte
 * read behind it. To be freed. */
char *fuzz_copy(const char *bytes, size_t len);

enum {
	FUZZ_TEXT_MAX = 200000, /* bytes */
	FUZZ_SPLITS_MAX = 256,
};

/* Bytes for a parser, and where they are to be cut. */
struct fuzz_text {
	size_t len;
	size_t splits[FUZZ_SPLITS_MAX]; /* ascending, none twice */
	size_t splits_len;
	char bytes[FUZZ_TEXT_MAX];
};

/*
 * Writes an input out. So that a short input reaches the limits of long ones,
 * a backslash in it stands for more:
 *	\/	a cut
 *	\5x	the byte x, 4090 times (a digit: one of ten counts)
 *	\l5	the line before, as many times more
 *	\a5	all before, as many times more
 * and before any other byte for nothing. What is over `max` is left out.
 */
void fuzz_expand(struct fuzz_text *text, const uint8_t *data, size_t size,
		 size_t max);

/* Whether it is one of the bytes of `set`, a string. */
bool fuzz_is_in(char c, const char *set);

#endif
