/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of what belongs to datasets: shares, notes, imports, destinations and copies. Who sees a dataset
 * sees what belongs to it; what leaves the hive (a share, a copy) needs the right to download besides.
 * Secrets go in and never come out, but for a share's own, once. Any thread.
 */
#include "hive/db/transfers.h"

#include "hive/svc/things_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHARE_MAX_NS (366 * INT64_C(86400) * (int64_t)SKEP_NSEC_PER_SEC)
#define TEXT_MAX 65536
#define IMPORT_MIN_BYTES 24 /* a pcap without packets */
#define URL_MAX 512

static int refuse(struct hive_complaints *complaints, const char *field, int code, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, code, "%s", text);
	return hive_complain_err(complaints, field, &err);
}

static int first_complaint(const struct hive_wish *wish)
{
	return wish->complaints->n ? wish->complaints->items[0].err.code : 0;
}

/* ---- what belongs to a dataset ---- */

static int narrow_to_seen(const struct hive_actor *actor, const struct hive_table *table,
			  struct hive_list *list)
{
	if (hive_actor_can(actor, HIVE_RIGHT_JOBS_ALL))
		return 0;
	if (hive_actor_can(actor, HIVE_RIGHT_JOBS_GROUP))
		hive_narrow(list, table, "dataset_id", HIVE_PEERS_DATASETS, actor->user_id);
	else if (hive_actor_can(actor, HIVE_RIGHT_JOBS))
		hive_narrow(list, table, "dataset_id", HIVE_MY_DATASETS, actor->user_id);
	else
		return SKEP_E_PRIVILEGE;
	return 0;
}

static int may_see(struct hive_tx *tx, const struct hive_actor *actor, int64_t dataset_id)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	int r = hive_row_get(tx, &hive_datasets, dataset_id, &dataset);

	return r == -ENOENT ? SKEP_E_NOT_FOUND : r < 0 ? r : hive_may_owned(tx, actor, dataset.owner_id);
}

/* The dataset of a wish, if the actor may see it; complete says that it must be. */
static int check_dataset(struct hive_wish *wish, int64_t dataset_id, bool complete, struct hive_dataset *ret)
{
	int r = may_see(wish->tx, wish->actor, dataset_id);

	if (r == SKEP_E_NOT_FOUND)
		return hive_complain(wish->complaints, "dataset_id", "dataset_id: there is no such dataset");
	if (r == 0)
		r = hive_row_get(wish->tx, &hive_datasets, dataset_id, ret);
	if (r == 0 && complete && strcmp(ret->state, "open") == 0)
		return refuse(wish->complaints, "dataset_id", SKEP_E_BUSY,
			      "dataset_id: the dataset is not complete yet");
	return r;
}

/* ---- shares ---- */

static int share_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return narrow_to_seen(actor, &hive_shares, list);
}

static int share_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	int r = may_see(tx, actor, ((const struct hive_share *)row)->dataset_id);

	/* it is made and revoked, never changed */
	return r == 0 && verb == HIVE_ALTER ? SKEP_E_PRIVILEGE : r;
}

static int share_password(struct hive_wish *wish, struct hive_share *share)
{
	struct skep_err err = SKEP_ERR_NULL;
	char hash[HIVE_PASSWORD_TEXT];
	int r;

	if (!wish->change->password)
		return 0;
	if (hive_password_acceptable(wish->change->password, NULL, &err))
		return hive_complain_err(wish->complaints, "password", &err);
	r = hive_password_hash(wish->change->password, hash);
	if (r < 0)
		return r;
	share->password = strdup(hash);
	return share->password ? 0 : -ENOMEM;
}

static int share_check(struct hive_wish *wish)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	struct hive_share *share = wish->change->row;
	int64_t now = hive_now_ns(wish->hive);
	char digest[HIVE_DIGEST_TEXT];
	int r;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_DOWNLOAD))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", share->name);
	if (share->expires_ns <= now || share->expires_ns > now + SHARE_MAX_NS)
		(void)hive_complain(wish->complaints, "expires",
				    "expires: must be a time within the next 366 days");
	if (share->max_downloads < 0)
		(void)hive_complain(wish->complaints, "max_downloads",
				    "max_downloads: must not be negative; 0 is no limit");
	r = check_dataset(wish, share->dataset_id, true, &dataset);
	if (r < 0)
		return r;
	r = first_complaint(wish);
	if (r == 0)
		r = share_password(wish, share);
	if (r != 0)
		return r;
	hive_secret_make("skep_s_", wish->change->secret);
	hive_secret_digest(wish->change->secret, digest);
	share->digest = strdup(digest);
	share->owner_id = wish->actor->user_id;
	share->created_ns = now;
	return share->digest ? 0 : -ENOMEM;
}

