/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_AUDIT_H
#define HIVE_SVC_AUDIT_H
/*
 * Who did what to which object from where. Each entry's hash covers the one before, so an entry that was
 * changed, taken out or put in between is found.
 */
#include "hive/svc/hive.h"

/* In the transaction of the deed: both happen or neither. detail never holds a secret; NULL: none. */
int hive_audit_add(struct hive *hive, struct hive_tx *tx, const struct hive_actor *actor, const char *action,
		   const char *object, const char *detail);
/*
 * Walks the whole log. -EBADMSG: *ret_row is the first entry that does not follow from the one before it.
 * *ret_n: the entries that are right; head (may be NULL) is the newest hash: noted elsewhere, it also tells
 * whether the end was cut off.
 */
int hive_audit_verify(struct hive_db *db, int64_t *ret_n, int64_t *ret_row,
		      char head[static HIVE_DIGEST_TEXT], struct skep_err *err);

#endif
