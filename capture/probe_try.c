/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See probe_try.h. The BPF trials run in a child that has unshared its network namespace: two ends of a veth
 * are made in it, a program that passes everything goes on one, and all of it ends with the child. Nothing is
 * left behind, also if the child crashes.
 */
#include "capture/probe_try.h"

#include "capture/limits.h"
#include "capture/netlink.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <linux/io_uring.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TRY_FRAMES 64u

/* r0 = code; exit: XDP_PASS is 2, a tracing program must return 0. */
static int load(enum bpf_prog_type type, int code, const struct bpf_prog_load_opts *opts)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = code },
		{ .code = BPF_JMP | BPF_EXIT },
	};

	return bpf_prog_load(type, "skep_try", "Dual BSD/GPL", insns, ARRAY_LEN(insns), opts);
}

/* ip link add va type veth peer name vb; both up. Returns va's index. */
static int make_veth(void)
{
	struct {
		struct nlattr info, kind;
		char kind_name[8]; /* "veth" and padding */
		struct nlattr data, peer;
		struct ifinfomsg peer_head;
		struct nlattr peer_attr;
		char peer_name[4];
	} nest = {
		.peer_head = { .ifi_family = AF_UNSPEC },
		.kind = { NLA_HDRLEN + 5, IFLA_INFO_KIND },
		.kind_name = "veth",
		.data = { 0, IFLA_INFO_DATA | NLA_F_NESTED },
		.peer = { 0, VETH_INFO_PEER | NLA_F_NESTED },
		.peer_attr = { NLA_HDRLEN + 3, IFLA_IFNAME },
		.peer_name = "vb",
	};
	static const char *const ends[] = { "va", "vb" };
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC };
	struct cap_netlink nl = CAP_NETLINK_NULL;
	struct cap_netlink_msg msg;
	int r = cap_netlink_open(&nl, NETLINK_ROUTE);

	if (r < 0)
		return r;
	nest.peer.nla_len = (uint16_t)(sizeof(nest) - offsetof(__typeof__(nest), peer));
	nest.data.nla_len = (uint16_t)(sizeof(nest) - offsetof(__typeof__(nest), data));
	cap_netlink_begin(&msg, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &head, sizeof(head));
	cap_netlink_put(&msg, IFLA_IFNAME, "va", 3);
	cap_netlink_put(&msg, IFLA_LINKINFO, &nest.kind, sizeof(nest) - offsetof(__typeof__(nest), kind));
	r = cap_netlink_call(&nl, &msg, NULL, NULL);
	head.ifi_flags = head.ifi_change = IFF_UP; /* an end cannot go up before the other exists */
	for (size_t i = 0; i < ARRAY_LEN(ends) && r == 0; i++) {
		head.ifi_index = (int)if_nametoindex(ends[i]);
		cap_netlink_begin(&msg, RTM_NEWLINK, 0, &head, sizeof(head));
		r = cap_netlink_call(&nl, &msg, NULL, NULL);
	}
	cap_netlink_close(&nl);
	return r < 0 ? r : (int)if_nametoindex("va");
}

static int try_attach(int prog, int ifindex, uint32_t mode)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = mode);
	int link = bpf_link_create(prog, ifindex, BPF_XDP, &opts);

	if (link < 0)
		return link;
	close(link);
	return 0;
}

static int try_afxdp(int ifindex)
{
	static const int slots = TRY_FRAMES;
	struct xdp_umem_reg reg = { .len = TRY_FRAMES * CAP_XSK_CHUNK_SMALL,
				    .chunk_size = CAP_XSK_CHUNK_SMALL };
	struct sockaddr_xdp to = { .sxdp_family = AF_XDP,
				   .sxdp_flags = XDP_COPY,
				   .sxdp_ifindex = (uint32_t)ifindex };
	_skep_close_ int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	void *umem = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r = 0;

	if (umem == MAP_FAILED)
		return -errno;
	reg.addr = (uint64_t)(uintptr_t)umem;
	if (fd < 0 || setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &slots, sizeof(slots)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &slots, sizeof(slots)) < 0 ||
	    setsockopt(fd, SOL_XDP, XDP_RX_RING, &slots, sizeof(slots)) < 0 ||
	    bind(fd, (const struct sockaddr *)&to, sizeof(to)) < 0)
		r = -errno;
	(void)munmap(umem, reg.len);
	return r;
}

