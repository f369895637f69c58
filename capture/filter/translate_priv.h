/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_TRANSLATE_PRIV_H
#define FLT_TRANSLATE_PRIV_H
/*
 * What the files of the translation share: its state, the registers and the stack of the programs it makes,
 * and how an instruction is appended. For translate.c, translate_load.c and translate_plan.c only.
 */
#include "capture/filter/translate.h"

#include "bpf/abi/skep_inner.h"
#include "capture/filter/limits.h"
#include "capture/filter/merge_terms.h"
#include "capture/filter/scratch.h"

#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

enum reg { R0, R1, R2, R3, R4, IND, DATA, END, A, X, FP };
/* Fast copy of a program for packets inside: the MAC addresses. */
#define MAC R1

#define STACK_CTX (-8)
#define STACK_BUF (-16)
#define STACK_LEN (-24)
/* The arguments of a program for packets inside. */
#define STACK_OFF (-20)
#define STACK_MAC (-28)
#define STACK_TYPE (-32)
#define STACK_M(i) (-96 + 4 * (int)(i))
#define STACK_SCRATCH (-104) /* struct skep_scratch *, so that facts[0] are those of the packet at hand */
#define STACK_FACTS (-108)   /* an argument: bytes from facts[0] to them */
/* At most, for the verifier: four packets inside, 12 bytes each. */
#define FACTS_MASK 0x3f
_Static_assert(SKEP_MAX_INNER * sizeof(struct skep_facts) <= FACTS_MASK &&
		       offsetof(struct skep_scratch, facts[1]) + FACTS_MASK <= sizeof(struct skep_scratch),
	       "in bounds");

/* No way from here needs packet bytes and accepts: a guard may ask for anything. */
#define NEED_ANY UINT32_MAX
/* The largest offset of a load through a pointer (16-bit signed in the instruction), and so of a guard. */
#define OFFSET_MAX 32767u
/* No packet inside is further in the frame: what is behind SKEP_INNER_REACH is not looked at. A mask bounds
 * it again when it comes from the stack, where the verifier does not follow it. */
#define PLACE_MAX (2 * SKEP_INNER_REACH)
#define PLACE_MASK (2 * PLACE_MAX - 1)
_Static_assert((PLACE_MAX & (PLACE_MAX - 1)) == 0, "a mask");
/* An Ethernet header: where the MAC addresses and the ether type end. */
#define MACS_END 12u
#define TYPE_END 14u
/* A guard also asks for what only some ways need if it is this near: the next field of the same header. */
#define NEAR_BYTES 8u

enum label_kind { LABEL_FAST, LABEL_SLOW, LABEL_REJECT };

struct fixup {
	uint32_t at; /* eBPF instruction */
	enum label_kind kind;
	uint32_t to; /* cBPF instruction */
};

/* What is known in front of an instruction of the fast copy, whichever way led there. */
struct known {
	bool reached;
	uint32_t abs; /* bytes from data that a guard has shown */
	uint32_t ind; /* bytes from IND; 0: IND is not data + X */
	uint32_t a_max, x_max;
};

struct ctx {
	const struct flt_cbpf *in;
	uint32_t n;
	enum flt_length length;
	bool inside;		       /* the packet is where the arguments say */
	bool uses_len, uses_packet, uses_macs, uses_scratch;
	uint16_t zero_m;	       /* M[] slots that must start as zero */
	uint32_t *need_abs, *need_ind; /* per instruction: what a guard in front of it should ask for */
	struct known *known;
	bool *slow; /* per instruction: the slow copy is reached here */
	uint32_t *fast_at, *slow_at;
	struct flt_ebpf *out;
	uint32_t n_out, cap_out;
	struct fixup *fix;
	uint32_t n_fix, cap_fix;
	bool failed; /* out of memory */
};

static inline void emit(struct ctx *c, uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm)
{
	if (c->n_out == c->cap_out) {
		uint32_t cap = c->cap_out ? c->cap_out * 2 : 256;
		struct flt_ebpf *p = realloc(c->out, cap * sizeof(*p));

		if (!p) {
			c->failed = true;
			return;
		}
		c->out = p;
		c->cap_out = cap;
	}
	c->out[c->n_out++] =
		(struct flt_ebpf){ .code = code, .dst = dst, .src = src, .off = off, .imm = imm };
}

