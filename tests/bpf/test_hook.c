/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that the XDP hook and the link are left as they were found, also after kill -9; that a stranger's
 * program is refused by name and never touched; and that losing the hook or the link ends with a reason.
 */
#include "tests/bpf/rig.h"
#include "tests/bpf/taps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static bool promiscuity_is(const char *n)
{
	const char *const words[] = { "sh", "-c",
				      "ip -d link show " RIG_NEAR " | grep -q \"promiscuity $0 \"", n, NULL };

	return rig_run(words) == 0;
}

static void promiscuous_mode_ends_with_the_capture(void **state)
{
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_tap *tap;

		rig_make_pair(1500, 1);
		tap = taps_open(&taps_ways[w]);
		assert_true(promiscuity_is("0"));
		assert_int_equal(tap->ops->start(tap, NULL), 0);
		assert_true(promiscuity_is("1"));
		tap->ops->stop(tap);
		assert_true(promiscuity_is("0"));
		assert_int_equal(taps_attached_prog(), 0);
		tap = tap->ops->close(tap);
	}
}

static void nothing_stays_after_kill(void **state)
{
	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct cap_tap *tap;
		int pipe_fd[2], status;
		char byte = 0;
		pid_t pid;

		rig_make_pair(1500, 1);
		assert_int_equal(pipe(pipe_fd), 0);
		fflush(stdout);
		pid = fork();
		if (!pid) {
			taps_start(&taps_ways[w]);
			if (write(pipe_fd[1], "x", 1) != 1)
				_exit(1);
			pause();
			_exit(0);
		}
		close(pipe_fd[1]);
		assert_int_equal(read(pipe_fd[0], &byte, 1), 1);
		close(pipe_fd[0]);
		assert_int_not_equal(taps_attached_prog(), 0);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(taps_attached_prog(), 0);
		tap = taps_start(&taps_ways[w]); /* the sockets of the dead may still be on their way out */
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

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
			struct cap_source_cfg cfg = taps_config(&taps_ways[w]);
			struct skep_err err = SKEP_ERR_NULL;
			struct cap_tap *tap = NULL;
			int ifindex;

			rig_make_pair(1500, 1);
			ifindex = (int)if_nametoindex(RIG_NEAR);
			assert_int_equal(bpf_xdp_attach(ifindex, stranger, flags[i], NULL), 0);
			assert_int_equal(taps_ways[w].ops->open(&cfg, &tap, &err), SKEP_E_BUSY);
			assert_null(tap);
			assert_non_null(strstr(err.text, "'stranger'"));
			assert_int_equal(taps_attached_prog(), prog_id_of(stranger));
			assert_int_equal(bpf_xdp_detach(ifindex, flags[i], NULL), 0);

			/* It comes between open and start. */
			tap = taps_open(&taps_ways[w]);
			assert_int_equal(bpf_xdp_attach(ifindex, stranger, flags[i], NULL), 0);
			assert_int_equal(tap->ops->start(tap, &err), SKEP_E_BUSY);
			assert_non_null(strstr(err.text, "'stranger'"));
			tap = tap->ops->close(tap);
			assert_int_equal(taps_attached_prog(), prog_id_of(stranger));
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
		    info.prog_id == taps_attached_prog())
			return fd;
		close(fd);
	}
	return -1;
}

static void losing_the_hook_ends_with_a_reason(void **state)
{
	int stranger = load_stranger();

	for (size_t w = 0; w < TAPS_WAYS; w++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_tap *tap;
		char number[32];
		int fd;

		rig_make_pair(1500, 1);
		tap = taps_start(&taps_ways[w]);
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
		assert_int_equal(taps_attached_prog(), prog_id_of(stranger));

		rig_make_pair(1500, 1);
		tap = taps_start(&taps_ways[w]);
		rig_delete_pair();
		assert_int_equal(tap->ops->check(tap, &err), SKEP_E_NOT_FOUND);
		assert_non_null(strstr(err.text, "deleted"));
		tap->ops->stop(tap);
		tap = tap->ops->close(tap);
	}
	close(stranger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(promiscuous_mode_ends_with_the_capture),
		cmocka_unit_test(nothing_stays_after_kill),
		cmocka_unit_test(another_program_is_refused_by_name),
		cmocka_unit_test(losing_the_hook_ends_with_a_reason),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
