/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes a dataset of what was collected. Every file is read once, by a program in a cage (hive/export), which
 * proves that they can be merged and how long the merged capture is; then the manifest and the README are
 * written, and last the row. Whatever is lost on the way is done again: the job logic asks until it is there.
 * Any thread; minutes; holds no transaction while it reads files.
 */
#include "hive/svc/build.h"

#include "hive/db/transfers.h"
#include "hive/export/cut.h"
#include "hive/export/manifest.h"
#include "hive/export/merge.h"
#include "hive/store/store.h"
#include "hive/svc/datasets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Larger datasets are taken as the probes announced them: reading them would take more than a minute or two.
 */
#define CHECK_MAX_BYTES (INT64_C(64) << 30)
#define PCAP_HEADER_BYTES 24

struct build {
	struct hive *hive;
	struct hive_job job;
	struct hive_user owner;
	struct hive_rows parts, origins;
	struct hive_dataset dataset;
	struct hive_file *files;
	uint32_t n_files;
	struct hive_storage_rule rule;
	/* what comes out */
	struct hive_files_sum sum;
	int64_t merged_bytes;
	bool whole;
	char *reasons;
};

static void build_clear(struct build *b)
{
	hive_job_clear(&b->job);
	hive_user_clear(&b->owner);
	hive_rows_clear(&b->parts);
	hive_rows_clear(&b->origins);
	hive_dataset_clear(&b->dataset);
	hive_files_free(b->files, b->n_files);
	free(b->reasons);
}

static void SKEP_PRINTF(2, 3) add_reason(struct build *b, const char *fmt, ...)
{
	char *line = NULL, *all = NULL;
	va_list ap;

	b->whole = false;
	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		line = NULL;
	va_end(ap);
	if (line &&
	    asprintf(&all, "%s%s%s", b->reasons ? b->reasons : "", b->reasons ? "\n" : "", line) >= 0) {
		free(b->reasons);
		b->reasons = all;
	}
	free(line);
}

/* ---- reading ---- */

static int load_dataset(struct build *b, struct hive_tx *tx)
{
	int64_t id = b->dataset.head.id;
	int r = hive_files_sum(tx, id, 0, &b->sum);

	if (r == 0)
		r = hive_files_of(tx, id, &b->files, &b->n_files);
	if (r == 0)
		r = hive_data_origins_of(tx, id, &b->origins);
	if (r == 0)
		r = hive_storage_rule_of(tx, b->dataset.owner_id, &b->rule);
	return r == 0 ? hive_row_get(tx, &hive_users, b->dataset.owner_id, &b->owner) : r;
}

static int load_job(struct build *b, int64_t job_id)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(b->hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_jobs_table, job_id, &b->job);
	if (r == 0)
		r = hive_job_links_of(tx, job_id, &b->parts);
	if (r == 0)
		r = hive_dataset_of_job(tx, job_id, &b->dataset);
	return r == 0 ? load_dataset(b, tx) : r;
}

static int load_import(struct build *b, int64_t dataset_id)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(b->hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_datasets, dataset_id, &b->dataset);
	return r == 0 ? load_dataset(b, tx) : r;
}

/* ---- looking at the files ---- */

/* The merged capture as the files' own lengths say; 0: one of them does not. */
static int64_t announced_bytes(const struct build *b)
{
	int64_t bytes = PCAP_HEADER_BYTES;

	for (uint32_t i = 0; i < b->n_files; i++) {
		if (b->files[i].raw_bytes < PCAP_HEADER_BYTES)
			return 0;
		bytes += b->files[i].raw_bytes - PCAP_HEADER_BYTES;
	}
	return bytes;
}

/* -errno: it could not be done now. SKEP_E_BAD_DATA and the like: the files are not fine. */
static int check(struct build *b, struct hive_merge_account *ret, struct skep_err *err)
{
	_skep_free_ char *list = hive_dataset_list(b->files, b->n_files);
	_skep_close_ int folder = -1;
	struct hive_merge_cfg cfg = { .programs = b->hive->cfg.programs,
				      .list = list,
				      .stop = &b->hive->stopping };
	int r = list ? hive_store_folder(b->hive->store, b->dataset.folder, &folder) : -ENOMEM;

	cfg.folder = folder;
	return r < 0 ? skep_err_set(err, r, "%s: %s", b->dataset.folder, strerror(-r))
		     : hive_merge_check(&cfg, ret, err);
}

