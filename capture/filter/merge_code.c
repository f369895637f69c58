/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One parse of the frame for all jobs: EtherType, then a block of instructions per class of frames that turns
 * each field that matters into a row of masks and ANDs the rows.
 *
 * The fast block reads through pointers and is for frames whose headers lie in the first buffer. All others
 * (cut short, options that lead beyond the end, headers in a second buffer) go to the slow function of their
 * class: it fetches field by field with bpf_xdp_load_bytes(), and a field that is not in the frame has a row
 * of its own, so the meaning is the same as libpcap's, which fails at exactly that load. Only as many
 * look-ups are written as the jobs of the moment need.
 *
 * What the verifier must not know: any mask as a number (it would follow each value separately). So they all
 * come from the tables, also those that are constant.
 *
 * Registers: r6 context, r8 frame and r9 its end, then result; r1 and r2 while looking up. Control thread.
 */
#include "capture/filter/merge_code.h"

#include <arpa/inet.h>
#include <linux/bpf.h>
#include <stddef.h>

#define BUF (-16)
#define SLOT(i) (-24 - 8 * (int)(i))

#define IP4_HEADER_END 34
#define IP6_HEADER_END 54
#define ARP_END 42

static const enum flt_reg row_regs[] = { FLT_R3, FLT_R4, FLT_R5, FLT_R7, FLT_R9, FLT_R0 };

struct field_place {
	int32_t off; /* in the frame; ports of IPv4: behind the header's length */
	uint8_t bytes;
};

static struct field_place place(enum flt_class class, enum flt_dim dim)
{
	switch (dim) {
	case FLT_DIM_TYPE:
		return (struct field_place){ 12, 2 };
	case FLT_DIM_PROTO:
		return (struct field_place){ class == FLT_CLASS_IP4 ? 23 : 20, 1 };
	case FLT_DIM_FRAG:
		return (struct field_place){ 20, 2 };
	case FLT_DIM_INNER:
		return (struct field_place){ 54, 1 };
	case FLT_DIM_SRC:
		return class == FLT_CLASS_IP6 ? (struct field_place){ 22, 16 }
					      : (struct field_place){ class == FLT_CLASS_IP4 ? 26 : 28, 4 };
	case FLT_DIM_DST:
		return class == FLT_CLASS_IP6 ? (struct field_place){ 38, 16 }
					      : (struct field_place){ class == FLT_CLASS_IP4 ? 30 : 38, 4 };
	default:
		return (struct field_place){
			(class == FLT_CLASS_IP4 ? 14 : 54) + (dim == FLT_DIM_DPORT ? 2 : 0), 2
		};
	}
}

static bool uses(const struct flt_class_tables *c, enum flt_dim dim)
{
	return c->columns[dim].used;
}

static bool uses_ports(const struct flt_class_tables *c)
{
	return uses(c, FLT_DIM_SPORT) || uses(c, FLT_DIM_DPORT);
}

/* --- Look-ups */

/* r1 = table[r1], for a table of u16 at an offset of the tables. Spoils r2. */
static void put_index(struct flt_emit *e, const struct flt_merge_code *m, uint32_t at)
{
	flt_emit_alu_imm(e, BPF_LSH, FLT_R1, 1);
	flt_emit_map_value(e, FLT_R2, m->tables_fd, at);
	flt_emit_alu(e, BPF_ADD, FLT_R2, FLT_R1);
	flt_emit_load(e, BPF_H, FLT_R1, FLT_R2, 0);
}

/* r1 = the id of the address whose bytes are at base + off. */
static void put_address(struct flt_emit *e, const struct flt_merge_code *m, const struct flt_space_table *s,
			enum flt_reg base, int32_t off)
{
	uint32_t leaf = flt_emit_label(e);

	flt_emit_load(e, BPF_H, FLT_R1, base, off);
	put_index(e, m, s->at);
	for (uint32_t i = 0; i < s->depth; i++) {
		flt_emit_if_imm(e, BPF_JLT, FLT_R1, FLT_TABLE_NODE, leaf);
		flt_emit_alu_imm(e, BPF_AND, FLT_R1, (int32_t)s->node_mask);
		flt_emit_alu_imm(e, BPF_LSH, FLT_R1, 8);
		flt_emit_load(e, BPF_B, FLT_R2, base, off + 2 + (int32_t)i);
		/* Not OR, which would be the same: Linux 6.1 forgets the bounds of two registers after it. */
		flt_emit_alu(e, BPF_ADD, FLT_R1, FLT_R2);
		put_index(e, m, s->nodes_at);
	}
	flt_emit_here(e, leaf);
}

