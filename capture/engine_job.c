/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One job on an engine: how it comes, how it goes.
 *
 * Coming: the filter is compiled first, because that can be refused; then the channels go to the workers;
 * then the filter joins. So no frame with the job's bit can arrive before there is a channel for it. Going is
 * the reverse: the filter leaves (after which no new frame has the bit), the channels take what is in the
 * rings, the writers end their files, the keeper completes them. At each step the job's account is whole.
 */
#include "capture/engine_job.h"

#include "capture/capwrite.h"
#include "capture/classify.h"
#include "capture/decap.h"
#include "capture/filter/reducer.h"
#include "capture/filter_user.h"
#include "capture/mono.h"
#include "common/clock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

/* After its end a job waits so long for a disk that takes nothing. */
#define STUCK_NS (3 * SKEP_NSEC_PER_SEC)

/* ---- coming ---- */

static int make_header(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	struct utsname uts;
	char os[200];
	size_t n;

	if (!ej->output.pcapng) {
		cap_capwrite_pcap_header(ej->header, ej->job.snaplen, engine->taps[0]->linktype);
		ej->header_bytes = CAP_CAPWRITE_PCAP_HEADER_BYTES;
		return 0;
	}
	uname(&uts);
	(void)snprintf(os, sizeof(os), "%.60s %.120s", uts.sysname, uts.release);
	n = cap_capwrite_shb(ej->header, sizeof(ej->header),
			     &(struct cap_capwrite_shb){ .os = os, .application = "skep-capture " SKEP_VERSION });
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_capwrite_idb idb = {
			.linktype = engine->taps[i]->linktype,
			.snaplen = ej->job.snaplen,
			.name = engine->taps[i]->link,
			.filter = ej->job.filter_text,
			.os = os,
			.hardware = engine->taps[i]->driver[0] ? engine->taps[i]->driver : NULL,
		};
		size_t m = cap_capwrite_idb(ej->header + n, sizeof(ej->header) - n, &idb);

		if (m == 0) { /* a filter of kilobytes: it is in the sidecar */
			idb.filter = NULL;
			m = cap_capwrite_idb(ej->header + n, sizeof(ej->header) - n, &idb);
		}
		if (m == 0)
			return skep_err_set(err, SKEP_E_USAGE, "too many links for one pcapng file");
		n += m;
	}
	ej->header_bytes = (uint32_t)n;
	return 0;
}

static int check_linktypes(const struct cap_engine *engine, const struct cap_engine_job *ej,
			   struct skep_err *err)
{
	bool filter = ej->job.filter_text && *ej->job.filter_text;

	for (uint32_t i = 1; i < engine->n_taps; i++) {
		if (engine->taps[i]->linktype == engine->taps[0]->linktype || (ej->output.pcapng && !filter))
			continue;
		skep_err_set(err, SKEP_E_UNSUPPORTED, "%s and %s have different link types, which %s",
			     engine->taps[0]->link, engine->taps[i]->link,
			     ej->output.pcapng ? "one filter cannot serve" : "one pcap file cannot hold");
		skep_err_hint(err, ej->output.pcapng ? "start one capture per link"
						     : "use --format pcapng, or one capture per link");
		return SKEP_E_UNSUPPORTED;
	}
	return 0;
}

static struct flt_job_spec spec_of(const struct cap_engine_job *ej, bool again)
{
	return (struct flt_job_spec){
		.slot = ej->job.slot,
		.filter = ej->job.filter_text,
		.inside = ej->inside,
		.reduction = ej->reduction,
		.again = again,
	};
}

/* What reads a frame's headers itself knows Ethernet only; other bytes would be taken for what they are not.
 */
static int check_linktype(const struct cap_engine *engine, const struct cap_engine_job *ej,
			  struct skep_err *err)
{
	const struct flt_reduction *r = &ej->reduction;
	bool flows = r->sample_by_flow || r->cutoff_pkts || r->cutoff_bytes;

	for (uint32_t i = 0; i < engine->n_taps; i++) {
		const struct cap_tap *tap = engine->taps[i];

		if (tap->linktype == 1 || (!ej->inside && !ej->decap && !flows))
			continue;
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
				   "%s: %s needs Ethernet frames, and these are of link type %u", tap->link,
				   ej->inside ? "inside" : ej->decap ? "decap" : "what is done by flow",
				   tap->linktype);
		return SKEP_E_UNSUPPORTED;
	}
	return 0;
}

