/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves which source a link gets: by its role, named or read from its addresses; that a fallback is said and
 * a wish that cannot be had is refused in words; and that a running tap needs neither privileges nor system
 * calls that confinement forbids.
 */
#include "capture/priv.h"
#include "tests/bpf/rig.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static char said[2048];

static void say(void *arg, const char *sentence)
{
	size_t n = strlen(said);

	snprintf(said + n, sizeof(said) - n, "%s\n", sentence);
}

static struct cap_source_cfg config(const char *link)
{
	said[0] = '\0';
	return (struct cap_source_cfg){ .link = link, .promisc = true, .need_wakeup = true, .say = say };
}

static void add_address(const char *address)
{
	assert_int_equal(
		rig_run((const char *const[]){ "ip", "addr", "add", address, "dev", RIG_NEAR, NULL }), 0);
}

static void expect(const struct cap_source_cfg *cfg, const struct cap_source_ops *want)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	if (cap_source_open(cfg, &tap, &err))
		fail_msg("%s: %s", cfg->link, err.text);
	assert_string_equal(tap->ops->name, want->name);
	tap = tap->ops->close(tap);
}

static void expect_refusal(const struct cap_source_cfg *cfg, int code, const char *word)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	assert_int_equal(cap_source_open(cfg, &tap, &err), code);
	assert_null(tap);
	if (!strstr(err.text, word))
		fail_msg("no \"%s\" in: %s", word, err.text);
}

static void the_role_decides(void **state)
{
	struct cap_source_cfg cfg = config(RIG_NEAR);

	rig_make_pair(1500, 1);
	expect(&cfg, &cap_source_xdp); /* no address: a tap */
	add_address("fe80::7/64");
	expect(&cfg, &cap_source_xdp);
	add_address("192.0.2.1/24");
	expect(&cfg, &cap_source_afpacket);
	cfg.role = CAP_ROLE_TAP;
	expect(&cfg, &cap_source_xdp);
	cfg.role = CAP_ROLE_HOST;
	expect(&cfg, &cap_source_afpacket);
	cfg.kind = CAP_SOURCE_MIRROR;
	expect(&cfg, &cap_source_mirror);
	cfg.kind = CAP_SOURCE_XDP;
	expect_refusal(&cfg, SKEP_E_USAGE, "cannot serve the role host");
	cfg = config("lo");
	expect(&cfg, &cap_source_afpacket);
	cfg = config("any");
	expect(&cfg, &cap_source_afpacket);
}

static void the_default_route_is_not_taken(void **state)
{
	struct cap_source_cfg cfg = config(RIG_NEAR);

	rig_make_pair(1500, 1);
	add_address("192.0.2.1/24");
	assert_int_equal(
		rig_run((const char *const[]){ "ip", "route", "add", "default", "via", "192.0.2.2", NULL }),
		0);
	expect(&cfg, &cap_source_afpacket);
	cfg.role = CAP_ROLE_TAP;
	expect_refusal(&cfg, SKEP_E_UNSAFE, "default route");
	cfg.kind = CAP_SOURCE_XDP;
	expect_refusal(&cfg, SKEP_E_UNSAFE, "default route");
	cfg.force = true;
	expect(&cfg, &cap_source_xdp);
}

static void what_is_wrong_is_said(void **state)
{
	struct cap_source_cfg cfg = config("nosuchlink");
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "stranger", "Dual BSD/GPL", insns, ARRAY_LEN(insns), NULL);

	expect_refusal(&cfg, SKEP_E_NOT_FOUND, "nosuchlink");
	rig_make_pair(1500, 1);
	cfg = config(RIG_NEAR);
	assert_int_equal(rig_run((const char *const[]){ "ip", "link", "set", RIG_NEAR, "down", NULL }), 0);
	expect_refusal(&cfg, SKEP_E_UNSUPPORTED, "is down");
	assert_int_equal(rig_run((const char *const[]){ "ip", "link", "set", RIG_NEAR, "up", NULL }), 0);
	assert_int_equal(bpf_xdp_attach((int)if_nametoindex(RIG_NEAR), fd, 0, NULL), 0);
	expect_refusal(&cfg, SKEP_E_BUSY, "'stranger'");
	close(fd);
	cfg.kind = CAP_SOURCE_AFPACKET; /* as the hint says */
	expect(&cfg, &cap_source_afpacket);
}

/* A tun interface has no Ethernet header. */
static void no_ethernet_falls_back_and_says_so(void **state)
{
	struct cap_source_cfg cfg = config("skep-tun");

	if (rig_run((const char *const[]){ "ip", "tuntap", "add", "skep-tun", "mode", "tun", NULL })) {
		print_message("# no tun interface on this machine\n");
		skip();
	}
	assert_int_equal(rig_run((const char *const[]){ "ip", "link", "set", "skep-tun", "up", NULL }), 0);
	expect(&cfg, &cap_source_afpacket);
	if (!strstr(said, "falls back to afpacket"))
		fail_msg("said only: %s", said);
	assert_int_equal(rig_run((const char *const[]){ "ip", "link", "del", "skep-tun", NULL }), 0);
}

/* In a child: everything that is asked of a running tap, as nobody and under the filter of system calls. */
static int run_confined(const struct cap_source_ops *ops)
{
	struct cap_source_cfg cfg = config(RIG_NEAR);
	struct cap_kernel_account account;
	struct skep_err err = SKEP_ERR_NULL;
	static struct cap_batch batch;
	struct cap_priv_plan plan;
	struct cap_tap *tap;

	cfg.kind = ops == &cap_source_mirror ? CAP_SOURCE_MIRROR : CAP_SOURCE_XDP;
	if (cap_source_open(&cfg, &tap, &err) || tap->ops->start(tap, &err) ||
	    cap_priv_plan(&(struct cap_priv_cfg){ .user = "nobody" }, &plan, &err) ||
	    cap_priv_drop(&plan, &err) || cap_priv_seccomp(false, false, &err)) {
		printf("# %s\n", err.text);
		return 1;
	}
	for (int i = 0; i < 3; i++) {
		if (tap->ops->check(tap, &err)) {
			printf("# %s\n", err.text);
			return 2;
		}
		if (tap->ops->receive(tap->sources[0], &batch) > 0)
			tap->ops->release(tap->sources[0], &batch);
	}
	tap->ops->account(tap, &account);
	tap->ops->stop(tap);
	if (tap->ops->check(tap, &err) || tap->ops->close(tap))
		return 3;
	return 0;
}

static void a_running_tap_needs_no_privilege(void **state)
{
	static const struct cap_source_ops *const all[] = { &cap_source_xdp, &cap_source_mirror };

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		uint32_t prog_id = 1;
		int status;
		pid_t pid;

		rig_make_pair(1500, 1);
		fflush(stdout);
		pid = fork();
		if (!pid)
			_exit(run_confined(all[i]));
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (WIFSIGNALED(status))
			fail_msg("%s: killed by signal %d", all[i]->name, WTERMSIG(status));
		assert_int_equal(WEXITSTATUS(status), 0);
		assert_int_equal(bpf_xdp_query_id((int)if_nametoindex(RIG_NEAR), 0, &prog_id), 0);
		assert_int_equal(prog_id, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_role_decides),
		cmocka_unit_test(the_default_route_is_not_taken),
		cmocka_unit_test(what_is_wrong_is_said),
		cmocka_unit_test(no_ethernet_falls_back_and_says_so),
		cmocka_unit_test(a_running_tap_needs_no_privilege),
	};

	if (!rig_enter())
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