/* r1 = the id of the field at base + off. */
static void put_id(struct flt_emit *e, const struct flt_merge_code *m, enum flt_space space,
		   enum flt_reg base, int32_t off)
{
	const struct flt_space_table *s = &m->tables->spaces[space];

	switch (space) {
	case FLT_SPACE_ADDR4:
	case FLT_SPACE_ADDR6:
		put_address(e, m, s, base, off);
		return;
	case FLT_SPACE_FRAG:
		flt_emit_load(e, BPF_H, FLT_R1, base, off);
		flt_emit_alu_imm(e, BPF_AND, FLT_R1, htons(0x1fff));
		/* 0 stays 0, anything else becomes 1 */
		flt_emit_alu_imm(e, BPF_NEG, FLT_R1, 0);
		flt_emit_alu_imm(e, BPF_RSH, FLT_R1, 63);
		return;
	default:
		flt_emit_load(e, space == FLT_SPACE_PROTO ? BPF_B : BPF_H, FLT_R1, base, off);
		put_index(e, m, s->at);
	}
}

/* row = address of the row for the id in r1. */
static void put_row(struct flt_emit *e, const struct flt_merge_code *m, enum flt_class class,
		    enum flt_dim dim, enum flt_reg row)
{
	const struct flt_class_tables *c = &m->tables->classes[class];

	flt_emit_alu_imm(e, BPF_AND, FLT_R1,
			 (int32_t)m->tables->spaces[flt_tables_space(class, dim)].id_mask);
	flt_emit_alu_imm(e, BPF_LSH, FLT_R1, (int32_t)c->shift);
	flt_emit_map_value(e, row, m->tables_fd, c->columns[dim].at);
	flt_emit_alu(e, BPF_ADD, row, FLT_R1);
}

/* r8 = the jobs with a term that is in every one of n rows. */
static void put_and(struct flt_emit *e, const struct flt_class_tables *c, uint32_t n)
{
	for (uint32_t k = 0; k < c->terms; k++) {
		enum flt_reg into = k == 0 ? FLT_R8 : FLT_R1;

		flt_emit_load(e, BPF_DW, into, row_regs[0], (int32_t)k * 8);
		for (uint32_t i = 1; i < n; i++) {
			flt_emit_load(e, BPF_DW, FLT_R2, row_regs[i], (int32_t)k * 8);
			flt_emit_alu(e, BPF_AND, into, FLT_R2);
		}
		if (k > 0)
			flt_emit_alu(e, BPF_OR, FLT_R8, FLT_R1);
	}
}

/* r8 = the jobs of a class in which no field matters. */
static void put_always(struct flt_emit *e, const struct flt_merge_code *m, const struct flt_class_tables *c)
{
	flt_emit_map_value(e, row_regs[0], m->tables_fd, c->always_at);
	put_and(e, c, 1);
}

static uint32_t n_columns(const struct flt_class_tables *c)
{
	uint32_t n = 0;

	for (int d = 0; d < FLT_DIMS; d++)
		n += c->columns[d].used;
	return n;
}

/* --- Fast blocks */

/* How far the fast block reads at fixed offsets. */
static int32_t fixed_end(const struct flt_class_tables *c, enum flt_class class)
{
	if (class == FLT_CLASS_IP4)
		return IP4_HEADER_END;
	if (class == FLT_CLASS_ARP)
		return uses(c, FLT_DIM_SRC) || uses(c, FLT_DIM_DST) ? ARP_END : 14;
	if (class == FLT_CLASS_IP6)
		return IP6_HEADER_END + (uses_ports(c) ? 4 : uses(c, FLT_DIM_INNER) ? 1 : 0);
	return 14;
}

static void put_guard(struct flt_emit *e, enum flt_reg from, int32_t bytes, uint32_t slow)
{
	flt_emit_mov(e, FLT_R1, from);
	flt_emit_alu_imm(e, BPF_ADD, FLT_R1, bytes);
	flt_emit_if(e, BPF_JGT, FLT_R1, FLT_R9, slow);
}

