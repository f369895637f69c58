/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-filter: check, explain, count and dump a filter with the very code that a link runs, and list the
 * presets. Answers go to stdout, refusals to stderr; with --json both are one object on stdout. Needs no
 * privileges but for running the program in the kernel, and says so where it does without.
 *
 * Never touches a network interface. One thread.
 */
#include "capture/filter/tool.h"

#include "capture/filter/disasm.h"
#include "capture/filter/eval.h"
#include "capture/filter/front.h"
#include "capture/filter/inside.h"
#include "capture/filter/limits.h"
#include "capture/filter/list.h"
#include "capture/filter/look.h"
#include "capture/filter/merge_terms.h"
#include "capture/filter/preset.h"
#include "capture/filter/run.h"
#include "capture/filter/words.h"
#include "capture/limits.h"
#include "capture/source.h"
#include "common/opts.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

struct config {
	bool json;
	bool no_files;
	const char *read_file;
	const char *filter_file;
	const char *inside;
};

/* A filter on its way: what each step made of it. */
struct filter {
	char *text;	/* the user's */
	uint32_t inside; /* SKEP_INNER_*: where it also looks */
	char *expanded; /* presets written out */
	struct flt_lists *lists; /* NULL: files may not be named */
	struct bpf_program *cbpf;
	struct flt_eval *eval;	      /* of cbpf */
	const struct flt_cbpf *insns; /* of cbpf */
	uint32_t n_insns;
	struct flt_code code;
	struct flt_code inside_code; /* with inside */
	struct flt_loaded prog;
	struct skep_err load_err; /* why prog.fd is -1 */
};

