/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts together what three parties know: the hive (job, links, files), each probe (its record of the capture,
 * with every reason for a drop), each segment's sidecar (clock, card, kernel, versions). What a probe sent is
 * taken as text and numbers of known names and kinds, never as a whole, so a strange one can only be wrong
 * about itself. The order is that of the rows and of the sorted names, so the same rows give the same bytes.
 * Any thread.
 */
#include "hive/export/manifest.h"

#include "common/format.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#define SIDECAR_MAX (64 * 1024 * 1024)

static json_t *time_json(int64_t ns)
{
	char text[SKEP_FORMAT_MAX];

	return ns > 0 ? json_string(skep_format_time(text, (uint64_t)ns)) : json_null();
}

static json_t *text_json(const char *text)
{
	return text && *text ? json_string(text) ?: json_null() : json_null();
}

static json_t *number_json(int64_t number)
{
	return number ? json_integer(number) : json_null();
}

static json_t *lines_json(const char *text)
{
	json_t *list = json_array();

	while (text && *text) {
		size_t n = strcspn(text, "\n");

		if (n)
			(void)json_array_append_new(list, json_stringn(text, n) ?: json_null());
		text += n + (text[n] == '\n');
	}
	return list;
}

/* ---- what a sidecar says ---- */

static int load_sidecar(int folder, const char *name, json_t **ret)
{
	char path[400], self[64];
	_skep_close_ int fd = -1;

	if ((size_t)snprintf(path, sizeof(path), "%s.json", name) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (lseek(fd, 0, SEEK_END) > SIDECAR_MAX)
		return -EFBIG;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return skep_json_load_file(self, ret, NULL);
}

/* A copy of the member if it is of that kind. */
static json_t *copy_of(const json_t *object, const char *name, json_type kind)
{
	json_t *value = json_object_get(object, name);

	return value && json_typeof(value) == kind ? json_deep_copy(value) : json_null();
}

static void add_counts(json_t *sum, const json_t *counts)
{
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)counts, name, value)
	{
		json_int_t before = json_integer_value(json_object_get(sum, name));

		if (json_is_integer(value) && json_integer_value(value))
			(void)json_object_set_new(sum, name,
						  json_integer(before + json_integer_value(value)));
	}
}

/* The account of one segment: seen = stored + rejected + dropped. */
static json_t *account_of(const json_t *sidecar)
{
	const json_t *account = json_object_get(sidecar, "account");
	json_t *dropped = json_object();

	if (!json_is_object(account)) {
		json_decref(dropped);
		return json_null();
	}
	add_counts(dropped, json_object_get(account, "dropped"));
	return json_pack("{s:o, s:o, s:o, s:o}", "seen_pkts", copy_of(account, "seen_pkts", JSON_INTEGER),
			 "stored_pkts", copy_of(account, "stored_pkts", JSON_INTEGER), "rejected_pkts",
			 copy_of(account, "rejected_pkts", JSON_INTEGER), "dropped", dropped);
}

/* What the segments of a link say of where they come from: each value once. */
struct origins {
	json_t *nic, *driver, *kernel, *hostname, *software, *source, *timestamps;
	bool clock_known, synchronised;
	json_int_t error_ns;
};

static void note_value(json_t *list, const json_t *sidecar, const char *name)
{
	const char *text = json_string_value(json_object_get(sidecar, name));
	const json_t *item;
	size_t i;

	if (!text || json_array_size(list) >= 16)
		return;
	json_array_foreach(list, i, item) if (strcmp(json_string_value(item), text) == 0) return;
	(void)json_array_append_new(list, json_string(text));
}

static void note_origin(struct origins *o, const json_t *sidecar)
{
	const json_t *clock = json_object_get(sidecar, "clock");
	json_int_t error_ns = json_integer_value(json_object_get(clock, "error_ns"));

	note_value(o->nic, sidecar, "nic");
	note_value(o->driver, sidecar, "driver");
	note_value(o->kernel, sidecar, "kernel");
	note_value(o->hostname, sidecar, "hostname");
	note_value(o->software, sidecar, "software");
	note_value(o->source, sidecar, "source");
	note_value(o->timestamps, sidecar, "timestamps");
	if (!json_is_true(json_object_get(clock, "known")))
		return;
	o->synchronised =
		(!o->clock_known || o->synchronised) && json_is_true(json_object_get(clock, "synchronised"));
	o->clock_known = true;
	o->error_ns = SKEP_MAX(o->error_ns, error_ns);
}

