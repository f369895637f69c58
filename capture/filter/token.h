/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_TOKEN_H
#define FLT_TOKEN_H
/*
 * The words of the filter language: pcap-filter(7)'s tokens with their positions, which libpcap itself never
 * tells.
 */
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a word is for; names of hosts are the reason for the distinctions (see flt_token_check_names). */
enum flt_token_kind {
	FLT_T_OP,    /* operator, bracket, comparison */
	FLT_T_OPEN,  /* ( */
	FLT_T_CLOSE, /* ) */
	FLT_T_AND,
	FLT_T_OR,
	FLT_T_NOT,
	FLT_T_NUM,   /* 80, 0x50 */
	FLT_T_CONST, /* tcp-syn, icmptype: named numbers */
	FLT_T_IP4,   /* 10, 10.1, 10.1.2.3 as dotted numbers (a single number is FLT_T_NUM) */
	FLT_T_IP6,
	FLT_T_MAC,
	FLT_T_ARCNET,  /* $1f */
	FLT_T_NAME,    /* anything else that looks like a name */
	FLT_T_ESCAPED, /* \name: the name, although it is a keyword */
	FLT_T_PROTO,   /* ip, tcp, arp: protocol keyword */
	FLT_T_DIR,     /* src, dst, ra, addr1 */
	FLT_T_HOST,    /* host */
	FLT_T_NET,     /* net */
	FLT_T_GATEWAY,
	FLT_T_PORT,	  /* port, portrange */
	FLT_T_PROTOWORD,  /* proto, protochain */
	FLT_T_TAKES_NAME, /* llc, ifname, type: the next word is a name of libpcap's own */
	FLT_T_WORD,	  /* every other keyword */
	FLT_T_PRESET,	  /* a name of ours, see preset.h; only after flt_token_check_names */
	FLT_T_FILE,	  /* @path, @"path"; not after flt_token_check_names */
	FLT_T_LIST,	  /* a whole term like `src net in @path`, see term.h; only after that function */
};

struct flt_token {
	enum flt_token_kind kind;
	uint32_t at;  /* byte offset of the first character */
	uint32_t len; /* bytes */
	/* FLT_T_FILE and FLT_T_LIST: the path, without @ and quotes. */
	uint32_t path_at, path_len;
	/* FLT_T_LIST */
	uint8_t proto; /* enum flt_term_proto */
	uint8_t side;  /* enum flt_term_side */
	uint8_t list;  /* its number, once it was read */
};

struct flt_tokens {
	const char *text; /* borrowed */
	size_t n;
	struct flt_token *v;
	/* Facts for limits. */
	uint32_t depth;	   /* deepest nesting of parentheses and brackets */
	uint32_t presets;  /* set by flt_token_check_names */
	uint32_t lists;	   /* the same */
	uint32_t operands; /* numbers, addresses and names: what the optimiser's time depends on */
};

#define FLT_TOKENS_NULL \
	{               \
		0       \
	}

/*
 * Splits the n bytes of text. Refuses (SKEP_E_USAGE with column and hint) control characters, bytes outside
 * ASCII, characters that are not of the language and unbalanced or too deep brackets. ret_tokens borrows
 * text.
 */
int flt_token_split(const char *text, size_t n, struct flt_tokens *ret_tokens, struct skep_err *err);
void flt_token_done(struct flt_tokens *t);

/*
 * Joins the words of terms with lists (term.h). Refuses names that libpcap would look up as hosts or
 * networks, which may ask the DNS: a filter's meaning must not depend on who answers. Names of ports and
 * protocols pass: they come from local tables. A preset's name where a primitive may stand becomes
 * FLT_T_PRESET and is counted; `port http` stays a port.
 */
int flt_token_check_names(struct flt_tokens *t, struct skep_err *err);

/* Sets column and, in the hint, the piece of text with a caret under `at`, then the sentence (may be NULL).
 * Returns err's code. */
int flt_token_point(const char *text, size_t n, size_t at, const char *sentence, struct skep_err *err);

/* The keyword nearest to the word within two edits, or NULL. */
const char *flt_token_nearest(const char *word, size_t len);

#endif
