/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shared datasets, for people without an account: the link's secret is all they need, and the password if
 * there is one, which a browser asks for by itself (Basic; any name). The secret is part of the path, which
 * is never logged. Any number at once.
 */
#include "hive/http/call.h"

#include "hive/svc/login.h"
#include "hive/svc/shares.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BASIC_MAX 2048

static int8_t digit_of(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int8_t)(at - digits) : -1;
}

/* "Basic BASE64(NAME:PASSWORD)"; NULL: there is none. */
static const char *password_of(struct hive_call *call, char buffer[static BASIC_MAX])
{
	const char *header = skep_http_header(call->req, "Authorization");
	uint32_t bits = 0, n_bits = 0;
	size_t n = 0;

	if (!header || strncasecmp(header, "Basic ", 6) != 0)
		return NULL;
	for (header += 6; *header == ' '; header++)
		;
	for (; digit_of(*header) >= 0 && n < BASIC_MAX - 1; header++) {
		bits = bits << 6 | (uint32_t)digit_of(*header);
		n_bits += 6;
		if (n_bits >= 8) {
			n_bits -= 8;
			buffer[n++] = (char)(bits >> n_bits);
		}
	}
	buffer[n] = '\0';
	return strchr(buffer, ':') ? strchr(buffer, ':') + 1 : NULL;
}

/* 0, or the answer is set and SKEP_E_PRIVILEGE. */
static int enter(struct hive_call *call, struct hive_shared *ret)
{
	char buffer[BASIC_MAX] = "", text[32];
	struct skep_err err = SKEP_ERR_NULL;
	struct hive_share_key key = { .secret = skep_http_param(call->req, "secret"),
				      .password = password_of(call, buffer),
				      .address = skep_http_peer(call->req) };
	int r = hive_share_enter(call->hive, &key, ret, &err);

	hive_secret_wipe(buffer, sizeof(buffer));
	if (r <= 0)
		return r;
	if (r == SKEP_E_PRIVILEGE) {
		(void)skep_http_add_header(call->req, "WWW-Authenticate",
					   "Basic realm=\"shared dataset\", charset=\"UTF-8\"");
		(void)skep_http_refuse(call->req, 401, "wrong-password", NULL, "%s", err.text);
	} else if (r == SKEP_E_BUSY) {
		snprintf(text, sizeof(text), "%" PRIu64, ret->wait_s);
		(void)skep_http_add_header(call->req, "Retry-After", text);
		(void)skep_http_refuse(call->req, 429, "too-many-wrong-passwords", NULL, "%s", err.text);
	} else {
		(void)skep_http_answer_err(call->req, &err);
	}
	return SKEP_E_PRIVILEGE;
}

static json_t *time_json(int64_t ns)
{
	json_t *row = hive_http_row_json(&hive_shares, &(struct hive_share){ .expires_ns = ns });
	json_t *time = json_incref(json_object_get(row, "expires"));

	json_decref(row);
	return time;
}

int hive_http_shared(struct hive_call *call)
{
	SKEP_CLEANUP(hive_shared_clear) struct hive_shared shared = { 0 };
	const struct hive_dataset *dataset = &shared.dataset;
	int64_t left = -1;
	int r = enter(call, &shared);

	if (r != 0)
		return r < 0 ? r : 0;
	if (shared.share.max_downloads)
		left = shared.share.max_downloads - shared.share.downloads;
	return skep_http_answer_json(
		call->req, 200,
		json_pack("{s:s, s:s?, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "name", dataset->name,
			  "description", dataset->description, "state", dataset->state, "pkts",
			  (json_int_t)dataset->pkts, "stored_bytes", (json_int_t)dataset->stored_bytes,
			  "first", time_json(dataset->first_ns), "last", time_json(dataset->last_ns),
			  "expires", time_json(shared.share.expires_ns), "downloads_left",
			  left < 0 ? json_null() : json_integer(left)));
}

int hive_http_shared_download(struct hive_call *call)
{
	SKEP_CLEANUP(hive_shared_clear) struct hive_shared shared = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r = enter(call, &shared);

	if (r == 0 && strcmp(skep_http_method(call->req), "HEAD") != 0)
		r = hive_share_count(call->hive, &shared, &err);
	if (r == SKEP_E_PRIVILEGE && err.code)
		return skep_http_refuse(call->req, 410, "used-up", NULL, "%s", err.text);
	if (r != 0)
		return r < 0 ? r : 0;
	call->actor = shared.actor;
	return hive_http_send_dataset(call, &shared.dataset);
}
