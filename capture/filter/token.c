/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Splits a filter expression the way libpcap's scanner does (scanner.l: longest match, keywords before
 * names), but keeps where each word stands. It decides three things libpcap cannot: the column of an error,
 * which names would be looked up as hosts, and what the user may have meant. It never decides that an
 * expression is valid: libpcap does.
 *
 * Invariant: linear time in the text (address-like runs longer than FLT_ADDR_MAX are names). No state; any
 * thread.
 */
#include "capture/filter/token.h"

#include "capture/filter/limits.h"
#include "capture/filter/preset.h"
#include "capture/filter/term.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Longest text of an address: a full IPv6 address with dotted quad is 45. */
#define FLT_ADDR_MAX 46u

struct flt_keyword {
	const char *word;
	enum flt_token_kind kind;
};

/* pcap-filter(7), libpcap 1.10; those of link types other than Ethernet too, so that libpcap says what is
 * wrong with them. */
/* clang-format off */
static const struct flt_keyword keywords[] = {
	{ "and", FLT_T_AND }, { "or", FLT_T_OR }, { "not", FLT_T_NOT }, { "src", FLT_T_DIR },
	{ "dst", FLT_T_DIR }, { "ra", FLT_T_DIR }, { "ta", FLT_T_DIR }, { "addr1", FLT_T_DIR },
	{ "addr2", FLT_T_DIR }, { "addr3", FLT_T_DIR }, { "addr4", FLT_T_DIR }, { "address1", FLT_T_DIR },
	{ "address2", FLT_T_DIR }, { "address3", FLT_T_DIR }, { "address4", FLT_T_DIR },
	{ "host", FLT_T_HOST }, { "net", FLT_T_NET }, { "gateway", FLT_T_GATEWAY }, { "port", FLT_T_PORT },
	{ "portrange", FLT_T_PORT }, { "proto", FLT_T_PROTOWORD }, { "protochain", FLT_T_PROTOWORD },
	{ "link", FLT_T_PROTO }, { "ether", FLT_T_PROTO }, { "ppp", FLT_T_PROTO }, { "slip", FLT_T_PROTO },
	{ "fddi", FLT_T_PROTO }, { "tr", FLT_T_PROTO }, { "wlan", FLT_T_PROTO }, { "arp", FLT_T_PROTO },
	{ "rarp", FLT_T_PROTO }, { "ip", FLT_T_PROTO }, { "sctp", FLT_T_PROTO }, { "tcp", FLT_T_PROTO },
	{ "udp", FLT_T_PROTO }, { "icmp", FLT_T_PROTO }, { "igmp", FLT_T_PROTO }, { "igrp", FLT_T_PROTO },
	{ "pim", FLT_T_PROTO }, { "vrrp", FLT_T_PROTO }, { "carp", FLT_T_PROTO }, { "radio", FLT_T_PROTO },
	{ "ip6", FLT_T_PROTO }, { "icmp6", FLT_T_PROTO }, { "ah", FLT_T_PROTO }, { "esp", FLT_T_PROTO },
	{ "atalk", FLT_T_PROTO }, { "aarp", FLT_T_PROTO }, { "decnet", FLT_T_PROTO },
	{ "lat", FLT_T_PROTO }, { "sca", FLT_T_PROTO }, { "moprc", FLT_T_PROTO }, { "mopdl", FLT_T_PROTO },
	{ "iso", FLT_T_PROTO }, { "esis", FLT_T_PROTO }, { "es-is", FLT_T_PROTO }, { "isis", FLT_T_PROTO },
	{ "is-is", FLT_T_PROTO }, { "l1", FLT_T_PROTO }, { "l2", FLT_T_PROTO }, { "iih", FLT_T_PROTO },
	{ "lsp", FLT_T_PROTO }, { "snp", FLT_T_PROTO }, { "csnp", FLT_T_PROTO }, { "psnp", FLT_T_PROTO },
	{ "clnp", FLT_T_PROTO }, { "stp", FLT_T_PROTO }, { "ipx", FLT_T_PROTO },
	{ "netbeui", FLT_T_PROTO }, { "type", FLT_T_TAKES_NAME }, { "subtype", FLT_T_TAKES_NAME },
	{ "dir", FLT_T_TAKES_NAME }, { "direction", FLT_T_TAKES_NAME }, { "llc", FLT_T_TAKES_NAME },
	{ "on", FLT_T_TAKES_NAME }, { "ifname", FLT_T_TAKES_NAME }, { "rset", FLT_T_TAKES_NAME },
	{ "ruleset", FLT_T_TAKES_NAME }, { "reason", FLT_T_TAKES_NAME }, { "action", FLT_T_TAKES_NAME },
	{ "mask", FLT_T_WORD }, { "less", FLT_T_WORD }, { "greater", FLT_T_WORD }, { "byte", FLT_T_WORD },
	{ "broadcast", FLT_T_WORD }, { "multicast", FLT_T_WORD }, { "len", FLT_T_WORD },
	{ "length", FLT_T_WORD }, { "inbound", FLT_T_WORD }, { "outbound", FLT_T_WORD },
	{ "ifindex", FLT_T_WORD }, { "vlan", FLT_T_WORD }, { "mpls", FLT_T_WORD },
	{ "pppoed", FLT_T_WORD }, { "pppoes", FLT_T_WORD }, { "geneve", FLT_T_WORD },
	{ "lane", FLT_T_WORD }, { "metac", FLT_T_WORD }, { "bcc", FLT_T_WORD }, { "oam", FLT_T_WORD },
	{ "oamf4", FLT_T_WORD }, { "oamf4ec", FLT_T_WORD }, { "oamf4sc", FLT_T_WORD },
	{ "sc", FLT_T_WORD }, { "ilmic", FLT_T_WORD }, { "vpi", FLT_T_WORD }, { "vci", FLT_T_WORD },
	{ "connectmsg", FLT_T_WORD }, { "metaconnect", FLT_T_WORD }, { "rnr", FLT_T_WORD },
	{ "rulenum", FLT_T_WORD }, { "srnr", FLT_T_WORD }, { "subrulenum", FLT_T_WORD },
	{ "fisu", FLT_T_WORD }, { "lssu", FLT_T_WORD }, { "lsu", FLT_T_WORD }, { "msu", FLT_T_WORD },
	{ "hfisu", FLT_T_WORD }, { "hlssu", FLT_T_WORD }, { "hmsu", FLT_T_WORD }, { "sio", FLT_T_WORD },
	{ "opc", FLT_T_WORD }, { "dpc", FLT_T_WORD }, { "sls", FLT_T_WORD }, { "hsio", FLT_T_WORD },
	{ "hopc", FLT_T_WORD }, { "hdpc", FLT_T_WORD }, { "hsls", FLT_T_WORD },
	{ "icmptype", FLT_T_CONST }, { "icmpcode", FLT_T_CONST }, { "icmp-echoreply", FLT_T_CONST },
	{ "icmp-unreach", FLT_T_CONST }, { "icmp-sourcequench", FLT_T_CONST },
	{ "icmp-redirect", FLT_T_CONST }, { "icmp-echo", FLT_T_CONST },
	{ "icmp-routeradvert", FLT_T_CONST }, { "icmp-routersolicit", FLT_T_CONST },
	{ "icmp-timxceed", FLT_T_CONST }, { "icmp-paramprob", FLT_T_CONST },
	{ "icmp-tstamp", FLT_T_CONST }, { "icmp-tstampreply", FLT_T_CONST }, { "icmp-ireq", FLT_T_CONST },
	{ "icmp-ireqreply", FLT_T_CONST }, { "icmp-maskreq", FLT_T_CONST },
	{ "icmp-maskreply", FLT_T_CONST }, { "icmp6type", FLT_T_CONST }, { "icmp6code", FLT_T_CONST },
	{ "icmp6-destinationunreach", FLT_T_CONST }, { "icmp6-packettoobig", FLT_T_CONST },
	{ "icmp6-timeexceeded", FLT_T_CONST }, { "icmp6-parameterproblem", FLT_T_CONST },
	{ "icmp6-echo", FLT_T_CONST }, { "icmp6-echoreply", FLT_T_CONST },
	{ "icmp6-multicastlistenerquery", FLT_T_CONST },
	{ "icmp6-multicastlistenerreportv1", FLT_T_CONST }, { "icmp6-multicastlistenerdone", FLT_T_CONST },
	{ "icmp6-routersolicit", FLT_T_CONST }, { "icmp6-routeradvert", FLT_T_CONST },
	{ "icmp6-neighborsolicit", FLT_T_CONST }, { "icmp6-neighboradvert", FLT_T_CONST },
	{ "icmp6-redirect", FLT_T_CONST }, { "icmp6-routerrenum", FLT_T_CONST },
	{ "icmp6-nodeinformationquery", FLT_T_CONST }, { "icmp6-nodeinformationresponse", FLT_T_CONST },
	{ "icmp6-ineighbordiscoverysolicit", FLT_T_CONST },
	{ "icmp6-ineighbordiscoveryadvert", FLT_T_CONST },
	{ "icmp6-multicastlistenerreportv2", FLT_T_CONST },
	{ "icmp6-homeagentdiscoveryrequest", FLT_T_CONST },
	{ "icmp6-homeagentdiscoveryreply", FLT_T_CONST }, { "icmp6-mobileprefixsolicit", FLT_T_CONST },
	{ "icmp6-mobileprefixadvert", FLT_T_CONST }, { "icmp6-certpathsolicit", FLT_T_CONST },
	{ "icmp6-certpathadvert", FLT_T_CONST }, { "icmp6-multicastrouteradvert", FLT_T_CONST },
	{ "icmp6-multicastroutersolicit", FLT_T_CONST }, { "icmp6-multicastrouterterm", FLT_T_CONST },
	{ "tcpflags", FLT_T_CONST }, { "tcp-fin", FLT_T_CONST }, { "tcp-syn", FLT_T_CONST },
	{ "tcp-rst", FLT_T_CONST }, { "tcp-push", FLT_T_CONST }, { "tcp-ack", FLT_T_CONST },
	{ "tcp-urg", FLT_T_CONST }, { "tcp-ece", FLT_T_CONST }, { "tcp-cwr", FLT_T_CONST },
};
/* clang-format on */

