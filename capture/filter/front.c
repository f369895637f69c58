/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From text to cBPF. Our own tokenizer refuses what must not reach libpcap (names that would ask the DNS,
 * control characters, too much of anything); pcap_compile then runs in a caged child process (cage.c) and
 * sends the instructions back through a pipe. The optimiser's time is not bounded by the text's length (2,000
 * `host` terms: two minutes in libpcap 1.10.3), so a second attempt does without it: the program is longer
 * and means the same.
 *
 * What cBPF has no word for (marks of the look stage, address lists) is written as byte accesses beyond every
 * frame; scratch.h tells how they are told from the user's own.
 *
 * libpcap says what is wrong but not where. The child finds the place with libpcap itself as the judge of
 * prefixes: a syntax error is at the first token after which no completion parses any more, any other error
 * at the first token where libpcap says the same words.
 *
 * Any thread. Nothing is kept between calls.
 */
#include "capture/filter/front.h"

#include "capture/filter/cage.h"
#include "capture/filter/limits.h"
#include "capture/filter/prepare.h"
#include "capture/filter/scratch.h"
#include "capture/filter/unroll.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>

_Static_assert(sizeof(struct flt_cbpf) == sizeof(struct bpf_insn), "cBPF layout");

/* What the child writes: one of these, then n_insns instructions; after a refusal a second one may follow
 * with the place. */
struct answer {
	uint32_t ok;
	uint32_t n_insns;
	uint32_t has_at; /* `at` is known */
	uint32_t mixed;	 /* our byte accesses and the user's cannot be told apart */
	uint32_t at;	 /* index of the token that is wrong; n tokens: the end of the text */
	char words[256]; /* libpcap's */
};

struct job {
	const char *expr;		 /* presets, marks and lists written out */
	const char *twin;		 /* the same with marks and lists elsewhere; NULL: not needed */
	uint32_t base, twin_base;	 /* where marks and lists are; 0: there are none */
	const struct flt_tokens *tokens; /* of expr */
	const char *said;		 /* the user's text */
	const uint32_t *origin;		 /* byte of expr -> byte of said; NULL: the same */
	int dlt;
	uint32_t snaplen;
	int optimise;
	bool patient;
};

/* LINKTYPE_ numbers whose DLT_ number differs on Linux (pcap-common.c); all others are equal. */
static int linktype_to_dlt(int linktype)
{
	switch (linktype) {
	case 100:
		return DLT_ATM_RFC1483;
	case 101:
		return DLT_RAW;
	case 104:
		return DLT_C_HDLC;
	default:
		return linktype;
	}
}

static void say(int fd, const void *what, size_t n)
{
	const char *p = what;

	while (n > 0) {
		ssize_t k = write(fd, p, n);

		if (k <= 0)
			return;
		p += k;
		n -= (size_t)k;
	}
}

/* Compiles the first n bytes of the text and the tail without optimising; "" if it compiles, else libpcap's
 * words. */
static const char *judge(pcap_t *p, const struct job *job, size_t n, const char *tail)
{
	static char text[FLT_MAX_TEXT_BYTES + 4 * FLT_MAX_DEPTH + 64];
	struct bpf_program prog;

	memcpy(text, job->expr, n);
	(void)snprintf(text + n, sizeof(text) - n, "%s", tail);
	if (pcap_compile(p, &prog, text, 0, 0) < 0)
		return pcap_geterr(p);
	pcap_freecode(&prog);
	return "";
}

static size_t prefix_bytes(const struct job *job, size_t n_tokens)
{
	const struct flt_token *last = &job->tokens->v[n_tokens > 0 ? n_tokens - 1 : 0];

	return n_tokens > 0 ? last->at + last->len : 0;
}

/* The brackets that are open after n tokens, innermost last. */
static size_t open_brackets(const struct job *job, size_t n_tokens, char *ret)
{
	size_t depth = 0;

	for (size_t i = 0; i < n_tokens; i++) {
		char c = job->expr[job->tokens->v[i].at];

		if (c == '(' || c == '[')
			ret[depth++] = c;
		else if (c == ')' || c == ']')
			depth--;
	}
	return depth;
}

