/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The deliveries of a webhook, and a test of it; the rest is as with all things. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/hooks.h"

#include <string.h>

int hive_http_webhook_deliveries(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_deliveries };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	struct hive_list list;
	int r = id < 0 ? SKEP_E_NOT_FOUND : hive_http_list(call, &hive_deliveries, &list);

	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_webhook_deliveries(call->hive, &call->actor, id, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}

int hive_http_webhook_test(struct hive_call *call)
{
	_hive_delivery_ struct hive_delivery delivery = { 0 };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r;

	if (id < 0)
		return 0;
	r = hive_webhook_test(call->hive, &call->actor, id, &delivery, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints)
		      : hive_http_answer_row(call, 202, &hive_deliveries, &delivery);
}
