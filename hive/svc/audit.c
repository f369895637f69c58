/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The audit log and its chain: hash = SHA-256(hash before, id, time, actor, address, action, object, detail),
 * each text with its length. Whoever can write the file can also make a whole new chain: then the head
 * differs from the one that was noted. Never changes an entry. Any thread.
 */
#include "hive/svc/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void hash_of(const struct hive_audit *entry, const char *before, char ret[static HIVE_DIGEST_TEXT])
{
	char id[24], time[24];
	const char *const texts[] = { before,	      id,	     time,	    entry->actor,
				      entry->address, entry->action, entry->object, entry->detail };

	snprintf(id, sizeof(id), "%" PRId64, entry->head.id);
	snprintf(time, sizeof(time), "%" PRId64, entry->time_ns);
	hive_secret_digest_all(texts, ARRAY_LEN(texts), ret);
}

int hive_audit_add(struct hive *hive, struct hive_tx *tx, const struct hive_actor *actor, const char *action,
		   const char *object, const char *detail)
{
	char hash[HIVE_DIGEST_TEXT];
	struct hive_audit entry = {
		.time_ns = hive_now_ns(hive),
		.actor = (char *)actor->name,
		.address = actor->address[0] ? (char *)actor->address : NULL,
		.action = (char *)action,
		.object = (char *)object,
		.detail = (char *)detail,
		.hash = hash,
	};
	_skep_free_ char *before = NULL;
	int64_t id = 0;
	int r = hive_audit_last_hash(tx, &before);

	if (r == 0)
		r = hive_audit_next_id(tx, &id); /* part of the hash */
	if (r < 0)
		return r;
	entry.head.id = id;
	hash_of(&entry, before, hash);
	r = hive_row_insert(tx, &hive_audits, &entry);
	return r == 0 && entry.head.id != id ? -EBADMSG : r;
}

int hive_audit_verify(struct hive_db *db, int64_t *ret_n, int64_t *ret_row,
		      char head[static HIVE_DIGEST_TEXT], struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_list list = { .limit = HIVE_PAGE_MAX };
	_skep_free_ char *after = NULL;
	char hash[HIVE_DIGEST_TEXT];
	int r = hive_db_read(db, &tx);

	head[0] = '\0';
	*ret_n = 0;
	do {
		_hive_rows_ struct hive_rows rows = { .table = &hive_audits };

		list.after = after;
		if (r == 0)
			r = hive_row_list(tx, &hive_audits, &list, &rows);
		if (r < 0)
			return skep_err_set(err, r, "the audit log cannot be read: %s", strerror(-r));
		for (uint32_t i = 0; i < rows.n; i++) {
			const struct hive_audit *entry = hive_rows_at(&rows, i);

			hash_of(entry, head, hash);
			if (!entry->hash || strcmp(hash, entry->hash) != 0 || entry->head.id != *ret_n + 1) {
				*ret_row = entry->head.id;
				return skep_err_set(err, -EBADMSG,
						    "audit entry %" PRId64 " was altered, or one before it was taken out or put in",
						    entry->head.id);
			}
			memcpy(head, hash, HIVE_DIGEST_TEXT);
			++*ret_n;
		}
		free(after);
		after = TAKE_PTR(rows.next);
	} while (after);
	return 0;
}