static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
	size_t prev2[40], prev[40], cur[40];

	/* Optimal string alignment: insert, delete, replace and swap of neighbours ("tpc") count one each. */
	for (size_t j = 0; j <= nb; j++)
		prev[j] = prev2[j] = j;
	for (size_t i = 1; i <= na; i++) {
		cur[0] = i;
		for (size_t j = 1; j <= nb; j++) {
			size_t d = prev[j - 1] + (tolower((unsigned char)a[i - 1]) != b[j - 1]);

			d = SKEP_MIN(d, SKEP_MIN(prev[j], cur[j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = SKEP_MIN(d, prev2[j - 2] + 1);
			cur[j] = d;
		}
		memcpy(prev2, prev, sizeof(prev));
		memcpy(prev, cur, sizeof(cur));
	}
	return prev[nb];
}

const char *flt_token_nearest(const char *word, size_t len)
{
	const char *best = NULL;
	size_t best_d = len <= 3 ? 2 : 3; /* strictly less: one edit in a short word, two in a longer one */

	if (len < 2 || len > 36)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
		size_t n = strlen(keywords[i].word), d;

		if (n > len + 2 || len > n + 2 || n > 36)
			continue;
		d = edit_distance(word, len, keywords[i].word, n);
		if (d < best_d && d < n) {
			best_d = d;
			best = keywords[i].word;
		}
	}
	for (size_t i = 0; flt_preset_at(i); i++) {
		const char *name = flt_preset_at(i)->name;
		size_t n = strlen(name);

		if (n <= len + 2 && len <= n + 2 && edit_distance(word, len, name, n) < SKEP_MIN(best_d, n) &&
		    memcmp(word, name, SKEP_MIN(len, n)) != 0) {
			best_d = edit_distance(word, len, name, n);
			best = name;
		}
	}
	return best;
}

int flt_token_point(const char *text, size_t n, size_t at, const char *sentence, struct skep_err *err)
{
	size_t from = at > 40 ? at - 40 : 0, to = SKEP_MIN(n, at + 32);
	char piece[80];
	size_t len = 0;

	if (!err)
		return SKEP_E_USAGE;
	err->column = (int)at + 1;
	for (size_t i = from; i < to && len < sizeof(piece) - 1; i++)
		piece[len++] = isprint((unsigned char)text[i]) ? text[i] : '?';
	piece[len] = '\0';
	return skep_err_hint(err, "%s%s\n  %s\n  %*s^", sentence ? sentence : "",
			     from > 0 ? " (… cut on the left)" : "", piece, (int)(at - from), "");
}

static bool is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '-' || c == '_' || c == '.';
}

