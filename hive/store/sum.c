/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SHA-256 by GnuTLS, which uses the processor's instructions for it (libsodium's is five times slower here),
 * and CRC-32 by zlib. A tail reads a file behind its writer: what is hashed is what is in the file, and when
 * the writer is done little is left to hash or to flush. Knows no store. Any thread.
 */
#include "hive/store/sum.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <zlib.h>

#define READ_BYTES (256u * 1024)
#define FLUSH_BYTES (16 * 1024 * 1024)
#define NAP_NS (500 * (long)SKEP_NSEC_PER_MSEC / 1000)
#define STACK_BYTES ((size_t)128 * 1024)

struct hash {
	gnutls_hash_hd_t state;
	uint8_t *buffer;
	int64_t bytes;
};

static int hash_start(struct hash *h)
{
	*h = (struct hash){ .buffer = malloc(READ_BYTES) };
	if (!h->buffer || gnutls_hash_init(&h->state, GNUTLS_DIG_SHA256) < 0) {
		free(h->buffer);
		return -ENOMEM;
	}
	return 0;
}

/* The next bytes of the file; 0: there are none now. */
static ssize_t hash_some(struct hash *h, int fd)
{
	ssize_t n;

	do
		n = pread(fd, h->buffer, READ_BYTES, (off_t)h->bytes);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n > 0 && gnutls_hash(h->state, h->buffer, (size_t)n) < 0)
		return -EIO;
	h->bytes += n;
	return n;
}

static void hash_end(struct hash *h, struct hive_store_sum *ret)
{
	uint8_t hash[32];

	gnutls_hash_deinit(h->state, hash);
	free(h->buffer);
	ret->bytes = h->bytes;
	for (size_t i = 0; i < sizeof(hash); i++)
		(void)snprintf(ret->sha256 + 2 * i, 3, "%02x", hash[i]);
}

int hive_store_sum_fd(int fd, struct hive_store_sum *ret)
{
	struct hash h;
	ssize_t n = hash_start(&h);

	if (n < 0)
		return (int)n;
	while ((n = hash_some(&h, fd)) > 0)
		;
	hash_end(&h, ret);
	return (int)n;
}

int hive_store_crc32_fd(int fd, uint32_t *ret)
{
	_skep_free_ uint8_t *buffer = malloc(READ_BYTES);
	uint32_t crc = 0;
	off_t at = 0;
	ssize_t n;

	if (!buffer)
		return -ENOMEM;
	while ((n = pread(fd, buffer, READ_BYTES, at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		crc = (uint32_t)crc32_z(crc, buffer, (size_t)n);
		at += n;
	}
	*ret = crc;
	return 0;
}

/* ---- behind a writer ---- */

struct hive_store_tail {
	int fd;
	atomic_bool whole;
	pthread_t thread;
	struct hash hash;
	int64_t flushed;
	int result;
};

/* What is hashed may go to the disk at once: then the fsync at the end has little to wait for. */
static void flush_some(struct hive_store_tail *tail)
{
	if (tail->hash.bytes - tail->flushed < FLUSH_BYTES)
		return;
	(void)sync_file_range(tail->fd, tail->flushed, tail->hash.bytes - tail->flushed,
			      SYNC_FILE_RANGE_WRITE);
	tail->flushed = tail->hash.bytes;
}

static void *follow(void *arg)
{
	const struct timespec nap = { .tv_nsec = NAP_NS };
	struct hive_store_tail *tail = arg;
	ssize_t n;

	do {
		/* in this order: what was written before `whole` was set is seen after it */
		bool whole = atomic_load(&tail->whole);

		n = hash_some(&tail->hash, tail->fd);
		flush_some(tail);
		if (n == 0 && whole)
			break;
		if (n == 0)
			(void)nanosleep(&nap, NULL);
	} while (n >= 0);
	tail->result = (int)n;
	return NULL;
}

int hive_store_tail_start(int fd, struct hive_store_tail **ret)
{
	struct hive_store_tail *tail = calloc(1, sizeof(*tail));
	struct hive_store_sum unused;
	pthread_attr_t small;
	int r = tail ? hash_start(&tail->hash) : -ENOMEM;

	if (r < 0) {
		free(tail);
		return r;
	}
	tail->fd = fd;
	atomic_init(&tail->whole, false);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK_BYTES);
	r = -pthread_create(&tail->thread, &small, follow, tail);
	pthread_attr_destroy(&small);
	if (r < 0) {
		hash_end(&tail->hash, &unused);
		free(tail);
		return r;
	}
	*ret = tail;
	return 0;
}

int hive_store_tail_end(struct hive_store_tail *tail, struct hive_store_sum *ret)
{
	int r;

	if (!tail)
		return -ENOENT;
	atomic_store(&tail->whole, true);
	pthread_join(tail->thread, NULL);
	hash_end(&tail->hash, ret);
	r = tail->result;
	free(tail);
	return r;
}
