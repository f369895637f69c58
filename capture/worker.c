/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet path. cap_worker_turn shows it whole: receive, route, recycle, seal, pack, submit, reap.
 *
 * After start nothing here allocates, locks, logs or reads shared configuration. Frames go back to the kernel
 * right after their bytes are copied, so neither zstd nor the disk can hold up the ring: packing is done in
 * slices of at most 128 KiB between two receives, writes are asynchronous. An idle worker sleeps instead of
 * polling: measured, poll() on AF_XDP costs ten times the CPU at 100 kpps, because every packet then wakes
 * the reader.
 */
#include "capture/worker.h"

#include "capture/crew.h"
#include "capture/mono.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* Batches per turn while the ring is behind: 2,048 frames, about half a millisecond of copying. */
#define RECEIVE_BURST 32u
#define RATE_WINDOW_NS (100 * SKEP_NSEC_PER_MSEC)
#define DRAIN_EMPTY_TURNS 3u

static void publish(struct cap_worker *worker);
static void rest(struct cap_worker *worker);

static uint64_t received_by(const struct cap_worker *worker)
{
	uint64_t most = 0;

	for (uint32_t i = 0; i < worker->n_lanes; i++)
		most = SKEP_MAX(most, worker->lanes[i].received);
	return most;
}

/* Seal, pack, submit, reap; true if anything was done. */
static bool serve(struct cap_worker *worker)
{
	uint32_t reaped;
	bool worked = false;

	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		cap_lane_age(&worker->lanes[i], false);            /* seal */
		worked |= cap_writer_step(&worker->writers[i]);    /* pack, submit */
	}
	cap_sink_flush(&worker->sink);
	reaped = cap_sink_reap(&worker->sink);                     /* reap */
	worked |= reaped > 0;
	for (uint32_t i = 0; worked && i < worker->n_lanes; i++)
		cap_writer_settle(&worker->writers[i]);
	publish(worker);
	return worked;
}

static void route(struct cap_worker *worker, struct cap_worker_source *source, uint32_t from, uint32_t to)
{
	uint64_t before = received_by(worker);

	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		struct cap_lane *lane = &worker->lanes[i];

		if (atomic_load_explicit(&lane->job->done, memory_order_relaxed))
			continue;
		cap_lane_take(lane, &source->batch, from, to, source->interface_id);
	}
	/* Behind the packet at which the last job ended. */
	source->after_end += to - from - (received_by(worker) - before);
}

/*
 * A source that can wait is never robbed: frames are taken only while there are blocks for them. In the worst
 * case every frame begins a new block behind a rotation marker, in each lane.
 */
static void route_lossless(struct cap_worker *worker, struct cap_worker_source *source, uint32_t from,
			   uint32_t to)
{
	while (from < to) {
		uint32_t free_blocks =
			worker->pool.n_free > CAP_POOL_RESERVE ? worker->pool.n_free - CAP_POOL_RESERVE : 0;
		uint32_t n = SKEP_MIN(free_blocks / (2 * worker->n_lanes), to - from);

		if (n == 0 &&
		    atomic_load_explicit(&worker->state, memory_order_relaxed) != CAP_WORKER_ABORT) {
			for (uint32_t i = 0; i < worker->n_lanes; i++)
				worker->lanes[i].now_ns = cap_mono_ns();
			if (!serve(worker))
				rest(worker);
			continue;
		}
		n = n ? n : to - from;
		route(worker, source, from, from + n);
		from += n;
	}
}

static void offer(struct cap_worker *worker, struct cap_worker_source *source, uint32_t from, uint32_t to)
{
	if (worker->lossless)
		route_lossless(worker, source, from, to);
	else
		route(worker, source, from, to);
}

/* Once: some job has reached a limit, so the control thread may have to stop. */
static void tell(struct cap_worker *worker)
{
	uint64_t one = 1;

	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		if (!atomic_load_explicit(&worker->lanes[i].job->done, memory_order_relaxed))
			continue;
		worker->told = true;
		if (worker->wake_fd > 0 && write(worker->wake_fd, &one, sizeof(one)) < 0)
			return; /* the counter is full: the control thread is awake */
	}
}

static bool receive(struct cap_worker *worker, struct cap_worker_source *source)
{
	int n;

	source->batch.n = 0;
	if (source->ended)
		return false;
	n = source->src->ops->receive(source->src, &source->batch);
	if (n > 0) {
		source->received += (uint32_t)n;
		return true;
	}
	if (n < 0) {
		source->ended = true;
		if (n != -ENODATA)
			worker->broken = n;
	}
	return false;
}

/*
 * Several sources in one lane: frames are taken in the order of their time stamps, as far as they have
 * arrived.
 */
