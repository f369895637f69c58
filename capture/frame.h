/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_FRAME_H
#define CAP_FRAME_H
/*
 * A received frame, seen in place, and the batch in which a source lends frames to the worker.
 * The bytes belong to the source; they are valid from receive() to release() of the same batch.
 */
#include "capture/limits.h"

#include <stdbool.h>

struct cap_frag {
	const uint8_t *data;
	uint32_t len; /* bytes */
};

struct cap_frame {
	const uint8_t *data;  /* first buffer */
	uint32_t len;         /* bytes in the first buffer */
	uint32_t cap_len;     /* bytes present, over all buffers */
	uint32_t wire_len;    /* bytes on the wire, >= cap_len */
	uint16_t frag_first;  /* further buffers: batch->frags[frag_first .. frag_first + frag_n) */
	uint16_t frag_n;
	uint64_t ts_ns;       /* UTC, nanoseconds since 1970 */
	uint64_t jobs;        /* bit j: job slot j wants the frame; all ones where nobody filtered yet */
};

struct cap_batch {
	uint32_t n;
	uint32_t frag_n;
	/* the source's filters have decided: frame->jobs says exactly which jobs want the frame */
	bool filtered;
	struct cap_frame frames[CAP_BATCH];
	struct cap_frag frags[CAP_BATCH_FRAGS];
	uint8_t tags[CAP_BATCH][4]; /* room for VLAN tags that are put back (TPID, TCI, network order) */
};

#endif
