/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The kernel side of skep-filter and of the tests: load, run on a packet, take the time. Packets travel with
 * struct skep_meta in front of them, as they do on a link, so that the program can know their length on the
 * wire.
 */
#include "capture/filter/run.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/classifier.h"
#include "capture/filter/look.h"
#include "capture/filter/verifier.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

_Static_assert(sizeof(struct flt_ebpf) == sizeof(struct bpf_insn), "eBPF layout");

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SKEP_NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static int refuse_load(uint32_t n, const struct bpf_insn *insns, int r, struct skep_err *err)
{
	_skep_free_ char *log = calloc(1, FLT_VERIFIER_LOG_BYTES);
	char words[256] = "";
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS, .log_buf = log,
		    .log_size = FLT_VERIFIER_LOG_BYTES, .log_level = 1);
	int fd;

	if (r == -EPERM) {
		(void)skep_err_set(err, -EPERM, "not allowed to load BPF programs");
		(void)skep_err_hint(err, "Run it as root, or with CAP_BPF and CAP_NET_ADMIN");
		return r;
	}
	if (log) {
		fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_filter", "Dual BSD/GPL", insns, n, &opts);
		if (fd >= 0)
			close(fd);
		flt_verifier_words(log, words, sizeof(words));
	}
	return skep_err_set(err, r, "the kernel refused the translated filter: %s (%s)", strerror(-r), words);
}

/* What the kernel says of l->filter_fd. */
static void learn_size(struct flt_loaded *l)
{
	struct bpf_prog_info info = { 0 };
	uint32_t info_len = sizeof(info);

	if (bpf_obj_get_info_by_fd(l->filter_fd, &info, &info_len) == 0) {
		l->verified_insns = info.verified_insns;
		l->jited_bytes = info.jited_prog_len;
	}
}

/* ret->filter_fd and what the kernel says of it. */
static int load_filter(const struct flt_code *code, struct flt_loaded *ret, struct skep_err *err)
{
	_skep_free_ struct flt_ebpf *linked = malloc(code->n * sizeof(*linked));
	const struct bpf_insn *insns = (const struct bpf_insn *)linked;
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP); /* a PROG_ARRAY takes equals only */
	uint64_t start = now_ns();

	if (!linked)
		return skep_err_set(err, -ENOMEM, "no memory to load the filter");
	memcpy(linked, code->v, code->n * sizeof(*linked));
	flt_code_link(linked, code->n, ret->scratch_fd);
	ret->filter_fd =
		bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_filter", "Dual BSD/GPL", insns, code->n, &opts);
	if (ret->filter_fd < 0)
		return refuse_load(code->n, insns, -errno, err);
	ret->load_ns = now_ns() - start;
	learn_size(ret);
	return 0;
}

static int open_maps(struct flt_loaded *l, struct skep_err *err)
{
	int r = 0;

	l->progs_fd = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "skep_progs", 4, 4, SKEP_PROG_N, NULL);
	if (l->progs_fd >= 0)
		l->scratch_fd = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "skep_scratch", 4,
					       sizeof(struct skep_scratch), 1, NULL);
	if (l->progs_fd < 0 || l->scratch_fd < 0)
		r = -errno;
	if (r == -EPERM)
		return refuse_load(0, NULL, r, err);
	return r ? skep_err_set(err, r, "the kernel refused a map: %s", strerror(-r)) : 0;
}

/* The look stage in front of the filter, as on a link. */
static int load_look(struct flt_loaded *l, uint32_t needs, uint32_t inside, const struct flt_lists *lists,
		     struct skep_err *err)
{
	const struct flt_look_cfg cfg = { .progs_fd = l->progs_fd, .scratch_fd = l->scratch_fd };
	uint32_t slot = SKEP_PROG_CLASSIFY;
	int r = flt_look_open(&cfg, &l->look, err);

	if (r == 0 && lists && needs & FLT_NEEDS_LISTS)
		r = flt_look_set_lists(l->look, lists, err);
	if (r)
		return r;
	r = flt_look_need(l->look, needs, inside);
	if (r == 0 && bpf_map_update_elem(l->progs_fd, &slot, &l->filter_fd, BPF_ANY))
		r = -errno;
	return r ? skep_err_set(err, r, "the kernel refused to join the programs: %s", strerror(-r)) : 0;
}

int flt_run_load_lists(const struct flt_code *code, const struct flt_lists *lists, struct flt_loaded *ret,
		       struct skep_err *err)
{
	struct flt_loaded l = FLT_LOADED_NULL;
	int r = code->needs ? open_maps(&l, err) : 0;

