/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Collection: each segment is fetched into a .part file, from where it was left; when its length and SHA-256
 * are those that the probe announced it gets its name and its row, in this order, so a row always has its
 * file. FETCHERS at once, each with a connection of its own, while the capture runs (prefetch.c) and when it
 * is over. Deletes nothing on the probe: the job logic does, when all is here. Any thread, one per part of a
 * job (prefetch.c sees to that).
 */
#include "hive/svc/collect.h"

#include "common/log.h"
#include "hive/probe/client.h"
#include "hive/store/store.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* One waits for the disk and hashes while another receives; more only take connections. */
#define FETCHERS 4
/* A thread costs more than it saves below that. */
#define TAIL_MIN_BYTES (1024 * 1024)

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

struct fetched {
	const char *name; /* in the store */
	const struct hive_segment *segment;
	struct hive_store_sum sidecar;
};

static int add_file(struct hive *hive, const struct place *place, const struct fetched *what)
{
	const struct hive_segment *segment = what->segment;
	struct hive_file file = {
		.dataset_id = place->dataset.head.id,
		.job_link_id = place->part.head.id,
		.link_name = place->part.link_name,
		.name = (char *)what->name,
		.bytes = segment->bytes,
		.sha256 = (char *)segment->sha256,
		.first_ns = segment->first_ns,
		.last_ns = segment->last_ns,
		.pkts = segment->pkts,
		.created_ns = hive_now_ns(hive),
		.raw_bytes = segment->raw_bytes,
		.side_bytes = what->sidecar.bytes,
		.side_sha256 = (char *)what->sidecar.sha256,
	};
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_row_insert(tx, &hive_files, &file);
	return r < 0 ? r : hive_tx_commit(&tx);
}