/* What stays of the files together: 0, and nothing is to be said of it, if they are within the limits. */
static int measure(struct build *b, const struct hive_effect *effect, struct hive_cut *cut)
{
	_skep_free_ char *list = hive_dataset_list(b->files, b->n_files);
	_skep_close_ int folder = -1;
	struct hive_merge_cfg cfg = { .programs = b->hive->cfg.programs,
				      .list = list,
				      .from_ns = (uint64_t)b->job.from_ns,
				      .to_ns = (uint64_t)b->job.to_ns };
	struct skep_err err = SKEP_ERR_NULL;
	int r = list ? hive_store_folder(b->hive->store, b->dataset.folder, &folder) : -ENOMEM;

	*cut = (struct hive_cut){ .pkts_max = effect->limit_pkts, .bytes_max = effect->limit_bytes };
	cfg.folder = folder;
	if (r == 0)
		r = hive_merge_measure(&cfg, cut, &err);
	if (r > 0)
		add_reason(b, "its files could not be cut to what was asked for: %s", err.text);
	return r;
}

/*
 * Each link may reach the limit of all, and a ring keeps whole files: the first packets up to the limit, or
 * those that the trigger has asked for, are the dataset. The files stay as they were captured; merged
 * downloads have no more than this. *ret_text (may stay NULL) is the caller's.
 */
static int cut_to_limits(struct build *b, const struct hive_effect *effect, int64_t *ret_bytes,
			 char **ret_text)
{
	/* what a trigger with a filter asks for, the probe has taken out of the files itself */
	bool saved = b->job.kind == HIVE_KIND_SAVED && !b->job.filter;
	bool beyond = (effect->limit_pkts && b->sum.pkts > effect->limit_pkts) ||
		      (effect->limit_bytes && b->job.stored_bytes > effect->limit_bytes);
	int64_t pkts = b->sum.pkts;
	struct hive_cut cut;
	int r, n = 0;

	if (!(saved || beyond) || !b->hive->store || !b->hive->cfg.programs || !b->n_files)
		return 0;
	if (b->sum.bytes > CHECK_MAX_BYTES) {
		add_reason(b, "its files are too large to be cut to what was asked for");
		return 0;
	}
	r = measure(b, effect, &cut);
	if (r != 0)
		return r < 0 ? r : 0;
	b->sum.pkts = cut.pkts;
	b->sum.last_ns = cut.pkts ? cut.last_ns : b->sum.first_ns;
	if (saved && cut.pkts)
		b->sum.first_ns = SKEP_MAX(b->sum.first_ns, b->job.from_ns);
	b->merged_bytes = 0;
	*ret_bytes = cut.bytes;
	if (pkts > cut.pkts && !saved)
		n = asprintf(ret_text,
			     "its links together captured %" PRId64
			     " packets more than the limit; they are in the files, and not in the dataset",
			     pkts - cut.pkts);
	return n < 0 ? -ENOMEM : 0;
}

static int look_at_files(struct build *b)
{
	struct hive_merge_account account;
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	if (!b->hive->store || !b->hive->cfg.programs || !b->n_files || b->sum.bytes > CHECK_MAX_BYTES)
		return 0;
	r = check(b, &account, &err);
	if (r < 0)
		return r;
	if (r > 0) {
		add_reason(b, "its files cannot be merged: %s", err.text);
		return 0;
	}
	if (account.pkts != b->sum.pkts)
		add_reason(b, "its files hold %" PRId64 " packets, the probes announced %" PRId64,
			   account.pkts, b->sum.pkts);
	else if (account.bytes == announced_bytes(b))
		b->merged_bytes = account.bytes;
	return 0;
}

/* What the zip format wants of each file; read once, and kept. */
static int sum_file(struct build *b, struct hive_file *file)
{
	struct hive_store *store = b->hive->store;
	uint32_t crc = 0, side_crc = 0;
	char side[256];
	int r = hive_store_crc32(store, &(struct hive_store_name){ b->dataset.folder, file->name }, &crc);

	snprintf(side, sizeof(side), "%s.json", file->name);
	if (r == 0 && file->side_bytes)
		r = hive_store_crc32(store, &(struct hive_store_name){ b->dataset.folder, side }, &side_crc);
	file->crc32 = crc;
	file->side_crc32 = side_crc;
	return r;
}

