/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_FLT_PACKETS_H
#define TEST_FLT_PACKETS_H
/* Packets for the filter tests: those of $SKEP_PCAPS (Ethernet) and generated ones, whole, cut short, and
 * damaged. */
#include <dirent.h>
#include <pcap/pcap.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct packet {
	uint32_t len, wire_len;
	uint8_t *bytes;
};

struct packets {
	struct packet *v;
	size_t n, cap;
};

/* xorshift64*: the seed alone makes the run. */
static inline uint64_t next_random(uint64_t *s)
{
	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return *s * 0x2545f4914f6cdd1dull;
}

static inline void add_packet(struct packets *p, const void *bytes, uint32_t len, uint32_t wire_len)
{
	if (len < 14 || len > 64000)
		return;
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 1024;
		p->v = realloc(p->v, p->cap * sizeof(*p->v));
		if (!p->v)
			abort();
	}
	p->v[p->n] = (struct packet){ .len = len, .wire_len = wire_len, .bytes = malloc(len) };
	if (!p->v[p->n].bytes)
		abort();
	memcpy(p->v[p->n++].bytes, bytes, len);
}

static inline void free_packets(struct packets *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].bytes);
	free(p->v);
	*p = (struct packets){ 0 };
}

static inline void add_file(struct packets *p, const char *path)
{
	char errbuf[PCAP_ERRBUF_SIZE];
	pcap_t *h = pcap_open_offline(path, errbuf);
	struct pcap_pkthdr *hdr;
	const u_char *bytes;

	if (!h)
		return;
	if (pcap_datalink(h) == 1 /* DLT_EN10MB */)
		while (pcap_next_ex(h, &hdr, &bytes) == 1)
			add_packet(p, bytes, hdr->caplen, hdr->len);
	pcap_close(h);
}

