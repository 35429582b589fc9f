#include "util/number.h"

bool number_read(struct slice text, int64_t *value)
{
	int64_t sum = 0;

	if (text.n == 0)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int digit = text.p[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		/* 18 digits always fit. */
		if (i >= 18 && sum > (INT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

static const char pairs[] = "0001020304050607080910111213141516171819"
			    "2021222324252627282930313233343536373839"
			    "4041424344454647484950515253545556575859"
			    "6061626364656667686970717273747576777879"
			    "8081828384858687888990919293949596979899";

void number_write_2(char *out, int value)
{
	const char *pair = pairs + value % 100 * 2;

	out[0] = pair[0];
	out[1] = pair[1];
}

size_t number_write(char *out, int64_t value)
{
	char digits[NUMBER_MAX];
	char *p = digits + sizeof(digits);
	uint64_t rest = (uint64_t)value;

	/* Two digits at a time: half as many divisions. */
	while (rest >= 100) {
		p -= 2;
		number_write_2(p, (int)(rest % 100));
		rest /= 100;
	}
	if (rest >= 10) {
		p -= 2;
		number_write_2(p, (int)rest);
	} else {
		*--p = (char)('0' + rest);
	}
	size_t n = (size_t)(digits + sizeof(digits) - p);
	memcpy(out, p, n);
	return n;
}