static int sum_files(struct build *b)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = b->hive->store ? 0 : -ENOENT;

	for (uint32_t i = 0; r == 0 && i < b->n_files; i++)
		r = sum_file(b, &b->files[i]);
	if (r == 0)
		r = hive_db_write(b->hive->db, &tx);
	for (uint32_t i = 0; r == 0 && i < b->n_files; i++)
		r = hive_file_note_sums(tx, &b->files[i]);
	if (r == 0)
		return hive_tx_commit(&tx);
	if (r != -ENOENT)
		return r;
	add_reason(b, "a file of it is no longer in the store");
	return 0;
}

static void part_reasons(struct build *b, const struct hive_job_link *part)
{
	_skep_free_ char *reasons = part->reason ? strdup(part->reason) : NULL;
	char *rest = reasons, *one;

	while ((one = strsep(&rest, "\n")))
		add_reason(b, "%s: %s", part->link_name, one);
	if (part->dropped_pkts)
		add_reason(b, "%s: %" PRId64 " packets were dropped", part->link_name, part->dropped_pkts);
	if (part->gap)
		add_reason(b, "%s: the capture was interrupted", part->link_name);
	if (part->result != HIVE_RESULT_COLLECTED && part->result != HIVE_RESULT_UNNEEDED && !part->reason)
		add_reason(b, "%s: %s", part->link_name, hive_result_names[part->result]);
}

/* ---- the manifest ---- */

static const char *capture_of(const struct build *b, int64_t job_link_id)
{
	for (uint32_t i = 0; i < b->origins.n; i++) {
		const struct hive_data_origin *origin = hive_rows_at(&b->origins, i);

		if (origin->job_link_id == job_link_id)
			return origin->capture;
	}
	return NULL;
}

static struct hive_manifest_link link_of(const struct build *b, const struct hive_job_link *part)
{
	return (struct hive_manifest_link){
		.name = part->link_name,
		.probe = part->probe_name,
		.result = hive_result_names[part->result],
		.reason = part->reason,
		.started_ns = part->started_ns,
		.ended_ns = part->ended_ns,
		.gap = part->gap != 0,
		.seen_pkts = part->seen_pkts,
		.stored_pkts = part->stored_pkts,
		.rejected_pkts = part->rejected_pkts,
		.dropped_pkts = part->dropped_pkts,
		.collected_pkts = part->collected_pkts,
		.capture = capture_of(b, part->head.id),
	};
}

static struct hive_manifest_file file_of(const struct hive_file *file)
{
	return (struct hive_manifest_file){
		.name = file->name,
		.link = file->link_name,
		.bytes = file->bytes,
		.pkts = file->pkts,
		.first_ns = file->first_ns,
		.last_ns = file->last_ns,
		.sha256 = file->sha256,
		.side_bytes = file->side_bytes,
		.side_sha256 = file->side_sha256,
	};
}

static struct hive_manifest_job job_of(const struct build *b)
{
	const struct hive_job *job = &b->job;

	return (struct hive_manifest_job){
		.id = job->head.id,
		.name = job->name,
		.owner = b->owner.name,
		.filter = job->filter,
		.forced_filter = job->forced_filter,
		.format = job->format,
		.finish = hive_finish_names[job->finish],
		.finish_by = job->finish_by,
		.limit_duration_s = job->limit_duration_s,
		.limit_bytes = job->limit_bytes,
		.limit_pkts = job->limit_pkts,
		.snaplen = job->snaplen,
		.sample_every = job->sample_every,
		.sample_by_flow = job->sample_by_flow != 0,
		.started_ns = job->started_ns,
		.ended_ns = hive_now_ns(b->hive),
	};
}

static int write_texts(struct build *b, const struct hive_manifest *manifest, struct skep_err *err)
{
	_skep_free_ char *json = NULL, *readme = NULL;
	const char *folder = b->dataset.folder;
	int r = hive_manifest_make(manifest, &json, &readme, err);

	if (r == 0)
		r = hive_store_write(b->hive->store, &(struct hive_store_name){ folder, HIVE_MANIFEST_NAME },
				     json, err);
	if (r == 0)
		r = hive_store_write(b->hive->store, &(struct hive_store_name){ folder, HIVE_README_NAME },
				     readme, err);
	return r;
}

