/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a filter's instructions where its answer is needed. A call costs more than most filters do: entry,
 * saved registers, and a return that processors with some mitigations always predict wrongly.
 *
 * Every instruction gets a label and jumps are bound to labels. "Return a number" becomes a jump to yes or
 * no, and who would jump to it goes there at once. The copy for frames that end early goes elsewhere, so that
 * what runs lies close together.
 *
 * The verifier follows all bodies in one go and drops what comes out of a body in a state that it has seen,
 * so its work grows with their sum; the caller must not leave it anything to tell the states apart by. An
 * instruction that nothing leads to would be refused, so none is written.
 *
 * Control thread; no state but the list.
 */
#include "capture/filter/merge_body.h"

#include <linux/bpf.h>
#include <string.h>

static bool is_jump(const struct flt_ebpf *i)
{
	uint8_t class = BPF_CLASS(i->code), op = BPF_OP(i->code);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_CALL && op != BPF_EXIT;
}

static bool is_ja(const struct flt_ebpf *i)
{
	return i->code == (BPF_JMP | BPF_JA);
}

static bool is_exit(const struct flt_ebpf *i)
{
	return i->code == (BPF_JMP | BPF_EXIT);
}

/* "w0 = number; exit" */
static bool is_answer(const struct flt_body *b, uint32_t i)
{
	return b->v[i].code == (BPF_ALU | BPF_MOV | BPF_K) && b->v[i].dst == FLT_R0 && i + 1 < b->n &&
	       is_exit(&b->v[i + 1]);
}

static uint32_t answer(const struct flt_body *b, uint32_t i)
{
	return b->v[i].imm != 0 ? b->yes : b->no;
}

static uint32_t jump_target(const struct flt_body *b, uint32_t i)
{
	return (uint32_t)((int32_t)i + 1 + b->v[i].off);
}

/* The label of an instruction, or of where it only leads to. Jumps go forward, so this ends. */
static uint32_t aim(const struct flt_body *b, uint32_t i)
{
	while (is_ja(&b->v[i]))
		i = jump_target(b, i);
	return is_answer(b, i) ? answer(b, i) : b->label + i;
}

/* Nothing is left to write from here on but what nothing leads to. */
static bool is_tail(const struct flt_body *b, uint32_t i, uint32_t to)
{
	while (i < to && (is_answer(b, i) || is_ja(&b->v[i])))
		i += is_answer(b, i) ? 2 : 1;
	return i >= to;
}

/* What becomes of a frame behind a range. */
enum flow { LEFT, RUNS_ON, SAYS_YES };

static enum flow put_range(struct flt_emit *e, const struct flt_body *b, uint32_t from, uint32_t to,
			   bool entered)
{
	bool reached = entered;

	for (uint32_t i = from; i < to; i++) {
		const struct flt_ebpf *p = &b->v[i];

		if (is_answer(b, i) || is_ja(p)) {
			/* Who jumped here goes on at once, so only the instruction before leads here. */
			if (reached && aim(b, i) == b->yes && is_tail(b, i, to))
				return SAYS_YES;
			if (reached)
				flt_emit_ja(e, aim(b, i));
			i += is_answer(b, i);
			reached = false;
			continue;
		}
		flt_emit_here(e, b->label + i);
		reached = true;
		if (is_exit(p)) { /* the answer is in r0 */
			flt_emit_if_imm(e, BPF_JEQ, FLT_R0, 0, b->no);
			flt_emit_ja(e, b->yes);
			reached = false;
		} else if (is_jump(p)) {
			flt_emit_to(e, *p, aim(b, jump_target(b, i)));
		} else {
			flt_emit(e, *p);
		}
	}
	return reached ? RUNS_ON : LEFT;
}

/*
 * Clears the words of the stack that the code writes in parts. What is written in parts may be read in parts,
 * so the verifier would tell states apart by what the filter before left there.
 */
static void put_clear(struct flt_emit *e, const struct flt_code *code)
{
	uint64_t words = 0;

	for (uint32_t i = 0; i < code->n_fast; i++) {
		const struct flt_ebpf *p = &code->v[i];
		uint8_t class = BPF_CLASS(p->code);

		if ((class == BPF_ST || class == BPF_STX) && p->dst == FLT_FP && BPF_SIZE(p->code) != BPF_DW)
			words |= 1ull << ((uint32_t)-p->off + 7) / 8;
	}
	for (int32_t word = 1; word < 64; word++)
		if (words >> word & 1)
			flt_emit_store_imm(e, BPF_DW, word * -8, 0);
}

int32_t flt_body_stack(const struct flt_code *code)
{
	int32_t lowest = 0;

	for (uint32_t i = 0; i < code->n; i++) {
		const struct flt_ebpf *p = &code->v[i];
		uint8_t class = BPF_CLASS(p->code);

		if ((class == BPF_LDX && p->src == FLT_FP) ||
		    ((class == BPF_ST || class == BPF_STX) && p->dst == FLT_FP))
			lowest = SKEP_MIN(lowest, (int32_t)p->off);
		/* An address on the stack: a copy of the frame pointer, then an addition. */
		if (i > 0 && p->code == (BPF_ALU64 | BPF_ADD | BPF_K) && code->v[i - 1].src == FLT_FP)
			lowest = SKEP_MIN(lowest, p->imm);
	}
	return lowest;
}

static uint32_t labels(struct flt_emit *e, uint32_t n)
{
	uint32_t first = flt_emit_label(e);

	for (uint32_t i = 1; i < n; i++)
		(void)flt_emit_label(e);
	return first;
}

void flt_body_put(struct flt_emit *e, struct flt_body *b, const struct flt_code *code, int scratch_fd)
{
	*b = (struct flt_body){ .v = malloc(code->n * sizeof(*b->v)),
				.n = code->n,
				.n_fast = code->n_fast,
				.yes = flt_emit_label(e),
				.no = flt_emit_label(e) };
	if (!b->v) {
		e->failed = true;
		return;
	}
	memcpy(b->v, code->v, code->n * sizeof(*b->v));
	flt_code_link(b->v, b->n, scratch_fd);
	put_clear(e, code);
	b->label = labels(e, b->n);
	if (put_range(e, b, 0, b->n_fast, true) == RUNS_ON)
		flt_emit_ja(e, aim(b, b->n_fast));
	flt_emit_here(e, b->yes);
}

void flt_body_put_rest(struct flt_emit *e, const struct flt_body *b)
{
	if (b->v && put_range(e, b, b->n_fast, b->n, false) == SAYS_YES)
		flt_emit_ja(e, b->yes);
}

void flt_body_done(struct flt_body *b)
{
	free(b->v);
	b->v = NULL;
}
