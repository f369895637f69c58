/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts the jobs of a link together at the level of instructions. The main function first asks the merged
 * tables (merge_code.h): they answer for every job whose filter is a combination of protocols, addresses and
 * ports, and tell of the others which may match at all. Only those are asked themselves. Their instructions
 * stand within main (merge_body.h), which is three times as fast as calling them. Long ones, and all if the
 * verifier refuses them in one piece, become functions, declared global in BTF: the verifier looks at each
 * once and by itself; as static functions they multiply, and 16 jobs exceed its limit.
 *
 * The verifier must not know the mask as a number, or it follows each value separately, 2^jobs of them. So
 * masks live in maps, where it does not look: the tables, and the scratch.
 *
 * The program only reads the frame. Its registers: r6 ctx, r7 the mask, r8 jobs to be asked. Control thread;
 * no state between calls.
 */
#include "capture/filter/classifier.h"

#include "bpf/abi/skep_inner.h"
#include "capture/filter/merge_body.h"
#include "capture/filter/merge_code.h"
#include "capture/filter/verifier.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct flt_ebpf) == sizeof(struct bpf_insn), "eBPF layout");

/* Filters for the frame, and filters for what is inside. */
#define MAX_FILTERS (2 * SKEP_MAX_JOBS)
/* They, the slow functions of the tables, and main. */
#define MAX_FUNCTIONS (MAX_FILTERS + FLT_CLASSES + 1)

/* One function of the program: the filter of one or more jobs. */
struct function {
	const struct flt_code *code;
	uint64_t jobs;
	uint32_t inside; /* kinds */
	uint32_t label;
	bool within; /* no function, but a part of main */
	struct flt_body body;
};

/*
 * Filters within main: not the long ones, of which the verifier may remember more states than it allows, and
 * not so many that a jump across them is too far.
 */
#define WITHIN_INSNS 400u
#define WITHIN_SUM 20000u

#define SCRATCH_JOBS ((int32_t)offsetof(struct skep_scratch, jobs))

/*
 * Where on the stack main keeps what filters within it would spoil, in registers and above, and the key of
 * its look-ups. As high as they leave room: the verifier copies the stack with every state. And never in a
 * word that filters use: then what they left there would matter to it.
 */
struct kept {
	int32_t ctx, scratch, ask, key;
};

enum part_kind { PART_MAIN, PART_SLOW, PART_FILTER, PART_FILTER_AT };

struct image {
	struct flt_emit e;
	struct flt_merge_code merge;
	struct function f[MAX_FILTERS];
	uint32_t n_f;
	bool asks, inside; /* some of them are for the frame, for what is inside */
	struct kept kept;
	struct {
		enum part_kind kind;
		uint32_t at;
	} parts[MAX_FUNCTIONS];
	uint32_t n_parts;
};

/* A function begins at an instruction. */
static void add_part(struct image *im, enum part_kind kind, uint32_t at)
{
	im->parts[im->n_parts].kind = kind;
	im->parts[im->n_parts++].at = at;
}

/* Looks up the u32 on the stack at FP + key; r0 is the value; jumps if there is none. */
static void put_lookup(struct flt_emit *e, int map_fd, int32_t key, uint32_t none)
{
	flt_emit_map(e, FLT_R1, map_fd);
	flt_emit_mov(e, FLT_R2, FLT_FP);
	flt_emit_alu_imm(e, BPF_ADD, FLT_R2, key);
	flt_emit_helper(e, BPF_FUNC_map_lookup_elem);
	flt_emit_if_imm(e, BPF_JEQ, FLT_R0, 0, none);
}

/* Adds one to the u64 at `offset` of the map's value, whose key is on the stack at FP + key. */
static void put_count(struct flt_emit *e, int map_fd, int32_t key, uint32_t offset)
{
	uint32_t none = flt_emit_label(e);

	put_lookup(e, map_fd, key, none);
	flt_emit_load(e, BPF_DW, FLT_R1, FLT_R0, (int32_t)offset);
	flt_emit_alu_imm(e, BPF_ADD, FLT_R1, 1);
	flt_emit_store(e, BPF_DW, FLT_R0, (int32_t)offset, FLT_R1);
	flt_emit_here(e, none);
}

