/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_ENGINE_H
#define CTL_ENGINE_H
/*
 * A link engine: a skep-capture that serves one link on a UNIX socket (docs/reference/job-socket.md). It
 * lives on when we end; we find it again by its socket. One thread at a time.
 */
#include "common/err.h"
#include "control/config.h"

#include <jansson.h>
#include <sys/types.h>

struct ctl_engine {
	const struct ctl_config *cfg;
	char link[CTL_LINK_NAME];
	int fd;			/* -1: not connected */
	int events_fd;		/* -1: not connected; lines to be read when poll says so */
	uint64_t started_ns;	/* which life of the engine we talk to; 0: none */
	pid_t pid;		/* of the engine */
	pid_t child;		/* of ours, to be waited for; 0: none */
	pid_t leaving;		/* was asked to end, and may still hold the link; 0: none */
	uint64_t idle_since_ns; /* monotonic; 0: has jobs */
	char *in;		/* what was read behind the last line */
	size_t in_len;
};

void ctl_engine_init(struct ctl_engine *engine, const struct ctl_config *cfg, const char *link);
/* Closes the connections; the engine goes on. */
void ctl_engine_fini(struct ctl_engine *engine);

/* Connects to the engine that is there. 0; SKEP_E_NOT_FOUND: there is none. */
int ctl_engine_connect(struct ctl_engine *engine, struct skep_err *err);
/* The same, but starts one if there is none, and waits for it. */
int ctl_engine_ensure(struct ctl_engine *engine, struct skep_err *err);
/*
 * Sends the request (taken) and waits for its answer, the caller's. What the engine refuses comes as a
 * skep_refusal with its words; -EPIPE: it has died or hangs, and the connection is closed.
 */
int ctl_engine_call(struct ctl_engine *engine, json_t *request, json_t **ret, struct skep_err *err);
/* Reads the events that are there; calls on_event (borrowed) for each. -EPIPE: it has died. */
int ctl_engine_events(struct ctl_engine *engine, void (*on_event)(const json_t *event, void *arg), void *arg);
/* Asks it to end (SIGTERM); it completes its files. */
void ctl_engine_stop(struct ctl_engine *engine);
/* Collects the exit status of one that we started. */
void ctl_engine_reap(struct ctl_engine *engine);

#endif
