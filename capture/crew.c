/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each thread has a ring of slots with one writer at a time: the worker fills a slot and posts the semaphore,
 * the thread packs in place and marks the slot. The worker goes round the threads, giving and taking, so the
 * order is kept without any lock.
 */
#include "capture/crew.h"

#include "capture/mono.h"
#include "capture/pack.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

/* Two blocks per thread keep it busy while the worker is elsewhere. */
#define SLOTS 2u

enum slot_state { SLOT_EMPTY, SLOT_GIVEN, SLOT_PACKED };

struct slot {
	_Atomic uint32_t state;
	struct cap_block *in, *out;
	uint64_t took_ns;
};

struct member {
	pthread_t thread;
	struct cap_packer *packer;
	sem_t given;
	struct slot slots[SLOTS];
	_Atomic bool stop;
	bool running;
} __attribute__((aligned(SKEP_CACHE_LINE)));

struct cap_crew {
	uint32_t n;
	uint64_t given, taken; /* slot = count / n % SLOTS of member count % n */
	struct member members[];
};

static struct slot *slot_of(struct cap_crew *crew, uint64_t count)
{
	return &crew->members[count % crew->n].slots[count / crew->n % SLOTS];
}

static void pack_slot(struct member *member, struct slot *slot)
{
	uint64_t before = cap_mono_ns();
	size_t last = 0;

	while (slot->in->packed < slot->in->used) {
		size_t room = CAP_BLOCK_BYTES - slot->out->used;
		size_t n = cap_packer_slice(member->packer, slot->in, slot->out->data + slot->out->used, room,
					    &last);

		slot->out->zblock_last = slot->out->used + (uint32_t)last;
		slot->out->used += (uint32_t)n;
	}
	slot->took_ns = cap_mono_ns() - before;
}

static void *member_main(void *arg)
{
	struct member *member = arg;
	uint32_t at = 0;

	pthread_setname_np(pthread_self(), "packer");
	for (;;) {
		while (sem_wait(&member->given) < 0 && errno == EINTR)
			;
		if (atomic_load(&member->stop))
			return NULL;
		pack_slot(member, &member->slots[at]);
		atomic_store_explicit(&member->slots[at].state, SLOT_PACKED, memory_order_release);
		at = (at + 1) % SLOTS;
	}
}

int cap_crew_start(struct cap_crew **ret, uint32_t n, struct skep_err *err)
{
	size_t bytes = skep_align_up(sizeof(struct cap_crew) + n * sizeof(struct member), SKEP_CACHE_LINE);
	struct cap_crew *crew = aligned_alloc(SKEP_CACHE_LINE, bytes);
	int r = 0;

	if (!crew)
		return skep_err_set(err, -ENOMEM, "no memory for packer threads");
	memset(crew, 0, bytes);
	for (uint32_t i = 0; i < n && r == 0; i++) {
		struct member *member = &crew->members[i];

		sem_init(&member->given, 0, 0);
		crew->n++;
		r = cap_packer_new(&member->packer, err);
		if (r < 0)
			break;
		r = -pthread_create(&member->thread, NULL, member_main, member);
		member->running = r == 0;
		if (r < 0)
			skep_err_set(err, r, "cannot start a packer thread: %s", strerror(-r));
	}
	if (r < 0) {
		cap_crew_stop(crew);
		return r;
	}
	*ret = crew;
	return 0;
}

struct cap_crew *cap_crew_stop(struct cap_crew *crew)
{
	if (!crew)
		return NULL;
	for (uint32_t i = 0; i < crew->n; i++) {
		struct member *member = &crew->members[i];

		atomic_store(&member->stop, true);
		sem_post(&member->given);
		if (member->running)
			pthread_join(member->thread, NULL);
		member->packer = cap_packer_free(member->packer);
		sem_destroy(&member->given);
	}
	free(crew);
	return NULL;
}

bool cap_crew_ready(const struct cap_crew *crew)
{
	return crew->given - crew->taken < (uint64_t)crew->n * SLOTS;
}

void cap_crew_give(struct cap_crew *crew, struct cap_block *in, struct cap_block *out)
{
	struct slot *slot = slot_of(crew, crew->given);

	assert(atomic_load_explicit(&slot->state, memory_order_relaxed) == SLOT_EMPTY);
	slot->in = in;
	slot->out = out;
	atomic_store_explicit(&slot->state, SLOT_GIVEN, memory_order_relaxed);
	sem_post(&crew->members[crew->given % crew->n].given);
	crew->given++;
}

bool cap_crew_take(struct cap_crew *crew, struct cap_block **ret_in, struct cap_block **ret_out,
		   uint64_t *ret_took_ns)
{
	struct slot *slot;

	if (crew->taken == crew->given)
		return false;
	slot = slot_of(crew, crew->taken);
	if (atomic_load_explicit(&slot->state, memory_order_acquire) != SLOT_PACKED)
		return false;
	*ret_in = TAKE_PTR(slot->in);
	*ret_out = TAKE_PTR(slot->out);
	*ret_took_ns = slot->took_ns;
	atomic_store_explicit(&slot->state, SLOT_EMPTY, memory_order_relaxed);
	crew->taken++;
	return true;
}

uint32_t cap_crew_pending(const struct cap_crew *crew)
{
	return (uint32_t)(crew->given - crew->taken);
}
