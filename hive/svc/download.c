/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Plans downloads: which files, what comes out, how long it is and what its tag is, if that can be known
 * without making it. A bundle's always can; a merged pcap's can where the build of the dataset has proven the
 * lengths (build.c). Filters are tried before anything is sent, for there is no refusing afterwards. Any
 * thread.
 */
#include "hive/svc/download.h"

#include "hive/export/bundle.h"
#include "hive/export/manifest.h"
#include "hive/export/merge.h"
#include "hive/store/store.h"
#include "hive/svc/datasets.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PCAP_HEADER_BYTES 24
#define FILTER_MAX 65536
#define MANIFEST_MAX ((size_t)64 * 1024 * 1024)

const char *const hive_download_names[] = { "pcap", "pcapng", "pcap.zst", "zip", "tar", NULL };

static const char *const types[] = { "application/vnd.tcpdump.pcap", "application/x-pcapng",
				     "application/zstd", "application/zip", "application/x-tar" };

void hive_download_clear(struct hive_download *download)
{
	hive_bundle_free(download->bundle);
	free(download->list);
	skep_closep(&download->folder);
	*download = (struct hive_download)HIVE_DOWNLOAD_NULL;
}

static bool is_bundle(const struct hive_download_wish *wish)
{
	return wish->format == HIVE_DOWNLOAD_ZIP || wish->format == HIVE_DOWNLOAD_TAR;
}

/* ---- the files ---- */

struct files {
	struct hive_file *files;
	uint32_t n;
	int64_t pkts; /* of all files of the dataset */
};

static void files_clear(struct files *files)
{
	hive_files_free(files->files, files->n);
}

/* Those of the link only; false: there is no such link. */
static bool keep_link(struct files *files, const char *link)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < files->n; i++) {
		struct hive_file *file = &files->files[i];

		if (!file->link_name || strcmp(file->link_name, link) != 0)
			hive_file_clear(file);
		else if (kept++ != i)
			files->files[kept - 1] = *file;
	}
	files->n = kept;
	return kept > 0;
}

static int load_files(struct hive *hive, const struct hive_dataset *dataset, const char *link,
		      struct files *ret, struct hive_complaints *complaints)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_db_read(hive->db, &tx);

	if (r == 0)
		r = hive_files_of(tx, dataset->head.id, &ret->files, &ret->n);
	for (uint32_t i = 0; r == 0 && i < ret->n; i++)
		ret->pkts += ret->files[i].pkts;
	if (r < 0 || !link || keep_link(ret, link))
		return r;
	(void)skep_err_set(&err, SKEP_E_NOT_FOUND, "the dataset has no files of a link \"%.64s\"", link);
	return hive_complain_err(complaints, "link", &err);
}

static void safe_name(const char *name, char *ret, size_t room)
{
	size_t n = 0;

	for (; *name && n + 1 < room; name++) {
		bool fine = strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-",
				   *name) != NULL;

		ret[n++] = fine ? *name : '_';
	}
	ret[n] = '\0';
}

/* ---- merged ---- */

/* The names of the files and their digests decide over the merged bytes, and the program that merges. */
static void merged_tag(const struct files *files, char ret[static HIVE_DIGEST_TEXT])
{
	const char **texts = calloc(2 * (size_t)files->n + 1, sizeof(*texts));
	uint32_t n = 0;

	if (!texts)
		return;
	texts[n++] = "pcap " SKEP_VERSION;
	for (uint32_t i = 0; i < files->n; i++) {
		texts[n++] = files->files[i].name;
		texts[n++] = files->files[i].sha256;
	}
	hive_secret_digest_all(texts, n, ret);
	free(texts);
}

static int check_filter(struct hive *hive, const char *filter, int folder, struct hive_complaints *complaints)
{
	const struct hive_merge_cfg cfg = {
		.programs = hive->cfg.programs, .folder = folder, .list = "", .filter = filter
	};
	struct hive_merge_account account;
	struct skep_err err = SKEP_ERR_NULL;
	int r = strlen(filter) > FILTER_MAX
			? skep_err_set(&err, SKEP_E_USAGE, "filter: is longer than %d bytes", FILTER_MAX)
			: hive_merge_check(&cfg, &account, &err);

	if (r == SKEP_E_BAD_DATA)
		err.code = SKEP_E_USAGE;
	return r <= 0 ? r : hive_complain_err(complaints, "filter", &err);
}

static int load_job(struct hive *hive, int64_t job_id, struct hive_job *ret)
{
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_read(hive->db, &tx);

	return r < 0 ? r : hive_row_get(tx, &hive_jobs_table, job_id, ret);
}

/*
 * A dataset may be less than its files (build.c): the first packets of all, up to a limit; or what the
 * trigger of a ring has asked for. What else is wished for is a part of that.
 */