static int try_trampoline(void)
{
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FENTRY);
	int id = libbpf_find_vmlinux_btf_id("bpf_fentry_test1", BPF_TRACE_FENTRY);
	_skep_close_ int prog = -1, link = -1;

	if (id < 0)
		return id;
	opts.attach_btf_id = (uint32_t)id;
	prog = load(BPF_PROG_TYPE_TRACING, 0, &opts);
	if (prog < 0)
		return prog;
	link = bpf_raw_tracepoint_open(NULL, prog);
	return link < 0 ? link : 0;
}

static int say_nothing(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level;
	(void)fmt;
	(void)ap;
	return 0;
}

static void try_in_child(struct cap_probe_tries *ret)
{
	_skep_close_ int prog = -1;
	int ifindex;

	(void)libbpf_set_print(say_nothing);
	ret->trampoline = try_trampoline();
	if (unshare(CLONE_NEWNET) < 0) {
		(void)snprintf(ret->untried, sizeof(ret->untried), "a network namespace to try in: %s",
			       strerror(errno));
		return;
	}
	ifindex = make_veth();
	if (ifindex <= 0) {
		(void)snprintf(ret->untried, sizeof(ret->untried), "a veth link to try on: %s",
			       strerror(-ifindex));
		return;
	}
	ret->afxdp = try_afxdp(ifindex);
	prog = load(BPF_PROG_TYPE_XDP, 2, NULL);
	ret->xdp_native = prog < 0 ? prog : try_attach(prog, ifindex, XDP_FLAGS_DRV_MODE);
	ret->xdp_generic = prog < 0 ? prog : try_attach(prog, ifindex, XDP_FLAGS_SKB_MODE);
}

void cap_probe_try_xdp(struct cap_probe_tries *ret)
{
	struct cap_probe_tries t = { -ENODATA, -ENODATA, -ENODATA, -ENODATA, "" };
	int fds[2], status = 0;
	pid_t pid = -1;

	if (pipe2(fds, O_CLOEXEC) == 0) {
		pid = fork();
		if (pid == 0) {
			try_in_child(&t);
			_exit(write(fds[1], &t, sizeof(t)) == (ssize_t)sizeof(t) ? 0 : 1);
		}
		close(fds[1]);
		if (pid > 0 && read(fds[0], &t, sizeof(t)) != (ssize_t)sizeof(t))
			(void)snprintf(t.untried, sizeof(t.untried), "the process that tries ended early");
		close(fds[0]);
	}
	if (pid < 0)
		(void)snprintf(t.untried, sizeof(t.untried), "a process to try in: %s", strerror(errno));
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret = t;
}

int cap_probe_try_uring(uint32_t *ret_features)
{
	struct io_uring_params p = { 0 };
	_skep_close_ int fd = (int)syscall(SYS_io_uring_setup, 8, &p);

	if (fd < 0)
		return -errno;
	*ret_features = p.features;
	return 0;
}

int cap_probe_try_direct(const char *dir)
{
	_skep_close_ int fd = open(dir, O_TMPFILE | O_RDWR | O_DIRECT | O_CLOEXEC, 0600);
	_skep_free_ void *buf = aligned_alloc(CAP_ALIGN, CAP_ALIGN);

	if (fd < 0)
		return -errno;
	if (!buf)
		return -ENOMEM;
	memset(buf, 0, CAP_ALIGN);
	return pwrite(fd, buf, CAP_ALIGN, 0) == (ssize_t)CAP_ALIGN ? 0 : -errno;
}
