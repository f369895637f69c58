/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_FRONT_H
#define FLT_FRONT_H
/*
 * The safe front of libpcap's compiler: any text of up to 64 KiB is answered within a second, with bounded
 * memory, without a DNS packet.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct bpf_program; /* <pcap/bpf.h> */

/*
 * Compiles the expression (empty or NULL: everything) for packets of the link type (LINKTYPE_*; 1 =
 * Ethernet), of which an accepting filter returns snaplen. Returns 0 with a program that is freed by
 * flt_front_free; or SKEP_E_USAGE with column, reason and a hint that shows the place; or -errno. ret is
 * untouched on failure. `ip broadcast` knows no netmask: it is 255.255.255.255 or 0.0.0.0, as in tcpdump on a
 * link without an address.
 * Any thread; forks a short-lived child process.
 */
int flt_front_compile(const char *expr, int linktype, uint32_t snaplen, struct bpf_program *ret,
		      struct skep_err *err);

/*
 * The same, and with address lists (list.h): the files that the expression names are read, by the caller's
 * rights, into `lists`, and *ret_lists (both may be NULL) has the bits of those it uses, with a reference
 * each that the caller gives back (flt_lists_release). Without `lists` such terms are refused.
 *
 * A program with marks or lists (flt_scratch_needs) reads struct skep_scratch: libpcap's interpreter sees no
 * match there, flt_eval_match (eval.h) and the translated program do.
 */
struct flt_lists;
struct flt_ask {
	const char *expr; /* NULL or empty: everything */
	int linktype;	  /* marks and lists: those of flt_view_knows (view.h) only; in XDP 1, Ethernet */
	uint32_t snaplen;
	struct flt_lists *lists;
	bool patient;	  /* on a busy machine the answer may take some seconds; of CPU time no more */
};
int flt_front_compile_ask(const struct flt_ask *ask, struct bpf_program *ret, uint32_t *ret_lists,
			  struct skep_err *err);

/*
 * The text with its presets written out as far as pcap-filter(7) has words for them, the same checks made
 * (but no list is read). ret is freed by the caller.
 */
int flt_front_expand(const char *expr, int linktype, char **ret, struct skep_err *err);

/* libpcap's own interpreter: 0, or what the filter accepts. */
uint32_t flt_front_match(const struct bpf_program *prog, const void *bytes, uint32_t wire_len,
			 uint32_t cap_len);

/* For files that cannot include libpcap's header beside the kernel's: an empty program (free()d after
 * flt_front_free), its instructions (borrowed), and one of them as text (static buffer: one thread). */
struct flt_cbpf;
struct bpf_program *flt_front_new(void);
const struct flt_cbpf *flt_front_insns(const struct bpf_program *prog, uint32_t *ret_n);
const char *flt_front_line(const struct bpf_program *prog, uint32_t i);

/* Frees the instructions and empties the program; takes an empty program, and NULL. */
void flt_front_free(struct bpf_program *prog);

#endif
