/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any bytes given to the filter language's tokenizer and to the sentence maker: never a bad access; words
 * follow each other inside the text; a refusal has words, and a column inside the text where it has one. No
 * process is started, so it is quick.
 */
#include "capture/filter/token.h"
#include "capture/filter/words.h"

#include <assert.h>
#include <string.h>

static void check_refusal(int r, const struct skep_err *err, size_t size)
{
	assert(r == SKEP_E_USAGE && err->text[0]);
	assert(err->column >= 0 && (size_t)err->column <= size + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	SKEP_CLEANUP(flt_token_done) struct flt_tokens tokens = FLT_TOKENS_NULL;
	_skep_free_ char *text = malloc(size + 1), *words = NULL;
	struct skep_err err = SKEP_ERR_NULL;
	uint32_t end = 0;
	int r;

	assert(text);
	memcpy(text, data, size);
	text[size] = '\0';
	r = flt_token_split(text, size, &tokens, &err);
	if (r) {
		check_refusal(r, &err, size);
		return 0;
	}
	for (size_t i = 0; i < tokens.n; i++) {
		assert(tokens.v[i].len > 0 && tokens.v[i].at >= end);
		end = tokens.v[i].at + tokens.v[i].len;
		assert(end <= size);
	}
	r = flt_token_check_names(&tokens, &err);
	if (r) {
		check_refusal(r, &err, size);
		return 0;
	}
	assert(flt_words(&tokens, NULL, &words) == 0 && words);
	return 0;
}
