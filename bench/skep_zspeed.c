/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-zspeed: how fast zstd itself is on the bytes that a capture of generated frames consists of: pcap
 * records in memory, compressed in blocks of the capture's size, each on its own, at one level or several.
 * The limit that compressing while capturing is compared with.
 */
#include "bench/args.h"
#include "bench/gen_frame.h"
#include "common/opts.h"
#include "common/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

#define BLOCK (1u << 20)
#define RECORD_BYTES 16u

struct zspeed_options {
	struct bench_gen_options gen;
	uint32_t mib;
	uint64_t duration_ns; /* per level */
	struct skep_strings levels;
};

static int call_size(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct zspeed_options *o = cfg;
	uint64_t size = BENCH_GEN_SIZE_IMIX;
	int r = strcmp(value, "imix") == 0 ? 0
					   : skep_parse_uint(what, value, 58, SKEP_GEN_FRAME_MAX, &size, err);

	o->gen.size = (uint32_t)size;
	return r;
}

static const char *const payloads[] = { "random", "compressible", "zero", NULL };

static const struct skep_opt table[] = {
	{ .name = "size", .type = SKEP_OPT_CALL, .arg = "N|imix", .call = call_size, .fallback = "1500" },
	{ .name = "payload",
	  .type = SKEP_OPT_CHOICE,
	  .arg = "KIND",
	  .choices = payloads,
	  .fallback = "compressible",
	  .offset = offsetof(struct zspeed_options, gen.payload) },
	{ .name = "mib",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .min = 1,
	  .max = 1024,
	  .fallback = "32",
	  .offset = offsetof(struct zspeed_options, mib),
	  .help = "bytes to compress, in MiB" },
	{ .name = "level",
	  .type = SKEP_OPT_STRINGS,
	  .arg = "N",
	  .offset = offsetof(struct zspeed_options, levels),
	  .fallback = "1",
	  .help = "may be given several times" },
	{ .name = "duration",
	  .letter = 'd',
	  .type = SKEP_OPT_DURATION,
	  .arg = "TIME",
	  .fallback = "1",
	  .offset = offsetof(struct zspeed_options, duration_ns),
	  .help = "per level" },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-zspeed",
	.usage = (const char *const[]){ "[OPTION...]", NULL },
	.about = "Measures zstd in memory on the bytes that a capture of generated frames has.",
	.table = table,
	.n = ARRAY_LEN(table),
};

/* Fills bytes with pcap records, spaced as at 10^6 frames per second; returns how many bytes were used. */
static size_t make_records(const struct skep_gen_cfg *cfg, struct skep_gen_template *templates,
			   struct bench_pool *pool, uint8_t *bytes, size_t room)
{
	uint64_t seq, ts_ns = 1700000000000000000ull;
	size_t used = 0;

	for (seq = 0; room - used >= RECORD_BYTES + SKEP_GEN_FRAME_MAX;
	     seq++, ts_ns += 1000 + seq * 7919 % 101) {
		uint32_t len = bench_gen_frame_build(cfg, templates, pool, seq, bytes + used + RECORD_BYTES);
		uint32_t head[4] = { (uint32_t)(ts_ns / SKEP_NSEC_PER_SEC),
				     (uint32_t)(ts_ns % SKEP_NSEC_PER_SEC), len, len };

		memcpy(bytes + used, head, sizeof(head));
		used += RECORD_BYTES + len;
	}
	return used;
}

static int measure(int level, uint64_t duration_ns, const uint8_t *bytes, size_t n, json_t *results)
{
	size_t room = ZSTD_compressBound(BLOCK), at, r;
	_skep_free_ uint8_t *out = malloc(room);
	ZSTD_CCtx *ctx = ZSTD_createCCtx();
	uint64_t in_bytes = 0, out_bytes = 0, start, ns = 0;

	if (!out || !ctx || ZSTD_isError(ZSTD_CCtx_setParameter(ctx, ZSTD_c_compressionLevel, level))) {
		(void)ZSTD_freeCCtx(ctx);
		return -ENOMEM;
	}
	/* whole rounds, so that the ratio is that of all the bytes */
	for (start = bench_args_now_ns(); ns < duration_ns; ns = bench_args_now_ns() - start) {
		for (at = 0; at < n; at += BLOCK) {
			r = ZSTD_compress2(ctx, out, room, bytes + at, SKEP_MIN(BLOCK, n - at));
			out_bytes += ZSTD_isError(r) ? 0 : r;
			in_bytes += SKEP_MIN(BLOCK, n - at);
		}
	}
	(void)ZSTD_freeCCtx(ctx);
	return json_array_append_new(results, json_pack("{s:i, s:f, s:f}", "level", level, "bytes_per_s",
							(double)in_bytes * 1e9 / (double)ns, "ratio",
							(double)in_bytes / (double)out_bytes))
		       ? -ENOMEM
		       : 0;
}

static int measure_all(const struct zspeed_options *o, const uint8_t *bytes, size_t n, struct skep_err *err)
{
	json_t *results = json_array();
	uint32_t i;
	int r = 0;

	for (i = 0; !r && i < SKEP_MAX(o->levels.n, 1u); i++) {
		const char *text = o->levels.n ? o->levels.items[i] : "1";
		char *end;
		long level = strtol(text, &end, 10);

		if (end == text || *end || level < ZSTD_minCLevel() || level > ZSTD_maxCLevel())
			r = skep_err_set(err, SKEP_E_USAGE, "--level %s: not a level of zstd", text);
		else if (measure((int)level, o->duration_ns, bytes, n, results))
			r = skep_err_set(err, -ENOMEM, "no memory");
	}
	if (!r && bench_args_print(json_incref(results)))
		r = skep_err_set(err, -EIO, "cannot write the result");
	json_decref(results);
	return r;
}

static int run(const struct zspeed_options *o, struct skep_err *err)
{
	struct skep_gen_template templates[SKEP_GEN_TEMPLATES];
	size_t room = (size_t)o->mib << 20, n;
	_skep_free_ uint8_t *bytes = malloc(room);
	struct bench_pool *pool;
	struct skep_gen_cfg cfg;
	int r;

	r = bench_gen_frame_prepare(&o->gen, &cfg, templates, err);
	if (r)
		return r;
	pool = bench_pool_new((enum skep_gen_payload)o->gen.payload, o->gen.seed);
	if (!bytes || !pool) {
		bench_pool_free(pool);
		return skep_err_set(err, -ENOMEM, "no memory for %zu bytes", room);
	}
	n = make_records(&cfg, templates, pool, bytes, room);
	bench_pool_free(pool);
	return measure_all(o, bytes, n, err);
}

int main(int argc, char **argv)
{
	struct zspeed_options o = {
		.gen = { .size = 1500,
			 .seed = 1,
			 .flows = 1,
			 .payload = SKEP_GEN_COMPRESSIBLE,
			 .vlan = BENCH_GEN_VLAN_NONE,
			 .dst_mac = { 0x02, 's', 'k', 'e', 'p', 2 } },
		.mib = 32,
		.duration_ns = SKEP_NSEC_PER_SEC,
	};
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
	return bench_args_exit("skep-zspeed", r, &err);
}
