/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tasks lie in a fixed number of slots, each with its own decoder and memory, and are done in the order in
 * which they began. A thread is started when two tasks wait, because who begins one alone mostly waits for it
 * at once and then does it himself; with one CPU nothing is lost but a lock.
 *
 * Memory: a slot's buffers are as large as the largest stretch, and touched as far as a stretch needs. One
 * lock; nobody holds it while reading or decoding.
 */
#include "capture/unpack.h"

#include "capture/zread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#define THREADS_MAX 16u
/* Two for each thread, and what the caller looks at. */
#define SLOTS_MAX (2 * THREADS_MAX + 2)

#define PAGE_BYTES 4096u

enum state { FREE, WAITING, RUNNING, READY };

struct cap_unpack_task {
	enum state state;
	struct cap_unpack_stretch stretch;
	struct cap_unpack_task *next; /* waiting */
	struct cap_zread *zread;
	uint8_t *packed, *raw; /* CAP_UNPACK_MAX_BYTES each */
	size_t packed_there, raw_there; /* bytes with pages behind them */
	int result;
	const char *wrong;
};

struct cap_unpack {
	pthread_mutex_t lock;
	pthread_cond_t work, ready;
	struct cap_unpack_task *head, *tail;
	uint32_t n_waiting, n_idle;
	bool stop;
	uint32_t n_threads, max_threads, n_slots;
	pthread_t threads[THREADS_MAX];
	struct cap_unpack_task slots[SLOTS_MAX];
};