static void merge(struct cap_worker *worker)
{
	for (;;) {
		struct cap_worker_source *first = NULL;
		uint64_t next_ns = UINT64_MAX;
		uint32_t to;

		for (uint32_t i = 0; i < worker->n_sources; i++) {
			struct cap_worker_source *s = &worker->sources[i];
			uint64_t ts_ns;

			if (s->at >= s->batch.n)
				continue;
			ts_ns = s->batch.frames[s->at].ts_ns;
			if (!first || ts_ns < first->batch.frames[first->at].ts_ns) {
				if (first)
					next_ns = first->batch.frames[first->at].ts_ns;
				first = s;
			} else {
				next_ns = SKEP_MIN(next_ns, ts_ns);
			}
		}
		if (!first)
			return;
		for (to = first->at + 1; to < first->batch.n && first->batch.frames[to].ts_ns <= next_ns;
		     to++)
			;
		offer(worker, first, first->at, to);
		first->at = to;
	}
}

static uint32_t receive_all(struct cap_worker *worker)
{
	uint32_t got = 0;

	for (uint32_t i = 0; i < worker->n_sources; i++) {
		struct cap_worker_source *source = &worker->sources[i];

		source->at = 0;
		if (!receive(worker, source))
			continue;
		got += source->batch.n;
		if (worker->n_sources == 1)
			offer(worker, source, 0, source->batch.n);
	}
	if (worker->n_sources > 1 && got)
		merge(worker);
	for (uint32_t i = 0; got && i < worker->n_sources; i++)
		if (worker->sources[i].batch.n)
			worker->sources[i].src->ops->release(worker->sources[i].src,
							     &worker->sources[i].batch);
	return got;
}

static void publish(struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		struct cap_account *a = &worker->lanes[i].account;

		a->seen = worker->lanes[i].received - a->pending;
		a->bytes_disk = worker->writers[i].bytes_disk;
		cap_account_publish(&worker->slots[i], a);
	}
}

bool cap_worker_turn(struct cap_worker *worker)
{
	uint64_t now_ns = cap_mono_ns();
	uint32_t got = 0;
	bool worked;

	for (uint32_t i = 0; i < worker->n_lanes; i++)
		worker->lanes[i].now_ns = now_ns;

	/* receive, route, recycle: the ring comes first, memory is there to wait in */
	for (uint32_t i = 0; i < RECEIVE_BURST; i++) {
		uint32_t n = receive_all(worker);

		got += n;
		if (n < CAP_BATCH)
			break;
	}
	worked = serve(worker); /* seal, pack, submit, reap */
	if (!worker->told)
		tell(worker);

	worker->rate_pkts += got;
	worker->turns++;
	return got || worked;
}

/* Packets per second, smoothed over some windows. */
static void measure_rate(struct cap_worker *worker, uint64_t now_ns)
{
	uint64_t elapsed = now_ns - worker->rate_since_ns, rate;

	if (elapsed < RATE_WINDOW_NS)
		return;
	rate = worker->rate_pkts * SKEP_NSEC_PER_SEC / elapsed;
	worker->rate_pps = rate > worker->rate_pps ? rate : (worker->rate_pps + rate) / 2;
	worker->rate_pkts = 0;
	worker->rate_since_ns = now_ns;
}

static void nap(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / SKEP_NSEC_PER_SEC),
			       .tv_nsec = (long)(ns % SKEP_NSEC_PER_SEC) };

	nanosleep(&ts, NULL);
}

/* Nothing to do: sleep for as long as the ring can surely take what comes. */
static void rest(struct cap_worker *worker)
{
	struct cap_source *src = worker->sources[0].src;
	uint64_t now_ns = cap_mono_ns(), ns = worker->sleep_max_ns;
	bool quiet;

	measure_rate(worker, now_ns);
	if (worker->spin)
		return;
	if (worker->sink.inflight) {
		cap_sink_wait(&worker->sink, SKEP_MIN(ns, 200000u));
		return;
	}
	for (uint32_t i = 0; i < worker->n_sources; i++)
		if (worker->sources[i].src->ring_slots && worker->rate_pps)
			ns = SKEP_MIN(ns, worker->sources[i].src->ring_slots * (SKEP_NSEC_PER_SEC / 4) /
						  worker->rate_pps);
	/* A link that has been silent for a while is waited for; packets wake the worker only then. */
	quiet = worker->rate_pkts == 0 && worker->rate_pps < 500;
	if (src->ops->wait && worker->n_sources == 1 && (quiet || !src->ring_slots)) {
		src->ops->wait(src, quiet ? CAP_FLUSH_NS / 4 : ns);
		return;
	}
	nap(ns);
}

static bool all_done(const struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_lanes; i++)
		if (!worker->writers[i].done)
			return false;
	return true;
}

static bool sources_ended(const struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_sources; i++)
		if (!worker->sources[i].ended)
			return false;
	return true;
}

