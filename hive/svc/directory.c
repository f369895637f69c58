/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Users and memberships that come from a directory. Those made here by hand are never touched. Asks the
 * directory outside of any transaction, for it may take seconds. Any thread; refresh by one at a time.
 */
#include "hive/svc/directory.h"

#include "common/log.h"
#include "hive/svc/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool has_group(const struct hive_ldap_person *person, const char *dn)
{
	for (uint32_t i = 0; i < person->n_groups; i++)
		if (hive_ldap_same_dn(person->groups[i], dn))
			return true;
	return false;
}

/* Memberships that come from the directory become those that it names now; local ones stay. */
static int take_groups(struct hive_tx *tx, int64_t user_id, const struct hive_ldap_person *person)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	int r = hive_groups_of_ldap(tx, &groups);

	for (uint32_t i = 0; r == 0 && i < groups.n; i++) {
		const struct hive_group *group = hive_rows_at(&groups, i);

		if (has_group(person, group->ldap_group))
			r = hive_member_add(tx, group->head.id, user_id, "ldap");
		else
			r = hive_member_remove(tx, group->head.id, user_id, "ldap");
		if (r == -ENOENT)
			r = 0;
	}
	return r;
}

static int replace(char **text, const char *by)
{
	char *copy = by ? strdup(by) : NULL;

	if (by && !copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

int hive_directory_take(struct hive *hive, struct hive_tx *tx, const char *name,
			const struct hive_ldap_person *person, struct hive_user *user)
{
	int r = replace(&user->full_name, person->full_name);

	if (r == 0)
		r = replace(&user->email, person->email);
	if (r == 0)
		r = replace(&user->ldap_dn, person->dn);
	user->checked_ns = hive_now_ns(hive);
	if (r == 0 && user->head.id)
		r = hive_row_update(tx, &hive_users, user);
	if (r == 0 && !user->head.id) {
		user->created_ns = hive_now_ns(hive);
		r = replace(&user->name, name);
		if (r == 0)
			r = replace(&user->source, "ldap");
		if (r == 0)
			r = hive_row_insert(tx, &hive_users, user);
	}
	return r < 0 ? r : take_groups(tx, user->head.id, person);
}

/* ---- between logins ---- */

static int refresh_one(struct hive *hive, int64_t user_id, const struct hive_ldap_person *person)
{
	static const struct hive_ldap_person nobody = { 0 };
	const struct hive_actor system = { .name = "directory" };
	_hive_user_ struct hive_user user = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[32];
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_users, user_id, &user);
	if (r == 0 && person)
		r = hive_directory_take(hive, tx, user.name, person, &user);
	if (r == 0 && !person) {
		int64_t n = hive_sessions_end_of(tx, user_id);

		r = n < 0 ? (int)n : take_groups(tx, user_id, &nobody);
		user.disabled = 1;
		user.checked_ns = hive_now_ns(hive);
		if (r == 0)
			r = hive_row_update(tx, &hive_users, &user);
		snprintf(object, sizeof(object), "user %" PRId64, user_id);
		if (r == 0)
			r = hive_audit_add(hive, tx, &system, "user.gone", object, user.name);
	}
	return r < 0 ? r : hive_tx_commit(&tx);
}

struct people {
	struct hive_rows rows;
	uint32_t room;
};

static int remember(void *arg, void *row)
{
	struct people *people = arg;
	struct hive_user *user = row, *to;

	if (strcmp(user->source, "ldap") != 0 || user->disabled)
		return 0;
	if (people->rows.n == people->room) {
		void *items = reallocarray(people->rows.items, people->room + 64, sizeof(*user));

		if (!items)
			return -ENOMEM;
		people->rows.items = items;
		people->room += 64;
	}
	to = hive_rows_at(&people->rows, people->rows.n++);
	*to = *user;
	memset(user, 0, sizeof(*user)); /* its texts have moved */
	return 0;
}

int hive_directory_refresh(struct hive *hive)
{
	struct people people = { .rows = { .table = &hive_users } };
	struct hive_tx *tx = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_row_each(tx, &hive_users, remember, &people);
	hive_tx_abortp(&tx);
	for (uint32_t i = 0; r == 0 && i < people.rows.n; i++) {
		const struct hive_user *user = hive_rows_at(&people.rows, i);
		_hive_ldap_person_ struct hive_ldap_person person = { 0 };

		r = hive_ldap_read(hive->cfg.ldap, user->name, &person, &err);
		if (r == 0 || r == SKEP_E_NOT_FOUND)
			r = refresh_one(hive, user->head.id, r == 0 ? &person : NULL);
		else
			skep_log(SKEP_LOG_WARNING, "directory: %s", err.text);
	}
	hive_rows_clear(&people.rows);
	return r;
}
