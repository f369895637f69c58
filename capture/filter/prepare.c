/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the user's text to the text that libpcap compiles: names that would ask the DNS refused, presets
 * written out, marks of the look stage and address lists written as byte accesses to struct skep_scratch
 * (scratch.h), files of addresses read. Where a byte access of the user could be taken for one of ours, the
 * text is written twice, with ours at two places.
 *
 * Any thread; nothing is kept between calls but references to lists.
 */
#include "capture/filter/prepare.h"

#include "bpf/abi/skep_abi.h"
#include "capture/filter/limits.h"
#include "capture/filter/list.h"
#include "capture/filter/preset.h"
#include "capture/filter/scratch.h"
#include "capture/filter/term.h"
#include "capture/filter/view.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* libpcap would read the direction from a Linux socket, also in a program for stored Ethernet frames, where
 * it is never there. */
static int check_direction(const struct flt_tokens *t, int linktype, struct skep_err *err)
{
	static const char *const words[] = { "inbound", "outbound", "ifindex" };

	for (size_t i = 0; i < t->n && linktype == 1; i++)
		for (size_t w = 0; w < ARRAY_LEN(words); w++) {
			const struct flt_token *k = &t->v[i];

			if (k->len != strlen(words[w]) || memcmp(t->text + k->at, words[w], k->len) != 0)
				continue;
			(void)skep_err_set(err, SKEP_E_USAGE,
					   "column %u: \"%s\" is not known of Ethernet frames", k->at + 1,
					   words[w]);
			return flt_token_point(t->text, strlen(t->text), k->at,
					       "Filter by Ethernet address instead: ether src, ether dst",
					       err);
		}
	return 0;
}

/* Longest text that a mark or a list becomes: two accesses, a protocol, brackets. */
#define SCRATCH_TEXT_BYTES 128u

/* What libpcap is given for a mark, with the scratch at base. Returns the number of bytes. */
static int write_mark(uint32_t mark, uint32_t base, char *out, size_t size)
{
	return snprintf(out, size, "(ether[0x%08x:4] & 0x%x != 0)",
			base + (uint32_t)offsetof(struct skep_scratch, facts[0].marks), mark);
}

static int write_list(const struct flt_token *k, uint32_t base, char *out, size_t size)
{
	uint32_t src = base + (uint32_t)offsetof(struct skep_scratch, facts[0].src_lists);
	uint32_t dst = base + (uint32_t)offsetof(struct skep_scratch, facts[0].dst_lists),
		 bit = 1u << k->list;
	const char *proto = flt_term_proto_word(k->proto), *and = k->proto == FLT_TERM_ANY ? "" : " and ";

	if (k->side == FLT_TERM_SRC || k->side == FLT_TERM_DST)
		return snprintf(out, size, "(%s%sether[0x%08x:4] & 0x%x != 0)", proto, and,
				k->side == FLT_TERM_SRC ? src : dst, bit);
	return snprintf(out, size, "(%s%s(ether[0x%08x:4] & 0x%x != 0 %s ether[0x%08x:4] & 0x%x != 0))",
			proto, and, src, bit, k->side == FLT_TERM_BOTH ? "and" : "or", dst, bit);
}

static const struct flt_preset *preset_of(const struct flt_tokens *t, const struct flt_token *k)
{
	return k->kind == FLT_T_PRESET ? flt_preset_find(t->text + k->at, k->len) : NULL;
}

/* Is the token written as something else? With base 0, for people, marks and lists are not. */
static bool is_written_out(const struct flt_tokens *t, const struct flt_token *k, uint32_t base)
{
	const struct flt_preset *p = preset_of(t, k);

	return (p && (base || !p->mark)) || (k->kind == FLT_T_LIST && base);
}

static int write_out(const struct flt_tokens *t, const struct flt_token *k, uint32_t base, char *out,
		     size_t size)
{
	const struct flt_preset *p = preset_of(t, k);

	if (!p)
		return write_list(k, base, out, size);
	return p->mark ? write_mark(p->mark, base, out, size) : snprintf(out, size, "(%s)", p->expr);
}

/*
 * The text with each preset's expression in its place, in brackets; with the offset in the user's text that
 * each byte stands for.
 */
