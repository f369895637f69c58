/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ENGINE_H
#define CAP_ENGINE_H
/*
 * The engine brings taps, workers, jobs and the keeper together and runs a capture from start to its final
 * account. Control thread only. The order of the calls is the order below; main.c shows it.
 */
#include "capture/job.h"
#include "capture/keeper.h"
#include "capture/output.h"
#include "capture/source.h"
#include "capture/worker.h"

struct cap_engine_cfg {
	struct cap_source_cfg links[CAP_MAX_LINKS];
	uint32_t n_links;
	uint32_t n_cpus;              /* 0: chosen */
	uint16_t cpus[CAP_MAX_QUEUES];
	uint64_t pool_bytes;          /* per worker */
	uint32_t pack_threads;
	bool level_auto;
	int level;
	bool stop_when_full;
	bool digest;
	const char *job_name;
	const struct cap_io *io;      /* NULL: the kernel */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
};

#define CAP_REASONS_MAX 8

struct cap_engine_totals {
	struct cap_account account;
	uint64_t duration_ns;
	uint64_t after_end;           /* frames that came after the job's end: not part of it */
	int level_now;
	bool complete;
	uint32_t n_reasons;
	char reasons[CAP_REASONS_MAX][200];
};

struct cap_engine {
	struct cap_engine_cfg cfg;
	struct cap_job job;           /* filled in by the caller before cap_engine_open */
	struct cap_output output;     /* opened by the caller */

	struct cap_tap *taps[CAP_MAX_LINKS];
	uint32_t n_taps;
	struct cap_worker *workers;
	uint32_t n_workers;
	struct cap_keeper keeper;
	uint8_t header[CAP_PREAMBLE_MAX];
	uint32_t header_bytes;
	uint64_t started_ns;          /* monotonic */
	uint64_t started_utc_ns;
	uint64_t ended_ns;
	int wake_fd;
	int signal_fd;
	bool stopped;
	bool tap_lost;
	bool gone[CAP_MAX_LINKS];
	bool forced;                  /* a second signal: not everything was written */
	struct skep_err lost;         /* why a tap is gone */
	struct cap_digest *digest;
};

/* Opens every tap and all memory: needs privileges, disturbs nothing. */
int cap_engine_open(struct cap_engine *engine, struct skep_err *err);
/* Attaches: packets collect in the rings from now on. The last step that needs privileges. */
int cap_engine_attach(struct cap_engine *engine, struct skep_err *err);
/* Files and threads; the capture runs. */
int cap_engine_start(struct cap_engine *engine, struct skep_err *err);
/*
 * Runs until a limit, a signal, the end of the input, or the loss of the last tap. `tick` is called about
 * five times a second (may be NULL) with a snapshot of the totals.
 */
void cap_engine_run(struct cap_engine *engine, void (*tick)(void *arg, struct cap_engine *engine), void *arg);
/* Detaches, drains, writes and ends everything. */
void cap_engine_stop(struct cap_engine *engine);
/* At any time after start. Exact after stop. */
void cap_engine_totals(struct cap_engine *engine, struct cap_engine_totals *ret);
void cap_engine_close(struct cap_engine *engine);

#endif
