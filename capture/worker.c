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
#include <sys/eventfd.h>

/* Batches per turn while the ring is behind: 2,048 frames, about half a millisecond of copying. */
#define RECEIVE_BURST 32u
#define RATE_WINDOW_NS (100 * SKEP_NSEC_PER_MSEC)
#define DRAIN_EMPTY_TURNS 3u

static void publish(struct cap_worker *worker);
static void rest(struct cap_worker *worker);

/* Seal, pack, submit, reap; true if anything was done. */
static bool serve(struct cap_worker *worker)
{
	uint32_t reaped;
	bool worked = false;

	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];

		cap_lane_age(&c->lane, c->ended);            /* seal */
		worked |= cap_writer_step(&c->writer);       /* pack, submit */
	}
	cap_sink_flush(&worker->sink);
	reaped = cap_sink_reap(&worker->sink);               /* reap */
	worked |= reaped > 0;
	for (uint32_t i = 0; worked && i < worker->n_channels; i++)
		cap_writer_settle(&worker->channels[i]->writer);
	publish(worker);
	return worked;
}

static void route(struct cap_worker *worker, struct cap_worker_source *source, uint32_t from, uint32_t to)
{
	const struct cap_batch *batch = &source->batch;
	uint64_t wanted = batch->filtered ? 0 : ~0ull;

	for (uint32_t i = from; i < to && batch->filtered; i++)
		wanted |= batch->frames[i].jobs;
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];

		if (!(wanted >> c->lane.job->slot & 1) || c->ended)
			continue;
		/* What the filters chose before the pause still counts. */
		if (batch->filtered || !atomic_load_explicit(&c->lane.job->paused, memory_order_relaxed))
			cap_lane_take(&c->lane, batch, from, to, source->interface_id);
	}
}

/*
 * A source that can wait is never robbed: frames are taken only while there are blocks for them. In the worst
 * case every frame begins a new block behind a rotation marker, in each lane.
 */
static void route_lossless(struct cap_worker *worker, struct cap_worker_source *source, uint32_t from,
			   uint32_t to)
{
	while (from < to) {
		uint32_t spare = cap_pool_spare(&worker->pool);
		uint32_t n = SKEP_MIN(spare / (2 * SKEP_MAX(worker->n_channels, 1u)), to - from);

		if (n == 0 &&
		    atomic_load_explicit(&worker->state, memory_order_relaxed) != CAP_WORKER_ABORT) {
			for (uint32_t i = 0; i < worker->n_channels; i++)
				worker->channels[i]->lane.now_ns = cap_mono_ns();
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

/* Once per job: it has reached a limit, so the control thread has to do something. */
static void tell(struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];

		if (c->told || !atomic_load_explicit(&c->lane.job->done, memory_order_relaxed))
			continue;
		c->told = true;
		skep_ring_bell(worker->wake_fd);
	}
}

/* Channels that the control thread has made meanwhile. */
static void take_incoming(struct cap_worker *worker)
{
	struct cap_channel *c;

	if (SKEP_LIKELY(!atomic_load_explicit(&worker->incoming, memory_order_relaxed)))
		return;
	c = atomic_exchange_explicit(&worker->incoming, NULL, memory_order_acquire);
	while (c) {
		struct cap_channel *next = TAKE_PTR(c->next);

		c->lane.now_ns = cap_mono_ns();
		cap_pool_join(&worker->pool, &c->lane.share);
		worker->channels[worker->n_channels++] = c;
		c = next;
	}
}

/* Files that are to be ended now. */
static void rotate_channels(struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];
		uint32_t asked = atomic_load_explicit(&c->rotate_asked, memory_order_relaxed);

		if (SKEP_LIKELY(asked == atomic_load_explicit(&c->rotate_done, memory_order_relaxed)) ||
		    c->ended || !cap_lane_rotate(&c->lane))
			continue;
		atomic_store_explicit(&c->rotate_files, c->lane.n_ends, memory_order_relaxed);
		atomic_store_explicit(&c->rotate_done, asked, memory_order_release);
		skep_ring_bell(worker->wake_fd);
	}
}

/* Have all frames been received that were in the rings when the channel began to close? */
static bool drained(struct cap_worker *worker, struct cap_channel *c)
{
	for (uint32_t i = 0; i < worker->n_sources; i++) {
		struct cap_worker_source *s = &worker->sources[i];

		if (!c->draining) /* without a number, a whole ring; an empty one is seen below */
			c->drain_to[i] = s->received + (s->src->backlog ? s->src->backlog(s->src)
									: s->src->ring_slots);
		else if (!s->ended && s->empty)
			c->drain_to[i] = s->received;
	}
	c->draining = true;
	for (uint32_t i = 0; i < worker->n_sources; i++)
		if (!worker->sources[i].ended && worker->sources[i].received < c->drain_to[i])
			return false;
	return true;
}

