/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_AUTH_RIGHTS_H
#define HIVE_AUTH_RIGHTS_H
/*
 * What somebody may do: bits of groups and of tokens. A user has the union of the groups' bits; a token at
 * most those of its user, at each use anew.
 */
#include "common/err.h"

#include <stdbool.h>

enum {
	HIVE_RIGHT_JOBS = 1 << 0,       /* make jobs; see and steer my own, and their datasets */
	HIVE_RIGHT_JOBS_GROUP = 1 << 1, /* the same for jobs of those with whom I share a group */
	HIVE_RIGHT_JOBS_ALL = 1 << 2,   /* the same for all jobs */
	HIVE_RIGHT_DOWNLOAD = 1 << 3,   /* packets of the datasets that I may see; share links to them */
	HIVE_RIGHT_USERS = 1 << 4,      /* make, change and disable users */
	HIVE_RIGHT_GROUPS = 1 << 5,     /* make and change groups and who is in them */
	HIVE_RIGHT_PROBES = 1 << 6,     /* enrol probes, change links and their limits */
	HIVE_RIGHT_AUDIT = 1 << 7,      /* read the audit log, the log, the metrics */
};

#define HIVE_RIGHTS_N 8
#define HIVE_RIGHTS_ALL ((1 << HIVE_RIGHTS_N) - 1)

/* The word for bit i. */
const char *hive_right_name(unsigned int i);
/* The bit of the word; 0: no such right. */
int64_t hive_right_of(const char *name);
/*
 * Nobody gives what they do not have: may somebody with `mine` bring a group or a token from `before` to
 * `after`? Both matter: taking a right from others that one does not have oneself is refused as well.
 * SKEP_E_PRIVILEGE names the first.
 */
int hive_rights_may_change(int64_t mine, int64_t before, int64_t after, struct skep_err *err);

#endif
