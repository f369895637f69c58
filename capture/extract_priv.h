/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_EXTRACT_PRIV_H
#define CAP_EXTRACT_PRIV_H
/* Shared by extract.c (the merge) and extract_files.c (which files there are) only. */
#include "capture/extract.h"

#include "capture/capfile.h"
#include "capture/filter_user.h"
#include "capture/frame.h"
#include "capture/prune.h"
#include "capture/sidecar.h"
#include "capture/unpack.h"
#include "capture/zread.h"

/* Blocks that may be decoded before their turn, of each file. */
#define EXTRACT_AHEAD 8u

struct extract_cursor {
	char *path;
	char *link; /* as the list calls it, or its sidecar; NULL: nobody does */
	struct cap_sidecar *sc; /* NULL: no index */
	bool *hopeless; /* of each block: nothing in it matches; NULL: not known */
	uint64_t first_ns;	/* no packet of it is earlier */
	uint32_t iface;		/* of the output */
	bool counted; /* its sidecar knows its account, as below */
	uint64_t seen_pkts, stored_pkts, rejected_pkts;
	bool opened, ended;
	/* while it is open */
	int fd;
	struct cap_capfile *file;
	size_t entry; /* the next to be read */
	bool finished; /* no more bytes will come */
	bool zstd;
	uint8_t *in; /* compressed piece of a file without index; what the parser had no room for */
	size_t in_at, in_n;
	struct cap_zread *stream;
	struct cap_unpack_task *ahead[EXTRACT_AHEAD]; /* blocks before `entry`, in their order */
	uint32_t ahead_at, n_ahead;
	struct cap_capfile_packet packet;
};

struct extract {
	const struct cap_extract_cfg *cfg;
	struct cap_extract_account account;
	struct extract_cursor *cursors;
	uint32_t n, room;
	struct cap_filter_user *filter;
	struct cap_prune *prune; /* NULL: sketches cannot tell */
	bool filters_alone;	 /* a packet alone decides, whatever was before it in other files */
	uint8_t *scratch;
	struct cap_batch *batch;
	struct cap_unpack *unpack;
	uint8_t *out;
	size_t n_out;
	uint64_t to_skip;
	uint32_t n_ifaces;
	uint16_t linktype;
	bool headed;
};

/* Every file that cfg names becomes a cursor; the sidecar is read, the file is not opened. */
int cap_extract_files(struct extract *x, struct skep_err *err);

#endif