static void put_tail_call(struct flt_emit *e, int progs_fd, int32_t index)
{
	flt_emit_mov(e, FLT_R1, FLT_R6);
	flt_emit_map(e, FLT_R2, progs_fd);
	flt_emit_mov_imm(e, FLT_R3, index);
	flt_emit_helper(e, BPF_FUNC_tail_call);
}

static struct kept keep_below(const struct image *im)
{
	int32_t lowest = 0;

	for (uint32_t i = 0; i < im->n_f; i++)
		if (im->f[i].within)
			lowest = SKEP_MIN(lowest, flt_body_stack(im->f[i].code));
	lowest = -(int32_t)skep_align_up((uint64_t)-lowest, 8);
	return (struct kept){
		.key = lowest - 8, .ctx = lowest - 16, .scratch = lowest - 24, .ask = lowest - 32
	};
}

/* Goes on at `next` unless some of the jobs are to be asked. */
static void put_asked(struct flt_emit *e, const struct kept *kept, uint64_t jobs, uint32_t next)
{
	flt_emit_load(e, BPF_DW, FLT_R1, FLT_FP, kept->ask);
	if (jobs <= INT32_MAX) {
		flt_emit_alu_imm(e, BPF_AND, FLT_R1, (int32_t)jobs);
	} else {
		flt_emit_const(e, FLT_R2, jobs);
		flt_emit_alu(e, BPF_AND, FLT_R1, FLT_R2);
	}
	flt_emit_if_imm(e, BPF_JEQ, FLT_R1, 0, next);
}

/* Adds the jobs to those in the scratch. */
static void put_want(struct flt_emit *e, const struct kept *kept, uint64_t jobs)
{
	flt_emit_load(e, BPF_DW, FLT_R1, FLT_FP, kept->scratch);
	flt_emit_load(e, BPF_DW, FLT_R2, FLT_R1, SCRATCH_JOBS);
	flt_emit_const(e, FLT_R3, jobs);
	flt_emit_alu(e, BPF_OR, FLT_R2, FLT_R3);
	flt_emit_store(e, BPF_DW, FLT_R1, SCRATCH_JOBS, FLT_R2);
}

/*
 * Asks each filter whose jobs are among those in r8. The mask, so far in r7, is in the scratch from here, and
 * the jobs of those that say yes are added there; r0 is the scratch.
 */
static void put_calls(struct image *im, int scratch_fd, uint32_t none)
{
	const struct kept *kept = &im->kept;
	struct flt_emit *e = &im->e;

	flt_emit_store(e, BPF_DW, FLT_FP, kept->ctx, FLT_R6);
	flt_emit_store(e, BPF_DW, FLT_FP, kept->ask, FLT_R8);
	flt_emit_store_imm(e, BPF_W, kept->key, 0);
	put_lookup(e, scratch_fd, kept->key, none);
	flt_emit_store(e, BPF_DW, FLT_FP, kept->scratch, FLT_R0);
	flt_emit_store(e, BPF_DW, FLT_R0, SCRATCH_JOBS, FLT_R7);
	for (uint32_t i = 0; i < im->n_f; i++) {
		struct function *f = &im->f[i];
		uint32_t next = flt_emit_label(e);

		if (f->inside)
			continue;
		put_asked(e, kept, f->jobs, next);
		flt_emit_load(e, BPF_DW, FLT_R1, FLT_FP, kept->ctx);
		if (f->within) {
			flt_body_put(e, &f->body, f->code, scratch_fd);
		} else {
			flt_emit_call(e, f->label);
			flt_emit_if_imm(e, BPF_JEQ, FLT_R0, 0, next);
		}
		put_want(e, kept, f->jobs);
		if (f->within)
			flt_emit_here(e, f->body.no);
		flt_emit_here(e, next);
	}
	flt_emit_load(e, BPF_DW, FLT_R6, FLT_FP, kept->ctx);
	flt_emit_load(e, BPF_DW, FLT_R0, FLT_FP, kept->scratch);
}

static int32_t inner_at(int32_t i)
{
	return (int32_t)offsetof(struct skep_scratch, inner) + i * (int32_t)sizeof(struct skep_inner);
}

