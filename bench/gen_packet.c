/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sends generated frames through a packet socket: for frames longer than the one page of an XDP live frame.
 * The frames become skbs, so a device with an XDP program sees them as multi-buffer frames. Counts what the
 * kernel took; what a full ring refused is in the counters of the device.
 *
 * Paced by looking at the clock: a busy loop, like the other way of sending.
 */
#include "bench/args.h"
#include "bench/gen_run.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int bench_gen_pin(int cpu, struct skep_err *err)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return skep_err_set(err, -errno, "--cpu %d: %s", cpu, strerror(errno));
	return 0;
}

/* The second number of schedstat (Documentation/scheduler/sched-stats.rst): time on a run queue, in ns. */
uint64_t bench_gen_waited_ns(void)
{
	unsigned long long waited_ns = UINT64_MAX;
	FILE *f = fopen("/proc/thread-self/schedstat", "re");

	if (f && fscanf(f, "%*u %llu", &waited_ns) != 1)
		waited_ns = UINT64_MAX;
	if (f)
		(void)fclose(f);
	return waited_ns;
}

static int open_socket(const char *link, int *ret_fd, struct skep_err *err)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(link) };
	_skep_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC,
				     0); /* protocol 0: receives nothing */
	int on = 1, room = 4 << 20;

	if (fd < 0)
		return skep_err_set(err, -errno, "cannot open a packet socket: %s", strerror(errno));
	if (bind(fd, (struct sockaddr *)&to, sizeof(to)))
		return skep_err_set(err, -errno, "%s: cannot send there: %s", link, strerror(errno));
	if (setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)))
		return skep_err_set(err, -errno, "%s: cannot set the packet socket up: %s", link,
				    strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* 0 when the frame was handed over, whether or not the device had room for it; -EINTR: stopped. */
static int hand_over(int fd, const uint8_t *frame, uint32_t len, volatile sig_atomic_t *stop,
		     struct skep_err *err)
{
	while (send(fd, frame, len, 0) < 0) {
		/* the device dropped it, and has counted it */
		if (errno == ENOBUFS)
			return 0;
		if (errno != EINTR && errno != EAGAIN)
			return skep_err_set(err, -errno, "cannot send a frame of %u bytes: %s", len,
					    strerror(errno));
		if (*stop)
			return -EINTR;
	}
	return 0;
}

struct sender {
	int fd;
	const struct skep_gen_cfg *cfg;
	struct skep_gen_template *templates;
	struct bench_pool *pool;
	volatile sig_atomic_t *stop;
};

static int send_all(const struct sender *s, struct bench_gen_result *result, struct skep_err *err)
{
	const struct skep_gen_cfg *cfg = s->cfg;
	volatile sig_atomic_t *stop = s->stop;
	uint8_t frame[SKEP_GEN_FRAME_MAX];
	uint64_t due_q = 0, now, waited_ns = bench_gen_waited_ns();
	int r = 0;

	now = result->first_ns = bench_args_now_ns();
	while (!*stop && (!cfg->count || result->attempted < cfg->count)) {
		uint32_t len = bench_gen_frame_build(cfg, s->templates, s->pool,
						     cfg->first_seq + result->attempted, frame);

		do {
			now = bench_args_now_ns();
		} while (!*stop && (now - result->first_ns) << 16 < due_q);
		if (*stop || (cfg->duration_ns && now - result->first_ns >= cfg->duration_ns))
			break;
		r = hand_over(s->fd, frame, len, stop, err);
		if (r)
			break;
		if (cfg->per_frame_q || cfg->per_byte_q)
			result->late_ns = SKEP_MAX(result->late_ns, now - result->first_ns - (due_q >> 16));
		due_q += cfg->per_frame_q + len * cfg->per_byte_q;
		result->attempted++;
		result->attempted_bytes += len;
		result->last_ns = now;
	}
	result->waited_ns = waited_ns == UINT64_MAX ? waited_ns : bench_gen_waited_ns() - waited_ns;
	return r == -EINTR ? 0 : r;
}

int bench_gen_packet_run(const struct bench_gen_options *o, const struct skep_gen_cfg *cfg,
			 struct skep_gen_template templates[SKEP_GEN_TEMPLATES], volatile sig_atomic_t *stop,
			 struct bench_gen_result *ret, struct skep_err *err)
{
	struct bench_gen_result result = { 0 };
	struct bench_pool *pool;
	_skep_close_ int fd = -1;
	int r;

	r = bench_gen_pin(o->cpu, err);
	if (!r)
		r = open_socket(o->link, &fd, err);
	if (r)
		return r;
	pool = bench_pool_new(o->payload, o->seed);
	if (!pool)
		return skep_err_set(err, -ENOMEM, "no memory for the payload pool");
	r = send_all(&(struct sender){ fd, cfg, templates, pool, stop }, &result, err);
	bench_pool_free(pool);
	if (!r)
		*ret = result;
	return r;
}
