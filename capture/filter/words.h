/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_WORDS_H
#define FLT_WORDS_H
/*
 * Says a filter in words.
 */
#include "capture/filter/token.h"

struct flt_lists;

/*
 * One sentence without a full stop for an expression that libpcap has accepted, from its tokens (after
 * flt_token_check_names). lists (may be NULL) know how long the files are. ret is freed by the caller. 0 or
 * -ENOMEM.
 */
int flt_words(const struct flt_tokens *t, const struct flt_lists *lists, char **ret);

#endif