/* Asks a filter about packet i inside, whose struct skep_inner is in the scratch at r8, if the job looks
 * there. */
static void put_inside_call(struct flt_emit *e, const struct function *f, int32_t i)
{
	static const int32_t members[] = { offsetof(struct skep_inner, off),
					   offsetof(struct skep_inner, mac_off),
					   offsetof(struct skep_inner, type) };
	uint32_t next = flt_emit_label(e);

	/* flt_inside_wanted(): what is around the packet must be of the job's kinds. */
	flt_emit_load(e, BPF_H, FLT_R1, FLT_R8, inner_at(i) + (int32_t)offsetof(struct skep_inner, kind));
	flt_emit_if_imm(e, BPF_JSET, FLT_R1, (int32_t)SKEP_INNER_PATH(~f->inside), next);
	flt_emit_mov(e, FLT_R1, FLT_R6);
	for (uint32_t m = 0; m < ARRAY_LEN(members); m++)
		flt_emit_load(e, BPF_H, (enum flt_reg)(FLT_R2 + m), FLT_R8, inner_at(i) + members[m]);
	flt_emit_mov_imm(e, FLT_R5, (i + 1) * (int32_t)sizeof(struct skep_facts));
	flt_emit_call(e, f->label);
	flt_emit_if_imm(e, BPF_JEQ, FLT_R0, 0, next);
	flt_emit_load(e, BPF_DW, FLT_R1, FLT_R8, SCRATCH_JOBS);
	flt_emit_const(e, FLT_R2, f->jobs);
	flt_emit_alu(e, BPF_OR, FLT_R1, FLT_R2);
	flt_emit_store(e, BPF_DW, FLT_R8, SCRATCH_JOBS, FLT_R1);
	flt_emit_here(e, next);
}

/*
 * Asks the filters for what is inside, if there is anything, and adds to r7 the jobs of those that say yes.
 * Also those whose jobs want the frame already; the mask is in the scratch meanwhile.
 */
static void put_inside_calls(struct image *im, int scratch_fd)
{
	struct flt_emit *e = &im->e;
	uint32_t none = flt_emit_label(e), done = flt_emit_label(e);

	if (im->inside) {
		flt_emit_store_imm(e, BPF_W, im->kept.key, 0);
		put_lookup(e, scratch_fd, im->kept.key, none);
		flt_emit_mov(e, FLT_R8, FLT_R0);
		flt_emit_store(e, BPF_DW, FLT_R8, SCRATCH_JOBS, FLT_R7);
	}
	for (int32_t i = 0; im->inside && i < SKEP_MAX_INNER; i++) {
		flt_emit_load(e, BPF_W, FLT_R1, FLT_R8, offsetof(struct skep_scratch, n_inner));
		flt_emit_if_imm(e, BPF_JLE, FLT_R1, i, done);
		for (uint32_t k = 0; k < im->n_f; k++)
			if (im->f[k].inside)
				put_inside_call(e, &im->f[k], i);
	}
	flt_emit_here(e, done);
	if (im->inside)
		flt_emit_load(e, BPF_DW, FLT_R7, FLT_R8, SCRATCH_JOBS);
	flt_emit_here(e, none);
}

/*
 * Acts on the mask, which is in r7 at the beginning, and in the scratch r0 at label `noted`. It is read from
 * there in any case: the verifier does not know what is in a map.
 */
static void put_verdict(struct image *im, const struct flt_surroundings *s, uint32_t noted, uint32_t none)
{
	struct flt_emit *e = &im->e;
	uint32_t rejected = flt_emit_label(e);
	int32_t key = im->kept.key;

	flt_emit_if_imm(e, BPF_JEQ, FLT_R7, 0, rejected);
	flt_emit_store_imm(e, BPF_W, key, 0);
	put_lookup(e, s->scratch_fd, key, none);
	flt_emit_store(e, BPF_DW, FLT_R0, SCRATCH_JOBS, FLT_R7);
	flt_emit_here(e, noted);
	flt_emit_load(e, BPF_DW, FLT_R7, FLT_R0, SCRATCH_JOBS);
	flt_emit_if_imm(e, BPF_JEQ, FLT_R7, 0, rejected);
	put_tail_call(e, s->progs_fd, SKEP_PROG_REDUCE);
	put_tail_call(e, s->progs_fd, SKEP_PROG_DELIVER);
	/* Nobody to deliver to: never while the prefilter is attached. */
	flt_emit_here(e, none);
	flt_emit_mov_imm(e, FLT_R0, XDP_ABORTED);
	flt_emit_exit(e);

	flt_emit_here(e, rejected);
	flt_emit_load(e, BPF_W, FLT_R1, FLT_R6, offsetof(struct xdp_md, rx_queue_index));
	flt_emit_store(e, BPF_W, FLT_FP, key, FLT_R1);
	put_count(e, s->counters_fd, key, s->rejected_offset);
	flt_emit_mov_imm(e, FLT_R0, (int32_t)s->rejected_action);
	flt_emit_exit(e);
}

