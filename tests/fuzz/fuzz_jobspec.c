/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any text as a request to add a job: it is refused in words, or what comes out is within its limits, and its
 * name and folder stay below the engine's.
 */
#include "capture/jobspec.h"
#include "common/json.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct cap_jobspec_defaults defaults = { .reserve_bytes = 1 };
	struct skep_err err = SKEP_ERR_NULL;
	_skep_json_ json_t *object = NULL;
	struct cap_jobspec s;
	int r;

	if (skep_json_load("request", (const char *)data, size, &object, &err)) {
		assert(err.text[0]);
		return 0;
	}
	r = cap_jobspec_parse(object, &defaults, &s, &err);
	if (r) {
		assert(r == err.code && err.text[0] && !strchr(err.text, '\n'));
	} else {
		assert(cap_jobspec_is_name(s.ej.job.name) && cap_jobspec_is_name(s.dir));
		assert(!s.budget[0] || cap_jobspec_is_name(s.budget));
		assert(s.ej.job.snaplen >= 1 && s.ej.job.snaplen <= CAP_SNAPLEN_MAX);
		assert(s.ej.level_auto || s.ej.level == CAP_LEVEL_STORE ||
		       (s.ej.level >= CAP_LEVEL_MIN && s.ej.level <= CAP_LEVEL_MAX));
		assert(!s.ej.job.limits_pkts || atomic_load(&s.ej.job.budget->pkts_left) > 0);
		assert(!s.ej.job.limits_bytes || atomic_load(&s.ej.job.budget->bytes_left) > 0);
		assert(s.ej.output.dirfd == -1);
	}
	cap_jobspec_fini(&s);
	return 0;
}