static const struct skep_opt table[] = {
	{ .name = "read",
	  .letter = 'r',
	  .type = SKEP_OPT_STRING,
	  .arg = "FILE",
	  .offset = offsetof(struct config, read_file),
	  .help = "count: the packets of this capture (pcap, pcapng, plain or zstd; - is standard "
		  "input)" },
	{ .name = "filter-file",
	  .letter = 'F',
	  .type = SKEP_OPT_STRING,
	  .arg = "FILE",
	  .offset = offsetof(struct config, filter_file),
	  .help = "read the filter from this file (- is standard input) and not from the command "
		  "line" },
	{ .name = "inside",
	  .type = SKEP_OPT_STRING,
	  .arg = "LIST",
	  .offset = offsetof(struct config, inside),
	  .help = "also match packets that are carried inside others: some of "
		  "vlan,qinq,mpls,gre,erspan,vxlan" },
	{ .name = "no-files",
	  .type = SKEP_OPT_FLAG,
	  .offset = offsetof(struct config, no_files),
	  .help = "refuse filters that name files of addresses (in @FILE): for filters of strangers" },
	{ .name = "json",
	  .type = SKEP_OPT_FLAG,
	  .offset = offsetof(struct config, json),
	  .help = "answer with one JSON object" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
	{ .name = "version", .type = SKEP_OPT_VERSION, .help = "show the version" },
};

static const char *const usage[] = { "check [FILTER]", "explain [FILTER]", "count -r FILE [FILTER]",
				     "dump [FILTER]",  "presets",	   NULL };

static const struct skep_opts options = {
	.program = "skep-filter",
	.usage = usage,
	.about = "Checks, explains and tries capture filters: tcpdump's language (pcap-filter(7)) and the "
		 "presets.",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue = "check says ok, or what is wrong and where. explain says the filter in words and what it "
		    "costs. count runs it over each packet of "
		    "a file and prints how many matched. dump shows the classic and the extended BPF "
		    "program. presets lists the names for "
		    "protocols that may be used in a filter.\n"
		    "Names are never looked up in the DNS. A filter that begins with - goes after --.\n"
		    "Exit code: 0 ok, 1 failed, 2 the filter or the command line is wrong.",
};

static void filter_done(struct filter *f)
{
	flt_run_unload(&f->prog);
	flt_code_done(&f->code);
	flt_code_done(&f->inside_code);
	flt_eval_free(f->eval);
	flt_front_free(f->cbpf);
	free(f->cbpf);
	flt_lists_free(f->lists);
	free(f->expanded);
	free(f->text);
}

static int join_words(char *const *words, int n, char **ret, struct skep_err *err)
{
	size_t size = 1, len = 0;
	char *text;

	for (int i = 0; i < n; i++)
		size += strlen(words[i]) + 1;
	text = calloc(1, size);
	if (!text)
		return skep_err_set(err, -ENOMEM, "no memory to read the filter");
	for (int i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, size - len, "%s%s", i ? " " : "", words[i]);
	*ret = text;
	return 0;
}

/* One byte more than allowed is read, so that what is too long is refused as such; a NUL would hide what
 * follows it. */
static int read_text(const char *path, char **ret, struct skep_err *err)
{
	_skep_free_ char *text = calloc(1, FLT_MAX_TEXT_BYTES + 2);
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	const char *nul;
	size_t n;

	if (!f)
		return skep_err_set(err, -errno, "%.200s: %s", path, strerror(errno));
	n = text ? fread(text, 1, FLT_MAX_TEXT_BYTES + 1, f) : 0;
	if (f != stdin)
		fclose(f);
	if (!text)
		return skep_err_set(err, -ENOMEM, "no memory to read the filter");
	nul = memchr(text, '\0', n);
	if (nul) {
		err->column = (int)(nul - text) + 1;
		(void)skep_err_set(err, SKEP_E_USAGE, "column %zd: a NUL byte is not allowed in a filter",
				   nul - text + 1);
		err->column = (int)(nul - text) + 1;
		return SKEP_E_USAGE;
	}
	*ret = TAKE_PTR(text);
	return 0;
}

/* libpcap, then our translation; loading into the kernel only where asked, and its failure is kept for later.
 */
static int build(struct filter *f, int linktype, enum flt_length length, bool load, struct skep_err *err)
{
	const struct flt_ask ask = {
		.expr = f->text, .linktype = linktype, .snaplen = CAP_SNAPLEN_MAX, .lists = f->lists
	};
	uint32_t used;
	int r = flt_front_expand(f->text, linktype, &f->expanded, err);

	if (r)
		return r;
	f->cbpf = flt_front_new();
	if (!f->cbpf)
		return skep_err_set(err, -ENOMEM, "no memory to compile the filter");
	r = flt_front_compile_ask(&ask, f->cbpf, &used, err);
	if (r)
		return r;
	f->insns = flt_front_insns(f->cbpf, &f->n_insns);
	r = flt_translate(f->insns, f->n_insns, length, &f->code, err);
	if (r == 0 && f->inside)
		r = flt_translate_inside(f->insns, f->n_insns, length, &f->inside_code, err);
	if (r || !load)
		return r;
	if (linktype != 1 && f->code.needs) {
		(void)skep_err_set(&f->load_err, SKEP_E_UNSUPPORTED,
				   "XDP knows presets and lists of Ethernet frames only");
		return 0;
	}
	r = f->inside ? flt_run_load_inside(&f->code, &f->inside_code, f->inside, f->lists, &f->prog,
					    &f->load_err)
		      : flt_run_load_lists(&f->code, f->lists, &f->prog, &f->load_err);
	if (r && r != -EPERM)
		*err = f->load_err;
	return r == -EPERM ? 0 : r;
}

static void print_json(json_t *o)
{
	char *text = json_dumps(o, JSON_COMPACT);

	puts(text ? text : "{}");
	free(text);
	json_decref(o);
}

static json_t *error_json(const struct skep_err *err)
{
	return json_pack("{s:b, s:i, s:s, s:s}", "ok", 0, "column", err->column, "error", err->text, "hint",
			 err->hint);
}

static int complain(const struct config *cfg, int r, const struct skep_err *err)
{
	if (cfg->json)
		print_json(error_json(err));
	else
		fprintf(stderr, "skep-filter: %s\n%s%s", err->text, err->hint, err->hint[0] ? "\n" : "");
	return skep_err_exit_code(r);
}

static int check(const struct config *cfg, struct filter *f, struct skep_err *err)
{
	int r = build(f, 1, FLT_LENGTH_FRAME, true, err);

	if (r)
		return complain(cfg, r, err);
	if (cfg->json)
		print_json(json_pack("{s:b, s:i, s:i, s:b}", "ok", 1, "cbpf_insns", (int)f->n_insns,
				     "ebpf_insns", (int)f->code.n, "verified", f->prog.fd >= 0));
	else
		puts("ok");
	return 0;
}

/* Frames that the time of one run is measured with: most links carry little else. */
static const struct sample {
	const char *name;
	uint32_t len;
	uint8_t head[58];
} samples[] = {
	{ "TCP/IPv4", 1514, { 2, 0,    0,    0, 0,    1,    2,	0, 0, 0, 0,  2, 8, 0, 0x45, 0,
			      5, 0xdc, 0,    1, 0x40, 0,    64, 6, 0, 0, 10, 0, 0, 1, 10,   0,
			      0, 2,    0xc0, 0, 1,    0xbb, 0,	0, 0, 1, 0,  0, 0, 1, 0x50, 0x10 } },
	{ "UDP/IPv4", 200, { 2, 0, 0,  0,  0, 1, 2,  0, 0, 0, 0,  2, 8, 0, 0x45, 0, 0, 0xba, 0, 1,
			     0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0xc0, 0, 0, 53,   0, 0xa6 } },
	{ "TCP/IPv6", 1514, { 2, 0, 0, 0, 0,	1, 2,  0,    0,	   0,	 0,    2,    0x86, 0xdd, 0x60,
			      0, 0, 0, 5, 0xb4, 6, 64, 0x20, 1,	   0xd,	 0xb8, 0,    0,	   0,	 0,
			      0, 0, 0, 0, 0,	0, 0,  1,    0x20, 1,	 0xd,  0xb8, 0,	   0,	 0,
			      0, 0, 0, 0, 0,	0, 0,  0,    2,	   0xc0, 0,    1,    0xbb } },
	{ "ARP", 60, { 255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1 } },
};

/* Nanoseconds of one run. Few calls with many runs: each call makes the kernel rewrite its dispatcher, 15 ms.
 */
static uint32_t measure(const struct flt_loaded *prog, const struct sample *s)
{
	uint8_t frame[1514] = { 0 };
	const struct flt_packet p = { .bytes = frame, .len = s->len, .wire_len = s->len };
	uint32_t best = UINT32_MAX, verdict, ns;

	memcpy(frame, s->head, sizeof(s->head));
	for (int i = 0; i < 2; i++)
		if (flt_run_packet(prog, &p, 10000, &verdict, &ns) == 0)
			best = SKEP_MIN(best, ns);
	return best;
}

/* Per kind of frame, without the harness: that is what a program costs that only returns. */
static json_t *measure_all(struct filter *f)
{
	static const struct flt_cbpf ret = { .code = 0x06, .k = 1 };
	SKEP_CLEANUP(flt_code_done) struct flt_code code = FLT_CODE_NULL;
	SKEP_CLEANUP(flt_run_unload) struct flt_loaded nothing = FLT_LOADED_NULL;
	json_t *o = json_object();
	uint32_t base;

	if (f->prog.fd < 0 || flt_translate(&ret, 1, FLT_LENGTH_FRAME, &code, NULL) ||
	    flt_run_load(&code, &nothing, NULL))
		return o;
	base = measure(&nothing, &samples[0]);
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		uint32_t ns = measure(&f->prog, &samples[i]);

		json_object_set_new(o, samples[i].name, json_integer(ns > base ? ns - base : 0));
	}
	return o;
}

