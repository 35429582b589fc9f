/*
 * admin.h - who may change totals (RFC 6750 2.1)
 */
#ifndef SITE_ADMIN_H
#define SITE_ADMIN_H

#include "http/parse.h"

/*
 * Whether the request carries `token` as "Authorization: Bearer TOKEN": 0, 401
 * it does not, or 403 when `token` is NULL and nobody may; *why then says so.
 */
int admin_check(const struct http_request *request, const char *token,
		const char **why);

#endif
