/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sums and spellings of accounts. Numbers only ever come from engines and sidecars; nothing here invents one.
 * Reasons beyond CTL_DROPS_MAX are added up as "other". No state: any thread.
 */
#include "control/account.h"

#include <stdio.h>
#include <string.h>

static uint64_t number(const json_t *object, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(object, name));

	return n > 0 ? (uint64_t)n : 0;
}

static void add_drop(struct ctl_account *to, const char *reason, uint64_t pkts)
{
	uint32_t i = 0;

	while (i < to->n_drops && strcmp(to->drops[i].reason, reason) != 0)
		i++;
	if (i == to->n_drops && i == CTL_DROPS_MAX)
		i--;
	if (i == to->n_drops) {
		to->n_drops++;
		(void)snprintf(to->drops[i].reason, sizeof(to->drops[i].reason), "%.39s",
			       i == CTL_DROPS_MAX - 1 ? "other" : reason);
	}
	to->drops[i].pkts += pkts;
}

void ctl_account_add(struct ctl_account *to, const struct ctl_account *more)
{
	to->seen += more->seen;
	to->stored += more->stored;
	to->rejected += more->rejected;
	to->sampled_out += more->sampled_out;
	to->cut_off += more->cut_off;
	to->pending += more->pending;
	to->bytes_wire += more->bytes_wire;
	to->bytes_raw += more->bytes_raw;
	to->bytes_disk += more->bytes_disk;
	for (uint32_t i = 0; i < more->n_drops; i++)
		add_drop(to, more->drops[i].reason, more->drops[i].pkts);
}

static void parse_drops(const json_t *dropped, struct ctl_account *ret)
{
	const char *reason;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)dropped, reason, value) if (json_integer_value(value) > 0)
		add_drop(ret, reason, (uint64_t)json_integer_value(value));
}

void ctl_account_parse(const json_t *json, struct ctl_account *ret)
{
	*ret = (struct ctl_account){
		.seen = number(json, "seen"),
		.stored = number(json, "stored"),
		.rejected = number(json, "rejected"),
		.sampled_out = number(json, "sampled_out"),
		.cut_off = number(json, "cut_off"),
		.pending = number(json, "pending"),
		.bytes_wire = number(json, "bytes_wire"),
		.bytes_raw = number(json, "bytes_raw"),
		.bytes_disk = number(json, "bytes_disk"),
	};
	parse_drops(json_object_get(json, "dropped"), ret);
}

void ctl_account_of_sidecar(const json_t *sidecar, struct ctl_account *ret)
{
	const json_t *account = json_object_get(sidecar, "account");

	*ret = (struct ctl_account){
		.stored = number(account, "stored_pkts"),
		.rejected = number(account, "rejected_pkts"),
		.bytes_wire = number(sidecar, "bytes_wire"),
		.bytes_raw = number(sidecar, "bytes_raw"),
		.bytes_disk = number(sidecar, "bytes_disk"),
	};
	parse_drops(json_object_get(account, "dropped"), ret);
	/* A recovered file does not know what was seen; what it holds was, at least. */
	ret->seen = ret->stored + ret->rejected + ctl_account_dropped(ret);
}

static json_t *count(uint64_t n)
{
	return json_integer((json_int_t)SKEP_MIN(n, (uint64_t)INT64_MAX));
}

json_t *ctl_account_json(const struct ctl_account *account)
{
	json_t *json = json_object(), *dropped = json_object();

	for (uint32_t i = 0; i < account->n_drops; i++)
		json_object_set_new(dropped, account->drops[i].reason, count(account->drops[i].pkts));
	json_object_set_new(json, "seen", count(account->seen));
	json_object_set_new(json, "stored", count(account->stored));
	json_object_set_new(json, "rejected", count(account->rejected));
	json_object_set_new(json, "sampled_out", count(account->sampled_out));
	json_object_set_new(json, "cut_off", count(account->cut_off));
	json_object_set_new(json, "dropped", dropped);
	json_object_set_new(json, "pending", count(account->pending));
	json_object_set_new(json, "bytes_wire", count(account->bytes_wire));
	json_object_set_new(json, "bytes_raw", count(account->bytes_raw));
	json_object_set_new(json, "bytes_disk", count(account->bytes_disk));
	return json;
}

uint64_t ctl_account_dropped(const struct ctl_account *account)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < account->n_drops; i++)
		sum += account->drops[i].pkts;
	return sum;
}

void ctl_account_bury(struct ctl_account *files, const struct ctl_account *said)
{
	uint64_t taken = said->stored + said->pending;

	files->rejected = SKEP_MAX(files->rejected, said->rejected);
	files->sampled_out = SKEP_MAX(files->sampled_out, said->sampled_out);
	files->cut_off = SKEP_MAX(files->cut_off, said->cut_off);
	for (uint32_t i = 0; i < said->n_drops; i++) {
		uint64_t have = 0;

		for (uint32_t k = 0; k < files->n_drops; k++)
			if (!strcmp(files->drops[k].reason, said->drops[i].reason))
				have = files->drops[k].pkts;
		if (said->drops[i].pkts > have)
			add_drop(files, said->drops[i].reason, said->drops[i].pkts - have);
	}
	if (taken > files->stored)
		add_drop(files, "engine_died", taken - files->stored);
	files->seen = files->stored + files->rejected + ctl_account_dropped(files);
}
