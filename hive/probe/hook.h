/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_PROBE_HOOK_H
#define HIVE_PROBE_HOOK_H
/*
 * One call of somebody's webhook: a signed POST to an address that a user of the hive has chosen, and so one
 * that must not reach what only the hive can reach.
 */
#include "common/err.h"

#include <stdbool.h>

struct hive_hook_note {
	const char *hive, *event;
	int64_t delivery_id, time_ns;
	/* of the job; id 0: there is none */
	int64_t job_id, owner_id, stored_pkts, stored_bytes, kept_pkts;
	const char *name, *state, *outcome, *reasons; /* reasons may be NULL */
};

/* The JSON that is sent; *ret is the caller's. */
int hive_hook_body(const struct hive_hook_note *note, char **ret);

struct hive_hook_call {
	const char *url, *event, *body, *signature;
	int64_t delivery_id;
	bool anywhere; /* also addresses that are not public, and http:// */
};
/*
 * Once: no redirection, no proxy, at most 10 s. 0: there was an answer, *ret_status is its status. -EACCES:
 * the address is not public. Else -errno; err has words.
 */
int hive_hook_send(const struct hive_hook_call *call, long *ret_status, struct skep_err *err);
/* "https://HOST[:PORT]/…" without a user in it (http:// too, if anywhere). */
bool hive_hook_url_fine(const char *url, bool anywhere);

#endif
