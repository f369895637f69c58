/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts the jobs of a link together at the level of instructions: a main function that calls one function per
 * different filter and ORs the answers, and those functions, declared global in BTF. Global is what makes it
 * scale: the verifier looks at each once and by itself; as static functions they multiply, and 16 jobs exceed
 * its limit.
 *
 * The program only reads the frame. Its registers: r6 ctx, r7 the mask. Control thread; no state between
 * calls.
 */
#include "capture/filter/classifier.h"

#include "bpf/abi/skep_inner.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MAX_JOBS 64u

/* The main function without the calls; what each call adds. */
#define MAIN_INSNS 96u
#define CALL_INSNS 9u
/* A function that looks inside, at most. */
#define INSIDE_INSNS 64u

/* One function of the program: the filter of one or more jobs. */
struct function {
	const struct flt_code *code;
	uint64_t jobs;
	uint32_t inside; /* kinds */
	uint32_t at;	 /* what the main function calls: the filter itself, or what calls it for each packet */
	uint32_t code_at;
};

struct image {
	struct bpf_insn *v;
	uint32_t n;
	struct function f[MAX_JOBS];
	uint32_t n_f;
	int scratch_fd;
};

static void put(struct image *im, struct bpf_insn insn)
{
	im->v[im->n++] = insn;
}

static void put_mov(struct image *im, uint8_t dst, uint8_t src)
{
	put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = dst, .src_reg = src });
}

static void put_imm32(struct image *im, uint8_t dst, uint32_t imm)
{
	put(im, (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = dst, .imm = (int32_t)imm });
}

static void put_imm64(struct image *im, uint8_t dst, uint8_t kind, uint64_t value)
{
	put(im, (struct bpf_insn){ .code = BPF_LD | BPF_DW | BPF_IMM,
				   .dst_reg = dst,
				   .src_reg = kind,
				   .imm = (int32_t)value });
	put(im, (struct bpf_insn){ .imm = (int32_t)(value >> 32) });
}

static void put_call(struct image *im, int32_t helper)
{
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .imm = helper });
}

/* Looks up the u32 on the stack at FP - 4; r0 is the value or NULL, and NULL jumps skip instructions ahead.
 */
static void put_lookup(struct image *im, int map_fd, int16_t skip)
{
	put_imm64(im, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)map_fd);
	put_mov(im, BPF_REG_2, BPF_REG_10);
	put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 });
	put_call(im, BPF_FUNC_map_lookup_elem);
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .off = skip });
}

/*
 * Without a branch per filter: the verifier would follow both ways of each with different masks, 2^n states.
 * A positive number, negated, has its sign bit set; that bit is multiplied with the jobs' mask. (Arithmetic
 * shift and AND would do as well, but Linux 6.18 follows two ways there too: it takes an AND with a register
 * in [-1, 0] for a branch.)
 */
static void put_calls(struct image *im)
{
	for (uint32_t i = 0; i < im->n_f; i++) {
		put_mov(im, BPF_REG_1, BPF_REG_6);
		/* The distance is set when the functions have their places: until then, the function's
		 * number. */
		put(im, (struct bpf_insn){
				.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = (int32_t)i });
		put(im, (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_X,
					   .dst_reg = BPF_REG_1,
					   .src_reg = BPF_REG_0 });
		put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_NEG, .dst_reg = BPF_REG_1 });
		put(im, (struct bpf_insn){
				.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_1, .imm = 63 });
		put_imm64(im, BPF_REG_2, 0, im->f[i].jobs);
		put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MUL | BPF_X,
					   .dst_reg = BPF_REG_1,
					   .src_reg = BPF_REG_2 });
		put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_OR | BPF_X,
					   .dst_reg = BPF_REG_7,
					   .src_reg = BPF_REG_1 });
	}
}

/* Adds one to the u64 at `offset` of the map's value, whose key is on the stack at FP - 4. */
static void put_count(struct image *im, int map_fd, uint32_t offset)
{
	put_lookup(im, map_fd, 3);
	put(im, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_DW,
				   .dst_reg = BPF_REG_1,
				   .src_reg = BPF_REG_0,
				   .off = (int16_t)offset });
	put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_1, .imm = 1 });
	put(im, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_DW,
				   .dst_reg = BPF_REG_0,
				   .src_reg = BPF_REG_1,
				   .off = (int16_t)offset });
}