/* For taps that do not filter: the workers do. */
static int make_user_filter(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r = check_linktype(engine, ej, err);

	for (uint32_t i = 0; r == 0 && i < engine->n_taps && !ej->user_filter; i++)
		if (!engine->taps[i]->filters_jobs)
			r = cap_filter_user_new(ej->job.filter_text, engine->taps[i]->linktype,
						&ej->user_filter, err);
	if (r == 0 && ej->user_filter && ej->inside)
		cap_filter_user_look_inside(ej->user_filter, ej->inside);
	ej->job.filter = ej->user_filter;
	return r;
}

static const struct cap_tap *tap_of_worker(const struct cap_worker *worker)
{
	return worker->sources[0].src->tap;
}

static int make_channels(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	ej->channels = calloc(engine->n_workers, sizeof(*ej->channels));
	ej->keeper_lanes = calloc(engine->n_workers, sizeof(*ej->keeper_lanes));
	if (!ej->channels || !ej->keeper_lanes)
		return skep_err_set(err, -ENOMEM, "no memory for a job");
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		struct cap_channel *c = &ej->channels[i];
		int r;

		c->lane.job = &ej->job;
		c->lane.files = &ej->keeper_lanes[i].files;
		c->lane.compressed = ej->output.compressed;
		c->lane.header_raw_bytes = c->lane.segment_raw_bytes = ej->header_bytes;
		cap_level_init(&c->lane.level, ej->level_auto && ej->output.compressed, ej->level);
		r = cap_channel_init(c, &engine->workers[i], err);
		if (r == 0 && ej->decap)
			r = cap_decap_new(ej->decap, &c->lane.decap);
		if (r == 0 && flt_reduction_any(&ej->reduction))
			r = flt_reducer_new(&ej->reduction, engine->flow_seed, 0, &c->lane.reducer);
		if (r < 0)
			return skep_err_set(err, r, "no memory for a job");
	}
	return 0;
}

/* The facts about a lane that every sidecar of it repeats. */
static void fill_template(const struct cap_engine_job *ej, struct cap_keeper_lane *lane)
{
	static struct utsname uts;
	struct cap_sidecar *t = &lane->template;
	struct skep_clock_state clock;

	uname(&uts);
	*t = (struct cap_sidecar)CAP_SIDECAR_NULL;
	t->job = ej->job.name[0] ? ej->job.name : NULL;
	t->link = lane->tap->link;
	t->queue = lane->queue;
	t->format = ej->output.pcapng ? "pcapng" : "pcap";
	t->compression = ej->output.compressed ? "zstd" : "none";
	t->linktype = lane->tap->linktype;
	t->snaplen = ej->job.snaplen;
	t->filter = ej->job.filter_text;
	t->source = lane->tap->how;
	t->driver = lane->tap->driver[0] ? lane->tap->driver : NULL;
	t->kernel = uts.release;
	t->hostname = uts.nodename;
	t->software = "skep-capture " SKEP_VERSION;
	t->timestamps = lane->tap->lossless ? "file" : lane->tap->hw_timestamps ? "nic" : "kernel";
	if (skep_clock_state(&clock) == 0) {
		t->clock.known = true;
		t->clock.synchronised = clock.synchronised;
		t->clock.error_ns = clock.synchronised ? clock.error_ns : CAP_SIDECAR_UNKNOWN;
		t->clock.tai_offset_s = clock.tai_offset_s;
	}
}

static void make_keeper_lanes(struct cap_engine *engine, struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		struct cap_keeper_lane *lane = &ej->keeper_lanes[i];

		lane->tap = tap_of_worker(&engine->workers[i]);
		lane->queue = engine->workers[i].sources[0].src->queue;
		(void)snprintf(lane->link, sizeof(lane->link), "%.63s", lane->tap->link);
		lane->output = &ej->output;
		lane->job = &ej->job;
		lane->header_bytes = ej->header_bytes;
		memcpy(lane->header, ej->header, ej->header_bytes);
	}
}

static int prepare(struct cap_engine *engine, struct cap_engine_job *ej, bool again, struct skep_err *err)
{
	const struct flt_job_spec spec = spec_of(ej, again);
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs)
			r = cap_classify_prepare(engine->taps[i]->classify, &spec, err);
	return r;
}

int cap_engine_job_join(struct cap_engine *engine, struct cap_engine_job *ej, bool again,
			struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs)
			r = cap_classify_add(engine->taps[i]->classify, ej->job.slot, again, err);
	return r;
}

static int part(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int result = 0;

	for (uint32_t i = 0; i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs) {
			int r = cap_classify_remove(engine->taps[i]->classify, ej->job.slot, err);

			result = result ? result : r;
		}
	return result;
}

int cap_engine_job_make(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r = check_linktypes(engine, ej, err);

	if (r == 0)
		r = make_header(engine, ej, err);
	if (r == 0)
		r = make_user_filter(engine, ej, err);
	if (r == 0)
		r = make_channels(engine, ej, err);
	if (r == 0)
		make_keeper_lanes(engine, ej);
	if (r == 0)
		r = prepare(engine, ej, false, err);
	if (r) {
		(void)part(engine, ej, NULL);
		cap_engine_job_free(engine, ej);
	}
	return r;
}

