/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_PCAP_IN_H
#define BENCH_PCAP_IN_H
/*
 * Reading frames from pcap or pcapng files, plain or zstd-compressed, "-" for stdin.
 */
#include "common/err.h"

struct bench_pcap_in;

struct bench_pcap_frame {
	const uint8_t *data;
	uint32_t len;	   /* bytes present */
	uint32_t wire_len; /* bytes that were on the wire */
};

/* Refuses what is not Ethernet. */
int bench_pcap_in_open(const char *path, struct bench_pcap_in **ret, struct skep_err *err);
struct bench_pcap_in *bench_pcap_in_close(struct bench_pcap_in *in);
/* 1: *ret is the next frame, valid until the next call; 0: the end; else an error (a torn or damaged file).
 */
int bench_pcap_in_next(struct bench_pcap_in *in, struct bench_pcap_frame *ret, struct skep_err *err);

#endif
