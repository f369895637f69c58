/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ENGINE_H
#define CAP_ENGINE_H
/*
 * The engine brings taps, workers, jobs and the keeper together. Control thread only. The order of the calls
 * is the order below; jobs can be added before start and, with loader set, at any time until stop.
 */
#include "capture/channel.h"
#include "capture/filter/reduce.h"
#include "capture/job.h"
#include "capture/keeper.h"
#include "capture/output.h"
#include "capture/source.h"
#include "capture/worker.h"

struct cap_grace;
struct cap_loader;

struct cap_engine_cfg {
	struct cap_source_cfg links[CAP_MAX_LINKS];
	uint32_t n_links;
	uint32_t n_cpus;              /* 0: chosen */
	uint16_t cpus[CAP_MAX_QUEUES];
	uint64_t pool_bytes;          /* per worker */
	uint32_t pack_threads;
	bool one_worker;              /* all sources on one worker, merged by time stamp: one file for all */
	bool stop_when_full;
	bool digest;
	bool loader;                  /* jobs will be added after privileges are dropped */
	bool change_user;             /* for the loader: whom the engine will be */
	uid_t uid;
	gid_t gid;
	const struct cap_io *io;      /* NULL: the kernel */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
};

#define CAP_REASONS_MAX 8

struct cap_engine_totals {
	struct cap_account account;
	uint64_t duration_ns;
	int level_now;
	bool complete;
	uint32_t n_reasons;
	char reasons[CAP_REASONS_MAX][200];
};

enum cap_engine_job_state {
	CAP_ENGINE_JOB_NEW,
	CAP_ENGINE_JOB_RUNS,
	CAP_ENGINE_JOB_PAUSED,
	CAP_ENGINE_JOB_PARTING, /* its filters are out, but may still run */
	CAP_ENGINE_JOB_LEAVING, /* its channels take what is in the rings and end their files */
	CAP_ENGINE_JOB_FILING,	/* the keeper completes the files */
	CAP_ENGINE_JOB_ENDED,
};

/* A job on this engine. The caller fills in what is above the line; it lives until it has ended. */
struct cap_engine_job {
	struct cap_job job;           /* but for slot and filter */
	struct cap_output output;     /* opened by the caller, who also closes it */
	bool level_auto;
	int level;
	uint32_t inside;              /* SKEP_INNER_* kinds that the filter looks inside */
	uint32_t decap;               /* kinds that are taken off */
	struct flt_reduction reduction;

	/* the engine's */
	enum cap_engine_job_state state;
	enum cap_job_end why;
	struct cap_filter_user *user_filter; /* for taps that do not filter */
	uint8_t header[CAP_PREAMBLE_MAX];
	uint32_t header_bytes;
	struct cap_channel *channels;        /* [n_workers] */
	struct cap_keeper_lane *keeper_lanes; /* [n_workers] */
	struct cap_kernel_account base[CAP_MAX_LINKS];
	uint64_t started_ns;          /* monotonic */
	uint64_t started_utc_ns;
	uint64_t end_at_ns;           /* UTC, as it was asked for; CAP_NO_LIMIT: it was not */
	uint64_t paused_ns, paused_sum_ns; /* monotonic: when it was paused; all pauses that are over */
	uint64_t ended_ns;
	uint64_t moved_ns;            /* leaving: when something was last written, monotonic */
	uint64_t moved_sum;
	bool failed;                  /* to start: it only leaves, and counts as never been here */
	bool forced;                  /* not everything was written */
	bool final;                   /* the counts of the filters are final: what is missing was lost */
	struct cap_engine_totals totals; /* when ended */
};

struct cap_engine {
	struct cap_engine_cfg cfg;
	struct cap_tap *taps[CAP_MAX_LINKS];
	uint32_t n_taps;
	struct cap_worker *workers;
	uint32_t n_workers;
	struct cap_engine_job *jobs[CAP_MAX_JOBS]; /* by slot */
	struct cap_loader *loader;
	struct cap_grace *grace;
	struct cap_keeper keeper;
	int wake_fd;                  /* eventfd: workers and the keeper have news */
	int signal_fd;
	bool running;
	bool stopped;
	bool tap_lost;
	bool crippled;                /* the loader is gone: end, and let a new engine begin */
	bool gone[CAP_MAX_LINKS];
	struct skep_err lost;         /* why a tap, or the loader, is gone */
	struct cap_digest *digest;
	uint64_t checked_ns;
	uint64_t flow_seed;           /* of sampling by flow, where the workers do it */
};

/* Opens every tap and all memory: needs privileges, disturbs nothing. */
int cap_engine_open(struct cap_engine *engine, struct skep_err *err);
/*
 * Takes the job in: compiles its filter, and on an engine that runs also starts it. Refuses (SKEP_E_USAGE,
 * SKEP_E_NO_SPACE: no slot is free) without having changed anything.
 */
int cap_engine_add(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
/* Attaches: packets collect in the rings from now on. The last step that needs privileges. */
int cap_engine_attach(struct cap_engine *engine, struct skep_err *err);
/* Files and threads; the jobs run. */
int cap_engine_start(struct cap_engine *engine, struct skep_err *err);
/*
 * Waits for news for at most max_ms, and looks after taps and jobs that are leaving. extra: further
 * descriptors to poll (n_extra <= CAP_ENGINE_EXTRA_FDS), whose revents are set. True if a signal has come.
 */
#define CAP_ENGINE_EXTRA_FDS 64
struct pollfd;
bool cap_engine_wait(struct cap_engine *engine, int max_ms, struct pollfd *extra, uint32_t n_extra);
/*
 * Runs the one job of a capture until a limit, a signal, the end of the input, or the loss of the last tap.
 * `tick` is called about five times a second (may be NULL).
 */
void cap_engine_run(struct cap_engine *engine, struct cap_engine_job *ej,
		    void (*tick)(void *arg, struct cap_engine *engine), void *arg);
/* Takes the job out for a while; its files stay open. */
int cap_engine_pause(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
int cap_engine_resume(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
/*
 * Ends one job on an engine that runs: its frames that are in the rings are still taken. The state becomes
 * ENDED some time after, by cap_engine_wait.
 */
void cap_engine_leave(struct cap_engine *engine, struct cap_engine_job *ej, enum cap_job_end why);
/* Frees what the engine has of a job that has ended; the slot is free again. */
void cap_engine_forget(struct cap_engine *engine, struct cap_engine_job *ej);
/* Ends the files that are being written; the next packet begins new ones. */
void cap_engine_rotate(struct cap_engine *engine, struct cap_engine_job *ej);
/* True when everything before the last cap_engine_rotate is in completed files. */
bool cap_engine_rotated(const struct cap_engine *engine, const struct cap_engine_job *ej);
/* Detaches, drains, writes and ends everything. */
void cap_engine_stop(struct cap_engine *engine);
/* At any time after start. Exact when the job has ended, or after stop. */
void cap_engine_totals(struct cap_engine *engine, struct cap_engine_job *ej, struct cap_engine_totals *ret);
void cap_engine_close(struct cap_engine *engine);

#endif
