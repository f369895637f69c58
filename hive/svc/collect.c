/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collection: each segment is fetched into a .part file, from where it was left; when its length and SHA-256
 * are those that the probe announced it gets its name and its row, in this order, so a row always has its
 * file. Deletes nothing on the probe: the job logic does, when all is here. Any thread, one per part of a
 * job.
 */
#include "hive/svc/collect.h"

#include "hive/probe/client.h"
#include "hive/store/store.h"
#include "hive/svc/audit.h"
#include "hive/svc/things_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void hive_capture_name(const struct hive *hive, int64_t job_id, int64_t link_id,
		       char ret[static HIVE_CAPTURE_NAME])
{
	snprintf(ret, HIVE_CAPTURE_NAME, "hive-%s-%" PRId64 "-%" PRId64, hive->id, job_id, link_id);
}

bool hive_capture_of(const struct hive *hive, const char *name, int64_t *ret_job, int64_t *ret_link)
{
	char again[HIVE_CAPTURE_NAME], prefix[32];
	size_t n = (size_t)snprintf(prefix, sizeof(prefix), "hive-%s-", hive->id);

	if (strncmp(name, prefix, n) != 0 || sscanf(name + n, "%" SCNd64 "-%" SCNd64, ret_job, ret_link) != 2)
		return false;
	hive_capture_name(hive, *ret_job, *ret_link, again);
	return strcmp(name, again) == 0;
}

/* ---- rows ---- */

/* What the rows say of the part: its own row, the job's dataset (made if it is not there). */
struct place {
	struct hive_job job;
	struct hive_job_link part;
	struct hive_dataset dataset;
};

static void place_clear(struct place *place)
{
	hive_job_clear(&place->job);
	hive_row_clear(&hive_job_links, &place->part);
	hive_dataset_clear(&place->dataset);
}

static int make_dataset(struct hive *hive, struct hive_tx *tx, struct place *place)
{
	struct hive_dataset *dataset = &place->dataset;

	dataset->owner_id = place->job.owner_id;
	dataset->job_id = place->job.head.id;
	dataset->name = strdup(place->job.name);
	dataset->state = strdup("open");
	dataset->created_ns = hive_now_ns(hive);
	if (asprintf(&dataset->folder, "job-%" PRId64, place->job.head.id) < 0)
		dataset->folder = NULL;
	if (!dataset->name || !dataset->state || !dataset->folder)
		return -ENOMEM;
	return hive_row_insert(tx, &hive_datasets, dataset);
}

