/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_FLT_EXPRS_H
#define TEST_FLT_EXPRS_H
/* Expressions for the filter tests: those of a file, one a line, and random ones. */
#include "common/util.h"
#include "tests/bpf/flt_packets.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* The next expression of a file, until the next call; NULL: none left. Comments and empty lines are passed.
 */
static inline const char *next_expr(FILE *f)
{
	static char line[4096];

	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (line[0] != '#' && line[0] != '\0')
			return line;
	}
	return NULL;
}

/* "not (a op b)"; what does not fit is cut off. */
static inline void join_expr(char *out, size_t size, bool negated, const char *a, const char *op,
			     const char *b)
{
	const char *const parts[] = { negated ? "not (" : "(", a, " ", op, " ", b, ")" };
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (const char *c = parts[i]; *c && at + 1 < size; c++)
			out[at++] = *c;
	out[at] = '\0';
}

static inline const char *pick(uint64_t *seed, const char *const *v, size_t n)
{
	return v[next_random(seed) % n];
}

static inline size_t random_arith(char *out, size_t size, int depth, uint64_t *seed)
{
	static const char *const loads[] = { "ether[%u]", "ether[%u:2]", "ether[%u:4]", "ip[%u]",  "ip[%u:2]",
					     "tcp[%u]",	  "udp[%u:4]",	 "ip6[%u:2]",	"icmp[%u]" };
	static const char *const ops[] = { "+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>" };
	char a[256], b[256];

	if (depth == 0 || next_random(seed) % 3 == 0) {
		if (next_random(seed) % 3 == 0)
			return (size_t)snprintf(out, size, "%u", (unsigned)(1 + next_random(seed) % 31));
		if (next_random(seed) % 12 == 0)
			return (size_t)snprintf(out, size, "len");
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		return (size_t)snprintf(out, size, pick(seed, loads, ARRAY_LEN(loads)),
					(unsigned)(next_random(seed) % 80));
#pragma GCC diagnostic pop
	}
	(void)random_arith(a, sizeof(a), depth - 1, seed);
	(void)random_arith(b, sizeof(b), depth - 1, seed);
	if (next_random(seed) % 6 == 0)
		return (size_t)snprintf(out, size, "ether[%.100s & 63]", a);
	return (size_t)snprintf(out, size, "(%.100s %s %.100s)", a, pick(seed, ops, ARRAY_LEN(ops)), b);
}

static inline void random_expr(char *out, size_t size, int depth, uint64_t *seed)
{
	static const char *const terms[] = { "tcp",
					     "udp",
					     "ip",
					     "ip6",
					     "arp",
					     "icmp",
					     "vlan",
					     "mpls",
					     "host 192.168.1.1",
					     "src host 10.0.0.1",
					     "net 192.168.0.0/16",
					     "dst net 10.0.0.0/8",
					     "port 80",
					     "udp port 53",
					     "src port 443",
					     "portrange 20-90",
					     "host fe80::1",
					     "net ff00::/8",
					     "broadcast",
					     "multicast",
					     "less 80",
					     "greater 90",
					     "ip[6:2] & 0x1fff = 0",
					     "tcp[tcpflags] & 18 != 0",
					     "ether src 66:55:44:33:22:11",
					     "pppoes",
					     "llc",
					     "ip proto 47",
					     "ip6 proto 44",
					     "sctp",
					     "ip multicast",
					     "ether proto 0x88cc" };
	static const char *const rel[] = { "=", "!=", "<", ">", "<=", ">=" };
	char a[700], b[700];

	if (depth == 0 || next_random(seed) % 4 == 0) {
		if (next_random(seed) % 3) {
			(void)snprintf(out, size, "%s", pick(seed, terms, ARRAY_LEN(terms)));
			return;
		}
		(void)random_arith(a, sizeof(a), 2, seed);
		(void)random_arith(b, sizeof(b), 1, seed);
		(void)snprintf(out, size, "%.300s %s %.300s", a, pick(seed, rel, ARRAY_LEN(rel)), b);
		return;
	}
	random_expr(a, sizeof(a), depth - 1, seed);
	random_expr(b, sizeof(b), depth - 1, seed);
	join_expr(out, size, next_random(seed) % 5 == 0, a, next_random(seed) % 2 ? "and" : "or", b);
}

/*
 * Hosts, nets, ports and protocols in any combination: what two jobs of a link often differ in, and what is
 * merged.
 */
static inline void random_simple(char *out, size_t size, int depth, uint64_t *seed)
{
	static const char *const terms[] = { "tcp",
					     "udp",
					     "sctp",
					     "icmp",
					     "icmp6",
					     "ip",
					     "ip6",
					     "arp",
					     "rarp",
					     "ip proto 47",
					     "ip6 proto 44",
					     "ether proto 0x88cc",
					     "host 192.168.1.1",
					     "src host 10.0.0.1",
					     "dst host 8.8.8.8",
					     "arp host 192.168.1.2",
					     "net 192.168.0.0/16",
					     "dst net 10.0.0.0/8",
					     "src net 0.0.0.0/1",
					     "net 224.0.0.0/4",
					     "host fe80::1",
					     "src host 2001:db8::1",
					     "dst host ff02::fb",
					     "net ff00::/8",
					     "src net 2001:db8::/33",
					     "dst net fe80::/65",
					     "port 80",
					     "port 443",
					     "udp port 53",
					     "src port 22",
					     "tcp dst port 80",
					     "sctp port 4789",
					     "portrange 20-90",
					     "src portrange 1024-65535",
					     "udp dst portrange 0-1023" };
	char a[400], b[400];

	if (depth == 0 || next_random(seed) % 4 == 0) {
		(void)snprintf(out, size, "%s%s", next_random(seed) % 5 ? "" : "not ",
			       pick(seed, terms, ARRAY_LEN(terms)));
		return;
	}
	random_simple(a, sizeof(a), depth - 1, seed);
	random_simple(b, sizeof(b), depth - 1, seed);
	join_expr(out, size, next_random(seed) % 6 == 0, a, next_random(seed) % 2 ? "and" : "or", b);
}

#endif
