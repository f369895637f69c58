/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /v1/jobs/{id}/segments: lists, serves and removes complete segments. Bytes go by Range with a strong
 * ETag, so that a fetch that was cut goes on where it was; Repr-Digest is there as soon as the engine has
 * computed it.
 */
#include "control/segment.h"

#include "common/json.h"
#include "control/http/handlers.h"

#include <errno.h>
#include <string.h>

static int no_such_segment(struct skep_http_req *req)
{
	return skep_http_refuse(req, 404, "no-such-segment", NULL, "the job has no such complete segment");
}

uint32_t ctl_http_job_lives(const json_t *job)
{
	json_int_t lives = 0;
	json_t *link;
	size_t i;

	json_array_foreach(json_object_get(job, "links"), i, link) lives =
		SKEP_MAX(lives, json_integer_value(json_object_get(link, "lives")));
	return (uint32_t)lives;
}

static uint32_t lives_of(struct ctl *ctl, const char *id)
{
	_skep_json_ json_t *job = ctl_jobs_get(ctl->jobs, id);

	return ctl_http_job_lives(job);
}

int ctl_http_segments(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id");
	uint32_t lives = lives_of(ctl, id);

	if (!lives)
		return skep_http_refuse(req, 404, "no-such-job", NULL, "this probe has no such job");
	return skep_http_answer_json(req, 200,
				     json_pack("{s:o}", "segments", ctl_segment_list(&ctl->cfg, id, lives)));
}

static const char *type_of(const char *name)
{
	size_t n = strlen(name);

	if (n > 4 && !strcmp(name + n - 4, ".zst"))
		return "application/zstd";
	return "application/vnd.tcpdump.pcap";
}

int ctl_http_segment(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id");
	struct ctl_segment segment = { .fd = -1 };
	struct skep_http_file file;

	if (!lives_of(ctl, id) || ctl_segment_open(&ctl->cfg, id, skep_http_param(req, "name"), &segment))
		return no_such_segment(req);
	file = (struct skep_http_file){
		.fd = segment.fd,
		.type = type_of(segment.name),
		.etag = segment.etag,
		.sha256 = segment.has_sha256 ? segment.sha256 : NULL,
		.name = segment.name,
	};
	return skep_http_answer_file(req, &file);
}

int ctl_http_segment_collected(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id"), *sha256;
	_skep_json_ json_t *body = NULL;
	int r;

	if (skep_http_body_json(req, &body))
		return 0;
	sha256 = json_string_value(json_object_get(body, "sha256"));
	if (!sha256 || strlen(sha256) != 64 || strspn(sha256, "0123456789abcdefABCDEF") != 64)
		return skep_http_refuse(req, 422, "bad-value", "/sha256",
					"sha256: must be the digest that was verified, 64 hexadecimal digits");
	if (json_object_size(body) != 1)
		return skep_http_refuse(req, 422, "unknown-field", NULL, "only \"sha256\" is known here");
	if (!lives_of(ctl, id))
		return no_such_segment(req);
	r = ctl_segment_mark(&ctl->cfg, id, skep_http_param(req, "name"), sha256);
	if (r == SKEP_E_BUSY)
		return skep_http_refuse(req, 409, "no-digest", NULL, "the segment's digest is not computed yet");
	if (r == SKEP_E_BAD_DATA)
		return skep_http_refuse(req, 409, "other-digest", "/sha256",
					"sha256: is not that of the segment: what was collected is something else");
	if (r > 0)
		return no_such_segment(req);
	return r ? r : skep_http_answer_empty(req, 204);
}

int ctl_http_segment_sidecar(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id");
	struct ctl_segment segment = { .fd = -1 };
	struct skep_http_file file = { .type = "application/json" };

	if (!lives_of(ctl, id) || ctl_segment_open_sidecar(&ctl->cfg, id, skep_http_param(req, "name"), &segment))
		return no_such_segment(req);
	file.fd = segment.fd;
	file.etag = segment.etag;
	return skep_http_answer_file(req, &file);
}

int ctl_http_segment_remove(struct skep_http_req *req, void *app)
{
	struct ctl *ctl = app;
	const char *id = skep_http_param(req, "id");
	int r;

	if (!lives_of(ctl, id))
		return no_such_segment(req);
	r = ctl_segment_remove(&ctl->cfg, id, skep_http_param(req, "name"));
	if (r > 0)
		return no_such_segment(req);
	return r ? r : skep_http_answer_empty(req, 204);
}
