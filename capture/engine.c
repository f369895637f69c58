/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine: one process, its links, one or more workers. It decides who works where, starts and stops in
 * the order that loses nothing (detach, drain, end, complete). What concerns one job is in engine_job.c.
 */
#include "capture/engine.h"

#include "capture/classify.h"
#include "capture/digest.h"
#include "capture/engine_job.h"
#include "capture/grace.h"
#include "capture/loader.h"
#include "capture/mono.h"
#include "common/clock.h"

#include <errno.h>
#include <numa.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#define TICK_MS 200
/* Nobody looks on. */
#define QUIET_TICK_MS 1000
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
	}
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

static void set_worker(struct cap_engine *engine, struct cap_worker *worker, uint32_t index, int node)
{
	(void)snprintf(worker->name, sizeof(worker->name), "worker-%u", index);
	worker->cpu = choose_cpu(engine, node, index);
	worker->numa_node = node;
	worker->pool_blocks =
		(uint32_t)SKEP_MAX(engine->cfg.pool_bytes / CAP_BLOCK_BYTES, 2 * CAP_POOL_RESERVE);
	worker->io = engine->cfg.io;
	worker->pack_threads = engine->cfg.pack_threads;
	worker->wake_fd = engine->wake_fd;
	worker->sleep_max_ns = CAP_SLEEP_MAX_NS;
}

static int make_workers(struct cap_engine *engine, struct skep_err *err)
{
	bool one = engine->cfg.one_worker;
	uint32_t n_sources = 0, w = 0;
	int r = 0;

	for (uint32_t i = 0; i < engine->n_taps; i++)
		n_sources += engine->taps[i]->n_sources;
	engine->n_workers = one ? 1 : n_sources;
	engine->workers = calloc(engine->n_workers, sizeof(*engine->workers));
	if (!engine->workers)
		return skep_err_set(err, -ENOMEM, "no memory for the workers");
	for (uint32_t i = 0; i < engine->n_taps; i++) {
		struct cap_tap *tap = engine->taps[i];

		for (uint32_t k = 0; k < tap->n_sources; k++) {
			if (!one || (i == 0 && k == 0)) {
				struct cap_worker *worker = &engine->workers[w];

				set_worker(engine, worker, w, tap->numa_node);
				worker->sources = calloc(one ? n_sources : 1, sizeof(*worker->sources));
				if (!worker->sources)
					return skep_err_set(err, -ENOMEM, "no memory for a worker");
				w++;
			}
			add_source(&engine->workers[one ? 0 : w - 1], tap, k, i);
		}
	}
	for (uint32_t i = 0; r >= 0 && i < engine->n_workers; i++)
		r = cap_worker_init(&engine->workers[i], err);
	return r;
}

static int init_keeper(struct cap_engine *engine, struct skep_err *err)
{
	struct cap_keeper *keeper = &engine->keeper;

	keeper->io = engine->cfg.io;
	keeper->stop_when_full = engine->cfg.stop_when_full;
	keeper->say = engine->cfg.say;
	keeper->say_arg = engine->cfg.say_arg;
	keeper->done_fd = engine->wake_fd;
	return cap_keeper_init(keeper, err);
}

int cap_engine_open(struct cap_engine *engine, struct skep_err *err)
{
	sigset_t set;
	int r;

	if (!engine->cfg.io)
		engine->cfg.io = &cap_io_kernel;
	if (getrandom(&engine->flow_seed, sizeof(engine->flow_seed), 0) < 0)
		engine->flow_seed = cap_mono_ns();
	engine->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	engine->signal_fd = -1;
	engine->keeper.wake_fd = -1;
	if (engine->wake_fd < 0)
		return skep_err_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));
	r = open_taps(engine, err);
	if (r == 0)
		r = make_workers(engine, err);
	if (r == 0)
		r = init_keeper(engine, err);
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

