/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rule of things.c for jobs, as a set of owners that is quick to ask. No state: any thread.
 */
#include "hive/svc/watch.h"

#include "hive/svc/login.h"

#include <errno.h>

int hive_scope_of(struct hive *hive, struct hive_actor *actor, struct hive_scope *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_scope scope = { 0 };
	int r = hive_actor_again(hive, actor);

	if (r != 0)
		return r;
	scope.all = hive_actor_can(actor, HIVE_RIGHT_JOBS_ALL);
	if (!scope.all && !(actor->rights & (HIVE_RIGHT_JOBS | HIVE_RIGHT_JOBS_GROUP)))
		return SKEP_E_PRIVILEGE;
	if (!scope.all && hive_actor_can(actor, HIVE_RIGHT_JOBS_GROUP)) {
		r = hive_db_read(hive->db, &tx);
		if (r == 0)
			r = hive_peers_of(tx, actor->user_id, &scope.owners, &scope.n);
	} else if (!scope.all) {
		scope.owners = malloc(sizeof(*scope.owners));
		if (!scope.owners)
			return -ENOMEM;
		scope.owners[scope.n++] = actor->user_id;
	}
	if (r == 0)
		*ret = scope;
	return r;
}

bool hive_scope_has(const struct hive_scope *scope, int64_t owner_id)
{
	for (uint32_t i = 0; i < scope->n && !scope->all; i++)
		if (scope->owners[i] == owner_id)
			return true;
	return scope->all;
}