/*
 * Can the first n tokens be the beginning of something that parses? Tries what may follow at any place of the
 * grammar, then closes the brackets; a comparison may be missing right after a byte access or after the
 * outermost bracket.
 */
static bool is_beginning(pcap_t *p, const struct job *job, size_t n_tokens)
{
	static const char *const middles[] = { "",     " 0", " 1.1.1.1",    " tcp", " ::1", " 0:0:0:0:0:0",
					       " 1-2", " x", " or 1.1.1.1", " $1",  " /1" };
	char open[FLT_MAX_DEPTH];
	size_t depth = open_brackets(job, n_tokens, open);

	for (size_t m = 0; m < ARRAY_LEN(middles); m++) {
		for (int style = 0; style < 3; style++) {
			char tail[4 * FLT_MAX_DEPTH + 32];
			size_t len = (size_t)snprintf(tail, sizeof(tail), "%s%s", middles[m],
						      style == 1 ? "=0" : "");

			for (size_t i = depth; i > 0; i--)
				len += (size_t)snprintf(tail + len, sizeof(tail) - len, "%s",
							open[i - 1] == '('			       ? ")"
							: style == 0 && (i == 1 || open[i - 2] == '(') ? "]=0"
												       : "]");
			if (style == 2)
				(void)snprintf(tail + len, sizeof(tail) - len, "=0");
			if (!strstr(judge(p, job, prefix_bytes(job, n_tokens), tail), "syntax error"))
				return true;
		}
	}
	return false;
}

/* The smallest number of tokens that is wrong already; both tests stay true for every longer prefix, so
 * halving finds it. */
static size_t find_wrong(pcap_t *p, const struct job *job, const char *words)
{
	bool syntax = strstr(words, "syntax error") != NULL;
	size_t low = 0, high = job->tokens->n + 1; /* low tokens are fine, high are not */

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;
		bool wrong = mid > job->tokens->n;

		if (!wrong)
			wrong = syntax ? !is_beginning(p, job, mid)
				       : strcmp(judge(p, job, prefix_bytes(job, mid), ""), words) == 0;
		if (wrong)
			high = mid;
		else
			low = mid;
	}
	return low;
}

/* Folds, and settles what the byte accesses in the scratch's range are; false: they cannot be told apart. */
static bool settle(pcap_t *p, const struct job *job, struct bpf_program *prog)
{
	struct flt_cbpf *v = (struct flt_cbpf *)prog->bf_insns;
	struct bpf_program twin = { 0 };
	struct flt_cbpf *w = NULL;

	if (job->base && flt_scratch_fold(v, prog->bf_len))
		return false;
	if (job->twin) {
		if (pcap_compile(p, &twin, job->twin, job->optimise, 0) < 0 || twin.bf_len != prog->bf_len)
			return false;
		w = (struct flt_cbpf *)twin.bf_insns;
		if (flt_scratch_fold(w, twin.bf_len))
			return false;
	}
	return flt_scratch_settle(v, prog->bf_len, job->base, w, job->twin_base);
}

static void compile_in_cage(int fd, void *arg)
{
	const struct job *job = arg;
	struct answer a = { 0 };
	struct bpf_program prog;
	pcap_t *p = pcap_open_dead(job->dlt, (int)job->snaplen);

	if (!p)
		return;
	if (pcap_compile(p, &prog, job->expr, job->optimise, 0) == 0) {
		a.ok = 1;
		a.n_insns = prog.bf_len;
		a.mixed = !settle(p, job, &prog);
		say(fd, &a, sizeof(a));
		say(fd, prog.bf_insns, prog.bf_len * sizeof(*prog.bf_insns));
		return;
	}
	(void)snprintf(a.words, sizeof(a.words), "%s", pcap_geterr(p));
	say(fd, &a, sizeof(a));
	a.at = (uint32_t)find_wrong(p, job, a.words);
	a.has_at = 1;
	say(fd, &a, sizeof(a));
}

static int accept_everything(uint32_t snaplen, struct bpf_program *ret)
{
	struct bpf_insn *insn = calloc(1, sizeof(*insn));

	if (!insn)
		return -ENOMEM;
	insn->code = BPF_RET | BPF_K;
	insn->k = snaplen;
	*ret = (struct bpf_program){ .bf_len = 1, .bf_insns = insn };
	return 0;
}

