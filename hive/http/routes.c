/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every route of the API in one table, and the one way to a handler: who is it (token, or session with its
 * CSRF token), does the route's rule let them, then the handler. A row without a rule lets nobody. Runs on
 * the HTTP server's workers; any number at once.
 */
#include "hive/http/call.h"

#include "common/log.h"
#include "hive/svc/imports.h"
#include "hive/svc/jobs.h"
#include "hive/svc/login.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define API "/api/v1"
#define SMALL 65536u
#define WORKERS 12 /* of which three may wait for estimates */
#define LARGE (256u * 1024) /* a filter of 64 KiB, escaped */
#define NEEDS(rights) (HIVE_RULE_RIGHTS + (rights))
#define JOBS (HIVE_RIGHT_JOBS | HIVE_RIGHT_JOBS_GROUP | HIVE_RIGHT_JOBS_ALL)

#define LIST(path, rule, kind) { "GET", API path, hive_http_things, rule, kind, 0, 0 }
#define GET(path, rule, kind) { "GET", API path "/{id}", hive_http_thing, rule, kind, 0, 0 }
#define POST(path, rule, kind) { "POST", API path, hive_http_thing_create, rule, kind, 0, LARGE }
#define PATCH(path, rule, kind) { "PATCH", API path "/{id}", hive_http_thing_change, rule, kind, 0, LARGE }
#define DELETE(path, rule, kind) { "DELETE", API path "/{id}", hive_http_thing_delete, rule, kind, 0, 0 }
#define ACT(word, action) { "POST", API "/jobs/{id}/" word, hive_http_job_act, NEEDS(JOBS), HIVE_JOB, action, 0 }