static void put_main(struct image *im, const struct flt_surroundings *s)
{
	struct flt_emit *e = &im->e;
	uint32_t ask = flt_emit_label(e), done = flt_emit_label(e), noted = flt_emit_label(e),
		 none = flt_emit_label(e);

	add_part(im, PART_MAIN, 0);
	im->kept = keep_below(im);
	flt_emit_mov(e, FLT_R6, FLT_R1);
	flt_emit_store_imm(e, BPF_W, im->kept.key, (int32_t)s->generation);
	put_count(e, s->generations_fd, im->kept.key, offsetof(struct skep_generation, seen));
	flt_merge_put(e, &im->merge, ask, done);
	if (im->asks) {
		flt_emit_here(e, ask);
		flt_emit_mov(e, FLT_R7, FLT_R8);
		flt_emit_alu(e, BPF_AND, FLT_R8, FLT_R9);
		flt_emit_alu(e, BPF_XOR, FLT_R7, FLT_R8);
		flt_emit_if_imm(e, BPF_JEQ, FLT_R8, 0, done);
		put_calls(im, s->scratch_fd, none);
		if (im->inside)
			flt_emit_load(e, BPF_DW, FLT_R7, FLT_R0, SCRATCH_JOBS);
		else
			flt_emit_ja(e, noted);
	}
	flt_emit_here(e, done);
	put_inside_calls(im, s->scratch_fd);
	put_verdict(im, s, noted, none);
	for (uint32_t i = 0; i < im->n_f; i++)
		flt_body_put_rest(e, &im->f[i].body);
}

static void put_functions(struct image *im, int scratch_fd)
{
	uint32_t at[FLT_CLASSES];

	flt_merge_put_slow(&im->e, &im->merge, at);
	for (uint32_t class = 0; class < FLT_CLASSES; class++)
		if (im->merge.has_slow[class])
			add_part(im, PART_SLOW, at[class]);
	for (uint32_t i = 0; i < im->n_f; i++) {
		const struct function *f = &im->f[i];

		if (f->within)
			continue;
		add_part(im, f->inside ? PART_FILTER_AT : PART_FILTER, im->e.n);
		flt_emit_here(&im->e, f->label);
		flt_emit_copy(&im->e, f->code->v, f->code->n);
		if (!im->e.failed)
			flt_code_link(im->e.v + im->e.n - f->code->n, f->code->n, scratch_fd);
	}
}

/* Of the jobs, n are filters for the frame; behind them are those for what is inside, n_all in all. */
struct sources {
	const struct flt_job *jobs;
	const struct flt_merge_job *merged;
	uint32_t n, n_all;
	const struct flt_tables *tables;
	int tables_fd;
};

/* Jobs with the same instructions become one function; jobs that the tables answer for need none. */
static void group(struct image *im, const struct sources *from, bool may_within)
{
	const struct flt_job *jobs = from->jobs;
	uint32_t within = 0;

	for (uint32_t i = 0; i < from->n_all; i++) {
		const struct flt_code *code = jobs[i].code;
		uint32_t k = 0;

		if (from->merged[i].terms && flt_terms_exact(from->merged[i].terms))
			continue;
		while (k < im->n_f && (im->f[k].code->n != code->n || im->f[k].inside != jobs[i].inside ||
				       memcmp(im->f[k].code->v, code->v, code->n * sizeof(*code->v)) != 0))
			k++;
		if (k == im->n_f) {
			bool fits = may_within && !jobs[i].inside && code->n <= WITHIN_INSNS &&
				    within + code->n <= WITHIN_SUM;

			within += fits ? code->n : 0;
			im->f[im->n_f++] = (struct function){
				.code = code,
				.inside = jobs[i].inside,
				.label = flt_emit_label(&im->e),
				.within = fits,
			};
		}
		im->f[k].jobs |= 1ull << jobs[i].slot;
		im->asks |= !jobs[i].inside;
		im->inside |= jobs[i].inside != 0;
	}
}

