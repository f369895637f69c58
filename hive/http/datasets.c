/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The files of datasets: which there are, and their bytes, by Range, with ETag and Repr-Digest. Every
 * download is in the audit log. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/datasets.h"

#include <errno.h>
#include <string.h>

int hive_http_dataset_files(struct hive_call *call)
{
	_hive_rows_ struct hive_rows rows = { .table = &hive_files };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id");
	struct hive_list list;
	int r = id < 0 ? SKEP_E_NOT_FOUND : hive_http_list(call, &hive_files, &list);

	if (r != 0)
		return r < 0 ? r : 0;
	r = hive_dataset_files(call->hive, &call->actor, id, &list, &rows, &complaints);
	return r != 0 ? hive_http_complain(call, r, &complaints) : hive_http_answer_rows(call, &rows);
}

static bool digest_bytes(const char *hex, uint8_t ret[static 32])
{
	for (int i = 0; i < 64; i++) {
		const char *digit = hex[i] ? strchr("0123456789abcdef", hex[i]) : NULL;
		uint8_t value = digit ? (uint8_t)(digit - "0123456789abcdef") : 0;

		if (!digit)
			return false;
		ret[i / 2] = i % 2 ? (uint8_t)(ret[i / 2] | value) : (uint8_t)(value << 4);
	}
	return true;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

int hive_http_dataset_file(struct hive_call *call)
{
	_hive_file_ struct hive_file file = { 0 };
	struct hive_complaints complaints = { 0 };
	int64_t id = hive_http_id(call, "id"), file_id = id < 0 ? -1 : hive_http_id(call, "file");
	struct skep_http_file answer = { .fd = -1, .type = "application/zstd" };
	uint8_t digest[32];
	int r;

	if (file_id < 0)
		return 0;
	r = hive_dataset_open(call->hive, &call->actor, &(struct hive_file_of){ id, file_id }, &file,
			      &answer.fd, &complaints);
	if (r == -ENOENT)
		return skep_http_refuse(call->req, 410, "gone", NULL, "the file is no longer in the store");
	if (r != 0)
		return hive_http_complain(call, r, &complaints);
	answer.etag = file.sha256;
	answer.sha256 = digest_bytes(file.sha256, digest) ? digest : NULL;
	answer.name = file.name;
	if (!ends_with(file.name, ".zst"))
		answer.type = "application/vnd.tcpdump.pcap";
	return skep_http_answer_file(call->req, &answer);
}

int hive_http_dataset_manifest(struct hive_call *call)
{
	struct hive_complaints complaints = { 0 };
	_skep_free_ char *text = NULL;
	int64_t id = hive_http_id(call, "id");
	int r = id < 0 ? 0 : hive_dataset_manifest(call->hive, &call->actor, id, &text, &complaints);

	if (id < 0)
		return 0;
	return r != 0 ? hive_http_complain(call, r, &complaints)
		      : skep_http_answer_data(call->req, 200, "application/json", text, strlen(text));
}
