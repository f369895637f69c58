/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_MERGE_H
#define HIVE_EXPORT_MERGE_H
/*
 * Captures of a folder as one stream in order of time: skep-capture extract, run in a cage.
 */
#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct hive_merge;

struct hive_merge_cfg {
	const char *programs;	 /* the directory of skep-capture */
	int folder;		 /* of the captures; borrowed */
	const char *list;	 /* their names, one a line; behind a tab, their links */
	const char *filter;	 /* NULL: everything */
	uint64_t from_ns, to_ns; /* to_ns 0: no end */
	bool pcapng, zstd;
	uint64_t skip_bytes; /* are left out at the beginning; not with zstd, not with pkts */
	int64_t pkts;	     /* the first so many are kept; 0: all */
	const atomic_bool *stop; /* of a check: given up when it becomes true, -ECANCELED; NULL: never */
};

/* More at once are refused: each is a process and a thread. */
#define HIVE_MERGES_MAX 16

/*
 * *ret_fd is the caller's, and reads what comes. SKEP_E_BUSY: there are too many already. The merge is given
 * back by hive_merge_end(), which also ends it.
 */
int hive_merge_start(const struct hive_merge_cfg *cfg, struct hive_merge **ret, int *ret_fd,
		     struct skep_err *err);
/* When the descriptor has ended: was that all? */
bool hive_merge_whole(void *merge);
void hive_merge_end(void *merge);

struct hive_merge_account {
	int64_t pkts, bytes; /* bytes: of the pcap or pcapng that would come out */
	int64_t first_ns, last_ns;
	bool in_order;
};

/* Reads everything, gives nothing out. SKEP_E_BAD_DATA: it is no capture, and err says what is wrong.
 * Minutes. */
int hive_merge_check(const struct hive_merge_cfg *cfg, struct hive_merge_account *ret, struct skep_err *err);

/* Reads it as pcap and counts what cut's limits keep of it; as hive_merge_check(). */
struct hive_cut;
int hive_merge_measure(const struct hive_merge_cfg *cfg, struct hive_cut *cut, struct skep_err *err);

#endif
