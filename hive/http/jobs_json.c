/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fields of a job as JSON, into a wish: of a request, of a template, of a schedule, of another job.
 * Processing is not there yet, and a job that asks for it is refused rather than run without. Any thread.
 */
#include "hive/http/call.h"

#include "hive/svc/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const create_fields[] = {
	"name",	   "filter",  "description", "priority", "start_mode",	 "missing",	   "limit_duration_s", "limit_bytes",
	"limit_pkts", "link_limit_bytes", "link_limit_pkts", "snaplen", "trim", "sample_every", "sample_by_flow", "format",
	"expected_bps", "start", "end", "kind", "ring_duration_s", "ring_bytes", NULL,
};
static const char *const own_members[] = { "links", "script_name", "script_args", NULL };

uint32_t hive_http_take_links(const json_t *body, const char *ret[static HIVE_JOB_LINKS_MAX],
			      struct skep_problems *problems)
{
	const json_t *links = json_object_get(body, "links"), *item;
	uint32_t n = 0;
	size_t i;

	if (json_is_string(links) && strcmp(json_string_value(links), "*") == 0) {
		ret[0] = "*";
		return 1;
	}
	if (!json_is_array(links) || json_array_size(links) > HIVE_JOB_LINKS_MAX) {
		skep_problems_add(problems, "bad-value", "/links", "links: must be a list of at most %d names, or \"*\"",
				  HIVE_JOB_LINKS_MAX);
		return 0;
	}
	json_array_foreach(links, i, item) {
		if (!json_is_string(item)) {
			skep_problems_add(problems, "bad-value", "/links", "links: must be a list of names");
			return 0;
		}
		ret[n++] = json_string_value(item);
	}
	return n;
}

int hive_http_take_job(const json_t *body, struct hive_http_job *ret, struct skep_problems *problems)
{
	const struct hive_http_take take = { .table = &hive_jobs_table,
					     .fields = create_fields,
					     .also = own_members };
	struct hive_job *row = &ret->wish.row;

	if (!row->format) {
		row->priority = HIVE_NORMAL;
		row->format = strdup("pcap");
		if (!row->format)
			return -ENOMEM;
	}
	hive_http_take_row(&take, body, row, problems);
	ret->wish.links = ret->links;
	ret->wish.n_links = hive_http_take_links(body, ret->links, problems);
	if (json_object_get(body, "script_name") || json_object_get(body, "script_args"))
		skep_problems_add(problems, "no-processing", "/script_name", "script_name: this hive cannot process datasets yet");
	return 0;
}

json_t *hive_http_job_fields(const struct hive_job *job, const struct hive_rows *parts)
{
	json_t *row = hive_http_row_json(&hive_jobs_table, job), *ret = json_object(), *links = json_array();

	for (const char *const *field = create_fields; row && ret && *field; field++) {
		json_t *value = json_object_get(row, *field);

		/* times have passed, or would be those of the other */
		if (value && !json_is_null(value) && strcmp(*field, "start") != 0 && strcmp(*field, "end") != 0)
			(void)json_object_set(ret, *field, value);
	}
	for (uint32_t i = 0; links && i < parts->n; i++)
		(void)json_array_append_new(
			links, json_string(((struct hive_job_link *)hive_rows_at(parts, i))->link_name));
	if (ret)
		(void)json_object_set_new(ret, "links", links);
	json_decref(row);
	return ret;
}

/* ---- for templates and schedules ---- */

struct kept {
	json_t *body;
	struct hive_http_job job;
};

static void done(struct hive_job_wish *wish, void *keep)
{
	struct kept *kept = keep;

	hive_job_clear(&wish->row);
	json_decref(kept->body);
	free(kept);
}

static int read_job(const char *text, struct hive_job_wish *wish, void **ret_keep,
		    struct hive_complaints *complaints)
{
	struct kept *kept = calloc(1, sizeof(*kept));
	struct skep_problems problems = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	if (!kept)
		return -ENOMEM;
	*ret_keep = kept;
	r = skep_json_load("job", text, strlen(text), &kept->body, &err);
	if (r != 0)
		return r < 0 ? r : hive_complain(complaints, "job", "%s", err.text);
	r = hive_http_take_job(kept->body, &kept->job, &problems);
	for (uint32_t i = 0; i < SKEP_MIN(problems.n, (uint32_t)SKEP_PROBLEMS_MAX); i++) {
		char field[64];

		snprintf(field, sizeof(field), "job%.50s", problems.items[i].pointer);
		r = hive_complain(complaints, field, "job: %.480s", problems.items[i].text);
	}
	wish->row = kept->job.wish.row; /* the texts are the wish's now */
	wish->links = kept->job.links;
	wish->n_links = kept->job.wish.n_links;
	return r;
}

const struct hive_job_reader hive_http_job_reader = { .read = read_job, .done = done };
