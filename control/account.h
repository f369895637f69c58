/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_ACCOUNT_H
#define CTL_ACCOUNT_H
/*
 * Accounts of packets as engines and sidecars spell them: seen = stored + rejected + all dropped.
 */
#include "common/util.h"

#include <jansson.h>

#define CTL_DROPS_MAX 16

struct ctl_account {
	uint64_t seen, stored, rejected, sampled_out, cut_off, pending;
	uint64_t bytes_wire, bytes_raw, bytes_disk;
	uint32_t n_drops;
	struct {
		char reason[40];
		uint64_t pkts;
	} drops[CTL_DROPS_MAX];
};

void ctl_account_add(struct ctl_account *to, const struct ctl_account *more);
/*
 * Adds to what the files of a dead engine hold what it had said beyond that: packets that it had taken and
 * that are in no file were dropped, as "engine_died".
 */
void ctl_account_bury(struct ctl_account *files, const struct ctl_account *said);
/* From an engine's "account" or our own journal; what is not there is 0. */
void ctl_account_parse(const json_t *json, struct ctl_account *ret);
/* From a sidecar, the whole object. */
void ctl_account_of_sidecar(const json_t *sidecar, struct ctl_account *ret);
/* As ctl_account_parse takes it; the caller's. */
json_t *ctl_account_json(const struct ctl_account *account);
uint64_t ctl_account_dropped(const struct ctl_account *account);

#endif