int cap_engine_job_open_files(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < engine->n_workers; i++) {
		fill_template(ej, &ej->keeper_lanes[i]);
		r = cap_keeper_open(&engine->keeper, &ej->keeper_lanes[i], err);
	}
	return r;
}

/* Channels and lanes that nobody was given: they need not come back. */
static void write_off(struct cap_engine *engine, struct cap_engine_job *ej, uint32_t failed)
{
	for (uint32_t i = failed; i < engine->n_workers; i++) {
		atomic_store(&ej->channels[i].gone, true);
		if (i > failed) /* that one the keeper has */
			atomic_store(&ej->keeper_lanes[i].closed, true);
	}
}

int cap_engine_job_start(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r = 0;

	if (ej->job.limits_bytes && ej->job.budget == &ej->job.own_budget)
		atomic_fetch_sub(&ej->job.budget->bytes_left,
				 (int64_t)((uint64_t)ej->header_bytes * engine->n_workers));
	ej->started_ns = cap_mono_ns();
	ej->started_utc_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
	ej->end_at_ns = atomic_load(&ej->job.end_ns);
	if (ej->job.duration_ns && !ej->job.clock_from_packets)
		atomic_store(&ej->job.end_ns, SKEP_MIN(atomic_load(&ej->job.end_ns),
						       ej->started_utc_ns + ej->job.duration_ns));
	for (uint32_t i = 0; engine->running && i < engine->n_taps; i++)
		engine->taps[i]->ops->account(engine->taps[i], &ej->base[i]);
	for (uint32_t i = 0; r == 0 && i < engine->n_workers; i++) {
		if (engine->running) {
			fill_template(ej, &ej->keeper_lanes[i]);
			cap_keeper_add(&engine->keeper, &ej->keeper_lanes[i]);
		}
		r = cap_worker_add(&engine->workers[i], &ej->channels[i], err);
		if (r)
			write_off(engine, ej, i);
	}
	ej->state = CAP_ENGINE_JOB_RUNS;
	return r;
}

int cap_engine_pause(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r;

	if (ej->state != CAP_ENGINE_JOB_RUNS)
		return skep_err_set(err, SKEP_E_USAGE, "the job does not run");
	r = part(engine, ej, err);
	if (r == 0) {
		atomic_store(&ej->job.paused, true);
		ej->paused_ns = cap_mono_ns();
		/* The duration stands still; a moment to end does not. */
		if (ej->job.duration_ns && !ej->job.clock_from_packets)
			atomic_store(&ej->job.end_ns, ej->end_at_ns);
		ej->state = CAP_ENGINE_JOB_PAUSED;
	}
	return r;
}

/* A pause is no part of the job's duration. */
static void run_on(struct cap_engine_job *ej)
{
	if (!ej->job.duration_ns || ej->job.clock_from_packets)
		return;
	ej->paused_sum_ns += cap_mono_ns() - ej->paused_ns;
	atomic_store(&ej->job.end_ns, SKEP_MIN(ej->end_at_ns, ej->started_utc_ns + ej->job.duration_ns +
								      ej->paused_sum_ns));
}

int cap_engine_resume(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	int r;

	if (ej->state != CAP_ENGINE_JOB_PAUSED)
		return skep_err_set(err, SKEP_E_USAGE, "the job is not paused");
	atomic_store(&ej->job.paused, false);
	r = prepare(engine, ej, true, err);
	if (r == 0)
		r = cap_engine_job_join(engine, ej, true, err);
	if (r) { /* nowhere rather than on some links */
		(void)part(engine, ej, NULL);
		atomic_store(&ej->job.paused, true);
		return r;
	}
	run_on(ej);
	ej->state = CAP_ENGINE_JOB_RUNS;
	return 0;
}

void cap_engine_rotate(struct cap_engine *engine, struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		atomic_fetch_add(&ej->channels[i].rotate_asked, 1);
		cap_worker_wake(&engine->workers[i]);
	}
}

bool cap_engine_rotated(const struct cap_engine *engine, const struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		const struct cap_channel *c = &ej->channels[i];

		if (atomic_load(&c->gone))
			continue;
		if (atomic_load_explicit(&c->rotate_done, memory_order_acquire) !=
			    atomic_load(&c->rotate_asked) ||
		    atomic_load(&ej->keeper_lanes[i].n_done) < atomic_load(&c->rotate_files))
			return false;
	}
	return true;
}

/* ---- going ---- */

