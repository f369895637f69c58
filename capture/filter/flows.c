/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows by 56 bits of a keyed hash (SipHash-2-4: nobody who sends packets can make two flows collide; by
 * chance one look-up in 10^12 is wrong), eight to a cache line. The lowest byte of an entry says when the
 * flow spoke last, in 64ths of the time in which as many flows come as there is room for; a newcomer takes
 * the place of the one in its line that has been silent for longest.
 *
 * Shared by the workers of a link without locks: each entry is one atomic word. Two workers that learn the
 * same flow at once may write it twice, which costs a place and changes no answer.
 */
#include "capture/filter/flows.h"

#include "capture/filter/view.h"

#include "bpf/abi/skep_flow.h"

#include <errno.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 8u
#define TICK_MASK 0xffull /* of an entry; the rest is the print, 0: no flow */

struct line {
	_Alignas(SKEP_CACHE_LINE) _Atomic uint64_t ways[WAYS];
};

struct flt_flows {
	struct line *lines;
	uint64_t line_mask;
	uint32_t tick_shift;
	unsigned char key[crypto_shorthash_KEYBYTES];
	_Atomic uint64_t added, evicted;
};

_Static_assert(crypto_shorthash_BYTES == 8, "a word");

int flt_flows_new(uint32_t n, struct flt_flows **ret, struct skep_err *err)
{
	struct flt_flows *f = calloc(1, sizeof(*f));

	if (f)
		f->lines = aligned_alloc(SKEP_CACHE_LINE, n / WAYS * sizeof(*f->lines));
	if (!f || !f->lines || sodium_init() < 0) {
		flt_flows_free(f);
		return skep_err_set(err, -ENOMEM, "no memory for %u flows", n);
	}
	memset(f->lines, 0, n / WAYS * sizeof(*f->lines));
	f->line_mask = n / WAYS - 1;
	while (f->tick_shift < 32 && n >> f->tick_shift > 64)
		f->tick_shift++;
	crypto_shorthash_keygen(f->key);
	*ret = f;
	return 0;
}

struct flt_flows *flt_flows_free(struct flt_flows *f)
{
	if (f)
		free(f->lines);
	free(f);
	return NULL;
}

static uint64_t hash(const struct flt_flows *f, const struct skep_flow_key *key)
{
	unsigned char out[8];
	uint64_t h;

	(void)crypto_shorthash(out, (const unsigned char *)key, sizeof(*key), f->key);
	memcpy(&h, out, sizeof(h));
	return h;
}

/* Never 0. */
static uint64_t print_of(uint64_t h)
{
	return h & ~TICK_MASK ? h & ~TICK_MASK : TICK_MASK + 1;
}

static struct line *line_of(const struct flt_flows *f, uint64_t h)
{
	return &f->lines[h >> 8 & f->line_mask];
}

static uint64_t tick(const struct flt_flows *f)
{
	return atomic_load_explicit(&f->added, memory_order_relaxed) >> f->tick_shift & TICK_MASK;
}

static bool find(const struct flt_flows *f, struct line *line, uint64_t print)
{
	for (uint32_t i = 0; i < WAYS; i++) {
		uint64_t v = atomic_load_explicit(&line->ways[i], memory_order_relaxed), now;

		if ((v & ~TICK_MASK) != print)
			continue;
		now = print | tick(f);
		if (v != now) /* written only when it changes: the line stays shared */
			(void)atomic_compare_exchange_strong_explicit(
				&line->ways[i], &v, now, memory_order_relaxed, memory_order_relaxed);
		return true;
	}
	return false;
}

bool flt_flows_has(struct flt_flows *f, const struct skep_flow_key *key)
{
	uint64_t h = hash(f, key);

	return find(f, line_of(f, h), print_of(h));
}

/* An empty way, else the one that has been silent for longest; *ret is what it reads. */
static uint32_t find_victim(const struct flt_flows *f, struct line *line, uint64_t *ret)
{
	uint64_t now = tick(f), longest = 0;
	uint32_t victim = 0;

	*ret = 0;
	for (uint32_t i = 0; i < WAYS; i++) {
		uint64_t v = atomic_load_explicit(&line->ways[i], memory_order_relaxed);
		uint64_t silent = (now - v) & TICK_MASK;

		if (v == 0) {
			*ret = 0;
			return i;
		}
		if (i == 0 || silent > longest) {
			longest = silent;
			*ret = v;
			victim = i;
		}
	}
	return victim;
}

/* Takes the place of an entry that reads v; false if somebody else was quicker. */
static bool take(struct flt_flows *f, struct line *line, uint32_t way, uint64_t v, uint64_t print)
{
	if (!atomic_compare_exchange_strong_explicit(&line->ways[way], &v, print | tick(f),
						     memory_order_relaxed, memory_order_relaxed))
		return false;
	atomic_fetch_add_explicit(&f->added, 1, memory_order_relaxed);
	if (v)
		atomic_fetch_add_explicit(&f->evicted, 1, memory_order_relaxed);
	return true;
}

void flt_flows_add(struct flt_flows *f, const struct skep_flow_key *key)
{
	uint64_t h = hash(f, key), print = print_of(h), v;
	struct line *line = line_of(f, h);

	if (find(f, line, print))
		return;
	/* Others may take what we found; after a few tries the flow is learnt from its next packet. */
	for (int tries = 0; tries < 4; tries++) {
		uint32_t way = find_victim(f, line, &v);

		if (take(f, line, way, v, print))
			return;
	}
}

void flt_flows_count(const struct flt_flows *f, uint64_t *ret_added, uint64_t *ret_evicted)
{
	*ret_added = atomic_load_explicit(&f->added, memory_order_relaxed);
	*ret_evicted = atomic_load_explicit(&f->evicted, memory_order_relaxed);
}
