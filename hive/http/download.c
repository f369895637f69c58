/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Downloads of whole datasets: what was wished for is read from the query, planned by the service, and sent:
 * by range where the plan knows the length, else as it comes. A merge that does not end well ends the
 * connection, never the answer, so nobody takes a part for the whole. Any number at once.
 */
#include "hive/http/call.h"

#include "common/http_range.h"
#include "hive/svc/datasets.h"
#include "hive/svc/download.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 0, or the answer is set. */
static int take_time(struct hive_call *call, const char *name, int64_t *ret)
{
	const char *text = skep_http_query(call->req, name);

	if (!text || hive_http_time(text, ret) == 0)
		return 0;
	(void)skep_http_refuse(call->req, 400, "bad-query", NULL,
			       "%s: must be a time in UTC, as 2026-11-21T11:50:57Z", name);
	return SKEP_E_USAGE;
}

static int take_wish(struct hive_call *call, struct hive_download_wish *ret)
{
	static const char *const names[] = { "format", "link", "from", "to", "filter", NULL };
	const char *format = skep_http_query(call->req, "format");
	int r = skep_http_query_only(call->req, names), i = 0;

	*ret = (struct hive_download_wish){ .link = skep_http_query(call->req, "link"),
					    .filter = skep_http_query(call->req, "filter") };
	while (format && hive_download_names[i] && strcmp(hive_download_names[i], format) != 0)
		i++;
	if (r == 0 && (!format || !hive_download_names[i])) {
		(void)skep_http_refuse(call->req, 400, "bad-query", NULL,
				       "format: must be pcap, pcapng, pcap.zst, zip or tar");
		r = SKEP_E_USAGE;
	}
	ret->format = (enum hive_download_format)i;
	if (r == 0)
		r = take_time(call, "from", &ret->from_ns);
	return r == 0 ? take_time(call, "to", &ret->to_ns) : r;
}

static int answer_bundle(struct hive_call *call, struct hive_download *plan)
{
	struct skep_http_content content = {
		.bytes = plan->bytes,
		.read = hive_download_read,
		.closed = hive_download_closed,
		.arg = TAKE_PTR(plan->bundle),
		.type = plan->type,
		.etag = plan->etag,
		.name = plan->name,
	};

	return skep_http_answer_content(call->req, &content);
}

static int answer_merged(struct hive_call *call, const struct hive_download *plan)
{
	struct skep_range range = { .status = 200, .length = plan->bytes };
	struct hive_download_stream stream = { .fd = -1 };
	struct skep_err err = SKEP_ERR_NULL;
	int r = plan->bytes ? skep_http_range(call->req, plan->etag, plan->bytes, &range) : 0;

	if (r != 0 || (range.status != 200 && range.status != 206))
		return r;
	r = hive_download_start(call->hive, plan, range.first, &stream, &err);
	if (r == SKEP_E_BUSY) {
		(void)skep_http_add_header(call->req, "Retry-After", "10");
		return skep_http_refuse(call->req, 503, "overloaded", NULL, "%s", err.text);
	}
	if (r != 0)
		return r < 0 ? r : skep_http_answer_err(call->req, &err);
	return skep_http_answer_stream(call->req, &(struct skep_http_stream){
							  .type = plan->type,
							  .fd = stream.fd,
							  .whole = stream.whole,
							  .closed = stream.closed,
							  .arg = stream.arg,
							  .etag = plan->etag[0] ? plan->etag : NULL,
							  .name = plan->name,
							  .first = range.first,
							  .length = range.length,
							  .total_bytes = plan->bytes,
						  });
}

int hive_http_send_dataset(struct hive_call *call, const struct hive_dataset *dataset)
{
	SKEP_CLEANUP(hive_download_clear) struct hive_download plan = HIVE_DOWNLOAD_NULL;
	struct hive_complaints complaints = { 0 };
	struct hive_download_wish wish;
	char what[96];
	int r = take_wish(call, &wish);

	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_download_plan(call->hive, dataset, &wish, &plan, &complaints);
	if (r == -ENOENT)
		return skep_http_refuse(call->req, 410, "gone", NULL,
					"the dataset's files are no longer in the store");
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	snprintf(what, sizeof(what), "%s%s%.64s", hive_download_names[wish.format], wish.link ? " of " : "",
		 wish.link ? wish.link : "");
	r = hive_dataset_note_download(call->hive, &call->actor, dataset->head.id, what);
	if (r < 0)
		return r;
	return plan.bundle ? answer_bundle(call, &plan) : answer_merged(call, &plan);
}

int hive_http_dataset_download(struct hive_call *call)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	int r = id < 0 ? 0
		       : hive_thing_get(call->hive, &call->actor, HIVE_DATASET, id, &dataset, &complaints);

	if (id < 0)
		return 0;
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_send_dataset(call, &dataset);
}