static void origins_init(struct origins *o)
{
	*o = (struct origins){ .nic = json_array(),
			       .driver = json_array(),
			       .kernel = json_array(),
			       .hostname = json_array(),
			       .software = json_array(),
			       .source = json_array(),
			       .timestamps = json_array() };
}

/* Takes what is in o. */
static void put_origins(json_t *link, struct origins *o)
{
	json_t *clock = o->clock_known ? json_pack("{s:b, s:o}", "synchronised", o->synchronised, "error_ns",
						   o->synchronised ? json_integer(o->error_ns) : json_null())
				       : json_null();

	(void)json_object_set_new(link, "clock", clock);
	(void)json_object_set_new(link, "nics", o->nic);
	(void)json_object_set_new(link, "drivers", o->driver);
	(void)json_object_set_new(link, "kernels", o->kernel);
	(void)json_object_set_new(link, "hosts", o->hostname);
	(void)json_object_set_new(link, "software", o->software);
	(void)json_object_set_new(link, "sources", o->source);
	(void)json_object_set_new(link, "timestamps", o->timestamps);
}

/* ---- links and files ---- */

/* The probe's own account has the drops of the whole capture, those of segments that are gone too. */
static json_t *link_account(const struct hive_manifest_link *link)
{
	_skep_json_ json_t *capture = NULL;
	json_t *dropped = json_object();

	if (link->capture &&
	    skep_json_load("capture", link->capture, strlen(link->capture), &capture, NULL) == 0)
		add_counts(dropped, json_object_get(json_object_get(capture, "account"), "dropped"));
	if (!json_object_size(dropped) && link->dropped_pkts)
		(void)json_object_set_new(dropped, "unknown", json_integer(link->dropped_pkts));
	return json_pack("{s:I, s:I, s:I, s:o}", "seen_pkts", (json_int_t)link->seen_pkts, "stored_pkts",
			 (json_int_t)link->stored_pkts, "rejected_pkts", (json_int_t)link->rejected_pkts,
			 "dropped", dropped);
}

static json_t *link_json(const struct hive_manifest_link *link)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:I}", "name", link->name, "probe",
			 text_json(link->probe), "result", text_json(link->result), "reasons",
			 lines_json(link->reason), "started", time_json(link->started_ns), "ended",
			 time_json(link->ended_ns), "interrupted", link->gap, "account", link_account(link),
			 "collected_pkts", (json_int_t)link->collected_pkts);
}

static json_t *file_json(const struct hive_manifest_file *file, const json_t *sidecar)
{
	json_t *side = file->side_bytes ? json_pack("{s:o, s:I, s:o}", "name",
						    json_sprintf("data/%s.json", file->name), "bytes",
						    (json_int_t)file->side_bytes, "sha256",
						    text_json(file->side_sha256))
					: json_null();

	return json_pack("{s:o, s:o, s:I, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "name",
			 json_sprintf("data/%s", file->name), "link", text_json(file->link), "bytes",
			 (json_int_t)file->bytes, "sha256", file->sha256, "pkts", (json_int_t)file->pkts,
			 "first", time_json(file->first_ns), "last", time_json(file->last_ns), "sidecar",
			 side, "account", account_of(sidecar), "reasons",
			 copy_of(sidecar, "reasons", JSON_ARRAY), "recovered",
			 json_boolean(json_is_true(json_object_get(sidecar, "recovered"))));
}

