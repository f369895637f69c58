/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads a command line by a table; opts_help.c writes the same table as --help. See opts.h for the rules.
 * Never allocates, prints or exits: refusals go to the caller. argv is only reordered (words first), as
 * getopt_long does. A table that contradicts itself is our bug and asserted.
 */
#include "common/opts.h"
#include "common/parse.h"

#include <assert.h>
#include <string.h>

#define NAME_MAX_BYTES 64 /* of an option as the user wrote it, in refusals */
/* A name is suggested if at most this many edits away, and fewer than half its letters. */
#define SUGGEST_EDITS 3

struct walk {
	const struct skep_opts *opts;
	int argc;
	char **argv;
	int next; /* index into argv */
	void *cfg;
	struct skep_opts_words *out;
	struct skep_err *err;
};

static bool takes_value(const struct skep_opt *opt)
{
	switch (opt->type) {
	case SKEP_OPT_HEADER:
	case SKEP_OPT_HELP:
	case SKEP_OPT_VERSION:
	case SKEP_OPT_FLAG:
		return false;
	case SKEP_OPT_CALL:
		return opt->arg != NULL;
	default:
		return true;
	}
}

static const struct skep_opt *find_letter(const struct skep_opts *opts, char letter)
{
	for (size_t i = 0; i < opts->n; i++)
		if (opts->table[i].type != SKEP_OPT_HEADER && opts->table[i].letter == letter)
			return &opts->table[i];
	return NULL;
}

static const struct skep_opt *find_name(const struct skep_opts *opts, const char *name, size_t len)
{
	for (size_t i = 0; i < opts->n; i++) {
		const char *have = opts->table[i].name;

		if (have && strlen(have) == len && memcmp(have, name, len) == 0)
			return &opts->table[i];
	}
	return NULL;
}

/* Levenshtein distance (Wagner and Fischer 1974), one row; both words at most NAME_MAX_BYTES long. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
	uint8_t row[NAME_MAX_BYTES + 1];

	for (size_t j = 0; j <= nb; j++)
		row[j] = (uint8_t)j;
	for (size_t i = 1; i <= na; i++) {
		uint8_t diagonal = row[0];

		row[0] = (uint8_t)i;
		for (size_t j = 1; j <= nb; j++) {
			uint8_t change = (uint8_t)(diagonal + (a[i - 1] != b[j - 1]));
			uint8_t insert = (uint8_t)(SKEP_MIN(row[j], row[j - 1]) + 1);

			diagonal = row[j];
			row[j] = SKEP_MIN(change, insert);
		}
	}
	return row[nb];
}

static const char *nearest_name(const struct skep_opts *opts, const char *name, size_t len)
{
	const char *best = NULL;
	size_t best_edits = SUGGEST_EDITS + 1;

	if (len > NAME_MAX_BYTES)
		return NULL;
	for (size_t i = 0; i < opts->n; i++) {
		const char *have = opts->table[i].name;
		size_t edits;

		if (!have || !opts->table[i].help || strlen(have) > NAME_MAX_BYTES)
			continue;
		edits = edit_distance(name, len, have, strlen(have));
		/* What was begun and not finished ("--inter") counts as near. */
		if (len >= 3 && strncmp(have, name, len) == 0)
			edits = 1;
		if (edits < best_edits && edits * 2 < strlen(have)) {
			best = have;
			best_edits = edits;
		}
	}
	return best;
}

static int refuse_unknown(const struct walk *w, const char *what, const char *name, size_t len)
{
	const char *near = name ? nearest_name(w->opts, name, len) : NULL;

	skep_err_set(w->err, SKEP_E_USAGE, "%s: no such option", what);
	if (near)
		skep_err_hint(w->err, "did you mean --%s? See %s --help", near, w->opts->program);
	else
		skep_err_hint(w->err, "see %s --help", w->opts->program);
	return SKEP_E_USAGE;
}

static int set_choice(const struct skep_opt *opt, const char *what, const char *value, int *ret,
		      struct skep_err *err)
{
	char list[256] = "";
	size_t used = 0;

	for (int i = 0; opt->choices[i]; i++) {
		if (strcmp(opt->choices[i], value) == 0) {
			*ret = i;
			return 0;
		}
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", opt->choices[i]);
		assert(used < sizeof(list));
	}
	skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" is not one of its values", what, value);
	skep_err_hint(err, "write one of %s", list);
	return SKEP_E_USAGE;
}

static int add_string(const char *what, const char *value, struct skep_strings *list, struct skep_err *err)
{
	if (list->n == SKEP_STRINGS_MAX)
		return skep_err_set(err, SKEP_E_USAGE, "%s: given more than %d times", what, SKEP_STRINGS_MAX);
	list->items[list->n++] = value;
	return 0;
}

