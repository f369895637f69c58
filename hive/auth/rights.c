/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rights as bits and words, and the rule that keeps people from raising their own. Knows no user, no group
 * and no route. No state: any thread.
 */
#include "hive/auth/rights.h"

#include <assert.h>
#include <string.h>

static const char *const names[HIVE_RIGHTS_N] = { "jobs",  "jobs-group", "jobs-all", "download",
						  "users", "groups",	 "probes",   "audit" };

const char *hive_right_name(unsigned int i)
{
	assert(i < HIVE_RIGHTS_N);
	return names[i];
}

int64_t hive_right_of(const char *name)
{
	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		if (strcmp(names[i], name) == 0)
			return INT64_C(1) << i;
	return 0;
}

int hive_rights_may_change(int64_t mine, int64_t before, int64_t after, struct skep_err *err)
{
	int64_t beyond = (before ^ after) & ~mine;

	for (unsigned int i = 0; i < HIVE_RIGHTS_N; i++)
		if (beyond & (INT64_C(1) << i)) {
			skep_err_set(err, SKEP_E_PRIVILEGE, "the right \"%s\" cannot be given or taken by somebody who does not have it",
				     names[i]);
			skep_err_hint(err, "ask an administrator who has it");
			return SKEP_E_PRIVILEGE;
		}
	return beyond ? skep_err_set(err, SKEP_E_USAGE, "there is no such right") : 0;
}
