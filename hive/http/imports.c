/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of an import, in pieces: each is a request of its own, so none is large, and one that was lost is
 * sent again. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/imports.h"

#include "common/parse.h"

#include <errno.h>
#include <string.h>

static int take_piece(struct hive_call *call, struct hive_piece *ret)
{
	static const char *const names[] = { "offset", NULL };
	const char *type = skep_http_header(call->req, "Content-Type");
	const char *offset = skep_http_query(call->req, "offset");
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t value = 0;
	int r = skep_http_query_only(call->req, names);

	if (r != 0)
		return r;
	if (!type || strcmp(type, "application/octet-stream") != 0) {
		(void)skep_http_refuse(call->req, 415, "not-bytes", NULL,
				       "a piece must be sent as application/octet-stream");
		return SKEP_E_USAGE;
	}
	if (!offset || skep_parse_uint("offset", offset, 0, INT64_MAX, &value, &err)) {
		(void)skep_http_refuse(call->req, 400, "bad-query", NULL,
				       "offset: must say where the piece belongs");
		return SKEP_E_USAGE;
	}
	ret->offset = (int64_t)value;
	ret->data = skep_http_body(call->req, &ret->bytes);
	return 0;
}

int hive_http_import_data(struct hive_call *call)
{
	_hive_import_ struct hive_import import = { 0 };
	struct hive_complaints complaints = { 0 };
	struct hive_piece piece = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	/* what one may not see is not there, whatever is wrong with the piece */
	r = hive_thing_get(call->hive, &call->actor, HIVE_IMPORT, id, &import, &complaints);
	hive_import_clear(&import);
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	r = take_piece(call, &piece);
	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_import_take(call->hive, &call->actor, id, &piece, &import, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints)
		      : hive_http_answer_row(call, 200, &hive_imports, &import);
}