/* {N}: decimal or 0x hexadecimal. */
static bool is_number(const char *s, size_t n)
{
	if (n > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X')) {
		for (size_t i = 2; i < n; i++)
			if (!isxdigit((unsigned char)s[i]))
				return false;
		return true;
	}
	for (size_t i = 0; i < n; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return n > 0;
}

static bool is_dotted(const char *s, size_t n)
{
	size_t start = 0, parts = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && s[i] != '.')
			continue;
		if (!is_number(s + start, i - start))
			return false;
		parts++;
		start = i + 1;
	}
	return parts >= 2 && parts <= 4;
}

/* {MAC}: six groups of one or two hex digits with one separator, three of four with dots, or twelve digits.
 */
static bool is_mac(const char *s, size_t n)
{
	size_t groups = 1, digits = 0, most = 0, least = 99;
	char sep = '\0';

	for (size_t i = 0; i < n; i++) {
		if (isxdigit((unsigned char)s[i])) {
			digits++;
			continue;
		}
		if ((s[i] != ':' && s[i] != '-' && s[i] != '.') || (sep && s[i] != sep))
			return false;
		sep = s[i];
		most = SKEP_MAX(most, digits);
		least = SKEP_MIN(least, digits);
		digits = 0;
		groups++;
	}
	most = SKEP_MAX(most, digits);
	least = SKEP_MIN(least, digits);
	return (groups == 6 && least >= 1 && most <= 2) ||
	       (groups == 3 && sep == '.' && least == 4 && most == 4) || (groups == 1 && n == 12);
}

