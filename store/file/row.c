#include "store/file/row.h"

#include "store/store.h"
#include "util/number.h"

#include <string.h>

enum {
	TOTAL_AT = 0,
	TOTAL_SIZE = 20,
	DAY_AT = TOTAL_AT + TOTAL_SIZE + 1,
	NAME_AT = DAY_AT + DATE_DAY_SIZE + 1,
	COLUMNS_AT = NAME_AT + STORE_NAME_MAX,
	COLUMN_SIZE = 12, /* a space and eleven digits */
	COLUMNS_SIZE = ROW_DAYS * COLUMN_SIZE,
	REST_AT = COLUMNS_AT + COLUMNS_SIZE,
	NEWLINE_AT = ROW_SIZE - 1,
};

static const int64_t column_max = 99999999999;

_Static_assert((int)NEWLINE_AT >= (int)REST_AT, "a row fits its size");

/* Right-aligned, with spaces before it. */
static void row_write_number(char *at, size_t size, int64_t value)
{
	char digits[NUMBER_MAX];
	size_t n = number_write(digits, value);

	memset(at, ' ', size - n);
	memcpy(at + size - n, digits, n);
}

/* Digits with spaces before them. */
static bool row_read_number(const char *at, size_t size, int64_t *value)
{
	while (size > 0 && *at == ' ') {
		at++;
		size--;
	}
	return number_read((struct slice){at, size}, value);
}

static char *row_column(char *row, int i)
{
	return row + COLUMNS_AT + i * COLUMN_SIZE;
}

static int64_t row_read_column(const char *row, int i)
{
	int64_t n = 0;

	row_read_number(row + COLUMNS_AT + i * COLUMN_SIZE, COLUMN_SIZE, &n);
	return n;
}

static void row_clear_columns(char *row, int from, int to)
{
	for (int i = from; i < to; i++)
		row_write_number(row_column(row, i), COLUMN_SIZE, 0);
}

void row_make(char *row, struct slice name, const struct date_day *day)
{
	memset(row, ' ', ROW_SIZE);
	row_set_total(row, 0);
	memcpy(row + DAY_AT, day->text, DATE_DAY_SIZE);
	memcpy(row + NAME_AT, name.p, name.n);
	row_clear_columns(row, 0, ROW_DAYS);
	row[NEWLINE_AT] = '\n';
}

static bool row_is_blank(const char *p, size_t n)
{
	return n == 0 || (p[0] == ' ' && memcmp(p, p + 1, n - 1) == 0);
}

static bool row_is_total(const char *row)
{
	int64_t total;

	return row_read_number(row + TOTAL_AT, TOTAL_SIZE, &total) ||
	       (row[TOTAL_AT + TOTAL_SIZE - 1] == '-' &&
		row_is_blank(row + TOTAL_AT, TOTAL_SIZE - 1));
}

/* A column is a space, and digits that spaces stand before. Behind the last day
 * with a visit all of them are alike, and are looked at together: a table may
 * have 100,000 rows. */
static bool row_are_columns(const char *row)
{
	static const char zero[COLUMN_SIZE + 1] = "           0";
	const char *at = row + COLUMNS_AT, *end = at + COLUMNS_SIZE;
	int64_t n;

	for (; at < end; at += COLUMN_SIZE) {
		if (memcmp(at, zero, COLUMN_SIZE) == 0 &&
		    memcmp(at, at + COLUMN_SIZE,
			   (size_t)(end - at) - COLUMN_SIZE) == 0)
			return true;
		if (*at != ' ' || !row_read_number(at, COLUMN_SIZE, &n))
			return false;
	}
	return true;
}

/* What may stand in the table: the home counter has a file of its own. */
static const char *row_name_fault(struct slice name)
{
	if (store_is_home(name))
		return "the counter " STORE_HOME " has its own file";
	return store_name_fault(name);
}

bool row_is_whole(const char *row)
{
	struct slice name = row_name(row);
	int64_t day;

	return row[NEWLINE_AT] == '\n' && row[DAY_AT - 1] == ' ' &&
	       row[NAME_AT - 1] == ' ' && row_is_total(row) &&
	       date_read_day(row + DAY_AT, &day) && !row_name_fault(name) &&
	       row_is_blank(name.p + name.n, STORE_NAME_MAX - name.n) &&
	       row_are_columns(row) &&
	       row_is_blank(row + REST_AT, NEWLINE_AT - REST_AT);
}

/* Whether row_make and its like put such a byte there. */
static bool row_may_stand(char c, size_t at)
{
	bool digit = c >= '0' && c <= '9';

	if (at < DAY_AT)
		return c == ' ' ||
		       (at > TOTAL_AT && at < DAY_AT - 1 && digit) ||
		       (at == DAY_AT - 2 && c == '-');
	if (at < NAME_AT - 1)
		return at == DAY_AT + 4 || at == DAY_AT + 7 ? c == '-' : digit;
	if (at >= NAME_AT && at < COLUMNS_AT)
		return c == ' ' || store_name_has(c);
	return c == ' ' || (at >= COLUMNS_AT && at < REST_AT && digit);
}

