/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-seqcheck: reads capture files and proves, by the sequence numbers and the payload of skep-gen's
 * frames, what they hold: all of them, each once, in order, intact. Several files are read one after the
 * other as one sequence.
 */
#include "bench/args.h"
#include "bench/pcap_in.h"
#include "bench/seq.h"
#include "common/opts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct check_options {
	uint64_t first;
	uint64_t last; /* UINT64_MAX: the highest that is found */
};

static const struct skep_opt table[] = {
	{ .name = "first",
	  .type = SKEP_OPT_UINT64,
	  .arg = "N",
	  .offset = offsetof(struct check_options, first),
	  .fallback = "0",
	  .help = "the first sequence number that was sent" },
	{ .name = "last",
	  .type = SKEP_OPT_UINT64,
	  .arg = "N",
	  .offset = offsetof(struct check_options, last),
	  .fallback = "the highest found",
	  .help = "the last one" },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-seqcheck",
	.usage = (const char *const[]){ "[OPTION...] FILE...", NULL },
	.about = "Checks the frames of skep-gen in capture files (pcap, pcapng, also .zst; - for stdin): "
		 "which sequence numbers are lost, came "
		 "twice, came out of order, and whose bytes are not the ones sent.",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue = "Exit code 0: every frame from first to last is there, once and intact; 3: not.",
};

/* Adds 1 to *torn when the file ends in the middle of a frame or is damaged: what came before it counts. */
static int check_file(const char *path, struct bench_seq *seq, uint32_t *torn, struct skep_err *err)
{
	struct bench_pcap_frame frame;
	struct bench_pcap_in *in;
	int r;

	r = bench_pcap_in_open(path, &in, err);
	if (r)
		return r;
	while ((r = bench_pcap_in_next(in, &frame, err)) == 1) {
		r = bench_seq_add(seq, frame.data, frame.len, frame.wire_len);
		if (r) {
			r = skep_err_set(err, r, "%s: %s", path, strerror(-r));
			break;
		}
	}
	bench_pcap_in_close(in);
	if (r != -EBADMSG)
		return r;
	(void)fprintf(stderr, "skep-seqcheck: %s\n", err->text);
	++*torn;
	return 0;
}

/* 0: complete; 3: not; else an error. */
static int report(const struct bench_seq *seq, uint64_t last, uint32_t torn, struct skep_err *err)
{
	uint64_t lost;
	int r;

	if (last == UINT64_MAX)
		last = seq->unique ? seq->max : seq->first;
	lost = bench_seq_lost(seq, last);
	r = bench_args_print(json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:o, s:o}", "frames",
		(json_int_t)seq->frames, "unique", (json_int_t)seq->unique, "lost", (json_int_t)lost,
		"duplicated", (json_int_t)seq->duplicated, "reordered", (json_int_t)seq->reordered,
		"corrupted", (json_int_t)seq->corrupted, "stray", (json_int_t)seq->stray, "foreign",
		(json_int_t)seq->foreign, "bytes", (json_int_t)seq->bytes, "torn_files", (int)torn,
		"first_seq", seq->unique ? json_integer((json_int_t)seq->min) : json_null(), "last_seq",
		seq->unique ? json_integer((json_int_t)seq->max) : json_null()));
	if (r)
		return skep_err_set(err, r, "cannot write the result: %s", strerror(-r));
	return lost || seq->duplicated || seq->corrupted || seq->stray || torn ? -ECANCELED : 0;
}

int main(int argc, char **argv)
{
	struct check_options o = { .last = UINT64_MAX };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	struct bench_seq seq = { 0 };
	uint32_t torn = 0;
	int i, r;

	r = bench_args_parse(&opts, argc, argv, &o, &words, &err);
	if (words.help)
		return 0;
	if (!r && !words.n)
		r = skep_err_set(&err, SKEP_E_USAGE, "say which FILE to check");
	seq.first = o.first;
	for (i = 0; !r && i < words.n; i++)
		r = check_file(words.words[i], &seq, &torn, &err);
	if (!r)
		r = report(&seq, o.last, torn, &err);
	bench_seq_done(&seq);
	return r == -ECANCELED ? 3 : bench_args_exit("skep-seqcheck", r, &err);
}
