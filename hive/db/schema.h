/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_SCHEMA_H
#define HIVE_DB_SCHEMA_H
/*
 * The tables of the hive, as numbered migrations that only go forward. One that was released is never edited.
 */
#include "hive/db/sql.h"

/*
 * Brings the file to the newest version, each migration in a transaction of its own. A file that holds
 * anything is copied first, to PATH.before-vN; that copy is never removed. SKEP_E_UNSUPPORTED: the file is
 * from a newer program.
 */
int hive_schema_migrate(struct hive_db *db, struct skep_err *err);
int hive_schema_version(struct hive_db *db, int64_t *ret);
int64_t hive_schema_newest(void);
/* For tests: as if `version` were the newest. */
int hive_schema_migrate_to(struct hive_db *db, int64_t version, struct skep_err *err);

#endif