static void put_key(struct image *im, uint32_t key)
{
	put(im, (struct bpf_insn){ .code = BPF_ST | BPF_MEM | BPF_W,
				   .dst_reg = BPF_REG_10,
				   .off = -4,
				   .imm = (int32_t)key });
}

static void put_tail_call(struct image *im, int progs_fd, uint32_t index)
{
	put_mov(im, BPF_REG_1, BPF_REG_6);
	put_imm64(im, BPF_REG_2, BPF_PSEUDO_MAP_FD, (uint32_t)progs_fd);
	put_imm32(im, BPF_REG_3, index);
	put_call(im, BPF_FUNC_tail_call);
}

static void put_main(struct image *im, const struct flt_surroundings *s)
{
	uint32_t branch;

	put_mov(im, BPF_REG_6, BPF_REG_1);
	put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_7 });
	put_key(im, s->generation);
	put_count(im, s->generations_fd, offsetof(struct skep_generation, seen));
	put_calls(im);
	branch = im->n;
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_7 });

	put_key(im, 0);
	put_lookup(im, s->scratch_fd, 1);
	put(im, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_DW,
				   .dst_reg = BPF_REG_0,
				   .src_reg = BPF_REG_7,
				   .off = offsetof(struct skep_scratch, jobs) });
	put_tail_call(im, s->progs_fd, SKEP_PROG_REDUCE);
	put_tail_call(im, s->progs_fd, SKEP_PROG_DELIVER);
	/* Nobody to deliver to: never while the prefilter is attached. */
	put_imm32(im, BPF_REG_0, XDP_ABORTED);
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });

	im->v[branch].off = (int16_t)(im->n - branch - 1);
	put(im, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W,
				   .dst_reg = BPF_REG_1,
				   .src_reg = BPF_REG_6,
				   .off = offsetof(struct xdp_md, rx_queue_index) });
	put(im, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_W,
				   .dst_reg = BPF_REG_10,
				   .src_reg = BPF_REG_1,
				   .off = -4 });
	put_count(im, s->counters_fd, s->rejected_offset);
	put_imm32(im, BPF_REG_0, s->rejected_action);
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* Calls the filter where struct skep_inner in r7 says, or, if at is negative, for the frame itself. */
static void put_filter_call(struct image *im, const struct function *f, int16_t at)
{
	static const size_t members[] = { offsetof(struct skep_inner, off), offsetof(struct skep_inner, mac_off),
					  offsetof(struct skep_inner, type) };

	put_mov(im, BPF_REG_1, BPF_REG_6);
	for (uint8_t i = 0; i < 3; i++) {
		if (at < 0)
			put_imm32(im, BPF_REG_2 + i, 0);
		else
			put(im, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_H,
						   .dst_reg = BPF_REG_2 + i,
						   .src_reg = BPF_REG_7,
						   .off = (int16_t)(at + (int16_t)members[i]) });
	}
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL,
				   .src_reg = BPF_PSEUDO_CALL,
				   .imm = (int32_t)f->code_at - (int32_t)im->n - 1 });
}

/*
 * A job that looks inside: the filter's answer for the frame, or else for the first packet inside that the job
 * looks at (flt_inside_wanted()) and that matches.
 */