static int narrow(struct hive *hive, const struct hive_dataset *dataset, const struct files *files,
		  struct hive_download *plan)
{
	struct hive_download_wish *wish = &plan->wish;
	_hive_job_ struct hive_job job = { 0 };
	int64_t to_ns = dataset->last_ns;
	int r = dataset->job_id ? load_job(hive, dataset->job_id, &job) : -ENOENT;

	if (r == -ENOENT)
		return 0;
	if (r == 0 && job.kind == HIVE_KIND_SAVED) {
		if (job.filter) /* the probe has done it, by its own clock */
			return 0;
		wish->from_ns = SKEP_MAX(wish->from_ns, job.from_ns);
		to_ns = job.to_ns;
	} else if (r < 0 || !dataset->pkts || dataset->pkts >= files->pkts || strcmp(dataset->state, "open") == 0) {
		return r;
	} else if (!wish->link && !wish->filter && !wish->from_ns && !wish->to_ns) {
		plan->pkts = dataset->pkts;
		return 0;
	}
	wish->to_ns = wish->to_ns && wish->to_ns < to_ns ? wish->to_ns : to_ns;
	return r;
}

static int plan_merged(struct hive *hive, const struct hive_dataset *dataset, const struct files *files,
		       struct hive_download *plan, struct hive_complaints *complaints)
{
	const struct hive_download_wish *wish = &plan->wish;
	uint64_t bytes = PCAP_HEADER_BYTES;
	int r;

	if (!hive->cfg.programs)
		return hive_complain(complaints, "format",
				     "format: this hive does not find skep-capture, so it cannot merge");
	plan->list = hive_dataset_list(files->files, files->n);
	if (!plan->list)
		return -ENOMEM;
	r = narrow(hive, dataset, files, plan);
	if (r < 0)
		return r;
	if (wish->filter && *wish->filter)
		return check_filter(hive, wish->filter, plan->folder, complaints);
	if (wish->format != HIVE_DOWNLOAD_PCAP || wish->from_ns || wish->to_ns || !dataset->merged_bytes)
		return 0;
	for (uint32_t i = 0; i < files->n; i++)
		bytes += (uint64_t)(files->files[i].raw_bytes - PCAP_HEADER_BYTES);
	merged_tag(files, plan->etag);
	plan->bytes = plan->etag[0] ? bytes : 0;
	return 0;
}

int hive_download_start(struct hive *hive, const struct hive_download *download, uint64_t first,
			struct hive_download_stream *ret, struct skep_err *err)
{
	const struct hive_download_wish *wish = &download->wish;
	const struct hive_merge_cfg cfg = {
		.programs = hive->cfg.programs,
		.folder = download->folder,
		.list = download->list,
		.filter = wish->filter,
		.from_ns = (uint64_t)wish->from_ns,
		.to_ns = (uint64_t)wish->to_ns,
		.pcapng = wish->format == HIVE_DOWNLOAD_PCAPNG,
		.zstd = wish->format == HIVE_DOWNLOAD_PCAP_ZST,
		.skip_bytes = first,
		.pkts = download->pkts,
	};
	struct hive_merge *merge = NULL;
	int r = hive_merge_start(&cfg, &merge, &ret->fd, err);

	ret->whole = hive_merge_whole;
	ret->closed = hive_merge_end;
	ret->arg = merge;
	return r;
}

/* ---- bundles ---- */

struct bundling {
	struct hive_bundle_file *files;
	char **paths;
	uint32_t n;
	char *manifest, *readme;
};

static void bundling_clear(struct bundling *b)
{
	for (uint32_t i = 0; b->paths && i < b->n; i++)
		free(b->paths[i]);
	free(b->paths);
	free(b->files);
	free(b->manifest);
	free(b->readme);
}

static int add(struct bundling *b, const char *stored, const char *suffix,
	       const struct hive_bundle_file *file)
{
	char *path = NULL;

	if (asprintf(&path, "data/%s%s", stored, suffix) < 0)
		return -ENOMEM;
	b->paths[b->n] = path;
	b->files[b->n] = *file;
	b->files[b->n].path = path;
	b->files[b->n++].stored = path + strlen("data/");
	return 0;
}

static int add_file(struct bundling *b, const struct hive_file *file)
{
	const struct hive_bundle_file side = { .bytes = (uint64_t)file->side_bytes,
					       .crc32 = (uint32_t)file->side_crc32,
					       .sha256 = file->side_sha256 };
	int r = add(b, file->name, "",
		    &(struct hive_bundle_file){ .bytes = (uint64_t)file->bytes,
						.crc32 = (uint32_t)file->crc32,
						.sha256 = file->sha256 });

	return r == 0 && file->side_bytes ? add(b, file->name, ".json", &side) : r;
}

