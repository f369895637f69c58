/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a job: a table of fields, each with a function that checks and takes it. Control thread; memory is
 * bounded by the size of the request.
 */
#include "capture/jobspec.h"

#include "capture/decap.h"
#include "capture/filter/inside.h"
#include "capture/options.h"
#include "common/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SEGMENT_MIN_BYTES (1ull * CAP_MIB)
#define KEEP_FILES_MAX 100000

bool cap_jobspec_is_name(const char *text)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
	size_t n = strlen(text);

	return n >= 1 && n <= 63 && !strchr("._-", text[0]) && strspn(text, allowed) == n;
}

static int refuse(struct skep_err *err, const char *field, const char *why, const char *hint)
{
	skep_err_set(err, SKEP_E_USAGE, "job.%s: %s", field, why);
	skep_err_hint(err, "%s", hint);
	return SKEP_E_USAGE;
}

/* A whole number from min to max. */
static int take_uint(const json_t *value, const char *field, uint64_t min, uint64_t max, uint64_t *ret,
		     struct skep_err *err)
{
	json_int_t n = json_integer_value(value);
	char hint[96];

	if (json_is_integer(value) && n >= 0 && (uint64_t)n >= min && (uint64_t)n <= max) {
		*ret = (uint64_t)n;
		return 0;
	}
	(void)snprintf(hint, sizeof(hint), "write a whole number from %llu to %llu", (unsigned long long)min,
		       (unsigned long long)max);
	return refuse(err, field, "not a number that is possible here", hint);
}

static int take_name(const json_t *value, const char *field, char ret[64], struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != json_string_length(value) || !cap_jobspec_is_name(text))
		return refuse(err, field, "cannot be a name",
			      "use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit");
	(void)snprintf(ret, 64, "%s", text);
	return 0;
}

static int read_name(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_name(value, "name", s->ej.job.name, err);
}

static int read_dir(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_name(value, "dir", s->dir, err);
}

static int read_budget(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_name(value, "budget", s->budget, err);
}

static int read_filter(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != json_string_length(value))
		return refuse(err, "filter", "not a text without zero bytes", "write a tcpdump expression");
	s->filter = strdup(text);
	return s->filter ? 0 : skep_err_set(err, -ENOMEM, "no memory for a filter");
}

static int read_snaplen(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "snaplen", 0, CAP_SNAPLEN_MAX, &n, err);

	if (r == 0)
		s->ej.job.snaplen = n ? (uint32_t)n : CAP_SNAPLEN_MAX;
	return r;
}

static int read_trim(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text)
		return refuse(err, "trim", "not a text", "write \"l4\", \"l3+N\" or \"N\"");
	return cap_trim_parse(text, &s->trim, err);
}

static int read_format(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text || (strcmp(text, "pcap") != 0 && strcmp(text, "pcapng") != 0))
		return refuse(err, "format", "no such file format", "write \"pcap\" or \"pcapng\"");
	s->ej.output.pcapng = s->ej.job.pcapng = strcmp(text, "pcapng") == 0;
	return 0;
}

static int read_level(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	json_int_t n = json_integer_value(value);

	if (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0)
		return 0;
	if (!json_is_integer(value) || n < CAP_LEVEL_LOWEST || n > CAP_LEVEL_HIGHEST)
		return refuse(err, "level", "not a zstd level", "write \"auto\" or a number from -50 to 9");
	s->ej.level_auto = false;
	s->ej.level = n == 0 ? CAP_LEVEL_STORE : (int)n;
	return 0;
}

static int read_keep_files(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "keep_files", 0, KEEP_FILES_MAX, &n, err);

	if (r == 0)
		s->ej.output.keep_files = (uint32_t)n;
	return r;
}

struct field {
	const char *name;
	int (*read)(struct cap_jobspec *s, const json_t *value, struct skep_err *err);
};

