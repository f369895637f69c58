/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ACCOUNT_H
#define CAP_ACCOUNT_H
/*
 * What became of each packet. seen = stored + rejected + sum(dropped), at every moment that anybody else can
 * look: a packet whose fate is open (its block is in memory or in flight) is pending, and not yet seen.
 */
#include <stdatomic.h>
#include <stdint.h>

enum cap_drop {
	/* by the worker, per job */
	CAP_DROP_BUFFERS_FULL,      /* no free block: compression or disk slower than the link */
	CAP_DROP_DISK_FULL,         /* free space at the reserve */
	CAP_DROP_WRITE_ERROR,       /* the disk refused a block, or the file could not be closed properly */
	/* by the kernel or the NIC, before any filter: the same for each job of a link */
	CAP_DROP_RX_RING_FULL,
	CAP_DROP_FILL_RING_EMPTY,
	CAP_DROP_RX_OVERSIZE,
	CAP_DROP_MIRROR_RING_FULL,
	CAP_DROP_MIRROR_TOO_LONG,
	CAP_DROP_AFPACKET_RING_FULL,
	CAP_DROP_NIC_MISSED,
	/* offered by the kernel, neither received nor counted as dropped: always a bug, never hidden */
	CAP_DROP_UNACCOUNTED,
	CAP_DROP_N,
};

struct cap_account {
	uint64_t seen;
	uint64_t stored;
	uint64_t rejected;
	uint64_t dropped[CAP_DROP_N];
	uint64_t pending;     /* in memory or in flight; not part of seen */
	/* of rejected: what the filter wanted, and sampling or the cut-off took away */
	uint64_t sampled_out;
	uint64_t cut_off;
	/* Beside the account: received with the job's bit set by the source's filters, ever; of those, and of
	 * all others, after the job was over. */
	uint64_t matched;
	uint64_t matched_after_end;
	uint64_t after_end;
	uint64_t bytes_wire;  /* of stored packets, as on the wire */
	/* of stored packets, with record headers: what `tcpdump -r` reads; file headers not counted */
	uint64_t bytes_raw;
	uint64_t bytes_disk;  /* written to files */
};

/* The stable name of a reason, as in JSON and in sidecars. */
const char *cap_drop_name(enum cap_drop reason);
void cap_account_add(struct cap_account *to, const struct cap_account *a);
uint64_t cap_account_dropped(const struct cap_account *a);

/* One writer (a worker), any number of readers; a sequence lock, so the writer never waits. */
struct cap_account_slot {
	_Atomic uint32_t sequence;
	struct cap_account account;
};

void cap_account_publish(struct cap_account_slot *slot, const struct cap_account *a);
void cap_account_read(struct cap_account_slot *slot, struct cap_account *ret);

#endif
