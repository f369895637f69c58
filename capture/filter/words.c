/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A filter in words: each primitive becomes a phrase, with the qualifiers that libpcap would take from the
 * one before it; and, or, not and brackets stay. It explains what was accepted, it never judges. No state;
 * any thread.
 */
#include "capture/filter/words.h"

#include "capture/filter/list.h"
#include "capture/filter/preset.h"
#include "capture/filter/term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct qual {
	char proto[16], dir[16], type[16];
};

struct phrase {
	const char *word, *says;
};

/* Protocol words by themselves. */
static const struct phrase alone[] = {
	{ "ip", "IPv4" },
	{ "ip6", "IPv6" },
	{ "tcp", "TCP" },
	{ "udp", "UDP" },
	{ "sctp", "SCTP" },
	{ "arp", "ARP" },
	{ "rarp", "RARP" },
	{ "icmp", "ICMP" },
	{ "icmp6", "ICMPv6" },
	{ "igmp", "IGMP" },
	{ "esp", "ESP" },
	{ "ah", "IPsec AH" },
	{ "pim", "PIM" },
	{ "vrrp", "VRRP" },
	{ "stp", "spanning tree (LLC SAP 0x42)" },
	{ "llc", "802.2 LLC" },
	{ "vlan", "a VLAN tag, and from here on what is inside it" },
	{ "mpls", "an MPLS label, and from here on what is inside it" },
	{ "pppoes", "a PPPoE session, and from here on what is inside it" },
	{ "pppoed", "PPPoE discovery" },
	{ "geneve", "Geneve (UDP port 6081), and from here on what is inside it" },
	{ "ether", "Ethernet" },
};

struct say {
	FILE *f;
	const struct flt_tokens *t;
	const struct flt_lists *lists;
	size_t i;
	struct qual q;
};

static bool is(const struct say *s, size_t i, const char *word)
{
	const struct flt_token *k = &s->t->v[i];

	return i < s->t->n && strlen(word) == k->len && memcmp(s->t->text + k->at, word, k->len) == 0;
}

static void copy(const struct say *s, size_t i, char *to, size_t size)
{
	(void)snprintf(to, size, "%.*s", (int)s->t->v[i].len, s->t->text + s->t->v[i].at);
}

static const char *name_of(const char *proto)
{
	for (size_t i = 0; i < ARRAY_LEN(alone); i++)
		if (strcmp(alone[i].word, proto) == 0)
			return alone[i].says;
	return proto;
}

static void raw(struct say *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		fprintf(s->f, "%s%.*s",
			i > from && s->t->v[i].at > s->t->v[i - 1].at + s->t->v[i - 1].len ? " " : "",
			(int)s->t->v[i].len, s->t->text + s->t->v[i].at);
}

static bool is_joint(const struct flt_token *k)
{
	return k->kind == FLT_T_AND || k->kind == FLT_T_OR;
}

/* The end of a comparison: up to the next and/or or the bracket that closes one in front of it. */
static size_t end_of_relation(const struct say *s, size_t i)
{
	int depth = 0;

	for (; i < s->t->n; i++) {
		const struct flt_token *k = &s->t->v[i];
		char c = s->t->text[k->at];

		if (depth == 0 && (is_joint(k) || k->kind == FLT_T_CLOSE))
			return i;
		depth += c == '(' || c == '[' ? 1 : c == ')' || c == ']' ? -1 : 0;
	}
	return i;
}

/* Is there a comparison between here and the end of this primitive? */
static bool is_relation(const struct say *s, size_t i)
{
	static const char *const ops[] = { "=", "==", "!=", "<", ">", "<=", ">=" };
	size_t end = end_of_relation(s, i);

	for (; i < end; i++)
		for (size_t o = 0; o < ARRAY_LEN(ops); o++)
			if (is(s, i, ops[o]))
				return true;
	return false;
}

static void say_id(struct say *s, size_t from, size_t to)
{
	const char *side = !strcmp(s->q.dir, "src")   ? "source "
			   : !strcmp(s->q.dir, "dst") ? "destination "
			   : !strcmp(s->q.dir, "and") ? "source and destination "
						      : "source or destination ";
	bool port = !strncmp(s->q.type, "port", 4), proto = !strncmp(s->q.type, "proto", 5);

	if (proto)
		fprintf(s->f, "%s%s%s ", s->q.proto[0] ? name_of(s->q.proto) : "IPv4 or IPv6",
			!strcmp(s->q.type, "protochain") ? " with, anywhere in its chain of headers, protocol"
							 : " carrying protocol",
			"");
	else if (port)
		fprintf(s->f, "%s with %s%s ", s->q.proto[0] ? name_of(s->q.proto) : "TCP, UDP or SCTP", side,
			!strcmp(s->q.type, "portrange") ? "port in" : "port");
	else
		fprintf(s->f, "%s%s%s%s ", s->q.proto[0] ? name_of(s->q.proto) : "",
			s->q.proto[0] ? " with " : "", side,
			!strcmp(s->q.type, "net") ? "in the network" : "address");
	raw(s, from, to);
}

static bool is_id(const struct flt_token *k)
{
	return (k->kind >= FLT_T_NUM && k->kind <= FLT_T_ESCAPED);
}

