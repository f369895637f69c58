/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_REPORT_H
#define CAP_REPORT_H
/*
 * What is said about a capture: one JSON object, a summary in words, and a live line on a terminal. Control
 * thread.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdio.h>

#define CAP_REPORT_REASONS 32 /* reasons to drop; more than enum cap_drop has */

struct cap_report_drop {
	const char *name; /* stable, as in cap_drop_name */
	uint64_t pkts;
};

/* Borrowed strings; seen = stored + rejected + the sum of dropped, by the caller's account. */
struct cap_report {
	uint64_t seen, stored, rejected;
	uint64_t sampled_out, cut_off; /* of rejected */
	struct cap_report_drop dropped[CAP_REPORT_REASONS];
	uint32_t n_dropped;
	uint64_t bytes_wire;  /* of stored packets */
	uint64_t bytes_raw;   /* of stored packets with record headers */
	uint64_t bytes_disk;
	uint64_t duration_ns;
	const char *const *files; /* paths, in order */
	uint32_t n_files;
	const char *const *links; /* "eth1: xdp native, zero copy, 4 queues" */
	uint32_t n_links;
	const char *const *reasons; /* sentences: why it is incomplete, why it ended */
	uint32_t n_reasons;
	bool complete;
	bool compressed;
	bool has_level;       /* false: not compressed, or stored as it is */
	int level_last;
};

/*
 * One line, one object, keys in this order: seen stored rejected dropped bytes_wire bytes_raw bytes_disk
 * duration_ns files links outcome reasons level_last. dropped holds only what is not zero. 0 or -errno.
 */
int cap_report_json(FILE *out, const struct cap_report *report);
/* Links, reasons, the account as a sentence, where the files are and how to open them. */
void cap_report_text(FILE *out, const struct cap_report *report);
/* "0 packets stored: 1234 seen, all rejected by the filter"; returns buf. */
const char *cap_report_sentence(const struct cap_report *report, char *buf, size_t size);

/* The live line. Only on a terminal; redrawn at most once a second. */
struct cap_report_live {
	FILE *out;
	bool on;
	bool drawn;
	uint64_t last_ns; /* monotonic, of the last drawing or the start */
	uint64_t last_seen;
	uint64_t last_bytes_wire;
};

void cap_report_live_init(struct cap_report_live *live, FILE *out, bool wanted, uint64_t now_ns);
/* Draws if a second has passed since the last time. */
void cap_report_live(struct cap_report_live *live, const struct cap_report *report, uint64_t now_ns);
/* Clears the line, so that other text can be written; it comes back with the next drawing. */
void cap_report_live_clear(struct cap_report_live *live);
/* The text of the line, at most width columns; rates since the last drawing. Returns buf. */
const char *cap_report_live_line(const struct cap_report_live *live, const struct cap_report *report,
				 uint64_t now_ns, int width, char *buf, size_t size);

#endif
