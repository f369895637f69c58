/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes the bytes that generated frames carry. Random payload is what TLS looks like. Compressible payload is
 * a mixture, block by block, of what a link without encryption shows: HTTP headers, HTML and JSON bodies, DNS
 * answers, log lines, and already compressed content (images, archives). Words come from a fixed vocabulary
 * with Zipf-like frequencies; names, numbers and tokens are fresh, so the text compresses as text does, not
 * as a repeated template does. The mixture gives a ratio of about 2 at zstd level 1 (bench.md has the
 * measured ones).
 *
 * Every block depends on kind, seed and its own index only. Never used while frames are sent.
 */
#include "bench/pool.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014) */
static uint64_t next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static uint32_t below(uint64_t *rng, uint32_t n)
{
	return (uint32_t)((next(rng) >> 32) * n >> 32);
}

struct text {
	uint8_t *at;
	uint8_t *end;
	uint64_t rng;
};

static void put(struct text *t, const char *s, size_t n)
{
	size_t room = (size_t)(t->end - t->at);

	n = SKEP_MIN(n, room);
	memcpy(t->at, s, n);
	t->at += n;
}

static void say(struct text *t, const char *s)
{
	put(t, s, strlen(s));
}

static SKEP_PRINTF(2, 3) void sayf(struct text *t, const char *fmt, ...)
{
	char line[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		put(t, line, SKEP_MIN((size_t)n, sizeof(line) - 1));
}

static void noise(struct text *t, size_t n)
{
	while (n-- && t->at < t->end)
		*t->at++ = (uint8_t)(next(&t->rng) >> 56);
}

static void token(struct text *t, const char *alphabet, uint32_t letters, uint32_t n)
{
	while (n--)
		put(t, &alphabet[below(&t->rng, letters)], 1);
}

static void hex(struct text *t, uint32_t n)
{
	token(t, "0123456789abcdef", 16, n);
}

static void base64(struct text *t, uint32_t n)
{
	token(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 64, n);
}

/* Word number r of a fixed vocabulary of 4,096; low numbers are frequent and short, as in language. */
static void word(struct text *t)
{
	static const char *const syllables[] = { "a",	"en",  "ti",  "on",  "er",  "re",  "st",  "al",
						 "in",	"te",  "ro",  "ma",  "le",  "co",  "de",  "li",
						 "ne",	"ra",  "si",  "to",  "un",  "pro", "ver", "con",
						 "tra", "men", "per", "com", "dis", "ing", "ble", "ous" };
	uint32_t bits = below(&t->rng, 13), rank = (1u << bits) - 1 + below(&t->rng, 1u << bits), n;
	uint64_t spelling = rank * 0x51ed27ull + 7;

	for (n = 1 + (rank > 12) + (rank > 300); n; n--)
		say(t, syllables[next(&spelling) % ARRAY_LEN(syllables)]);
}

static void words(struct text *t, uint32_t n)
{
	while (n--) {
		word(t);
		say(t, n ? " " : ". ");
	}
}

static void http_head(struct text *t)
{
	static const char *const agents[] = {
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "curl/7.88.1",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)",
		"python-requests/2.28.1", "Debian APT-HTTP/1.3 (2.6.1)"
	};
	static const char *const types[] = { "text/html; charset=utf-8", "application/json", "image/jpeg",
					     "text/css", "application/javascript" };

	if (below(&t->rng, 2)) {
		say(t, "GET /");
		word(t);
		say(t, "/");
		word(t);
		sayf(t, "/%u?id=", below(&t->rng, 100000));
		hex(t, 16);
		say(t, " HTTP/1.1\r\nHost: www.");
		word(t);
		sayf(t,
		     ".example\r\nUser-Agent: %s\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\nCookie: "
		     "session=",
		     agents[below(&t->rng, ARRAY_LEN(agents))]);
		base64(t, 40 + below(&t->rng, 80));
		say(t, "\r\nConnection: keep-alive\r\n\r\n");
		return;
	}
	sayf(t,
	     "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, %02u Mar 2024 %02u:%02u:%02u "
	     "GMT\r\nContent-Type: %s\r\n",
	     1 + below(&t->rng, 28), below(&t->rng, 24), below(&t->rng, 60), below(&t->rng, 60),
	     types[below(&t->rng, ARRAY_LEN(types))]);
	sayf(t, "Content-Length: %u\r\nETag: \"", below(&t->rng, 1000000));
	hex(t, 20);
	say(t, "\"\r\nCache-Control: max-age=3600\r\nX-Request-Id: ");
	hex(t, 32);
	say(t, "\r\n\r\n");
}