static void put_inside(struct image *im, const struct function *f)
{
	uint32_t leave[2 * SKEP_MAX_INNER + 2], n = 0;

	put_mov(im, BPF_REG_6, BPF_REG_1);
	put_filter_call(im, f, -1);
	leave[n++] = im->n;
	put(im, (struct bpf_insn){ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0 });
	put_key(im, 0);
	put_imm64(im, BPF_REG_1, BPF_PSEUDO_MAP_FD, (uint32_t)im->scratch_fd);
	put_mov(im, BPF_REG_2, BPF_REG_10);
	put(im, (struct bpf_insn){ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 });
	put_call(im, BPF_FUNC_map_lookup_elem);
	put_mov(im, BPF_REG_7, BPF_REG_0);
	put_imm32(im, BPF_REG_0, 0);
	leave[n++] = im->n;
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_7 });
	for (uint32_t i = 0; i < SKEP_MAX_INNER; i++) {
		int16_t at = (int16_t)(offsetof(struct skep_scratch, inner) + i * sizeof(struct skep_inner));

		put(im, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W,
					   .dst_reg = BPF_REG_1,
					   .src_reg = BPF_REG_7,
					   .off = offsetof(struct skep_scratch, n_inner) });
		leave[n++] = im->n;
		put(im, (struct bpf_insn){
				.code = BPF_JMP32 | BPF_JLE | BPF_K, .dst_reg = BPF_REG_1, .imm = (int32_t)i });
		put(im, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_H,
					   .dst_reg = BPF_REG_1,
					   .src_reg = BPF_REG_7,
					   .off = (int16_t)(at + (int16_t)offsetof(struct skep_inner, kind)) });
		/* 6: the call below and the jump behind it, if what is around the packet is not of our kinds. */
		put(im, (struct bpf_insn){ .code = BPF_JMP32 | BPF_JSET | BPF_K,
					   .dst_reg = BPF_REG_1,
					   .off = 6,
					   .imm = (int32_t)SKEP_INNER_PATH(~f->inside) });
		put_filter_call(im, f, at);
		leave[n++] = im->n;
		put(im, (struct bpf_insn){ .code = BPF_JMP32 | BPF_JNE | BPF_K, .dst_reg = BPF_REG_0 });
		put_imm32(im, BPF_REG_0, 0);
	}
	for (uint32_t i = 0; i < n; i++)
		im->v[leave[i]].off = (int16_t)(im->n - leave[i] - 1);
	put(im, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

static void put_functions(struct image *im)
{
	uint32_t end = im->n;

	for (uint32_t i = 0; i < im->n_f; i++) {
		im->f[i].at = im->f[i].code_at = im->n;
		memcpy(im->v + im->n, im->f[i].code->v, im->f[i].code->n * sizeof(*im->v));
		im->n += im->f[i].code->n;
		if (!im->f[i].inside)
			continue;
		im->f[i].at = im->n;
		put_inside(im, &im->f[i]);
	}
	for (uint32_t at = 0; at < end; at++)
		if (im->v[at].code == (BPF_JMP | BPF_CALL) && im->v[at].src_reg == BPF_PSEUDO_CALL)
			im->v[at].imm = (int32_t)im->f[im->v[at].imm].at - (int32_t)at - 1;
}

/* Jobs with the same instructions become one function. */
static uint32_t group(struct image *im, const struct flt_job *jobs, uint32_t n)
{
	uint32_t insns = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct flt_code *code = jobs[i].code;
		uint32_t k = 0;

		while (k < im->n_f && (im->f[k].code->n != code->n || im->f[k].inside != jobs[i].inside ||
				       memcmp(im->f[k].code->v, code->v, code->n * sizeof(*code->v)) != 0))
			k++;
		if (k == im->n_f) {
			im->f[im->n_f++] = (struct function){ .code = code, .inside = jobs[i].inside };
			insns += code->n + (jobs[i].inside ? INSIDE_INSNS : 0);
		}
		im->f[k].jobs |= 1ull << jobs[i].slot;
	}
	return insns;
}

static void btf_unref(struct btf **btf)
{
	btf__free(*btf);
}

/* One more function for the description. */
static int describe_function(struct btf *btf, struct bpf_func_info *info, uint32_t *n, uint32_t at, int proto,
			     const char *what)
{
	char name[32];
	int id;

	(void)snprintf(name, sizeof(name), *n == 0 ? "%s" : "%s_%u", what, *n - 1);
	id = btf__add_func(btf, name, *n == 0 ? BTF_FUNC_STATIC : BTF_FUNC_GLOBAL, proto);
	if (id < 0)
		return id;
	info[(*n)++] = (struct bpf_func_info){ .insn_off = at, .type_id = (uint32_t)id };
	return 0;
}

