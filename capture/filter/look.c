/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads the look stage and keeps its maps: what to fill, the sets of address lists, the account of flows. The
 * stage runs while they change: a new set of lists is built beside the one in use, and taken into use by one
 * word. Putting a map into the place of another waits for the programs that may still read it, so what is
 * written behind that is read by nobody yet.
 *
 * Control thread.
 */
#include "capture/filter/look.h"

#include "bpf/abi/skep_look.h"
#include "bpf/look.skel.h"
#include "capture/filter/lengths.h"
#include "capture/filter/limits.h"
#include "common/util.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct flt_look {
	struct skep_look *skel;
	uint32_t flows, prefixes;
	struct skep_look_control control; /* what the program reads */
	size_t n;			  /* prefixes of the lists */
	const struct flt_lists *lists;	  /* whose table is looked up, in which version; never followed */
	uint64_t version;
};

static int configure(struct flt_look *look, const struct flt_look_cfg *cfg)
{
	struct skep_look *skel = look->skel;
	int r = bpf_map__reuse_fd(skel->maps.progs, cfg->progs_fd);

	look->flows = cfg->flows ? cfg->flows : FLT_LOOK_FLOWS;
	look->prefixes = cfg->prefixes ? cfg->prefixes : FLT_LOOK_PREFIXES;
	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.scratch, cfg->scratch_fd);
	return r ? r : bpf_map__set_max_entries(skel->maps.flows, look->flows);
}

int flt_look_open(const struct flt_look_cfg *cfg, struct flt_look **ret, struct skep_err *err)
{
	struct flt_look *look = calloc(1, sizeof(*look));
	int r;

	if (!look)
		return skep_err_set(err, -ENOMEM, "no memory for the look stage");
	look->skel = skep_look__open();
	r = look->skel ? configure(look, cfg) : -errno;
	if (r == 0)
		r = skep_look__load(look->skel);
	if (r) {
		flt_look_close(look);
		(void)skep_err_set(err, r, "the kernel refused the program for presets and lists: %s",
				   strerror(-r));
		if (r == -EPERM)
			(void)skep_err_hint(err, "Run it as root, or with CAP_BPF and CAP_NET_ADMIN");
		return r;
	}
	*ret = look;
	return 0;
}

struct flt_look *flt_look_close(struct flt_look *look)
{
	if (!look)
		return NULL;
	skep_look__destroy(look->skel);
	free(look);
	return NULL;
}

int flt_look_prog_fd(const struct flt_look *look)
{
	return bpf_program__fd(look->skel->progs.look);
}

static int control(struct flt_look *look, const struct skep_look_control *c)
{
	uint32_t zero = 0;

	if (bpf_map_update_elem(bpf_map__fd(look->skel->maps.control), &zero, c, BPF_ANY))
		return -errno;
	look->control = *c;
	return 0;
}

int flt_look_need(struct flt_look *look, uint32_t needs, uint32_t inside)
{
	const struct skep_look_control c = { .quic = (needs & FLT_NEEDS_MARKS) != 0,
					     .lists = (needs & FLT_NEEDS_LISTS) != 0,
					     .set = look->control.set,
					     .inside = inside };

	return control(look, &c);
}

/* Bits of an address that a prefix of this length says, as on the wire. */
static uint32_t mask_of(unsigned bits)
{
	return bits == 0 ? 0 : htonl(UINT32_MAX << (bits < 32 ? 32 - bits : 0));
}

static void fill_length(unsigned bits, uint32_t version, struct skep_look_length *ret)
{
	ret->bits = bits | version;
	for (unsigned k = 0; k < 4; k++)
		ret->mask[k] = mask_of(bits > 32 * k ? bits - 32 * k : 0);
}

static void fill_lengths(const struct flt_lengths *l, struct skep_look_lengths *ret)
{
	*ret = (struct skep_look_lengths){ .n4 = l->n4, .n6 = l->n6 };
	for (uint32_t i = 0; i < l->n4; i++)
		fill_length(l->bits4[i], 0, &ret->v[i]);
	for (uint32_t i = 0; i < l->n6; i++)
		fill_length(l->bits6[i], SKEP_LOOK_IP6, &ret->v[SKEP_LOOK_LENGTHS4 + i]);
}

