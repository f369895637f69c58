/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finds the terms with address lists among the tokens, from their end: @FILE, in front of it `in`, in front
 * of that what libpcap calls qualifiers. libpcap never sees them. No state; any thread.
 */
#include "capture/filter/term.h"

#include "capture/filter/limits.h"

#include <stdbool.h>
#include <string.h>

static const char *const proto_words[] = {
	[FLT_TERM_ANY] = "",	[FLT_TERM_IP] = "ip",	  [FLT_TERM_IP6] = "ip6",
	[FLT_TERM_ARP] = "arp", [FLT_TERM_RARP] = "rarp",
};

const char *flt_term_proto_word(uint8_t proto)
{
	return proto < ARRAY_LEN(proto_words) ? proto_words[proto] : "";
}

static bool is(const struct flt_tokens *t, size_t i, const char *word)
{
	return t->v[i].len == strlen(word) && memcmp(t->text + t->v[i].at, word, t->v[i].len) == 0;
}

static int refuse(const struct flt_tokens *t, size_t i, const char *what, struct skep_err *err)
{
	const struct flt_token *k = &t->v[i];

	(void)skep_err_set(err, SKEP_E_USAGE, "column %u: %s at \"%.*s\"", k->at + 1, what,
			   (int)SKEP_MIN(k->len, 60u), t->text + k->at);
	return flt_token_point(t->text, strlen(t->text), k->at,
			       "Write it as in: net in @FILE, src host in @FILE, not dst net in @FILE", err);
}

static int take_side(const struct flt_tokens *t, size_t i, enum flt_term_side *ret, struct skep_err *err)
{
	if (!is(t, i, "src") && !is(t, i, "dst"))
		return refuse(t, i, "a list of addresses knows only src and dst", err);
	*ret = is(t, i, "src") ? FLT_TERM_SRC : FLT_TERM_DST;
	return 0;
}

/* src, dst, src or dst, src and dst: from the last of them backwards. *i is the first word of the term so
 * far. */
static int take_direction(const struct flt_tokens *t, size_t *i, struct flt_token *term, struct skep_err *err)
{
	enum flt_term_side one = FLT_TERM_SRC, other = FLT_TERM_SRC;
	int r;

	if (*i == 0 || t->v[*i - 1].kind != FLT_T_DIR)
		return 0;
	r = take_side(t, --*i, &one, err);
	if (r)
		return r;
	term->side = (uint8_t)one;
	if (*i < 2 || t->v[*i - 2].kind != FLT_T_DIR ||
	    (t->v[*i - 1].kind != FLT_T_OR && t->v[*i - 1].kind != FLT_T_AND))
		return 0;
	r = take_side(t, *i - 2, &other, err);
	if (r)
		return r;
	if (other != one)
		term->side = t->v[*i - 1].kind == FLT_T_OR ? FLT_TERM_EITHER : FLT_TERM_BOTH;
	*i -= 2;
	return 0;
}

static int take_proto(const struct flt_tokens *t, size_t *i, struct flt_token *term, struct skep_err *err)
{
	if (*i == 0 || t->v[*i - 1].kind != FLT_T_PROTO)
		return 0;
	for (uint8_t p = FLT_TERM_IP; p < ARRAY_LEN(proto_words); p++)
		if (is(t, *i - 1, proto_words[p])) {
			--*i;
			term->proto = p;
			return 0;
		}
	return refuse(t, *i - 1, "a list of addresses knows only ip, ip6, arp and rarp", err);
}

/* The term that ends with the @FILE at `file`; *ret_first is its first word. */
static int take_term(const struct flt_tokens *t, size_t file, struct flt_token *ret, size_t *ret_first,
		     struct skep_err *err)
{
	struct flt_token term = { .kind = FLT_T_LIST,
				  .path_at = t->v[file].path_at,
				  .path_len = t->v[file].path_len };
	size_t i = file;
	bool typed;
	int r;

	if (t->v[file].path_len >= FLT_MAX_PATH_BYTES)
		return refuse(t, file, "the name of the file is too long", err);
	if (i == 0 || !is(t, i - 1, "in"))
		return refuse(t, file, "the word \"in\" is missing", err);
	i--;
	typed = i > 0 && (t->v[i - 1].kind == FLT_T_HOST || t->v[i - 1].kind == FLT_T_NET);
	i -= typed;
	r = take_direction(t, &i, &term, err);
	if (r == 0 && !typed && i + 1 == file)
		r = refuse(t, file - 1, "the word \"host\" or \"net\" is missing", err);
	if (r == 0)
		r = take_proto(t, &i, &term, err);
	if (r)
		return r;
	term.at = t->v[i].at;
	term.len = t->v[file].at + t->v[file].len - term.at;
	*ret = term;
	*ret_first = i;
	return 0;
}

/* In place: a term is written where its first word was. */
int flt_term_join(struct flt_tokens *t, struct skep_err *err)
{
	size_t out = 0; /* tokens that are done: terms are looked for among them, backwards */

	for (size_t i = 0; i < t->n; i++) {
		struct flt_token term;
		int r;

		if (t->v[i].kind == FLT_T_NAME && is(t, i, "in") &&
		    (i + 1 == t->n || t->v[i + 1].kind != FLT_T_FILE))
			return refuse(t, i, "\"in\" wants a file of addresses behind it", err);
		t->v[out] = t->v[i];
		if (t->v[i].kind == FLT_T_FILE) {
			r = take_term(t, out, &term, &out, err);
			if (r)
				return r;
			t->v[out] = term;
			t->lists++;
		}
		out++;
	}
	t->n = out;
	return 0;
}