/* A job with this filter is one more row in the tables that all plain filters of a link share. */
static bool merged(const struct filter *f)
{
	return !f->inside && f->code.terms && flt_terms_exact(f->code.terms);
}

static void explain_text(const struct filter *f, const char *words, json_t *ns)
{
	const char *name;
	char inside[64];
	json_t *v;

	flt_inside_text(f->inside, inside, sizeof(inside));
	printf("Takes %s%s%s.\n", words, f->inside ? "; also frames that carry such a packet inside: " : "", inside);
	if (strcmp(f->expanded, f->text) != 0)
		printf("Written out: %s\n", f->expanded);
	printf("Program: %u classic BPF instructions, %u of eBPF (%u in the usual way, the rest for short "
	       "and multi-buffer frames)",
	       f->n_insns, f->code.n, f->code.n_fast);
	if (f->inside)
		printf(", %u for packets inside", f->inside_code.n);
	if (f->code.needs || f->inside)
		printf(", behind a program that looks for%s%s%s%s%s", f->inside ? " packets inside" : "",
		       f->inside && f->code.needs ? " and" : "",
		       f->code.needs & FLT_NEEDS_MARKS ? " QUIC flows" : "",
		       f->code.needs == (FLT_NEEDS_MARKS | FLT_NEEDS_LISTS) ? " and" : "",
		       f->code.needs & FLT_NEEDS_LISTS ? " addresses in lists" : "");
	printf(merged(f) ? ".\nBeside other jobs: merged with theirs into one look-up"
			 : ".\nBeside other jobs: a program of its own");
	if (f->prog.fd < 0) {
		printf(".\nTime: not measured, %s.\n", f->load_err.text);
		return;
	}
	printf(".\nAlone: %u bytes of machine code; the verifier walked %u and took %.1f ms.\nTime per packet:",
	       f->prog.jited_bytes, f->prog.verified_insns, (double)f->prog.load_ns / 1e6);
	json_object_foreach(ns, name, v) printf(" %s %lld ns%s", name, (long long)json_integer_value(v),
						strcmp(name, "ARP") ? "," : ".\n");
}

