/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef SKEP_BPF_ABI_H
#define SKEP_BPF_ABI_H
/*
 * The border between bpf/ and user space: structs, limits and map indices that both sides compile.
 * Fixed-width types only; layout asserted on both sides; anything that changes here changes SKEP_ABI_VERSION.
 */
#ifdef __bpf__
#include <linux/types.h>
#define SKEP_ABI_U8 __u8
#define SKEP_ABI_U16 __u16
#define SKEP_ABI_U32 __u32
#define SKEP_ABI_U64 __u64
#else
#include <stdint.h>
#define SKEP_ABI_U8 uint8_t
#define SKEP_ABI_U16 uint16_t
#define SKEP_ABI_U32 uint32_t
#define SKEP_ABI_U64 uint64_t
#endif

#define SKEP_ABI_VERSION 2

/*
 * Most RX queues of one link that are served; XSKMAP size. 256 covers every NIC of today (mlx5: 128
 * channels).
 */
#define SKEP_MAX_QUEUES 256
/* Most CPUs whose mirror rings are served. */
#define SKEP_MAX_CPUS 256

/*
 * Metadata that the XDP programs put in front of a frame (AF_XDP: the SKEP_META_BYTES before the frame's
 * first byte; mirror: before the frame in the ring record). `magic` tells a frame with metadata from one
 * whose driver refused bpf_xdp_adjust_meta; the worker sets it to 0 when it has read it, so that a reused
 * buffer cannot lie.
 */
#define SKEP_META_MAGIC 0x736b6570u /* "skep" */

#define SKEP_META_F_HW_TS 0x01u /* ts_ns is the NIC's receive time stamp, else CLOCK_TAI in XDP */
#define SKEP_META_F_VLAN 0x02u	/* vlan_tpid, vlan_tci: a tag that the NIC took out (host byte order) */

struct skep_meta {
	SKEP_ABI_U64 jobs;     /* bit j set: job slot j wants the frame */
	SKEP_ABI_U64 ts_ns;    /* see flags */
	SKEP_ABI_U32 magic;    /* SKEP_META_MAGIC */
	SKEP_ABI_U32 wire_len; /* bytes of the frame as XDP saw it (all buffers of a multi-buffer frame) */
	SKEP_ABI_U16 vlan_tpid;
	SKEP_ABI_U16 vlan_tci;
	SKEP_ABI_U32 flags; /* SKEP_META_F_* */
};

#define SKEP_META_BYTES 32u
_Static_assert(sizeof(struct skep_meta) == SKEP_META_BYTES, "metadata layout");
_Static_assert(SKEP_META_BYTES % 4 == 0 && SKEP_META_BYTES <= 252, "bpf_xdp_adjust_meta rules");

/*
 * Per-CPU, per-queue counters of the XDP programs (map "counters": PERCPU_ARRAY of struct skep_xdp_counters,
 * key = queue).
 */
struct skep_xdp_counters {
	SKEP_ABI_U64 seen;	 /* frames the program ran for */
	SKEP_ABI_U64 redirected; /* handed to the AF_XDP socket, which may drop it: XDP_STATISTICS tells */
	SKEP_ABI_U64 unserved;	 /* no socket on that queue: passed (host) or dropped (tap) */
	SKEP_ABI_U64 no_meta;	 /* bpf_xdp_adjust_meta refused; sent without metadata */
	SKEP_ABI_U64 mirrored;	 /* mirror: copied into the ring */
	SKEP_ABI_U64 ring_full;	 /* mirror: no room in the ring */
	SKEP_ABI_U64 too_long;	 /* mirror: longer than the largest record */
	SKEP_ABI_U64 rejected;	 /* no job wants it (issued by the prefilter's job filters) */
};

_Static_assert(sizeof(struct skep_xdp_counters) == 64, "one cache line");

/*
 * The job filters of a link: programs that a frame passes one after the other, in the slots of the map
 * "progs" (PROG_ARRAY). An empty slot is skipped.
 */
