/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_HTTP_CALL_H
#define HIVE_HTTP_CALL_H
/*
 * One call of the API on its way to its handler, and the table of routes.
 */
#include "common/http.h"
#include "common/json.h"
#include "hive/svc/hive.h"
#include "hive/svc/jobs.h"
#include "hive/svc/progress.h"
#include "hive/svc/things.h"

struct hive_http_watch;

struct hive_http {
	struct hive *hive;
	struct skep_http *http;
	struct skep_http_route *routes; /* for the HTTP server, made of hive_routes */
	struct hive_http_watch *watch;
	bool tls;
	uint64_t started_ns;
};

struct hive_call {
	struct skep_http_req *req;
	struct hive_http *app;
	struct hive *hive;
	const struct hive_route *route;
	struct hive_actor actor; /* user_id 0: nobody has logged in, and the route is for anybody */
};

/* Who may call a route. 0 is nobody, so a row without a rule is closed. */
enum {
	HIVE_RULE_NOBODY,
	HIVE_RULE_ANYBODY,   /* also without login */
	HIVE_RULE_SHARE,     /* who has the secret in its path; Authorization is not for us */
	HIVE_RULE_LOGGED_IN, /* what they see and may do is decided by the thing's own rules */
	HIVE_RULE_RIGHTS = 256, /* + rights: one of these at least */
};

struct hive_route {
	const char *method, *pattern;
	int (*handler)(struct hive_call *call);
	int rule;
	enum hive_kind_of kind; /* of the generic handlers */
	int value;              /* the handler's own */
	size_t body_max_bytes;
};

extern const struct hive_route hive_routes[];
extern const size_t hive_routes_n;

struct hive_http_config {
	const char *listen;
	const char *cert_pem, *key_pem; /* NULL: no TLS, on loopback only */
};

int hive_http_start(struct hive *hive, const struct hive_http_config *cfg, struct hive_http **ret,
		    struct skep_err *err);
struct hive_http *hive_http_stop(struct hive_http *app);
uint16_t hive_http_port(const struct hive_http *app);

#define HIVE_COOKIE "__Host-skep"

/* ---- answers: each sets one and returns 0 or -errno ---- */

/* What a service returned that was not 0; with all complaints. */
int hive_http_complain(struct hive_call *call, int r, const struct hive_complaints *complaints);
/* A row with its ETag. */
int hive_http_answer_row(struct hive_call *call, unsigned int status, const struct hive_table *table,
			 const void *row);
/* The id in the path, or -1 and an answer of 404. */
int64_t hive_http_id(struct hive_call *call, const char *param);
/* If-Match as a version; 0: none was sent. -1: it is no version of ours, and the answer is set. */
int64_t hive_http_if_match(struct hive_call *call);
/*
 * Idempotency-Key and the digest of the request; *ret_key NULL: none was sent. SKEP_E_USAGE: too long, and
 * the answer is set.
 */
int hive_http_key(struct hive_call *call, const char **ret_key, char ret_digest[static HIVE_DIGEST_TEXT]);

/* ---- rows and JSON (rows.c) ---- */

/* Without what is secret; times in RFC 3339. NULL: no memory. */
json_t *hive_http_row_json(const struct hive_table *table, const void *row);
/*
 * Takes the members of a body that are in `fields` (NULL-terminated, JSON names) into the row, replacing its
 * texts; others, but for those in `also` (NULL: none), and values of another kind are problems, all of them.
 */
struct hive_http_take {
	const struct hive_table *table;
	const char *const *fields;
	const char *const *also;
};
void hive_http_take_row(const struct hive_http_take *take, const json_t *body, void *row,
			struct skep_problems *problems);
/* limit, cursor, sort and conditions of the query. SKEP_E_USAGE: the answer is set. */
int hive_http_list(struct hive_call *call, const struct hive_table *table, struct hive_list *ret);
/* RFC 3339 in UTC; -EINVAL. */
int hive_http_time(const char *text, int64_t *ret_ns);
int hive_http_answer_rows(struct hive_call *call, const struct hive_rows *rows);

/* A row that was made: with its secret, if it has one that is shown once. */
int hive_http_answer_created(struct hive_call *call, const struct hive_change *change);