	if (r == 0)
		r = load_filter(code, &l, err);
	if (r == 0 && code->needs)
		r = load_look(&l, code->needs, 0, lists, err);
	if (r) {
		flt_run_unload(&l);
		return r;
	}
	l.fd = l.look ? flt_look_prog_fd(l.look) : TAKE_FD(l.filter_fd);
	*ret = l;
	return 0;
}

int flt_run_load(const struct flt_code *code, struct flt_loaded *ret, struct skep_err *err)
{
	return flt_run_load_lists(code, NULL, ret, err);
}

/* progs[SKEP_PROG_DELIVER] returns FLT_RUN_ACCEPTED. The array keeps the program. */
static int load_deliver(const struct flt_loaded *l, struct skep_err *err)
{
	const struct bpf_insn accept[] = {
		{ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = FLT_RUN_ACCEPTED },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP);
	_skep_close_ int fd =
		bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_accept", "Dual BSD/GPL", accept, ARRAY_LEN(accept), &opts);
	uint32_t slot = SKEP_PROG_DELIVER;
	int r = 0;

	if (fd < 0 || bpf_map_update_elem(l->progs_fd, &slot, &fd, BPF_ANY))
		r = -errno;
	return r ? skep_err_set(err, r, "the kernel refused to join the programs: %s", strerror(-r)) : 0;
}

/* The classifier with the one job; its counters go with it. */
static int load_classifier(const struct flt_job *job, struct flt_loaded *l, struct skep_err *err)
{
	_skep_close_ int generations =
		bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "skep_generation", 4, sizeof(struct skep_generation), 1, NULL);
	_skep_close_ int counters = bpf_map_create(BPF_MAP_TYPE_PERCPU_ARRAY, "skep_counters", 4,
						   sizeof(struct skep_xdp_counters), 1, NULL);
	const struct flt_surroundings around = {
		.progs_fd = l->progs_fd,
		.scratch_fd = l->scratch_fd,
		.generations_fd = generations,
		.counters_fd = counters,
		.rejected_offset = offsetof(struct skep_xdp_counters, rejected),
	};
	uint64_t start = now_ns();
	int r;

	if (generations < 0 || counters < 0)
		return skep_err_set(err, -errno, "the kernel refused a map: %s", strerror(errno));
	r = flt_classifier_load(job, 1, &around, &l->filter_fd, err);
	if (r)
		return r;
	l->load_ns = now_ns() - start;
	learn_size(l);
	return 0;
}

int flt_run_load_inside(const struct flt_code *code, const struct flt_code *inside_code, uint32_t inside,
			const struct flt_lists *lists, struct flt_loaded *ret, struct skep_err *err)
{
	const struct flt_job job = { .code = code, .inside = inside, .inside_code = inside_code };
	struct flt_loaded l = FLT_LOADED_NULL;
	int r = open_maps(&l, err);

	if (r == 0)
		r = load_deliver(&l, err);
	if (r == 0)
		r = load_classifier(&job, &l, err);
	if (r == 0)
		r = load_look(&l, code->needs, inside, lists, err);
	if (r) {
		flt_run_unload(&l);
		return r;
	}
	l.fd = flt_look_prog_fd(l.look);
	*ret = l;
	return 0;
}

void flt_run_unload(struct flt_loaded *l)
{
	if (l->look)
		l->fd = -1; /* the look's own */
	l->look = flt_look_close(l->look);
	skep_closep(&l->fd);
	skep_closep(&l->filter_fd);
	skep_closep(&l->progs_fd);
	skep_closep(&l->scratch_fd);
}

int flt_run_packet(const struct flt_loaded *l, const struct flt_packet *p, uint32_t repeat,
		   uint32_t *ret_verdict, uint32_t *ret_ns)
{
	static _Thread_local unsigned char buf[SKEP_META_BYTES + FLT_RUN_MAX_BYTES];
	struct skep_meta meta = { .magic = SKEP_META_MAGIC, .wire_len = p->wire_len };
	struct xdp_md ctx = { .data = SKEP_META_BYTES,
			      .data_end = SKEP_META_BYTES + (p->linear ? p->linear : p->len) };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = buf, .data_size_in = SKEP_META_BYTES + p->len,
		    .ctx_in = &ctx, .ctx_size_in = sizeof(ctx), .repeat = (int)repeat);

	if (p->len > FLT_RUN_MAX_BYTES || p->len < FLT_RUN_MIN_BYTES)
		return -EMSGSIZE;
	memcpy(buf, &meta, sizeof(meta));
	memcpy(buf + SKEP_META_BYTES, p->bytes, p->len);
	if (bpf_prog_test_run_opts(l->fd, &opts) < 0)
		return -errno;
	*ret_verdict = opts.retval;
	if (ret_ns)
		*ret_ns = opts.duration;
	return 0;
}
