/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_FRONT_H
#define FLT_FRONT_H
/*
 * The safe front of libpcap's compiler: any text of up to 64 KiB is answered within a second, with bounded memory, without a DNS packet.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct bpf_program; /* <pcap/bpf.h> */

/*
 * Compiles the expression (empty or NULL: everything) for packets of the link type (LINKTYPE_*; 1 = Ethernet), of which an accepting
 * filter returns snaplen. Returns 0 with a program that is freed by flt_front_free; or SKEP_E_USAGE with column, reason and a hint that shows the
 * place; or -errno. ret is untouched on failure. `ip broadcast` knows no netmask: it is 255.255.255.255 or 0.0.0.0, as in tcpdump on a
 * link without an address.
 * Any thread; forks a short-lived child process.
 */
int flt_front_compile(const char *expr, int linktype, uint32_t snaplen, struct bpf_program *ret, struct skep_err *err);

/* Frees the instructions and empties the program; takes an empty program, and NULL. */
void flt_front_free(struct bpf_program *prog);

#endif
