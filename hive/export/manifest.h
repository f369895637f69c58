/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_MANIFEST_H
#define HIVE_EXPORT_MANIFEST_H
/*
 * What a dataset is, where it comes from and what it lacks: as JSON (docs/reference/dataset-manifest.md) and
 * in words. Made once, when the dataset is complete, and kept beside its files.
 */
#include "common/err.h"

#include <stdbool.h>

#define HIVE_MANIFEST_NAME "manifest.json"
#define HIVE_README_NAME "README.txt"

/* Texts may be NULL, times and numbers 0: unknown, or none. All is borrowed. */
struct hive_manifest_job {
	int64_t id;
	const char *name, *owner, *filter, *forced_filter, *format, *finish, *finish_by;
	int64_t limit_duration_s, limit_bytes, limit_pkts, snaplen, sample_every;
	bool sample_by_flow;
	int64_t started_ns, ended_ns;
};

struct hive_manifest_link {
	const char *name, *probe, *result, *reason;
	int64_t started_ns, ended_ns;
	bool gap;
	int64_t seen_pkts, stored_pkts, rejected_pkts, dropped_pkts, collected_pkts;
	const char *capture; /* the probe's record of it, JSON */
};

struct hive_manifest_file {
	const char *name, *link;
	int64_t bytes, pkts, first_ns, last_ns;
	const char *sha256;
	int64_t side_bytes; /* 0: it has no sidecar */
	const char *side_sha256;
};

struct hive_manifest {
	int64_t id, created_ns;
	const char *name, *hive;
	bool complete;
	const char *reasons;		     /* sentences, one a line */
	const struct hive_manifest_job *job; /* NULL: the dataset was imported */
	const struct hive_manifest_link *links;
	uint32_t n_links;
	const struct hive_manifest_file *files;
	uint32_t n_files;
	int folder; /* of the files; their sidecars are read there */
};

/* Both texts are the caller's. */
int hive_manifest_make(const struct hive_manifest *m, char **ret_json, char **ret_readme,
		       struct skep_err *err);

#endif
