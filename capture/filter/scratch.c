/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where classic BPF meets the look stage. libpcap compiles `ether[N:4]` to a load with a constant offset, if
 * need be after some folding here; N is far beyond every frame, so a program that some other interpreter runs
 * sees no match and not a wrong byte. No state; any thread.
 */
#include "capture/filter/scratch.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/look.h"

#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static bool is_abs(const struct flt_cbpf *p)
{
	return BPF_CLASS(p->code) == BPF_LD && BPF_MODE(p->code) == BPF_ABS;
}

static uint32_t load_bytes(const struct flt_cbpf *p)
{
	return BPF_SIZE(p->code) == BPF_W ? 4 : BPF_SIZE(p->code) == BPF_H ? 2 : 1;
}

static bool in_range(const struct flt_cbpf *p, uint32_t base)
{
	return is_abs(p) && p->k >= base && p->k - base <= sizeof(struct skep_scratch) - load_bytes(p) &&
	       (p->k - base) % load_bytes(p) == 0;
}

bool flt_scratch_is_load(const struct flt_cbpf *p)
{
	return in_range(p, FLT_SCRATCH_BASE);
}

/* Constants in front of an instruction, whichever way led there. */
struct constants {
	bool reached, has_a, has_x;
	uint16_t has_m; /* a bit per M[] */
	uint32_t a, x, m[BPF_MEMWORDS];
};

static void meet(struct constants *into, const struct constants *from)
{
	if (!into->reached) {
		*into = *from;
		into->reached = true;
		return;
	}
	into->has_a = into->has_a && from->has_a && into->a == from->a;
	into->has_x = into->has_x && from->has_x && into->x == from->x;
	into->has_m &= from->has_m;
	for (uint32_t i = 0; i < BPF_MEMWORDS; i++)
		if (into->m[i] != from->m[i])
			into->has_m &= (uint16_t) ~(1u << i);
}

static void step(const struct flt_cbpf *p, struct constants *c)
{
	bool in_m = p->k < BPF_MEMWORDS && c->has_m >> p->k & 1;

	switch (BPF_CLASS(p->code)) {
	case BPF_LD:
		c->has_a = BPF_MODE(p->code) == BPF_IMM || (BPF_MODE(p->code) == BPF_MEM && in_m);
		c->a = BPF_MODE(p->code) == BPF_IMM ? p->k : c->has_a ? c->m[p->k] : 0;
		return;
	case BPF_LDX:
		c->has_x = BPF_MODE(p->code) == BPF_IMM || (BPF_MODE(p->code) == BPF_MEM && in_m);
		c->x = BPF_MODE(p->code) == BPF_IMM ? p->k : c->has_x ? c->m[p->k] : 0;
		return;
	case BPF_ST:
	case BPF_STX: {
		bool known = BPF_CLASS(p->code) == BPF_ST ? c->has_a : c->has_x;

		if (p->k >= BPF_MEMWORDS)
			return;
		c->m[p->k] = BPF_CLASS(p->code) == BPF_ST ? c->a : c->x;
		c->has_m = (uint16_t)((c->has_m & ~(1u << p->k)) | (known ? 1u << p->k : 0));
		return;
	}
	case BPF_ALU:
		c->has_a = false;
		return;
	case BPF_MISC:
		if (BPF_MISCOP(p->code) == BPF_TAX) {
			c->has_x = c->has_a;
			c->x = c->a;
		} else {
			c->has_a = c->has_x;
			c->a = c->x;
		}
		return;
	default:
		return;
	}
}

static uint32_t successors(const struct flt_cbpf *v, uint32_t i, uint32_t to[2])
{
	if (BPF_CLASS(v[i].code) == BPF_RET)
		return 0;
	if (v[i].code == (BPF_JMP | BPF_JA)) {
		to[0] = i + 1 + v[i].k;
		return 1;
	}
	to[0] = i + 1;
	if (BPF_CLASS(v[i].code) != BPF_JMP)
		return 1;
	to[0] = i + 1 + v[i].jt;
	to[1] = i + 1 + v[i].jf;
	return 2;
}

int flt_scratch_fold(struct flt_cbpf *v, uint32_t n)
{
	struct constants *at = calloc(n, sizeof(*at));
	uint32_t to[2];

	if (!at)
		return -ENOMEM;
	if (n > 0)
		at[0].reached = true;
	/* The top of a loop is also reached from below, with anything: nothing is constant there. */
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = successors(v, i, to); k > 0; k--)
			if (to[k - 1] <= i)
				at[to[k - 1]].reached = true;
	for (uint32_t i = 0; i < n; i++) {
		struct constants c = at[i];

		if (!c.reached)
			continue;
		if (BPF_CLASS(v[i].code) == BPF_LD && BPF_MODE(v[i].code) == BPF_IND && c.has_x &&
		    v[i].k <= UINT32_MAX - c.x) {
			v[i].code = (uint16_t)(BPF_LD | BPF_ABS | BPF_SIZE(v[i].code));
			v[i].k += c.x;
		}
		step(&v[i], &c);
		for (uint32_t k = successors(v, i, to); k > 0; k--)
			if (to[k - 1] > i && to[k - 1] < n)
				meet(&at[to[k - 1]], &c);
	}
	free(at);
	return 0;
}

bool flt_scratch_settle(struct flt_cbpf *v, uint32_t n, uint32_t base, const struct flt_cbpf *twin,
			uint32_t twin_base)
{
	for (uint32_t i = 0; i < n; i++) {
		struct flt_cbpf *p = &v[i];
		bool ours = base && in_range(p, base), imm = p->code == (BPF_LD | BPF_IMM);

		imm |= p->code ==
		       (BPF_LDX | BPF_IMM); /* folding leaves the indices behind: nobody reads them */
		if (twin && memcmp(p, &twin[i], sizeof(*p)) == 0) {
			ours = false;
		} else if (twin) {
			if (p->code != twin[i].code || p->jt != twin[i].jt || p->jf != twin[i].jf ||
			    twin[i].k - p->k != twin_base - base || !(ours || imm))
				return false;
		}
		if (ours)
			p->k = p->k - base + FLT_SCRATCH_BASE;
		else if (is_abs(p) && (p->k > INT32_MAX || in_range(p, FLT_SCRATCH_BASE)))
			/* With the top bit set an offset means a Linux socket's extension to others. */
			p->k = FLT_SCRATCH_NEVER;
	}
	return true;
}

static const struct field {
	uint32_t offset;
	uint32_t needs;
	const char *name;
} fields[] = {
	{ offsetof(struct skep_scratch, facts[0].marks), FLT_NEEDS_MARKS, "scratch.marks" },
	{ offsetof(struct skep_scratch, facts[0].src_lists), FLT_NEEDS_LISTS, "scratch.src_lists" },
	{ offsetof(struct skep_scratch, facts[0].dst_lists), FLT_NEEDS_LISTS, "scratch.dst_lists" },
};

static const struct field *find_field(uint32_t offset)
{
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (offset >= fields[i].offset && offset < fields[i].offset + 4)
			return &fields[i];
	return NULL;
}

uint32_t flt_scratch_needs(const struct flt_cbpf *v, uint32_t n)
{
	uint32_t needs = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct field *f =
			flt_scratch_is_load(&v[i]) ? find_field(v[i].k - FLT_SCRATCH_BASE) : NULL;

		needs |= f ? f->needs : 0;
	}
	return needs;
}

const char *flt_scratch_name(uint32_t offset)
{
	const struct field *f = find_field(offset);

	return f ? f->name : "scratch";
}