int cap_engine_add(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err)
{
	uint32_t slot = 0;
	int r;

	while (slot < CAP_MAX_JOBS && engine->jobs[slot])
		slot++;
	if (slot == CAP_MAX_JOBS) {
		skep_err_set(err, SKEP_E_BUSY, "%u jobs run on this link, which is the most there can be",
			     CAP_MAX_JOBS);
		skep_err_hint(err, "end one of them first");
		return SKEP_E_BUSY;
	}
	ej->job.slot = slot;
	r = cap_engine_job_make(engine, ej, err);
	if (r)
		return r;
	engine->jobs[slot] = ej;
	if (!engine->running)
		return 0;
	r = cap_engine_job_start(engine, ej, err);
	if (r == 0)
		r = cap_engine_job_join(engine, ej, false, err);
	if (r) { /* its channels are on their way: they must come back before the job can be freed */
		ej->failed = true;
		cap_engine_leave(engine, ej, CAP_JOB_END_STOPPED);
	}
	return r;
}

static int start_loader(struct cap_engine *engine, struct skep_err *err)
{
	struct flt_jobset *sets[CAP_MAX_LINKS];
	struct cap_loader_cfg cfg = {
		.sets = sets,
		.change_user = engine->cfg.change_user,
		.uid = engine->cfg.uid,
		.gid = engine->cfg.gid,
	};
	uint32_t n = 0;
	int r;

	for (uint32_t i = 0; i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs)
			sets[n++] = cap_classify_set(engine->taps[i]->classify);
	if (!engine->cfg.loader || n == 0)
		return 0;
	cfg.n = n;
	r = cap_loader_start(&cfg, &engine->loader, err);
	for (uint32_t i = engine->n_taps; r == 0 && i-- > 0;)
		if (engine->taps[i]->filters_jobs)
			cap_classify_use_loader(engine->taps[i]->classify, engine->loader, --n);
	return r;
}

int cap_engine_attach(struct cap_engine *engine, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < CAP_MAX_JOBS; i++)
		if (engine->jobs[i])
			r = cap_engine_job_join(engine, engine->jobs[i], false, err);
	if (r == 0)
		r = start_loader(engine, err);
	for (uint32_t i = 0; r == 0 && i < engine->n_taps; i++)
		r = engine->taps[i]->ops->start(engine->taps[i], err);
	return r;
}

int cap_engine_start(struct cap_engine *engine, struct skep_err *err)
{
	int r = 0;

	if (engine->cfg.digest) {
		r = cap_digest_start(&engine->digest, err);
		engine->keeper.digest = engine->digest;
	}
	for (uint32_t i = 0; r == 0 && i < CAP_MAX_JOBS; i++) {
		if (!engine->jobs[i])
			continue;
		r = cap_engine_job_open_files(engine, engine->jobs[i], err);
		if (r == 0)
			r = cap_engine_job_start(engine, engine->jobs[i], err);
	}
	if (r == 0)
		r = cap_keeper_start(&engine->keeper, err);
	if (r == 0 && engine->cfg.loader)
		r = cap_grace_start(engine->wake_fd, &engine->grace, err);
	for (uint32_t i = 0; r == 0 && engine->grace && i < engine->n_taps; i++)
		if (engine->taps[i]->filters_jobs)
			cap_classify_use_grace(engine->taps[i]->classify, engine->grace);
	for (uint32_t i = 0; r == 0 && i < engine->n_workers; i++)
		r = cap_worker_start(&engine->workers[i], err);
	engine->running = r == 0;
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

	if (engine->loader && !engine->crippled && cap_loader_gone(engine->loader)) {
		engine->crippled = true;
		skep_err_set(&engine->lost, -EPIPE, "the process that loads filters is gone: no job can come or go");
		if (engine->cfg.say)
			engine->cfg.say(engine->cfg.say_arg, engine->lost.text);
	}
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
	for (uint32_t i = 0; alive == 0 && i < CAP_MAX_JOBS; i++)
		if (engine->jobs[i])
			cap_job_end(&engine->jobs[i]->job, CAP_JOB_END_LOST);
}

