/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A copy is a folder dataset-HIVE-ID with the dataset's files, their sidecars, manifest and README. What is
 * there already and right is not sent again, so a copy that was cut off goes on; each file is read back
 * before it counts. What may be better later is tried a few times, then the copy has failed, in words. One
 * thread.
 */
#include "hive/svc/copies.h"

#include "common/log.h"
#include "hive/db/transfers.h"
#include "hive/export/copy.h"
#include "hive/export/manifest.h"
#include "hive/store/store.h"
#include "hive/svc/audit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TRIES 3

struct copying {
	struct hive *hive;
	struct hive_copy copy;
	struct hive_dataset dataset;
	struct hive_destination destination;
	struct hive_file *files;
	uint32_t n_files;
	struct hive_store *directory; /* of that kind of destination */
	char folder[64];
};

static void copying_clear(struct copying *c)
{
	hive_copy_clear(&c->copy);
	hive_dataset_clear(&c->dataset);
	hive_destination_clear(&c->destination);
	hive_files_free(c->files, c->n_files);
	hive_store_close(c->directory);
}

/* ---- one file ---- */

struct item {
	const char *name;
	int64_t bytes;
	const char *sha256;
};

static int to_directory(struct copying *c, const struct item *item, int fd, struct skep_err *err)
{
	const struct hive_store_name to = { c->folder, item->name };
	const struct hive_store_whole whole = { .bytes = item->bytes, .sha256 = item->sha256 };
	struct hive_store_sum sum;
	int r = hive_store_sum(c->directory, &to, &sum);

	if (r == 0 && sum.bytes == item->bytes && strcmp(sum.sha256, item->sha256) == 0)
		return 0;
	if (r < 0 && r != -ENOENT)
		return skep_err_set(err, r, "%s: %s", item->name, strerror(-r));
	r = hive_store_take(c->directory, &to, fd, &c->hive->stopping, err);
	return r == 0 ? hive_store_seal(c->directory, &to, &whole, NULL, err) : r;
}

static int to_url(struct copying *c, const struct item *item, int fd, struct skep_err *err)
{
	const struct hive_destination *d = &c->destination;
	const struct hive_copy_target target = {
		.s3 = d->kind == HIVE_TO_S3,
		.url = d->url,
		.user = d->user,
		.secret = d->secret,
		.region = d->region,
		.host_key = d->host_key,
		.stop = &c->hive->stopping,
	};
	const struct hive_copy_file file = { .folder = c->folder,
					     .name = item->name,
					     .bytes = item->bytes,
					     .sha256 = item->sha256,
					     .fd = fd };
	int r = hive_copy_verify(&target, &file, err);

	if (r != SKEP_E_NOT_FOUND && r != SKEP_E_BAD_DATA)
		return r;
	r = hive_copy_put(&target, &file, err);
	return r == 0 ? hive_copy_verify(&target, &file, err) : r;
}

static int put(struct copying *c, const struct item *item, struct skep_err *err)
{
	_skep_close_ int fd = -1;
	int r = hive_store_read(c->hive->store, c->dataset.folder, item->name, &fd);

	if (r < 0)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: is no longer in the store", item->name);
	r = c->directory ? to_directory(c, item, fd, err) : to_url(c, item, fd, err);
	for (int i = 1; r < 0 && r != -ECANCELED && i < TRIES; i++)
		r = c->directory ? to_directory(c, item, fd, err) : to_url(c, item, fd, err);
	return r;
}

/* ---- the whole ---- */

