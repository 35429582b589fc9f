/*
 * mend.h - the table of counters as others have left it
 *
 * 1. A tail that is the beginning of a row, or NULs, was never answered: it is
 *    cut off.
 * 2. A file that an editor has written is parsed by lines, and a fresh table
 *    takes its place. Two rows of one name become one. A line that is not
 *    understood is never overwritten: 503 until somebody has changed it.
 *
 * For table.c alone. All calls are made under the table's lock. They give 0 or
 * 503, with the reason noted, where nothing else is said.
 */
#ifndef STORE_FILE_MEND_H
#define STORE_FILE_MEND_H

#include "store/file/table.h"

/* Cuts off what is behind the last row that is known, of a file of `size`
 * bytes. Gives TABLE_ODD if that is not what a crash leaves. */
int mend_cut_tail(const struct table *t, off_t size);

/* Puts a fresh table in the place of this one, without the dropped rows. Rows
 * behind the last one that is known are parsed by lines. */
int mend_rewrite(struct table *t);

/* Whether the lines behind the last row that is known are understood. */
int mend_read_only(struct table *t);

/* Whether the file is still the one in which a line was not understood. */
bool mend_is_known_garbage(const struct table *t);

/* Notes that a line is not understood. Gives 503. */
int mend_fail_line(const struct table *t, size_t number, const char *fault);

#endif