static json_t *lists_json(const struct flt_lists *lists)
{
	json_t *all = json_array();

	for (uint32_t i = 0; lists && i < FLT_MAX_LISTS; i++) {
		const struct flt_list_info *info = flt_lists_info(lists, i);

		if (info)
			json_array_append_new(all,
					      json_pack("{s:s, s:I, s:I, s:I}", "file", info->name, "entries",
							(json_int_t)info->entries, "ip4",
							(json_int_t)info->ip4, "ip6", (json_int_t)info->ip6));
	}
	return all;
}

static int explain(const struct config *cfg, struct filter *f, struct skep_err *err)
{
	SKEP_CLEANUP(flt_token_done) struct flt_tokens tokens = FLT_TOKENS_NULL;
	_skep_free_ char *words = NULL;
	int r = build(f, 1, FLT_LENGTH_FRAME, true, err);
	json_t *ns;

	if (r == 0)
		r = flt_token_split(f->text, strlen(f->text), &tokens, err);
	if (r == 0)
		r = flt_token_check_names(&tokens, err);
	if (r == 0)
		r = flt_words(&tokens, f->lists, &words);
	if (r)
		return complain(cfg, r, err);
	ns = measure_all(f);
	if (cfg->json) {
		char inside[64];

		flt_inside_text(f->inside, inside, sizeof(inside));
		print_json(json_pack("{s:b, s:s, s:o, s:s, s:s, s:b, s:i, s:i, s:i, s:i, s:I, s:O}", "ok", 1,
				     "words", words, "lists", lists_json(f->lists), "inside", inside,
				     "expanded", f->expanded, "merged", merged(f), "cbpf_insns", (int)f->n_insns, "ebpf_insns",
				     (int)f->code.n, "verified_insns", (int)f->prog.verified_insns,
				     "jited_bytes", (int)f->prog.jited_bytes, "load_ns",
				     (json_int_t)f->prog.load_ns, "ns", ns));
	} else {
		explain_text(f, words, ns);
	}
	json_decref(ns);
	return 0;
}