static bool signalled(struct cap_engine *engine)
{
	struct signalfd_siginfo info;

	return read(engine->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

/* The next moment at which a job's time is over, as far as the clock says. */
static int until_next_end_ms(const struct cap_engine *engine, int max_ms)
{
	uint64_t now_ns = realtime_ns();

	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++) {
		const struct cap_engine_job *ej = engine->jobs[i];
		uint64_t end_ns = ej && ej->state == CAP_ENGINE_JOB_RUNS && !ej->job.clock_from_packets
					  ? atomic_load(&ej->job.end_ns)
					  : CAP_NO_LIMIT;

		if (end_ns != CAP_NO_LIMIT)
			max_ms = end_ns <= now_ns
					 ? 0
					 : (int)SKEP_MIN((uint64_t)max_ms,
							 (end_ns - now_ns) / SKEP_NSEC_PER_MSEC + 1);
	}
	return max_ms;
}

bool cap_engine_wait(struct cap_engine *engine, int max_ms, struct pollfd *extra, uint32_t n_extra)
{
	struct pollfd pfd[2 + CAP_ENGINE_EXTRA_FDS] = {
		{ .fd = engine->signal_fd, .events = POLLIN },
		{ .fd = engine->wake_fd, .events = POLLIN },
	};
	uint64_t n, now_ns;

	if (n_extra)
		memcpy(pfd + 2, extra, n_extra * sizeof(*extra));
	(void)poll(pfd, 2 + n_extra, until_next_end_ms(engine, max_ms));
	if (n_extra)
		memcpy(extra, pfd + 2, n_extra * sizeof(*extra));
	if (pfd[1].revents && read(engine->wake_fd, &n, sizeof(n)) < 0)
		n = 0;
	now_ns = cap_mono_ns();
	if (now_ns - engine->checked_ns >= TICK_MS * SKEP_NSEC_PER_MSEC) {
		engine->checked_ns = now_ns;
		check_taps(engine);
	}
	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++)
		if (engine->jobs[i])
			cap_engine_job_step(engine, engine->jobs[i]);
	return signalled(engine);
}

void cap_engine_run(struct cap_engine *engine, struct cap_engine_job *ej,
		    void (*tick)(void *arg, struct cap_engine *engine), void *arg)
{
	struct cap_job *job = &ej->job;
	uint64_t ticked_ns = 0;

	while (!atomic_load(&job->done) && !workers_done(engine)) {
		bool signal = cap_engine_wait(engine, tick ? TICK_MS : QUIET_TICK_MS, NULL, 0);

		if (tick && engine->checked_ns != ticked_ns)
			tick(arg, engine);
		ticked_ns = engine->checked_ns;
		/* Not cap_job_end(): what has arrived until now is in the rings, and is part of the job. */
		if (signal || (!job->clock_from_packets && realtime_ns() >= atomic_load(&job->end_ns)))
			break;
	}
	if (workers_done(engine))
		cap_job_end(job, CAP_JOB_END_INPUT);
	ej->ended_ns = cap_mono_ns();
}

static uint64_t progress(struct cap_engine *engine)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++) {
		struct cap_engine_totals totals;

		if (!engine->jobs[i] || !engine->jobs[i]->channels)
			continue;
		cap_engine_totals(engine, engine->jobs[i], &totals);
		sum += totals.account.stored + totals.account.bytes_disk;
	}
	return sum;
}

/* Waits for the workers; a second signal or a disk that takes nothing for STUCK_NS ends the waiting. */
static void await_workers(struct cap_engine *engine)
{
	uint64_t moved_ns = cap_mono_ns(), last = 0;

	while (!workers_done(engine)) {
		bool signal = cap_engine_wait(engine, TICK_MS, NULL, 0);
		uint64_t now_ns = cap_mono_ns(), now = progress(engine);

		if (now != last)
			moved_ns = now_ns;
		last = now;
		if (!signal && now_ns - moved_ns <= STUCK_NS)
			continue;
		for (uint32_t i = 0; i < CAP_MAX_JOBS; i++)
			if (engine->jobs[i])
				engine->jobs[i]->forced = true;
		for (uint32_t i = 0; i < engine->n_workers; i++)
			cap_worker_ask(&engine->workers[i], CAP_WORKER_ABORT);
	}
}