static bool is_ip6(const char *s, size_t n)
{
	char buf[FLT_ADDR_MAX + 1];
	struct in6_addr a;

	if (n > FLT_ADDR_MAX)
		return false;
	memcpy(buf, s, n);
	buf[n] = '\0';
	return inet_pton(AF_INET6, buf, &a) == 1;
}

/* Length of the longest address with colons at s, 0 if none; kind is set. */
static size_t match_colon_address(const char *s, size_t n, enum flt_token_kind *kind)
{
	size_t run = 0, colons = 0;

	while (run < n && run <= FLT_ADDR_MAX &&
	       (isxdigit((unsigned char)s[run]) || s[run] == ':' || s[run] == '.'))
		colons += s[run++] == ':';
	if (colons < 2)
		return 0;
	for (; run >= 2; run--) {
		if (is_ip6(s, run)) {
			*kind = FLT_T_IP6;
			return run;
		}
		if (is_mac(s, run) && memchr(s, ':', run)) {
			*kind = FLT_T_MAC;
			return run;
		}
	}
	return 0;
}

static enum flt_token_kind classify(const char *s, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(keywords); i++)
		if (strlen(keywords[i].word) == n && memcmp(keywords[i].word, s, n) == 0)
			return keywords[i].kind;
	/* The scanner lists {MAC} before {N}, so twelve hex digits are an Ethernet address. */
	if (is_mac(s, n))
		return FLT_T_MAC;
	if (is_number(s, n))
		return FLT_T_NUM;
	if (is_dotted(s, n))
		return FLT_T_IP4;
	return FLT_T_NAME;
}

/* @path up to a space or bracket, or @"path"; 0: there is no path, or its quotes are not closed. */
static size_t match_path(const char *s, size_t n)
{
	const char *end;
	size_t len = 1;

	if (n > 1 && s[1] == '"') {
		end = memchr(s + 2, '"', n - 2);
		return end && end > s + 2 ? (size_t)(end - s) + 1 : 0;
	}
	while (len < n && !strchr(" \t\r\n()\"", s[len]))
		len++;
	return len > 1 ? len : 0;
}

/* One token at s (n > 0 bytes left, not a space); length 0: no token starts with this character. */
static size_t match(const char *s, size_t n, enum flt_token_kind *kind)
{
	size_t len = 0;
	char next = n > 1 ? s[1] : '\0';

	*kind = FLT_T_OP;
	len = match_colon_address(s, n, kind);
	if (len > 0)
		return len;
	if ((s[0] == '&' && next == '&') || (s[0] == '|' && next == '|')) {
		*kind = s[0] == '&' ? FLT_T_AND : FLT_T_OR;
		return 2;
	}
	if ((next == '=' && strchr("<>!=", s[0])) || (s[0] == '<' && next == '<') ||
	    (s[0] == '>' && next == '>'))
		return 2;
	if (strchr("+-*/%:[]!<>()&|^=", s[0])) {
		*kind = s[0] == '('   ? FLT_T_OPEN
			: s[0] == ')' ? FLT_T_CLOSE
			: s[0] == '!' ? FLT_T_NOT
				      : FLT_T_OP;
		return 1;
	}
	if (s[0] == '\\') {
		for (len = 1; len < n && !strchr(" !()\n\t", s[len]); len++)
			;
		*kind = FLT_T_ESCAPED;
		return len > 1 ? len : 0;
	}
	if (s[0] == '$') {
		for (len = 1; len < n && len < 3 && isxdigit((unsigned char)s[len]); len++)
			;
		*kind = FLT_T_ARCNET;
		return len > 1 ? len : 0;
	}
	if (s[0] == '@') {
		*kind = FLT_T_FILE;
		return match_path(s, n);
	}
	if (!isalnum((unsigned char)s[0]))
		return 0;
	while (len < n && is_word_char(s[len]))
		len++;
	while (s[len - 1] == '-' || s[len - 1] == '_')
		len--;
	*kind = classify(s, len);
	return len;
}