static void html(struct text *t)
{
	say(t, "<div class=\"");
	word(t);
	say(t, "\"><a href=\"/");
	word(t);
	sayf(t, "/%u\">", below(&t->rng, 10000));
	words(t, 2 + below(&t->rng, 4));
	say(t, "</a><p>");
	words(t, 10 + below(&t->rng, 30));
	say(t, "</p></div>\n");
}

static void json(struct text *t)
{
	sayf(t, "{\"id\":%u,\"name\":\"", below(&t->rng, 10000000));
	word(t);
	sayf(t, "\",\"time\":17%08u,\"value\":%u.%03u,\"key\":\"", below(&t->rng, 100000000),
	     below(&t->rng, 1000), below(&t->rng, 1000));
	hex(t, 24);
	say(t, "\",\"text\":\"");
	words(t, 3 + below(&t->rng, 8));
	say(t, "\"},\n");
}

static void dns(struct text *t)
{
	uint32_t n;

	noise(t, 2);
	put(t, "\x81\x80\0\1\0\2\0\0\0\0\3www", 14);
	word(t);
	put(t, "\7example\0\0\1\0\1", 13);
	for (n = 0; n < 2; n++) {
		put(t, "\xc0\x0c\0\1\0\1\0\0", 8);
		noise(t, 2);
		put(t, "\0\4", 2);
		noise(t, 4);
	}
}

/* Of 20 blocks: 4 compressed content, 3 HTTP heads, 6 HTML, 4 JSON, 3 DNS. */
static void compressible(struct text *t)
{
	uint32_t kind = below(&t->rng, 20);

	while (t->at < t->end) {
		if (kind < 4)
			noise(t, BENCH_POOL_BLOCK);
		else if (kind < 7)
			http_head(t);
		else if (kind < 13)
			html(t);
		else if (kind < 17)
			json(t);
		else
			dns(t);
	}
}

static void make_block(enum skep_gen_payload kind, uint32_t seed, uint32_t index, uint8_t *out)
{
	struct text t = { .at = out, .end = out + BENCH_POOL_BLOCK };
	uint64_t mix = (uint64_t)seed << 32 | index;
	uint32_t i;

	t.rng = next(&mix);
	if (kind == SKEP_GEN_ZERO) {
		memset(out, 0, BENCH_POOL_BLOCK);
	} else if (kind == SKEP_GEN_COMPRESSIBLE) {
		compressible(&t);
	} else {
		for (i = 0; i < BENCH_POOL_BLOCK; i += sizeof(uint64_t)) {
			uint64_t v = next(&t.rng);

			memcpy(out + i, &v, sizeof(v));
		}
	}
}

void bench_pool_fill(enum skep_gen_payload kind, uint32_t seed, uint8_t *bytes)
{
	uint32_t i;

	for (i = 0; i < BENCH_POOL_BLOCKS; i++)
		make_block(kind, seed, i, bytes + (size_t)i * BENCH_POOL_BLOCK);
	memcpy(bytes + SKEP_GEN_POOL_BYTES, bytes, SKEP_GEN_POOL_TAIL);
}

struct bench_pool *bench_pool_new(enum skep_gen_payload kind, uint32_t seed)
{
	struct bench_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->kind = kind;
	pool->seed = seed;
	pool->bytes = malloc(SKEP_GEN_POOL_BYTES + SKEP_GEN_POOL_TAIL);
	return pool->bytes ? pool : bench_pool_free(pool);
}

struct bench_pool *bench_pool_free(struct bench_pool *pool)
{
	if (pool)
		free(pool->bytes);
	free(pool);
	return NULL;
}

const uint8_t *bench_pool_payload(struct bench_pool *pool, uint64_t seq, uint32_t len)
{
	uint32_t from = skep_gen_slice(seq, len), at;

	for (at = from / BENCH_POOL_BLOCK; at * BENCH_POOL_BLOCK < from + len; at++) {
		uint32_t i = at % BENCH_POOL_BLOCKS;

		if (!pool->made[i])
			make_block(pool->kind, pool->seed, i, pool->bytes + (size_t)i * BENCH_POOL_BLOCK);
		pool->made[i] = 1;
		/* the tail repeats the first blocks */
		if (at >= BENCH_POOL_BLOCKS)
			memcpy(pool->bytes + (size_t)at * BENCH_POOL_BLOCK,
			       pool->bytes + (size_t)i * BENCH_POOL_BLOCK, BENCH_POOL_BLOCK);
	}
	return pool->bytes + from;
}