/* The members of an object, each by its row; what has no row is refused. */
static int read_object(struct cap_jobspec *s, const json_t *object, const char *where,
		       const struct field *rows, size_t n, struct skep_err *err)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object)) {
		skep_err_set(err, SKEP_E_USAGE, "%s: not an object", where);
		skep_err_hint(err, "docs/reference/job-socket.md has an example");
		return SKEP_E_USAGE;
	}
	json_object_foreach((json_t *)object, key, value)
	{
		size_t i = 0;
		int r;

		while (i < n && strcmp(rows[i].name, key) != 0)
			i++;
		if (i == n) {
			skep_err_set(err, SKEP_E_USAGE, "%s: there is no field \"%.60s\"", where, key);
			skep_err_hint(err, "docs/reference/job-socket.md lists the fields of a job");
			return SKEP_E_USAGE;
		}
		r = json_is_null(value) ? 0 : rows[i].read(s, value, err);
		if (r)
			return r;
	}
	return 0;
}

static int read_limit_packets(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "limits.packets", 1, INT64_MAX, &n, err);

	if (r == 0) {
		s->ej.job.limits_pkts = true;
		atomic_store(&s->ej.job.own_budget.pkts_left, (int64_t)n);
	}
	return r;
}

static int read_limit_bytes(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "limits.bytes", 1, INT64_MAX, &n, err);

	if (r == 0) {
		s->ej.job.limits_bytes = true;
		atomic_store(&s->ej.job.own_budget.bytes_left, (int64_t)n);
	}
	return r;
}

static int read_limit_duration(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_uint(value, "limits.duration_ns", 1, INT64_MAX, &s->ej.job.duration_ns, err);
}

static int read_limit_end(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "limits.end_ns", 1, INT64_MAX, &n, err);

	if (r == 0)
		atomic_store(&s->ej.job.end_ns, n);
	return r;
}

static int read_limits(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	static const struct field rows[] = {
		{ "bytes", read_limit_bytes },
		{ "duration_ns", read_limit_duration },
		{ "end_ns", read_limit_end },
		{ "packets", read_limit_packets },
	};

	return read_object(s, value, "job.limits", rows, ARRAY_LEN(rows), err);
}

static int read_rotate_bytes(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_uint(value, "rotate.bytes", SEGMENT_MIN_BYTES, INT64_MAX, &s->ej.job.rotate_disk_bytes, err);
}

static int read_rotate_ns(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_uint(value, "rotate.ns", SKEP_NSEC_PER_SEC / 10, INT64_MAX, &s->ej.job.rotate_ns, err);
}

static int read_rotate(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	static const struct field rows[] = {
		{ "bytes", read_rotate_bytes },
		{ "ns", read_rotate_ns },
	};

	return read_object(s, value, "job.rotate", rows, ARRAY_LEN(rows), err);
}

static int read_sample_every(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	uint64_t n;
	int r = take_uint(value, "sample.every", 1, UINT32_MAX, &n, err);

	if (r == 0)
		s->ej.reduction.sample_every = (uint32_t)n;
	return r;
}

static int read_sample_by(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text || (strcmp(text, "packet") != 0 && strcmp(text, "flow") != 0))
		return refuse(err, "sample.by", "no such unit", "write \"packet\" or \"flow\"");
	s->ej.reduction.sample_by_flow = strcmp(text, "flow") == 0;
	return 0;
}

static int read_sample(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	static const struct field rows[] = {
		{ "by", read_sample_by },
		{ "every", read_sample_every },
	};

	return read_object(s, value, "job.sample", rows, ARRAY_LEN(rows), err);
}

static int read_cutoff_packets(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_uint(value, "cutoff.packets", 1, INT64_MAX, &s->ej.reduction.cutoff_pkts, err);
}

static int read_cutoff_bytes(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	return take_uint(value, "cutoff.bytes", 1, INT64_MAX, &s->ej.reduction.cutoff_bytes, err);
}

static int read_cutoff(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	static const struct field rows[] = {
		{ "bytes", read_cutoff_bytes },
		{ "packets", read_cutoff_packets },
	};

	return read_object(s, value, "job.cutoff", rows, ARRAY_LEN(rows), err);
}

static int read_inside(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text)
		return refuse(err, "inside", "not a text", "write for example \"vlan,vxlan\"");
	return text[0] ? flt_inside_parse("job.inside", text, SKEP_INNER_ALL, &s->ej.inside, err) : 0;
}

