/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_WATCH_H
#define HIVE_SVC_WATCH_H
/*
 * Whose jobs somebody sees, for those who look for longer than one request.
 */
#include "hive/svc/hive.h"

struct hive_scope {
	bool all;
	int64_t *owners; /* else these */
	uint32_t n;
};

/*
 * As hive_thing_list() of jobs would narrow it, with the rights of now; the actor's rights are read anew.
 * *ret's owners are the caller's. SKEP_E_PRIVILEGE: nothing any more.
 */
int hive_scope_of(struct hive *hive, struct hive_actor *actor, struct hive_scope *ret);
bool hive_scope_has(const struct hive_scope *scope, int64_t owner_id);

#endif
