/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_PROBE_TRY_H
#define CAP_PROBE_TRY_H
/*
 * Found out by doing, not by version numbers. Every result is 0 (works) or the -errno of the step that
 * failed; -ENODATA: could not be tried (why is in `untried`). Internal to probe.c.
 */
#include <stdint.h>

struct cap_probe_tries {
	int xdp_native;	 /* a program on the driver hook of a veth */
	int xdp_generic; /* a program on the generic hook */
	int afxdp;	 /* a socket with rings, bound to a queue of a veth (copy mode) */
	int trampoline;	 /* fentry: load and attach */
	char untried[128];
};

/* In a child process with a network namespace of its own; no link of the caller is touched. */
void cap_probe_try_xdp(struct cap_probe_tries *ret);
/* *ret_features: IORING_FEAT_* bits. */
int cap_probe_try_uring(uint32_t *ret_features);
/* Writes 4 KiB with O_DIRECT to a file that has no name. */
int cap_probe_try_direct(const char *dir);

#endif