static int read_decap(struct cap_jobspec *s, const json_t *value, struct skep_err *err)
{
	const char *text = json_string_value(value);

	if (!text)
		return refuse(err, "decap", "not a text", "write \"erspan\", \"gre\" or \"vxlan\"");
	return text[0] ? cap_decap_parse(text, &s->ej.decap, err) : 0;
}

int cap_jobspec_parse(const json_t *object, const struct cap_jobspec_defaults *defaults,
		      struct cap_jobspec *ret, struct skep_err *err)
{
	static const struct field rows[] = {
		{ "budget", read_budget },
		{ "cutoff", read_cutoff },
		{ "decap", read_decap },
		{ "dir", read_dir },
		{ "filter", read_filter },
		{ "format", read_format },
		{ "inside", read_inside },
		{ "keep_files", read_keep_files },
		{ "level", read_level },
		{ "limits", read_limits },
		{ "name", read_name },
		{ "rotate", read_rotate },
		{ "sample", read_sample },
		{ "snaplen", read_snaplen },
		{ "trim", read_trim },
	};
	struct cap_output *out = &ret->ej.output;
	int r;

	memset(ret, 0, sizeof(*ret));
	cap_job_init(&ret->ej.job);
	ret->ej.level_auto = true;
	ret->ej.job.rotate_disk_bytes = CAP_SEGMENT_DISK_BYTES;
	out->dirfd = out->stream_fd = -1;
	out->compressed = out->sidecar = true;
	out->digest = defaults->digest;
	out->direct_io = defaults->direct_io;
	out->reserve_bytes = defaults->reserve_bytes;
	r = read_object(ret, object, "job", rows, ARRAY_LEN(rows), err);
	if (r)
		return r;
	if (!ret->ej.job.name[0])
		return refuse(err, "name", "missing", "give the job a name");
	if (!ret->dir[0])
		(void)snprintf(ret->dir, sizeof(ret->dir), "%s", ret->ej.job.name);
	ret->ej.job.filter_text = ret->filter;
	ret->ej.job.trim = ret->trim.kind ? &ret->trim : NULL;
	ret->trim.linktype = 1;
	return 0;
}

static int map_budget(struct cap_jobspec *spec, int root_fd, struct skep_err *err)
{
	_skep_close_ int fd = openat(root_fd, spec->budget, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;
	void *p;

	if (fd < 0 || fstat(fd, &st) < 0)
		return skep_err_set(err, -errno, "job.budget: cannot open %s: %s", spec->budget, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct cap_budget))
		return refuse(err, "budget", "not a file of 16 bytes",
			      "write two 64-bit numbers: packets left, bytes left");
	p = mmap(NULL, sizeof(struct cap_budget), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return skep_err_set(err, -errno, "job.budget: cannot map %s: %s", spec->budget, strerror(errno));
	spec->shared = p;
	spec->ej.job.budget = p;
	return 0;
}

int cap_jobspec_open(struct cap_jobspec *spec, int root_fd, const char *root, struct skep_err *err)
{
	char path[sizeof(spec->ej.output.dir)];
	int r;

	if (mkdirat(root_fd, spec->dir, 0750) < 0 && errno != EEXIST)
		return skep_err_set(err, -errno, "cannot make %s/%s: %s", root, spec->dir, strerror(errno));
	if ((size_t)snprintf(path, sizeof(path), "%s/%s/", root, spec->dir) >= sizeof(path))
		return refuse(err, "dir", "the path gets too long", "use a shorter name");
	r = cap_output_open(&spec->ej.output, path, err);
	if (r == 0 && spec->budget[0])
		r = map_budget(spec, root_fd, err);
	return r;
}

void cap_jobspec_fini(struct cap_jobspec *spec)
{
	cap_output_close(&spec->ej.output);
	if (spec->shared)
		(void)munmap(spec->shared, sizeof(*spec->shared));
	spec->shared = NULL;
	free(spec->filter);
	spec->filter = NULL;
}
