/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_LIMITS_H
#define CAP_LIMITS_H
/*
 * Every size of the capture path, with its arithmetic, and the relations between them.
 */
#include <stdint.h>

#define CAP_KIB (1024u)
#define CAP_MIB (1024u * 1024u)

/* Frames per turn of the worker's loop. 64: the NAPI budget, and 64 descriptors x 16 B = one KiB of ring. */
#define CAP_BATCH 64u
/*
 * Further buffers of multi-buffer frames per batch: a 9,000-byte frame is 3 buffers, a re-inserted VLAN tag
 * makes 3.
 */
#define CAP_BATCH_FRAGS 256u

/* Most links, queues per link and job slots of one engine. The slots are the bits of skep_meta.jobs. */
#define CAP_MAX_LINKS 16u
#define CAP_MAX_QUEUES 256u
#define CAP_MAX_JOBS 64u

/* tcpdump's MAXIMUM_SNAPLEN; a longer frame cannot be written in a way that others read. */
#define CAP_SNAPLEN_MAX 262144u

/*
 * AF_XDP. Copy mode copies at most chunk - 256 (XDP_PACKET_HEADROOM) bytes into a chunk; 2 KiB chunks hold
 * 1,514 + 2 tags + metadata. 16 Ki descriptors are 8 ms at 2 Mpps: longer than compressing one slice (0.3 ms)
 * or any scheduling gap seen.
 */
#define CAP_XSK_RING 16384u
#define CAP_XSK_CHUNK_SMALL 2048u
#define CAP_XSK_CHUNK_LARGE 4096u

/*
 * Mirror. 16 MiB are 8 ms at 2 GB/s, like the AF_XDP ring; all queues together stay within 64 MiB of kernel
 * memory as long as each has 2 MiB (32 frames of 64 KiB, or 1,300 of 1,500 bytes). Powers of two.
 */
#define CAP_MIRROR_RING_BYTES (16u * CAP_MIB)
#define CAP_MIRROR_RING_MIN_BYTES (2u * CAP_MIB)
#define CAP_MIRROR_TOTAL_BYTES (64u * CAP_MIB)

/*
 * Blocks. 1 MiB: measured best size for O_DIRECT writes at queue depth 4; at 2 GB/s one block is 0.5 ms.
 * A block is compressed on its own (no history from the block before), so it is also the unit of random
 * access.
 */
#define CAP_BLOCK_BYTES (1u * CAP_MIB)
/* zstd's own block limit (RFC 8878, 3.1.1.2.4) and the header in front of each. */
#define CAP_ZBLOCK_MAX (128u * CAP_KIB)
#define CAP_ZBLOCK_HEADER 3u
/* Direct I/O: address, length and offset; 4 KiB is the portable rule. */
#define CAP_ALIGN 4096u
/* Segments, unless somebody says otherwise: small enough to be fetched while the capture goes on. */
#define CAP_SEGMENT_DISK_BYTES (256ull * CAP_MIB)
/* A block older than this is sealed, packed and written even if nearly empty: what kill -9 may cost. */
#define CAP_FLUSH_NS 500000000ull

/* Blocks of one worker: 96 MiB ride out 48 ms of a stalled disk at 2 GB/s. */
#define CAP_POOL_BLOCKS 96u
/* Writes in flight per worker. */
#define CAP_SINK_DEPTH 8u
/* Blocks of the pool that lanes may not take: the writers need them to make room. */
#define CAP_POOL_RESERVE (CAP_SINK_DEPTH + 4u)
/*
 * Blocks that each job on a worker can have whatever the others do, for as many jobs as half of the pool
 * suffices for: one is filled, one packed, one packed into, one on its way to the disk.
 */
#define CAP_POOL_SHARE 4u
/* Extents are allocated this far ahead; fewer when space is short. */
#define CAP_GRANT_BYTES (256ull * CAP_MIB)

/*
 * Longest sleep of a worker between two looks at its ring. The kernel's copy path does not exceed 3 M
 * frames/s on one core (measured 2.5), so three quarters of the ring last 4 ms whatever begins to arrive
 * meanwhile; a NIC's queue in zero copy: 20 M/s.
 */
#define CAP_SLEEP_MAX_NS 4000000ull
/*
 * Sleep of a worker whose source wakes it when a burst begins: how long a few frames may wait to be written.
 * Ten wake-ups a second cost less than a tenth of a percent of a core.
 */
#define CAP_LONG_NAP_NS 100000000u
#define CAP_COPY_MAX_PPS 3000000ull
#define CAP_ZERO_COPY_MAX_PPS 20000000ull
/* While a capture ends there is no ring to watch. */
#define CAP_END_NAP_NS 1000000ull

#endif
