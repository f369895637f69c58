/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine: one process, its links, one or more workers. It decides who works where, starts and stops in
 * the order that loses nothing (detach, drain, end, complete), and draws up the account.
 *
 * One file (-w FILE, -w -) means one worker with all sources, merged by time stamp; a directory means one
 * worker per queue.
 */
#include "capture/engine.h"

#include "capture/capwrite.h"
#include "capture/digest.h"
#include "capture/mono.h"
#include "common/clock.h"

#include <errno.h>
#include <numa.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>

#define TICK_MS 200
/* After the end of a capture a disk that takes nothing is waited for this long. */
#define STUCK_NS (3 * SKEP_NSEC_PER_SEC)

static uint64_t realtime_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
}

/* CPUs this process may use, those of the node first in line if there are any. */
static uint32_t usable_cpus(int node, uint16_t *ret, uint32_t max)
{
	struct bitmask *mask = NULL;
	cpu_set_t allowed;
	uint32_t n = 0;

	CPU_ZERO(&allowed);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
		return 0;
	if (node >= 0 && numa_available() >= 0) {
		mask = numa_allocate_cpumask();
		if (mask && numa_node_to_cpus(node, mask) < 0) {
			numa_free_cpumask(mask);
			mask = NULL;
		}
	}
	for (int pass = mask ? 0 : 1; pass < 2 && n == 0; pass++)
		for (int cpu = CPU_SETSIZE - 1; cpu >= 0 && n < max; cpu--)
			if (CPU_ISSET(cpu, &allowed) &&
			    (pass == 1 || numa_bitmask_isbitset(mask, (unsigned)cpu)))
				ret[n++] = (uint16_t)cpu;
	if (mask)
		numa_free_cpumask(mask);
	return n;
}

/* The highest CPUs first: CPU 0 has the most interrupts and housekeeping. */
static int choose_cpu(const struct cap_engine *engine, int node, uint32_t index)
{
	uint16_t cpus[CAP_MAX_QUEUES];
	uint32_t n;

	if (engine->cfg.n_cpus)
		return engine->cfg.cpus[index % engine->cfg.n_cpus];
	n = usable_cpus(node, cpus, CAP_MAX_QUEUES);
	return n ? cpus[index % n] : -1;
}

static uint64_t sleep_max_ns(const struct cap_tap *tap)
{
	uint64_t slots = tap->sources[0]->ring_slots;
	uint64_t pps = tap->zero_copy ? CAP_ZERO_COPY_MAX_PPS : CAP_COPY_MAX_PPS;

	if (!slots)
		return CAP_SLEEP_MAX_NS;
	return SKEP_MIN(slots * 3 / 4 * SKEP_NSEC_PER_SEC / pps, CAP_SLEEP_MAX_NS);
}

static int open_taps(struct cap_engine *engine, struct skep_err *err)
{
	for (uint32_t i = 0; i < engine->cfg.n_links; i++) {
		int r = cap_source_open(&engine->cfg.links[i], &engine->taps[i], err);

		if (r)
			return r;
		engine->n_taps++;
		if (!engine->output.pcapng && engine->taps[i]->linktype != engine->taps[0]->linktype) {
			skep_err_set(err, SKEP_E_UNSUPPORTED, "%s and %s have different link types, which one pcap file cannot hold",
				     engine->taps[0]->link, engine->taps[i]->link);
			skep_err_hint(err, "use --format pcapng, or one capture per link");
			return SKEP_E_UNSUPPORTED;
		}
	}
	return 0;
}

static int make_header(struct cap_engine *engine, struct skep_err *err)
{
	struct utsname uts;
	char os[200];
	size_t n;

	if (!engine->output.pcapng) {
		cap_capwrite_pcap_header(engine->header, engine->job.snaplen, engine->taps[0]->linktype);
		engine->header_bytes = CAP_CAPWRITE_PCAP_HEADER_BYTES;
		return 0;
	}
	uname(&uts);
	(void)snprintf(os, sizeof(os), "%.60s %.120s", uts.sysname, uts.release);
	n = cap_capwrite_shb(engine->header, sizeof(engine->header),
			     &(struct cap_capwrite_shb){ .os = os, .application = "skep-capture " SKEP_VERSION });
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_capwrite_idb idb = {
			.linktype = engine->taps[i]->linktype,
			.snaplen = engine->job.snaplen,
			.name = engine->taps[i]->link,
			.filter = engine->job.filter_text,
			.os = os,
			.hardware = engine->taps[i]->driver[0] ? engine->taps[i]->driver : NULL,
		};
		size_t m = cap_capwrite_idb(engine->header + n, sizeof(engine->header) - n, &idb);

		if (m == 0) { /* a filter of kilobytes: it is in the sidecar */
			idb.filter = NULL;
			m = cap_capwrite_idb(engine->header + n, sizeof(engine->header) - n, &idb);
		}
		if (m == 0)
			return skep_err_set(err, SKEP_E_USAGE, "too many links for one pcapng file");
		n += m;
	}
	engine->header_bytes = (uint32_t)n;
	return 0;
}