static void btf_unref(struct btf **btf)
{
	btf__free(*btf);
}

/*
 * BTF of `u64 f(struct xdp_md *ctx)`, and of filters that are told where the packet is: main is static, the
 * others are global; func_info tells where each begins.
 */
static int describe(const struct image *im, struct bpf_func_info *info, struct btf **ret)
{
	static const char *const names[] = { "classify", "slow", "filter", "inside" };
	static const char *const params[] = { "off", "mac_off", "type", "facts" };
	SKEP_CLEANUP(btf_unref) struct btf *btf = btf__new_empty();
	int u64, u32, ptr, plain, placed, id;
	char name[32];

	if (!btf)
		return -ENOMEM;
	u64 = btf__add_int(btf, "u64", 8, 0);
	u32 = btf__add_int(btf, "u32", 4, 0);
	ptr = btf__add_ptr(btf, btf__add_struct(btf, "xdp_md", 0));
	plain = btf__add_func_proto(btf, u64);
	if (u64 < 0 || u32 < 0 || ptr < 0 || plain < 0 || btf__add_func_param(btf, "ctx", ptr) < 0)
		return -ENOMEM;
	placed = btf__add_func_proto(btf, u64);
	if (placed < 0 || btf__add_func_param(btf, "ctx", ptr) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_LEN(params); i++)
		if (btf__add_func_param(btf, params[i], u32) < 0)
			return -ENOMEM;
	for (uint32_t i = 0; i < im->n_parts; i++) {
		enum part_kind kind = im->parts[i].kind;

		(void)snprintf(name, sizeof(name), "%s_%u", names[kind], i);
		id = btf__add_func(btf, name, kind == PART_MAIN ? BTF_FUNC_STATIC : BTF_FUNC_GLOBAL,
				   kind == PART_FILTER_AT ? placed : plain);
		if (id < 0)
			return id;
		info[i] = (struct bpf_func_info){ .insn_off = im->parts[i].at, .type_id = (uint32_t)id };
	}
	*ret = TAKE_PTR(btf);
	return 0;
}

static int load(const struct image *im, int *ret_fd, struct skep_err *err)
{
	const struct bpf_insn *insns = (const struct bpf_insn *)(const void *)im->e.v;
	SKEP_CLEANUP(btf_unref) struct btf *btf = NULL;
	struct bpf_func_info info[MAX_FUNCTIONS];
	_skep_close_ int btf_fd = -1;
	_skep_free_ char *log = NULL;
	char words[256] = "";
	const void *raw;
	uint32_t size;
	int r = describe(im, info, &btf);
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
	/* The attach type as the prefilter has it: a map of programs takes only such that are alike. */
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = BPF_F_XDP_HAS_FRAGS,
		    .expected_attach_type = BPF_XDP, .prog_btf_fd = (uint32_t)btf_fd, .func_info = info,
		    .func_info_cnt = im->n_parts, .func_info_rec_size = sizeof(info[0]));
	fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_classify", "Dual BSD/GPL", insns, im->e.n, &opts);
	if (fd >= 0) {
		*ret_fd = fd;
		return 0;
	}
	r = -errno;
	if (r == -E2BIG) {
		(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
				   "the filters of all jobs together are too complex for the kernel");
		(void)skep_err_hint(err,
				    "Run them on two links, or leave out protochain and long arithmetic");
		return SKEP_E_UNSUPPORTED;
	}
	log = calloc(1, FLT_VERIFIER_LOG_BYTES);
	opts.log_buf = log;
	opts.log_size = FLT_VERIFIER_LOG_BYTES;
	opts.log_level = 1;
	fd = log ? bpf_prog_load(BPF_PROG_TYPE_XDP, "skep_classify", "Dual BSD/GPL", insns, im->e.n, &opts)
		 : -1;
	if (fd >= 0)
		close(fd);
	if (log)
		flt_verifier_words(log, words, sizeof(words));
	return skep_err_set(err, r, "the kernel refused %u filters in one program: %s (%s)", im->n_f,
			    strerror(-r), words);
}

