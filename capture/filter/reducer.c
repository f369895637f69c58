/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sampling and per-flow cut-off in user space. What a flow is, its hash and each decision are those of XDP
 * (bpf/abi/skep_reduce.h); the table of flows is our own: groups of WAYS entries, of which a new flow takes
 * the one that was not seen for longest. So a flow may be forgotten before the table is full, as with the
 * kernel's LRU map.
 *
 * Belongs to one worker. Nothing is allocated after new().
 */
#include "capture/filter/reducer.h"

#include <errno.h>
#include <string.h>

/* A frame without its VLAN tags. */
struct skep_view {
	const uint8_t *bytes;
	uint32_t len;
	uint32_t tags_bytes;
};

static inline int skep_view_get(const struct skep_view *v, uint32_t at, void *to, uint32_t n)
{
	if (at >= 12)
		at += v->tags_bytes;
	if (at > v->len || v->len - at < n)
		return -1;
	memcpy(to, v->bytes + at, n);
	return 0;
}

#include "bpf/abi/skep_reduce_flow.h"

/* Of one set of hashes; 512 bytes. */
#define WAYS 8u

struct entry {
	struct skep_flow_key key;
	uint64_t pkts; /* 0: free */
	uint64_t bytes;
	uint64_t seen; /* when, in packets of this reducer */
};

_Static_assert(sizeof(struct entry) == SKEP_CACHE_LINE, "an entry is a cache line");

struct flt_reducer {
	struct skep_reduce_job job;
	uint64_t seed;
	struct skep_reduce_counters counters;
	uint64_t forgotten;
	uint64_t clock;
	uint32_t groups; /* a power of two */
	struct entry *table;
};

int flt_reducer_new(const struct flt_reduction *reduction, uint64_t seed, uint32_t flows,
		    struct flt_reducer **ret)
{
	struct flt_reducer *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->job = (struct skep_reduce_job){ .sample_every = reduction->sample_every,
					   .flags = reduction->sample_by_flow ? SKEP_REDUCE_BY_FLOW : 0,
					   .cutoff_pkts = reduction->cutoff_pkts,
					   .cutoff_bytes = reduction->cutoff_bytes };
	r->seed = seed;
	r->groups = 1;
	while (r->groups < (flows ? flows : FLT_REDUCE_FLOWS) / WAYS)
		r->groups *= 2;
	if (reduction->cutoff_pkts || reduction->cutoff_bytes) {
		r->table = calloc((size_t)r->groups * WAYS, sizeof(*r->table));
		if (!r->table) {
			free(r);
			return -ENOMEM;
		}
	}
	*ret = r;
	return 0;
}

struct flt_reducer *flt_reducer_free(struct flt_reducer *reducer)
{
	if (reducer)
		free(reducer->table);
	free(reducer);
	return NULL;
}

static void read_flow(const uint8_t *bytes, uint32_t len, struct skep_flow_key *ret)
{
	struct skep_view v = { .bytes = bytes, .len = len };
	uint16_t type = 0;

	for (int i = 0; i < SKEP_REDUCE_MAX_TAGS; i++) {
		if (skep_view_get(&v, 12, &type, 2) || !skep_reduce_is_tag(type))
			break;
		v.tags_bytes += 4;
	}
	skep_reduce_flow(&v, ret);
}

/* The flow's entry, made if there is none. */
static struct entry *look_up(struct flt_reducer *r, const struct skep_flow_key *key, uint64_t hash)
{
	struct entry *group = &r->table[(size_t)(hash & (r->groups - 1)) * WAYS], *oldest = group;

	r->clock++;
	for (uint32_t i = 0; i < WAYS; i++) {
		struct entry *e = &group[i];

		if (e->pkts && memcmp(&e->key, key, sizeof(*key)) == 0)
			return e;
		if (oldest->pkts && (!e->pkts || e->seen < oldest->seen))
			oldest = e;
	}
	r->forgotten += oldest->pkts > 0;
	r->counters.flows++;
	*oldest = (struct entry){ .key = *key };
	return oldest;
}

static bool is_over(struct flt_reducer *r, const struct skep_flow_key *key, uint64_t hash, uint32_t wire_len)
{
	struct entry *e = look_up(r, key, hash);
	bool over = skep_reduce_over(&r->job, e->pkts, e->bytes);

	e->seen = r->clock;
	e->pkts++;
	e->bytes += wire_len;
	return over;
}

bool flt_reducer_take(struct flt_reducer *r, const uint8_t *bytes, uint32_t len, uint32_t wire_len)
{
	bool by_flow = r->job.flags & SKEP_REDUCE_BY_FLOW;
	struct skep_flow_key key;
	uint64_t hash = 0;

	r->counters.matched++;
	if (r->table || (by_flow && r->job.sample_every > 1)) {
		read_flow(bytes, len, &key);
		hash = skep_reduce_hash(&key, r->seed);
	}
	if (r->job.sample_every > 1 &&
	    !(by_flow ? skep_reduce_chosen(hash, r->job.sample_every)
		      : skep_reduce_turn(&r->counters.turn, r->job.sample_every))) {
		r->counters.sampled_out++;
		return false;
	}
	if (r->table && is_over(r, &key, hash, wire_len)) {
		r->counters.cut_off++;
		return false;
	}
	return true;
}

void flt_reducer_account(const struct flt_reducer *r, struct flt_reduce_account *ret)
{
	*ret = (struct flt_reduce_account){ .matched_pkts = r->counters.matched,
					    .sampled_out_pkts = r->counters.sampled_out,
					    .cut_off_pkts = r->counters.cut_off,
					    .flows = r->counters.flows };
}

uint64_t flt_reducer_forgotten(const struct flt_reducer *r)
{
	return r->forgotten;
}