const struct hive_route hive_routes[] = {
	{ "GET", "/healthz", hive_http_health, HIVE_RULE_ANYBODY, 0, 0, 0 },
	{ "GET", "/metrics", hive_http_metrics, NEEDS(HIVE_RIGHT_AUDIT), 0, 0, 0 },
	{ "GET", "/readyz", hive_http_ready, HIVE_RULE_ANYBODY, 0, 0, 0 },
	{ "GET", API "/openapi.json", hive_http_openapi, HIVE_RULE_ANYBODY, 0, 0, 0 },

	{ "POST", API "/session", hive_http_login, HIVE_RULE_ANYBODY, 0, 0, SMALL },
	{ "GET", API "/session", hive_http_whoami, HIVE_RULE_LOGGED_IN, 0, 0, 0 },
	{ "DELETE", API "/session", hive_http_logout, HIVE_RULE_LOGGED_IN, 0, 0, 0 },
	{ "POST", API "/session/claim", hive_http_claim, HIVE_RULE_ANYBODY, 0, 0, SMALL },
	LIST("/sessions", HIVE_RULE_LOGGED_IN, HIVE_SESSION),
	{ "DELETE", API "/sessions", hive_http_logout_everywhere, HIVE_RULE_LOGGED_IN, 0, 0, 0 },
	DELETE("/sessions", HIVE_RULE_LOGGED_IN, HIVE_SESSION),

	LIST("/users", HIVE_RULE_LOGGED_IN, HIVE_USER),
	POST("/users", NEEDS(HIVE_RIGHT_USERS), HIVE_USER),
	GET("/users", HIVE_RULE_LOGGED_IN, HIVE_USER),
	PATCH("/users", HIVE_RULE_LOGGED_IN, HIVE_USER),
	DELETE("/users", NEEDS(HIVE_RIGHT_USERS), HIVE_USER),

	LIST("/groups", HIVE_RULE_LOGGED_IN, HIVE_GROUP),
	POST("/groups", NEEDS(HIVE_RIGHT_GROUPS), HIVE_GROUP),
	GET("/groups", HIVE_RULE_LOGGED_IN, HIVE_GROUP),
	PATCH("/groups", NEEDS(HIVE_RIGHT_GROUPS), HIVE_GROUP),
	DELETE("/groups", NEEDS(HIVE_RIGHT_GROUPS), HIVE_GROUP),
	{ "GET", API "/groups/{id}/members", hive_http_group_members, HIVE_RULE_LOGGED_IN, 0, 0, 0 },
	{ "PUT", API "/groups/{id}/members/{user}", hive_http_group_member, NEEDS(HIVE_RIGHT_GROUPS), 0, 1, 0 },
	{ "DELETE", API "/groups/{id}/members/{user}", hive_http_group_member, NEEDS(HIVE_RIGHT_GROUPS), 0, 0, 0 },
	{ "PUT", API "/groups/{id}/links/{link}", hive_http_group_link, NEEDS(HIVE_RIGHT_GROUPS), 0, 1, 0 },
	{ "DELETE", API "/groups/{id}/links/{link}", hive_http_group_link, NEEDS(HIVE_RIGHT_GROUPS), 0, 0, 0 },

	LIST("/tokens", HIVE_RULE_LOGGED_IN, HIVE_TOKEN),
	POST("/tokens", HIVE_RULE_LOGGED_IN, HIVE_TOKEN),
	GET("/tokens", HIVE_RULE_LOGGED_IN, HIVE_TOKEN),
	DELETE("/tokens", HIVE_RULE_LOGGED_IN, HIVE_TOKEN),

	LIST("/probes", NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE),
	{ "POST", API "/probes", hive_http_probe_create, NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE, 0, LARGE },
	GET("/probes", NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE),
	PATCH("/probes", NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE),
	DELETE("/probes", NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE),
	{ "POST", API "/probes/{id}/discover", hive_http_probe_discover, NEEDS(HIVE_RIGHT_PROBES), HIVE_PROBE, 0, 0 },

	LIST("/links", HIVE_RULE_LOGGED_IN, HIVE_LINK),
	POST("/links", NEEDS(HIVE_RIGHT_PROBES), HIVE_LINK),
	GET("/links", HIVE_RULE_LOGGED_IN, HIVE_LINK),
	PATCH("/links", NEEDS(HIVE_RIGHT_PROBES), HIVE_LINK),
	DELETE("/links", NEEDS(HIVE_RIGHT_PROBES), HIVE_LINK),

	LIST("/jobs", NEEDS(JOBS), HIVE_JOB),
	{ "POST", API "/jobs", hive_http_job_create, NEEDS(HIVE_RIGHT_JOBS), HIVE_JOB, 0, LARGE },
	{ "GET", API "/jobs/{id}", hive_http_job, NEEDS(JOBS), HIVE_JOB, 0, 0 },
	{ "GET", API "/jobs/{id}/events", hive_http_job_events, NEEDS(JOBS), HIVE_JOB, 0, 0 },
	ACT("archive", HIVE_ACTION_ARCHIVE),
	ACT("cancel", HIVE_ACTION_CANCEL),
	{ "POST", API "/jobs/{id}/clone", hive_http_job_clone, NEEDS(HIVE_RIGHT_JOBS), HIVE_JOB, 0, LARGE },
	ACT("pause", HIVE_ACTION_PAUSE),
	ACT("restore", HIVE_ACTION_RESTORE),
	ACT("resume", HIVE_ACTION_RESUME),
	ACT("stop", HIVE_ACTION_STOP),

	{ "GET", API "/events", hive_http_events, NEEDS(JOBS), HIVE_JOB, 0, 0 },

	{ "GET", API "/rings", hive_http_rings, NEEDS(JOBS), HIVE_JOB, 0, 0 },
	{ "POST", API "/rings", hive_http_job_create, NEEDS(HIVE_RIGHT_JOBS), HIVE_JOB, HIVE_KIND_RING, LARGE },
	{ "GET", API "/rings/{id}", hive_http_ring, NEEDS(JOBS), HIVE_JOB, 0, 0 },
	{ "POST", API "/rings/{id}/trigger", hive_http_ring_trigger, NEEDS(HIVE_RIGHT_JOBS), HIVE_JOB, 0, LARGE },

	LIST("/templates", NEEDS(JOBS), HIVE_TEMPLATE),
	POST("/templates", NEEDS(HIVE_RIGHT_JOBS), HIVE_TEMPLATE),
	GET("/templates", NEEDS(JOBS), HIVE_TEMPLATE),
	PATCH("/templates", NEEDS(HIVE_RIGHT_JOBS), HIVE_TEMPLATE),
	DELETE("/templates", NEEDS(HIVE_RIGHT_JOBS), HIVE_TEMPLATE),
	{ "POST", API "/templates/{id}/jobs", hive_http_template_use, NEEDS(HIVE_RIGHT_JOBS), HIVE_TEMPLATE, 0, LARGE },

	LIST("/schedules", NEEDS(JOBS), HIVE_SCHEDULE),
	POST("/schedules", NEEDS(HIVE_RIGHT_JOBS), HIVE_SCHEDULE),
	GET("/schedules", NEEDS(JOBS), HIVE_SCHEDULE),
	PATCH("/schedules", NEEDS(HIVE_RIGHT_JOBS), HIVE_SCHEDULE),
	DELETE("/schedules", NEEDS(HIVE_RIGHT_JOBS), HIVE_SCHEDULE),

	LIST("/webhooks", NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK),
	POST("/webhooks", NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK),
	GET("/webhooks", NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK),
	PATCH("/webhooks", NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK),
	DELETE("/webhooks", NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK),
	{ "GET", API "/webhooks/{id}/deliveries", hive_http_webhook_deliveries, NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK, 0, 0 },
	{ "POST", API "/webhooks/{id}/test", hive_http_webhook_test, NEEDS(HIVE_RIGHT_JOBS), HIVE_WEBHOOK, 0, 0 },

	LIST("/filters", NEEDS(JOBS), HIVE_FILTER),
	{ "POST", API "/filters/check", hive_http_filter_check, NEEDS(HIVE_RIGHT_JOBS), HIVE_FILTER, 0, LARGE },
	{ "POST", API "/filters/estimate", hive_http_filter_estimate, NEEDS(HIVE_RIGHT_JOBS), HIVE_FILTER, 0, LARGE },
	POST("/filters", NEEDS(HIVE_RIGHT_JOBS), HIVE_FILTER),
	GET("/filters", NEEDS(JOBS), HIVE_FILTER),
	PATCH("/filters", NEEDS(HIVE_RIGHT_JOBS), HIVE_FILTER),
	DELETE("/filters", NEEDS(HIVE_RIGHT_JOBS), HIVE_FILTER),

	LIST("/datasets", NEEDS(JOBS), HIVE_DATASET),
	GET("/datasets", NEEDS(JOBS), HIVE_DATASET),
	PATCH("/datasets", NEEDS(JOBS), HIVE_DATASET),
	DELETE("/datasets", NEEDS(JOBS), HIVE_DATASET),
	{ "GET", API "/datasets/{id}/download", hive_http_dataset_download, NEEDS(HIVE_RIGHT_DOWNLOAD), HIVE_DATASET, 0, 0 },
	{ "GET", API "/datasets/{id}/manifest", hive_http_dataset_manifest, NEEDS(JOBS), HIVE_DATASET, 0, 0 },
	{ "GET", API "/datasets/{id}/files", hive_http_dataset_files, NEEDS(JOBS), HIVE_DATASET, 0, 0 },
	{ "GET", API "/datasets/{id}/files/{file}", hive_http_dataset_file, NEEDS(HIVE_RIGHT_DOWNLOAD), HIVE_DATASET, 0, 0 },

	{ "GET", API "/logs", hive_http_logs, NEEDS(HIVE_RIGHT_AUDIT), 0, 0, 0 },

	LIST("/shares", NEEDS(JOBS), HIVE_SHARE),
	POST("/shares", NEEDS(HIVE_RIGHT_DOWNLOAD), HIVE_SHARE),
	GET("/shares", NEEDS(JOBS), HIVE_SHARE),
	DELETE("/shares", NEEDS(JOBS), HIVE_SHARE),
	{ "GET", API "/shared/{secret}", hive_http_shared, HIVE_RULE_SHARE, 0, 0, 0 },
	{ "GET", API "/shared/{secret}/download", hive_http_shared_download, HIVE_RULE_SHARE, 0, 0, 0 },

	LIST("/notes", NEEDS(JOBS), HIVE_NOTE),
	POST("/notes", NEEDS(JOBS), HIVE_NOTE),
	GET("/notes", NEEDS(JOBS), HIVE_NOTE),
	PATCH("/notes", NEEDS(JOBS), HIVE_NOTE),
	DELETE("/notes", NEEDS(JOBS), HIVE_NOTE),

	LIST("/imports", NEEDS(JOBS), HIVE_IMPORT),
	POST("/imports", NEEDS(HIVE_RIGHT_JOBS), HIVE_IMPORT),
	GET("/imports", NEEDS(JOBS), HIVE_IMPORT),
	DELETE("/imports", NEEDS(JOBS), HIVE_IMPORT),
	{ "PUT", API "/imports/{id}/data", hive_http_import_data, NEEDS(JOBS), HIVE_IMPORT, 0, HIVE_PIECE_MAX },

	LIST("/destinations", NEEDS(HIVE_RIGHT_PROBES | HIVE_RIGHT_DOWNLOAD), HIVE_DESTINATION),
	POST("/destinations", NEEDS(HIVE_RIGHT_PROBES), HIVE_DESTINATION),
	GET("/destinations", NEEDS(HIVE_RIGHT_PROBES | HIVE_RIGHT_DOWNLOAD), HIVE_DESTINATION),
	PATCH("/destinations", NEEDS(HIVE_RIGHT_PROBES), HIVE_DESTINATION),
	DELETE("/destinations", NEEDS(HIVE_RIGHT_PROBES), HIVE_DESTINATION),

	LIST("/copies", NEEDS(JOBS), HIVE_COPY),
	POST("/copies", NEEDS(HIVE_RIGHT_DOWNLOAD), HIVE_COPY),
	GET("/copies", NEEDS(JOBS), HIVE_COPY),
	DELETE("/copies", NEEDS(JOBS), HIVE_COPY),
	{ "GET", API "/store", hive_http_store, HIVE_RULE_LOGGED_IN, 0, 0, 0 },

	LIST("/audit", NEEDS(HIVE_RIGHT_AUDIT), HIVE_AUDIT),
	GET("/audit", NEEDS(HIVE_RIGHT_AUDIT), HIVE_AUDIT),
};
const size_t hive_routes_n = ARRAY_LEN(hive_routes);

