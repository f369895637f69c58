/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hive asks a probe besides its captures: what it is, which interfaces it has, is a filter right, how
 * much would it match, save what a ring has. Reads what it needs of the answers and trusts none of their
 * lengths. Never logs.
 */
#include "hive/probe/client_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ESTIMATE_MORE_MS 20000L /* what a probe takes beyond the seconds asked for, at most */

static void copy_text(const json_t *object, const char *name, char *ret, size_t room)
{
	snprintf(ret, room, "%s", client_text(object, name));
}

/* POST with a body; takes the body (NULL: no memory). */
static int post(struct hive_client *client, const char *path, json_t *body, long timeout_ms, json_t **ret,
		struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	_skep_json_ json_t *taken = body;
	_skep_free_ char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	struct client_ask what = { .method = "POST", .path = path, .body = text, .timeout_ms = timeout_ms };
	int r = text ? hive_client_ask(client, &what, &answer, err) : -ENOMEM;

	return r != 0 ? r : hive_client_json(client, &answer, ret, err);
}

int hive_client_trigger(struct hive_client *client, const struct hive_trigger_wish *wish,
			struct hive_capture *ret, struct skep_err *err)
{
	struct hive_capture ring = { 0 };
	_skep_json_ json_t *job = NULL;
	json_t *body;
	char path[96];
	int r = hive_client_get(client, wish->ring, &ring, err);

	if (r == 0 && ring.at == HIVE_CAPTURE_ABSENT)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "the probe does not have the ring any more");
	if (r != 0)
		return r;
	snprintf(path, sizeof(path), "/v1/rings/%s/trigger", ring.id);
	body = json_pack("{s:s, s:I, s:I}", "name", wish->name, "before_ns", (json_int_t)wish->before_ns, "after_ns",
			 (json_int_t)wish->after_ns);
	if (body && wish->filter)
		(void)json_object_set_new(body, "filter", json_string(wish->filter));
	r = post(client, path, body, 0, &job, err);
	if (r == 0)
		hive_client_read_capture(job, ret);
	return r;
}

int hive_client_check(struct hive_client *client, const char *filter, struct hive_checked *ret,
		      struct skep_err *err)
{
	_skep_json_ json_t *body = NULL;
	int r = post(client, "/v1/filters/check", json_pack("{s:s}", "filter", filter), 0, &body, err);

	if (r != 0)
		return r;
	*ret = (struct hive_checked){ .ok = json_is_true(json_object_get(body, "ok")),
				      .column = (int)client_number(body, "column"),
				      .cbpf_insns = client_number(body, "cbpf_insns"),
				      .ebpf_insns = client_number(body, "ebpf_insns"),
				      .verified = json_is_true(json_object_get(body, "verified")) };
	copy_text(body, "error", ret->error, sizeof(ret->error));
	copy_text(body, "hint", ret->hint, sizeof(ret->hint));
	return 0;
}

static double real_at(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

int hive_client_estimate(struct hive_client *client, const struct hive_estimate_wish *wish,
			 struct hive_rate **ret, uint32_t *ret_n, struct skep_err *err)
{
	_skep_json_ json_t *answer = NULL;
	json_t *links = json_array(), *body = json_pack("{s:o, s:I}", "links", links, "seconds", (json_int_t)wish->seconds);
	const json_t *list, *item;
	struct hive_rate *rates;
	size_t i;
	int r;

	for (uint32_t k = 0; k < wish->n; k++)
		(void)json_array_append_new(links, json_string(wish->interfaces[k]));
	if (wish->filter)
		(void)json_object_set_new(body, "filter", json_string(wish->filter));
	r = post(client, "/v1/estimate", body, (long)wish->seconds * 1000 + ESTIMATE_MORE_MS, &answer, err);
	if (r != 0)
		return r;
	list = json_object_get(answer, "links");
	rates = calloc(json_array_size(list) + 1, sizeof(*rates));
	if (!rates)
		return -ENOMEM;
	json_array_foreach(list, i, item) {
		copy_text(item, "link", rates[i].interface, sizeof(rates[i].interface));
		rates[i].pkts = real_at(item, "packets");
		rates[i].pkts_per_s = real_at(item, "pps");
		rates[i].bits_per_s = real_at(item, "bps");
		rates[i].bytes_per_hour = real_at(item, "bytes_per_hour");
	}
	*ret = rates;
	*ret_n = (uint32_t)json_array_size(list);
	return 0;
}

static int get(struct hive_client *client, const char *path, json_t **ret, struct skep_err *err)
{
	_answer_ struct client_answer answer = { 0 };
	int r = hive_client_ask(client, &(struct client_ask){ .method = "GET", .path = path }, &answer, err);

	return r != 0 ? r : hive_client_json(client, &answer, ret, err);
}

int hive_client_about(struct hive_client *client, char **ret, struct skep_err *err)
{
	_skep_json_ json_t *body = NULL;
	int r = get(client, "/v1/probe", &body, err);

	if (r != 0)
		return r;
	*ret = json_dumps(body, JSON_COMPACT);
	return *ret ? 0 : -ENOMEM;
}

int hive_client_interfaces(struct hive_client *client, struct hive_interface **ret, uint32_t *ret_n,
			   struct skep_err *err)
{
	_skep_json_ json_t *body = NULL;
	const json_t *list, *item;
	struct hive_interface *all;
	size_t i;
	int r = get(client, "/v1/links", &body, err);

	if (r != 0)
		return r;
	list = json_object_get(body, "links");
	all = calloc(json_array_size(list) + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	json_array_foreach(list, i, item) {
		copy_text(item, "name", all[i].name, sizeof(all[i].name));
		copy_text(item, "alias", all[i].alias, sizeof(all[i].alias));
		copy_text(item, "description", all[i].description, sizeof(all[i].description));
		all[i].configured = json_is_true(json_object_get(item, "configured"));
		all[i].up = json_is_true(json_object_get(item, "up"));
		all[i].speed_bps = client_number(item, "speed_mbps") * 1000000;
		all[i].max_jobs = client_number(item, "jobs_max");
		all[i].expected_bps = client_number(item, "expected_bps");
		json_object_del((json_t *)item, "rates"); /* of that moment */
		all[i].info = json_dumps(item, JSON_COMPACT);
	}
	*ret = all;
	*ret_n = (uint32_t)json_array_size(list);
	return 0;
}

void hive_interfaces_free(struct hive_interface *interfaces, uint32_t n)
{
	for (uint32_t i = 0; interfaces && i < n; i++)
		free(interfaces[i].info);
	free(interfaces);
}
