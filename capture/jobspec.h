/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_JOBSPEC_H
#define CAP_JOBSPEC_H
/*
 * A job as it is asked for on the engine's socket: JSON in, struct cap_engine_job out. The text is hostile:
 * every field is checked, an unknown one is refused by name. Formats: docs/reference/job-socket.md.
 */
#include "capture/engine.h"
#include "capture/trim.h"

#include <jansson.h>

struct cap_jobspec {
	struct cap_engine_job ej;
	char *filter;	/* owned; ej.job.filter_text */
	char dir[64];	/* below the engine's directory */
	struct cap_trim trim;
	char budget[64]; /* file of the shared budget, below the engine's directory; "": none */
	struct cap_budget *shared; /* mapped */
};

/* What the engine's own options say, for what a job does not say. */
struct cap_jobspec_defaults {
	uint64_t reserve_bytes;
	int direct_io;
	bool digest;
};

/*
 * Fills the job from the object (borrowed). SKEP_E_USAGE names the field, what is wrong and what is right;
 * cap_jobspec_fini after any result.
 */
int cap_jobspec_parse(const json_t *object, const struct cap_jobspec_defaults *defaults,
		      struct cap_jobspec *ret, struct skep_err *err);
/*
 * Makes the directory below root (a directory's descriptor and name), opens the output there, maps the
 * budget.
 */
int cap_jobspec_open(struct cap_jobspec *spec, int root_fd, const char *root, struct skep_err *err);
void cap_jobspec_fini(struct cap_jobspec *spec);

/* 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit. */
bool cap_jobspec_is_name(const char *text);

#endif
