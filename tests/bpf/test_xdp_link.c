/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, on a veth pair, what the sources xdp and mirror promise: bytes and order of every frame, native and
 * generic, jumbo, VLAN tags in the frame and taken out by the NIC; who still gets the packets; that under
 * overload each frame is received or counted once; that nothing stays behind after kill -9; and what happens
 * when the link or its XDP hook is taken away.
 */
#include "tests/bpf/rig.h"

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

struct way {
	const char *name;
	const struct cap_source_ops *ops;
	enum cap_xdp_mode mode;
};

static const struct way ways[] = {
	{ "xdp native", &cap_source_xdp, CAP_XDP_NATIVE },
	{ "xdp generic", &cap_source_xdp, CAP_XDP_GENERIC },
	{ "mirror native", &cap_source_mirror, CAP_XDP_NATIVE },
	{ "mirror generic", &cap_source_mirror, CAP_XDP_GENERIC },
};

static struct cap_batch batch;
static char said[8][256];
static uint32_t n_said;

static void say(void *arg, const char *sentence)
{
	snprintf(said[n_said++ % ARRAY_LEN(said)], sizeof(said[0]), "%s", sentence);
}

static struct cap_source_cfg config(const struct way *way)
{
	return (struct cap_source_cfg){
		.link = RIG_NEAR,
		.kind = CAP_SOURCE_XDP,
		.xdp_mode = way->mode,
		.promisc = true,
		.need_wakeup = true,
		.say = say,
	};
}

static struct cap_tap *open_tap(const struct way *way)
{
	struct cap_source_cfg cfg = config(way);
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	n_said = 0;
	if (way->ops->open(&cfg, &tap, &err))
		fail_msg("%s: %s", way->name, err.text);
	return tap;
}

static struct cap_tap *start_tap(const struct way *way)
{
	struct cap_tap *tap = open_tap(way);
	struct skep_err err = SKEP_ERR_NULL;

	if (tap->ops->start(tap, &err))
		fail_msg("%s: %s", way->name, err.text);
	return tap;
}

static uint32_t attached_prog(void)
{
	uint32_t id = 0;

	bpf_xdp_query_id((int)if_nametoindex(RIG_NEAR), 0, &id);
	return id;
}

static uint64_t now_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void pause_ms(uint32_t ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 }, NULL);
}

/*
 * Receives until a frame of ours came that equals `want`, or a second is over; other frames of ours are an
 * error.
 */
static bool expect_frame(struct cap_tap *tap, const uint8_t *want, uint32_t len)
{
	static uint8_t got[9100];
	uint64_t limit = now_ns(CLOCK_MONOTONIC) + SKEP_NSEC_PER_SEC;

	while (now_ns(CLOCK_MONOTONIC) < limit) {
		for (uint32_t s = 0; s < tap->n_sources; s++) {
			bool found = false;

			if (tap->ops->receive(tap->sources[s], &batch) <= 0)
				continue;
			for (uint32_t i = 0; i < batch.n; i++) {
				const struct cap_frame *f = &batch.frames[i];
				uint64_t utc = now_ns(CLOCK_REALTIME);

				if (!rig_is_ours(f))
					continue;
				assert_false(found);
				assert_int_equal(f->cap_len, len);
				assert_int_equal(f->wire_len, len);
				assert_true(f->jobs == ~0ull);
				assert_in_range(f->ts_ns, utc - 5 * SKEP_NSEC_PER_SEC, utc);
				assert_int_equal(rig_gather(&batch, f, got, sizeof(got)), len);
				assert_memory_equal(got, want, len);
				found = true;
			}
			tap->ops->release(tap->sources[s], &batch);
			if (found)
				return true;
		}
	}
	return false;
}

static void frames_arrive_byte_for_byte(void **state)
{
	static const uint32_t lengths[] = { 14,	  15,	60,   64,   128,  511,	1000, 1514,
					    1792, 1793, 3840, 3841, 7680, 7681, 9000, 9014 };
	static uint8_t frame[9100];

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		for (uint32_t mtu = 1500; mtu <= 9000; mtu += 7500) {
			struct cap_kernel_account a;
			struct cap_tap *tap;
			uint32_t sent = 0;
			int fd;

			rig_make_pair(mtu, 1);
			fd = rig_packet_socket(RIG_FAR);
			tap = start_tap(&ways[w]);
			for (size_t i = 0; i < ARRAY_LEN(lengths) && lengths[i] <= mtu + 14; i++, sent++) {
				rig_frame((uint32_t)i, frame, lengths[i]);
				rig_send(fd, frame, lengths[i]);
				if (!expect_frame(tap, frame, lengths[i]))
					fail_msg("%s, MTU %u: the frame of %u bytes did not come",
						 ways[w].name, mtu, lengths[i]);
			}
			tap->ops->account(tap, &a);
			assert_true(a.offered >= sent);
			tap = tap->ops->close(tap);
			assert_int_equal(attached_prog(), 0);
			close(fd);
		}
	}
}