static int set_uint32(const struct skep_opt *opt, const char *what, const char *value, uint32_t *ret,
		      struct skep_err *err)
{
	uint64_t v;
	int r = skep_parse_uint(what, value, opt->min, opt->max ? opt->max : UINT32_MAX, &v, err);

	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

static int set_value(const struct walk *w, const struct skep_opt *opt, const char *what, const char *value)
{
	void *field = w->cfg ? (char *)w->cfg + opt->offset : NULL;

	switch (opt->type) {
	case SKEP_OPT_HELP:
		w->out->help = true;
		return 0;
	case SKEP_OPT_VERSION:
		w->out->version = true;
		return 0;
	case SKEP_OPT_FLAG:
		*(bool *)field = true;
		return 0;
	case SKEP_OPT_STRING:
		*(const char **)field = value;
		return 0;
	case SKEP_OPT_STRINGS:
		return add_string(what, value, field, w->err);
	case SKEP_OPT_UINT32:
		return set_uint32(opt, what, value, field, w->err);
	case SKEP_OPT_UINT64:
		return skep_parse_uint(what, value, opt->min, opt->max ? opt->max : UINT64_MAX, field,
				       w->err);
	case SKEP_OPT_SIZE:
		return skep_parse_size(what, value, field, w->err);
	case SKEP_OPT_DURATION:
		return skep_parse_duration(what, value, field, w->err);
	case SKEP_OPT_CHOICE:
		return set_choice(opt, what, value, field, w->err);
	case SKEP_OPT_CALL:
		return opt->call(w->cfg, what, value, w->err);
	case SKEP_OPT_HEADER:
		break;
	}
	assert(!"row type");
	return SKEP_E_USAGE;
}

/*
 * Is the word an option of the table as it stands ("-c", "--count", "--count=5")? Then it is not taken for a
 * value.
 */
static bool is_known_option(const struct skep_opts *opts, const char *word)
{
	if (word[0] != '-' || !word[1])
		return false;
	if (word[1] == '-')
		return find_name(opts, word + 2, strcspn(word + 2, "=")) != NULL;
	return !word[2] && find_letter(opts, word[1]);
}

/* The next word as opt's value. */
static int take_value(struct walk *w, const struct skep_opt *opt, const char *what, const char **ret)
{
	const char *word = w->next < w->argc ? w->argv[w->next] : NULL;

	if (word && !is_known_option(w->opts, word)) {
		w->next++;
		*ret = word;
		return 0;
	}
	if (word)
		skep_err_set(w->err, SKEP_E_USAGE, "%s: %s is missing, the option %.40s follows", what, opt->arg, word);
	else
		skep_err_set(w->err, SKEP_E_USAGE, "%s: %s is missing", what, opt->arg);
	skep_err_hint(w->err, "write %s %s", what, opt->arg);
	return SKEP_E_USAGE;
}

static int count_given(const struct walk *w, const struct skep_opt *opt, const char *what)
{
	uint8_t *given = &w->out->given[opt - w->opts->table];

	if (*given && !opt->repeat && opt->type != SKEP_OPT_STRINGS)
		return skep_err_set(w->err, SKEP_E_USAGE, "%s: given twice", what);
	if (*given < UINT8_MAX)
		(*given)++;
	return 0;
}

static int parse_long(struct walk *w, char *word)
{
	char *name = word + 2;
	size_t len = strcspn(name, "=");
	const struct skep_opt *opt = find_name(w->opts, name, len);
	const char *value = name[len] ? name + len + 1 : NULL;
	char what[NAME_MAX_BYTES];
	int r;

	(void)snprintf(what, sizeof(what), "--%.*s", (int)SKEP_MIN(len, sizeof(what)), name);
	if (!opt)
		return refuse_unknown(w, what, name, len);
	if (value && !takes_value(opt))
		return skep_err_set(w->err, SKEP_E_USAGE, "%s: takes no value, but \"%.80s\" was given", what, value);
	r = count_given(w, opt, what);
	if (r == 0 && !value && takes_value(opt))
		r = take_value(w, opt, what, &value);
	return r ? r : set_value(w, opt, what, value);
}

/* "-vni eth0": flags, then possibly one option with a value, in the same word or the next. */
static int parse_letters(struct walk *w, char *word)
{
	for (char *at = word + 1; *at; at++) {
		const struct skep_opt *opt = find_letter(w->opts, *at);
		const char what[] = { '-', *at, '\0' };
		const char *value = NULL;
		int r;

		if (!opt)
			/* "-interface": a long option with one dash */
			return refuse_unknown(w, at == word + 1 && at[1] ? word : what,
					      at == word + 1 ? at : NULL, strcspn(at, "="));
		r = count_given(w, opt, what);
		if (r == 0 && takes_value(opt)) {
			value = at[1] ? at + 1 : NULL;
			if (!value)
				r = take_value(w, opt, what, &value);
			return r ? r : set_value(w, opt, what, value);
		}
		if (r == 0)
			r = set_value(w, opt, what, NULL);
		if (r || w->out->help || w->out->version)
			return r;
	}
	return 0;
}

/* Moves the word at argv[from] down to argv[to]; what was between moves up. */
static void move_word(char **argv, int from, int to)
{
	char *word = argv[from];

	memmove(&argv[to + 1], &argv[to], (size_t)(from - to) * sizeof(*argv));
	argv[to] = word;
}

int skep_opts_parse(const struct skep_opts *opts, int argc, char **argv, void *cfg,
		    struct skep_opts_words *ret, struct skep_err *err)
{
	struct walk w = {
		.opts = opts, .argc = argc, .argv = argv, .next = 1, .cfg = cfg, .out = ret, .err = err };
	int r = 0;

	assert(opts->n <= SKEP_OPTS_MAX);
	*ret = (struct skep_opts_words){ .words = argc > 0 ? argv + 1 : argv };
	while (r == 0 && w.next < argc && !ret->help && !ret->version) {
		char *word = argv[w.next++];

		if (word[0] != '-' || !word[1]) {
			move_word(argv, w.next - 1, 1 + ret->n++);
		} else if (strcmp(word, "--") == 0) {
			for (; w.next < argc; w.next++)
				move_word(argv, w.next, 1 + ret->n++);
		} else if (word[1] == '-') {
			r = parse_long(&w, word);
		} else {
			r = parse_letters(&w, word);
		}
	}
	return r;
}

bool skep_opts_given(const struct skep_opts *opts, const struct skep_opts_words *words, const char *name)
{
	const struct skep_opt *opt = find_name(opts, name, strlen(name));

	if (!opt && strlen(name) == 1)
		opt = find_letter(opts, name[0]);
	assert(opt);
	return words->given[opt - opts->table] > 0;
}
