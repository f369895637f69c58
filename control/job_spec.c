/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a job as a client asks for it. What only the engine can judge (filter, snaplen, sampling and the
 * like) is passed on as it is and refused there, in the engine's words; here are the fields that the daemon
 * itself understands. Collects all problems, changes nothing but the job it is given. No state: any thread.
 */
#include "control/job_priv.h"

#include "common/parse.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define RING_MIN_BYTES (16 << 20) /* the smallest files of an engine have 1 MiB */
#define RING_MIN_NS 1000000000ll
#define FILTER_MAX_BYTES 65536u

/* Passed on to the engine. */
static const char *const engine_fields[] = {
	"cutoff", "decap",  "filter", "format",	 "inside", "keep_files",
	"level",  "rotate", "sample", "snaplen", "trim",   NULL,
};
static const char *const own_fields[] = { "end_at", "limits", "links", "name", "ring", "start_at", NULL };

static bool among(const char *const *list, const char *name)
{
	while (*list && strcmp(*list, name) != 0)
		list++;
	return *list;
}

/* "2026-11-21T11:50:57.123Z"; UTC only. */
static bool parse_time(const char *text, uint64_t *ret)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	uint64_t ns = 0, unit = SKEP_NSEC_PER_SEC / 10;
	time_t seconds;

	if (!end)
		return false;
	if (*end == '.') {
		const char *digits = ++end;

		for (; *end >= '0' && *end <= '9' && unit; end++, unit /= 10)
			ns += unit * (uint64_t)(*end - '0');
		if (end == digits)
			return false;
	}
	seconds = timegm(&tm);
	if (strcmp(end, "Z") != 0 || seconds <= 0)
		return false;
	*ret = (uint64_t)seconds * SKEP_NSEC_PER_SEC + ns;
	return true;
}

static void read_time(const json_t *body, const char *field, uint64_t *ret, struct skep_problems *problems)
{
	const json_t *value = json_object_get(body, field);
	char pointer[32];

	if (!value || json_is_null(value))
		return;
	if (json_is_string(value) && parse_time(json_string_value(value), ret))
		return;
	(void)snprintf(pointer, sizeof(pointer), "/%s", field);
	skep_problems_add(problems, "bad-value", pointer, "%s: is no time in UTC", field);
	skep_problems_hint(problems, "write it like 2026-11-21T11:50:57Z");
}

static void read_limit(const json_t *limits, const char *field, uint64_t *ret, struct skep_problems *problems)
{
	const json_t *value = json_object_get(limits, field);
	char pointer[48];

	if (!value || json_is_null(value))
		return;
	if (json_is_integer(value) && json_integer_value(value) > 0) {
		*ret = (uint64_t)json_integer_value(value);
		return;
	}
	(void)snprintf(pointer, sizeof(pointer), "/limits/%s", field);
	skep_problems_add(problems, "bad-value", pointer, "limits.%s: must be a whole number, at least 1",
			  field);
}

static void read_limits(const json_t *body, struct job *job, struct skep_problems *problems)
{
	static const char *const known[] = { "bytes", "duration_ns", "packets", NULL };
	const json_t *limits = json_object_get(body, "limits");
	char pointer[96];
	const char *field;
	json_t *value;

	if (!limits || json_is_null(limits))
		return;
	if (!json_is_object(limits)) {
		skep_problems_add(problems, "bad-value", "/limits", "limits: must be an object");
		return;
	}
	json_object_foreach((json_t *)(uintptr_t)limits, field, value)
	{
		if (among(known, field))
			continue;
		(void)snprintf(pointer, sizeof(pointer), "/limits/%.60s", field);
		skep_problems_add(problems, "unknown-field", pointer, "limits.%.60s: there is no such limit",
				  field);
		skep_problems_hint(problems, "packets, bytes, duration_ns");
	}
	read_limit(limits, "packets", &job->limit_packets, problems);
	read_limit(limits, "bytes", &job->limit_bytes, problems);
	read_limit(limits, "duration_ns", &job->limit_duration_ns, problems);
}

/* A ring rotates by itself, and has no end of its own. */
static void read_ring(const json_t *body, struct job *job, struct skep_problems *problems)
{
	const json_t *ring = json_object_get(body, "ring");
	const json_t *bytes = json_object_get(ring, "bytes"),
		     *duration = json_object_get(ring, "duration_ns");
	const json_t *one = bytes ? bytes : duration;

	if (!ring || json_is_null(ring))
		return;
	if (!json_is_object(ring) || json_object_size(ring) != 1 || !json_is_integer(one) ||
	    json_integer_value(one) < (bytes ? RING_MIN_BYTES : RING_MIN_NS)) {
		skep_problems_add(problems, "bad-value", "/ring",
				  "ring: must be an object with either bytes or duration_ns");
		skep_problems_hint(problems, "at least %d bytes, or %lld ns", RING_MIN_BYTES, RING_MIN_NS);
		return;
	}
	*(bytes ? &job->ring_bytes : &job->ring_ns) = (uint64_t)json_integer_value(one);
	for (size_t i = 0; i < 2; i++)
		if (json_object_get(job->spec, i ? "rotate" : "keep_files"))
			skep_problems_add(problems, "bad-value", i ? "/rotate" : "/keep_files",
					  "%s: a ring decides this itself", i ? "rotate" : "keep_files");
}