/* ---- who is it ---- */

static int refuse_login(struct hive_call *call, const char *code, const char *why)
{
	(void)skep_http_add_header(call->req, "WWW-Authenticate", "Bearer realm=\"skep\"");
	return skep_http_refuse(call->req, 401, code, NULL, "%s", why);
}

static bool is_safe(const struct hive_call *call)
{
	const char *method = skep_http_method(call->req);

	return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

/*
 * A browser sends the cookie by itself, also for a page of somebody else (SameSite keeps most of that away);
 * the token that goes with it, only our page knows.
 */
static bool csrf_fine(const struct hive_call *call)
{
	const char *sent = skep_http_header(call->req, "X-CSRF-Token");
	const char *site = skep_http_header(call->req, "Sec-Fetch-Site");

	if (site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
		return false;
	return sent && hive_secret_equal(sent, call->actor.csrf);
}

/* 0: actor is filled, or nobody has said who they are; 1: the answer is set. */
static int identify(struct hive_call *call)
{
	const char *header = skep_http_header(call->req, "Authorization"), *cookie = skep_http_cookie(call->req, HIVE_COOKIE);
	const struct hive_origin origin = { .address = skep_http_peer(call->req) };
	int r;

	if (call->route->rule == HIVE_RULE_SHARE)
		return 0;
	if (header && strncasecmp(header, "Bearer ", 7) == 0) {
		r = hive_actor_by_token(call->hive, header + 7 + strspn(header + 7, " "), &origin, &call->actor);
		if (r == SKEP_E_PRIVILEGE)
			(void)refuse_login(call, "bad-token", "the token is not valid, was revoked, or has expired");
	} else if (header) {
		(void)refuse_login(call, "bad-token", "only bearer tokens are taken (Authorization: Bearer …)");
		return 1;
	} else if (cookie) {
		r = hive_actor_by_session(call->hive, cookie, &origin, &call->actor);
		if (r == SKEP_E_PRIVILEGE) { /* as if there were none: the page shows the login */
			call->actor = (struct hive_actor){ 0 };
			return 0;
		}
		if (r == 0 && !is_safe(call) && call->route->rule != HIVE_RULE_ANYBODY && !csrf_fine(call)) {
			(void)skep_http_refuse(call->req, 403, "csrf", NULL, "X-CSRF-Token is missing or not that of the session");
			return 1;
		}
	} else {
		return 0;
	}
	if (r < 0)
		(void)hive_http_complain(call, r, NULL);
	return r != 0;
}

static bool rule_lets(struct hive_call *call)
{
	int rule = call->route->rule;

	if (rule == HIVE_RULE_ANYBODY || rule == HIVE_RULE_SHARE)
		return true;
	if (rule == HIVE_RULE_NOBODY) {
		(void)skep_http_refuse(call->req, 403, "forbidden", NULL, "nobody may do this");
		return false;
	}
	if (!call->actor.user_id) {
		(void)refuse_login(call, "login", "this needs a login or a token");
		return false;
	}
	if (rule >= HIVE_RULE_RIGHTS && !(call->actor.rights & (rule - HIVE_RULE_RIGHTS))) {
		(void)skep_http_refuse(call->req, 403, "forbidden", NULL, "you do not have the right to do this");
		return false;
	}
	return true;
}

static const struct hive_route *find_route(const struct skep_http_req *req)
{
	const char *method = skep_http_method(req), *pattern = skep_http_pattern(req);

	for (size_t i = 0; i < hive_routes_n; i++)
		if (strcmp(hive_routes[i].pattern, pattern) == 0 &&
		    (strcmp(hive_routes[i].method, method) == 0 ||
		     (strcmp(method, "HEAD") == 0 && strcmp(hive_routes[i].method, "GET") == 0)))
			return &hive_routes[i];
	return NULL;
}

static int handle(struct skep_http_req *req, void *app)
{
	struct hive_call call = {
		.req = req, .app = app, .hive = ((struct hive_http *)app)->hive, .route = find_route(req)
	};
	int r;

	if (!call.route)
		return skep_http_refuse(req, 403, "forbidden", NULL, "nobody may do this");
	if (identify(&call) != 0 || !rule_lets(&call))
		return 0;
	r = call.route->handler(&call);
	hive_secret_wipe(call.actor.csrf, sizeof(call.actor.csrf));
	return r;
}

/*
 * One line a request that was not merely read; the target may hold anything, so the pattern is what is
 * logged.
 */
static void finished(const struct skep_http_req *req, unsigned int status, uint64_t took_ns, void *app)
{
	const char *pattern = skep_http_pattern(req);

	(void)app;
	skep_log(status >= 500 ? SKEP_LOG_ERROR : SKEP_LOG_DEBUG, "method=%s route=%s status=%u ms=%.1f peer=%s",
		 skep_http_method(req), pattern ? pattern : "-", status, (double)took_ns / 1e6, skep_http_peer(req));
}

/* ---- start ---- */

int hive_http_start(struct hive *hive, const struct hive_http_config *cfg, struct hive_http **ret,
		    struct skep_err *err)
{
	struct hive_http *app = calloc(1, sizeof(*app));
	struct skep_http_cfg http = { .listen = cfg->listen,
				      .cert_pem = cfg->cert_pem,
				      .key_pem = cfg->key_pem,
				      .n_routes = hive_routes_n,
				      .finished = finished,
				      .workers = WORKERS,
				      .app = app };
	int r;

	if (app)
		app->routes = calloc(hive_routes_n, sizeof(*app->routes));
	if (!app || !app->routes) {
		free(app);
		return skep_err_set(err, -ENOMEM, "out of memory");
	}
	for (size_t i = 0; i < hive_routes_n; i++)
		app->routes[i] = (struct skep_http_route){ .method = hive_routes[i].method,
							   .pattern = hive_routes[i].pattern,
							   .handler = handle,
							   .body_max_bytes = hive_routes[i].body_max_bytes };
	http.routes = app->routes;
	app->hive = hive;
	app->tls = cfg->cert_pem != NULL;
	app->started_ns = (uint64_t)hive_now_ns(hive);
	app->watch = hive_http_watch_new(hive);
	r = app->watch ? skep_http_start(&http, &app->http, err) : skep_err_set(err, -ENOMEM, "out of memory");
	if (r == 0)
		hive_jobs_read_by(hive, &hive_http_job_reader);
	if (r != 0) {
		hive_http_watch_free(app->watch);
		free(app->routes);
		free(app);
		return r;
	}
	*ret = app;
	return 0;
}

struct hive_http *hive_http_stop(struct hive_http *app)
{
	if (!app)
		return NULL;
	hive_jobs_read_by(app->hive, NULL);
	app->http = skep_http_stop(app->http, 5000);
	app->watch = hive_http_watch_free(app->watch);
	free(app->routes);
	free(app);
	return NULL;
}

uint16_t hive_http_port(const struct hive_http *app)
{
	return skep_http_port(app->http);
}