static int write_manifest(struct build *b, struct skep_err *err)
{
	_skep_free_ struct hive_manifest_link *links = calloc(b->parts.n + 1, sizeof(*links));
	_skep_free_ struct hive_manifest_file *files = calloc(b->n_files + 1, sizeof(*files));
	struct hive_manifest_job job = job_of(b);
	_skep_close_ int folder = -1;
	struct hive_manifest manifest = {
		.id = b->dataset.head.id,
		.created_ns = b->dataset.created_ns,
		.name = b->dataset.name,
		.hive = b->hive->id,
		.complete = b->whole,
		.reasons = b->reasons,
		.job = b->job.head.id ? &job : NULL,
		.links = links,
		.n_links = b->parts.n,
		.files = files,
		.n_files = b->n_files,
	};
	int r = links && files ? hive_store_folder(b->hive->store, b->dataset.folder, &folder) : -ENOMEM;

	if (r < 0 && r != -ENOENT) /* none yet: a dataset without files */
		return r;
	manifest.folder = folder;
	for (uint32_t i = 0; i < b->parts.n; i++)
		links[i] = link_of(b, hive_rows_at(&b->parts, i));
	for (uint32_t i = 0; i < b->n_files; i++)
		files[i] = file_of(&b->files[i]);
	return write_texts(b, &manifest, err);
}

/* ---- the row ---- */

/* What people may have changed meanwhile (name, pin) stays theirs. */
static int save(struct build *b, int64_t bytes)
{
	_hive_dataset_ struct hive_dataset row = { 0 };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(b->hive->db, &tx);

	if (r == 0)
		r = hive_row_get(tx, &hive_datasets, b->dataset.head.id, &row);
	if (r < 0)
		return r;
	free(row.state);
	free(row.reasons);
	row.state = strdup(b->whole ? "whole" : "incomplete");
	row.reasons = b->reasons ? strdup(b->reasons) : NULL;
	row.pkts = b->sum.pkts;
	row.bytes = bytes;
	row.stored_bytes = b->sum.bytes;
	row.first_ns = b->sum.first_ns;
	row.last_ns = b->sum.last_ns;
	row.merged_bytes = b->merged_bytes;
	if (!row.expires_ns && b->rule.retention_s)
		row.expires_ns = hive_now_ns(b->hive) + b->rule.retention_s * (int64_t)SKEP_NSEC_PER_SEC;
	r = row.state ? hive_row_update(tx, &hive_datasets, &row) : -ENOMEM;
	return r < 0 ? r : hive_tx_commit(&tx);
}

int hive_build(struct hive *hive, const struct hive_effect *effect, int64_t *ret_pkts, int64_t *ret_bytes,
	       char **ret_text)
{
	SKEP_CLEANUP(build_clear)
	struct build b = { .hive = hive,
			   .whole = true,
			   .parts = { .table = &hive_job_links },
			   .origins = { .table = &hive_data_origins } };
	struct skep_err err = SKEP_ERR_NULL;
	int64_t bytes;
	int r = load_job(&b, effect->job_id);

	for (uint32_t i = 0; r == 0 && i < b.parts.n; i++)
		part_reasons(&b, hive_rows_at(&b.parts, i));
	bytes = b.job.stored_bytes;
	if (r == 0)
		r = look_at_files(&b);
	if (r == 0)
		r = sum_files(&b);
	if (r == 0)
		r = cut_to_limits(&b, effect, &bytes, ret_text);
	if (r == 0 && hive->store)
		r = write_manifest(&b, &err);
	if (r == 0)
		r = save(&b, bytes);
	if (r != 0)
		return r < 0 ? r : -EIO;
	*ret_pkts = b.sum.pkts;
	*ret_bytes = bytes;
	return 0;
}

int hive_build_import(struct hive *hive, int64_t dataset_id, const char *reason, struct skep_err *err)
{
	SKEP_CLEANUP(build_clear)
	struct build b = { .hive = hive,
			   .whole = true,
			   .parts = { .table = &hive_job_links },
			   .origins = { .table = &hive_data_origins } };
	int r = load_import(&b, dataset_id);

	if (r < 0)
		return r;
	if (reason)
		add_reason(&b, "%s", reason);
	b.merged_bytes = announced_bytes(&b);
	r = sum_files(&b);
	if (r == 0)
		r = write_manifest(&b, err);
	return r == 0 ? save(&b, b.merged_bytes) : r;
}
