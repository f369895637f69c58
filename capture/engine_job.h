/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ENGINE_JOB_H
#define CAP_ENGINE_JOB_H
/*
 * The part of the engine that deals with one job: engine_job.c, and engine_account.c for what it counted. For
 * engine.c only.
 */
#include "capture/engine.h"

/* Channels, keeper lanes, filters: everything that can be refused. On failure nothing remains. */
int cap_engine_job_make(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
/* The prepared filters join; `again` after a pause. */
int cap_engine_job_join(struct cap_engine *engine, struct cap_engine_job *ej, bool again,
			struct skep_err *err);
/* The first files (engine not running: made and checked now). */
int cap_engine_job_open_files(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
/* The job's clock and budgets begin; its channels go to the workers. */
int cap_engine_job_start(struct cap_engine *engine, struct cap_engine_job *ej, struct skep_err *err);
/* One step of a job that is leaving. */
void cap_engine_job_step(struct cap_engine *engine, struct cap_engine_job *ej);
/* The filters have left, or will see no further frame: their counts are final. */
void cap_engine_job_settle(struct cap_engine *engine, struct cap_engine_job *ej);
/* What its lanes counted, without the filters and the kernel. */
void cap_engine_job_sum(struct cap_engine *engine, struct cap_engine_job *ej, struct cap_account *ret);
void cap_engine_job_free(struct cap_engine *engine, struct cap_engine_job *ej);

#endif
