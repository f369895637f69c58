/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datasets for people: lists and opens their files, gives out the manifest. Who may see one is the rules' to
 * say (captures.c); every download is in the audit log. Any thread.
 */
#include "hive/svc/datasets.h"

#include "hive/store/store.h"
#include "hive/svc/audit.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define MANIFEST_MAX ((size_t)256 * 1024 * 1024)

int hive_dataset_files(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
		       struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_thing_get(hive, actor, HIVE_DATASET, dataset_id, &dataset, complaints);

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	if (r != 0)
		return r;
	hive_narrow(list, &hive_files, "dataset_id", HIVE_EQ, dataset_id);
	r = hive_row_list(tx, &hive_files, list, ret);
	return r == -EINVAL
		       ? hive_complain(complaints, "cursor", "the cursor is not one of this list and order")
		       : r;
}

int hive_dataset_note_download(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
			       const char *name)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	char object[64];
	int r = hive_db_write(hive->db, &tx);

	snprintf(object, sizeof(object), "dataset %" PRId64, dataset_id);
	if (r == 0)
		r = hive_audit_add(hive, tx, actor, "dataset.download", object, name);
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_dataset_open(struct hive *hive, const struct hive_actor *actor, const struct hive_file_of *of,
		      struct hive_file *ret, int *ret_fd, struct hive_complaints *complaints)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_thing_get(hive, actor, HIVE_DATASET, of->dataset_id, &dataset, complaints);

	if (r == 0)
		r = hive_db_read(hive->db, &tx);
	if (r == 0)
		r = hive_row_get(tx, &hive_files, of->file_id, ret);
	hive_tx_abortp(&tx);
	if (r == -ENOENT || (r == 0 && ret->dataset_id != of->dataset_id)) {
		(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "there is no such file in the dataset");
		return hive_complain_err(complaints, NULL, &err);
	}
	if (r == 0)
		r = hive_dataset_note_download(hive, actor, of->dataset_id, ret->name);
	return r != 0	     ? r
	       : hive->store ? hive_store_read(hive->store, dataset.folder, ret->name, ret_fd)
			     : -ENOENT;
}

int hive_dataset_manifest(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id, char **ret,
			  struct hive_complaints *complaints)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_thing_get(hive, actor, HIVE_DATASET, dataset_id, &dataset, complaints);

	if (r != 0)
		return r;
	r = hive->store ? hive_store_text(hive->store,
					  &(struct hive_store_name){ dataset.folder, "manifest.json" },
					  MANIFEST_MAX, ret)
			: -ENOENT;
	if (r != -ENOENT)
		return r;
	(void)skep_err_set(&err, SKEP_E_BUSY, "the dataset is not complete yet: it has no manifest");
	return hive_complain_err(complaints, NULL, &err);
}

char *hive_dataset_list(const struct hive_file *files, uint32_t n)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		fprintf(out, "%s\t%s\n", files[i].name, files[i].link_name ? files[i].link_name : "");
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}
