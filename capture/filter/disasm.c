/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes eBPF instructions the way the verifier's log and bpftool do. It knows what flt_translate emits
 * (loads through r0 are from struct skep_scratch); anything else is shown as numbers. No state; any thread.
 */
#include "capture/filter/disasm.h"

#include "capture/filter/scratch.h"

#include <linux/bpf.h>
#include <stdio.h>

static const char *size_name(uint8_t code)
{
	switch (BPF_SIZE(code)) {
	case BPF_B:
		return "u8";
	case BPF_H:
		return "u16";
	case BPF_W:
		return "u32";
	default:
		return "u64";
	}
}

static void alu(const struct flt_ebpf *i, char *ret, size_t size)
{
	static const char *const ops[] = { "+=",  "-=",	 "*=", "/=", "|=", "&=",  "<<=",
					   ">>=", "neg", "%=", "^=", "=",  "s>>=" };
	char r = BPF_CLASS(i->code) == BPF_ALU ? 'w' : 'r';
	uint8_t op = BPF_OP(i->code);

	if (op == BPF_END)
		(void)snprintf(ret, size, "r%u = be%d r%u", i->dst, i->imm, i->dst);
	else if (op == BPF_NEG)
		(void)snprintf(ret, size, "%c%u = -%c%u", r, i->dst, r, i->dst);
	else if (BPF_SRC(i->code) == BPF_X)
		(void)snprintf(ret, size, "%c%u %s %c%u", r, i->dst, ops[op >> 4], r, i->src);
	else
		(void)snprintf(ret, size, "%c%u %s %d", r, i->dst, ops[op >> 4], i->imm);
}

static void jump(const struct flt_ebpf *i, uint32_t at, char *ret, size_t size)
{
	static const char *const ops[] = { "",	  "==", ">", ">=", "&",	 "!=", "s>",
					   "s>=", "",	"",  "<",  "<=", "s<", "s<=" };
	char r = BPF_CLASS(i->code) == BPF_JMP32 ? 'w' : 'r';
	uint32_t to = at + 1 + (uint32_t)i->off;
	uint8_t op = BPF_OP(i->code);

	if (op == BPF_EXIT)
		(void)snprintf(ret, size, "exit");
	else if (op == BPF_CALL)
		(void)snprintf(ret, size, "call %s",
			       i->imm == BPF_FUNC_xdp_load_bytes     ? "bpf_xdp_load_bytes"
			       : i->imm == BPF_FUNC_map_lookup_elem  ? "bpf_map_lookup_elem"
			       : i->imm == BPF_FUNC_xdp_get_buff_len ? "bpf_xdp_get_buff_len"
								     : "?");
	else if (op == BPF_JA)
		(void)snprintf(ret, size, "goto %u", to);
	else if (BPF_SRC(i->code) == BPF_X)
		(void)snprintf(ret, size, "if %c%u %s %c%u goto %u", r, i->dst, ops[op >> 4], r, i->src, to);
	else
		(void)snprintf(ret, size, "if %c%u %s 0x%x goto %u", r, i->dst, ops[op >> 4],
			       (unsigned)i->imm, to);
}

void flt_disasm(const struct flt_ebpf *i, uint32_t at, char *ret, size_t size)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		alu(i, ret, size);
		return;
	case BPF_JMP:
	case BPF_JMP32:
		jump(i, at, ret, size);
		return;
	case BPF_LDX:
		(void)snprintf(ret, size, "r%u = *(%s *)(r%u %+d)%s%s", i->dst, size_name(i->code), i->src,
			       i->off, i->src == 0 ? "  ; " : "",
			       i->src == 0 ? flt_scratch_name((uint32_t)i->off) : "");
		return;
	case BPF_LD:
		if (i->code == 0)
			(void)snprintf(ret, size, "  (second half of the line above)");
		else
			(void)snprintf(ret, size, "r%u = map[scratch]", i->dst);
		return;
	case BPF_STX:
		(void)snprintf(ret, size, "*(%s *)(r%u %+d) = r%u", size_name(i->code), i->dst, i->off,
			       i->src);
		return;
	case BPF_ST:
		(void)snprintf(ret, size, "*(%s *)(r%u %+d) = %d", size_name(i->code), i->dst, i->off,
			       i->imm);
		return;
	default:
		(void)snprintf(ret, size, "code 0x%02x dst %u src %u off %d imm %d", i->code, i->dst, i->src,
			       i->off, i->imm);
	}
}