static bool all_filter(const struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_taps; i++)
		if (!engine->taps[i]->filters_jobs)
			return false;
	return true;
}

void cap_engine_leave(struct cap_engine *engine, struct cap_engine_job *ej, enum cap_job_end why)
{
	struct skep_err err = SKEP_ERR_NULL;
	uint64_t now_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);

	if (ej->state != CAP_ENGINE_JOB_RUNS && ej->state != CAP_ENGINE_JOB_PAUSED)
		return;
	/* For taps that do not filter the end is a moment; what came before it is in the rings. */
	if (!all_filter(engine))
		atomic_store(&ej->job.end_ns, SKEP_MIN(atomic_load(&ej->job.end_ns), now_ns));
	ej->ended_ns = cap_mono_ns();
	ej->why = why;
	if (part(engine, ej, &err)) {
		if (engine->cfg.say)
			engine->cfg.say(engine->cfg.say_arg, err.text);
		cap_job_end(&ej->job, why); /* what still comes for it is not part of it */
	}
	ej->moved_ns = cap_mono_ns();
	ej->state = CAP_ENGINE_JOB_PARTING;
}

static bool settled(const struct cap_engine *engine, const struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs && !engine->gone[i] &&
		    !cap_classify_settled(engine->taps[i]->classify, ej->job.slot))
			return false;
	return true;
}

static bool channels_gone(const struct cap_engine *engine, const struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_workers; i++)
		if (!atomic_load_explicit(&ej->channels[i].gone, memory_order_acquire))
			return false;
	return true;
}

static bool lanes_closed(const struct cap_engine *engine, const struct cap_engine_job *ej)
{
	for (uint32_t i = 0; i < engine->n_workers; i++)
		if (!atomic_load_explicit(&ej->keeper_lanes[i].closed, memory_order_acquire))
			return false;
	return true;
}

/* A disk that takes nothing does not keep a job from ending. */
static void look_stuck(struct cap_engine *engine, struct cap_engine_job *ej)
{
	struct cap_account a = { 0 };
	uint64_t now_ns = cap_mono_ns();

	cap_engine_job_sum(engine, ej, &a);
	if (a.stored + a.bytes_disk != ej->moved_sum) {
		ej->moved_sum = a.stored + a.bytes_disk;
		ej->moved_ns = now_ns;
	}
	if (now_ns - ej->moved_ns < STUCK_NS || ej->forced)
		return;
	ej->forced = true;
	for (uint32_t i = 0; i < engine->n_workers; i++)
		atomic_store(&ej->channels[i].abandon, true);
}

void cap_engine_job_step(struct cap_engine *engine, struct cap_engine_job *ej)
{
	if (ej->state == CAP_ENGINE_JOB_PARTING &&
	    (settled(engine, ej) || cap_mono_ns() - ej->moved_ns > STUCK_NS)) {
		cap_engine_job_settle(engine, ej);
		for (uint32_t i = 0; i < engine->n_workers; i++) {
			atomic_store_explicit(&ej->channels[i].closing, true, memory_order_release);
			cap_worker_wake(&engine->workers[i]);
		}
		ej->moved_ns = cap_mono_ns();
		ej->state = CAP_ENGINE_JOB_LEAVING;
	}
	if (ej->state == CAP_ENGINE_JOB_LEAVING) {
		if (!channels_gone(engine, ej)) {
			look_stuck(engine, ej);
			return;
		}
		for (uint32_t i = 0; i < engine->n_workers; i++)
			cap_keeper_close(&engine->keeper, &ej->keeper_lanes[i]);
		ej->state = CAP_ENGINE_JOB_FILING;
	}
	if (ej->state == CAP_ENGINE_JOB_FILING && lanes_closed(engine, ej)) {
		ej->final = true;
		cap_job_end(&ej->job, ej->why);
		cap_engine_totals(engine, ej, &ej->totals);
		ej->state = CAP_ENGINE_JOB_ENDED;
	}
}

void cap_engine_job_free(struct cap_engine *engine, struct cap_engine_job *ej)
{
	for (uint32_t i = 0; ej->channels && i < engine->n_workers; i++) {
		flt_reducer_free(ej->channels[i].lane.reducer);
		cap_decap_free(ej->channels[i].lane.decap);
		cap_channel_fini(&ej->channels[i]);
	}
	for (uint32_t i = 0; ej->keeper_lanes && i < engine->n_workers; i++)
		cap_keeper_forget(&engine->keeper, &ej->keeper_lanes[i]);
	free(ej->channels);
	free(ej->keeper_lanes);
	ej->channels = NULL;
	ej->keeper_lanes = NULL;
	ej->user_filter = cap_filter_user_free(ej->user_filter);
	ej->job.filter = NULL;
}