enum {
	SKEP_PROG_LOOK = 0,	/* parses the frame once for predicates that cBPF has no word for */
	SKEP_PROG_CLASSIFY = 1, /* which jobs' filters want it */
	SKEP_PROG_REDUCE = 2,	/* sampling, per-flow cut-off */
	SKEP_PROG_DELIVER = 3,	/* metadata, redirect */
	SKEP_PROG_N = 4,
};

/* Jobs of a link; the slots are the bits of skep_meta.jobs. */
#define SKEP_MAX_JOBS 64

/*
 * A packet that is carried inside the frame, seen as an Ethernet frame: bytes 0 to 11 (MAC addresses) are at
 * mac_off, byte k from 14 on is at off + k, bytes 12 and 13 are `type` or, if that is 0, at off + 12. Offsets
 * in bytes from the frame's first.
 */
struct skep_inner {
	SKEP_ABI_U16 off;
	SKEP_ABI_U16 mac_off; /* an IP packet has those of the Ethernet header in front of it */
	SKEP_ABI_U16 kind;    /* SKEP_INNER_* (skep_inner.h); 0: none */
	SKEP_ABI_U16 type;    /* host byte order */
};

#define SKEP_MAX_INNER 4

/* What LOOK found out about one packet, for predicates that cBPF has no word for. */
struct skep_facts {
	SKEP_ABI_U32 marks;	/* SKEP_MARK_* (skep_quic.h) */
	SKEP_ABI_U32 src_lists; /* bit i set: the source address is in list i */
	SKEP_ABI_U32 dst_lists;
};

/*
 * What the programs hand on about the frame in their hands (map "scratch": PERCPU_ARRAY, one value). Valid
 * from the entry program to deliver; nothing of it survives the frame.
 */
struct skep_scratch {
	SKEP_ABI_U64 jobs;	/* CLASSIFY: bit j set: job slot j wants the frame; REDUCE clears some */
	SKEP_ABI_U64 nic_ts_ns; /* entry: the NIC's stamp, or 0 */
	SKEP_ABI_U32 flags;	/* entry: SKEP_META_F_* */
	SKEP_ABI_U16 vlan_tpid;
	SKEP_ABI_U16 vlan_tci;
	struct skep_facts facts[1 + SKEP_MAX_INNER]; /* LOOK: of the frame itself, and of inner[] */
	SKEP_ABI_U32 n_inner;			     /* LOOK: packets inside */
	struct skep_inner inner[SKEP_MAX_INNER];
};

_Static_assert(sizeof(struct skep_scratch) == 120, "scratch layout");

/*
 * One value for each of the last SKEP_GENERATIONS sets of jobs (map "generations": PERCPU_ARRAY): the set
 * that runs counts in one; the sets before it may do so until a grace period has passed.
 */
#define SKEP_GENERATIONS 64

struct skep_generation {
	SKEP_ABI_U64 seen; /* frames that CLASSIFY of this generation ran for */
};

/* Per job slot (map "jobs": PERCPU_ARRAY). */
struct skep_job_counters {
	SKEP_ABI_U64 wanted;   /* redirected to the AF_XDP socket with the job's bit set */
	SKEP_ABI_U64 unserved; /* wanted, but the queue has no socket */
};

/*
 * The bell of a queue (map "bells": ARRAY_OF_MAPS of BPF ring buffers): rings when this many frames more have
 * been handed to the queue's socket, so that its reader may sleep long and still be there when a burst
 * begins. A quarter of a socket ring of 16,384 would do at 64 B in zero copy (8 Mpps: 2 ms); this leaves four
 * times that.
 */
#define SKEP_BELL_EVERY 1024u
_Static_assert((SKEP_BELL_EVERY & (SKEP_BELL_EVERY - 1)) == 0, "a mask");
#define SKEP_BELL_BYTES 4096u

/*
 * Mirror: the largest frame that is copied. What GRO merged before generic XDP saw it is up to 64 KiB;
 * bpf_xdp_load_bytes ends at 65,535.
 */
#define SKEP_MIRROR_MAX_FRAME 65535u

#endif
