/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any command line (words separated by newlines) given to the option table: never a bad access; no word is
 * lost; a refusal has a sentence.
 */
#include "common/opts.h"

#include <assert.h>
#include <string.h>

#define WORDS_MAX 32

struct cfg {
	bool flag;
	const char *string;
	struct skep_strings strings;
	uint32_t u32;
	uint64_t u64, bytes, ns;
	int choice;
};

static const char *const choices[] = { "one", "two", NULL };
static const struct skep_opt table[] = {
	{ .name = "flag", .letter = 'f', .type = SKEP_OPT_FLAG, .offset = offsetof(struct cfg, flag), .help = "x" },
	{ .name = "string", .letter = 's', .type = SKEP_OPT_STRING, .arg = "S", .offset = offsetof(struct cfg, string), .help = "x" },
	{ .name = "strings", .letter = 'i', .type = SKEP_OPT_STRINGS, .arg = "S", .offset = offsetof(struct cfg, strings), .help = "x" },
	{ .name = "u32", .letter = 'u', .type = SKEP_OPT_UINT32, .arg = "N", .offset = offsetof(struct cfg, u32), .help = "x" },
	{ .name = "u64", .letter = 'c', .type = SKEP_OPT_UINT64, .arg = "N", .offset = offsetof(struct cfg, u64), .help = "x" },
	{ .name = "size", .type = SKEP_OPT_SIZE, .arg = "B", .offset = offsetof(struct cfg, bytes), .help = "x" },
	{ .name = "time", .type = SKEP_OPT_DURATION, .arg = "T", .offset = offsetof(struct cfg, ns), .help = "x" },
	{ .name = "choice", .type = SKEP_OPT_CHOICE, .arg = "C", .choices = choices, .offset = offsetof(struct cfg, choice), .help = "x" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "x" },
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const usage[] = { "[WORD…]", NULL };
	const struct skep_opts opts = { .program = "fuzz", .usage = usage, .table = table, .n = ARRAY_LEN(table) };
	_skep_free_ char *text = malloc(size + 1);
	char *argv[WORDS_MAX + 2] = { (char *)"fuzz" };
	char *before[WORDS_MAX + 2];
	struct skep_opts_words words;
	struct skep_err err = SKEP_ERR_NULL;
	struct cfg cfg = { 0 };
	int argc = 1, r;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	for (char *at = text; argc <= WORDS_MAX && at; argc++) {
		argv[argc] = at;
		at = strchr(at, '\n');
		if (at)
			*at++ = '\0';
	}
	memcpy(before, argv, sizeof(argv));
	r = skep_opts_parse(&opts, argc, argv, &cfg, &words, &err);
	assert(r == 0 || (r == SKEP_E_USAGE && err.text[0]));
	assert(words.n < argc && cfg.choice >= 0 && cfg.choice < 2);
	for (int i = 0; i < argc; i++) { /* argv is a permutation of what it was */
		int found = 0;

		for (int j = 0; j < argc; j++)
			found += argv[j] == before[i];
		assert(found == 1);
	}
	return 0;
}
