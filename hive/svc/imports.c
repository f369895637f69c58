/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Imports. What was received and where it goes on is in the row; bytes are in the file before the row says
 * so, so a crash costs at most the last piece, and a piece may be sent twice. Nothing of it is believed: a
 * program in a cage reads it to its end before it becomes a dataset. Any thread; the check, one.
 */
#include "hive/svc/imports.h"

#include "common/log.h"
#include "hive/export/merge.h"
#include "hive/store/store.h"
#include "hive/svc/audit.h"
#include "hive/svc/build.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int refuse(struct hive_complaints *complaints, int code, const char *text)
{
	struct skep_err err = SKEP_ERR_NULL;

	(void)skep_err_set(&err, code, "%s", text);
	return hive_complain_err(complaints, NULL, &err);
}

static int set_text(char **text, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* By the file's first bytes: what it is called in the dataset. */
static const char *name_by(const uint8_t *p, size_t n)
{
	static const uint8_t zstd[4] = { 0x28, 0xb5, 0x2f, 0xfd }, pcapng[4] = { 0x0a, 0x0d, 0x0d, 0x0a };

	if (n >= 4 && memcmp(p, zstd, 4) == 0)
		return "capture.pcap.zst";
	return n >= 4 && memcmp(p, pcapng, 4) == 0 ? "capture.pcapng" : "capture.pcap";
}

/* ---- receiving ---- */

static int save(struct hive *hive, struct hive_import *import)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	import->changed_ns = hive_now_ns(hive);
	if (r == 0)
		r = hive_row_update(tx, &hive_imports, import);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int check_piece(const struct hive_import *import, const struct hive_piece *piece,
		       struct hive_complaints *complaints)
{
	char text[128];

	if (strcmp(import->state, "open") != 0)
		return refuse(complaints, SKEP_E_BUSY, "all of it was received already");
	if (piece->offset != import->received_bytes) {
		snprintf(text, sizeof(text), "offset: it goes on at %" PRId64, import->received_bytes);
		return refuse(complaints, SKEP_E_BUSY, text);
	}
	if (!piece->bytes)
		return hive_complain(complaints, NULL, "the piece is empty");
	if (piece->bytes > (uint64_t)(import->bytes - import->received_bytes))
		return hive_complain(complaints, NULL,
				     "the piece goes beyond the %" PRId64 " bytes that were announced",
				     import->bytes);
	return 0;
}

static int take(struct hive *hive, const struct hive_piece *piece, struct hive_import *import,
		struct skep_err *err)
{
	struct hive_store_name file;
	int r = 0;

	if (piece->offset == 0)
		r = set_text(&import->file, name_by(piece->data, piece->bytes));
	file = (struct hive_store_name){ import->folder, import->file };
	if (r == 0)
		r = hive_store_put(hive->store, &file,
				   &(struct hive_store_bytes){ piece->data, piece->bytes, piece->offset },
				   err);
	if (r != 0)
		return r;
	import->received_bytes += (int64_t)piece->bytes;
	if (import->received_bytes == import->bytes)
		r = set_text(&import->state, "checking");
	return r < 0 ? r : save(hive, import);
}

int hive_import_take(struct hive *hive, const struct hive_actor *actor, int64_t import_id,
		     const struct hive_piece *piece, struct hive_import *ret,
		     struct hive_complaints *complaints)
{
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_thing_get(hive, actor, HIVE_IMPORT, import_id, ret, complaints);

	if (r == 0)
		r = check_piece(ret, piece, complaints);
	if (r != 0)
		return r;
	r = hive->store ? take(hive, piece, ret, &err) : -EIO;
	if (r == -ESTALE)
		return refuse(complaints, SKEP_E_BUSY, "another piece was sent at the same time");
	return r > 0 ? hive_complain_err(complaints, NULL, &err) : r;
}

/* ---- looking ---- */

struct looking {
	struct hive *hive;
	struct hive_import import;
	struct hive_store_sum sum;
	struct hive_merge_account account;
};

static void looking_clear(struct looking *l)
{
	hive_import_clear(&l->import);
}

static int look(struct looking *l, struct skep_err *err)
{
	struct hive_store_name file = { l->import.folder, l->import.file };
	_skep_close_ int folder = -1;
	const struct hive_store_whole whole = { .bytes = l->import.bytes, .sha256 = l->import.sha256 };
	struct hive_merge_cfg cfg = { .programs = l->hive->cfg.programs,
				      .list = l->import.file,
				      .stop = &l->hive->stopping };
	int r = hive_store_sum(l->hive->store, &file, &l->sum);

	/* it was sealed before a restart, if it is there under its name */
	if (r == -ENOENT)
		r = hive_store_seal(l->hive->store, &file, &whole, &l->sum, err);
	if (r == 0)
		r = hive_store_folder(l->hive->store, l->import.folder, &folder);
	cfg.folder = folder;
	return r == 0 ? hive_merge_check(&cfg, &l->account, err) : r;
}

static int insert_file(struct looking *l, struct hive_tx *tx, int64_t dataset_id)
{
	struct hive_file file = {
		.dataset_id = dataset_id,
		.name = l->import.file,
		.bytes = l->sum.bytes,
		.sha256 = l->sum.sha256,
		.first_ns = l->account.first_ns,
		.last_ns = l->account.last_ns,
		.pkts = l->account.pkts,
		.created_ns = hive_now_ns(l->hive),
		.raw_bytes = l->account.bytes,
	};

	return hive_row_insert(tx, &hive_files, &file);
}

/* The dataset with its one file; after a restart, that which is there already. */
static int make_dataset(struct looking *l, int64_t *ret_id)
{
	struct hive_dataset dataset = {
		.owner_id = l->import.owner_id,
		.name = l->import.name,
		.folder = l->import.folder,
		.state = (char *)"open",
		.created_ns = hive_now_ns(l->hive),
	};
	_hive_dataset_ struct hive_dataset before = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(l->hive->db, &tx);

	if (r == 0)
		r = hive_row_find(tx, &hive_datasets, "folder", l->import.folder, &before);
	if (r == 0)
		*ret_id = before.head.id;
	if (r != -ENOENT)
		return r;
	r = hive_row_insert(tx, &hive_datasets, &dataset);
	if (r == 0)
		r = insert_file(l, tx, dataset.head.id);
	*ret_id = dataset.head.id;
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int finish(struct looking *l, const char *state, const char *reason, int64_t dataset_id)
{
	const struct hive_actor system = { .name = "hive" };
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64];
	int r = set_text(&l->import.state, state);

	if (r == 0 && reason)
		r = set_text(&l->import.reason, reason);
	l->import.dataset_id = dataset_id;
	l->import.changed_ns = hive_now_ns(l->hive);
	if (r == 0)
		r = hive_db_write(l->hive->db, &tx);
	if (r == 0)
		r = hive_row_store(tx, &hive_imports, &l->import);
	if (r == 0 && !dataset_id)
		r = hive_trash_add(tx, l->import.folder);
	snprintf(object, sizeof(object), "import %" PRId64, l->import.head.id);
	if (r == 0)
		r = hive_audit_add(l->hive, tx, &system, dataset_id ? "import.done" : "import.failed", object,
				   NULL);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int find_next(struct hive *hive, struct hive_import *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	return r < 0 ? r : hive_import_in(tx, "checking", ret);
}

int hive_import_check_next(struct hive *hive)
{
	SKEP_CLEANUP(looking_clear) struct looking l = { .hive = hive };
	struct skep_err err = SKEP_ERR_NULL;
	int64_t dataset_id = 0;
	int r = hive->store && hive->cfg.programs ? find_next(hive, &l.import) : -ENOENT;

	if (r < 0)
		return r;
	r = look(&l, &err);
	/* what will not be better the next time is no reason to look at it for ever */
	if (r < 0 && r != -ENOMEM && r != -EMFILE && r != -EAGAIN && r != -ECANCELED)
		r = skep_err_set(&err, SKEP_E_BAD_DATA, "what was received cannot be read: %s", strerror(-r));
	if (r > 0)
		return finish(&l, "failed", err.text, 0);
	if (r == 0)
		r = make_dataset(&l, &dataset_id);
	if (r == 0)
		r = hive_build_import(hive, dataset_id,
				      l.account.in_order ? NULL
							 : "the packets of the file are not in order of "
							   "time; downloads keep its order",
				      &err);
	if (r == 0)
		r = finish(&l, "done", NULL, dataset_id);
	if (r != 0)
		skep_log(SKEP_LOG_ERROR, "import=%" PRId64 " cannot be looked at now: %s", l.import.head.id,
			 err.text);
	return r > 0 ? -EIO : r;
}
