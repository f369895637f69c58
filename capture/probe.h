/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_PROBE_H
#define CAP_PROBE_H
/*
 * What this machine and its links can do: -D as a text for people, --probe as JSON (docs/reference/probe.md).
 * Works without privileges, and then says what could not be tried. Before any thread is started: some things
 * are tried in a child process.
 */
#include "common/err.h"

#include <stdio.h>

int cap_probe_list(FILE *out, struct skep_err *err);

struct cap_probe_cfg {
	const char *const *links; /* these only; SKEP_E_NOT_FOUND if one does not exist */
	size_t n_links;		  /* 0: all */
	const char *dir; /* where files would be written, for direct I/O and free space; NULL: not asked */
};

/* One JSON object and a newline. */
int cap_probe_json(const struct cap_probe_cfg *cfg, FILE *out, struct skep_err *err);

#endif
