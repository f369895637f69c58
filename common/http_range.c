/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Preconditions first, in the order of RFC 9110, 13.2.2, then the range. Entity tags are compared strongly
 * except for If-None-Match; dates are not supported, so an If-Range with a date never matches and the whole
 * file is sent, which is always right. Pure; any thread.
 */
#include "common/http_range.h"

#include <stdbool.h>
#include <string.h>

/* Is etag in the list of entity tags? weak: W/"x" counts as "x". */
static bool listed(const char *list, const char *etag, bool weak)
{
	size_t len = strlen(etag);

	while (*list) {
		list += strspn(list, " \t,");
		if (*list == '*')
			return true;
		bool is_weak = list[0] == 'W' && list[1] == '/';
		const char *tag = list + (is_weak ? 2 : 0), *end;

		if (*tag != '"')
			return false;
		end = strchr(tag + 1, '"');
		if (!end)
			return false;
		if ((weak || !is_weak) && (size_t)(end - tag - 1) == len && !memcmp(tag + 1, etag, len))
			return true;
		list = end + 1;
	}
	return false;
}

/* Digits at *text, which is moved behind them; false: none, or more than an off_t holds. */
static bool number(const char **text, uint64_t *ret)
{
	const char *p = *text;
	uint64_t v = 0;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (v > (INT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	if (p == *text)
		return false;
	*text = p;
	*ret = v;
	return true;
}

/* "bytes=A-B", "bytes=A-", "bytes=-N". false: to be ignored; a range that cannot be satisfied has length 0.
 */
static bool one_range(const char *text, uint64_t size, uint64_t *ret_first, uint64_t *ret_length)
{
	uint64_t first = 0, last = 0;
	bool has_first, has_last;

	if (strncasecmp(text, "bytes=", 6) != 0)
		return false;
	text += 6;
	text += strspn(text, " \t");
	has_first = number(&text, &first);
	if (*text++ != '-')
		return false;
	has_last = number(&text, &last);
	text += strspn(text, " \t");
	if (*text || (!has_first && !has_last) || (has_first && has_last && last < first))
		return false;
	if (!has_first) {
		*ret_length = SKEP_MIN(last, size);
		*ret_first = size - *ret_length;
		return true;
	}
	*ret_first = first;
	if (first >= size)
		*ret_length = 0;
	else
		*ret_length = has_last && last < size ? last - first + 1 : size - first;
	return true;
}

struct skep_range skep_range_decide(const struct skep_range_ask *ask)
{
	struct skep_range whole = { .status = 200, .length = ask->size_bytes }, part = { .status = 206 };

	if (ask->if_match && !listed(ask->if_match, ask->etag, false))
		return (struct skep_range){ .status = 412 };
	if (ask->if_none_match && listed(ask->if_none_match, ask->etag, true))
		return (struct skep_range){ .status = 304 };
	if (!ask->range || !one_range(ask->range, ask->size_bytes, &part.first, &part.length))
		return whole;
	if (ask->if_range && !(ask->if_range[0] == '"' && listed(ask->if_range, ask->etag, false)))
		return whole;
	if (part.length == 0)
		return (struct skep_range){ .status = 416 };
	return part;
}