static void forget(struct cap_worker *worker, uint32_t i)
{
	struct cap_channel *c = worker->channels[i];

	worker->channels[i] = worker->channels[--worker->n_channels];
	cap_pool_leave(&worker->pool, &c->lane.share);
	atomic_store_explicit(&c->gone, true, memory_order_release);
	skep_ring_bell(worker->wake_fd);
}

/* Channels whose job is over: take what is meant for it, end the files, go. */
static void close_channels(struct cap_worker *worker)
{
	for (uint32_t i = worker->n_channels; i-- > 0;) {
		struct cap_channel *c = worker->channels[i];

		if (SKEP_LIKELY(!atomic_load_explicit(&c->closing, memory_order_acquire)))
			continue;
		if (!c->ended && drained(worker, c)) {
			c->ended = true;
			cap_lane_age(&c->lane, true);
			cap_writer_end(&c->writer);
		}
		if (c->ended && !c->writer.done && atomic_load_explicit(&c->abandon, memory_order_relaxed) &&
		    cap_writer_inflight(&c->writer) == 0) {
			cap_writer_abandon(&c->writer, cap_lane_drop_reason(&c->lane));
			publish(worker);
		}
		if (c->writer.done)
			forget(worker, i);
	}
}

static bool receive(struct cap_worker *worker, struct cap_worker_source *source)
{
	int n;

	source->batch.n = 0;
	if (source->ended)
		return false;
	n = source->src->ops->receive(source->src, &source->batch);
	source->empty = n <= 0;
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
		/* After the frames: none of them can be meant for a job that is not here yet. */
		take_incoming(worker);
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
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];
		struct cap_account *a = &c->lane.account;

		a->seen = c->lane.received - a->pending;
		a->bytes_disk = c->writer.bytes_disk;
		cap_account_publish(&c->slot, a);
	}
}

bool cap_worker_turn(struct cap_worker *worker)
{
	uint64_t now_ns = cap_mono_ns();
	uint32_t got = 0;
	bool worked;

	take_incoming(worker);
	for (uint32_t i = 0; i < worker->n_channels; i++)
		worker->channels[i]->lane.now_ns = now_ns;

	/* receive, route, recycle: the ring comes first, memory is there to wait in */
	for (uint32_t i = 0; i < RECEIVE_BURST; i++) {
		uint32_t n = receive_all(worker);

		got += n;
		if (n < CAP_BATCH)
			break;
	}
	worked = serve(worker); /* seal, pack, submit, reap */
	tell(worker);
	rotate_channels(worker);
	close_channels(worker);

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

/* Something that will go on without a new frame: when the keeper or the disk is ready. */
static bool has_work(const struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		const struct cap_channel *c = worker->channels[i];

		if (c->lane.sealed.n || c->writer.current || c->writer.ending || c->writer.want_flush ||
		    c->writer.closing || atomic_load_explicit(&c->closing, memory_order_relaxed))
			return true;
	}
	return false;
}

/*
 * How long it may sleep: until the oldest frame in memory has to be on its way, or for as long as frames may
 * wait.
 */
static uint64_t long_nap_ns(const struct cap_worker *worker, uint64_t now_ns, bool quiet)
{
	uint64_t ns = quiet ? CAP_FLUSH_NS : CAP_LONG_NAP_NS;

	for (uint32_t i = 0; i < worker->n_channels; i++) {
		const struct cap_channel *c = worker->channels[i];
		uint64_t oldest_ns = c->lane.block ? c->lane.block->opened_ns : UINT64_MAX, age;

		if (c->writer.out)
			oldest_ns = SKEP_MIN(oldest_ns, c->writer.out_since_ns);
		if (oldest_ns == UINT64_MAX)
			continue;
		age = now_ns - SKEP_MIN(now_ns, oldest_ns);
		ns = SKEP_MIN(ns, age < CAP_FLUSH_NS ? CAP_FLUSH_NS - age : SKEP_NSEC_PER_MSEC);
	}
	return SKEP_MAX(ns, SKEP_NSEC_PER_MSEC);
}

static void clear_bell(struct cap_worker *worker)
{
	uint64_t n;

	if (read(worker->bell_fd, &n, sizeof(n)) < 0)
		return; /* nobody rang */
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
	if (src->bursts_wake && worker->n_sources == 1 && !has_work(worker)) {
		src->ops->wait(src, long_nap_ns(worker, now_ns, quiet));
		clear_bell(worker);
		return;
	}
	if (src->ops->wait && worker->n_sources == 1 && (quiet || !src->ring_slots)) {
		src->ops->wait(src, quiet ? CAP_FLUSH_NS / 4 : ns);
		clear_bell(worker);
		return;
	}
	nap(ns);
}