/* One source of a tap, to be served by a worker. */
static void add_source(struct cap_worker *worker, struct cap_tap *tap, uint32_t index, uint32_t interface_id)
{
	struct cap_worker_source *s = &worker->sources[worker->n_sources++];

	s->src = tap->sources[index];
	s->interface_id = interface_id;
	worker->lossless |= tap->lossless;
	worker->spin |= tap->cfg.busy_poll;
	worker->sleep_max_ns = SKEP_MIN(worker->sleep_max_ns, sleep_max_ns(tap));
}

static int make_worker(struct cap_engine *engine, struct cap_worker *worker, uint32_t index,
		       uint32_t max_sources, int node, struct skep_err *err)
{
	struct cap_keeper_lane *kl = &engine->keeper.lanes[index];

	(void)snprintf(worker->name, sizeof(worker->name), "worker-%u", index);
	worker->cpu = choose_cpu(engine, node, index);
	worker->numa_node = node;
	worker->pool_blocks =
		(uint32_t)SKEP_MAX(engine->cfg.pool_bytes / CAP_BLOCK_BYTES, 2 * CAP_POOL_RESERVE);
	worker->io = engine->cfg.io;
	worker->pack_threads = engine->output.compressed ? engine->cfg.pack_threads : 0;
	worker->wake_fd = engine->wake_fd;
	worker->sleep_max_ns = CAP_SLEEP_MAX_NS;
	worker->n_lanes = 1;
	worker->sources = calloc(max_sources, sizeof(*worker->sources));
	worker->lanes = calloc(1, sizeof(*worker->lanes));
	worker->writers = calloc(1, sizeof(*worker->writers));
	worker->slots = calloc(1, sizeof(*worker->slots));
	if (!worker->sources || !worker->lanes || !worker->writers || !worker->slots)
		return skep_err_set(err, -ENOMEM, "no memory for a worker");
	worker->lanes[0].job = &engine->job;
	worker->lanes[0].files = &kl->files;
	worker->lanes[0].compressed = engine->output.compressed;
	worker->lanes[0].header_raw_bytes = engine->header_bytes;
	worker->lanes[0].segment_raw_bytes = engine->header_bytes;
	cap_level_init(&worker->lanes[0].level, engine->cfg.level_auto && engine->output.compressed,
		       engine->cfg.level);
	return 0;
}

