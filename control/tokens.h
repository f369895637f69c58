/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CTL_TOKENS_H
#define CTL_TOKENS_H
/*
 * Bearer tokens of a probe: shown once, kept as digests in one file. 256 random bits need no slow hash.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stdio.h>

#define CTL_TOKEN_TEXT 64 /* "skt_" ID "_" SECRET, NUL */
#define CTL_TOKEN_ID 9	  /* 8 hexadecimal digits, NUL */
#define CTL_TOKEN_NAME 64
#define CTL_TOKENS_MAX 256

struct ctl_tokens; /* the daemon's view: reads the file again when it has changed */

struct ctl_tokens *
ctl_tokens_open(const char *dir); /* NULL: no memory; a file that is not there holds none */
struct ctl_tokens *ctl_tokens_close(struct ctl_tokens *tokens);
/* Is it one? ret_name: whose. Any thread, microseconds. */
bool ctl_tokens_verify(struct ctl_tokens *tokens, const char *text, char ret_name[static CTL_TOKEN_NAME]);

/* What skep-control token does, under a lock on the directory. */
int ctl_tokens_new(const char *dir, const char *name, char ret[static CTL_TOKEN_TEXT], struct skep_err *err);
int ctl_tokens_list(const char *dir, FILE *out, struct skep_err *err);
int ctl_tokens_revoke(const char *dir, const char *id, struct skep_err *err); /* id or name */

#endif