static int add_origin(struct hive *hive, const struct place *place, char *capture)
{
	struct hive_data_origin origin = { .dataset_id = place->dataset.head.id,
					   .job_link_id = place->part.head.id,
					   .capture = capture };
	_hive_tx_ struct hive_tx *tx = NULL;
	int r = hive_db_write(hive->db, &tx);

	if (r == 0)
		r = hive_data_origin_put(tx, &origin);
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

/* What the fetchers of one part share. */
struct fetching {
	struct hive *hive;
	const struct place *place;
	const char *capture_id;
	struct hive_segment *segments;
	uint32_t n;
	pthread_mutex_t lock; /* what follows */
	uint32_t next;
	int result;
	struct skep_err err;
};

/* One of them. */
struct fetcher {
	struct fetching *shared;
	struct hive_client *client;
	pthread_t thread;
};

/* The sidecar is small and changes no more once the digest is in it, so it is taken whole, before the
 * segment. */
static int fetch_sidecar(const struct fetcher *f, const struct fetched *what, struct hive_store_sum *ret,
			 struct skep_err *err)
{
	const char *folder = f->shared->place->dataset.folder;
	struct hive_store *store = f->shared->hive->store;
	_skep_free_ char *text = NULL;
	char name[200];
	int r = hive_client_sidecar(f->client, f->shared->capture_id, what->segment->name, &text, err);

	snprintf(name, sizeof(name), "%s.json", what->name);
	if (r == -ENOENT) /* a probe of before: the index is lost, not the packets */
		return 0;
	if (r == 0)
		r = hive_store_write(store, &(struct hive_store_name){ folder, name }, text, err);
	return r == 0 ? hive_store_sum(store, &(struct hive_store_name){ folder, name }, ret) : r;
}

/* What is large is hashed while it comes; NULL: it is read again when it is here. */
static struct hive_store_tail *tail_of(const struct hive_segment *segment, int fd)
{
	struct hive_store_tail *tail = NULL;

	if (segment->bytes >= TAIL_MIN_BYTES)
		(void)hive_store_tail_start(fd, &tail);
	return tail;
}

/* -EAGAIN and its like: later, from where it is now. SKEP_E_BAD_DATA: the bytes are not those announced. */
static int fetch(const struct fetcher *f, struct fetched *what, struct skep_err *err)
{
	const struct hive_segment *segment = what->segment;
	struct hive_store_name file = { f->shared->place->dataset.folder, what->name };
	struct hive_fetch from = { .id = f->shared->capture_id,
				   .segment = segment->name,
				   .stop = &f->shared->hive->stopping };
	struct hive_store_whole whole = { .bytes = segment->bytes, .sha256 = segment->sha256 };
	struct hive_store_tail *tail = NULL;
	struct hive_store_sum sum;
	_skep_close_ int fd = -1;
	int64_t there = 0, more = 0;
	int r = hive_store_part(f->shared->hive->store, &file, segment->bytes, &fd, &there, err);

	from.offset = there;
	from.fd = fd;
	if (r == 0)
		tail = tail_of(segment, fd);
	if (r == 0 && there < segment->bytes)
		r = hive_client_fetch(f->client, &from, &more, err);
	if (hive_store_tail_end(tail, &sum) == 0)
		whole.known = &sum;
	if (r == 0)
		r = hive_store_seal(f->shared->hive->store, &file, &whole, NULL, err);
	return r;
}

static int fetch_one(const struct fetcher *f, const struct hive_segment *segment, struct skep_err *err)
{
	char name[192];
	struct fetched what = { .name = name, .segment = segment };
	int r;

	snprintf(name, sizeof(name), "link%" PRId64 "-%s", f->shared->place->part.link_id, segment->name);
	r = fetch_sidecar(f, &what, &what.sidecar, err);
	if (r == 0)
		r = fetch(f, &what, err);
	if (r == SKEP_E_BAD_DATA) /* from its beginning, once; then the probe has it wrong */
		r = fetch(f, &what, err);
	if (r == 0)
		r = add_file(f->shared->hive, f->shared->place, &what);
	/* if the probe does not hear it, it keeps the segment until the job is over */
	if (r == 0)
		(void)hive_client_collected(f->client, f->shared->capture_id, segment, NULL);
	return r;
}

static void *fetch_some(void *arg)
{
	struct fetcher *f = arg;
	struct fetching *shared = f->shared;
	struct skep_err err = SKEP_ERR_NULL;
	int r = 0;

	for (;;) {
		const struct hive_segment *segment = NULL;

		pthread_mutex_lock(&shared->lock);
		if (r != 0 && shared->result == 0) {
			shared->result = r;
			shared->err = err;
		}
		if (shared->result == 0 && shared->next < shared->n)
			segment = &shared->segments[shared->next++];
		pthread_mutex_unlock(&shared->lock);
		if (!segment)
			return NULL;
		r = fetch_one(f, segment, &err);
	}
}

static void fetch_together(struct fetching *shared, struct hive_client *client)
{
	struct fetcher fetchers[FETCHERS] = { { .shared = shared, .client = client } };
	uint32_t n = 1;

	while (n < FETCHERS && n < shared->n) {
		struct fetcher *more = &fetchers[n];

		more->shared = shared;
		if (hive_client_copy(client, &more->client) < 0)
			break;
		if (pthread_create(&more->thread, NULL, fetch_some, more) != 0) {
			hive_client_free(more->client);
			break;
		}
		n++;
	}
	(void)fetch_some(&fetchers[0]);
	for (uint32_t i = 1; i < n; i++) {
		pthread_join(fetchers[i].thread, NULL);
		hive_client_free(fetchers[i].client);
	}
}

static int by_name(const void *key, const void *file)
{
	return strcmp(key, ((const struct hive_file *)file)->name);
}

/* Leaves those that are not here yet and have their digest. *ret_unhashed: some have none yet. */
static int sort_out(const struct fetching *shared, uint32_t *n, bool *ret_unhashed)
{
	struct hive_file *files = NULL;
	_hive_tx_ struct hive_tx *tx = NULL;
	uint32_t n_files = 0, kept = 0;
	int r = hive_db_read(shared->hive->db, &tx);

	if (r == 0)
		r = hive_files_of(tx, shared->place->dataset.head.id, &files, &n_files);
	for (uint32_t i = 0; r == 0 && i < *n; i++) {
		const struct hive_segment *segment = &shared->segments[i];
		char name[192];

		snprintf(name, sizeof(name), "link%" PRId64 "-%s", shared->place->part.link_id,
			 segment->name);
		if (n_files && bsearch(name, files, n_files, sizeof(*files), by_name))
			continue;
		if (segment->sha256[0])
			shared->segments[kept++] = *segment;
		else
			*ret_unhashed = true;
	}
	hive_files_free(files, n_files);
	*n = kept;
	return r;
}

/* For people who wonder, and for bench. */
static void say_speed(const struct fetching *shared, uint64_t took_ns)
{
	int64_t bytes = 0;

	for (uint32_t i = 0; i < shared->n; i++)
		bytes += shared->segments[i].bytes;
	skep_log(SKEP_LOG_INFO, "job=%" PRId64 " link=%" PRId64 " fetched=%u bytes=%" PRId64 " ms=%" PRIu64,
		 shared->place->job.head.id, shared->place->part.link_id, shared->n, bytes,
		 took_ns / SKEP_NSEC_PER_MSEC);
}

static int fetch_all(struct hive *hive, struct hive_client *client, const struct place *place, const char *id,
		     struct skep_err *err)
{
	struct fetching shared = { .hive = hive, .place = place, .capture_id = id };
	uint64_t began_ns = skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC);
	bool unhashed = false;
	int r = hive_client_segments(client, id, &shared.segments, &shared.n, err);

	if (r == 0)
		r = sort_out(&shared, &shared.n, &unhashed);
	if (r == 0 && shared.n) {
		pthread_mutex_init(&shared.lock, NULL);
		fetch_together(&shared, client);
		pthread_mutex_destroy(&shared.lock);
		r = shared.result;
		if (r != 0)
			*err = shared.err;
		else
			say_speed(&shared, skep_clock_now_ns(hive->clock, CLOCK_MONOTONIC) - began_ns);
	}
	free(shared.segments);
	if (r == 0 && unhashed)
		return skep_err_set(err, -EAGAIN, "the probe has not computed all digests yet");
	return r;
}