static void *map(void)
{
	void *p = mmap(NULL, CAP_UNPACK_MAX_BYTES, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* All pages at once: one by one, the faults would take as long as the decoding. */
static void make_there(uint8_t *p, size_t *there, size_t n)
{
	n = (size_t)skep_align_up(n, PAGE_BYTES);
	if (n <= *there)
		return;
	(void)madvise(p + *there, n - *there, MADV_POPULATE_WRITE);
	*there = n;
}

static int read_stretch(const struct cap_unpack_task *t)
{
	const struct cap_unpack_stretch *s = &t->stretch;
	size_t got = 0;

	while (got < s->n) {
		ssize_t k = pread(s->fd, t->packed + got, s->n - got, (off_t)(s->at + got));

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		if (k == 0)
			return SKEP_E_BAD_DATA;
		got += (size_t)k;
	}
	return 0;
}

static void unpack(struct cap_unpack_task *t)
{
	size_t got = t->stretch.n;

	t->wrong = NULL;
	make_there(t->packed, &t->packed_there, t->stretch.n);
	if (t->stretch.zstd)
		make_there(t->raw, &t->raw_there, t->stretch.raw);
	t->result = read_stretch(t);
	if (t->result == SKEP_E_BAD_DATA)
		t->wrong = "its index names a block behind its end";
	if (t->result)
		return;
	if (t->stretch.zstd)
		t->wrong = cap_zread_stretch(t->zread, t->packed, t->stretch.n, t->raw, CAP_UNPACK_MAX_BYTES,
					     &got);
	if (!t->wrong && got < t->stretch.raw)
		t->wrong = "a block of it does not decode";
	if (t->wrong)
		t->result = SKEP_E_BAD_DATA;
}

/* With the lock held; takes the first that waits, or the given one. */
static void take(struct cap_unpack *u, struct cap_unpack_task *t)
{
	struct cap_unpack_task **p = &u->head, *before = NULL;

	while (*p != t) {
		before = *p;
		p = &(*p)->next;
	}
	*p = t->next;
	if (u->tail == t)
		u->tail = before;
	u->n_waiting--;
	t->state = RUNNING;
}

/* With the lock held, which is given up meanwhile. */
static void run(struct cap_unpack *u, struct cap_unpack_task *t)
{
	take(u, t);
	pthread_mutex_unlock(&u->lock);
	unpack(t);
	pthread_mutex_lock(&u->lock);
	t->state = READY;
	pthread_cond_broadcast(&u->ready);
}

static void *thread_main(void *arg)
{
	struct cap_unpack *u = arg;

	pthread_setname_np(pthread_self(), "unpack");
	pthread_mutex_lock(&u->lock);
	while (!u->stop) {
		if (u->head) {
			run(u, u->head);
			continue;
		}
		u->n_idle++;
		pthread_cond_wait(&u->work, &u->lock);
		u->n_idle--;
	}
	pthread_mutex_unlock(&u->lock);
	return NULL;
}

struct cap_unpack *cap_unpack_new(uint32_t threads)
{
	struct cap_unpack *u = calloc(1, sizeof(*u));

	if (!u)
		return NULL;
	u->max_threads = SKEP_MIN(threads, THREADS_MAX);
	u->n_slots = u->max_threads ? 2 * u->max_threads + 2 : 1;
	pthread_mutex_init(&u->lock, NULL);
	pthread_cond_init(&u->work, NULL);
	pthread_cond_init(&u->ready, NULL);
	return u;
}

struct cap_unpack *cap_unpack_free(struct cap_unpack *u)
{
	if (!u)
		return NULL;
	pthread_mutex_lock(&u->lock);
	u->stop = true;
	pthread_cond_broadcast(&u->work);
	pthread_mutex_unlock(&u->lock);
	for (uint32_t i = 0; i < u->n_threads; i++)
		pthread_join(u->threads[i], NULL);
	for (uint32_t i = 0; i < u->n_slots; i++) {
		assert(u->slots[i].state == FREE);
		cap_zread_free(u->slots[i].zread);
		if (u->slots[i].packed)
			munmap(u->slots[i].packed, CAP_UNPACK_MAX_BYTES);
		if (u->slots[i].raw)
			munmap(u->slots[i].raw, CAP_UNPACK_MAX_BYTES);
	}
	pthread_cond_destroy(&u->work);
	pthread_cond_destroy(&u->ready);
	pthread_mutex_destroy(&u->lock);
	free(u);
	return NULL;
}

/* With the lock held: behind all that wait, and somebody to do it. */
static void put(struct cap_unpack *u, struct cap_unpack_task *t)
{
	t->next = NULL;
	t->state = WAITING;
	if (u->head)
		u->tail->next = t;
	else
		u->head = t;
	u->tail = t;
	u->n_waiting++;
	if (u->n_idle)
		pthread_cond_signal(&u->work);
	else if (u->n_waiting >= 2 && u->n_threads < u->max_threads &&
		 pthread_create(&u->threads[u->n_threads], NULL, thread_main, u) == 0)
		u->n_threads++;
}

/* The first slot is for who does not work ahead, so that there always is one. */
static struct cap_unpack_task *free_slot(struct cap_unpack *u, bool ahead)
{
	for (uint32_t i = ahead; i < u->n_slots; i++) {
		struct cap_unpack_task *t = &u->slots[i];

		if (t->state != FREE)
			continue;
		t->packed = t->packed ? t->packed : map();
		t->raw = t->raw ? t->raw : map();
		t->zread = t->zread ? t->zread : cap_zread_new();
		return t->packed && t->raw && t->zread ? t : NULL;
	}
	return NULL;
}

struct cap_unpack_task *cap_unpack_begin(struct cap_unpack *u, const struct cap_unpack_stretch *stretch,
					 bool ahead)
{
	struct cap_unpack_task *t;

	assert(stretch->n <= CAP_UNPACK_MAX_BYTES && stretch->raw <= CAP_UNPACK_MAX_BYTES);
	pthread_mutex_lock(&u->lock);
	t = free_slot(u, ahead);
	if (t) {
		t->stretch = *stretch;
		put(u, t);
	}
	pthread_mutex_unlock(&u->lock);
	return t;
}

int cap_unpack_wait(struct cap_unpack *u, struct cap_unpack_task *t, struct cap_unpack_result *ret)
{
	pthread_mutex_lock(&u->lock);
	if (t->state == WAITING)
		run(u, t);
	while (t->state != READY)
		pthread_cond_wait(&u->ready, &u->lock);
	pthread_mutex_unlock(&u->lock);
	ret->bytes = t->stretch.zstd ? t->raw : t->packed;
	ret->n = t->stretch.raw;
	ret->wrong = t->wrong;
	return t->result;
}

struct cap_unpack_task *cap_unpack_done(struct cap_unpack *u, struct cap_unpack_task *t)
{
	if (!t)
		return NULL;
	pthread_mutex_lock(&u->lock);
	if (t->state == WAITING)
		take(u, t);
	else
		while (t->state != READY)
			pthread_cond_wait(&u->ready, &u->lock);
	t->state = FREE;
	pthread_mutex_unlock(&u->lock);
	return NULL;
}
