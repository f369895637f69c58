/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accounts: names of the drop reasons, sums, and the sequence lock through which a worker shows its account
 * to the control thread. The writer side is called on the packet path: no lock, no allocation, no system
 * call.
 */
#include "capture/account.h"

#include <stddef.h>

/*
 * An account is nothing but counters; they are copied one by one, so that a torn read is stale but never
 * undefined.
 */
#define WORDS (sizeof(struct cap_account) / sizeof(uint64_t))
_Static_assert(sizeof(struct cap_account) % sizeof(uint64_t) == 0, "only counters");

static const char *const drop_names[CAP_DROP_N] = {
	[CAP_DROP_BUFFERS_FULL] = "buffers_full",
	[CAP_DROP_DISK_FULL] = "disk_full",
	[CAP_DROP_WRITE_ERROR] = "write_error",
	[CAP_DROP_RX_RING_FULL] = "rx_ring_full",
	[CAP_DROP_FILL_RING_EMPTY] = "fill_ring_empty",
	[CAP_DROP_RX_OVERSIZE] = "rx_oversize",
	[CAP_DROP_MIRROR_RING_FULL] = "mirror_ring_full",
	[CAP_DROP_MIRROR_TOO_LONG] = "mirror_too_long",
	[CAP_DROP_AFPACKET_RING_FULL] = "afpacket_ring_full",
	[CAP_DROP_NIC_MISSED] = "nic_missed",
	[CAP_DROP_UNACCOUNTED] = "unaccounted",
};

const char *cap_drop_name(enum cap_drop reason)
{
	return drop_names[reason];
}

void cap_account_add(struct cap_account *to, const struct cap_account *a)
{
	to->seen += a->seen;
	to->stored += a->stored;
	to->rejected += a->rejected;
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		to->dropped[i] += a->dropped[i];
	to->pending += a->pending;
	to->sampled_out += a->sampled_out;
	to->cut_off += a->cut_off;
	to->matched += a->matched;
	to->matched_after_end += a->matched_after_end;
	to->after_end += a->after_end;
	to->bytes_wire += a->bytes_wire;
	to->bytes_raw += a->bytes_raw;
	to->bytes_disk += a->bytes_disk;
}

uint64_t cap_account_dropped(const struct cap_account *a)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < CAP_DROP_N; i++)
		sum += a->dropped[i];
	return sum;
}

void cap_account_publish(struct cap_account_slot *slot, const struct cap_account *a)
{
	uint32_t s = atomic_load_explicit(&slot->sequence, memory_order_relaxed);

	atomic_store_explicit(&slot->sequence, s + 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	for (size_t i = 0; i < WORDS; i++)
		__atomic_store_n((uint64_t *)&slot->account + i, ((const uint64_t *)a)[i], __ATOMIC_RELAXED);
	atomic_store_explicit(&slot->sequence, s + 2, memory_order_release);
}

void cap_account_read(struct cap_account_slot *slot, struct cap_account *ret)
{
	struct cap_account a;
	uint32_t before, after;

	do {
		before = atomic_load_explicit(&slot->sequence, memory_order_acquire);
		for (size_t i = 0; i < WORDS; i++)
			((uint64_t *)&a)[i] =
				__atomic_load_n((uint64_t *)&slot->account + i, __ATOMIC_RELAXED);
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&slot->sequence, memory_order_relaxed);
	} while (before != after || (before & 1));
	*ret = a;
}