/* Qualifiers of a primitive; false if there are none here. */
static bool take_head(struct say *s)
{
	size_t start = s->i;
	struct qual q = { "", "", "" };

	if (s->i < s->t->n && s->t->v[s->i].kind == FLT_T_PROTO)
		copy(s, s->i++, q.proto, sizeof(q.proto));
	if (s->i < s->t->n && s->t->v[s->i].kind == FLT_T_DIR) {
		copy(s, s->i++, q.dir, sizeof(q.dir));
		if (s->i + 1 < s->t->n && is_joint(&s->t->v[s->i]) && s->t->v[s->i + 1].kind == FLT_T_DIR) {
			(void)snprintf(q.dir, sizeof(q.dir), "%s",
				       s->t->v[s->i].kind == FLT_T_AND ? "and" : "");
			s->i += 2;
		}
	}
	if (s->i < s->t->n && s->t->v[s->i].kind >= FLT_T_HOST && s->t->v[s->i].kind <= FLT_T_PROTOWORD)
		copy(s, s->i++, q.type, sizeof(q.type));
	if (!q.dir[0] && !q.type[0])
		s->i = start;
	else
		s->q = q;
	return s->i > start;
}

static size_t id_end(const struct say *s, size_t i)
{
	size_t n = s->t->n;

	if (i + 2 < n && (is(s, i + 1, "/") || is(s, i + 1, "mask")))
		return i + 3;
	return i + 1;
}

static void say_word(struct say *s)
{
	const struct flt_token *k = &s->t->v[s->i];
	const struct flt_preset *preset =
		k->kind == FLT_T_PRESET ? flt_preset_find(s->t->text + k->at, k->len) : NULL;
	size_t from = s->i++;
	char word[32];

	s->q = (struct qual){ "", "", "" };
	if (preset) {
		fprintf(s->f, "%s (%s)", preset->name, preset->meaning);
		return;
	}
	copy(s, from, word, sizeof(word));
	if (!strcmp(word, "less") || !strcmp(word, "greater")) {
		fprintf(s->f, "at %s ", word[0] == 'l' ? "most" : "least");
		raw(s, s->i, s->i + (s->i < s->t->n));
		s->i += s->i < s->t->n;
		fputs(" bytes long", s->f);
		return;
	}
	if (s->i < s->t->n && (is(s, s->i, "broadcast") || is(s, s->i, "multicast"))) {
		fprintf(s->f, "%s ", name_of(word));
		raw(s, s->i, s->i + 1);
		s->i++;
		return;
	}
	fputs(name_of(word), s->f);
	for (from = s->i; s->i < s->t->n && !is_joint(&s->t->v[s->i]) && s->t->v[s->i].kind != FLT_T_CLOSE;
	     s->i++)
		;
	if (s->i > from)
		fputs(" ", s->f);
	raw(s, from, s->i);
}

static const struct flt_list_info *find_list(const struct say *s, const char *path, size_t len)
{
	for (uint32_t i = 0; s->lists && i < FLT_MAX_LISTS; i++) {
		const struct flt_list_info *info = flt_lists_info(s->lists, i);

		if (info && strlen(info->name) == len && memcmp(info->name, path, len) == 0)
			return info;
	}
	return NULL;
}

static void say_list(struct say *s)
{
	static const char *const sides[] = { [FLT_TERM_EITHER] = "source or destination",
					     [FLT_TERM_SRC] = "source",
					     [FLT_TERM_DST] = "destination",
					     [FLT_TERM_BOTH] = "source and destination" };
	const struct flt_token *k = &s->t->v[s->i++];
	const char *path = s->t->text + k->path_at;
	const struct flt_list_info *info = find_list(s, path, k->path_len);

	if (k->proto != FLT_TERM_ANY)
		fprintf(s->f, "%s with ", name_of(flt_term_proto_word(k->proto)));
	fprintf(s->f, "%s address in the list %.*s", sides[k->side], (int)k->path_len, path);
	if (info)
		fprintf(s->f, " (%u entries; different: %u of IPv4, %u of IPv6)", info->entries, info->ip4,
			info->ip6);
	s->q = (struct qual){ "", "", "" };
}

static void say_primitive(struct say *s)
{
	size_t from = s->i;

	if (s->t->v[s->i].kind == FLT_T_LIST) {
		say_list(s);
		return;
	}
	if (is_relation(s, s->i)) {
		s->i = end_of_relation(s, s->i);
		fputs("where ", s->f);
		raw(s, from, s->i);
		s->q = (struct qual){ "", "", "" };
		return;
	}
	if (take_head(s)) {
		if (s->i < s->t->n && is_id(&s->t->v[s->i])) {
			from = s->i;
			s->i = id_end(s, s->i);
			say_id(s, from, s->i);
		}
		return; /* a bracket of ids follows: they take the qualifiers */
	}
	if (is_id(&s->t->v[s->i])) {
		s->i = id_end(s, s->i);
		say_id(s, from, s->i);
		return;
	}
	say_word(s);
}

int flt_words(const struct flt_tokens *t, const struct flt_lists *lists, char **ret)
{
	char *text = NULL;
	size_t size = 0;
	struct say s = { .f = open_memstream(&text, &size), .t = t, .lists = lists };

	if (!s.f)
		return -ENOMEM;
	if (t->n == 0)
		fputs("every packet", s.f);
	while (s.i < t->n) {
		const struct flt_token *k = &t->v[s.i];

		if (is_joint(k)) {
			fputs(k->kind == FLT_T_AND ? ", and " : ", or ", s.f);
			s.i++;
		} else if (k->kind == FLT_T_NOT) {
			fputs("not ", s.f);
			s.i++;
		} else if (k->kind == FLT_T_CLOSE || (k->kind == FLT_T_OPEN && !is_relation(&s, s.i))) {
			fputs(k->kind == FLT_T_OPEN ? "(" : ")", s.f);
			s.i++;
		} else {
			say_primitive(&s);
		}
	}
	if (fclose(s.f) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}
