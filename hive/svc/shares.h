/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_SHARES_H
#define HIVE_SVC_SHARES_H
/*
 * Shared datasets, for whoever has the link.
 */
#include "hive/svc/hive.h"

struct hive_shared {
	struct hive_share share;
	struct hive_dataset dataset;
	struct hive_actor actor; /* for the audit log: "share N" */
	uint64_t wait_s;	 /* SKEP_E_BUSY */
};

void hive_shared_clear(struct hive_shared *shared);

struct hive_share_key {
	const char *secret, *password; /* password NULL: none was sent */
	const char *address;
};

/*
 * SKEP_E_NOT_FOUND: there is no such share, or it has expired; SKEP_E_PRIVILEGE: the password is wrong or
 * missing; SKEP_E_BUSY: too many wrong ones.
 */
int hive_share_enter(struct hive *hive, const struct hive_share_key *key, struct hive_shared *ret,
		     struct skep_err *err);
/* One download of it. SKEP_E_PRIVILEGE: it has had as many as it may have. */
int hive_share_count(struct hive *hive, const struct hive_shared *shared, struct skep_err *err);

#endif
