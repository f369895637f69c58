/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_MERGE_TABLES_H
#define FLT_MERGE_TABLES_H
/*
 * The terms of all jobs as tables for look-ups: a field's value leads to a row of masks with one bit per job.
 * merge_code.h says how they are read.
 */
#include "capture/filter/merge_terms.h"

#include "bpf/abi/skep_abi.h"

/*
 * Fields whose values are looked up in the same table: they share a numbering of the values into ids, such
 * that values with one id make no difference to any job.
 */
enum flt_space {
	FLT_SPACE_TYPE,
	FLT_SPACE_PROTO,
	FLT_SPACE_FRAG, /* without a table: the id is 0 or 1 */
	FLT_SPACE_PORT,
	FLT_SPACE_ADDR4,
	FLT_SPACE_ADDR6,
	FLT_SPACES,
};

/* Entries of a table with this bit are the number of the next node, others an id. */
#define FLT_TABLE_NODE 0x8000u
/* The first step of an address looks at 16 bits, each further one at 8. */
#define FLT_NODE_ENTRIES 256u

struct flt_space_table {
	uint32_t at;	   /* offset of u16 v[]: indexed by the value as it is loaded from the frame */
	uint32_t nodes_at; /* addresses: nodes of FLT_NODE_ENTRIES, a power of two of them */
	uint32_t node_mask;
	uint32_t depth; /* steps behind the first */
	uint32_t ids;
	uint32_t id_mask; /* 2^n - 1; row `ids` is for frames without the field */
};

/* The rows of one field: for id i and term number k, the u64 at at + (i << shift) + 8 * k. */
struct flt_column {
	bool used; /* some term depends on the field */
	uint32_t at;
};

struct flt_class_tables {
	uint32_t terms; /* most terms of a job in this class; 1 to FLT_MAX_TERMS */
	uint32_t shift;
	struct flt_column columns[FLT_DIMS];
	uint32_t always_at; /* u64 v[terms], for a class without columns */
	uint32_t asked_at;  /* u64: jobs for which the terms are not the whole meaning */
	uint32_t short_at;  /* u64: jobs to ask about frames that end within the IPv6 header */
	bool asks, asks_short;
	bool empty; /* no job wants a frame of the class */
};

struct flt_tables {
	unsigned char *bytes;
	uint32_t size, cap;
	struct flt_space_table spaces[FLT_SPACES];
	struct flt_class_tables classes[FLT_CLASSES];
};

struct flt_merge_job {
	uint64_t bit;
	const struct flt_terms *terms; /* NULL: nothing is known, the job is asked about every frame */
};

/* The space of a class's field. */
enum flt_space flt_tables_space(enum flt_class class, enum flt_dim dim);
/*
 * Builds the tables. -E2BIG: they would exceed FLT_MAX_TABLE_BYTES; *ret_largest is the job that needs most.
 * -ENOMEM. Any thread.
 */
int flt_tables_build(const struct flt_merge_job *jobs, uint32_t n, struct flt_tables *ret,
		     uint32_t *ret_largest);
void flt_tables_done(struct flt_tables *t);

#endif
