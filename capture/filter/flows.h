/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_FLOWS_H
#define FLT_FLOWS_H
/*
 * A set of flows of bounded size, for user space: the counterpart of the look stage's LRU map.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

struct skep_flow_key; /* bpf/abi/skep_flow.h */
struct flt_flows;

/* Room for n flows; n is a power of two, 8 at least. */
int flt_flows_new(uint32_t n, struct flt_flows **ret, struct skep_err *err);
struct flt_flows *flt_flows_free(struct flt_flows *f);

/* Any number of threads; no allocation, no lock. */
bool flt_flows_has(struct flt_flows *f, const struct skep_flow_key *key);
void flt_flows_add(struct flt_flows *f, const struct skep_flow_key *key);
void flt_flows_count(const struct flt_flows *f, uint64_t *ret_added, uint64_t *ret_evicted);

#endif
