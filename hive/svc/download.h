/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_DOWNLOAD_H
#define HIVE_SVC_DOWNLOAD_H
/*
 * A dataset as one stream: merged in order of time, or as a bundle.
 */
#include "hive/svc/things.h"

enum hive_download_format {
	HIVE_DOWNLOAD_PCAP,
	HIVE_DOWNLOAD_PCAPNG,
	HIVE_DOWNLOAD_PCAP_ZST,
	HIVE_DOWNLOAD_ZIP,
	HIVE_DOWNLOAD_TAR,
};

extern const char *const hive_download_names[]; /* "pcap.zst", …; NULL-terminated */

struct hive_download_wish {
	enum hive_download_format format;
	const char *link;	/* NULL: all */
	const char *filter;	/* NULL: everything */
	int64_t from_ns, to_ns; /* 0: no bound */
};

struct hive_bundle;

/* What will come, before any of it does. */
struct hive_download {
	struct hive_download_wish wish; /* its texts are borrowed from who wished */
	uint64_t bytes;			/* 0: not known beforehand, and no part of it can be asked for */
	char etag[HIVE_DIGEST_TEXT];	/* "": none */
	char name[160];
	const char *type;
	struct hive_bundle *bundle; /* NULL: it is merged */
	char *list;		    /* of the merge */
	int64_t pkts;		    /* the first so many of it; 0: all */
	int folder;
};

#define HIVE_DOWNLOAD_NULL   \
	{                    \
		.folder = -1 \
	}
void hive_download_clear(struct hive_download *download);

/*
 * Who may have it was decided by who has the row. SKEP_E_USAGE: the wish makes no sense, or the filter is
 * wrong; SKEP_E_BUSY: it is not complete yet; SKEP_E_NOT_FOUND: it has no such link. *ret is to be cleared.
 */
int hive_download_plan(struct hive *hive, const struct hive_dataset *dataset,
		       const struct hive_download_wish *wish, struct hive_download *ret,
		       struct hive_complaints *complaints);

struct hive_download_stream {
	int fd; /* the caller's */
	bool (*whole)(void *arg);
	void (*closed)(void *arg);
	void *arg;
};

/* Begins a merge, from byte `first` on. SKEP_E_BUSY: there are too many. */
int hive_download_start(struct hive *hive, const struct hive_download *download, uint64_t first,
			struct hive_download_stream *ret, struct skep_err *err);
/* A bundle's bytes, for hive_http: read, and given back by closed. */
ssize_t hive_download_read(void *bundle, uint64_t at, void *buf, size_t max);
void hive_download_closed(void *bundle);

#endif