/* The tables in a map: the program reads them as memory, without a call. */
static int upload(const struct flt_tables *t, int *ret_fd, struct skep_err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_RDONLY_PROG);
	_skep_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "skep_classify", 4, t->size, 1, &opts);
	uint32_t zero = 0;
	int r;

	if (fd < 0 || bpf_map_update_elem(fd, &zero, t->bytes, BPF_ANY) < 0) {
		r = -errno;
		return skep_err_set(err, r, "the kernel refused the look-up tables of the filters: %s",
				    strerror(-r));
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A job whose lists make the tables too large is asked itself, like one that is not understood. */
static int build_tables(struct flt_merge_job *jobs, uint32_t n, struct flt_tables *ret, struct skep_err *err)
{
	for (uint32_t i = 0; i <= n; i++) {
		uint32_t largest = 0;
		int r = flt_tables_build(jobs, n, ret, &largest);

		if (r == 0)
			return 0;
		if (r != -E2BIG)
			break;
		jobs[largest].terms = NULL;
	}
	return skep_err_set(err, -ENOMEM, "no memory for the look-up tables of %u filters", n);
}

static void image_done(struct image *im)
{
	for (uint32_t i = 0; i < im->n_f; i++)
		flt_body_done(&im->f[i].body);
	flt_emit_done(&im->e);
}

static int link_and_load(const struct sources *from, const struct flt_surroundings *s, bool may_within,
			 int *ret_fd, struct skep_err *err)
{
	SKEP_CLEANUP(image_done)
	struct image im = { .merge = { .tables = from->tables, .tables_fd = from->tables_fd } };
	int r;

	group(&im, from, may_within);
	put_main(&im, s);
	put_functions(&im, s->scratch_fd);
	r = flt_emit_finish(&im.e);
	if (r)
		return skep_err_set(err, r, "cannot link %u filters: %s", from->n, strerror(-r));
	return load(&im, ret_fd, err);
}

static int load_all(struct sources *from, const struct flt_surroundings *s, int *ret_fd, struct skep_err *err)
{
	SKEP_CLEANUP(flt_tables_done) struct flt_tables tables = { 0 };
	struct flt_merge_job merged[MAX_FILTERS] = { 0 };
	_skep_close_ int tables_fd = -1;
	int r;

	for (uint32_t i = 0; i < from->n; i++)
		merged[i] = (struct flt_merge_job){ .bit = 1ull << from->jobs[i].slot,
						    .terms = from->jobs[i].code->terms };
	r = build_tables(merged, from->n, &tables, err);
	if (r == 0)
		r = upload(&tables, &tables_fd, err);
	if (r)
		return r;
	from->merged = merged;
	from->tables = &tables;
	from->tables_fd = tables_fd;
	r = link_and_load(from, s, true, ret_fd, err);
	/* What is too much for the verifier in one piece may not be in many. */
	return r && r != -EPERM && r != -ENOMEM ? link_and_load(from, s, false, ret_fd, err) : r;
}

int flt_classifier_load(const struct flt_job *jobs, uint32_t n, const struct flt_surroundings *s, int *ret_fd,
			struct skep_err *err)
{
	struct flt_job all[MAX_FILTERS];
	uint32_t n_all = n;

	assert(n <= SKEP_MAX_JOBS);
	for (uint32_t i = 0; i < n; i++) {
		assert(!jobs[i].inside == !jobs[i].inside_code);
		all[i] = (struct flt_job){ .slot = jobs[i].slot, .code = jobs[i].code };
		if (jobs[i].inside)
			all[n_all++] = (struct flt_job){ .slot = jobs[i].slot,
							 .code = jobs[i].inside_code,
							 .inside = jobs[i].inside };
	}
	return load_all(&(struct sources){ .jobs = all, .n = n, .n_all = n_all }, s, ret_fd, err);
}
