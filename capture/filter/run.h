/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_RUN_H
#define FLT_RUN_H
/*
 * Loads a translated filter into the kernel and runs it over packets without a network (BPF_PROG_TEST_RUN).
 */
#include "capture/filter/translate.h"

#include <stddef.h>

/* The kernel's test run refuses shorter packets. */
#define FLT_RUN_MIN_BYTES 14u
/* The longest packet a test run takes: 17 fragments of a page, less what the first page keeps for itself. */
#define FLT_RUN_MAX_BYTES 65000u

/* What delivery returns: the length that filters accept. */
#define FLT_RUN_ACCEPTED 262144u

struct flt_look;
struct flt_lists;

struct flt_loaded {
	int fd; /* what flt_run_packet runs: the filter, or the look stage in front of it */
	uint32_t verified_insns; /* instructions the verifier walked through; 0: the kernel does not tell */
	uint32_t jited_bytes;
	uint64_t load_ns;
	/* With marks, lists, or packets inside; else -1 and NULL. */
	int filter_fd;
	int progs_fd;
	int scratch_fd;
	struct flt_look *look; /* its flows last from packet to packet */
};

#define FLT_LOADED_NULL                                                    \
	{                                                                  \
		.fd = -1, .filter_fd = -1, .progs_fd = -1, .scratch_fd = -1 \
	}

/*
 * Loads the code as an XDP program that takes frames of several buffers; code with needs together with a look
 * stage of its own and the lists (may be NULL: every address is in none). -EPERM without CAP_BPF and
 * CAP_NET_ADMIN; on a refusal by the verifier err holds its last words.
 */
int flt_run_load_lists(const struct flt_code *code, const struct flt_lists *lists, struct flt_loaded *ret,
		       struct skep_err *err);
int flt_run_load(const struct flt_code *code, struct flt_loaded *ret, struct skep_err *err);
/*
 * The same for a filter that also looks inside `inside` (SKEP_INNER_*), by the code of
 * flt_translate_inside(), and what a link runs: the look stage, the classifier with this one job, and a
 * program that stands for delivery and returns FLT_RUN_ACCEPTED.
 */
int flt_run_load_inside(const struct flt_code *code, const struct flt_code *inside_code, uint32_t inside,
			const struct flt_lists *lists, struct flt_loaded *ret, struct skep_err *err);
void flt_run_unload(struct flt_loaded *l);

/*
 * Runs the program over one packet of len bytes that was wire_len bytes long. linear > 0: only so many bytes
 * are in the first buffer (Linux 6.18; -EINVAL before). repeat runs it several times; ret_ns (may be NULL) is
 * the mean of one run. Returns 0 with what the program returned, or -errno.
 */
struct flt_packet {
	const void *bytes;
	uint32_t len;
	uint32_t wire_len;
	uint32_t linear;
};
int flt_run_packet(const struct flt_loaded *l, const struct flt_packet *p, uint32_t repeat,
		   uint32_t *ret_verdict, uint32_t *ret_ns);

#endif
