/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, with BPF_PROG_TEST_RUN and so without any traffic, that the programs put true metadata in front of
 * frames of 14 to 9,000 bytes, leave the frame's bytes alone, return the action they promise, and count each
 * frame exactly once.
 */
#include "bpf/mirror.skel.h"
#include "bpf/prefilter.skel.h"
#include "capture/ringbuf.h"
#include "capture/xsk.h"
#include "tests/bpf/rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RING_BYTES (128u * 1024u)

static const uint32_t lengths[] = { 14,	 60,  64,  95,	 96,   97,   224,  225,	 480,
				    481, 992, 993, 1514, 1536, 1537, 4064, 4065, 9000 };
static uint8_t in[9100], out[9100 + SKEP_META_BYTES];

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Runs the program once over in[0..len); returns its action and the bytes it left in out. */
static uint32_t run_once(int prog_fd, uint32_t len, uint32_t *ret_out_len)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = len, .data_out = out,
		    .data_size_out = sizeof(out), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(prog_fd, &opts), 0);
	*ret_out_len = opts.data_size_out;
	return opts.retval;
}

static struct skep_xdp_counters counters_of(int map_fd, uint32_t queue)
{
	static struct skep_xdp_counters percpu[SKEP_MAX_CPUS];
	struct skep_xdp_counters sum = { 0 };
	uint64_t *to = (uint64_t *)&sum;

	assert_true(libbpf_num_possible_cpus() <= (int)ARRAY_LEN(percpu));
	assert_int_equal(bpf_map_lookup_elem(map_fd, &queue, percpu), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		for (size_t k = 0; k < sizeof(sum) / 8; k++)
			to[k] += ((uint64_t *)&percpu[i])[k];
	return sum;
}

static struct skep_prefilter *load_prefilter(uint32_t unserved_action)
{
	struct skep_prefilter *skel = skep_prefilter__open();

	assert_non_null(skel);
	skel->rodata->unserved_action = unserved_action;
	bpf_program__set_autoload(skel->progs.prefilter_hints, false);
	assert_int_equal(skep_prefilter__load(skel), 0);
	return skel;
}

/* A real socket on the loopback's queue 0, where test runs pretend to come from. */
static struct cap_xsk *put_socket(struct skep_prefilter *skel)
{
	static struct cap_meta_clock clock;
	struct cap_xsk_cfg cfg = {
		.ifname = "lo",
		.mtu = 1500,
		.numa_node = -1,
		.ring_slots = 64,
		.zero_copy = CAP_OFF,
	};
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_xsk *xsk = NULL;
	uint32_t queue = 0;
	int fd;

	if (cap_xsk_open(&cfg, &clock, &xsk, &err))
		fail_msg("%s", err.text);
	fd = cap_xsk_fd(xsk);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.xsks), &queue, &fd, BPF_ANY), 0);
	return xsk;
}

static void check_meta(const struct skep_meta *m, uint32_t len, uint64_t from_ns, uint64_t to_ns)
{
	assert_int_equal(m->magic, SKEP_META_MAGIC);
	assert_int_equal(m->wire_len, len);
	assert_true(m->jobs == ~0ull);
	assert_int_equal(m->flags, 0);
	assert_int_equal(m->vlan_tpid, 0);
	assert_int_equal(m->vlan_tci, 0);
	assert_in_range(m->ts_ns, from_ns, to_ns);
}

static void prefilter_puts_metadata_in_front(void **state)
{
	struct skep_prefilter *skel = load_prefilter(XDP_PASS);
	struct cap_xsk *xsk = put_socket(skel);
	struct skep_xdp_counters c;

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		uint32_t len = lengths[i], out_len;
		uint64_t before = clock_ns(CLOCK_TAI);
		struct skep_meta m;

		rig_frame((uint32_t)i, in, len);
		assert_int_equal(run_once(bpf_program__fd(skel->progs.prefilter), len, &out_len),
				 XDP_REDIRECT);
		assert_int_equal(out_len, len + SKEP_META_BYTES);
		memcpy(&m, out, sizeof(m));
		check_meta(&m, len, before, clock_ns(CLOCK_TAI));
		assert_memory_equal(out + SKEP_META_BYTES, in, len);
	}
	c = counters_of(bpf_map__fd(skel->maps.counters), 0);
	assert_int_equal(c.seen, ARRAY_LEN(lengths));
	assert_int_equal(c.redirected, ARRAY_LEN(lengths));
	assert_int_equal(c.unserved + c.no_meta + c.rejected, 0);
	xsk = cap_xsk_close(xsk);
	skep_prefilter__destroy(skel);
}

