/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_DIRECTORY_H
#define HIVE_SVC_DIRECTORY_H
/*
 * People of a directory, between their logins: who left a group there leaves it here, who is gone is out.
 */
#include "hive/svc/hive.h"

/*
 * Reads every user of the directory anew. A directory that cannot be asked changes nothing (-errno, and a
 * line in the log): an outage there must not throw everybody out here.
 */
int hive_directory_refresh(struct hive *hive);
/*
 * The person's names and groups as the directory has them now, into the user's row; made if it has no id yet.
 */
int hive_directory_take(struct hive *hive, struct hive_tx *tx, const char *name,
			const struct hive_ldap_person *person, struct hive_user *user);

#endif
