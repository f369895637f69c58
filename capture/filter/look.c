/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loads the look stage and keeps its maps: what to fill, the tries of address lists, the account of flows.
 * The stage runs while they change; the order of changes keeps every bit right that a running filter reads.
 *
 * Invariant: `now` is what the tries hold. Control thread.
 */
#include "capture/filter/look.h"

#include "bpf/abi/skep_look.h"
#include "bpf/look.skel.h"
#include "capture/filter/limits.h"
#include "common/util.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct flt_look {
	struct skep_look *skel;
	uint32_t flows, prefixes;
	struct flt_prefix *now; /* as flt_lists_table sorts them */
	size_t n;
};

static int configure(struct flt_look *look, const struct flt_look_cfg *cfg)
{
	struct skep_look *skel = look->skel;
	int r = bpf_map__reuse_fd(skel->maps.progs, cfg->progs_fd);

	look->flows = cfg->flows ? cfg->flows : FLT_LOOK_FLOWS;
	look->prefixes = cfg->prefixes ? cfg->prefixes : FLT_LOOK_PREFIXES;
	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.scratch, cfg->scratch_fd);
	if (r == 0)
		r = bpf_map__set_max_entries(skel->maps.flows, look->flows);
	if (r == 0)
		r = bpf_map__set_max_entries(skel->maps.lists4, look->prefixes);
	return r ? r : bpf_map__set_max_entries(skel->maps.lists6, look->prefixes);
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
	free(look->now);
	free(look);
	return NULL;
}

int flt_look_prog_fd(const struct flt_look *look)
{
	return bpf_program__fd(look->skel->progs.look);
}

int flt_look_need(struct flt_look *look, uint32_t needs, uint32_t inside)
{
	const struct skep_look_control c = { .quic = (needs & FLT_NEEDS_MARKS) != 0,
					     .lists = (needs & FLT_NEEDS_LISTS) != 0,
					     .inside = inside };
	uint32_t zero = 0;

	return bpf_map_update_elem(bpf_map__fd(look->skel->maps.control), &zero, &c, BPF_ANY) ? -errno : 0;
}

static int fd_of(const struct flt_look *look, const struct flt_prefix *p)
{
	return bpf_map__fd(p->version == 4 ? look->skel->maps.lists4 : look->skel->maps.lists6);
}

/* The first bytes of a six key are those of a four key. */
static struct skep_look_key6 key_of(const struct flt_prefix *p)
{
	struct skep_look_key6 key = { .bits = p->bits };

	memcpy(key.addr, p->addr, sizeof(key.addr));
	return key;
}

static int put(const struct flt_look *look, const struct flt_prefix *p)
{
	const struct skep_look_key6 key = key_of(p);

	return bpf_map_update_elem(fd_of(look, p), &key, &p->mask, BPF_ANY) ? -errno : 0;
}

static int compare(const struct flt_prefix *p, const struct flt_prefix *q)
{
	int c = (int)p->version - (int)q->version;

	if (c == 0)
		c = memcmp(p->addr, q->addr, sizeof(p->addr));
	return c ? c : (int)p->bits - (int)q->bits;
}

/* Writes what is new or has another mask. */
static int put_new(const struct flt_look *look, const struct flt_prefix *v, size_t n)
{
	size_t old = 0;

	for (size_t i = 0; i < n; i++) {
		bool same;
		int r;

		while (old < look->n && compare(&look->now[old], &v[i]) < 0)
			old++;
		same = old < look->n && compare(&look->now[old], &v[i]) == 0 &&
		       look->now[old].mask == v[i].mask;
		r = same ? 0 : put(look, &v[i]);
		if (r)
			return r;
	}
	return 0;
}

/* Deletes what is not in v. */
static void drop_old(const struct flt_look *look, const struct flt_prefix *v, size_t n)
{
	size_t i = 0;

	for (size_t old = 0; old < look->n; old++) {
		const struct skep_look_key6 key = key_of(&look->now[old]);

		while (i < n && compare(&v[i], &look->now[old]) < 0)
			i++;
		if (i == n || compare(&v[i], &look->now[old]) != 0)
			(void)bpf_map_delete_elem(fd_of(look, &look->now[old]), &key);
	}
}

/* Back to what the tries held, after a failure half way through. */
static void restore(struct flt_look *look, const struct flt_prefix *v, size_t n)
{
	struct flt_prefix *was = look->now;
	size_t was_n = look->n;

	for (size_t i = 0; i < was_n; i++)
		(void)put(look, &was[i]);
	look->now = (struct flt_prefix *)v;
	look->n = n;
	drop_old(look, was, was_n);
	look->now = was;
	look->n = was_n;
}

int flt_look_set_lists(struct flt_look *look, const struct flt_lists *lists, struct skep_err *err)
{
	struct flt_prefix *v = NULL;
	size_t n = 0;
	int r = flt_lists_table(lists, &v, &n, err);

	if (r)
		return r;
	r = n > look->prefixes ? -ENOSPC : put_new(look, v, n);
	if (r) {
		if (n <= look->prefixes)
			restore(look, v, n);
		free(v);
		return skep_err_set(err, r == -ENOSPC ? SKEP_E_NO_SPACE : r,
				    "the kernel did not take %zu addresses and prefixes: %s", n,
				    strerror(-r));
	}
	drop_old(look, v, n);
	free(look->now);
	look->now = v;
	look->n = n;
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