static int check_bytes(const char *text, size_t n, struct skep_err *err)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c < 0x7f)
			continue;
		if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
			continue;
		(void)skep_err_set(err, SKEP_E_USAGE, "column %zu: %s 0x%02x is not allowed in a filter",
				   i + 1, c < 0x80 ? "the control character" : "the non-ASCII byte", c);
		return flt_token_point(text, n, i, "Write the filter in plain ASCII; addresses are numbers",
				       err);
	}
	return 0;
}

static int check_brackets(const struct flt_tokens *t, size_t n, uint32_t *ret_depth, struct skep_err *err)
{
	uint32_t open[FLT_MAX_DEPTH];
	uint32_t depth = 0, deepest = 0;

	for (size_t i = 0; i < t->n; i++) {
		const struct flt_token *k = &t->v[i];
		char c = t->text[k->at];

		if (c == '(' || c == '[') {
			if (depth == FLT_MAX_DEPTH) {
				(void)skep_err_set(err, SKEP_E_USAGE,
						   "column %u: brackets are nested deeper than %u", k->at + 1,
						   FLT_MAX_DEPTH);
				return flt_token_point(t->text, n, k->at,
						       "Write the filter with fewer brackets", err);
			}
			open[depth++] = (uint32_t)i;
			deepest = SKEP_MAX(deepest, depth);
		} else if (c == ')' || c == ']') {
			if (depth == 0 || (t->text[t->v[open[depth - 1]].at] == '(') != (c == ')')) {
				(void)skep_err_set(err, SKEP_E_USAGE, "column %u: \"%c\" closes nothing",
						   k->at + 1, c);
				return flt_token_point(t->text, n, k->at, "Remove it, or open it earlier",
						       err);
			}
			depth--;
		}
	}
	if (depth > 0) {
		uint32_t at = t->v[open[depth - 1]].at;

		(void)skep_err_set(err, SKEP_E_USAGE, "column %u: \"%c\" is never closed", at + 1,
				   t->text[at]);
		return flt_token_point(t->text, n, at, "Close it", err);
	}
	*ret_depth = deepest;
	return 0;
}

int flt_token_split(const char *text, size_t n, struct flt_tokens *ret_tokens, struct skep_err *err)
{
	_skep_free_ struct flt_token *v = NULL;
	struct flt_tokens t = { .text = text };
	int r;

	if (n > FLT_MAX_TEXT_BYTES)
		return skep_err_set(err, SKEP_E_USAGE,
				    "the filter is %zu bytes long: more than %u are not accepted", n,
				    FLT_MAX_TEXT_BYTES);
	r = check_bytes(text, n, err);
	if (r)
		return r;
	v = calloc(n + 1, sizeof(*v));
	if (!v)
		return skep_err_set(err, -ENOMEM, "no memory to read the filter");
	t.v = v;
	for (size_t i = 0; i < n;) {
		struct flt_token k = { .at = (uint32_t)i };

		if (strchr(" \t\r\n", text[i])) {
			i++;
			continue;
		}
		k.len = (uint32_t)match(text + i, n - i, &k.kind);
		if (k.len == 0) {
			(void)skep_err_set(
				err, SKEP_E_USAGE,
				"column %zu: the character \"%c\" is not part of the filter language", i + 1,
				text[i]);
			return flt_token_point(text, n, i,
					       "Words are letters and digits; operators are and or not ( ) "
					       "and those of arithmetic",
					       err);
		}
		if (t.n == FLT_MAX_TOKENS)
			return skep_err_set(err, SKEP_E_USAGE, "the filter has more than %u words",
					    FLT_MAX_TOKENS);
		if (k.kind >= FLT_T_NUM && k.kind <= FLT_T_ESCAPED)
			t.operands++;
		if (k.kind == FLT_T_FILE) {
			uint32_t quoted = text[i + 1] == '"';

			k.path_at = k.at + 1 + quoted;
			k.path_len = k.len - 1 - 2 * quoted;
		}
		v[t.n++] = k;
		i += k.len;
	}
	r = check_brackets(&t, n, &t.depth, err);
	if (r)
		return r;
	TAKE_PTR(v);
	*ret_tokens = t;
	return 0;
}

