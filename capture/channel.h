/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CHANNEL_H
#define CAP_CHANNEL_H
/*
 * A channel = one job on one worker: its lane (the filling end), its writer (the emptying end), and the
 * account that others may read. The control thread makes it and gives it to the worker with cap_worker_add;
 * from then on it is the worker's, but for the atomics, until `gone`.
 */
#include "capture/lane.h"
#include "capture/writer.h"

struct cap_channel {
	struct cap_lane lane;
	struct cap_writer writer;
	struct cap_account_slot slot;
	/*
	 * control -> worker: nothing more is meant for the job; what is in the rings is, then its files end
	 */
	_Atomic bool closing;
	/* control -> worker: closing takes too long; drop by name what is not written */
	_Atomic bool abandon;
	/*
	 * control -> worker: so many times was asked to end the file; worker -> control: so many times done
	 */
	_Atomic uint32_t rotate_asked;
	_Atomic uint32_t rotate_done;
	/* worker -> control, with rotate_done: files that have to be completed until everything before is */
	_Atomic uint64_t rotate_files;
	/* worker -> control: the worker has forgotten it */
	_Atomic bool gone;

	/* the worker's */
	bool told;		/* that the job is done */
	bool draining;		/* drain_to is set */
	bool ended;		/* no frame is taken any more */
	/* [n_sources]: frames received of each source when all that was meant is in */
	uint64_t *drain_to;
	struct cap_channel *next; /* on its way to the worker */
};

#endif
