/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hive's own log, a page at a time, for who may see it. Keeps no lines itself and writes none. Any number
 * at once.
 */
#include "hive/http/call.h"

#include "common/format.h"
#include "common/parse.h"
#include "hive/svc/logs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* 0; SKEP_E_USAGE: the answer is set. */
static int read_query(struct hive_call *call, struct hive_logs_wish *ret)
{
	static const char *const known[] = { "limit", "cursor", "level", NULL };
	const char *limit, *cursor, *level;
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t n = 100, after = 0;
	int r = skep_http_query_only(call->req, known);

	if (r != 0)
		return r;
	limit = skep_http_query(call->req, "limit");
	cursor = skep_http_query(call->req, "cursor");
	level = skep_http_query(call->req, "level");
	if ((limit && skep_parse_uint("limit", limit, 1, HIVE_PAGE_MAX, &n, &err)) ||
	    (cursor && skep_parse_uint("cursor", cursor, 0, INT64_MAX, &after, &err))) {
		(void)skep_http_refuse(call->req, 400, "bad-query", NULL, "%s", err.text);
		return SKEP_E_USAGE;
	}
	*ret = (struct hive_logs_wish){ .after = (int64_t)after,
					.room = (uint32_t)n,
					.level = level ? -1 : 3 };
	for (int i = 0; level && hive_log_level_names[i]; i++)
		if (strcmp(hive_log_level_names[i], level) == 0)
			ret->level = i;
	if (ret->level >= 0)
		return 0;
	(void)skep_http_refuse(call->req, 400, "bad-query", NULL, "level: must be error, warning, info or debug");
	return SKEP_E_USAGE;
}

int hive_http_logs(struct hive_call *call)
{
	_skep_free_ struct hive_log_line *lines = NULL;
	struct hive_logs_wish wish;
	char time[SKEP_FORMAT_MAX], next[24];
	int64_t last = 0;
	uint32_t n = 0;
	json_t *items;
	int r = read_query(call, &wish);

	if (r != 0)
		return r < 0 ? r : 0;
	lines = calloc(wish.room, sizeof(*lines));
	if (!lines)
		return -ENOMEM;
	r = hive_logs_read(&call->actor, &wish, lines, &n, &last);
	if (r != 0)
		return hive_http_complain(call, r, NULL);
	items = json_array();
	for (uint32_t i = 0; items && i < n; i++)
		(void)json_array_append_new(items, json_pack("{s:I, s:s, s:s, s:s}", "id", (json_int_t)lines[i].id, "time",
							     skep_format_time(time, (uint64_t)lines[i].time_ns), "level",
							     hive_log_level_names[lines[i].level], "text", lines[i].text));
	/* always there: what is logged later is read with it */
	snprintf(next, sizeof(next), "%" PRId64, last);
	return skep_http_answer_json(call->req, 200, json_pack("{s:o, s:s}", "items", items, "next", next));
}