void flt_token_done(struct flt_tokens *t)
{
	free(t->v);
	*t = (struct flt_tokens)FLT_TOKENS_NULL;
}

static int refuse_name(const struct flt_tokens *t, const struct flt_token *k, enum flt_token_kind as,
		       struct skep_err *err)
{
	const char *near = flt_token_nearest(t->text + k->at, k->len);
	int shown = (int)SKEP_MIN(k->len, 60u);
	bool lookup = as != FLT_T_WORD;
	char sentence[160];

	if (lookup)
		(void)skep_err_set(err, SKEP_E_USAGE,
				   "column %u: \"%.*s\" would be looked up as the name of a %s, and filters "
				   "never ask the DNS",
				   k->at + 1, shown, t->text + k->at, as == FLT_T_NET ? "network" : "host");
	else
		(void)skep_err_set(err, SKEP_E_USAGE,
				   "column %u: \"%.*s\" is not a word of the filter language", k->at + 1,
				   shown, t->text + k->at);
	if (near)
		(void)snprintf(sentence, sizeof(sentence), "Did you mean \"%s\"?%s", near,
			       lookup ? " Otherwise give the address as a number" : "");
	else
		(void)snprintf(sentence, sizeof(sentence), "%s",
			       lookup ? "Give the address as a number"
				      : "See the filter language's reference");
	return flt_token_point(t->text, strlen(t->text), k->at, sentence, err);
}

/* A preset's name at the beginning of a primitive. */
static bool is_preset(const struct flt_tokens *t, size_t i)
{
	const struct flt_token *k = &t->v[i];
	enum flt_token_kind before = i > 0 ? t->v[i - 1].kind : FLT_T_AND;

	return k->kind == FLT_T_NAME && flt_preset_find(t->text + k->at, k->len) &&
	       (before == FLT_T_AND || before == FLT_T_OR || before == FLT_T_NOT || before == FLT_T_OPEN);
}

/*
 * Follows the qualifiers as grammar.y does: an id takes those in front of it, or those of the id before it in
 * a list
 * (`port 80 or http`); after a bracket they are what they were in front of it.
 */
int flt_token_check_names(struct flt_tokens *t, struct skep_err *err)
{
	enum flt_token_kind saved[FLT_MAX_DEPTH], q = FLT_T_WORD; /* FLT_T_WORD: a name has no meaning here */
	uint32_t depth = 0;
	bool takes_name = false;
	int r = flt_term_join(t, err);

	if (r)
		return r;
	for (size_t i = 0; i < t->n; i++) {
		struct flt_token *k = &t->v[i];

		if (q != FLT_T_PORT && q != FLT_T_PROTOWORD && is_preset(t, i)) {
			k->kind = FLT_T_PRESET;
			t->presets++;
			q = FLT_T_WORD;
			continue;
		}
		switch (k->kind) {
		case FLT_T_NAME:
		case FLT_T_ESCAPED:
			if (!takes_name && q != FLT_T_PORT && q != FLT_T_PROTOWORD)
				return refuse_name(t, k, q, err);
			takes_name = false;
			break;
		case FLT_T_OPEN:
			saved[depth++] = q;
			break;
		case FLT_T_CLOSE:
			q = saved[--depth];
			takes_name = false;
			break;
		case FLT_T_HOST:
		case FLT_T_NET:
		case FLT_T_GATEWAY:
		case FLT_T_PORT:
		case FLT_T_PROTOWORD:
			q = k->kind;
			takes_name = false;
			break;
		case FLT_T_DIR:
			q = FLT_T_HOST;
			takes_name = false;
			break;
		case FLT_T_PROTO:
		case FLT_T_WORD:
		case FLT_T_LIST:
			q = FLT_T_WORD;
			takes_name = false;
			break;
		case FLT_T_TAKES_NAME:
			takes_name = true;
			q = FLT_T_WORD;
			break;
		case FLT_T_AND:
		case FLT_T_OR:
			takes_name = false;
			break;
		default:
			break;
		}
	}
	return 0;
}
