/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one job on an engine counted: its lanes' accounts, what the kernel's filters counted for it, and what
 * the kernel lost, put together so that seen = stored + rejected + dropped at every moment. Changes nothing.
 * Control thread.
 */
#include "capture/engine_job.h"

#include "capture/classify.h"
#include "capture/mono.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What the kernel lost since the job began, as far as it can tell. */
struct kernel_loss {
	uint64_t by[CAP_DROP_N]; /* after the frame was offered to us */
	uint64_t sum;
	uint64_t missed; /* before */
	uint64_t offered;
};

static void read_loss(struct cap_tap *tap, const struct cap_kernel_account *base, struct kernel_loss *ret)
{
	struct cap_kernel_account k = { 0 };

	tap->ops->account(tap, &k);
	*ret = (struct kernel_loss){ .missed = k.nic_missed - SKEP_MIN(k.nic_missed, base->nic_missed),
				     .offered = k.offered - base->offered };
	ret->by[CAP_DROP_RX_RING_FULL] = k.rx_ring_full - base->rx_ring_full;
	ret->by[CAP_DROP_FILL_RING_EMPTY] = k.fill_ring_empty - base->fill_ring_empty;
	ret->by[CAP_DROP_RX_OVERSIZE] = k.rx_oversize - base->rx_oversize;
	ret->by[CAP_DROP_MIRROR_RING_FULL] = k.mirror_ring_full - base->mirror_ring_full;
	ret->by[CAP_DROP_MIRROR_TOO_LONG] = k.mirror_too_long - base->mirror_too_long;
	ret->by[CAP_DROP_AFPACKET_RING_FULL] = k.afpacket_ring_full - base->afpacket_ring_full;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		ret->sum += ret->by[i];
}

/* Frames that a tap received for nobody in particular: every job could have wanted them. */
static void add_unfiltered(const struct cap_engine *engine, const struct kernel_loss *loss, uint64_t received,
			   struct cap_account *a)
{
	uint64_t unknown = 0;

	for (unsigned i = 0; i < CAP_DROP_N; i++)
		a->dropped[i] += loss->by[i];
	/* `received` and `offered` count from the same moment only for a job that came before the start. */
	if (engine->stopped && !engine->cfg.loader && loss->offered > received + loss->sum)
		unknown = loss->offered - received - loss->sum;
	a->dropped[CAP_DROP_UNACCOUNTED] += unknown;
	a->seen += loss->sum + unknown;
}

static uint64_t rejected_by_filter(const struct cap_filter_count *count)
{
	return count->seen - SKEP_MIN(count->seen, count->wanted + count->unserved);
}

/* What the filtering taps of an engine chose for one job and lost, together: so they compare to what came. */
struct filtered {
	uint64_t wanted;
	struct kernel_loss loss;
};

static void add_filtered(struct cap_tap *tap, const struct cap_engine_job *ej, const struct kernel_loss *loss,
			 struct filtered *f, struct cap_account *a)
{
	struct cap_filter_count count;
	uint64_t rejected;

	cap_classify_count(tap->classify, ej->job.slot, &count);
	rejected = rejected_by_filter(&count);
	a->rejected += rejected;
	a->seen += rejected;
	a->sampled_out += count.sampled_out;
	a->cut_off += count.cut_off;
	f->wanted += count.wanted;
	f->loss.sum += loss->sum;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		f->loss.by[i] += loss->by[i];
}

/*
 * Frames that the filters chose for the job and that never came. Which of the links' losses they were is
 * known exactly where there was one reason only.
 */
static void add_missing(const struct cap_engine_job *ej, const struct filtered *f, struct cap_account *a)
{
	uint64_t missing = f->wanted - SKEP_MIN(f->wanted, a->matched);

	if (!ej->final) /* the others are in the rings, on their way to us */
		missing = SKEP_MIN(missing, f->loss.sum);
	a->seen += missing;
	for (unsigned i = 0; i < CAP_DROP_N; i++) {
		uint64_t n = SKEP_MIN(missing, f->loss.by[i]);

		a->dropped[i] += n;
		missing -= n;
	}
	a->dropped[CAP_DROP_UNACCOUNTED] += missing;
}

