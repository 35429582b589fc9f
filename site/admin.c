#include "site/admin.h"

/*
 * Constant-time: the time depends on the length of `sent` alone. A comparison
 * that stops at the first wrong byte would let a client find the token byte by
 * byte.
 */
static bool admin_is_token(struct slice sent, struct slice token)
{
	volatile unsigned difference = sent.n != token.n;

	for (size_t i = 0; i < sent.n; i++)
		difference |= (unsigned char)(sent.p[i] ^ token.p[i % token.n]);
	return difference == 0;
}

/* The token of the only Authorization field, or an empty slice. */
static struct slice admin_sent_token(const struct http_request *request)
{
	struct slice name = SLICE("authorization"), none = {NULL, 0};
	size_t at = 0;
	const struct http_field *field = http_field_next(request, name, &at);

	if (!field || http_field_next(request, name, &at))
		return none;
	struct slice value = field->value;
	struct slice scheme = slice_take(&value, ' ');
	return slice_same_word(scheme, SLICE("Bearer")) ? slice_trim(value)
							: none;
}

int admin_check(const struct http_request *request, const char *token,
		const char **why)
{
	if (!token) {
		*why = "ADMIN_TOKEN is not set here: nobody may change totals";
		return 403;
	}
	if (admin_is_token(admin_sent_token(request), slice_of(token)))
		return 0;
	*why = "this takes Authorization: Bearer and the ADMIN_TOKEN";
	return 401;
}
