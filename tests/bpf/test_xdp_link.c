/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, on a veth pair, what the sources xdp and mirror promise about frames: bytes and order of each,
 * native and generic, jumbo, VLAN tags in the frame and taken out by the NIC; who still gets the packets;
 * that under overload each frame is received or counted once; and that capture goes on, or ends in words,
 * when the link changes.
 */
#include "capture/mono.h"
#include "capture/xsk_held.h"
#include "tests/bpf/rig.h"
#include "tests/bpf/taps.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

/* Linux 6.6. */
#define ATTACH_TCX_EGRESS ((enum bpf_attach_type)47)

static struct cap_batch batch;

static void frames_arrive_byte_for_byte(void **state)
{
	static const uint32_t lengths[] = { 14,	  15,	60,   64,   128,  511,	1000, 1514,
					    1792, 1793, 3840, 3841, 7680, 7681, 9000, 9014 };
	static uint8_t frame[9100];

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		for (uint32_t mtu = 1500; mtu <= 9000; mtu += 7500) {
			struct cap_kernel_account a;
			struct cap_tap *tap;
			uint32_t sent = 0;
			int fd;

			rig_make_pair(mtu, 1);
			fd = rig_packet_socket(RIG_FAR);
			tap = taps_start(&taps_ways[w]);
			for (size_t i = 0; i < ARRAY_LEN(lengths) && lengths[i] <= mtu + 14; i++, sent++) {
				rig_frame((uint32_t)i, frame, lengths[i]);
				rig_send(fd, frame, lengths[i]);
				if (!taps_expect_frame(tap, frame, lengths[i]))
					fail_msg("%s, MTU %u: the frame of %u bytes did not come",
						 taps_ways[w].name, mtu, lengths[i]);
			}
			tap->ops->account(tap, &a);
			assert_true(a.offered >= sent);
			tap = tap->ops->close(tap);
			assert_int_equal(taps_attached_prog(), 0);
			close(fd);
		}
	}
}

static void order_is_kept(void **state)
{
	const uint32_t n = 10000;
	static uint8_t want[200];

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_tap *tap;
		uint32_t next = 0;
		int fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = taps_start(&taps_ways[w]);
		rig_send_many(fd, n, sizeof(want));
		tap->ops->stop(tap);
		while (tap->ops->receive(tap->sources[0], &batch) > 0) {
			for (uint32_t i = 0; i < batch.n; i++) {
				if (!rig_is_ours(&batch.frames[i]))
					continue;
				rig_frame(next++, want, sizeof(want));
				assert_memory_equal(batch.frames[i].data, want, sizeof(want));
			}
			tap->ops->release(tap->sources[0], &batch);
		}
		assert_int_equal(next, n);
		tap = tap->ops->close(tap);
		close(fd);
	}
}

/*
 * Attaches a program to the far end's egress that puts the tag into the packet's metadata, where a NIC leaves
 * it.
 */
static int push_tag_on_far(uint16_t tci)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_2, .imm = htons(0x88a8) },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3, .imm = tci },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_skb_vlan_push },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int link_fd, fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "push_tag", "Dual BSD/GPL", insns,
					ARRAY_LEN(insns), NULL);

	if (fd < 0)
		return fd;
	link_fd = bpf_link_create(fd, (int)if_nametoindex(RIG_FAR), ATTACH_TCX_EGRESS, NULL);
	close(fd);
	return link_fd;
}

static void vlan_tags_are_kept(void **state)
{
	static const uint8_t tag[4] = { 0x88, 0xa8, 0xa0, 0x2a }; /* priority 5, VLAN 42 */
	static uint8_t sent[100], want[104];

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_tap *tap;
		int fd, link_fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = taps_start(&taps_ways[w]);
		rig_frame(1, sent, sizeof(sent));
		memcpy(want, sent, 12);
		memcpy(want + 12, tag, 4);
		memcpy(want + 16, sent + 12, sizeof(sent) - 12);

		rig_send(fd, want, sizeof(want)); /* in the frame itself */
		assert_true(taps_expect_frame(tap, want, sizeof(want)));

		/*
		 * Beside the frame: only the program variant for this device, and so only native mode, can
		 * see it.
		 */
		if (taps_ways[w].mode == CAP_XDP_NATIVE) {
			link_fd = push_tag_on_far(0xa02a);
			if (link_fd < 0) {
				print_message("# tag beside the frame not tried: no tcx on this kernel\n");
			} else {
				rig_send(fd, sent, sizeof(sent));
				assert_true(taps_expect_frame(tap, want, sizeof(want)));
				close(link_fd);
			}
		}
		tap = tap->ops->close(tap);
		close(fd);
	}
}

