/*
 * utf8.h - UTF-8 (RFC 3629)
 */
#ifndef UTIL_UTF8_H
#define UTIL_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* The length of the valid sequence at the start of the `n` bytes, n > 0; 0:
 * there is none. */
size_t utf8_length(const char *bytes, size_t n);

/* The code point of a valid sequence of that length. */
uint32_t utf8_code(const char *bytes, size_t length);

#endif
