/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every route of the API in one table, and who may use it: everything but the program's health needs a
 * bearer token. Runs on the HTTP server's thread; looks at no body.
 */
#include "control/http/handlers.h"

#include <string.h>

#define JOB_BODY_BYTES (512u * 1024)
#define COLLECTED_BODY_BYTES 1024u
#define FILTER_BODY_BYTES (256u * 1024) /* a filter of 64 KiB, escaped */

const struct skep_http_route ctl_routes[] = {
	{ "GET", "/healthz", ctl_http_health, CTL_ANYBODY, 0, SKEP_HTTP_INLINE },
	{ "GET", "/metrics", ctl_http_metrics, CTL_TOKEN, 0, 0 },
	{ "GET", "/readyz", ctl_http_ready, CTL_ANYBODY, 0, 0 },
	{ "POST", "/v1/estimate", ctl_http_estimate, CTL_TOKEN, FILTER_BODY_BYTES, 0 },
	{ "GET", "/v1/events", ctl_http_events, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/filters/check", ctl_http_filter_check, CTL_TOKEN, FILTER_BODY_BYTES, 0 },
	{ "GET", "/v1/jobs", ctl_http_jobs, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/jobs", ctl_http_jobs_create, CTL_TOKEN, JOB_BODY_BYTES, 0 },
	{ "GET", "/v1/jobs/{id}", ctl_http_job, CTL_TOKEN, 0, 0 },
	{ "DELETE", "/v1/jobs/{id}", ctl_http_job_remove, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/jobs/{id}/packets", ctl_http_packets, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/jobs/{id}/pause", ctl_http_job_pause, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/jobs/{id}/resume", ctl_http_job_resume, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/jobs/{id}/rotate", ctl_http_job_rotate, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/jobs/{id}/segments", ctl_http_segments, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/jobs/{id}/segments/{name}", ctl_http_segment, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/jobs/{id}/segments/{name}/sidecar", ctl_http_segment_sidecar, CTL_TOKEN, 0, 0 },
	{ "DELETE", "/v1/jobs/{id}/segments/{name}", ctl_http_segment_remove, CTL_TOKEN, 0, 0 },
	{ "POST", "/v1/jobs/{id}/segments/{name}/collected", ctl_http_segment_collected, CTL_TOKEN, COLLECTED_BODY_BYTES, 0 },
	{ "POST", "/v1/jobs/{id}/stop", ctl_http_job_stop, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/links", ctl_http_links, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/links/{name}", ctl_http_link, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/live/{link}", ctl_http_live, CTL_TOKEN, 0, 0 },
	{ "GET", "/v1/openapi.yaml", ctl_http_openapi, CTL_ANYBODY, 0, 0 },
	{ "POST", "/v1/rings/{id}/trigger", ctl_http_ring_trigger, CTL_TOKEN, FILTER_BODY_BYTES, 0 },
	{ "GET", "/v1/probe", ctl_http_probe, CTL_TOKEN, 0, 0 },
};
const size_t ctl_routes_n = ARRAY_LEN(ctl_routes);

static int refuse_token(struct skep_http_req *req, const char *why)
{
	(void)skep_http_add_header(req, "WWW-Authenticate", "Bearer realm=\"skep\"");
	(void)skep_http_refuse(req, 401, "no-token", NULL, "%s", why);
	return SKEP_E_PRIVILEGE;
}

int ctl_http_authorize(struct skep_http_req *req, const struct skep_http_route *route, void *app)
{
	struct ctl *ctl = app;
	const char *header = skep_http_header(req, "Authorization");
	char name[CTL_TOKEN_NAME];

	if (route->permission == CTL_ANYBODY)
		return 0;
	if (!header)
		return refuse_token(req, "this needs a bearer token (Authorization: Bearer …)");
	if (strncasecmp(header, "Bearer ", 7) != 0)
		return refuse_token(req, "only bearer tokens are taken (Authorization: Bearer …)");
	if (!ctl_tokens_verify(ctl->tokens, header + 7 + strspn(header + 7, " "), name))
		return refuse_token(req, "the token is not one of this probe's, or was revoked");
	return 0;
}