static int load_texts(struct hive *hive, const struct hive_dataset *dataset, struct bundling *b,
		      struct hive_complaints *complaints)
{
	const struct hive_store_name manifest = { dataset->folder, HIVE_MANIFEST_NAME };
	const struct hive_store_name readme = { dataset->folder, HIVE_README_NAME };
	struct skep_err err = SKEP_ERR_NULL;
	int r = hive_store_text(hive->store, &manifest, MANIFEST_MAX, &b->manifest);

	if (r == 0)
		r = hive_store_text(hive->store, &readme, MANIFEST_MAX, &b->readme);
	if (r != -ENOENT && strcmp(dataset->state, "open") != 0)
		return r;
	(void)skep_err_set(&err, SKEP_E_BUSY, "the dataset is not complete yet: there is no bundle of it");
	return hive_complain_err(complaints, NULL, &err);
}

static int list_bundle(const struct files *files, struct bundling *b)
{
	uint32_t room = 2 * files->n + 2;
	int r;

	b->files = calloc(room, sizeof(*b->files));
	b->paths = calloc(room, sizeof(*b->paths));
	if (!b->files || !b->paths)
		return -ENOMEM;
	r = 0;
	for (uint32_t i = 0; r == 0 && i < files->n; i++)
		r = add_file(b, &files->files[i]);
	b->files[b->n++] = (struct hive_bundle_file){ .path = HIVE_README_NAME, .text = b->readme };
	b->files[b->n++] = (struct hive_bundle_file){ .path = HIVE_MANIFEST_NAME, .text = b->manifest };
	return r;
}

static int plan_bundle(struct hive *hive, const struct hive_dataset *dataset, const struct files *files,
		       struct hive_download *plan, struct hive_complaints *complaints)
{
	SKEP_CLEANUP(bundling_clear) struct bundling bundling = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	char top[32];
	struct hive_bundle_cfg cfg = {
		.zip = plan->wish.format == HIVE_DOWNLOAD_ZIP,
		.top = top,
		.created_ns = dataset->created_ns,
		.software = "skep-hive " SKEP_VERSION,
	};
	int r = load_texts(hive, dataset, &bundling, complaints);

	snprintf(top, sizeof(top), "dataset-%" PRId64, dataset->head.id);
	if (r == 0)
		r = list_bundle(files, &bundling);
	if (r != 0)
		return r;
	cfg.files = bundling.files;
	cfg.n_files = bundling.n;
	cfg.folder = TAKE_FD(plan->folder);
	r = hive_bundle_new(&cfg, &plan->bundle, &err);
	if (r < 0)
		return r;
	plan->bytes = hive_bundle_bytes(plan->bundle);
	snprintf(plan->etag, sizeof(plan->etag), "%s", hive_bundle_etag(plan->bundle));
	return 0;
}

ssize_t hive_download_read(void *bundle, uint64_t at, void *buf, size_t max)
{
	return hive_bundle_read(bundle, at, buf, max);
}

void hive_download_closed(void *bundle)
{
	hive_bundle_free(bundle);
}

/* ---- the plan ---- */

static int check_wish(const struct hive_download_wish *wish, struct hive_complaints *complaints)
{
	if (is_bundle(wish) && (wish->filter || wish->from_ns || wish->to_ns))
		return hive_complain(complaints, "format",
				     "format: a bundle holds the files as they were captured; take pcap or "
				     "pcapng for a part of them");
	if (wish->from_ns && wish->to_ns && wish->from_ns > wish->to_ns)
		return hive_complain(complaints, "from", "from: is later than to");
	return 0;
}

int hive_download_plan(struct hive *hive, const struct hive_dataset *dataset,
		       const struct hive_download_wish *wish, struct hive_download *ret,
		       struct hive_complaints *complaints)
{
	SKEP_CLEANUP(files_clear) struct files files = { 0 };
	char name[64];
	int r = check_wish(wish, complaints);

	if (r != 0)
		return r;
	*ret = (struct hive_download){ .wish = *wish, .folder = -1, .type = types[wish->format] };
	safe_name(dataset->name, name, sizeof(name));
	snprintf(ret->name, sizeof(ret->name), "%s-%" PRId64 ".%s", name, dataset->head.id,
		 hive_download_names[wish->format]);
	r = load_files(hive, dataset, wish->link, &files, complaints);
	if (r == 0)
		r = hive->store ? hive_store_folder(hive->store, dataset->folder, &ret->folder) : -ENOENT;
	if (r != 0)
		return r;
	return is_bundle(wish) ? plan_bundle(hive, dataset, &files, ret, complaints)
			       : plan_merged(hive, dataset, &files, ret, complaints);
}
