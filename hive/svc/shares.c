/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A share is found by the digest of its secret, so the database never helps to open one. A wrong password
 * costs time as at a login, by share and network. What the maker of a share may no longer see, it no longer
 * shows. Never logs a secret. Any thread.
 */
#include "hive/svc/shares.h"

#include "hive/auth/delay.h"
#include "hive/svc/login.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hive_shared_clear(struct hive_shared *shared)
{
	hive_share_clear(&shared->share);
	hive_dataset_clear(&shared->dataset);
}

static int gone(struct skep_err *err)
{
	return skep_err_set(err, SKEP_E_NOT_FOUND, "there is no such share, or it is over");
}

static int find(struct hive *hive, const char *secret, struct hive_shared *ret)
{
	_hive_user_ struct hive_user owner = { 0 };
	struct hive_actor maker = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	char digest[HIVE_DIGEST_TEXT];
	int64_t rights = 0;
	int r = hive_db_read(hive->db, &tx);

	hive_secret_digest(secret, digest);
	if (r == 0)
		r = hive_row_find(tx, &hive_shares, "digest", digest, &ret->share);
	if (r == 0)
		r = hive_row_get(tx, &hive_datasets, ret->share.dataset_id, &ret->dataset);
	if (r == 0)
		r = hive_row_get(tx, &hive_users, ret->share.owner_id, &owner);
	if (r == 0)
		r = hive_rights_of(tx, owner.head.id, &rights);
	/* nobody gives more than they have, also later */
	if (r == 0 && (owner.disabled || !(rights & HIVE_RIGHT_DOWNLOAD)))
		r = -ENOENT;
	maker.user_id = owner.head.id;
	maker.rights = rights;
	if (r == 0)
		r = hive_may_owned(tx, &maker, ret->dataset.owner_id);
	return r == SKEP_E_NOT_FOUND ? -ENOENT : r;
}

static int check_password(struct hive *hive, const struct hive_share_key *key, struct hive_shared *ret,
			  struct skep_err *err)
{
	uint64_t now = (uint64_t)hive_now_ns(hive), left;
	bool old;

	if (!ret->share.password)
		return 0;
	left = hive_delay_left(hive->delay, ret->actor.name, key->address, now);
	if (left) {
		ret->wait_s = left / SKEP_NSEC_PER_SEC + 1;
		return skep_err_set(err, SKEP_E_BUSY, "too many wrong passwords; wait %" PRIu64 " s",
				    ret->wait_s);
	}
	if (!key->password)
		return skep_err_set(err, SKEP_E_PRIVILEGE, "this share has a password");
	if (!hive_password_matches(ret->share.password, key->password, &old)) {
		hive_delay_failed(hive->delay, ret->actor.name, key->address, now);
		return skep_err_set(err, SKEP_E_PRIVILEGE, "the password is wrong");
	}
	hive_delay_passed(hive->delay, ret->actor.name, key->address);
	return 0;
}

int hive_share_enter(struct hive *hive, const struct hive_share_key *key, struct hive_shared *ret,
		     struct skep_err *err)
{
	int r = find(hive, key->secret, ret);

	if (r == -ENOENT || (r == 0 && ret->share.expires_ns <= hive_now_ns(hive)))
		return gone(err);
	if (r < 0)
		return r;
	snprintf(ret->actor.name, sizeof(ret->actor.name), "share %" PRId64, ret->share.head.id);
	snprintf(ret->actor.address, sizeof(ret->actor.address), "%s", key->address);
	return check_password(hive, key, ret, err);
}

int hive_share_count(struct hive *hive, const struct hive_shared *shared, struct skep_err *err)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_share_used(tx, shared->share.head.id, hive_now_ns(hive));
	if (r == -EDQUOT)
		return skep_err_set(err, SKEP_E_PRIVILEGE,
				    "the share has had all of its %" PRId64 " downloads",
				    shared->share.max_downloads);
	return r < 0 ? r : hive_tx_commit(&tx);
}