static int make_workers(struct cap_engine *engine, struct skep_err *err)
{
	bool one = engine->output.kind != CAP_OUTPUT_DIR;
	uint32_t n_sources = 0, w = 0;
	int r;

	for (uint32_t i = 0; i < engine->n_taps; i++)
		n_sources += engine->taps[i]->n_sources;
	engine->n_workers = one ? 1 : n_sources;
	engine->workers = calloc(engine->n_workers, sizeof(*engine->workers));
	engine->keeper.lanes = calloc(engine->n_workers, sizeof(*engine->keeper.lanes));
	engine->keeper.n_lanes = engine->n_workers;
	if (!engine->workers || !engine->keeper.lanes)
		return skep_err_set(err, -ENOMEM, "no memory for the workers");
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_tap *tap = engine->taps[i];

		for (uint32_t k = 0; k < tap->n_sources; k++) {
			if (!one || (i == 0 && k == 0)) {
				r = make_worker(engine, &engine->workers[w], w, one ? n_sources : 1,
						tap->numa_node, err);
				if (r < 0)
					return r;
				(void)snprintf(engine->keeper.lanes[w].link, sizeof(engine->keeper.lanes[w].link), "%.63s",
					       tap->link);
				engine->keeper.lanes[w].queue = tap->sources[k]->queue;
				engine->keeper.lanes[w].template = (struct cap_sidecar)CAP_SIDECAR_NULL;
				engine->keeper.lanes[w].tap = tap;
				w++;
			}
			add_source(&engine->workers[one ? 0 : w - 1], tap, k, i);
		}
	}
	for (uint32_t i = 0; i < engine->n_workers; i++) {
		r = cap_worker_init(&engine->workers[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

int cap_engine_open(struct cap_engine *engine, struct skep_err *err)
{
	sigset_t set;
	int r;

	if (!engine->cfg.io)
		engine->cfg.io = &cap_io_kernel;
	engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	engine->signal_fd = -1;
	engine->keeper.wake_fd = -1;
	if (engine->wake_fd < 0)
		return skep_err_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));
	r = open_taps(engine, err);
	if (r == 0)
		r = make_header(engine, err);
	if (r == 0)
		r = make_workers(engine, err);
	if (r)
		return r;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/*
	 * A shell starts background jobs with SIGINT ignored, and what is ignored never reaches a signalfd.
	 * SIGHUP is left to nohup.
	 */
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	engine->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (engine->signal_fd < 0)
		return skep_err_set(err, -errno, "cannot make a signalfd: %s", strerror(errno));
	return 0;
}

int cap_engine_attach(struct cap_engine *engine, struct skep_err *err)
{
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		int r = engine->taps[i]->ops->start(engine->taps[i], err);

		if (r)
			return r;
	}
	return 0;
}

/* The facts about a lane that every sidecar of it repeats. */
static void fill_template(struct cap_engine *engine, struct cap_keeper_lane *lane)
{
	static struct utsname uts;
	struct cap_sidecar *t = &lane->template;
	struct skep_clock_state clock;

	uname(&uts);
	t->job = engine->job.name[0] ? engine->job.name : NULL;
	t->link = lane->tap->link;
	t->queue = lane->queue;
	t->format = engine->output.pcapng ? "pcapng" : "pcap";
	t->compression = engine->output.compressed ? "zstd" : "none";
	t->linktype = lane->tap->linktype;
	t->snaplen = engine->job.snaplen;
	t->filter = engine->job.filter_text;
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

static int start_keeper(struct cap_engine *engine, struct skep_err *err)
{
	struct cap_keeper *keeper = &engine->keeper;
	int r;

	keeper->io = engine->cfg.io;
	keeper->stop_when_full = engine->cfg.stop_when_full;
	keeper->say = engine->cfg.say;
	keeper->say_arg = engine->cfg.say_arg;
	for (uint32_t i = 0; i < keeper->n_lanes; i++) {
		struct cap_keeper_lane *lane = &keeper->lanes[i];

		lane->output = &engine->output;
		lane->job = &engine->job;
		lane->header_bytes = engine->header_bytes;
		memcpy(lane->header, engine->header, engine->header_bytes);
		fill_template(engine, lane);
	}
	if (engine->cfg.digest && engine->output.kind != CAP_OUTPUT_STREAM) {
		r = cap_digest_start(&engine->digest, err);
		if (r < 0)
			return r;
		keeper->digest = engine->digest;
	}
	r = cap_keeper_init(keeper, err);
	return r ? r : cap_keeper_start(keeper, err);
}

int cap_engine_start(struct cap_engine *engine, struct skep_err *err)
{
	uint64_t headers = (uint64_t)engine->header_bytes * engine->n_workers;
	int r;

	if (engine->job.limits_bytes)
		atomic_fetch_sub(&engine->job.bytes_left, (int64_t)headers);
	engine->started_ns = cap_mono_ns();
	engine->started_utc_ns = realtime_ns();
	if (engine->job.duration_ns && !engine->job.clock_from_packets)
		atomic_store(&engine->job.end_ns, engine->started_utc_ns + engine->job.duration_ns);
	r = start_keeper(engine, err);
	for (uint32_t i = 0; r == 0 && i < engine->n_workers; i++)
		r = cap_worker_start(&engine->workers[i], err);
	return r;
}

static bool workers_done(const struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_workers; i++)
		if (!cap_worker_done(&engine->workers[i]))
			return false;
	return true;
}

