/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_SEGMENT_H
#define CTL_SEGMENT_H
/*
 * Complete segments of a job, found in the spool by their sidecars. Any thread. Names: as the file, and
 * with "rN." in front for those of the N-th life of an engine.
 */
#include "control/config.h"

#include <jansson.h>

/* An array for clients, the caller's; lives: how many lives the job's engines had. NULL: no memory. */
json_t *ctl_segment_list(const struct ctl_config *cfg, const char *job, uint32_t lives);

struct ctl_segments_of {
	const char *job;
	uint32_t lives;
	uint64_t from_ns, to_ns; /* those that have packets of this time */
};

/* How many were removed while their job is still there. */
uint32_t ctl_segment_removed(const struct ctl_config *cfg, const struct ctl_segments_of *of);

struct ctl_segment {
	int fd;
	char name[256]; /* of the file */
	char etag[80];
	bool has_sha256;
	uint8_t sha256[32];
};

/* SKEP_E_NOT_FOUND. The descriptor is the caller's. */
int ctl_segment_open(const struct ctl_config *cfg, const char *job, const char *name,
		     struct ctl_segment *ret);
/* The same of its sidecar, NAME.json; it changes once, when the digest is computed. */
int ctl_segment_open_sidecar(const struct ctl_config *cfg, const char *job, const char *name,
			     struct ctl_segment *ret);
/* Removes the file; the sidecar stays with the job, for its account. SKEP_E_NOT_FOUND or -errno. */
int ctl_segment_remove(const struct ctl_config *cfg, const char *job, const char *name);
/*
 * Notes, on disk, that the segment is safe elsewhere: it may go when room is needed. sha256: what was
 * verified there, in hexadecimal. SKEP_E_NOT_FOUND; SKEP_E_BUSY: the digest is not known yet;
 * SKEP_E_BAD_DATA: it is another one; -errno.
 */
int ctl_segment_mark(const struct ctl_config *cfg, const char *job, const char *name, const char *sha256);

/* Within a directory of segments: is this the name of one, was it collected, remove it as above (-errno). */
bool ctl_segment_is_one(const char *name);
bool ctl_segment_is_collected(int dir, const char *name);
int ctl_segment_unlink(int dir, const char *name);

#endif