/* libpcap prefixes a syntax error with words that say nothing. */
static const char *plain_words(const char *words)
{
	static const char noise[] = "can't parse filter expression: ";

	return strncmp(words, noise, sizeof(noise) - 1) == 0 ? words + sizeof(noise) - 1 : words;
}

static int refuse(const struct job *job, const struct answer *a, struct skep_err *err)
{
	const char *words = plain_words(a->words), *near;
	const struct flt_token *k;
	size_t n = strlen(job->said), at;
	char sentence[96];

	if (strstr(words, "rejects all packets"))
		return skep_err_set(err, SKEP_E_USAGE, "the filter can never be true: %s", words);
	if (!a->has_at)
		return skep_err_set(err, SKEP_E_USAGE, "the filter is not valid: %s", words);
	if (a->at >= job->tokens->n) {
		(void)skep_err_set(err, SKEP_E_USAGE, "column %zu: the filter ends too early: %s", n + 1,
				   words);
		return flt_token_point(job->said, n, n, "Something must follow the last word", err);
	}
	k = &job->tokens->v[a->at];
	at = job->origin ? job->origin[k->at] : k->at;
	(void)skep_err_set(err, SKEP_E_USAGE, "column %zu: %s at \"%.*s\"", at + 1, words,
			   (int)SKEP_MIN(k->len, 60u), job->expr + k->at);
	near = k->kind == FLT_T_NAME ? flt_token_nearest(job->expr + k->at, k->len) : NULL;
	if (near)
		(void)snprintf(sentence, sizeof(sentence), "Did you mean \"%s\"?", near);
	return flt_token_point(job->said, n, at, near ? sentence : "See the filter language's reference",
			       err);
}

/* Reads the child's answer; -EAGAIN: there is none that can be used. */
static int take_answer(const struct job *job, const char *buf, size_t len, struct bpf_program *ret,
		       struct skep_err *err)
{
	struct answer a, second;
	struct bpf_insn *insns;
	size_t bytes;

	if (len < sizeof(a))
		return -EAGAIN;
	memcpy(&a, buf, sizeof(a));
	a.words[sizeof(a.words) - 1] = '\0';
	if (!a.ok && (strstr(a.words, "malloc") || strstr(a.words, "memory")))
		return -EAGAIN;
	if (!a.ok) {
		if (len >= 2 * sizeof(a)) {
			memcpy(&second, buf + sizeof(a), sizeof(second));
			a.has_at = second.has_at;
			a.at = second.at;
		}
		return refuse(job, &a, err);
	}
	if (a.mixed) {
		(void)skep_err_set(err, SKEP_E_USAGE,
				   "the filter computes offsets beyond every frame, which cannot be told from its "
				   "preset or list");
		(void)skep_err_hint(err, "Leave out the byte accesses with offsets above %u", FLT_SCRATCH_BASE);
		return SKEP_E_USAGE;
	}
	bytes = (size_t)a.n_insns * sizeof(*insns);
	if (a.n_insns == 0 || a.n_insns > FLT_MAX_CBPF_INSNS || len != sizeof(a) + bytes)
		return -EAGAIN;
	insns = malloc(bytes);
	if (!insns)
		return skep_err_set(err, -ENOMEM, "no memory for the filter's program");
	memcpy(insns, buf + sizeof(a), bytes);
	if (flt_has_loop((const struct flt_cbpf *)insns, a.n_insns)) {
		struct flt_cbpf *flat = NULL;
		int r = flt_unroll((const struct flt_cbpf *)insns, a.n_insns, &flat, &a.n_insns, err);

		free(insns);
		if (r)
			return r;
		insns = (struct bpf_insn *)flat;
	}
	*ret = (struct bpf_program){ .bf_len = a.n_insns, .bf_insns = insns };
	return 0;
}