/* The taps that are lost for good; the job goes on with the others. */
static void check_taps(struct cap_engine *engine)
{
	uint32_t alive = 0;

	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_tap *tap = engine->taps[i];
		struct skep_err err = SKEP_ERR_NULL;

		if (engine->gone[i])
			continue;
		if (tap->ops->check && tap->ops->check(tap, &err)) {
			engine->gone[i] = true;
			engine->tap_lost = true;
			engine->lost = err;
			if (engine->cfg.say)
				engine->cfg.say(engine->cfg.say_arg, err.text);
			continue;
		}
		alive++;
	}
	if (alive == 0)
		cap_job_end(&engine->job, CAP_JOB_END_LOST);
}

static bool signalled(struct cap_engine *engine)
{
	struct signalfd_siginfo info;

	return read(engine->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

static void wait_event(struct cap_engine *engine)
{
	struct pollfd pfd[2] = {
		{ .fd = engine->signal_fd, .events = POLLIN },
		{ .fd = engine->wake_fd, .events = POLLIN },
	};
	uint64_t end_ns = atomic_load(&engine->job.end_ns), now_ns = realtime_ns();
	int timeout = TICK_MS;
	uint64_t n;

	if (end_ns != CAP_NO_LIMIT && !engine->job.clock_from_packets)
		timeout = end_ns <= now_ns ? 0
					   : (int)SKEP_MIN((uint64_t)TICK_MS,
							   (end_ns - now_ns) / SKEP_NSEC_PER_MSEC + 1);
	(void)poll(pfd, 2, timeout);
	if (pfd[1].revents && read(engine->wake_fd, &n, sizeof(n)) < 0)
		return;
}

void cap_engine_run(struct cap_engine *engine, void (*tick)(void *arg, struct cap_engine *engine), void *arg)
{
	struct cap_job *job = &engine->job;
	uint64_t checked_ns = 0;

	while (!atomic_load(&job->done) && !workers_done(engine)) {
		uint64_t now_ns;

		wait_event(engine);
		/* Not cap_job_end(): what has arrived until now is in the rings, and is part of the job. */
		if (signalled(engine) ||
		    (!job->clock_from_packets && realtime_ns() >= atomic_load(&job->end_ns)))
			job->stop_asked = true;
		now_ns = cap_mono_ns();
		if (now_ns - checked_ns >= TICK_MS * SKEP_NSEC_PER_MSEC) {
			checked_ns = now_ns;
			check_taps(engine);
			if (tick)
				tick(arg, engine);
		}
		if (job->stop_asked)
			break;
	}
	if (workers_done(engine))
		cap_job_end(job, CAP_JOB_END_INPUT);
	engine->ended_ns = cap_mono_ns();
}

/* Waits for the workers; a second signal or a disk that takes nothing for STUCK_NS ends the waiting. */
static void await_workers(struct cap_engine *engine)
{
	uint64_t moved_ns = cap_mono_ns(), last = 0;

	while (!workers_done(engine)) {
		struct cap_engine_totals totals;
		uint64_t now_ns;

		wait_event(engine);
		cap_engine_totals(engine, &totals);
		now_ns = cap_mono_ns();
		if (totals.account.stored + totals.account.bytes_disk != last)
			moved_ns = now_ns;
		last = totals.account.stored + totals.account.bytes_disk;
		if (signalled(engine) || now_ns - moved_ns > STUCK_NS) {
			engine->forced = true;
			for (uint32_t i = 0; i < engine->n_workers; i++)
				cap_worker_ask(&engine->workers[i], CAP_WORKER_ABORT);
		}
	}
}

void cap_engine_stop(struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_taps; i++)
		engine->taps[i]->ops->stop(engine->taps[i]);
	for (uint32_t i = 0; i < engine->n_workers; i++)
		cap_worker_ask(&engine->workers[i], CAP_WORKER_DRAIN);
	await_workers(engine);
	for (uint32_t i = 0; i < engine->n_workers; i++)
		cap_worker_join(&engine->workers[i]);
	check_taps(engine); /* a file or a command says only at its end that it was cut short */
	cap_keeper_stop(&engine->keeper);
	engine->digest = cap_digest_stop(engine->digest, engine->forced);
	engine->keeper.digest = NULL;
	engine->stopped = true;
}

/* What the kernel says of a tap, as drops of the job; `received` is what our workers got from it. */
static void add_kernel_drops(struct cap_engine *engine, struct cap_tap *tap, uint64_t received,
			     struct cap_account *a)
{
	struct cap_kernel_account k = { 0 };
	uint64_t drops, known;

	tap->ops->account(tap, &k);
	a->dropped[CAP_DROP_RX_RING_FULL] += k.rx_ring_full;
	a->dropped[CAP_DROP_FILL_RING_EMPTY] += k.fill_ring_empty;
	a->dropped[CAP_DROP_RX_OVERSIZE] += k.rx_oversize;
	a->dropped[CAP_DROP_MIRROR_RING_FULL] += k.mirror_ring_full;
	a->dropped[CAP_DROP_MIRROR_TOO_LONG] += k.mirror_too_long;
	a->dropped[CAP_DROP_AFPACKET_RING_FULL] += k.afpacket_ring_full;
	a->dropped[CAP_DROP_NIC_MISSED] += k.nic_missed;
	drops = k.rx_ring_full + k.fill_ring_empty + k.rx_oversize + k.mirror_ring_full + k.mirror_too_long +
		k.afpacket_ring_full;
	known = received + drops;
	if (engine->stopped && k.offered > known) {
		a->dropped[CAP_DROP_UNACCOUNTED] += k.offered - known;
		drops += k.offered - known;
	}
	a->seen += drops + k.nic_missed;
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

static void judge(const struct cap_engine *engine, struct cap_engine_totals *t)
{
	t->complete = true;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (t->account.dropped[i])
			add_reason(t, "%llu packets dropped: %s", (unsigned long long)t->account.dropped[i],
				   cap_drop_name((enum cap_drop)i));
	if (engine->tap_lost)
		add_reason(t, "%s", engine->lost.text);
	if (atomic_load(&engine->job.done_why) == CAP_JOB_END_DISK_FULL)
		add_reason(t, "stopped because the disk is full");
	if (atomic_load(&engine->job.done_why) == CAP_JOB_END_WRITE)
		add_reason(t, "the reader of the output went away");
	if (engine->forced)
		add_reason(t, "ended before everything was written");
	for (uint32_t i = 0; i < engine->n_workers; i++)
		if (engine->workers[i].broken && !engine->tap_lost) /* which says it better */
			add_reason(t, "a source broke: %s", strerror(-engine->workers[i].broken));
}

void cap_engine_totals(struct cap_engine *engine, struct cap_engine_totals *ret)
{
	struct cap_engine_totals t = { 0 };
	uint64_t received[CAP_MAX_LINKS] = { 0 };

	for (uint32_t i = 0; i < engine->n_workers; i++) {
		struct cap_worker *w = &engine->workers[i];
		struct cap_files *files = &engine->keeper.lanes[i].files;
		struct cap_account a;
		uint64_t lost = atomic_load(&files->lost_pkts);

		cap_account_read(&w->slots[0], &a);
		cap_account_add(&t.account, &a);
		t.account.stored -= lost;
		t.account.dropped[CAP_DROP_WRITE_ERROR] += lost;
		t.account.bytes_wire -= atomic_load(&files->lost_bytes_wire);
		t.account.bytes_raw -= atomic_load(&files->lost_bytes_raw);
		t.level_now = cap_level_now(&w->lanes[0].level);
		for (uint32_t k = 0; k < w->n_sources; k++) {
			received[w->sources[k].interface_id] += w->sources[k].received;
			t.after_end += w->sources[k].after_end;
		}
	}
	for (uint32_t i = 0; i < engine->n_taps; i++)
		add_kernel_drops(engine, engine->taps[i], received[i], &t.account);
	if (engine->stopped)
		t.account.bytes_disk = engine->keeper.bytes_kept;
	t.duration_ns = (engine->ended_ns ? engine->ended_ns : cap_mono_ns()) - engine->started_ns;
	judge(engine, &t);
	*ret = t;
}

void cap_engine_close(struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_workers && engine->workers; i++) {
		struct cap_worker *w = &engine->workers[i];

		cap_worker_fini(w);
		free(w->sources);
		free(w->lanes);
		free(w->writers);
		free(w->slots);
	}
	free(engine->workers);
	engine->workers = NULL;
	engine->n_workers = 0;
	if (engine->keeper.lanes && engine->keeper.wake_fd >= 0)
		cap_keeper_fini(&engine->keeper);
	free(engine->keeper.lanes);
	engine->keeper.lanes = NULL;
	for (uint32_t i = 0; i < engine->n_taps; i++)
		engine->taps[i] = engine->taps[i]->ops->close(engine->taps[i]);
	engine->n_taps = 0;
	skep_closep(&engine->wake_fd);
	skep_closep(&engine->signal_fd);
}