/* The jobs are over: write what is in memory and end the files. */
static void finish(struct cap_worker *worker)
{
	bool cancelled = false;

	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		worker->lanes[i].now_ns = cap_mono_ns();
		cap_lane_age(&worker->lanes[i], true);
		cap_writer_end(&worker->writers[i]);
	}
	while (!all_done(worker)) {
		bool abort = atomic_load(&worker->state) == CAP_WORKER_ABORT, worked = false;

		for (uint32_t i = 0; i < worker->n_lanes; i++) {
			worker->lanes[i].now_ns = cap_mono_ns();
			if (!abort)
				worked |= cap_writer_step(&worker->writers[i]);
		}
		cap_sink_flush(&worker->sink);
		worked |= cap_sink_reap(&worker->sink) > 0;
		for (uint32_t i = 0; i < worker->n_lanes; i++)
			cap_writer_settle(&worker->writers[i]);
		publish(worker);
		if (abort && !cancelled) {
			cap_sink_cancel(&worker->sink);
			cancelled = true;
		}
		if (abort && worker->sink.inflight == 0) {
			for (uint32_t i = 0; i < worker->n_lanes; i++)
				cap_writer_abandon(&worker->writers[i],
						   cap_lane_drop_reason(&worker->lanes[i]));
		} else if (!worked) {
			if (worker->sink.inflight)
				cap_sink_wait(&worker->sink, CAP_END_NAP_NS);
			else
				nap(CAP_END_NAP_NS);
		}
	}
	publish(worker);
}

/* After the taps were stopped: what is left in the rings. */
static void drain(struct cap_worker *worker)
{
	uint32_t empty = 0;

	while (empty < DRAIN_EMPTY_TURNS && !sources_ended(worker)) {
		uint64_t before = worker->rate_pkts;
		bool worked = cap_worker_turn(worker);

		if (atomic_load(&worker->state) == CAP_WORKER_ABORT)
			return;
		empty = worker->rate_pkts == before && !worker->lossless ? empty + 1 : 0;
		if (!worked && worker->lossless)
			rest(worker);
	}
}

void cap_worker_run(struct cap_worker *worker)
{
	cap_sink_enable(&worker->sink);
	worker->rate_since_ns = cap_mono_ns();
	while (atomic_load_explicit(&worker->state, memory_order_relaxed) == CAP_WORKER_RUN) {
		if (!cap_worker_turn(worker)) {
			if (sources_ended(worker) && worker->n_sources)
				break;
			rest(worker);
		} else if ((worker->turns & 63) == 0) {
			measure_rate(worker, cap_mono_ns());
		}
	}
	if (!sources_ended(worker))
		drain(worker);
	finish(worker);
	cap_sink_fini(&worker->sink);
	atomic_store(&worker->state, CAP_WORKER_DONE);
	worker->told = false;
	tell(worker);
}

static void *worker_main(void *arg)
{
	struct cap_worker *worker = arg;

	pthread_setname_np(pthread_self(), worker->name);
	cap_worker_run(worker);
	return NULL;
}

int cap_worker_init(struct cap_worker *worker, struct skep_err *err)
{
	int r;

	r = cap_pool_init(&worker->pool, worker->pool_blocks, worker->numa_node, err);
	if (r < 0)
		return r;
	r = cap_sink_init(&worker->sink, &worker->pool, worker->io, err);
	if (r < 0)
		return r;
	worker->scratch = malloc(CAP_SNAPLEN_MAX);
	if (!worker->scratch)
		return skep_err_set(err, -ENOMEM, "no memory for a worker");
	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		worker->lanes[i].pool = &worker->pool;
		worker->lanes[i].scratch = worker->scratch;
		worker->lanes[i].patient = worker->lossless;
		worker->writers[i].lane = &worker->lanes[i];
		worker->writers[i].pool = &worker->pool;
		worker->writers[i].sink = &worker->sink;
		worker->writers[i].files = worker->lanes[i].files;
		r = cap_writer_init(&worker->writers[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cap_worker_start(struct cap_worker *worker, struct skep_err *err)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int r;

	for (uint32_t i = 0; worker->pack_threads && i < worker->n_lanes; i++) {
		r = cap_crew_start(&worker->writers[i].crew, worker->pack_threads, err);
		if (r < 0)
			return r;
	}
	pthread_attr_init(&attr);
	if (worker->cpu >= 0) {
		CPU_ZERO(&cpus);
		CPU_SET(worker->cpu, &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	r = pthread_create(&worker->thread, &attr, worker_main, worker);
	pthread_attr_destroy(&attr);
	if (r)
		return skep_err_set(err, -r, "cannot start a worker on CPU %d: %s", worker->cpu, strerror(r));
	worker->running = true;
	return 0;
}

void cap_worker_ask(struct cap_worker *worker, enum cap_worker_state state)
{
	uint32_t now = atomic_load(&worker->state);

	while (now < (uint32_t)state && !atomic_compare_exchange_weak(&worker->state, &now, (uint32_t)state))
		;
}

bool cap_worker_done(const struct cap_worker *worker)
{
	return atomic_load(&worker->state) == CAP_WORKER_DONE;
}

void cap_worker_join(struct cap_worker *worker)
{
	if (worker->running)
		pthread_join(worker->thread, NULL);
	worker->running = false;
}

void cap_worker_fini(struct cap_worker *worker)
{
	cap_worker_join(worker);
	for (uint32_t i = 0; i < worker->n_lanes; i++) {
		worker->writers[i].crew = cap_crew_stop(worker->writers[i].crew);
		cap_writer_fini(&worker->writers[i]);
	}
	cap_sink_fini(&worker->sink);
	cap_pool_fini(&worker->pool);
	free(worker->scratch);
	worker->scratch = NULL;
}