static bool all_done(const struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_channels; i++)
		if (!worker->channels[i]->writer.done)
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

static void abandon_all(struct cap_worker *worker)
{
	for (uint32_t i = 0; i < worker->n_channels; i++)
		cap_writer_abandon(&worker->channels[i]->writer,
				   cap_lane_drop_reason(&worker->channels[i]->lane));
}

/* The jobs are over: write what is in memory and end the files. */
static void finish(struct cap_worker *worker)
{
	bool cancelled = false;

	take_incoming(worker);
	for (uint32_t i = 0; i < worker->n_channels; i++) {
		struct cap_channel *c = worker->channels[i];

		c->lane.now_ns = cap_mono_ns();
		cap_lane_age(&c->lane, true);
		cap_writer_end(&c->writer);
		c->ended = true;
	}
	while (!all_done(worker)) {
		bool abort = atomic_load(&worker->state) == CAP_WORKER_ABORT, worked = false;

		for (uint32_t i = 0; i < worker->n_channels; i++) {
			worker->channels[i]->lane.now_ns = cap_mono_ns();
			if (!abort)
				worked |= cap_writer_step(&worker->channels[i]->writer);
		}
		cap_sink_flush(&worker->sink);
		worked |= cap_sink_reap(&worker->sink) > 0;
		for (uint32_t i = 0; i < worker->n_channels; i++)
			cap_writer_settle(&worker->channels[i]->writer);
		publish(worker);
		if (abort && !cancelled) {
			cap_sink_cancel(&worker->sink);
			cancelled = true;
		}
		if (abort && worker->sink.inflight == 0) {
			abandon_all(worker);
		} else if (!worked) {
			if (worker->sink.inflight)
				cap_sink_wait(&worker->sink, CAP_END_NAP_NS);
			else
				nap(CAP_END_NAP_NS);
		}
	}
	publish(worker);
	while (worker->n_channels)
		forget(worker, 0);
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
	skep_ring_bell(worker->wake_fd);
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
	worker->bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (worker->bell_fd < 0)
		return skep_err_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));
	for (uint32_t i = 0; i < worker->n_sources; i++) {
		worker->sources[i].batch.filtered = worker->sources[i].src->tap->filters_jobs;
		worker->sources[i].src->wake_fd = worker->bell_fd;
	}
	return 0;
}

int cap_worker_start(struct cap_worker *worker, struct skep_err *err)
{
	pthread_attr_t attr;
	cpu_set_t cpus;
	int r;

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

void cap_worker_wake(struct cap_worker *worker)
{
	skep_ring_bell(worker->bell_fd);
}

void cap_worker_ask(struct cap_worker *worker, enum cap_worker_state state)
{
	uint32_t now = atomic_load(&worker->state);

	while (now < (uint32_t)state && !atomic_compare_exchange_weak(&worker->state, &now, (uint32_t)state))
		;
	cap_worker_wake(worker);
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

int cap_channel_init(struct cap_channel *channel, struct cap_worker *worker, struct skep_err *err)
{
	channel->drain_to = calloc(worker->n_sources, sizeof(*channel->drain_to));
	if (!channel->drain_to)
		return skep_err_set(err, -ENOMEM, "no memory for a job");
	channel->lane.pool = &worker->pool;
	channel->lane.scratch = worker->scratch;
	channel->lane.patient = worker->lossless;
	channel->writer.lane = &channel->lane;
	channel->writer.pool = &worker->pool;
	channel->writer.sink = &worker->sink;
	channel->writer.files = channel->lane.files;
	return cap_writer_init(&channel->writer, err);
}

void cap_channel_fini(struct cap_channel *channel)
{
	channel->writer.crew = cap_crew_stop(channel->writer.crew);
	cap_writer_fini(&channel->writer);
	free(channel->drain_to);
	channel->drain_to = NULL;
}

int cap_worker_add(struct cap_worker *worker, struct cap_channel *channel, struct skep_err *err)
{
	if (worker->pack_threads && channel->lane.compressed) {
		int r = cap_crew_start(&channel->writer.crew, worker->pack_threads, err);

		if (r < 0)
			return r;
	}
	channel->next = atomic_load_explicit(&worker->incoming, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&worker->incoming, &channel->next, channel,
						      memory_order_release, memory_order_relaxed))
		;
	cap_worker_wake(worker);
	return 0;
}

void cap_worker_fini(struct cap_worker *worker)
{
	cap_worker_join(worker);
	cap_sink_fini(&worker->sink);
	cap_pool_fini(&worker->pool);
	if (worker->bell_fd > 0)
		skep_closep(&worker->bell_fd);
	free(worker->scratch);
	worker->scratch = NULL;
}
