/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SERVE_H
#define CAP_SERVE_H
/*
 * An engine that serves: jobs come and go by requests on a UNIX socket (docs/reference/job-socket.md) while
 * others run. Control thread; the engine's loop is in here.
 */
#include "capture/engine.h"
#include "capture/jobspec.h"

struct cap_serve;

struct cap_serve_cfg {
	const char *socket; /* path */
	const char *root;   /* directory below which each job has its own */
	struct cap_jobspec_defaults defaults;
};

/*
 * Makes the socket (mode 0660), before privileges are dropped. SKEP_E_BUSY: an engine answers there already;
 * a socket that nobody serves any more is replaced.
 */
int cap_serve_open(const struct cap_serve_cfg *cfg, struct cap_serve **ret, struct skep_err *err);
/* The keeper's and anybody's news for who listens; any thread. */
void cap_serve_kept(void *serve, const struct cap_kept *kept);
void cap_serve_say(struct cap_serve *serve, const char *sentence);
/* Opens the root as the user it will be from now on; after privileges were dropped. */
int cap_serve_start(struct cap_serve *serve, struct cap_engine *engine, struct skep_err *err);
/*
 * Serves until a signal, or until every link is lost and every job has ended. Returns 0, or 1 if the links
 * were lost.
 */
int cap_serve_run(struct cap_serve *serve);
/* Tells who listens how the jobs ended; after cap_engine_stop. Returns NULL; takes NULL. */
struct cap_serve *cap_serve_close(struct cap_serve *serve);

#endif