static void order_is_kept(void **state)
{
	const uint32_t n = 10000;
	static uint8_t want[200];

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_tap *tap;
		uint32_t next = 0;
		int fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = start_tap(&ways[w]);
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

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_tap *tap;
		int fd, link_fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = start_tap(&ways[w]);
		rig_frame(1, sent, sizeof(sent));
		memcpy(want, sent, 12);
		memcpy(want + 12, tag, 4);
		memcpy(want + 16, sent + 12, sizeof(sent) - 12);

		rig_send(fd, want, sizeof(want)); /* in the frame itself */
		assert_true(expect_frame(tap, want, sizeof(want)));

		/*
		 * Beside the frame: only the program variant for this device, and so only native mode, can
		 * see it.
		 */
		if (ways[w].mode == CAP_XDP_NATIVE) {
			link_fd = push_tag_on_far(0xa02a);
			if (link_fd < 0) {
				print_message("# tag beside the frame not tried: no tcx on this kernel\n");
			} else {
				rig_send(fd, sent, sizeof(sent));
				assert_true(expect_frame(tap, want, sizeof(want)));
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
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_tap *tap;
		int fd, host;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = start_tap(&ways[w]);
		host = rig_packet_socket(RIG_NEAR);
		rig_send(fd, frame, sizeof(frame));
		assert_true(expect_frame(tap, frame, sizeof(frame)));
		/* In generic mode packet sockets are served before the hook. */
		if (ways[w].ops == &cap_source_mirror || ways[w].mode == CAP_XDP_NATIVE)
			assert_int_equal(host_gets_a_frame(host), ways[w].ops == &cap_source_mirror);
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
		pause_ms(1);
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

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		for (size_t i = 0; i < ARRAY_LEN(loads); i++) {
			struct cap_kernel_account a;
			struct slow_reader reader = { 0 };
			pthread_t thread;
			uint64_t dropped;
			int fd;

			rig_make_pair(loads[i].mtu, 1);
			fd = rig_packet_socket(RIG_FAR);
			reader.tap = start_tap(&ways[w]);
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
				      ways[w].name, loads[i].len, 2 * loads[i].n,
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

static bool promiscuity_is(const char *n)
{
	const char *const words[] = { "sh", "-c", "ip -d link show " RIG_NEAR " | grep -q \"promiscuity $0 \"", n, NULL };

	return rig_run(words) == 0;
}

static void promiscuous_mode_ends_with_the_capture(void **state)
{
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_tap *tap;

		rig_make_pair(1500, 1);
		tap = open_tap(&ways[w]);
		assert_true(promiscuity_is("0"));
		assert_int_equal(tap->ops->start(tap, NULL), 0);
		assert_true(promiscuity_is("1"));
		tap->ops->stop(tap);
		assert_true(promiscuity_is("0"));
		assert_int_equal(attached_prog(), 0);
		tap = tap->ops->close(tap);
	}
}

static void nothing_stays_after_kill(void **state)
{
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_tap *tap;
		int pipe_fd[2], status;
		char byte = 0;
		pid_t pid;

		rig_make_pair(1500, 1);
		assert_int_equal(pipe(pipe_fd), 0);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			start_tap(&ways[w]);
			if (write(pipe_fd[1], "x", 1) != 1)
				_exit(1);
			pause();
			_exit(0);
		}
		close(pipe_fd[1]);
		assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
		close(pipe_fd[0]);
		assert_int_not_equal(attached_prog(), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(attached_prog(), 0);
		tap = start_tap(&ways[w]); /* the sockets of the dead may still be on their way out */
		tap = tap->ops->close(tap);
	}
}

/* A stranger's program; returns its descriptor. */
static int load_stranger(void)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "stranger", "Dual BSD/GPL", insns, ARRAY_LEN(insns), NULL);

	assert_true(fd >= 0);
	return fd;
}