static bool host_gets_a_frame(int fd)
{
	static uint8_t buf[2048];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);

		if (n < 0)
			return false;
		if (n >= 14 && buf[12] == 0x88 && buf[13] == 0xb5)
			return true;
	}
}

static void xdp_takes_and_mirror_passes(void **state)
{
	static uint8_t frame[100];

	rig_frame(7, frame, sizeof(frame));
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_tap *tap;
		int fd, host;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = taps_start(&taps_ways[w]);
		host = rig_packet_socket(RIG_NEAR);
		rig_send(fd, frame, sizeof(frame));
		assert_true(taps_expect_frame(tap, frame, sizeof(frame)));
		/* In generic mode packet sockets are served before the hook. */
		if (taps_ways[w].ops == &cap_source_mirror || taps_ways[w].mode == CAP_XDP_NATIVE)
			assert_int_equal(host_gets_a_frame(host), taps_ways[w].ops == &cap_source_mirror);
		tap = tap->ops->close(tap);
		rig_send(fd, frame, sizeof(frame));
		assert_true(host_gets_a_frame(host));
		close(fd);
		close(host);
	}
}

static uint64_t drain(struct cap_tap *tap, uint32_t pause_us)
{
	uint64_t n = 0;

	while (tap->ops->receive(tap->sources[0], &batch) > 0) {
		n += batch.n;
		tap->ops->release(tap->sources[0], &batch);
		if (pause_us)
			nanosleep(&(struct timespec){ .tv_nsec = (long)pause_us * 1000 }, NULL);
	}
	return n;
}

struct slow_reader {
	struct cap_tap *tap;
	atomic_bool end;
	uint64_t received;
};

static void *read_slowly(void *arg)
{
	struct slow_reader *reader = arg;

	while (!atomic_load(&reader->end)) {
		reader->received += drain(reader->tap, 500);
		taps_pause_ms(1);
	}
	return NULL;
}

/*
 * Far more frames than the rings hold, while the worker reads nothing, and then while it reads too slowly: in
 * both cases the kernel must drop, and every frame that the program took must be received or be in exactly
 * one counter.
 */
static void each_frame_is_counted_once_under_overload(void **state)
{
	static const struct {
		uint32_t mtu, len, n;
	} loads[] = { { 1500, 64, 130000 }, { 1500, 1514, 40000 }, { 9000, 9014, 20000 } };

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
			struct cap_kernel_account a;
			struct slow_reader reader = { 0 };
			pthread_t thread;
			uint64_t dropped;
			int fd;

			rig_make_pair(loads[i].mtu, 1);
			fd = rig_packet_socket(RIG_FAR);
			reader.tap = taps_start(&taps_ways[w]);
			rig_send_many(fd, loads[i].n, loads[i].len);
			assert_int_equal(pthread_create(&thread, NULL, read_slowly, &reader), 0);
			rig_send_many(fd, loads[i].n, loads[i].len);
			atomic_store(&reader.end, true);
			pthread_join(thread, NULL);
			reader.tap->ops->stop(reader.tap);
			reader.received += drain(reader.tap, 0);
			reader.tap->ops->account(reader.tap, &a);
			dropped = a.rx_ring_full + a.fill_ring_empty + a.rx_oversize + a.mirror_ring_full +
				  a.mirror_too_long;
			print_message("# %s, %u bytes: sent %u, offered %llu, received %llu, ring full %llu, "
				      "fill ring empty %llu, "
				      "mirror ring full %llu\n",
				      taps_ways[w].name, loads[i].len, 2 * loads[i].n,
				      (unsigned long long)a.offered, (unsigned long long)reader.received,
				      (unsigned long long)a.rx_ring_full,
				      (unsigned long long)a.fill_ring_empty,
				      (unsigned long long)a.mirror_ring_full);
			assert_true(a.offered == reader.received + dropped);
			assert_int_equal(a.rx_oversize + a.mirror_too_long, 0);
			assert_true(dropped > 0 && reader.received > 0);
			reader.tap = reader.tap->ops->close(reader.tap);
			close(fd);
		}
	}
}