/* Lines of a translated program: printed, or as an array. */
static json_t *dump_code(const struct config *cfg, const struct flt_code *code, const char *title)
{
	json_t *lines = json_array();
	char line[128];

	if (!cfg->json && code->n)
		puts(title);
	for (uint32_t i = 0; i < code->n; i++) {
		flt_disasm(&code->v[i], i, line, sizeof(line));
		if (cfg->json)
			json_array_append_new(lines, json_string(line));
		else
			printf("%s(%03u) %s\n",
			       i == code->n_fast ? "  frames that end early, or have several buffers:\n" : "",
			       i, line);
	}
	return lines;
}

static int dump(const struct config *cfg, struct filter *f, struct skep_err *err)
{
	int r = build(f, 1, FLT_LENGTH_FRAME, false, err);
	json_t *cbpf, *ebpf, *inside;

	if (r)
		return complain(cfg, r, err);
	cbpf = json_array();
	if (!cfg->json)
		puts("Classic BPF, by libpcap:");
	for (uint32_t i = 0; i < f->n_insns; i++) {
		if (cfg->json)
			json_array_append_new(cbpf, json_string(flt_front_line(f->cbpf, i)));
		else
			puts(flt_front_line(f->cbpf, i));
	}
	ebpf = dump_code(cfg, &f->code, "eBPF, as it runs in XDP:");
	inside = dump_code(cfg, &f->inside_code,
			   "eBPF for packets inside: r2 to r5 say where one is (struct skep_inner):");
	if (cfg->json)
		print_json(json_pack("{s:b, s:O, s:O, s:O}", "ok", 1, "cbpf", cbpf, "ebpf", ebpf,
				     "inside_ebpf", inside));
	json_decref(cbpf);
	json_decref(ebpf);
	json_decref(inside);
	return 0;
}

struct tally {
	uint64_t packets, matched, interpreted;
	uint8_t *room; /* CAP_SNAPLEN_MAX bytes, for packets inside */
};

static bool interpret(const struct filter *f, const uint8_t *bytes, uint32_t len, uint32_t wire_len,
		      const struct tally *t)
{
	const struct flt_piece p = { .bytes = bytes, .cap_len = len, .wire_len = wire_len };

	return flt_eval_match_inside(f->eval, &p, f->inside, t->room) > 0;
}

/* In the kernel where it can be: a test run takes 14 bytes or more. */
static int judge(const struct filter *f, const uint8_t *bytes, uint32_t len, uint32_t wire_len,
		 struct tally *t, struct skep_err *err)
{
	uint32_t verdict;
	int r;

	t->packets++;
	if (f->prog.fd < 0 || len < FLT_RUN_MIN_BYTES || len > FLT_RUN_MAX_BYTES) {
		t->interpreted++;
		t->matched += interpret(f, bytes, len, wire_len, t);
		return 0;
	}
	/* It learns flows from every packet, for those that the kernel cannot be given. */
	if (flt_eval_looks(f->eval))
		(void)interpret(f, bytes, len, wire_len, t);
	r = flt_run_packet(&f->prog, &(struct flt_packet){ .bytes = bytes, .len = len, .wire_len = wire_len },
			   1, &verdict, NULL);
	if (r < 0)
		return skep_err_set(err, r, "packet %llu: the kernel did not run the filter: %s",
				    (unsigned long long)t->packets, strerror(-r));
	t->matched += verdict > 0;
	return 0;
}

static int judge_batch(const struct filter *f, const struct cap_batch *b, uint8_t *scratch, struct tally *t,
		       struct skep_err *err)
{
	for (uint32_t i = 0; i < b->n; i++) {
		const struct cap_frame *fr = &b->frames[i];
		const uint8_t *bytes = fr->data;
		uint32_t len = SKEP_MIN(fr->len, fr->cap_len);
		int r;

		if (fr->frag_n > 0) {
			memcpy(scratch, fr->data, len);
			for (uint32_t k = 0; k < fr->frag_n; k++) {
				memcpy(scratch + len, b->frags[fr->frag_first + k].data,
				       b->frags[fr->frag_first + k].len);
				len += b->frags[fr->frag_first + k].len;
			}
			bytes = scratch;
		}
		r = judge(f, bytes, len, fr->wire_len, t, err);
		if (r)
			return r;
	}
	return 0;
}

