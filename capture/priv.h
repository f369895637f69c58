/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_PRIV_H
#define CAP_PRIV_H
/*
 * Privileges: what a source needs to be opened, and how they are given up for good once it is.
 *
 * Order: cap_priv_require -> open every tap, register every buffer (locked memory is charged to the user
 * afterwards) -> cap_priv_plan -> cap_priv_drop -> cap_priv_seccomp -> start threads. Control thread only.
 */
#include "capture/source.h"

#include <sys/types.h>

/*
 * Refuses (SKEP_E_PRIVILEGE) when a capability without which the source cannot be opened is missing; names
 * it and how to grant it.
 */
int cap_priv_require(enum cap_source_kind kind, struct skep_err *err);
/* The same as a set, bit 1 << CAP_*: needed without fail, and what the process does not have of a set. */
uint64_t cap_priv_needed(enum cap_source_kind kind);
uint64_t cap_priv_missing(uint64_t set);
/* "CAP_BPF, CAP_NET_RAW" for a set; returns buf. */
const char *cap_priv_names(uint64_t set, char *buf, size_t size);

struct cap_priv_cfg {
	const char *user;     /* --user: name or number; NULL: chosen */
	const char *out_dir;  /* directory that files are made in; NULL: none (stdout, /dev/null) */
	const char *out_file; /* the one file that will be replaced there, if known; NULL: none */
};

/* What the process will be after cap_priv_drop. */
struct cap_priv_plan {
	bool change_user;        /* false: not root, stays who it is */
	uid_t uid;
	gid_t gid;
	bool add_group;          /* the directory is writable through this group of the user's */
	gid_t group;
	bool keep_dac_override;  /* the only way to write out_dir; everything else is dropped in any case */
	char user[64];           /* name, or "uid 1000" */
	char why[96];            /* "owner of the output directory" */
};

/*
 * Decides without changing anything: --user, else the owner of out_dir unless root, else the caller of sudo,
 * else "skep", else "nobody". Refuses an unknown user, a missing or unwritable directory, a file that could
 * not be replaced. Tries the directory as that user in a short-lived child process.
 */
int cap_priv_plan(const struct cap_priv_cfg *cfg, struct cap_priv_plan *ret, struct skep_err *err);
/* One sentence for --check and the debug log; returns buf. */
const char *cap_priv_describe(const struct cap_priv_plan *plan, char *buf, size_t size);
/*
 * Becomes what the plan says and proves, by trying, that there is no way back. Before any thread is started:
 * capabilities belong to threads. After a failure the process must end: it may be half way.
 */
int cap_priv_drop(const struct cap_priv_plan *plan, struct skep_err *err);

/*
 * Kills the process at any system call that a running engine does not make; all threads, for ever. With
 * verbose the number of the call is written to stderr first. Does nothing in a sanitizer build, whose
 * runtime needs ptrace and clone; returns 0. `forks`: it may start processes of the same program, in which
 * filters are compiled; never another program.
 */
int cap_priv_seccomp(bool verbose, bool forks, struct skep_err *err);

#endif