/*
 * BTF of `int f(struct xdp_md *ctx)`, and of filters that are told where the packet is: main is static, the others
 * are global; func_info tells where each begins.
 */
static int describe(const struct image *im, struct bpf_func_info *info, uint32_t *ret_n, struct btf **ret)
{
	SKEP_CLEANUP(btf_unref) struct btf *btf = btf__new_empty();
	int i32, ctx, ptr, plain, placed, r;
	uint32_t n = 0;

	if (!btf)
		return -ENOMEM;
	i32 = btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	ctx = btf__add_struct(btf, "xdp_md", 0);
	ptr = btf__add_ptr(btf, ctx);
	plain = btf__add_func_proto(btf, i32);
	if (i32 < 0 || ctx < 0 || ptr < 0 || plain < 0 || btf__add_func_param(btf, "ctx", ptr) < 0)
		return -ENOMEM;
	placed = btf__add_func_proto(btf, i32);
	if (placed < 0 || btf__add_func_param(btf, "ctx", ptr) < 0 || btf__add_func_param(btf, "off", i32) < 0 ||
	    btf__add_func_param(btf, "mac_off", i32) < 0 || btf__add_func_param(btf, "type", i32) < 0)
		return -ENOMEM;
	r = describe_function(btf, info, &n, 0, plain, "classify");
	for (uint32_t i = 0; i < im->n_f && r == 0; i++) {
		const struct function *f = &im->f[i];

		r = describe_function(btf, info, &n, f->code_at, f->inside ? placed : plain, "filter");
		if (r == 0 && f->inside)
			r = describe_function(btf, info, &n, f->at, plain, "inside");
	}
	if (r < 0)
		return r;
	*ret_n = n;
	*ret = TAKE_PTR(btf);
	return 0;
}

static int load(const struct image *im, int *ret_fd, struct skep_err *err)
{
	SKEP_CLEANUP(btf_unref) struct btf *btf = NULL;
	struct bpf_func_info info[2 * MAX_JOBS + 1];
	_skep_close_ int btf_fd = -1;
	char log[4096] = "";
	const void *raw;
	uint32_t size, n_info = 0;
	int r = describe(im, info, &n_info, &btf);
	int fd;

	if (r < 0)
		return skep_err_set(err, r, "no memory to describe the filters to the kernel");
	raw = btf__raw_data(btf, &size);
	btf_fd = raw ? bpf_btf_load(raw, size, NULL) : -1;
	if (btf_fd < 0) {
		r = -errno;
		return skep_err_set(err, r, "the kernel refused the description of the filters: %s",
				    strerror(-r));
	}
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP, .prog_btf_fd = (uint32_t)btf_fd, .func_info = info,
		    .func_info_cnt = n_info, .func_info_rec_size = sizeof(info[0]));
	fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_classify", "Dual BSD/GPL", im->v, im->n, &opts);
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	r = -errno;
	opts.log_buf = log;
	opts.log_size = sizeof(log);
	opts.log_level = 1;
	fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_classify", "Dual BSD/GPL", im->v, im->n, &opts);
	if (fd >= 0)
		close(fd);
	return skep_err_set(err, r, "the kernel refused %u filters in one program: %s: %.300s", im->n_f,
			    strerror(-r), log);
}

int flt_classifier_load(const struct flt_job *jobs, uint32_t n, const struct flt_surroundings *s, int *ret_fd,
			struct skep_err *err)
{
	_skep_free_ struct bpf_insn *insns = NULL;
	struct image im = { .scratch_fd = s->scratch_fd };
	uint32_t body;

	assert(n <= MAX_JOBS);
	body = group(&im, jobs, n);
	insns = calloc((size_t)MAIN_INSNS + (size_t)n * CALL_INSNS + body, sizeof(*insns));
	if (!insns)
		return skep_err_set(err, -ENOMEM, "no memory to link %u filters", n);
	im.v = insns;
	put_main(&im, s);
	put_functions(&im);
	return load(&im, ret_fd, err);
}
