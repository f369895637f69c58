/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_TERM_H
#define FLT_TERM_H
/*
 * Terms with address lists: [ip|ip6|arp|rarp] [src|dst|src or dst|src and dst] [host|net] in @FILE.
 */
#include "capture/filter/token.h"

enum flt_term_proto { FLT_TERM_ANY, FLT_TERM_IP, FLT_TERM_IP6, FLT_TERM_ARP, FLT_TERM_RARP };
enum flt_term_side { FLT_TERM_EITHER, FLT_TERM_SRC, FLT_TERM_DST, FLT_TERM_BOTH };

/*
 * Makes one token FLT_T_LIST of the words of each such term, and counts them. Refuses (SKEP_E_USAGE with
 * column) `in` and @FILE where no such term is.
 */
int flt_term_join(struct flt_tokens *t, struct skep_err *err);

/* The word of the protocol; "" for FLT_TERM_ANY. */
const char *flt_term_proto_word(uint8_t proto);

#endif