static bool is_link(const char *name)
{
	char path[64];

	if (!name[0] || strlen(name) >= CTL_LINK_NAME || strchr(name, '/') || name[0] == '.')
		return false;
	(void)snprintf(path, sizeof(path), "/sys/class/net/%s", name);
	return access(path, F_OK) == 0;
}

static void read_links(const json_t *body, struct job *job, struct skep_problems *problems)
{
	const json_t *links = json_object_get(body, "links");
	json_t *item;
	size_t i;

	if (!json_is_array(links) || json_array_size(links) == 0 || json_array_size(links) > CTL_LINKS_MAX) {
		skep_problems_add(problems, "bad-value", "/links", "links: must be an array of 1 to %d names",
				  CTL_LINKS_MAX);
		return;
	}
	json_array_foreach(links, i, item)
	{
		const char *name = json_string_value(item);
		char pointer[40];

		(void)snprintf(pointer, sizeof(pointer), "/links/%zu", i);
		if (!name || !is_link(name)) {
			skep_problems_add(problems, "no-such-link", pointer,
					  "links: this probe has no link \"%.40s\"",
					  name ? name : "(not a text)");
			continue;
		}
		for (uint32_t k = 0; k < job->n_links; k++)
			if (!strcmp(job->links[k].name, name))
				skep_problems_add(problems, "bad-value", pointer, "links: %s is named twice",
						  name);
		(void)snprintf(job->links[job->n_links++].name, CTL_LINK_NAME, "%s", name);
	}
}

static void read_name(const json_t *body, struct job *job, struct skep_problems *problems)
{
	const json_t *name = json_object_get(body, "name");
	const char *text = json_string_value(name);

	if (!name || json_is_null(name))
		return;
	if (!text || strlen(text) != json_string_length(name) || strlen(text) >= sizeof(job->name)) {
		skep_problems_add(problems, "bad-value", "/name", "name: must be a text of at most %zu bytes",
				  sizeof(job->name) - 1);
		return;
	}
	(void)snprintf(job->name, sizeof(job->name), "%s", text);
}

static void read_engine_fields(const json_t *body, struct job *job, struct skep_problems *problems)
{
	const json_t *filter = json_object_get(body, "filter");
	const char *field;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)body, field, value)
	{
		char pointer[96];

		if (among(own_fields, field) || json_is_null(value))
			continue;
		if (among(engine_fields, field)) {
			json_object_set(job->spec, field, value);
			continue;
		}
		(void)snprintf(pointer, sizeof(pointer), "/%.60s", field);
		skep_problems_add(problems, "unknown-field", pointer, "%.60s: a job has no such field",
				  field);
	}
	if (filter && !json_is_null(filter) &&
	    (!json_is_string(filter) || json_string_length(filter) > FILTER_MAX_BYTES))
		skep_problems_add(problems, "bad-value", "/filter",
				  "filter: must be a text of at most %u bytes", FILTER_MAX_BYTES);
}

void ctl_job_parse(const struct ctl_config *cfg, const json_t *body, struct job *job,
		   struct skep_problems *problems)
{
	(void)cfg;
	read_name(body, job, problems);
	read_links(body, job, problems);
	read_limits(body, job, problems);
	read_time(body, "start_at", &job->start_at_ns, problems);
	read_time(body, "end_at", &job->end_at_ns, problems);
	read_engine_fields(body, job, problems);
	read_ring(body, job, problems);
	if (job->end_at_ns && job->end_at_ns <= SKEP_MAX(job->start_at_ns, ctl_job_now_ns()))
		skep_problems_add(problems, "bad-value", "/end_at",
				  "end_at: is before the start, or has passed");
	job->budget = job->n_links > 1 && (job->limit_packets || job->limit_bytes);
}

/* "job.limits.packets: not a number" → "/limits/packets"; a column is one of the filter. */
void ctl_job_engine_refused(struct skep_problems *problems, const struct skep_err *err)
{
	char pointer[64] = "";
	const char *code = NULL;

	if (!strncmp(err->text, "job.", 4)) {
		size_t n = strcspn(err->text + 4, ": ");

		(void)snprintf(pointer, sizeof(pointer), "/%.*s", (int)SKEP_MIN(n, sizeof(pointer) - 2),
			       err->text + 4);
		for (char *p = pointer; *p; p++)
			*p = *p == '.' ? '/' : *p;
	}
	if (err->column || !strncmp(err->text, "filter", 6)) {
		(void)snprintf(pointer, sizeof(pointer), "/filter");
		code = "bad-filter";
	}
	problems->status = skep_problem_status(err->code);
	skep_problems_add_err(problems, code, pointer, err);
}