static int load(struct copying *c)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(c->hive->db, &tx);

	if (r == 0)
		r = hive_copy_in(tx, "waiting", &c->copy);
	if (r == 0)
		r = hive_row_get(tx, &hive_datasets, c->copy.dataset_id, &c->dataset);
	if (r == 0)
		r = hive_row_get(tx, &hive_destinations, c->copy.destination_id, &c->destination);
	if (r == 0)
		r = hive_files_of(tx, c->dataset.head.id, &c->files, &c->n_files);
	if (r < 0)
		return r;
	free(c->copy.state);
	c->copy.state = strdup("running");
	c->copy.bytes = c->copy.done_bytes = 0;
	for (uint32_t i = 0; i < c->n_files; i++)
		c->copy.bytes += c->files[i].bytes + c->files[i].side_bytes;
	r = c->copy.state ? hive_row_store(tx, &hive_copies, &c->copy) : -ENOMEM;
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int save(struct copying *c)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(c->hive->db, &tx);

	if (r == 0)
		r = hive_row_store(tx, &hive_copies, &c->copy);
	return r < 0 ? r : hive_tx_commit(&tx);
}

/* A text of the dataset, whose sums are not in its rows. */
static int put_text(struct copying *c, const char *name, struct skep_err *err)
{
	struct hive_store_sum sum;
	int r = hive_store_sum(c->hive->store, &(struct hive_store_name){ c->dataset.folder, name }, &sum);

	return r < 0 ? skep_err_set(err, r, "%s: %s", name, strerror(-r))
		     : put(c, &(struct item){ name, sum.bytes, sum.sha256 }, err);
}

static int put_file(struct copying *c, const struct hive_file *file, struct skep_err *err)
{
	char side[256];
	int r = put(c, &(struct item){ file->name, file->bytes, file->sha256 }, err);

	snprintf(side, sizeof(side), "%s.json", file->name);
	if (r == 0 && file->side_bytes)
		r = put(c, &(struct item){ side, file->side_bytes, file->side_sha256 }, err);
	c->copy.done_bytes += r == 0 ? file->bytes + file->side_bytes : 0;
	return r;
}

static int put_all(struct copying *c, struct skep_err *err)
{
	int r = 0;

	snprintf(c->folder, sizeof(c->folder), "dataset-%s-%" PRId64, c->hive->id, c->dataset.head.id);
	if (c->destination.kind == HIVE_TO_DIRECTORY)
		r = hive_store_open(c->destination.url, 0, &c->directory, err);
	for (uint32_t i = 0; r == 0 && i < c->n_files; i++) {
		r = put_file(c, &c->files[i], err);
		if (r == 0)
			r = save(c);
	}
	if (r == 0)
		r = put_text(c, HIVE_README_NAME, err);
	/* last: where there is a manifest, all of it is there */
	return r == 0 ? put_text(c, HIVE_MANIFEST_NAME, err) : r;
}

static int finish(struct copying *c, const char *state, const char *reason)
{
	const struct hive_actor system = { .name = "hive" };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64];
	int r = hive_db_write(c->hive->db, &tx);

	free(c->copy.state);
	free(c->copy.reason);
	c->copy.state = strdup(state);
	c->copy.reason = reason ? strdup(reason) : NULL;
	c->copy.ended_ns = hive_now_ns(c->hive);
	snprintf(object, sizeof(object), "dataset %" PRId64, c->dataset.head.id);
	if (r == 0)
		r = c->copy.state ? hive_row_store(tx, &hive_copies, &c->copy) : -ENOMEM;
	if (r == 0)
		r = hive_audit_add(c->hive, tx, &system, reason ? "copy.failed" : "copy.done", object,
				   c->destination.name);
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_copy_next(struct hive *hive)
{
	SKEP_CLEANUP(copying_clear) struct copying c = { .hive = hive };
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive->store ? load(&c) : -ENOENT;

	if (r < 0)
		return r;
	r = put_all(&c, &err);
	if (r == -ECANCELED) /* it goes on after the restart */
		return r;
	if (r != 0)
		skep_log(SKEP_LOG_WARNING, "dataset=%" PRId64 " not copied: %s", c.dataset.head.id, err.text);
	return finish(&c, r == 0 ? "done" : "failed", r == 0 ? NULL : err.text[0] ? err.text : strerror(-r));
}