/* ---- jobs as JSON (jobs_json.c) ---- */

struct hive_http_job {
	struct hive_job_wish wish; /* its texts are the caller's */
	const char *links[HIVE_JOB_LINKS_MAX]; /* live as long as the JSON */
};

/* "*", or a list of names. */
uint32_t hive_http_take_links(const json_t *body, const char *ret[static HIVE_JOB_LINKS_MAX],
			      struct skep_problems *problems);
int hive_http_take_job(const json_t *body, struct hive_http_job *ret, struct skep_problems *problems);
/* The fields with which a job like this one is made; the caller's. */
json_t *hive_http_job_fields(const struct hive_job *job, const struct hive_rows *parts);
extern const struct hive_job_reader hive_http_job_reader;

/* ---- events (events.c) ---- */

struct hive_http_watch *hive_http_watch_new(struct hive *hive); /* NULL: no memory */
/* After the server has stopped. Returns NULL; takes NULL. */
struct hive_http_watch *hive_http_watch_free(struct hive_http_watch *watch);
uint32_t hive_http_watchers(struct hive_http_watch *watch);
/* What happens from now on to the job that the actor sees; 0: to all. */
int hive_http_stream(struct hive_call *call, int64_t job_id);
json_t *hive_http_progress_json(const struct hive_progress *progress);
/* up, since, problem (probes.c) */
void hive_http_probe_state(struct hive *hive, const struct hive_probe *probe, json_t *object);

/* ---- handlers ---- */

extern const unsigned char hive_openapi[]; /* hive/api/openapi.yaml as JSON */
extern const size_t hive_openapi_bytes;

int hive_http_things(struct hive_call *call);
int hive_http_thing(struct hive_call *call);
int hive_http_thing_create(struct hive_call *call);
int hive_http_thing_change(struct hive_call *call);
int hive_http_thing_delete(struct hive_call *call);
int hive_http_group_members(struct hive_call *call);
int hive_http_group_member(struct hive_call *call); /* value: in or out */
int hive_http_group_link(struct hive_call *call);   /* value: in or out */

int hive_http_login(struct hive_call *call);
int hive_http_claim(struct hive_call *call);
int hive_http_logout(struct hive_call *call);
int hive_http_logout_everywhere(struct hive_call *call);
int hive_http_whoami(struct hive_call *call);

int hive_http_job_create(struct hive_call *call); /* value: enum hive_job_kind, unless the body says it */
int hive_http_job(struct hive_call *call);
int hive_http_job_act(struct hive_call *call); /* value: enum hive_job_action */
int hive_http_job_events(struct hive_call *call);
int hive_http_job_clone(struct hive_call *call);
int hive_http_template_use(struct hive_call *call);
int hive_http_rings(struct hive_call *call);
int hive_http_ring(struct hive_call *call);
int hive_http_ring_trigger(struct hive_call *call);
int hive_http_events(struct hive_call *call);

int hive_http_filter_check(struct hive_call *call);
int hive_http_filter_estimate(struct hive_call *call);
int hive_http_logs(struct hive_call *call);
int hive_http_probe_create(struct hive_call *call);
int hive_http_probe_discover(struct hive_call *call);
int hive_http_webhook_deliveries(struct hive_call *call);
int hive_http_webhook_test(struct hive_call *call);

/* The dataset, as the query wants it, to somebody who may have it. */
int hive_http_send_dataset(struct hive_call *call, const struct hive_dataset *dataset);
int hive_http_dataset_download(struct hive_call *call);
int hive_http_dataset_manifest(struct hive_call *call);
int hive_http_dataset_files(struct hive_call *call);
int hive_http_dataset_file(struct hive_call *call);

int hive_http_import_data(struct hive_call *call);
int hive_http_shared(struct hive_call *call);
int hive_http_shared_download(struct hive_call *call);
int hive_http_store(struct hive_call *call);

int hive_http_health(struct hive_call *call);
int hive_http_ready(struct hive_call *call);
int hive_http_metrics(struct hive_call *call);
int hive_http_openapi(struct hive_call *call);

#endif