static void set_link(const char *state_word)
{
	assert_int_equal(rig_run((const char *const[]){ "ip", "link", "set", RIG_NEAR, state_word, NULL }),
			 0);
}

static void capture_goes_on_after_down_and_up(void **state)
{
	static uint8_t frame[300];

	rig_frame(3, frame, sizeof(frame));
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = taps_start(&taps_ways[w]);
		set_link("down");
		assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(taps_said_n, 1);
		assert_non_null(strstr(taps_said[0], "is down"));
		assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(taps_said_n, 1);
		set_link("up");
		/* The kernel reports the carrier a moment later. */
		for (int i = 0; i < 100 && taps_said_n < 2; i++, taps_pause_ms(20))
			assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(taps_said_n, 2);
		assert_non_null(strstr(taps_said[1], "up again"));
		rig_send(fd, frame, sizeof(frame));
		assert_true(taps_expect_frame(tap, frame, sizeof(frame)));
		tap = tap->ops->close(tap);
		close(fd);
	}
}

static void set_channels(const char *ifname, const char *which, const char *n)
{
	assert_int_equal(rig_run((const char *const[]){ "ethtool", "-L", ifname, which, n, NULL }), 0);
}

static void changed_queues_and_mtu_are_noticed(void **state)
{
	static uint8_t frame[4014];

	rig_frame(5, frame, sizeof(frame));
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 2);
		set_channels(RIG_FAR, "tx", "1");
		set_channels(RIG_NEAR, "rx", "1");
		tap = taps_start(&taps_ways[w]);
		assert_int_equal(tap->n_sources, 1);
		/* Longer than a buffer: comes in several. */
		rig_run((const char *const[]){ "ip", "link", "set", RIG_NEAR, "mtu", "4000", NULL });
		rig_run((const char *const[]){ "ip", "link", "set", RIG_FAR, "mtu", "4000", NULL });
		assert_int_equal(tap->ops->check(tap, &err), 0);
		fd = rig_packet_socket(RIG_FAR);
		rig_send(fd, frame, sizeof(frame));
		assert_true(taps_expect_frame(tap, frame, sizeof(frame)));
		close(fd);
		set_channels(RIG_NEAR, "rx", "2");
		assert_int_equal(tap->ops->check(tap, &err), SKEP_E_UNSUPPORTED);
		assert_non_null(strstr(err.text, "from 1 to 2"));
		tap = tap->ops->close(tap);
	}
}

/* A veth refuses native mode if its peer sends on more queues than it receives on. */
static void native_falls_back_to_generic(void **state)
{
	static const struct cap_source_ops *const all[] = { &cap_source_xdp, &cap_source_mirror };
	static uint8_t frame[300];

	rig_frame(4, frame, sizeof(frame));
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		const struct taps_way unsure = { "auto", all[i], CAP_XDP_AUTO };
		const struct taps_way sure = { "native", all[i], CAP_XDP_NATIVE };
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 2);
		set_channels(RIG_NEAR, "rx", "1");
		fd = rig_packet_socket(RIG_FAR);
		tap = taps_open(&sure);
		assert_int_equal(tap->ops->start(tap, &err), SKEP_E_UNSUPPORTED);
		assert_non_null(strstr(err.text, "native"));
		tap = tap->ops->close(tap);

		tap = taps_start(&unsure);
		assert_int_equal(taps_said_n, 1);
		assert_non_null(strstr(taps_said[0], "falls back to generic XDP"));
		assert_non_null(strstr(tap->how, "generic"));
		rig_send(fd, frame, sizeof(frame));
		assert_true(taps_expect_frame(tap, frame, sizeof(frame)));
		tap = tap->ops->close(tap);
		close(fd);
	}
}

