/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_HTTP_HANDLERS_H
#define CTL_HTTP_HANDLERS_H
/*
 * The table of routes, and the handlers that it names. Each gets the struct ctl as app.
 */
#include "control/ctl.h"

/* Permissions of routes. */
enum { CTL_ANYBODY, CTL_TOKEN };

extern const struct skep_http_route ctl_routes[];
extern const size_t ctl_routes_n;

/* control/api/openapi.yaml, made into a source by the build. */
extern const unsigned char ctl_openapi[];
extern const size_t ctl_openapi_len;

int ctl_http_authorize(struct skep_http_req *req, const struct skep_http_route *route, void *app);

/*
 * Would the filter be taken? false: it would not, and the answer is set. pointer: where the request has it;
 * NULL: not in a body.
 */
bool ctl_http_filter_is_right(struct skep_http_req *req, struct ctl *ctl, const char *filter,
			      const char *pointer);
/* How many lives a job's engines had, by what ctl_jobs_get gives; 0: job is NULL. */
uint32_t ctl_http_job_lives(const json_t *job);

int ctl_http_health(struct skep_http_req *req, void *app);
int ctl_http_ready(struct skep_http_req *req, void *app);
int ctl_http_openapi(struct skep_http_req *req, void *app);
int ctl_http_metrics(struct skep_http_req *req, void *app);
int ctl_http_probe(struct skep_http_req *req, void *app);
int ctl_http_links(struct skep_http_req *req, void *app);
int ctl_http_link(struct skep_http_req *req, void *app);
int ctl_http_filter_check(struct skep_http_req *req, void *app);
int ctl_http_estimate(struct skep_http_req *req, void *app);
int ctl_http_jobs_create(struct skep_http_req *req, void *app);
int ctl_http_jobs(struct skep_http_req *req, void *app);
int ctl_http_job(struct skep_http_req *req, void *app);
int ctl_http_job_stop(struct skep_http_req *req, void *app);
int ctl_http_job_pause(struct skep_http_req *req, void *app);
int ctl_http_job_resume(struct skep_http_req *req, void *app);
int ctl_http_job_rotate(struct skep_http_req *req, void *app);
int ctl_http_job_remove(struct skep_http_req *req, void *app);
int ctl_http_packets(struct skep_http_req *req, void *app);
int ctl_http_live(struct skep_http_req *req, void *app);
int ctl_http_ring_trigger(struct skep_http_req *req, void *app);
int ctl_http_segments(struct skep_http_req *req, void *app);
int ctl_http_segment(struct skep_http_req *req, void *app);
int ctl_http_segment_collected(struct skep_http_req *req, void *app);
int ctl_http_segment_remove(struct skep_http_req *req, void *app);
int ctl_http_segment_sidecar(struct skep_http_req *req, void *app);
int ctl_http_events(struct skep_http_req *req, void *app);

#endif
