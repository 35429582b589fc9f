/*
 * checks.h - what is refused before the store is asked
 */
#ifndef SITE_CHECKS_H
#define SITE_CHECKS_H

#include "site/routes.h"

/*
 * The first refusal of a request whose syntax is in order, in the contract's
 * order: 404 (400 for a bad name), 405, 401 or 403, 417, 413, 415, 400. Gives
 * 0 or the status, with *why a static phrase.
 */
int checks_refuse(const struct http_request *request,
		  const struct target *target, const char **why);

#endif
