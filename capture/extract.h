/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_EXTRACT_H
#define CAP_EXTRACT_H
/*
 * Packets of a time span, or that match a filter, out of many segments: one stream in order of time. Only the
 * blocks that can hold any are read, by the index in each segment's sidecar. pcapng has an interface for each
 * link, and at the end its statistics, if the sidecars of all its files know them.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cap_extract_cfg {
	const char *const *paths; /* files and folders; a folder stands for the captures in it */
	uint32_t n_paths;
	/*
	 * NULL, or a file with more of them, one a line: a path, and behind a tab the name of its link, which
	 * counts more than that of its sidecar
	 */
	const char *list;
	uint64_t skip_bytes; /* of the output are left out at its beginning */
	uint64_t from_ns; /* UTC, first and last moment that is wanted; UINT64_MAX: no end */
	uint64_t to_ns;
	const char *filter; /* NULL or empty: everything */
	bool pcapng;
	uint32_t threads; /* that decode ahead; 0: none but the caller's */
	int out_fd;
};

struct cap_extract_account {
	uint64_t files;
	uint64_t files_unindexed; /* read from one end to the other */
	uint64_t blocks;	  /* of the indexed files */
	uint64_t blocks_read;
	uint64_t looked_pkts;
	uint64_t written_pkts;
	uint64_t bytes; /* of the output, with what was left out of it */
	uint64_t first_ns, last_ns; /* of what was written; UINT64_MAX and 0 without packets */
	bool in_order; /* no packet was earlier than one before it */
};

/*
 * SKEP_E_NOT_FOUND, SKEP_E_BAD_DATA and the like in words; what was written until then is whole records.
 * -EPIPE: the reader went away. A segment that vanishes meanwhile (rotation) is passed over.
 */
int cap_extract(const struct cap_extract_cfg *cfg, struct cap_extract_account *ret, struct skep_err *err);

/* `skep-capture extract …`: the command line; returns the exit code. argv[0] is "extract". */
int cap_extract_command(int argc, char **argv);

#endif
