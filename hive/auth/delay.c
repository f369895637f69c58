/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fixed table of (name, network) with the number of wrong passwords, hashed with a secret key so that
 * nobody can choose what collides. When a set of WAYS entries is full the one with the oldest failure goes:
 * who floods the table with names loses their own delays first. Nothing is stored on disk. Any thread; one
 * mutex.
 */
#include "hive/auth/delay.h"

#include <ctype.h>
#include <stdbool.h>
#include <pthread.h>
#include <string.h>

#include <sodium.h>

#define SETS 1024 /* of WAYS entries of 24 bytes: 192 KiB */
#define WAYS 8

struct entry {
	uint64_t key; /* 0: free */
	uint64_t failed_ns;
	uint32_t failures;
};

struct hive_delay {
	pthread_mutex_t lock;
	uint8_t secret[crypto_shorthash_KEYBYTES];
	struct entry entries[SETS][WAYS];
};

struct hive_delay *hive_delay_new(void)
{
	struct hive_delay *delay = calloc(1, sizeof(*delay));

	if (!delay)
		return NULL;
	pthread_mutex_init(&delay->lock, NULL);
	randombytes_buf(delay->secret, sizeof(delay->secret));
	return delay;
}

struct hive_delay *hive_delay_free(struct hive_delay *delay)
{
	if (delay)
		pthread_mutex_destroy(&delay->lock);
	free(delay);
	return NULL;
}

/*
 * The /24 of IPv4, about the /64 of IPv6 (four groups of the text; "::" makes it shorter, so coarser): who
 * has one address of a network has the others too.
 */
static size_t network_of(const char *address)
{
	int parts = 0, wanted = strchr(address, ':') ? 4 : 3;
	size_t i = 0;

	for (; address[i]; i++)
		if ((address[i] == '.' || address[i] == ':') && ++parts == wanted)
			break;
	return i;
}

static uint64_t key_of(const struct hive_delay *delay, const char *name, const char *address)
{
	uint8_t hash[crypto_shorthash_BYTES];
	char text[256];
	size_t n = 0, network = network_of(address);
	uint64_t key;

	for (; *name && n < 128; name++)
		text[n++] = (char)tolower((unsigned char)*name);
	text[n++] = '\0';
	network = SKEP_MIN(network, sizeof(text) - n);
	memcpy(text + n, address, network);
	crypto_shorthash(hash, (const uint8_t *)text, n + network, delay->secret);
	memcpy(&key, hash, sizeof(key));
	return key ? key : 1;
}

/* The entry of the key, or NULL; with `make`, a free or the oldest one of its set becomes it. */
static struct entry *find(struct hive_delay *delay, uint64_t key, bool make)
{
	struct entry *set = delay->entries[key % SETS], *oldest = &set[0];

	for (int i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (set[i].failed_ns < oldest->failed_ns) /* a free one has 0 */
			oldest = &set[i];
	}
	if (!make)
		return NULL;
	*oldest = (struct entry){ .key = key };
	return oldest;
}

static uint64_t wait_ns(uint32_t failures)
{
	uint32_t doublings;

	if (failures < HIVE_DELAY_FREE)
		return 0;
	doublings = SKEP_MIN(failures - HIVE_DELAY_FREE, 6u);
	return SKEP_MIN(UINT64_C(1) << doublings, (uint64_t)HIVE_DELAY_MAX_S) * SKEP_NSEC_PER_SEC;
}

uint64_t hive_delay_left(struct hive_delay *delay, const char *name, const char *address, uint64_t now_ns)
{
	uint64_t key = key_of(delay, name, address), left = 0, passed;
	struct entry *entry;

	pthread_mutex_lock(&delay->lock);
	entry = find(delay, key, false);
	if (entry) {
		/* a clock that went back must not lengthen it */
		passed = now_ns > entry->failed_ns ? now_ns - entry->failed_ns : 0;
		if (passed > HIVE_DELAY_FORGET_S * SKEP_NSEC_PER_SEC)
			*entry = (struct entry){ 0 };
		else if (wait_ns(entry->failures) > passed)
			left = wait_ns(entry->failures) - passed;
	}
	pthread_mutex_unlock(&delay->lock);
	return left;
}

void hive_delay_failed(struct hive_delay *delay, const char *name, const char *address, uint64_t now_ns)
{
	uint64_t key = key_of(delay, name, address);
	struct entry *entry;

	pthread_mutex_lock(&delay->lock);
	entry = find(delay, key, true);
	entry->failures += entry->failures < 1000;
	entry->failed_ns = now_ns;
	pthread_mutex_unlock(&delay->lock);
}

void hive_delay_passed(struct hive_delay *delay, const char *name, const char *address)
{
	uint64_t key = key_of(delay, name, address);
	struct entry *entry;

	pthread_mutex_lock(&delay->lock);
	entry = find(delay, key, false);
	if (entry)
		*entry = (struct entry){ 0 };
	pthread_mutex_unlock(&delay->lock);
}