/* A map of these prefixes; its descriptor. */
static int make_set(const struct flt_lengths *l, int *ret_fd)
{
	_skep_close_ int fd = bpf_map_create(BPF_MAP_TYPE_HASH, "skep_lists", sizeof(struct skep_look_key),
					     sizeof(l->v->mask), l->n > 0 ? (uint32_t)l->n : 1, NULL);
	_skep_free_ struct skep_look_key *keys = calloc(l->n + 1, sizeof(*keys));
	_skep_free_ uint32_t *masks = calloc(l->n + 1, sizeof(*masks));
	uint32_t count = (uint32_t)l->n;

	if (fd < 0)
		return -errno;
	if (!keys || !masks)
		return -ENOMEM;
	for (size_t i = 0; i < l->n; i++) {
		keys[i].bits = l->v[i].bits | (l->v[i].version == 6 ? SKEP_LOOK_IP6 : 0);
		memcpy(keys[i].addr, l->v[i].addr, sizeof(keys[i].addr));
		masks[i] = l->v[i].mask;
	}
	if (count > 0 && bpf_map_update_batch(fd, keys, masks, &count, NULL))
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* Into the place `which`. The kernel waits until no frame uses what was there. */
static int put_lists(struct flt_look *look, uint32_t which, const struct flt_lengths *l)
{
	struct skep_look_lengths lengths;
	_skep_close_ int fd = -1;
	int r = make_set(l, &fd);

	fill_lengths(l, &lengths);
	if (r == 0 && (bpf_map_update_elem(bpf_map__fd(look->skel->maps.sets), &which, &fd, BPF_ANY) ||
		       bpf_map_update_elem(bpf_map__fd(look->skel->maps.lengths), &which, &lengths, BPF_ANY)))
		r = -errno;
	return r;
}

int flt_look_set_lists(struct flt_look *look, const struct flt_lists *lists, struct skep_err *err)
{
	SKEP_CLEANUP(flt_lengths_done) struct flt_lengths l = FLT_LENGTHS_NULL;
	_skep_free_ struct flt_prefix *table = NULL;
	struct skep_look_control c = look->control;
	size_t n = 0;
	int r;

	if (look->lists == lists && look->version == flt_lists_version(lists))
		return 0;
	r = flt_lists_table(lists, &table, &n, err);
	if (r)
		return r;
	r = n > look->prefixes ? -ENOSPC : flt_lengths_make(table, n, &l);
	c.set = !c.set; /* the one that is not in use */
	if (r == 0)
		r = put_lists(look, c.set, &l);
	if (r == 0)
		r = control(look, &c);
	if (r)
		return skep_err_set(err, r == -ENOSPC ? SKEP_E_NO_SPACE : r,
				    "the kernel did not take %zu addresses and prefixes: %s", n,
				    strerror(-r));
	look->n = n;
	look->lists = lists;
	look->version = flt_lists_version(lists);
	return 0;
}

static uint64_t count_flows(int fd)
{
	struct {
		uint8_t bytes[64];
	} key, next;
	uint64_t n = 0;

	for (void *prev = NULL; bpf_map_get_next_key(fd, prev, &next) == 0; prev = &key, n++)
		key = next;
	return n;
}

int flt_look_account(const struct flt_look *look, struct flt_look_account *ret)
{
	struct skep_look_account values[SKEP_MAX_CPUS];
	uint32_t zero = 0;
	int cpus = libbpf_num_possible_cpus();

	if (cpus < 0 || cpus > SKEP_MAX_CPUS)
		return cpus < 0 ? cpus : -E2BIG;
	if (bpf_map_lookup_elem(bpf_map__fd(look->skel->maps.account), &zero, values))
		return -errno;
	*ret = (struct flt_look_account){ .prefixes = look->n };
	for (int i = 0; i < cpus; i++) {
		ret->flows_added += values[i].added;
		ret->flows_refused += values[i].refused;
	}
	ret->flows_known = count_flows(bpf_map__fd(look->skel->maps.flows));
	/* A flow that is added between the two counts. */
	ret->flows_evicted = ret->flows_added > ret->flows_known ? ret->flows_added - ret->flows_known : 0;
	return 0;
}