static void put_fast(struct flt_emit *e, const struct flt_merge_code *m, enum flt_class class, uint32_t slow)
{
	const struct flt_class_tables *c = &m->tables->classes[class];
	bool ports4 = class == FLT_CLASS_IP4 && uses_ports(c);
	uint32_t n = 0;

	if (fixed_end(c, class) > 14)
		put_guard(e, FLT_R8, fixed_end(c, class), slow);
	if (ports4) { /* r2: where the IPv4 header's length points, less 14 */
		flt_emit_load(e, BPF_B, FLT_R2, FLT_R8, 14);
		flt_emit_alu_imm(e, BPF_AND, FLT_R2, 0xf);
		flt_emit_alu_imm(e, BPF_LSH, FLT_R2, 2);
		flt_emit_alu(e, BPF_ADD, FLT_R2, FLT_R8);
		put_guard(e, FLT_R2, 18, slow);
		flt_emit_mov(e, FLT_R0, FLT_R2);
	}
	/* Ports first: r0 is the last row to be written. */
	for (int d = FLT_DIMS - 1; d >= 0; d--) {
		enum flt_dim dim = (enum flt_dim)d;
		bool port = dim == FLT_DIM_SPORT || dim == FLT_DIM_DPORT;

		if (!uses(c, dim))
			continue;
		put_id(e, m, flt_tables_space(class, dim), ports4 && port ? FLT_R0 : FLT_R8,
		       place(class, dim).off);
		put_row(e, m, class, dim, row_regs[n++]);
	}
	put_and(e, c, n);
}

/* --- Slow functions */

/* Fetches bytes to FP + BUF from the frame's offset in r2; jumps if they are not all there. */
static void put_fetch(struct flt_emit *e, uint8_t bytes, uint32_t absent)
{
	flt_emit_mov(e, FLT_R1, FLT_R6);
	flt_emit_mov(e, FLT_R3, FLT_FP);
	flt_emit_alu_imm(e, BPF_ADD, FLT_R3, BUF);
	flt_emit_mov_imm(e, FLT_R4, bytes);
	flt_emit_helper(e, BPF_FUNC_xdp_load_bytes);
	flt_emit_if_imm(e, BPF_JNE, FLT_R0, 0, absent);
}

/* Stores the id of one field in its slot; the id behind the last one where the frame does not have it. */
static void put_slow_field(struct flt_emit *e, const struct flt_merge_code *m, enum flt_class class,
			   enum flt_dim dim, int32_t slot)
{
	enum flt_space space = flt_tables_space(class, dim);
	uint32_t absent = flt_emit_label(e), next = flt_emit_label(e);
	struct field_place p = place(class, dim);

	if (class == FLT_CLASS_IP4 && (dim == FLT_DIM_SPORT || dim == FLT_DIM_DPORT)) {
		flt_emit_mov_imm(e, FLT_R2, 14);
		put_fetch(e, 1, absent);
		flt_emit_load(e, BPF_B, FLT_R2, FLT_FP, BUF);
		flt_emit_alu_imm(e, BPF_AND, FLT_R2, 0xf);
		flt_emit_alu_imm(e, BPF_LSH, FLT_R2, 2);
		flt_emit_alu_imm(e, BPF_ADD, FLT_R2, p.off);
	} else {
		flt_emit_mov_imm(e, FLT_R2, p.off);
	}
	put_fetch(e, p.bytes, absent);
	put_id(e, m, space, FLT_FP, BUF);
	flt_emit_ja(e, next);
	flt_emit_here(e, absent);
	flt_emit_mov_imm(e, FLT_R1, (int32_t)m->tables->spaces[space].ids);
	flt_emit_here(e, next);
	flt_emit_store(e, BPF_DW, FLT_FP, slot, FLT_R1);
}

static void put_slow(struct flt_emit *e, const struct flt_merge_code *m, enum flt_class class)
{
	const struct flt_class_tables *c = &m->tables->classes[class];
	uint32_t n = 0;

	flt_emit_mov(e, FLT_R6, FLT_R1);
	for (int d = 0; d < FLT_DIMS; d++)
		if (uses(c, (enum flt_dim)d))
			put_slow_field(e, m, class, (enum flt_dim)d, SLOT(n++));
	n = 0;
	for (int d = 0; d < FLT_DIMS; d++)
		if (uses(c, (enum flt_dim)d)) {
			flt_emit_load(e, BPF_DW, FLT_R1, FLT_FP, SLOT(n));
			put_row(e, m, class, (enum flt_dim)d, row_regs[n++]);
		}
	put_and(e, c, n);
	flt_emit_mov(e, FLT_R0, FLT_R8);
	flt_emit_exit(e);
}

void flt_merge_put_slow(struct flt_emit *e, const struct flt_merge_code *m, uint32_t ret_at[FLT_CLASSES])
{
	for (int class = 0; class < FLT_CLASSES; class++)
		if (m->has_slow[class]) {
			ret_at[class] = e->n;
			flt_emit_here(e, m->slow[class]);
			put_slow(e, m, (enum flt_class) class);
		}
}