static int find_place(struct hive *hive, int64_t job_id, int64_t link_id, struct place *ret)
{
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_jobs_table, job_id, &ret->job);
	if (r == 0)
		r = hive_job_links_of(tx, job_id, &parts);
	for (uint32_t i = 0; r == 0 && i < parts.n; i++) {
		struct hive_job_link *part = hive_rows_at(&parts, i);

		if (part->link_id != link_id)
			continue;
		ret->part = *part;
		memset(part, 0, sizeof(*part));
	}
	if (r == 0)
		r = hive_dataset_of_job(tx, job_id, &ret->dataset);
	if (r == -ENOENT && ret->job.head.id)
		r = make_dataset(hive, tx, ret);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int has_file(struct hive *hive, const struct place *place, const char *name)
{
	_hive_file_ struct hive_file file = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_file_find(tx, place->dataset.head.id, name, &file);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int add_file(struct hive *hive, const struct place *place, const char *name,
		    const struct hive_segment *segment)
{
	struct hive_file file = {
		.dataset_id = place->dataset.head.id,
		.job_link_id = place->part.head.id,
		.link_name = place->part.link_name,
		.name = (char *)name,
		.bytes = segment->bytes,
		.sha256 = (char *)segment->sha256,
		.first_ns = segment->first_ns,
		.last_ns = segment->last_ns,
		.pkts = segment->pkts,
		.created_ns = hive_now_ns(hive),
	};
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_insert(tx, &hive_files, &file);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int count(struct hive *hive, const struct place *place, struct hive_collected *ret)
{
	struct hive_files_sum sum = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_files_sum(tx, place->dataset.head.id, place->part.head.id, &sum);
	ret->pkts = sum.pkts;
	ret->bytes = sum.bytes;
	return r;
}

/* ---- fetching ---- */

struct fetching {
	struct hive *hive;
	struct hive_client *client;
	const struct place *place;
	const char *capture_id;
};

/* -EAGAIN and its like: later, from where it is now. SKEP_E_BAD_DATA: the bytes are not those announced. */
static int fetch(const struct fetching *f, const char *name, const struct hive_segment *segment,
		 struct skep_err *err)
{
	struct hive_fetch what = { .id = f->capture_id, .segment = segment->name };
	const char *folder = f->place->dataset.folder;
	_skep_close_ int fd = -1;
	int64_t there = 0, more = 0;
	int r = hive_store_part(f->hive->store, &(struct hive_store_name){ folder, name }, segment->bytes,
				&fd, &there, err);

	what.offset = there;
	what.fd = fd;
	if (r == 0 && there < segment->bytes)
		r = hive_client_fetch(f->client, &what, &more, err);
	if (r == 0)
		r = hive_store_seal(f->hive->store, folder, name, segment->bytes, segment->sha256, err);
	if (r == 0)
		r = add_file(f->hive, f->place, name, segment);
	return r;
}

static int fetch_all(const struct fetching *f, struct skep_err *err)
{
	_skep_free_ struct hive_segment *segments = NULL;
	uint32_t n = 0;
	bool unhashed = false;
	int r = hive_client_segments(f->client, f->capture_id, &segments, &n, err);

	for (uint32_t i = 0; r == 0 && i < n; i++) {
		char name[192];
		int has;

		snprintf(name, sizeof(name), "link%" PRId64 "-%s", f->place->part.link_id, segments[i].name);
		has = has_file(f->hive, f->place, name);
		if (has)
			r = has < 0 ? has : 0;
		else if (!segments[i].sha256[0])
			unhashed = true;
		else if ((r = fetch(f, name, &segments[i], err)) == SKEP_E_BAD_DATA)
			/* from its beginning, once; then the probe has it wrong */
			r = fetch(f, name, &segments[i], err);
	}
	if (r == 0 && unhashed)
		return skep_err_set(err, -EAGAIN, "the probe has not computed all digests yet");
	return r;
}

void hive_collect(struct hive *hive, struct hive_client *client, const struct hive_effect *effect,
		  struct hive_collected *ret, struct skep_err *err)
{
	SKEP_CLEANUP(place_clear) struct place place = { 0 };
	struct fetching f = { .hive = hive, .client = client, .place = &place };
	struct hive_capture capture = { .at = HIVE_CAPTURE_ABSENT };
	char name[HIVE_CAPTURE_NAME];
	int r = find_place(hive, effect->job_id, effect->link_id, &place);

	*ret = (struct hive_collected){ .job_id = effect->job_id,
					.link_id = effect->link_id,
					.done = HIVE_DONE_RETRY };
	if (r < 0 || count(hive, &place, ret) < 0 || !client)
		return;
	hive_capture_name(hive, effect->job_id, effect->link_id, name);
	r = hive_client_get(client, name, &capture, err);
	if (r == 0 && capture.at == HIVE_CAPTURE_ABSENT)
		r = skep_err_set(err, SKEP_E_NOT_FOUND, "the probe no longer has the capture");
	else if (r == 0 && capture.at != HIVE_CAPTURE_OVER)
		r = skep_err_set(err, -EAGAIN, "the capture is not over");
	f.capture_id = capture.id;
	if (r == 0)
		r = hive->store ? fetch_all(&f, err) : skep_err_set(err, -EAGAIN, "this hive has no store");
	(void)count(hive, &place, ret);
	if (r == 0)
		ret->done = HIVE_DONE_OK;
	else if (r == SKEP_E_NOT_FOUND || r == SKEP_E_BAD_DATA)
		ret->done = HIVE_DONE_LOST;
	ret->text = err->text;
}

/* ---- the dataset ---- */

static bool is_whole(const struct hive_rows *parts)
{
	for (uint32_t i = 0; i < parts->n; i++) {
		const struct hive_job_link *part = hive_rows_at(parts, i);

		if (part->reason || part->gap || part->dropped_pkts ||
		    (part->result != HIVE_RESULT_COLLECTED && part->result != HIVE_RESULT_UNNEEDED))
			return false;
	}
	return true;
}

static int update_dataset(struct hive *hive, struct hive_tx *tx, const struct hive_job *job,
			  const struct hive_files_sum *sum, struct hive_dataset *dataset)
{
	_hive_rows_ struct hive_rows parts = { .table = &hive_job_links };
	int r = hive_job_links_of(tx, job->head.id, &parts);

	(void)hive;
	if (r < 0)
		return r;
	free(dataset->state);
	dataset->state = strdup(is_whole(&parts) ? "whole" : "incomplete");
	dataset->pkts = sum->pkts;
	dataset->bytes = job->stored_bytes;
	dataset->stored_bytes = sum->bytes;
	dataset->first_ns = sum->first_ns;
	dataset->last_ns = sum->last_ns;
	return dataset->state ? hive_row_update(tx, &hive_datasets, dataset) : -ENOMEM;
}

int hive_build(struct hive *hive, const struct hive_effect *effect, int64_t *ret_pkts, int64_t *ret_bytes,
	       char **ret_text)
{
	_hive_dataset_ struct hive_dataset dataset = { 0 };
	_hive_job_ struct hive_job job = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	struct hive_files_sum sum = { 0 };
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_jobs_table, effect->job_id, &job);
	if (r == 0)
		r = hive_dataset_of_job(tx, effect->job_id, &dataset);
	if (r == 0)
		r = hive_files_sum(tx, dataset.head.id, 0, &sum);
	if (r == 0)
		r = update_dataset(hive, tx, &job, &sum, &dataset);
	if (r == 0)
		r = hive_tx_commit(&tx);
	if (r < 0)
		return r;
	*ret_pkts = sum.pkts;
	*ret_bytes = job.stored_bytes;
	if (effect->limit_pkts && sum.pkts > effect->limit_pkts &&
	    asprintf(ret_text, "its links together captured %" PRId64 " packets more than the limit; nothing was cut away",
		     sum.pkts - effect->limit_pkts) < 0)
		*ret_text = NULL;
	return 0;
}

/* ---- reading ---- */

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
	return r == -EINVAL ? hive_complain(complaints, "cursor", "the cursor is not one of this list and order") : r;
}

static int note_download(struct hive *hive, const struct hive_actor *actor, int64_t dataset_id,
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
		r = note_download(hive, actor, of->dataset_id, ret->name);
	return r != 0	     ? r
	       : hive->store ? hive_store_read(hive->store, dataset.folder, ret->name, ret_fd)
			     : -ENOENT;
}
