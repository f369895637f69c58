/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_OUTPUT_H
#define CAP_OUTPUT_H
/*
 * Where the files of a job go and what they are called.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

enum cap_output_kind {
	CAP_OUTPUT_FILE,    /* -w NAME: NAME.part, renamed when complete; numbered when rotating */
	CAP_OUTPUT_DIR,     /* -w DIR: LINK-qN-SEQ.pcap.zst for each worker's queue */
	CAP_OUTPUT_STREAM,  /* -w - or a device: written in place, not seekable, no sidecar */
};

struct cap_output {
	enum cap_output_kind kind;
	int dirfd;             /* FILE, DIR */
	int stream_fd;         /* STREAM */
	char dir[1024];        /* for people; without a trailing slash */
	char stem[200];        /* FILE: name without its extension */
	char ext[24];          /* ".pcap.zst", ".pcapng", … */
	bool numbered;         /* FILE: -000001 between stem and extension */
	bool compressed;
	bool pcapng;
	bool sidecar;
	bool digest;           /* SHA-256 into the sidecar */
	int direct_io;         /* enum cap_tristate */
	uint64_t reserve_bytes; /* free space that is kept */
	uint32_t keep_files;   /* 0: all */
};

/* Opens the directory or the stream for `path` (as in -w). The directory must exist. */
int cap_output_open(struct cap_output *out, const char *path, struct skep_err *err);
void cap_output_close(struct cap_output *out);
/* Writes the file name (no directory) of the seq-th file (from 1) of a worker. */
void cap_output_name(const struct cap_output *out, const char *link, uint32_t queue, uint32_t seq, char *ret,
		     size_t n);
/*
 * DIR: the number behind the highest one that exists for this link and queue, so that nothing is ever
 * overwritten; else 1.
 */
uint32_t cap_output_first_seq(const struct cap_output *out, const char *link, uint32_t queue);
/* FILE: refuses when a torn NAME.part of an earlier capture is there. */
int cap_output_check(const struct cap_output *out, struct skep_err *err);

#endif