/* Tables of flows are bounded; when that was felt, it is said. */
static void say_forgotten(struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_taps && engine->cfg.say; i++) {
		struct cap_tap *tap = engine->taps[i];
		uint64_t quic, cut_off;
		char text[200];

		if (!tap->classify)
			continue;
		flt_jobset_forgotten(cap_classify_set(tap->classify), &quic, &cut_off);
		(void)snprintf(text, sizeof(text),
			       "%s: %llu QUIC flows were forgotten to make room; `quic` missed their later packets",
			       tap->link, (unsigned long long)quic);
		if (quic)
			engine->cfg.say(engine->cfg.say_arg, text);
		(void)snprintf(text, sizeof(text),
			       "%s: at least %llu flows were forgotten to make room; the cut-off let them begin again",
			       tap->link, (unsigned long long)cut_off);
		if (cut_off)
			engine->cfg.say(engine->cfg.say_arg, text);
	}
}

void cap_engine_stop(struct cap_engine *engine)
{
	bool forced = false;

	for (uint32_t i = 0; i < engine->n_taps; i++)
		engine->taps[i]->ops->stop(engine->taps[i]);
	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++)
		if (engine->jobs[i] && engine->jobs[i]->channels)
			cap_engine_job_settle(engine, engine->jobs[i]);
	say_forgotten(engine);
	for (uint32_t i = 0; i < engine->n_workers; i++)
		cap_worker_ask(&engine->workers[i], CAP_WORKER_DRAIN);
	await_workers(engine);
	for (uint32_t i = 0; i < engine->n_workers; i++)
		cap_worker_join(&engine->workers[i]);
	check_taps(engine); /* a file or a command says only at its end that it was cut short */
	cap_keeper_stop(&engine->keeper);
	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++)
		forced |= engine->jobs[i] && engine->jobs[i]->forced;
	engine->digest = cap_digest_stop(engine->digest, forced);
	engine->keeper.digest = NULL;
	engine->running = false;
	engine->stopped = true;
	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++) {
		struct cap_engine_job *ej = engine->jobs[i];

		if (!ej || ej->state == CAP_ENGINE_JOB_ENDED)
			continue;
		ej->final = true;
		ej->ended_ns = ej->ended_ns ? ej->ended_ns : cap_mono_ns();
		cap_engine_totals(engine, ej, &ej->totals);
		ej->state = CAP_ENGINE_JOB_ENDED;
	}
}

void cap_engine_forget(struct cap_engine *engine, struct cap_engine_job *ej)
{
	engine->jobs[ej->job.slot] = NULL;
	cap_engine_job_free(engine, ej);
}

void cap_engine_close(struct cap_engine *engine)
{
	for (uint32_t i = 0; i < engine->n_workers && engine->workers; i++)
		cap_worker_join(&engine->workers[i]);
	if (engine->keeper.wake_fd > 0)
		cap_keeper_stop(&engine->keeper);
	for (uint32_t i = 0; i < CAP_MAX_JOBS; i++)
		if (engine->jobs[i])
			cap_engine_forget(engine, engine->jobs[i]);
	for (uint32_t i = 0; i < engine->n_workers && engine->workers; i++) {
		cap_worker_fini(&engine->workers[i]);
		free(engine->workers[i].sources);
	}
	free(engine->workers);
	engine->workers = NULL;
	engine->n_workers = 0;
	if (engine->keeper.wake_fd > 0)
		cap_keeper_fini(&engine->keeper);
	for (uint32_t i = 0; i < engine->n_taps; i++)
		engine->taps[i] = engine->taps[i]->ops->close(engine->taps[i]);
	engine->n_taps = 0;
	engine->grace = cap_grace_stop(engine->grace);
	engine->loader = cap_loader_stop(engine->loader);
	skep_closep(&engine->wake_fd);
	skep_closep(&engine->signal_fd);
}