static int expand(const struct flt_tokens *t, uint32_t base, char **ret_text, uint32_t **ret_origin,
		  struct skep_err *err)
{
	size_t size = strlen(t->text) + 1, len = 0, done = 0;
	_skep_free_ uint32_t *origin = NULL;
	_skep_free_ char *text = NULL;

	for (size_t i = 0; i < t->n; i++)
		if (is_written_out(t, &t->v[i], base)) {
			const struct flt_preset *p = preset_of(t, &t->v[i]);

			size += p && !p->mark ? strlen(p->expr) + 2 : SCRATCH_TEXT_BYTES;
		}
	if (size > FLT_MAX_TEXT_BYTES)
		return skep_err_set(err, SKEP_E_USAGE,
				    "the filter is too long once its presets are written out: %zu bytes",
				    size);
	text = malloc(size);
	origin = malloc((size + 1) * sizeof(*origin));
	if (!text || !origin)
		return skep_err_set(err, -ENOMEM, "no memory to read the filter");
	for (size_t i = 0; i <= t->n; i++) {
		const struct flt_token *k = &t->v[i];
		size_t end = i < t->n ? k->at : strlen(t->text);

		if (i < t->n && !is_written_out(t, k, base))
			continue;
		for (; done < end; done++) {
			origin[len] = (uint32_t)done;
			text[len++] = t->text[done];
		}
		if (i < t->n) {
			int n = write_out(t, k, base, text + len, size - len);

			for (int j = 0; j < n; j++)
				origin[len++] = k->at;
			done = k->at + k->len;
		}
	}
	text[len] = '\0';
	origin[len] = (uint32_t)done;
	*ret_text = TAKE_PTR(text);
	*ret_origin = TAKE_PTR(origin);
	return 0;
}

/*
 * Marks and lists are of the outer packet of a frame that we can read. Behind vlan, mpls, pppoes and geneve
 * libpcap looks at what is carried, so there they would mean something else than the words around them.
 */
static int check_scratch(const struct flt_tokens *t, int linktype, struct skep_err *err)
{
	static const char *const shifts[] = { "vlan", "mpls", "pppoes", "geneve" };
	const char *shifted = NULL;

	for (size_t i = 0; i < t->n; i++) {
		const struct flt_token *k = &t->v[i];
		const struct flt_preset *p = preset_of(t, k);

		for (size_t w = 0; w < ARRAY_LEN(shifts); w++)
			if (k->kind == FLT_T_WORD && k->len == strlen(shifts[w]) &&
			    memcmp(t->text + k->at, shifts[w], k->len) == 0)
				shifted = shifts[w];
		if (k->kind != FLT_T_LIST && !(p && p->mark))
			continue;
		if (!flt_view_knows(linktype)) {
			(void)skep_err_set(err, SKEP_E_UNSUPPORTED,
					   "column %u: \"%.*s\" is known of Ethernet frames and IP packets only",
					   k->at + 1,
					   (int)SKEP_MIN(k->len, 60u), t->text + k->at);
			(void)flt_token_point(t->text, strlen(t->text), k->at,
					      "Use words of pcap-filter(7) for packets of this link type",
					      err);
			return SKEP_E_UNSUPPORTED;
		}
		if (shifted) {
			(void)skep_err_set(err, SKEP_E_USAGE,
					   "column %u: \"%.*s\" is about the outer packet, and cannot stand "
					   "behind \"%s\"",
					   k->at + 1, (int)SKEP_MIN(k->len, 60u), t->text + k->at, shifted);
			return flt_token_point(t->text, strlen(t->text), k->at,
					       "Write it in front of that word", err);
		}
	}
	return 0;
}

void flt_prepare_done(struct flt_prepared *p)
{
	flt_token_done(&p->tokens);
	free(p->text);
	free(p->twin);
	free(p->origin);
	if (p->lists)
		flt_lists_release(p->lists, p->used);
}

