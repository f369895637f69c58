/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_HIVE_DB_H
#define SKEP_TESTS_HIVE_DB_H
/*
 * A new database in a folder of its own, for tests that need a real one.
 */
#include "tests/unit/unit.h"

#include "hive/db/schema.h"

#include <dirent.h>
#include <stdio.h>

struct temp_db {
	char folder[64];
	char path[96];
	struct hive_db *db;
};

static inline void temp_db_open(struct temp_db *temp, bool migrated)
{
	struct skep_err err = SKEP_ERR_NULL;

	snprintf(temp->folder, sizeof(temp->folder), "/tmp/skep-hive-test-XXXXXX");
	assert_non_null(mkdtemp(temp->folder));
	snprintf(temp->path, sizeof(temp->path), "%s/hive.db", temp->folder);
	if (hive_db_open(temp->path, 2, &temp->db, &err))
		fail_msg("%s", err.text);
	if (migrated && hive_schema_migrate(temp->db, &err))
		fail_msg("%s", err.text);
}

static inline void temp_db_close(struct temp_db *temp)
{
	DIR *dir = opendir(temp->folder);
	struct dirent *entry;

	temp->db = hive_db_close(temp->db);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(dir), entry->d_name, 0);
	if (dir)
		closedir(dir);
	rmdir(temp->folder);
}

#endif
