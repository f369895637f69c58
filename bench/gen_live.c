/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs gen.bpf.c on XDP live frames. One call of BPF_PROG_RUN sends the whole run: setting a call up costs
 * the kernel milliseconds, a gap that would be visible in the offered rate. The call ends on a signal,
 * between two batches, so nothing handed over is lost; a second thread, which sleeps, looks some times a
 * second whether the program is done and sends that signal.
 *
 * The calling thread is the one that is pinned and burns its core.
 */
#include "bench/gen_run.h"
#include "bpf/gen.skel.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/* XDP batches go through a NAPI poll of 64 at the other end. */
#define LIVE_BATCH 64u
/* Most runs of the program in one call; the watcher ends it long before. */
#define LIVE_REPEAT (1 << 30)
#define LIVE_LOOK_NS (2 * SKEP_NSEC_PER_MSEC)

struct watcher {
	pthread_t thread;
	pthread_t sender;
	const struct skep_gen_state *state;
	volatile sig_atomic_t *stop;
	volatile bool finished;
};

static void *watch(void *arg)
{
	struct watcher *w = arg;
	struct timespec pause = { .tv_nsec = LIVE_LOOK_NS };

	while (!w->finished) {
		(void)nanosleep(&pause, NULL);
		/* repeated: the signal is lost on a sender that is not in the call yet, or not any more */
		if (*(volatile const uint32_t *)&w->state->done || *w->stop)
			(void)pthread_kill(w->sender, SIGUSR1);
	}
	return NULL;
}

static void wake(int sig)
{
	(void)sig;
}

static int watcher_start(struct watcher *w, struct skep_err *err)
{
	struct sigaction action = { .sa_handler = wake };
	sigset_t all, old;
	int r;

	(void)sigaction(SIGUSR1, &action, NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_BLOCK, &all, &old);
	w->sender = pthread_self();
	r = pthread_create(&w->thread, NULL, watch, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r ? skep_err_set(err, -r, "cannot start a thread: %s", strerror(r)) : 0;
}

static void watcher_stop(struct watcher *w)
{
	w->finished = true;
	(void)pthread_join(w->thread, NULL);
}

static int pool_fill(const struct bench_gen_options *o, struct skep_gen *skel, struct skep_err *err)
{
	size_t n = SKEP_GEN_POOL_BYTES + SKEP_GEN_POOL_TAIL;
	void *bytes = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(skel->maps.pool), 0);

	if (bytes == MAP_FAILED)
		return skep_err_set(err, -errno, "cannot map the payload pool: %s", strerror(errno));
	bench_pool_fill(o->payload, o->seed, bytes);
	(void)munmap(bytes, n);
	return 0;
}

static int send_all(struct skep_gen *skel, volatile sig_atomic_t *stop, uint64_t *ret_waited_ns,
		    struct skep_err *err)
{
	uint64_t waited_ns = bench_gen_waited_ns();
	uint32_t page_len = skel->rodata->cfg.page_len;
	_skep_free_ uint8_t *page = calloc(1, page_len);
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = page, .data_size_in = page_len, .repeat = LIVE_REPEAT,
		    .flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = LIVE_BATCH);
	int r;

	if (!page)
		return skep_err_set(err, -ENOMEM, "no memory");
	while (!skel->bss->state.done && !*stop) {
		r = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.gen), &run);
		if (r && r != -EINTR)
			return skep_err_set(err, r, "the kernel refuses to send XDP live frames: %s",
					    strerror(-r));
	}
	*ret_waited_ns = waited_ns == UINT64_MAX ? waited_ns : bench_gen_waited_ns() - waited_ns;
	if (skel->bss->state.errors)
		return skep_err_set(
			err, -EIO, "frame %llu could not be built in the kernel",
			(unsigned long long)(skel->rodata->cfg.first_seq + skel->bss->state.attempted));
	return 0;
}

static int run_loaded(struct skep_gen *skel, const struct bench_gen_options *o, volatile sig_atomic_t *stop,
		      uint64_t *ret_waited_ns, struct skep_err *err)
{
	struct watcher watcher = { .state = &skel->bss->state, .stop = stop };
	int r;

	r = pool_fill(o, skel, err);
	if (r)
		return r;
	r = watcher_start(&watcher, err);
	if (r)
		return r;
	r = bench_gen_pin(o->cpu, err);
	if (!r)
		r = send_all(skel, stop, ret_waited_ns, err);
	watcher_stop(&watcher);
	return r;
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, fmt, ap) : 0;
}

int bench_gen_live_run(const struct bench_gen_options *o, struct skep_gen_cfg *cfg,
		       const struct skep_gen_template templates[SKEP_GEN_TEMPLATES],
		       volatile sig_atomic_t *stop, struct bench_gen_result *ret, struct skep_err *err)
{
	uint64_t waited_ns = UINT64_MAX;
	struct skep_gen *skel;
	int r;

	(void)libbpf_set_print(quiet);
	skel = skep_gen__open();
	if (!skel)
		return skep_err_set(err, -errno, "cannot open the sending program: %s", strerror(errno));
	cfg->ifindex = if_nametoindex(o->link);
	memcpy((void *)&skel->rodata->cfg, cfg, sizeof(*cfg));
	memcpy(skel->bss->templates, templates, sizeof(skel->bss->templates));
	r = skep_gen__load(skel);
	if (r)
		(void)skep_err_set(err, r, "the kernel refuses the sending program: %s", strerror(-r));
	else
		r = run_loaded(skel, o, stop, &waited_ns, err);
	if (!r)
		*ret = (struct bench_gen_result){
			.attempted = skel->bss->state.attempted,
			.attempted_bytes = skel->bss->state.attempted_bytes,
			.first_ns = skel->bss->state.start_ns,
			.last_ns = skel->bss->state.last_ns,
			.late_ns = skel->bss->state.late_ns,
			.waited_ns = waited_ns,
			.live = true,
		};
	skep_gen__destroy(skel);
	return r;
}