static void quiet(void *arg, const char *sentence)
{
	(void)arg;
	fprintf(stderr, "skep-filter: %s\n", sentence);
}

static int read_all(struct cap_tap *tap, const struct filter *f, struct tally *t, struct skep_err *err)
{
	struct cap_source *src = tap->sources[0];
	_skep_free_ struct cap_batch *batch = calloc(1, sizeof(*batch));
	_skep_free_ uint8_t *scratch = malloc(2 * CAP_SNAPLEN_MAX);
	int r = tap->ops->start(tap, err);

	if (!batch || !scratch)
		return skep_err_set(err, -ENOMEM, "no memory to read the file");
	t->room = scratch + CAP_SNAPLEN_MAX;
	while (r == 0) {
		int n = src->ops->receive(src, batch);

		if (n == -ENODATA)
			break;
		if (n < 0)
			return skep_err_set(err, n, "reading: %s", strerror(-n));
		if (n == 0) {
			if (src->ops->wait)
				src->ops->wait(src, CAP_SLEEP_MAX_NS);
			continue;
		}
		r = judge_batch(f, batch, scratch, t, err);
		src->ops->release(src, batch);
	}
	return r ? r : tap->ops->check(tap, err);
}

/* QUIC flows that were learnt, and those of them that were forgotten to make room. */
static void count_flows(const struct filter *f, uint64_t *ret_added, uint64_t *ret_evicted)
{
	struct flt_look_account a = { 0 };

	if (!f->prog.look) {
		flt_eval_flows(f->eval, ret_added, ret_evicted);
		return;
	}
	(void)flt_look_account(f->prog.look, &a);
	*ret_added = a.flows_added + a.flows_refused;
	*ret_evicted = a.flows_evicted + a.flows_refused;
}

static void say_count(const struct config *cfg, const struct filter *f, const struct tally *t)
{
	uint64_t flows, forgotten;

	count_flows(f, &flows, &forgotten);
	if (f->prog.fd < 0)
		fprintf(stderr, "skep-filter: %s; counted with %s\n", f->load_err.text,
			f->code.needs ? "the interpreter" : "libpcap's interpreter");
	if (forgotten > 0)
		fprintf(stderr,
			"skep-filter: %llu of %llu QUIC flows were forgotten to make room, and their later packets "
			"missed\n",
			(unsigned long long)forgotten, (unsigned long long)flows);
	if (!cfg->json) {
		printf("matched %llu of %llu\n", (unsigned long long)t->matched,
		       (unsigned long long)t->packets);
		return;
	}
	print_json(json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:s}", "ok", 1, "matched", (json_int_t)t->matched,
			     "packets", (json_int_t)t->packets, "interpreted", (json_int_t)t->interpreted,
			     "flows", (json_int_t)flows, "flows_forgotten", (json_int_t)forgotten, "engine",
			     f->prog.fd >= 0 ? "xdp"
			     : f->code.needs ? "user"
					     : "libpcap"));
}