const struct hive_rules hive_share_rules = {
	.table = &hive_shares,
	.word = "share",
	.scope = share_scope,
	.may = share_may,
	.check = share_check,
};

/* ---- notes ---- */

static int note_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return narrow_to_seen(actor, &hive_notes, list);
}

static int note_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_note *note = row;
	int r = may_see(tx, actor, note->dataset_id);

	if (r != 0 || verb == HIVE_SEE || note->author_id == actor->user_id)
		return r;
	/* what others said is theirs; who steers everything may take it away, not put words into their mouths
	 */
	return verb == HIVE_REMOVE && hive_actor_can(actor, HIVE_RIGHT_JOBS_ALL) ? 0 : SKEP_E_PRIVILEGE;
}

static int note_check(struct hive_wish *wish)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	struct hive_note *note = wish->change->row;
	int r = check_dataset(wish, note->dataset_id, false, &dataset);

	if (r < 0)
		return r;
	if (!note->text || !*note->text || strlen(note->text) > TEXT_MAX)
		(void)hive_complain(wish->complaints, "text", "text: must have 1 to %d bytes", TEXT_MAX);
	if (first_complaint(wish))
		return first_complaint(wish);
	if (wish->before) {
		note->changed_ns = hive_now_ns(wish->hive);
		return 0;
	}
	note->author_id = wish->actor->user_id;
	note->author = strdup(wish->actor->name);
	note->created_ns = hive_now_ns(wish->hive);
	return note->author ? 0 : -ENOMEM;
}

const struct hive_rules hive_note_rules = {
	.table = &hive_notes,
	.word = "note",
	.scope = note_scope,
	.may = note_may,
	.check = note_check,
};

/* ---- imports ---- */

static int import_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return hive_scope_owned(actor, &hive_imports, list);
}

static int import_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
		      enum hive_verb verb)
{
	int r = hive_may_owned(tx, actor, ((const struct hive_import *)row)->owner_id);

	return r == 0 && verb == HIVE_ALTER ? SKEP_E_PRIVILEGE : r;
}

static int import_quota(struct hive_wish *wish, const struct hive_import *import)
{
	struct hive_storage_rule rule = { 0 };
	int64_t used = 0;
	int r = hive_storage_rule_of(wish->tx, wish->actor->user_id, &rule);

	if (r == 0)
		r = hive_storage_used(wish->tx, wish->actor->user_id, &used);
	if (r == 0 && rule.quota_bytes && used + import->bytes > rule.quota_bytes)
		return hive_complain(wish->complaints, "bytes",
				     "bytes: with what you store already, and may yet, that is more than the "
				     "%lld bytes of your groups",
				     (long long)rule.quota_bytes);
	return r;
}

static int import_check(struct hive_wish *wish)
{
	struct hive_import *import = wish->change->row;
	char random[HIVE_SECRET_TEXT];
	int r;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_JOBS))
		return SKEP_E_PRIVILEGE;
	if (!wish->hive->store || !wish->hive->cfg.programs)
		return refuse(wish->complaints, NULL, SKEP_E_UNSUPPORTED,
			      "this hive has no store, or does not find skep-capture");
	(void)hive_check_name(wish->complaints, "name", import->name);
	if (import->bytes < IMPORT_MIN_BYTES)
		(void)hive_complain(wish->complaints, "bytes",
				    "bytes: must be the length of the capture, at least %d",
				    IMPORT_MIN_BYTES);
	if (import->sha256 &&
	    (strlen(import->sha256) != 64 || strspn(import->sha256, "0123456789abcdef") != 64))
		(void)hive_complain(wish->complaints, "sha256",
				    "sha256: must be 64 hexadecimal digits in lower case");
	r = first_complaint(wish) ?: import_quota(wish, import);
	if (r != 0)
		return r;
	hive_secret_make("import-", random);
	import->owner_id = wish->actor->user_id;
	import->state = strdup("open");
	import->folder = strdup(random);
	import->file = strdup("capture.pcap");
	import->created_ns = import->changed_ns = hive_now_ns(wish->hive);
	return import->state && import->folder && import->file ? 0 : -ENOMEM;
}

static int import_after(struct hive_wish *wish)
{
	const struct hive_import *before = wish->before;

	/* one that is done has given its folder to its dataset */
	return wish->change->row || strcmp(before->state, "done") == 0
		       ? 0
		       : hive_trash_add(wish->tx, before->folder);
}

const struct hive_rules hive_import_rules = {
	.table = &hive_imports,
	.word = "import",
	.scope = import_scope,
	.may = import_may,
	.check = import_check,
	.after = import_after,
};

