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
		if (sum > (INT64_MAX - digit) / 10)
			return false;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return true;
}

size_t number_write(char *out, int64_t value)
{
	char digits[NUMBER_MAX];
	char *p = digits + sizeof(digits);
	uint64_t rest = (uint64_t)value;

	do {
		*--p = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	size_t n = (size_t)(digits + sizeof(digits) - p);
	memcpy(out, p, n);
	return n;
}

void number_write_2(char *out, int value)
{
	out[0] = (char)('0' + value / 10 % 10);
	out[1] = (char)('0' + value % 10);
}
