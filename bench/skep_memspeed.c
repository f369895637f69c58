/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-memspeed: what the one copy of a packet costs that no capture to a file can do without. Frames lie in
 * a ring of buffers as AF_XDP fills them; each is copied, with a record header in front, behind the last one
 * into a memory as large as a worker's. Nothing else is done to them, so this is the limit that the capture's
 * own CPU time per packet is compared with. Besides: how fast memcpy is on large pieces.
 *
 * The ring was written by this thread long before, not by another core just now: a capture cannot be as fast.
 * Never touches a network. One thread.
 */
#include "bench/args.h"
#include "common/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As capture/limits.h has them: descriptors, bytes of each, memory of a worker. */
#define SLOTS 16384u
#define CHUNK 2048u
#define ROOM (96u << 20)
#define HEADROOM 256u
#define RECORD_BYTES 16u

struct memspeed_options {
	uint64_t duration_ns;
};

struct memories {
	uint8_t *ring, *room;
};

static const uint32_t sizes[] = { 64, 256, 512, 1500 };

static const struct skep_opt table[] = {
	{ .name = "duration",
	  .letter = 'd',
	  .type = SKEP_OPT_DURATION,
	  .arg = "TIME",
	  .fallback = "1",
	  .offset = offsetof(struct memspeed_options, duration_ns),
	  .help = "of each size" },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-memspeed",
	.usage = (const char *const[]){ "[OPTION...]", NULL },
	.about = "Measures the copy of a packet from a ring into memory, and memcpy.",
	.table = table,
	.n = ARRAY_LEN(table),
};

/* Nanoseconds per frame of `size` bytes; whole rounds of the ring. */
static double gather_ns(const struct memories *m, uint32_t size, uint64_t duration_ns)
{
	uint64_t start = bench_args_now_ns(), ns = 0, n = 0, used = 0;

	while (ns < duration_ns) {
		for (uint32_t i = 0; i < SLOTS; i++) {
			const uint32_t head[4] = { (uint32_t)n, i, size, size };

			if (ROOM - used < RECORD_BYTES + size)
				used = 0;
			memcpy(m->room + used, head, sizeof(head));
			memcpy(m->room + used + RECORD_BYTES, m->ring + (size_t)i * CHUNK + HEADROOM, size);
			used += RECORD_BYTES + size;
		}
		n += SLOTS;
		ns = bench_args_now_ns() - start;
	}
	return (double)ns / (double)n;
}

static double copy_bytes_per_s(const struct memories *m, uint64_t duration_ns)
{
	const size_t piece = SLOTS * (size_t)CHUNK; /* the ring as a whole */
	uint64_t start = bench_args_now_ns(), ns = 0, bytes = 0;

	while (ns < duration_ns) {
		memcpy(m->room + (bytes / piece % 2) * piece, m->ring, piece);
		bytes += piece;
		ns = bench_args_now_ns() - start;
	}
	return (double)bytes * 1e9 / (double)ns;
}

static int run(const struct memspeed_options *o, struct skep_err *err)
{
	_skep_free_ uint8_t *ring = malloc((size_t)SLOTS * CHUNK), *room = malloc(ROOM);
	const struct memories m = { ring, room };
	json_t *gather = json_array();

	if (!ring || !room || !gather) {
		json_decref(gather);
		return skep_err_set(err, -ENOMEM, "no memory for %u MiB",
				    (SLOTS * CHUNK + ROOM) >> 20);
	}
	memset(ring, 0x5a, (size_t)SLOTS * CHUNK);
	memset(room, 0, ROOM);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		double ns = gather_ns(&m, sizes[i], o->duration_ns);

		(void)json_array_append_new(gather, json_pack("{s:i, s:f}", "size", (int)sizes[i], "ns", ns));
	}
	if (bench_args_print(json_pack("{s:o, s:f}", "gather", gather, "copy_bytes_per_s",
				       copy_bytes_per_s(&m, o->duration_ns))))
		return skep_err_set(err, -EIO, "cannot write the result");
	return 0;
}

int main(int argc, char **argv)
{
	struct memspeed_options o = { .duration_ns = SKEP_NSEC_PER_SEC };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	r = bench_args_parse(&opts, argc, argv, &o, &words, &err);
	if (words.help)
		return 0;
	if (!r && words.n)
		r = skep_err_set(&err, SKEP_E_USAGE, "%s: not an option, see --help", words.words[0]);
	if (!r)
		r = run(&o, &err);
	return bench_args_exit("skep-memspeed", r, &err);
}
