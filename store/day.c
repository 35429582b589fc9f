#include "store/day.h"

#include "util/text.h"

/* Seconds since 1970; the Makefile gives that of a reproducible build. */
#ifndef SOURCE_DATE_EPOCH
#define SOURCE_DATE_EPOCH 0
#endif

/* 2026-11-01 UTC: a release moves it along. Not the time of compiling, which
 * would make each build another one. */
static const time_t day_released = 1793491200;

bool day_precedes_build(const struct date_day *today)
{
	time_t built = SOURCE_DATE_EPOCH;

	return today->until <= (built > day_released ? built : day_released);
}

int64_t day_difference(int64_t a, int64_t b)
{
	if (b < 0 && a > INT64_MAX + b)
		return INT64_MAX;
	if (b > 0 && a < -INT64_MAX + b)
		return -INT64_MAX;
	return a - b;
}

int64_t day_count(int64_t total, int64_t base)
{
	return total < base ? 0 : day_difference(total, base);
}

bool day_read_base(struct slice text, int64_t *base)
{
	bool negative = text.n > 0 && *text.p == '-';

	if (!number_read(negative ? slice_after(text, 1) : text, base))
		return false;
	if (negative)
		*base = -*base;
	return true;
}

size_t day_write_line(char *out, const char *date, int64_t base)
{
	char *to = text_put(out, (struct slice){date, DATE_DAY_SIZE});

	to = text_put(to, base < 0 ? SLICE(" -") : SLICE(" "));
	to = text_put_number(to, base < 0 ? -base : base);
	return (size_t)(to - out);
}

bool day_read_line(struct slice line, int64_t *base)
{
	int64_t day;

	return line.n > DATE_DAY_SIZE + 1 && date_read_day(line.p, &day) &&
	       line.p[DATE_DAY_SIZE] == ' ' &&
	       day_read_base(slice_after(line, DATE_DAY_SIZE + 1), base);
}