void cap_engine_job_sum(struct cap_engine *engine, struct cap_engine_job *ej, struct cap_account *ret)
{
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		struct cap_files *files = &ej->keeper_lanes[i].files;
		uint64_t lost = atomic_load(&files->lost_pkts);
		struct cap_account a;

		cap_account_read(&ej->channels[i].slot, &a);
		cap_account_add(ret, &a);
		ret->stored -= lost;
		ret->dropped[CAP_DROP_WRITE_ERROR] += lost;
		ret->bytes_wire -= atomic_load(&files->lost_bytes_wire);
		ret->bytes_raw -= atomic_load(&files->lost_bytes_raw);
	}
}

static void add_reason(struct cap_engine_totals *t, const char *fmt, ...) SKEP_PRINTF(2, 3);
static void add_reason(struct cap_engine_totals *t, const char *fmt, ...)
{
	va_list ap;

	t->complete = false;
	if (t->n_reasons == CAP_REASONS_MAX)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(t->reasons[t->n_reasons++], sizeof(t->reasons[0]), fmt, ap);
	va_end(ap);
}

static void judge(const struct cap_engine *engine, const struct cap_engine_job *ej,
		  struct cap_engine_totals *t)
{
	t->complete = true;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (t->account.dropped[i])
			add_reason(t, "%llu packets dropped: %s", (unsigned long long)t->account.dropped[i],
				   cap_drop_name((enum cap_drop)i));
	if (engine->tap_lost)
		add_reason(t, "%s", engine->lost.text);
	else if (engine->crippled && (ej->state == CAP_ENGINE_JOB_RUNS || ej->state == CAP_ENGINE_JOB_PAUSED))
		add_reason(t, "%s", engine->lost.text); /* not at its own end */
	if (atomic_load(&ej->job.done_why) == CAP_JOB_END_DISK_FULL)
		add_reason(t, "stopped because the disk is full");
	if (atomic_load(&ej->job.done_why) == CAP_JOB_END_WRITE)
		add_reason(t, "the reader of the output went away");
	if (ej->forced)
		add_reason(t, "ended before everything was written");
	for (uint32_t i = 0; i < engine->n_workers; i++)
		if (engine->workers[i].broken && !engine->tap_lost) /* which says it better */
			add_reason(t, "a source broke: %s", strerror(-engine->workers[i].broken));
}

void cap_engine_totals(struct cap_engine *engine, struct cap_engine_job *ej, struct cap_engine_totals *ret)
{
	struct cap_engine_totals t = { 0 };
	struct filtered filtered = { 0 };
	uint64_t received[CAP_MAX_LINKS] = { 0 };

	if (ej->state == CAP_ENGINE_JOB_ENDED && !engine->stopped) {
		*ret = ej->totals;
		return;
	}
	cap_engine_job_sum(engine, ej, &t.account);
	t.level_now = cap_level_now(&ej->channels[0].lane.level);
	for (uint32_t i = 0; i < engine->n_workers; i++)
		for (uint32_t k = 0; k < engine->workers[i].n_sources; k++) {
			const struct cap_worker_source *s = &engine->workers[i].sources[k];

			received[s->interface_id] += __atomic_load_n(&s->received, __ATOMIC_RELAXED);
		}
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_tap *tap = engine->taps[i];
		struct kernel_loss loss;

		read_loss(tap, &ej->base[i], &loss);
		if (tap->filters_jobs)
			add_filtered(tap, ej, &loss, &filtered, &t.account);
		else
			add_unfiltered(engine, &loss, received[i], &t.account);
		t.account.dropped[CAP_DROP_NIC_MISSED] += loss.missed;
		t.account.seen += loss.missed;
	}
	add_missing(ej, &filtered, &t.account);
	if (ej->final) {
		t.account.bytes_disk = 0;
		for (uint32_t i = 0; i < engine->n_workers; i++)
			t.account.bytes_disk += ej->keeper_lanes[i].bytes_kept;
	}
	t.duration_ns = (ej->ended_ns ? ej->ended_ns : cap_mono_ns()) - ej->started_ns;
	judge(engine, ej, &t);
	*ret = t;
}

void cap_engine_job_settle(struct cap_engine *engine, struct cap_engine_job *ej)
{
	uint64_t rejected = 0;

	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_filter_count count;

		if (!engine->taps[i]->filters_jobs)
			continue;
		cap_classify_count(engine->taps[i]->classify, ej->job.slot, &count);
		rejected += rejected_by_filter(&count);
	}
	/* The sidecars of the job's first lane say it for all. */
	atomic_store(&ej->channels[0].lane.rejected_before, rejected);
}