/* ---- destinations: made by administrators, used by who may download ---- */

static int destination_scope(const struct hive_actor *actor, struct hive_list *list)
{
	(void)list;
	return actor->rights & (HIVE_RIGHT_PROBES | HIVE_RIGHT_DOWNLOAD) ? 0 : SKEP_E_PRIVILEGE;
}

static int destination_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row,
			   enum hive_verb verb)
{
	(void)tx;
	(void)row;
	if (hive_actor_can(actor, HIVE_RIGHT_PROBES))
		return 0;
	return !hive_actor_can(actor, HIVE_RIGHT_DOWNLOAD) ? SKEP_E_NOT_FOUND
	       : verb == HIVE_SEE			   ? 0
							   : SKEP_E_PRIVILEGE;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static void check_url(struct hive_wish *wish, const struct hive_destination *d)
{
	const char *url = d->url ? d->url : "";
	bool plain = starts(url, "http://127.0.0.1:") || starts(url, "http://[::1]:");

	if (strlen(url) > URL_MAX || strpbrk(url, "\n\r\t ?#@"))
		(void)hive_complain(wish->complaints, "url",
				    "url: is too long, or has a character that it may not have");
	else if (d->kind == HIVE_TO_DIRECTORY && (url[0] != '/' || strstr(url, "/../")))
		(void)hive_complain(wish->complaints, "url",
				    "url: must be a directory on the hive, as /srv/copies");
	else if (d->kind == HIVE_TO_S3 && !starts(url, "https://") && !plain)
		(void)hive_complain(wish->complaints, "url",
				    "url: must be https://HOST/BUCKET or https://HOST/BUCKET/PREFIX");
	else if (d->kind == HIVE_TO_SFTP && !starts(url, "sftp://"))
		(void)hive_complain(wish->complaints, "url", "url: must be sftp://HOST/DIRECTORY");
}

static int destination_check(struct hive_wish *wish)
{
	struct hive_destination *d = wish->change->row;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_PROBES))
		return SKEP_E_PRIVILEGE;
	(void)hive_check_name(wish->complaints, "name", d->name);
	check_url(wish, d);
	if (d->kind != HIVE_TO_DIRECTORY && (!d->user || !*d->user || !d->secret || !*d->secret))
		(void)hive_complain(wish->complaints, "secret",
				    "user, secret: are needed for this kind of destination");
	if (d->kind == HIVE_TO_SFTP && (!d->host_key || strlen(d->host_key) != 43))
		(void)hive_complain(wish->complaints, "host_key",
				    "host_key: must be the 43 letters behind SHA256: that ssh-keygen -lf "
				    "shows of the host's key");
	if (!wish->before)
		d->created_ns = hive_now_ns(wish->hive);
	return first_complaint(wish);
}

const struct hive_rules hive_destination_rules = {
	.table = &hive_destinations,
	.word = "destination",
	.scope = destination_scope,
	.may = destination_may,
	.check = destination_check,
};

/* ---- copies ---- */

static int copy_scope(const struct hive_actor *actor, struct hive_list *list)
{
	return narrow_to_seen(actor, &hive_copies, list);
}

static int copy_may(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb)
{
	const struct hive_copy *copy = row;
	int r = may_see(tx, actor, copy->dataset_id);

	return r == 0 && (verb == HIVE_ALTER || (verb == HIVE_REMOVE && strcmp(copy->state, "running") == 0))
		       ? SKEP_E_PRIVILEGE
		       : r;
}

static int copy_check(struct hive_wish *wish)
{
	_hive_destination_ struct hive_destination destination = { 0 };
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	struct hive_copy *copy = wish->change->row;
	int r;

	if (!hive_actor_can(wish->actor, HIVE_RIGHT_DOWNLOAD))
		return SKEP_E_PRIVILEGE;
	r = hive_row_get(wish->tx, &hive_destinations, copy->destination_id, &destination);
	if (r == -ENOENT || (r == 0 && destination.disabled))
		(void)hive_complain(wish->complaints, "destination_id",
				    "destination_id: there is no such destination, or it is disabled");
	else if (r < 0)
		return r;
	r = check_dataset(wish, copy->dataset_id, true, &dataset);
	if (r < 0)
		return r;
	if (first_complaint(wish))
		return first_complaint(wish);
	copy->owner_id = wish->actor->user_id;
	copy->state = strdup("waiting");
	copy->created_ns = hive_now_ns(wish->hive);
	return copy->state ? 0 : -ENOMEM;
}

const struct hive_rules hive_copy_rules = {
	.table = &hive_copies,
	.word = "copy",
	.scope = copy_scope,
	.may = copy_may,
	.check = copy_check,
};