/* Fills both lists; a link's origins come from its files' sidecars, each of which is read once. */
static int add_links_and_files(const struct hive_manifest *m, json_t *links, json_t *files)
{
	_skep_free_ struct origins *origins = calloc(m->n_links + 1, sizeof(*origins));

	if (!origins)
		return -ENOMEM;
	for (uint32_t i = 0; i < m->n_links; i++)
		origins_init(&origins[i]);
	for (uint32_t f = 0; f < m->n_files; f++) {
		const struct hive_manifest_file *file = &m->files[f];
		_skep_json_ json_t *sidecar = NULL;

		if (file->side_bytes)
			(void)load_sidecar(m->folder, file->name, &sidecar);
		for (uint32_t i = 0; sidecar && i < m->n_links; i++)
			if (file->link && strcmp(m->links[i].name, file->link) == 0)
				note_origin(&origins[i], sidecar);
		(void)json_array_append_new(files, file_json(file, sidecar));
	}
	for (uint32_t i = 0; i < m->n_links; i++) {
		json_t *link = link_json(&m->links[i]);

		put_origins(link, &origins[i]);
		(void)json_array_append_new(links, link);
	}
	return json_array_size(links) == m->n_links && json_array_size(files) == m->n_files ? 0 : -ENOMEM;
}

static json_t *job_json(const struct hive_manifest_job *job)
{
	if (!job)
		return json_null();
	return json_pack(
		"{s:I, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o}, s:o, s:o, s:b, s:o, s:o, s:o, s:o}", "id",
		(json_int_t)job->id, "name", text_json(job->name), "owner", text_json(job->owner), "filter",
		text_json(job->filter), "forced_filter", text_json(job->forced_filter), "format",
		text_json(job->format), "limits", "duration_s", number_json(job->limit_duration_s), "bytes",
		number_json(job->limit_bytes), "pkts", number_json(job->limit_pkts), "snaplen",
		number_json(job->snaplen), "sample_every", number_json(job->sample_every), "sample_by_flow",
		job->sample_by_flow, "started", time_json(job->started_ns), "ended", time_json(job->ended_ns),
		"finish", text_json(job->finish), "finish_by", text_json(job->finish_by));
}

struct totals {
	int64_t pkts, bytes, first_ns, last_ns;
};

static struct totals totals_of(const struct hive_manifest *m)
{
	struct totals t = { 0 };

	for (uint32_t i = 0; i < m->n_files; i++) {
		const struct hive_manifest_file *file = &m->files[i];

		t.pkts += file->pkts;
		t.bytes += file->bytes;
		if (file->first_ns && (!t.first_ns || file->first_ns < t.first_ns))
			t.first_ns = file->first_ns;
		t.last_ns = SKEP_MAX(t.last_ns, file->last_ns);
	}
	return t;
}

static json_t *manifest_json(const struct hive_manifest *m)
{
	struct totals t = totals_of(m);
	json_t *links = json_array(), *files = json_array();

	if (!links || !files || add_links_and_files(m, links, files) < 0) {
		json_decref(links);
		json_decref(files);
		return NULL;
	}
	return json_pack("{s:i, s:I, s:o, s:o, s:o, s:s, s:b, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:o}",
			 "skep_manifest", 1, "dataset", (json_int_t)m->id, "name", text_json(m->name),
			 "created", time_json(m->created_ns), "hive", text_json(m->hive), "software",
			 "skep-hive " SKEP_VERSION, "complete", m->complete, "reasons",
			 lines_json(m->reasons), "first", time_json(t.first_ns), "last", time_json(t.last_ns),
			 "pkts", (json_int_t)t.pkts, "stored_bytes", (json_int_t)t.bytes, "job",
			 job_json(m->job), "links", links, "files", files);
}

/* ---- in words ---- */

static void say_title(FILE *out, const struct hive_manifest *m, const struct totals *t)
{
	char first[SKEP_FORMAT_MAX], last[SKEP_FORMAT_MAX], size[SKEP_FORMAT_MAX];

	fprintf(out,
		"%s\n\nDataset %" PRId64 " of the hive %s: %" PRId64 " packets in %" PRIu32 " files, %s.\n",
		m->name ? m->name : "", m->id, m->hive ? m->hive : "", t->pkts, m->n_files,
		skep_format_size(size, (uint64_t)t->bytes));
	if (t->first_ns)
		fprintf(out, "First packet %s, last %s.\n", skep_format_time(first, (uint64_t)t->first_ns),
			skep_format_time(last, (uint64_t)t->last_ns));
}