static int note_origin(struct hive *hive, struct hive_client *client, const struct place *place,
		       const char *id, struct skep_err *err)
{
	_skep_free_ char *text = NULL;
	int r = hive_client_capture_text(client, id, &text, err);

	return r == 0 ? add_origin(hive, place, text) : r;
}

int hive_collect_early(struct hive *hive, struct hive_client *client, int64_t job_id, int64_t link_id,
		       struct skep_err *err)
{
	SKEP_CLEANUP(place_clear) struct place place = { 0 };
	struct hive_capture capture = { .at = HIVE_CAPTURE_ABSENT };
	char name[HIVE_CAPTURE_NAME];
	int r;

	hive_capture_name(hive, job_id, link_id, name);
	r = hive->store ? hive_client_get(client, name, &capture, err) : -EAGAIN;
	if (r != 0 || capture.at == HIVE_CAPTURE_ABSENT)
		return r;
	r = find_place(hive, job_id, link_id, &place);
	/* ended meanwhile, perhaps cancelled: what is still to be fetched is for the job logic to say */
	if (r == 0 && place.job.state < HIVE_JOB_DONE && place.job.finish != HIVE_FINISH_CANCEL)
		r = fetch_all(hive, client, &place, capture.id, err);
	return r;
}

static int collect(struct hive *hive, struct hive_client *client, const struct place *place, const char *name,
		   struct skep_err *err)
{
	struct hive_capture capture = { .at = HIVE_CAPTURE_ABSENT };
	int r = hive_client_get(client, name, &capture, err);

	if (r == 0 && capture.at == HIVE_CAPTURE_ABSENT)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "the probe no longer has the capture");
	if (r == 0 && capture.at != HIVE_CAPTURE_OVER)
		return skep_err_set(err, -EAGAIN, "the capture is not over");
	if (r == 0)
		r = hive->store ? fetch_all(hive, client, place, capture.id, err)
				: skep_err_set(err, -EAGAIN, "this hive has no store");
	return r == 0 ? note_origin(hive, client, place, capture.id, err) : r;
}

void hive_collect(struct hive *hive, struct hive_client *client, const struct hive_effect *effect,
		  struct hive_collected *ret, struct skep_err *err)
{
	SKEP_CLEANUP(place_clear) struct place place = { 0 };
	char name[HIVE_CAPTURE_NAME];
	int r = find_place(hive, effect->job_id, effect->link_id, &place);

	*ret = (struct hive_collected){ .job_id = effect->job_id,
					.link_id = effect->link_id,
					.done = HIVE_DONE_RETRY };
	if (r < 0 || count(hive, &place, ret) < 0 || !client)
		return;
	hive_capture_name(hive, effect->job_id, effect->link_id, name);
	r = collect(hive, client, &place, name, err);
	(void)count(hive, &place, ret);
	if (r == 0)
		ret->done = HIVE_DONE_OK;
	else if (r == SKEP_E_NOT_FOUND || r == SKEP_E_BAD_DATA)
		ret->done = HIVE_DONE_LOST;
	ret->text = err->text;
}