bool row_is_torn(const char *bytes, size_t n)
{
	size_t begun = 0;

	while (begun < n && bytes[begun] != '\0' &&
	       row_may_stand(bytes[begun], begun))
		begun++;
	for (size_t i = begun; i < n; i++)
		if (bytes[i] != '\0')
			return false;
	return begun < REST_AT;
}

int64_t row_total(const char *row)
{
	int64_t total;

	if (!row_read_number(row + TOTAL_AT, TOTAL_SIZE, &total))
		return ROW_DROPPED;
	return total;
}

struct slice row_name(const char *row)
{
	const char *end = memchr(row + NAME_AT, ' ', STORE_NAME_MAX);

	return (struct slice){row + NAME_AT, end ? (size_t)(end - row) - NAME_AT
						 : STORE_NAME_MAX};
}

void row_set_total(char *row, int64_t total)
{
	if (total == ROW_DROPPED) {
		memset(row + TOTAL_AT, ' ', TOTAL_SIZE - 1);
		row[TOTAL_AT + TOTAL_SIZE - 1] = '-';
	} else {
		row_write_number(row + TOTAL_AT, TOTAL_SIZE, total);
	}
}

/* How many days today is after the row's day. */
static int64_t row_age(const char *row, const struct date_day *today)
{
	int64_t day = 0;

	if (memcmp(row + DAY_AT, today->text, DATE_DAY_SIZE) == 0)
		return 0;
	date_read_day(row + DAY_AT, &day);
	return today->number - day;
}

/* The column of today, or -1: the row is of an earlier day. */
static int row_column_of(const char *row, const struct date_day *today)
{
	int64_t age = row_age(row, today);

	if (age > 0)
		return -1;
	return age > -ROW_DAYS ? (int)-age : 0;
}

int64_t row_today(const char *row, const struct date_day *today)
{
	int i = row_column_of(row, today);

	return i < 0 ? 0 : row_read_column(row, i);
}

/* Makes it a row that has a column of today. */
static void row_turn_page(char *row, const struct date_day *today)
{
	int64_t days = row_age(row, today);

	/* The clock was ahead by a month or more. What came on its last day
	 * came in truth before today's first visit: the days move as they are,
	 * so that none is lost and none waits for years. */
	if (days <= -ROW_DAYS)
		memcpy(row + DAY_AT, today->text, DATE_DAY_SIZE);
	if (days <= 0)
		return;
	if (days > ROW_DAYS)
		days = ROW_DAYS;
	int kept = ROW_DAYS - (int)days;
	memmove(row_column(row, (int)days), row_column(row, 0),
		(size_t)kept * COLUMN_SIZE);
	row_clear_columns(row, 0, (int)days);
	memcpy(row + DAY_AT, today->text, DATE_DAY_SIZE);
}

void row_count(char *row, int64_t n, const struct date_day *today)
{
	row_turn_page(row, today);
	int i = row_column_of(row, today);
	int64_t before = row_read_column(row, i);
	row_write_number(row_column(row, i), COLUMN_SIZE,
			 n < column_max - before ? before + n : column_max);
}

/* Takes the first word off the line. */
static struct slice row_take_word(struct slice *line)
{
	*line = slice_trim(*line);
	size_t n = 0;
	while (n < line->n && line->p[n] != ' ' && line->p[n] != '\t')
		n++;
	struct slice word = {line->p, n};
	*line = slice_after(*line, n);
	return word;
}

static const char *row_parse_columns(char *row, struct slice line)
{
	for (int i = 0;; i++) {
		struct slice word = row_take_word(&line);
		int64_t n;

		if (word.n == 0)
			return NULL;
		if (i == ROW_DAYS)
			return "there are more than 30 days";
		if (!number_read(word, &n) || n > column_max)
			return "the visits of a day should be a number of at "
			       "most 11 digits";
		row_write_number(row_column(row, i), COLUMN_SIZE, n);
	}
}

const char *row_parse(char *row, struct slice line,
		      const struct date_day *today)
{
	struct slice total = row_take_word(&line), day = row_take_word(&line);
	struct slice name = row_take_word(&line);
	int64_t value = ROW_DROPPED, number;

	if (!slice_equal(total, SLICE("-")) && !number_read(total, &value))
		return "it should begin with a total, a whole number";
	if (name.n == 0) { /* TOTAL NAME */
		name = day;
		day = (struct slice){today->text, DATE_DAY_SIZE};
	} else if (day.n != DATE_DAY_SIZE || !date_read_day(day.p, &number)) {
		return "behind the total should be a date, such as 2026-11-20";
	}
	const char *fault = row_name_fault(name);
	if (fault)
		return fault;
	row_make(row, name, today);
	memcpy(row + DAY_AT, day.p, DATE_DAY_SIZE);
	row_set_total(row, value);
	return row_parse_columns(row, line);
}

void row_merge(char *row, const char *other)
{
	int64_t mine = row_total(row), its = row_total(other);

	if (memcmp(row + DAY_AT, other + DAY_AT, DATE_DAY_SIZE) < 0)
		memcpy(row, other, ROW_SIZE);
	row_set_total(row, mine > its ? mine : its);
}