static void prefilter_leaves_unserved_frames_as_they_were(void **state)
{
	static const uint32_t actions[] = { XDP_PASS, XDP_DROP };

	for (size_t a = 0; a < ARRAY_LEN(actions); a++) {
		struct skep_prefilter *skel = load_prefilter(actions[a]);
		struct skep_xdp_counters c;

		for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
			uint32_t out_len;

			rig_frame((uint32_t)i, in, lengths[i]);
			assert_int_equal(
				run_once(bpf_program__fd(skel->progs.prefilter), lengths[i], &out_len),
				actions[a]);
			assert_int_equal(out_len, lengths[i]);
			assert_memory_equal(out, in, lengths[i]);
		}
		c = counters_of(bpf_map__fd(skel->maps.counters), 0);
		assert_int_equal(c.seen, ARRAY_LEN(lengths));
		assert_int_equal(c.unserved, ARRAY_LEN(lengths));
		assert_int_equal(c.redirected + c.rejected, 0);
		skep_prefilter__destroy(skel);
	}
}

static struct skep_mirror *load_mirror(struct cap_ringbuf **ret_ring)
{
	static struct cap_meta_clock clock;
	struct skep_mirror *skel = skep_mirror__open();
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t queue = 0;
	int fd;

	assert_non_null(skel);
	bpf_program__set_autoload(skel->progs.mirror_hints, false);
	assert_int_equal(skep_mirror__load(skel), 0);
	if (cap_ringbuf_open(RING_BYTES, &clock, ret_ring, &err))
		fail_msg("%s", err.text);
	fd = cap_ringbuf_fd(*ret_ring);
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(skel->maps.rings), &queue, &fd, BPF_ANY), 0);
	return skel;
}

static void mirror_copies_every_byte(void **state)
{
	struct cap_ringbuf *ring = NULL;
	struct skep_mirror *skel = load_mirror(&ring);
	static struct cap_batch batch;
	struct skep_xdp_counters c;

	/* Thrice, so that the ring wraps around. */
	for (uint32_t k = 0; k < 3 * ARRAY_LEN(lengths); k++) {
		uint32_t len = lengths[k % ARRAY_LEN(lengths)], out_len;
		uint64_t before = clock_ns(CLOCK_TAI);

		rig_frame(k, in, len);
		assert_int_equal(run_once(bpf_program__fd(skel->progs.mirror), len, &out_len), XDP_PASS);
		assert_int_equal(out_len, len);
		assert_memory_equal(out, in, len);
		assert_int_equal(cap_ringbuf_receive(ring, &batch), 1);
		assert_int_equal(batch.frames[0].cap_len, len);
		assert_int_equal(batch.frames[0].wire_len, len);
		assert_in_range(batch.frames[0].ts_ns, before, clock_ns(CLOCK_TAI));
		assert_int_equal(rig_gather(&batch, &batch.frames[0], out, sizeof(out)), len);
		assert_memory_equal(out, in, len);
		cap_ringbuf_release(ring, &batch);
		assert_int_equal(cap_ringbuf_receive(ring, &batch), 0);
	}
	c = counters_of(bpf_map__fd(skel->maps.counters), 0);
	assert_int_equal(c.seen, 3 * ARRAY_LEN(lengths));
	assert_int_equal(c.mirrored, 3 * ARRAY_LEN(lengths));
	assert_int_equal(c.ring_full + c.too_long + c.unserved + c.rejected, 0);
	ring = cap_ringbuf_close(ring);
	skep_mirror__destroy(skel);
}

static void mirror_counts_what_a_full_ring_costs(void **state)
{
	struct cap_ringbuf *ring = NULL;
	struct skep_mirror *skel = load_mirror(&ring);
	static struct cap_batch batch;
	struct skep_xdp_counters c;
	uint32_t received = 0, sent = 200;

	for (uint32_t i = 0; i < sent; i++) {
		uint32_t out_len;

		rig_frame(i, in, 1000);
		assert_int_equal(run_once(bpf_program__fd(skel->progs.mirror), 1000, &out_len), XDP_PASS);
	}
	/* The views of a batch hold until release: nothing may be written over them before. */
	while (cap_ringbuf_receive(ring, &batch) > 0) {
		for (uint32_t i = 0; i < batch.n; i++, received++) {
			rig_frame(received, in, 1000);
			assert_memory_equal(batch.frames[i].data, in, 1000);
		}
		cap_ringbuf_release(ring, &batch);
	}
	c = counters_of(bpf_map__fd(skel->maps.counters), 0);
	assert_int_equal(c.seen, sent);
	assert_int_equal(c.mirrored, received);
	assert_int_equal(c.ring_full, sent - received);
	assert_true(received > 0 && received < sent);
	ring = cap_ringbuf_close(ring);
	skep_mirror__destroy(skel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefilter_puts_metadata_in_front),
		cmocka_unit_test(prefilter_leaves_unserved_frames_as_they_were),
		cmocka_unit_test(mirror_copies_every_byte),
		cmocka_unit_test(mirror_counts_what_a_full_ring_costs),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
