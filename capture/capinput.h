/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_CAPINPUT_H
#define CAP_CAPINPUT_H
/*
 * A descriptor (file, pipe, terminal) that delivers pcap or pcapng, plain or zstd, as batches of frames: what
 * the file source and the stream source have in common. It embeds their tap and their one source.
 */
#include "capture/capfile.h"
#include "capture/source.h"
#include "capture/zread.h"

#include <stdatomic.h>

struct cap_capinput {
	struct cap_tap tap; /* first: source.h */
	struct cap_source src;
	struct cap_source *src_ptr;
	struct cap_capfile *file;
	int fd;
	char name[256]; /* for sentences */

	struct cap_zread *zstd; /* NULL: plain */
	uint8_t *zin;
	size_t zin_head;
	size_t zin_tail;
	bool zstd_open; /* within a frame */
	bool input_ended;

	atomic_bool stopped; /* control thread: no more frames */
	atomic_bool ended;   /* worker: the stream has ended, well or not */
	atomic_uint_fast64_t offered;
	atomic_uint_fast64_t odd_times;
	/* The worker fills lost once and then sets is_lost; the control thread looks in that order. */
	atomic_bool is_lost;
	struct skep_err lost;
	bool odd_said;
};

/*
 * Takes fd (also when it fails). Reads up to the link type, waiting at most wait_ms for bytes (-1: for ever).
 */
struct cap_capinput_cfg {
	const struct cap_source_ops *ops;
	const struct cap_source_cfg *source;
	int fd;
	const char *file_name; /* as the user said it */
	int wait_ms;           /* for the file header */
};

SKEP_MUST_CHECK int cap_capinput_init(struct cap_capinput *in, const struct cap_capinput_cfg *cfg,
				      struct skep_err *err);
/* Frees everything but the struct. */
void cap_capinput_done(struct cap_capinput *in);

/* Parts of the vtable; they work on any tap that begins with a cap_capinput. */
int cap_capinput_start(struct cap_tap *tap, struct skep_err *err);
void cap_capinput_stop(struct cap_tap *tap);
void cap_capinput_account(struct cap_tap *tap, struct cap_kernel_account *ret);
int cap_capinput_check(struct cap_tap *tap, struct skep_err *err);
int cap_capinput_receive(struct cap_source *src, struct cap_batch *batch);
void cap_capinput_release(struct cap_source *src, struct cap_batch *batch);
void cap_capinput_wait(struct cap_source *src, uint64_t max_ns);

#endif
