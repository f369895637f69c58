/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Digests are for whoever fetches a segment later; nothing on the packet path waits for them. The thread runs
 * at SCHED_IDLE, so it takes only time that no worker wants. A segment that vanishes (rotation) or changes
 * meanwhile is passed over. SHA-256 is nettle's, because it uses the CPU's instructions for it (1.6 GB/s
 * here; libsodium does 0.35): a digest that is slower than the capture never comes.
 */
#include "capture/digest.h"

#include "capture/sidecar.h"
#include "capture/sketch.h"
#include "capture/sketch_feed.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/base16.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK_BYTES (256u * 1024u)
#define HEX_BYTES (BASE16_ENCODE_LENGTH(SHA256_DIGEST_SIZE) + 1)

struct item {
	struct item *next;
	int dirfd; /* its own: the job may be gone before its turn comes */
	char name[272];
};

struct cap_digest {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct item *head, *tail;
	bool stop, abandon;
};

static void free_item(struct item *item)
{
	skep_closep(&item->dirfd);
	free(item);
}

static void feed_unref(struct cap_sketch_feed **feed)
{
	cap_sketch_feed_free(*feed);
}

static int hash_file(struct cap_digest *digest, const struct item *item, struct cap_sketch_feed *feed,
		     char hex[HEX_BYTES])
{
	_skep_free_ uint8_t *chunk = malloc(CHUNK_BYTES);
	_skep_close_ int fd = openat(item->dirfd, item->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t out[SHA256_DIGEST_SIZE];
	struct sha256_ctx state;
	off_t at = 0;
	ssize_t n;

	if (!chunk || fd < 0)
		return chunk ? -errno : -ENOMEM;
	sha256_init(&state);
	while ((n = read(fd, chunk, CHUNK_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (__atomic_load_n(&digest->abandon, __ATOMIC_RELAXED))
			return -ECANCELED;
		sha256_update(&state, (size_t)n, chunk);
		cap_sketch_feed_bytes(feed, chunk, (size_t)n);
		/* The page cache is better used for others. */
		(void)posix_fadvise(fd, at, n, POSIX_FADV_DONTNEED);
		at += n;
	}
	sha256_digest(&state, sizeof(out), out);
	base16_encode_update(hex, sizeof(out), out);
	hex[HEX_BYTES - 1] = '\0';
	return 0;
}

static void digest_one(struct cap_digest *digest, const struct item *item)
{
	char hex[HEX_BYTES];
	_cap_sidecar_free_ struct cap_sidecar *sc = NULL;
	SKEP_CLEANUP(feed_unref) struct cap_sketch_feed *feed = NULL;
	struct stat st;

	if (cap_sidecar_read(item->dirfd, item->name, &sc, NULL) != 0)
		return;
	feed = cap_sketch_feed_new(sc);
	if (hash_file(digest, item, feed, hex) < 0)
		return;
	(void)cap_sketch_feed_end(feed, item->dirfd, item->name); /* first: who sees the digest finds it */
	sc->sha256 = hex;
	(void)!cap_sidecar_write(item->dirfd, item->name, sc);
	/*
	 * Rotated away meanwhile: what is beside it must not come back. Not access(), which asks without
	 * CAP_DAC_OVERRIDE.
	 */
	if (fstatat(item->dirfd, item->name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
		char side[sizeof(item->name) + sizeof(CAP_SIDECAR_SUFFIX)];

		(void)snprintf(side, sizeof(side), "%s%s", item->name, CAP_SIDECAR_SUFFIX);
		(void)unlinkat(item->dirfd, side, 0);
		cap_sketch_remove(item->dirfd, item->name);
	}
}

static void *digest_main(void *arg)
{
	struct cap_digest *digest = arg;
	struct sched_param param = { 0 };
	struct item *item;

	pthread_setname_np(pthread_self(), "digest");
	(void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &param);
	pthread_mutex_lock(&digest->lock);
	for (;;) {
		while (!digest->head && !digest->stop)
			pthread_cond_wait(&digest->wake, &digest->lock);
		item = digest->head;
		if (!item || digest->abandon)
			break;
		digest->head = item->next;
		if (!digest->head)
			digest->tail = NULL;
		pthread_mutex_unlock(&digest->lock);
		digest_one(digest, item);
		free_item(item);
		pthread_mutex_lock(&digest->lock);
	}
	pthread_mutex_unlock(&digest->lock);
	return NULL;
}

int cap_digest_start(struct cap_digest **ret, struct skep_err *err)
{
	struct cap_digest *digest;
	int r;

	digest = calloc(1, sizeof(*digest));
	if (!digest)
		return skep_err_set(err, -ENOMEM, "no memory for the digest thread");
	pthread_mutex_init(&digest->lock, NULL);
	pthread_cond_init(&digest->wake, NULL);
	r = pthread_create(&digest->thread, NULL, digest_main, digest);
	if (r) {
		free(digest);
		return skep_err_set(err, -r, "cannot start the digest thread: %s", strerror(r));
	}
	*ret = digest;
	return 0;
}

void cap_digest_add(struct cap_digest *digest, int dirfd, const char *name)
{
	struct item *item = calloc(1, sizeof(*item));

	if (!item)
		return;
	item->dirfd = fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	(void)snprintf(item->name, sizeof(item->name), "%s", name);
	pthread_mutex_lock(&digest->lock);
	if (digest->tail)
		digest->tail->next = item;
	else
		digest->head = item;
	digest->tail = item;
	pthread_cond_signal(&digest->wake);
	pthread_mutex_unlock(&digest->lock);
}

struct cap_digest *cap_digest_stop(struct cap_digest *digest, bool abandon)
{
	struct sched_param param = { 0 };

	if (!digest)
		return NULL;
	(void)pthread_setschedparam(digest->thread, SCHED_OTHER, &param);
	pthread_mutex_lock(&digest->lock);
	digest->stop = true;
	__atomic_store_n(&digest->abandon, abandon, __ATOMIC_RELAXED);
	pthread_cond_signal(&digest->wake);
	pthread_mutex_unlock(&digest->lock);
	pthread_join(digest->thread, NULL);
	while (digest->head) {
		struct item *item = digest->head;

		digest->head = item->next;
		free_item(item);
	}
	pthread_cond_destroy(&digest->wake);
	pthread_mutex_destroy(&digest->lock);
	free(digest);
	return NULL;
}