/* The jump that is emitted next goes to a label. */
static inline void aim(struct ctx *c, enum label_kind kind, uint32_t to)
{
	if (c->n_fix == c->cap_fix) {
		uint32_t cap = c->cap_fix ? c->cap_fix * 2 : 128;
		struct fixup *p = realloc(c->fix, cap * sizeof(*p));

		if (!p) {
			c->failed = true;
			return;
		}
		c->fix = p;
		c->cap_fix = cap;
	}
	c->fix[c->n_fix++] = (struct fixup){ .at = c->n_out, .kind = kind, .to = to };
	if (kind == LABEL_SLOW)
		c->slow[to] = true;
}

static inline void jump(struct ctx *c, enum label_kind kind, uint32_t to)
{
	aim(c, kind, to);
	emit(c, BPF_JMP | BPF_JA, 0, 0, 0, 0);
}

static inline void mov64(struct ctx *c, uint8_t dst, uint8_t src)
{
	emit(c, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static inline void mov32_imm(struct ctx *c, uint8_t dst, uint32_t imm)
{
	emit(c, BPF_ALU | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)imm);
}

static inline uint32_t load_bytes(const struct flt_cbpf *p)
{
	return BPF_SIZE(p->code) == BPF_W ? 4 : BPF_SIZE(p->code) == BPF_H ? 2 : 1;
}

static inline bool is_abs(const struct flt_cbpf *p)
{
	return (BPF_CLASS(p->code) == BPF_LD && BPF_MODE(p->code) == BPF_ABS && !flt_scratch_is_load(p)) ||
	       p->code == (BPF_LDX | BPF_B | BPF_MSH);
}

static inline bool is_ind(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_LD && BPF_MODE(p->code) == BPF_IND;
}

static inline bool writes_x(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_LDX || p->code == (BPF_MISC | BPF_TAX);
}

static inline bool is_jump(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_JMP;
}

static inline bool reads_macs(const struct flt_cbpf *p)
{
	return is_abs(p) && p->k < MACS_END && p->k + load_bytes(p) <= MACS_END;
}

static inline bool reads_type(const struct flt_cbpf *p)
{
	return p->code == (BPF_LD | BPF_H | BPF_ABS) && p->k == MACS_END;
}

/* Offsets with the top bit set are beyond every frame for libpcap. */
static inline bool never_there(const struct flt_cbpf *p)
{
	return (is_abs(p) || is_ind(p)) && p->k > INT32_MAX;
}

static inline bool divides_by_zero(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_ALU && (BPF_OP(p->code) == BPF_DIV || BPF_OP(p->code) == BPF_MOD) &&
	       BPF_SRC(p->code) == BPF_K && p->k == 0;
}

/* Successors; 0, 1 or 2 of them. */
static inline int successors(const struct ctx *c, uint32_t i, uint32_t to[2])
{
	const struct flt_cbpf *p = &c->in[i];

	if (BPF_CLASS(p->code) == BPF_RET || never_there(p) || divides_by_zero(p))
		return 0;
	if (p->code == (BPF_JMP | BPF_JA)) {
		to[0] = i + 1 + p->k; /* wraps to a small number where libpcap jumps back */
		return 1;
	}
	to[0] = i + 1;
	if (!is_jump(p))
		return 1;
	to[0] = i + 1 + p->jt;
	to[1] = i + 1 + p->jf;
	return to[0] == to[1] ? 1 : 2;
}

/* translate_plan.c: can the program be translated, and what does it use? */
int flt_translate_check(struct ctx *c, struct skep_err *err);
/* What guards should ask for; far_abs and far_ind are for its own use, one entry for each instruction. */
void flt_translate_plan(struct ctx *c, uint32_t *far_abs, uint32_t *far_ind);
/* Upper bounds of A and X behind an instruction; the verifier knows at least as much on each single path. */
void flt_translate_learn(const struct flt_cbpf *p, struct known *k);
/* What is known where two ways meet. */
void flt_translate_meet(struct known *into, const struct known *from);

/* translate_load.c: the beginning of the program; reads what it is given, sets up registers and stack. */
void flt_translate_entry(struct ctx *c);
/* Loads of the slow copy: through the helper, which knows all buffers of a frame and where it ends. */
void flt_translate_slow_load(struct ctx *c, const struct flt_cbpf *p);
/* Loads of the fast copy. False: the load is never possible there, and the code has gone elsewhere. */
bool flt_translate_fast_load(struct ctx *c, uint32_t i, struct known *k);

#endif
