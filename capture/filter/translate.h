/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_TRANSLATE_H
#define FLT_TRANSLATE_H
/*
 * Classic BPF to eBPF that the kernel's verifier accepts, with libpcap's meaning on every frame.
 *
 * The instruction types are our own because <pcap/bpf.h> and <linux/bpf.h> cannot be included together; the
 * layouts are the same and asserted where they meet (front.c, run.c).
 */
#include "common/err.h"

#include <stdint.h>

struct flt_cbpf {
	uint16_t code;
	uint8_t jt;
	uint8_t jf;
	uint32_t k;
};

struct flt_ebpf {
	uint8_t code;
	uint8_t dst : 4;
	uint8_t src : 4;
	int16_t off;
	int32_t imm;
};

_Static_assert(sizeof(struct flt_cbpf) == 8 && sizeof(struct flt_ebpf) == 8, "instruction layouts");

struct flt_terms;

struct flt_code {
	struct flt_ebpf *v;
	uint32_t n;
	uint32_t needs;	 /* FLT_NEEDS_* (look.h): it reads struct skep_scratch */
	uint32_t n_fast; /* instructions of the copy that reads the packet directly; the rest is for frames
			    that end early */
	struct flt_terms *terms; /* merge_terms.h: what the filter asks for; NULL for packets inside */
};

#define FLT_CODE_NULL \
	{             \
		0     \
	}

/* Where the program takes the length of the frame on the wire from (`len`, `less`, `greater`). */
enum flt_length {
	FLT_LENGTH_FRAME, /* all buffers of the frame, bpf_xdp_get_buff_len() */
	FLT_LENGTH_META, /* skep_meta.wire_len in front of the frame: for packets from a file, of which only a
			    part was stored */
};

/*
 * Translates to the body of a function `u32 f(struct xdp_md *ctx)` that returns what bpf_filter() would: 0 or
 * the accepted length. It may be loaded as an XDP program by itself (for BPF_PROG_TEST_RUN), or be a global
 * subprogram; it only reads. Refuses (SKEP_E_UNSUPPORTED) instructions that libpcap does not make for files,
 * and programs beyond the reach of a jump. No global state; any thread.
 */
int flt_translate(const struct flt_cbpf *in, uint32_t n, enum flt_length length, struct flt_code *ret,
		  struct skep_err *err);
/*
 * The same for the frame and for packets inside it: `u32 f(struct xdp_md *ctx, u32 off, u32 mac_off, u32
 * type, u32 facts)` with the meaning of struct skep_inner, and how many bytes the packet's facts are behind
 * scratch.facts[0]; all zero: the frame itself. `len` is that of the packet inside. A global subprogram only:
 * by itself it has no arguments.
 */
int flt_translate_inside(const struct flt_cbpf *in, uint32_t n, enum flt_length length, struct flt_code *ret,
			 struct skep_err *err);
void flt_code_done(struct flt_code *code);

/*
 * In a copy of the instructions, the map of struct skep_scratch (a PERCPU_ARRAY of one) where the code that
 * needs it has a place for it. Code with needs cannot be loaded before.
 */
#define FLT_FD_SCRATCH (-1)
void flt_code_link(struct flt_ebpf *v, uint32_t n, int scratch_fd);

#endif
