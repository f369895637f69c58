/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SALVAGE_H
#define CAP_SALVAGE_H
/*
 * Reads a segment that may be torn, and says what of it can be kept, and how. Changes nothing.
 */
#include "capture/capfile.h"
#include "capture/sidecar.h"

struct cap_salvage {
	bool ours;     /* begins as a segment of ours does, or with nothing but zeros */
	bool has_head; /* the capture file's header is whole */
	bool compressed;
	struct cap_capfile_info info;

	uint64_t size; /* of the file as it is */
	uint64_t keep; /* its first so many bytes stay as they are … */
	uint8_t *tail; /* … and these bytes of the raw stream come behind, as raw zstd blocks; freed by
			  cap_salvage_done */
	size_t tail_bytes;
	uint64_t used; /* the file's bytes that keep and tail come from */
	bool ended;    /* the frame is ended, within keep */

	uint64_t pkts;
	uint64_t bytes_wire;
	uint64_t bytes_raw; /* with the tail */
	uint64_t first_ns;  /* smallest and largest time stamp; CAP_SIDECAR_UNKNOWN without packets */
	uint64_t last_ns;
	/* The last entry's file_bytes counts up to keep; the tail is added by who writes it. */
	struct cap_sidecar_entry *index;
	size_t n_index;

	uint64_t given_up_bytes; /* behind keep (and not in the tail), up to the last byte that is not zero */
	char why[256];		 /* where and why reading stopped; empty: at the end */
};

/* 0 or -errno (also of reading). fd: a regular file. */
SKEP_MUST_CHECK int cap_salvage_read(int fd, struct cap_salvage *ret);
void cap_salvage_done(struct cap_salvage *s);

#endif