/* Reads the files; two terms with the same one share a bit, and a reference. */
static int open_lists(struct flt_prepared *p, struct skep_err *err)
{
	struct flt_tokens *t = &p->tokens;

	for (size_t i = 0; i < t->n; i++) {
		struct flt_token *k = &t->v[i];
		char path[FLT_MAX_PATH_BYTES + 1];
		uint32_t index = 0;
		int r;

		if (k->kind != FLT_T_LIST)
			continue;
		if (!p->lists) {
			(void)skep_err_set(err, SKEP_E_USAGE, "column %u: files cannot be named here",
					   k->path_at);
			return flt_token_point(t->text, strlen(t->text), k->path_at - 1,
					       "Write the addresses into the filter", err);
		}
		memcpy(path, t->text + k->path_at, k->path_len);
		path[k->path_len] = '\0';
		r = flt_lists_open(p->lists, path, &index, err);
		if (r && err)
			err->column = (int)k->at + 1; /* of the term; the sentence names file and line */
		if (r)
			return r;
		if (p->used >> index & 1)
			flt_lists_release(p->lists, 1u << index);
		p->used |= 1u << index;
		k->list = (uint8_t)index;
	}
	return 0;
}

static bool has_scratch(const struct flt_tokens *t)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct flt_preset *p = preset_of(t, &t->v[i]);

		if (t->v[i].kind == FLT_T_LIST || (p && p->mark))
			return true;
	}
	return false;
}

static bool has_byte_access(const struct flt_tokens *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->text[t->v[i].at] == '[')
			return true;
	return false;
}

/* A place for the scratch that no number of the text names; the last one if every one is named. */
static uint32_t free_place(const struct flt_tokens *t, uint32_t from)
{
	const uint32_t end = FLT_SCRATCH_BASE + FLT_SCRATCH_PLACES * FLT_SCRATCH_STEP;
	uint8_t named[FLT_SCRATCH_PLACES] = { 0 };
	uint32_t base = from;

	for (size_t i = 0; i < t->n; i++) {
		unsigned long v = t->v[i].kind == FLT_T_NUM ? strtoul(t->text + t->v[i].at, NULL, 0) : 0;

		if (v >= FLT_SCRATCH_BASE && v < end)
			named[(v - FLT_SCRATCH_BASE) / FLT_SCRATCH_STEP] = 1;
	}
	while (base + FLT_SCRATCH_STEP < end && named[(base - FLT_SCRATCH_BASE) / FLT_SCRATCH_STEP])
		base += FLT_SCRATCH_STEP;
	return base;
}

/* Splits and checks. */
static int split(const char *expr, int linktype, struct flt_tokens *t, struct skep_err *err)
{
	int r = flt_token_split(expr, strnlen(expr, FLT_MAX_TEXT_BYTES + 1), t, err);

	if (r == 0)
		r = flt_token_check_names(t, err);
	if (r == 0)
		r = check_direction(t, linktype, err);
	return r ? r : check_scratch(t, linktype, err);
}

int flt_prepare(const struct flt_ask *ask, struct flt_prepared *p, struct skep_err *err)
{
	_skep_free_ uint32_t *origin = NULL;
	int r = split(ask->expr, ask->linktype, &p->tokens, err);

	p->lists = ask->lists;
	if (r == 0)
		r = open_lists(p, err);
	if (r || p->tokens.presets + p->tokens.lists == 0)
		return r;
	p->base = free_place(&p->tokens, FLT_SCRATCH_BASE);
	p->twin_base = free_place(&p->tokens, p->base + FLT_SCRATCH_STEP);
	r = expand(&p->tokens, p->base, &p->text, &p->origin, err);
	if (r == 0 && has_scratch(&p->tokens) && has_byte_access(&p->tokens))
		r = expand(&p->tokens, p->twin_base, &p->twin, &origin, err);
	if (!has_scratch(&p->tokens))
		p->base = 0;
	if (r)
		return r;
	flt_token_done(&p->tokens);
	return flt_token_split(p->text, strlen(p->text), &p->tokens, err);
}

int flt_prepare_expand(const char *expr, int linktype, char **ret, struct skep_err *err)
{
	SKEP_CLEANUP(flt_token_done) struct flt_tokens tokens = FLT_TOKENS_NULL;
	_skep_free_ uint32_t *origin = NULL;
	int r = split(expr, linktype, &tokens, err);

	return r ? r : expand(&tokens, 0, ret, &origin, err);
}