static void chosen_queues_are_checked(void **state)
{
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_source_cfg cfg = taps_config(&taps_ways[w]);
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap = NULL;

		rig_make_pair(1500, 2);
		cfg.n_queues = 1;
		cfg.queues[0] = 1;
		assert_int_equal(taps_ways[w].ops->open(&cfg, &tap, &err), 0);
		assert_int_equal(tap->n_sources, 1);
		assert_int_equal(tap->sources[0]->queue, 1);
		tap = tap->ops->close(tap);
		cfg.queues[0] = 2;
		assert_int_equal(taps_ways[w].ops->open(&cfg, &tap, &err), SKEP_E_NOT_FOUND);
		assert_non_null(strstr(err.text, "no queue 2"));
		assert_null(tap);
	}
}

static void what_cannot_be_had_is_refused(void **state)
{
	struct cap_source_cfg cfg = taps_config(&taps_ways[0]);
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	rig_make_pair(1500, 1);
	cfg.link = "nosuchlink";
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_NOT_FOUND);
	assert_non_null(strstr(err.text, "nosuchlink"));

	cfg = taps_config(&taps_ways[0]);
	cfg.zero_copy = CAP_ON; /* a veth has none */
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "zero copy"));

	cfg = taps_config(&taps_ways[1]);
	cfg.timestamps = CAP_TS_HW; /* generic XDP has none */
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "time stamps"));

}

/* The queue is another's already, though no program is attached yet. */
static void a_held_queue_is_refused_within_a_second(void **state)
{
	struct cap_source_cfg cfg = taps_config(&taps_ways[0]);
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap, *second = NULL;
	uint64_t quickest_ns = UINT64_MAX;
	uint32_t ifindex;

	rig_make_pair(1500, 1);
	ifindex = if_nametoindex(RIG_NEAR);
	assert_int_equal(cap_xsk_held(ifindex, 0, 0), 0);
	tap = taps_open(&taps_ways[0]);
	assert_int_not_equal(cap_xsk_held(ifindex, 0, 0), 0); /* or not to be known */
	assert_int_equal(cap_xsk_held(ifindex, 1, 1), 0);
	/* Three times: a busy machine may take its second of one; who waits that long does so each time. */
	for (int i = 0; i < 3; i++) {
		const uint64_t from_ns = cap_mono_ns();

		assert_int_equal(cap_source_xdp.open(&cfg, &second, &err), SKEP_E_BUSY);
		assert_non_null(strstr(err.text, "AF_XDP socket"));
		quickest_ns = SKEP_MIN(quickest_ns, cap_mono_ns() - from_ns);
	}
	assert_true(quickest_ns < SKEP_NSEC_PER_SEC);
	tap = tap->ops->close(tap);
	assert_int_equal(cap_xsk_held(ifindex, 0, 0), 0);
}

/* The kernel releases a dead socket's queue in its own time; the next start waits for that. */
static void a_killed_program_s_queue_is_had_again(void **state)
{
	rig_make_pair(1500, 1);
	for (int i = 0; i < 10; i++) {
		struct cap_tap *tap;
		int status;
		pid_t pid = fork();

		if (pid == 0) {
			tap = taps_open(&taps_ways[0]);
			(void)kill(getpid(), tap ? SIGKILL : SIGTERM);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		tap = taps_open(&taps_ways[0]); /* fails the test if it is refused */
		tap = tap->ops->close(tap);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_byte_for_byte),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(vlan_tags_are_kept),
		cmocka_unit_test(xdp_takes_and_mirror_passes),
		cmocka_unit_test(each_frame_is_counted_once_under_overload),
		cmocka_unit_test(capture_goes_on_after_down_and_up),
		cmocka_unit_test(changed_queues_and_mtu_are_noticed),
		cmocka_unit_test(native_falls_back_to_generic),
		cmocka_unit_test(chosen_queues_are_checked),
		cmocka_unit_test(what_cannot_be_had_is_refused),
		cmocka_unit_test(a_held_queue_is_refused_within_a_second),
		cmocka_unit_test(a_killed_program_s_queue_is_had_again),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