/* --- All of it */

/* dst = the u64 at an offset of the tables. */
static void put_word(struct flt_emit *e, const struct flt_merge_code *m, enum flt_reg dst, uint32_t at)
{
	flt_emit_map_value(e, dst, m->tables_fd, at);
	flt_emit_load(e, BPF_DW, dst, dst, 0);
}

/* The end of a class's block: r8 is known. */
static void put_onward(struct flt_emit *e, const struct flt_merge_code *m, const struct flt_class_tables *c,
		       uint32_t ask, uint32_t done)
{
	if (c->asks) {
		put_word(e, m, FLT_R9, c->asked_at);
		flt_emit_ja(e, ask);
	} else {
		flt_emit_mov(e, FLT_R7, FLT_R8);
		flt_emit_ja(e, done);
	}
}

/*
 * A frame that ends within its IPv6 header, where libpcap may have come as far as it needs: the jobs in
 * question are asked themselves.
 */
static void put_short_ip6(struct flt_emit *e, const struct flt_merge_code *m,
			  const struct flt_class_tables *c, uint32_t ask)
{
	uint32_t whole = flt_emit_label(e);

	flt_emit_mov(e, FLT_R1, FLT_R6);
	flt_emit_helper(e, BPF_FUNC_xdp_get_buff_len);
	flt_emit_if_imm(e, BPF_JGE, FLT_R0, IP6_HEADER_END, whole);
	put_word(e, m, FLT_R1, c->short_at);
	flt_emit_alu(e, BPF_OR, FLT_R8, FLT_R1);
	put_word(e, m, FLT_R9, c->asked_at);
	flt_emit_alu(e, BPF_OR, FLT_R9, FLT_R1);
	flt_emit_ja(e, ask);
	flt_emit_here(e, whole);
}

static void put_class(struct flt_emit *e, struct flt_merge_code *m, enum flt_class class, uint32_t ask,
		      uint32_t done)
{
	const struct flt_class_tables *c = &m->tables->classes[class];
	uint32_t slow = flt_emit_label(e);

	if (c->empty || n_columns(c) == 0) {
		put_always(e, m, c);
		put_onward(e, m, c, ask, done);
		return;
	}
	put_fast(e, m, class, slow);
	put_onward(e, m, c, ask, done);
	if (fixed_end(c, class) == 14)
		return;
	m->has_slow[class] = true;
	m->slow[class] = flt_emit_label(e);
	flt_emit_here(e, slow);
	flt_emit_mov(e, FLT_R1, FLT_R6);
	flt_emit_call(e, m->slow[class]);
	flt_emit_mov(e, FLT_R8, FLT_R0);
	if (class == FLT_CLASS_IP6 && c->asks_short)
		put_short_ip6(e, m, c, ask);
	put_onward(e, m, c, ask, done);
}

void flt_merge_put(struct flt_emit *e, struct flt_merge_code *m, uint32_t ask, uint32_t done)
{
	static const struct {
		uint16_t type;
		enum flt_class class;
	} types[] = { { 0x0800, FLT_CLASS_IP4 },
		      { 0x86dd, FLT_CLASS_IP6 },
		      { 0x0806, FLT_CLASS_ARP },
		      { 0x8035, FLT_CLASS_ARP } };
	uint32_t far = flt_emit_label(e), blocks[FLT_CLASSES];

	flt_emit_load(e, BPF_W, FLT_R8, FLT_R6, offsetof(struct xdp_md, data));
	flt_emit_load(e, BPF_W, FLT_R9, FLT_R6, offsetof(struct xdp_md, data_end));
	put_guard(e, FLT_R8, 14, far);
	flt_emit_load(e, BPF_H, FLT_R1, FLT_R8, 12);
	for (int class = 0; class < FLT_CLASSES; class++)
		blocks[class] = flt_emit_label(e);
	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		flt_emit_if_imm(e, BPF_JEQ, FLT_R1, htons(types[i].type), blocks[types[i].class]);
	flt_emit_ja(e, blocks[FLT_CLASS_OTHER]);
	for (int class = 0; class < FLT_CLASSES; class++) {
		flt_emit_here(e, blocks[class]);
		put_class(e, m, (enum flt_class) class, ask, done);
	}
	/* No driver hands over less than an Ethernet header in the first buffer; nobody can have asked for
	 * it. */
	flt_emit_here(e, far);
	flt_emit_mov_imm(e, FLT_R7, 0);
	flt_emit_ja(e, done);
}