static void say_job(FILE *out, const struct hive_manifest_job *job)
{
	if (!job) {
		fprintf(out, "It was imported: nobody vouches for where it comes from.\n");
		return;
	}
	fprintf(out, "Captured by the job \"%s\" of %s.\nFilter: %s\n", job->name ? job->name : "",
		job->owner ? job->owner : "?",
		job->filter && *job->filter ? job->filter : "none, everything");
	if (job->forced_filter)
		fprintf(out, "And, as the group demands: %s\n", job->forced_filter);
	if (job->snaplen)
		fprintf(out, "Of each packet the first %" PRId64 " bytes were kept.\n", job->snaplen);
	if (job->sample_every > 1)
		fprintf(out, "One of %" PRId64 " %s was kept.\n", job->sample_every,
			job->sample_by_flow ? "flows" : "packets");
}

static void say_missing(FILE *out, const struct hive_manifest *m)
{
	fprintf(out, "\nWhat is missing\n---------------\n");
	if (m->complete) {
		fprintf(out, "%s\n",
			m->job ? "Nothing: every packet that the filter and the limits asked for is here."
			       : "Not known.");
		return;
	}
	for (const char *at = m->reasons; at && *at;) {
		size_t n = strcspn(at, "\n");

		fprintf(out, "- %.*s\n", (int)n, at);
		at += n + (at[n] == '\n');
	}
	if (!m->reasons || !*m->reasons)
		fprintf(out, "Something; no reason is known.\n");
}

static void say_link(FILE *out, const json_t *link)
{
	const json_t *account = json_object_get(link, "account"), *clock = json_object_get(link, "clock");
	const char *reason;
	json_t *count;

	fprintf(out, "%s: saw %" PRId64 " packets, stored %" PRId64 ", the filter rejected %" PRId64,
		json_string_value(json_object_get(link, "name")),
		(int64_t)json_integer_value(json_object_get(account, "seen_pkts")),
		(int64_t)json_integer_value(json_object_get(account, "stored_pkts")),
		(int64_t)json_integer_value(json_object_get(account, "rejected_pkts")));
	json_object_foreach(json_object_get(account, "dropped"), reason, count)
		fprintf(out, ", dropped %" PRId64 " (%s)", (int64_t)json_integer_value(count), reason);
	if (json_is_null(clock))
		fprintf(out, "; its clock is not known");
	else if (json_is_true(json_object_get(clock, "synchronised")))
		fprintf(out, "; clock right within %" PRId64 " ns",
			(int64_t)json_integer_value(json_object_get(clock, "error_ns")));
	else
		fprintf(out, "; its clock was not synchronised");
	fprintf(out, ".\n");
}

static char *readme_text(const struct hive_manifest *m, const json_t *manifest)
{
	struct totals t = totals_of(m);
	char *text = NULL;
	const json_t *link;
	size_t n = 0, i;
	FILE *out = open_memstream(&text, &n);

	if (!out)
		return NULL;
	say_title(out, m, &t);
	say_job(out, m->job);
	say_missing(out, m);
	if (m->n_links) {
		fprintf(out, "\nLinks\n-----\n");
		json_array_foreach(json_object_get(manifest, "links"), i, link) say_link(out, link);
	}
	fprintf(out, "\nFiles\n-----\n"
		     "data/ has the captures as they were made; tcpdump, tshark and Wireshark read them "
		     "(NAME.zst: zstd -dc NAME.zst).\n"
		     "NAME.json beside each says where it comes from and has the index of its blocks.\n"
		     "manifest.json says the same as this page, and more, for programs.\n"
		     "sha256sum -c manifest-sha256.txt proves that nothing was altered.\n"
		     "skep-capture extract data merges all of them in order of time.\n");
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

int hive_manifest_make(const struct hive_manifest *m, char **ret_json, char **ret_readme,
		       struct skep_err *err)
{
	_skep_json_ json_t *manifest = manifest_json(m);
	_skep_free_ char *text = manifest ? json_dumps(manifest, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;
	_skep_free_ char *readme = text ? readme_text(m, manifest) : NULL;
	size_t n = text ? strlen(text) : 0;
	char *longer = readme ? realloc(text, n + 2) : NULL;

	if (!longer)
		return skep_err_set(err, -ENOMEM, "dataset %" PRId64 ": no memory for its manifest", m->id);
	memcpy(longer + n, "\n", 2);
	text = NULL;
	*ret_json = longer;
	*ret_readme = TAKE_PTR(readme);
	return 0;
}