static int count(const struct config *cfg, struct filter *f, struct skep_err *err)
{
	const struct cap_source_cfg source = { .link = cfg->read_file,
					       .kind = CAP_SOURCE_FILE,
					       .say = quiet };
	struct cap_tap *tap = NULL;
	struct tally t = { 0 };
	int r;

	if (!cfg->read_file) {
		(void)skep_err_set(err, SKEP_E_USAGE, "count needs a file of packets");
		(void)skep_err_hint(err, "Add -r FILE");
		return complain(cfg, SKEP_E_USAGE, err);
	}
	r = cap_source_file.open(&source, &tap, err);
	if (r)
		return complain(cfg, r, err);
	if (f->inside && tap->linktype != 1)
		r = skep_err_set(err, SKEP_E_USAGE, "--inside: the packets of this file are not Ethernet frames");
	if (r == 0)
		r = build(f, tap->linktype, FLT_LENGTH_META, true, err);
	if (r == 0)
		r = flt_eval_new(f->cbpf, f->lists, 0, &f->eval, err);
	if (r == 0)
		flt_eval_set_linktype(f->eval, tap->linktype);
	if (r == 0)
		r = read_all(tap, f, &t, err);
	(void)tap->ops->close(tap);
	if (r)
		return complain(cfg, r, err);
	say_count(cfg, f, &t);
	return 0;
}

static int presets(const struct config *cfg)
{
	json_t *all = json_array();
	const struct flt_preset *p;

	for (size_t i = 0; (p = flt_preset_at(i)); i++) {
		if (cfg->json)
			json_array_append_new(all,
					      json_pack("{s:s, s:s, s:s, s:s}", "name", p->name, "expr",
							p->expr, "meaning", p->meaning, "misses", p->misses));
		else
			printf("%s\n  takes: %s\n%s%s%s  filter: %s\n", p->name, p->meaning,
			       p->misses[0] ? "  note: " : "", p->misses, p->misses[0] ? "\n" : "",
			       p->mark ? "a program of ours in front of the filter: pcap-filter(7) has no words for it"
				       : p->expr);
	}
	if (cfg->json)
		print_json(json_pack("{s:b, s:O}", "ok", 1, "presets", all));
	json_decref(all);
	return 0;
}

static int run_command(const struct config *cfg, const struct skep_opts_words *words, struct skep_err *err)
{
	static const struct {
		const char *name;
		int (*run)(const struct config *cfg, struct filter *f, struct skep_err *err);
	} commands[] = { { "check", check }, { "explain", explain }, { "count", count }, { "dump", dump } };
	SKEP_CLEANUP(filter_done) struct filter f = { .prog = FLT_LOADED_NULL };
	const char *command = words->n > 0 ? words->words[0] : "";
	int r;

	if (strcmp(command, "presets") == 0 && words->n == 1)
		return presets(cfg);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(command, commands[i].name) != 0)
			continue;
		if (cfg->filter_file && words->n > 1) {
			(void)skep_err_set(err, SKEP_E_USAGE,
					   "the filter is given twice: in -F and on the command line");
			return complain(cfg, SKEP_E_USAGE, err);
		}
		r = cfg->inside ? flt_inside_parse("--inside", cfg->inside, SKEP_INNER_ALL, &f.inside, err) : 0;
		if (r == 0 && !cfg->no_files)
			r = flt_lists_new(&f.lists, err);
		if (r == 0)
			r = cfg->filter_file ? read_text(cfg->filter_file, &f.text, err)
					     : join_words(words->words + 1, words->n - 1, &f.text, err);
		return r ? complain(cfg, r, err) : commands[i].run(cfg, &f, err);
	}
	(void)skep_err_set(err, SKEP_E_USAGE, command[0] ? "%.60s: no such command" : "no command%.0s",
			   command);
	(void)skep_err_hint(
		err, "The commands are check, explain, count, dump and presets; see skep-filter --help");
	return complain(cfg, SKEP_E_USAGE, err);
}

int flt_tool(int argc, char **argv)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct skep_opts_words words = { 0 };
	struct config cfg = { 0 };
	int r = skep_opts_parse(&options, argc, argv, &cfg, &words, &err);

	if (r)
		return complain(&cfg, r, &err);
	if (words.help) {
		skep_opts_help(&options, stdout);
		return 0;
	}
	if (words.version) {
		puts("skep-filter " SKEP_VERSION);
		return 0;
	}
	r = run_command(&cfg, &words, &err);
	return fflush(stdout) == 0 ? r : 1;
}