static int attempt(struct job *job, int optimise, struct bpf_program *ret, int *ret_timed_out,
		   struct skep_err *err)
{
	const struct flt_cage cage = {
		.work = compile_in_cage,
		.arg = job,
		.cpu_ms = optimise ? FLT_OPTIMISE_CPU_MS : FLT_PLAIN_CPU_MS,
		.wall_ms = (optimise ? FLT_OPTIMISE_WALL_MS : FLT_PLAIN_WALL_MS) *
			   (job->patient ? FLT_PATIENT_WALL : 1),
		.add_bytes = FLT_CHILD_BYTES,
		.max_answer = sizeof(struct answer) + FLT_MAX_CBPF_INSNS * sizeof(struct bpf_insn) + 1,
	};
	_skep_free_ char *buf = NULL;
	size_t len = 0;
	int r;

	job->optimise = optimise;
	r = flt_cage_run(&cage, &buf, &len, ret_timed_out, err);
	return r ? r : take_answer(job, buf, len, ret, err);
}

int flt_front_expand(const char *expr, int linktype, char **ret, struct skep_err *err)
{
	return flt_prepare_expand(expr ? expr : "", linktype, ret, err);
}

int flt_front_compile_ask(const struct flt_ask *ask, struct bpf_program *ret, uint32_t *ret_lists,
			  struct skep_err *err)
{
	SKEP_CLEANUP(flt_prepare_done) struct flt_prepared p = FLT_PREPARED_NULL;
	struct job job = { .said = ask->expr,
			   .tokens = &p.tokens,
			   .dlt = linktype_to_dlt(ask->linktype),
			   .snaplen = ask->snaplen,
			   .patient = ask->patient };
	int r, timed_out = 0;

	r = ask->expr ? flt_prepare(ask, &p, err) : 0;
	if (r)
		return r;
	if (p.tokens.n == 0) {
		r = accept_everything(ask->snaplen, ret);
	} else {
		job.expr = p.text ? p.text : ask->expr;
		job.twin = p.twin;
		job.base = p.base;
		job.twin_base = p.twin_base;
		job.origin = p.origin;
		r = attempt(&job, 1, ret, &timed_out, err);
		if (r == -EAGAIN)
			r = attempt(&job, 0, ret, &timed_out, err);
	}
	if (r == 0 && ret_lists) {
		*ret_lists = p.used;
		p.used = 0;
	}
	if (r != -EAGAIN)
		return r;
	(void)skep_err_set(err, SKEP_E_USAGE,
			   "the filter is too complex: libpcap %s it (%u numbers, addresses and names)",
			   timed_out ? "took too long to compile" : "could not compile", p.tokens.operands);
	(void)skep_err_hint(err, "Use fewer terms, networks instead of single addresses, or a list: host in @FILE");
	return SKEP_E_USAGE;
}

int flt_front_compile(const char *expr, int linktype, uint32_t snaplen, struct bpf_program *ret,
		      struct skep_err *err)
{
	const struct flt_ask ask = { .expr = expr, .linktype = linktype, .snaplen = snaplen };

	return flt_front_compile_ask(&ask, ret, NULL, err);
}

uint32_t flt_front_match(const struct bpf_program *prog, const void *bytes, uint32_t wire_len,
			 uint32_t cap_len)
{
	return bpf_filter(prog->bf_insns, bytes, wire_len, cap_len);
}

const struct flt_cbpf *flt_front_insns(const struct bpf_program *prog, uint32_t *ret_n)
{
	*ret_n = prog->bf_len;
	return (const struct flt_cbpf *)prog->bf_insns;
}

const char *flt_front_line(const struct bpf_program *prog, uint32_t i)
{
	const struct flt_cbpf *p = (const struct flt_cbpf *)&prog->bf_insns[i];
	static char line[64];

	if (!flt_scratch_is_load(p))
		return bpf_image(&prog->bf_insns[i], (int)i);
	(void)snprintf(line, sizeof(line), "(%03u) ld       %s", i, flt_scratch_name(p->k - FLT_SCRATCH_BASE));
	return line;
}

struct bpf_program *flt_front_new(void)
{
	return calloc(1, sizeof(struct bpf_program));
}

void flt_front_free(struct bpf_program *prog)
{
	if (!prog)
		return;
	free(prog->bf_insns);
	*prog = (struct bpf_program){ 0 };
}