static uint32_t prog_id_of(int fd)
{
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return info.id;
}

static void another_program_is_refused_by_name(void **state)
{
	static const uint32_t flags[] = { XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE };
	int stranger = load_stranger();

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
			struct cap_source_cfg cfg = config(&ways[w]);
			struct skep_err err = SKEP_ERR_NULL;
			struct cap_tap *tap = NULL;
			int ifindex;

			rig_make_pair(1500, 1);
			ifindex = (int)if_nametoindex(RIG_NEAR);
			assert_int_equal(bpf_xdp_attach(ifindex, stranger, flags[i], NULL), 0);
			assert_int_equal(ways[w].ops->open(&cfg, &tap, &err), SKEP_E_BUSY);
			assert_null(tap);
			assert_non_null(strstr(err.text, "'stranger'"));
			assert_int_equal(attached_prog(), prog_id_of(stranger));
			assert_int_equal(bpf_xdp_detach(ifindex, flags[i], NULL), 0);

			/* It comes between open and start. */
			tap = open_tap(&ways[w]);
			assert_int_equal(bpf_xdp_attach(ifindex, stranger, flags[i], NULL), 0);
			assert_int_equal(tap->ops->start(tap, &err), SKEP_E_BUSY);
			assert_non_null(strstr(err.text, "'stranger'"));
			tap = tap->ops->close(tap);
			assert_int_equal(attached_prog(), prog_id_of(stranger));
		}
	}
	close(stranger);
}

/* The descriptor of the BPF link that holds the hook of the near end, as an administrator would find it. */
static int find_hook_link(void)
{
	uint32_t id = 0;

	while (!bpf_link_get_next_id(id, &id)) {
		struct bpf_link_info info = { 0 };
		uint32_t len = sizeof(info);
		int fd = bpf_link_get_fd_by_id(id);

		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == BPF_LINK_TYPE_XDP &&
		    info.prog_id == attached_prog())
			return fd;
		close(fd);
	}
	return -1;
}

static void losing_the_hook_ends_with_a_reason(void **state)
{
	int stranger = load_stranger();

	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		char number[32];
		int fd;

		rig_make_pair(1500, 1);
		tap = start_tap(&ways[w]);
		assert_int_equal(tap->ops->check(tap, &err), 0);
		fd = find_hook_link();
		assert_true(fd >= 0);
		assert_int_equal(bpf_link_detach(fd), 0);
		close(fd);
		assert_int_equal(tap->ops->check(tap, &err), SKEP_E_BUSY);
		assert_non_null(strstr(err.text, "somebody detached"));
		assert_int_equal(bpf_xdp_attach((int)if_nametoindex(RIG_NEAR), stranger, 0, NULL), 0);
		assert_int_equal(tap->ops->check(tap, &err), SKEP_E_BUSY);
		snprintf(number, sizeof(number), "program %u ", prog_id_of(stranger));
		assert_non_null(strstr(err.text, number));
		tap = tap->ops->close(tap);
		assert_int_equal(attached_prog(), prog_id_of(stranger));

		rig_make_pair(1500, 1);
		tap = start_tap(&ways[w]);
		rig_delete_pair();
		assert_int_equal(tap->ops->check(tap, &err), SKEP_E_NOT_FOUND);
		assert_non_null(strstr(err.text, "deleted"));
		tap->ops->stop(tap);
		tap = tap->ops->close(tap);
	}
	close(stranger);
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
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 1);
		fd = rig_packet_socket(RIG_FAR);
		tap = start_tap(&ways[w]);
		set_link("down");
		assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(n_said, 1);
		assert_non_null(strstr(said[0], "is down"));
		assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(n_said, 1);
		set_link("up");
		/* The kernel reports the carrier a moment later. */
		for (int i = 0; i < 100 && n_said < 2; i++, pause_ms(20))
			assert_int_equal(tap->ops->check(tap, &err), 0);
		assert_int_equal(n_said, 2);
		assert_non_null(strstr(said[1], "up again"));
		rig_send(fd, frame, sizeof(frame));
		assert_true(expect_frame(tap, frame, sizeof(frame)));
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
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 2);
		set_channels(RIG_FAR, "tx", "1");
		set_channels(RIG_NEAR, "rx", "1");
		tap = start_tap(&ways[w]);
		assert_int_equal(tap->n_sources, 1);
		/* Longer than a buffer: comes in several. */
		rig_run((const char *const[]){ "ip", "link", "set", RIG_NEAR, "mtu", "4000", NULL });
		rig_run((const char *const[]){ "ip", "link", "set", RIG_FAR, "mtu", "4000", NULL });
		assert_int_equal(tap->ops->check(tap, &err), 0);
		fd = rig_packet_socket(RIG_FAR);
		rig_send(fd, frame, sizeof(frame));
		assert_true(expect_frame(tap, frame, sizeof(frame)));
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
		const struct way unsure = { "auto", all[i], CAP_XDP_AUTO };
		const struct way sure = { "native", all[i], CAP_XDP_NATIVE };
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		int fd;

		rig_make_pair(1500, 2);
		set_channels(RIG_NEAR, "rx", "1");
		fd = rig_packet_socket(RIG_FAR);
		tap = open_tap(&sure);
		assert_int_equal(tap->ops->start(tap, &err), SKEP_E_UNSUPPORTED);
		assert_non_null(strstr(err.text, "native"));
		tap = tap->ops->close(tap);

		tap = start_tap(&unsure);
		assert_int_equal(n_said, 1);
		assert_non_null(strstr(said[0], "falls back to generic XDP"));
		assert_non_null(strstr(tap->how, "generic"));
		rig_send(fd, frame, sizeof(frame));
		assert_true(expect_frame(tap, frame, sizeof(frame)));
		tap = tap->ops->close(tap);
		close(fd);
	}
}