/* All Ethernet captures of $SKEP_PCAPS; none if it is not set. */
static inline void add_captures(struct packets *p)
{
	const char *dir = getenv("SKEP_PCAPS");
	struct dirent **names;
	int n = dir ? scandir(dir, &names, NULL, alphasort) : -1;
	char path[4096];

	for (int i = 0; i < n; i++) {
		if (strstr(names[i]->d_name, ".pcap")) {
			(void)snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
			add_file(p, path);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
}

static inline size_t put(uint8_t *b, size_t at, const char *hex)
{
	for (; hex[0] && hex[1]; hex += hex[0] == ' ' ? 1 : 2)
		if (hex[0] != ' ')
			b[at++] = (uint8_t)strtoul((char[]){ hex[0], hex[1], 0 }, NULL, 16);
	return at;
}

/*
 * One random frame that is nearly right: link header (plain, tags, MPLS, PPPoE, LLC), network (IPv4 with
 * options and fragments, IPv6 with extension headers, ARP, nothing known), transport; addresses and ports
 * from the small sets that the expressions name.
 */
static inline uint32_t make_frame(uint8_t *b, uint64_t *seed)
{
	static const char *const addr4[] = { "c0a80101", "0a000001", "08080808", "e00000fb",
					     "ffffffff", "c0a80102", "7f000001", "00000000" };
	static const char *const addr6[] = { "fe800000000000000000000000000001",
					     "ff0200000000000000000000000000fb",
					     "20010db8000000000000000000000001",
					     "00000000000000000000000000000001" };
	static const char *const ports[] = { "0050", "0035", "01bb", "0016", "0000",
					     "ffff", "12b5", "17c1", "c350" };
	static const char *const ext[] = { "00", "2b", "3c", "2c", "33" };
	static const uint8_t protos[] = { 6, 17, 1, 58, 132, 2, 50, 51, 4, 41, 47, 103, 89, 0, 44, 60 };
#define R(n) (next_random(seed) % (n))
	size_t at = 0, l4;
	uint8_t proto = protos[R(sizeof(protos)) % (R(2) ? 4 : sizeof(protos))];
	int net = (int)R(8);

	at = put(b, at, R(4) ? "001122334455" : R(2) ? "ffffffffffff" : "01005e0000fb");
	at = put(b, at, R(4) ? "665544332211" : "000000000000");
	if (R(8) == 0)
		return (uint32_t)put(b, at,
				     R(2) ? "0026 424203 0000000000000000000000000000"
					  : "0030 aaaa03000000 0800 4500001c00000000 4011");
	for (int i = R(4) == 0 ? 1 + (int)R(2) : 0; i > 0; i--)
		at = put(b, at, R(2) ? "8100 0001" : R(2) ? "8100 0064" : "88a8 00c8");
	if (R(12) == 0) {
		at = put(b, at, R(2) ? "8847 000101ff" : "8847 186a0040 000401ff");
	} else if (R(12) == 0) {
		at = put(b, at, R(2) ? "8864 11000027 0040 0021" : "8864 11000001 0040 0057");
	} else {
		at = put(b, at, net < 4 ? "0800" : net < 6 ? "86dd" : net == 6 ? "0806" : "88cc");
	}
	if (net < 4) {
		size_t ip = at, words = R(4) ? 5 : 5 + R(11);

		at = put(b, at, R(8) ? "4500 0054 0001" : "4fb8 0040 0000");
		b[ip] = (uint8_t)(0x40 | words);
		at = put(b, at, R(4) ? "4000 4000 0000" : R(2) ? "2000 0100 1234" : "00b9 ff00 0000");
		b[ip + 9] = proto;
		at = put(b, at, addr4[R(8)]);
		at = put(b, at, addr4[R(8)]);
		for (size_t i = 5; i < words; i++)
			at = put(b, at, "01010101");
	} else if (net < 6) {
		size_t next = at + 6;

		at = put(b, at, "60000000 0040 0040");
		at = put(b, at, addr6[R(4)]);
		at = put(b, at, addr6[R(4)]);
		for (int i = R(3) == 0 ? 1 + (int)R(4) : 0; i > 0; i--) {
			b[next] = (uint8_t)strtoul(ext[R(5)], NULL, 16);
			next = at;
			at = put(b, at, R(3) ? "0000000000000000" : "0001000000000000 0000000000000000");
		}
		b[next] = proto;
	} else if (net == 6) {
		at = put(b, at, "0001 0800 0604");
		at = put(b, at, R(2) ? "0001 665544332211" : "0002 665544332211");
		at = put(b, at, addr4[R(8)]);
		at = put(b, at, "000000000000");
		at = put(b, at, addr4[R(8)]);
	}
	l4 = at;
	at = put(b, at, ports[R(9)]);
	at = put(b, at, ports[R(9)]);
	for (size_t i = 0; i < 40 + R(60); i++)
		b[at++] = (uint8_t)next_random(seed);
	if (proto == 6 && R(2))
		b[l4 + 12] = (uint8_t)(0x50 + 16 * R(11));
	if (R(3) == 0)
		b[l4 + 13] = (uint8_t)(1u << R(8));
	if (R(6) == 0)
		b[R(at)] ^= (uint8_t)(1u << R(8));
#undef R
	return (uint32_t)at;
}

static inline void add_generated(struct packets *p, size_t n, uint64_t *seed)
{
	static uint8_t b[16384];

	for (size_t i = 0; i < n; i++) {
		uint32_t len = make_frame(b, seed);

		add_packet(p, b, len, len);
		if (i % 4 == 0) { /* cut short anywhere */
			uint32_t cut = 14 + (uint32_t)(next_random(seed) % (len - 13));

			add_packet(p, b, cut, cut);
		}
		if (i % 64 == 0) { /* longer than one buffer of a page */
			for (size_t j = len; j < 9000; j++)
				b[j] = (uint8_t)j;
			add_packet(p, b, 3000 + (uint32_t)(next_random(seed) % 6000), 9000);
		}
		if (i % 64 == 1) { /* noise */
			for (size_t j = 12; j < 200; j++)
				b[j] = (uint8_t)next_random(seed);
			add_packet(p, b, 14 + (uint32_t)(next_random(seed) % 186), 200);
		}
	}
}

/* The packets of a test program, with its group's setup and teardown: captures, and n made from the seed. */
#define COLLECTED_PACKETS(n, seed)              \
	static struct packets packets;          \
\
	static int collect(void **state)        \
	{                                       \
		uint64_t s = (seed);            \
\
		(void)state;                    \
		add_captures(&packets);         \
		add_generated(&packets, n, &s); \
		return 0;                       \
	}                                       \
\
	static int drop(void **state)           \
	{                                       \
		(void)state;                    \
		free_packets(&packets);         \
		return 0;                       \
	}

/* The seed of the random part: $FLT_SEED, or another one each time; said, so that it can be run again. */
static inline uint64_t seed_of_run(void)
{
	const char *given = getenv("FLT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2 + 1;

	printf("# FLT_SEED=%llu\n", (unsigned long long)seed);
	return seed | 1;
}

#endif