static void chosen_queues_are_checked(void **state)
{
	for (size_t w = 0; w < ARRAY_LEN(ways); w++) {
		struct cap_source_cfg cfg = config(&ways[w]);
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap = NULL;

		rig_make_pair(1500, 2);
		cfg.n_queues = 1;
		cfg.queues[0] = 1;
		assert_int_equal(ways[w].ops->open(&cfg, &tap, &err), 0);
		assert_int_equal(tap->n_sources, 1);
		assert_int_equal(tap->sources[0]->queue, 1);
		tap = tap->ops->close(tap);
		cfg.queues[0] = 2;
		assert_int_equal(ways[w].ops->open(&cfg, &tap, &err), SKEP_E_NOT_FOUND);
		assert_non_null(strstr(err.text, "no queue 2"));
		assert_null(tap);
	}
}

static void what_cannot_be_had_is_refused(void **state)
{
	struct cap_source_cfg cfg = config(&ways[0]);
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL, *second = NULL;

	rig_make_pair(1500, 1);
	cfg.link = "nosuchlink";
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_NOT_FOUND);
	assert_non_null(strstr(err.text, "nosuchlink"));

	cfg = config(&ways[0]);
	cfg.zero_copy = CAP_ON; /* a veth has none */
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "zero copy"));

	cfg = config(&ways[1]);
	cfg.timestamps = CAP_TS_HW; /* generic XDP has none */
	assert_int_equal(cap_source_xdp.open(&cfg, &tap, &err), SKEP_E_UNSUPPORTED);
	assert_non_null(strstr(err.text, "time stamps"));

	/* The queue is ours already, though no program is attached yet. */
	tap = open_tap(&ways[0]);
	cfg = config(&ways[0]);
	assert_int_equal(cap_source_xdp.open(&cfg, &second, &err), SKEP_E_BUSY);
	assert_non_null(strstr(err.text, "AF_XDP socket"));
	tap = tap->ops->close(tap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_byte_for_byte),
		cmocka_unit_test(order_is_kept),
		cmocka_unit_test(vlan_tags_are_kept),
		cmocka_unit_test(xdp_takes_and_mirror_passes),
		cmocka_unit_test(each_frame_is_counted_once_under_overload),
		cmocka_unit_test(promiscuous_mode_ends_with_the_capture),
		cmocka_unit_test(nothing_stays_after_kill),
		cmocka_unit_test(another_program_is_refused_by_name),
		cmocka_unit_test(losing_the_hook_ends_with_a_reason),
		cmocka_unit_test(capture_goes_on_after_down_and_up),
		cmocka_unit_test(changed_queues_and_mtu_are_noticed),
		cmocka_unit_test(native_falls_back_to_generic),
		cmocka_unit_test(chosen_queues_are_checked),
		cmocka_unit_test(what_cannot_be_had_is_refused),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
