/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring of texts under one lock. Publishing never waits for a reader and never fails because of one: who
 * does not read loses events, and is told by `gap`. Never calls out except to wake.
 */
#include "common/events.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct kept {
	uint64_t id;
	char *name, *data; /* one allocation, at name */
};

struct skep_events {
	pthread_mutex_t lock;
	struct kept *ring;
	uint32_t size, n; /* n used; the oldest is at (next - n) mod size */
	uint32_t next;
	uint64_t last_id;
	struct skep_events_reader *readers;
};

struct skep_events *skep_events_new(uint32_t keep)
{
	struct skep_events *events = calloc(1, sizeof(*events));
	struct timespec now;

	if (!events)
		return NULL;
	events->size = SKEP_MAX(keep, 1u);
	events->ring = calloc(events->size, sizeof(*events->ring));
	if (!events->ring) {
		free(events);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	events->last_id = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;

	pthread_mutex_init(&events->lock, NULL);
	return events;
}

struct skep_events *skep_events_free(struct skep_events *events)
{
	if (!events)
		return NULL;
	for (uint32_t i = 0; i < events->size; i++)
		free(events->ring[i].name);
	pthread_mutex_destroy(&events->lock);
	free(events->ring);
	free(events);
	return NULL;
}

static int copy_texts(const char *name, const char *data, char **ret_name, char **ret_data)
{
	size_t n = strlen(name) + 1, m = strlen(data) + 1;
	char *copy = malloc(n + m);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, name, n);
	memcpy(copy + n, data, m);
	*ret_name = copy;
	*ret_data = copy + n;
	return 0;
}

int skep_events_publish(struct skep_events *events, const char *name, const char *data)
{
	struct kept *slot;
	char *copy, *copy_data;
	int r;

	if (strlen(name) + strlen(data) > SKEP_EVENT_MAX_BYTES)
		return -E2BIG;
	if (strpbrk(name, "\r\n") || strpbrk(data, "\r\n"))
		return -EINVAL;
	r = copy_texts(name, data, &copy, &copy_data);
	if (r)
		return r;
	pthread_mutex_lock(&events->lock);
	slot = &events->ring[events->next];
	free(slot->name);
	*slot = (struct kept){ .id = ++events->last_id, .name = copy, .data = copy_data };
	events->next = (events->next + 1) % events->size;
	events->n = SKEP_MIN(events->n + 1, events->size);
	for (struct skep_events_reader *reader = events->readers; reader; reader = reader->next)
		reader->wake(reader->arg);
	pthread_mutex_unlock(&events->lock);
	return 0;
}

uint64_t skep_events_last(struct skep_events *events)
{
	uint64_t id;

	pthread_mutex_lock(&events->lock);
	id = events->last_id;
	pthread_mutex_unlock(&events->lock);
	return id;
}

void skep_events_join(struct skep_events *events, struct skep_events_reader *reader)
{
	pthread_mutex_lock(&events->lock);
	if (reader->after == 0)
		reader->after = events->last_id;
	reader->next = events->readers;
	events->readers = reader;
	pthread_mutex_unlock(&events->lock);
}

void skep_events_leave(struct skep_events *events, struct skep_events_reader *reader)
{
	pthread_mutex_lock(&events->lock);
	for (struct skep_events_reader **at = &events->readers; *at; at = &(*at)->next)
		if (*at == reader) {
			*at = reader->next;
			break;
		}
	pthread_mutex_unlock(&events->lock);
}

/* Under the lock: the kept event that follows `after`, or NULL. An id that was never given counts as
 * forgotten. */
static const struct kept *following(struct skep_events *events, uint64_t after, bool *ret_gap)
{
	uint32_t start = (events->next + events->size - events->n) % events->size;
	uint64_t oldest = events->last_id + 1 - events->n;

	*ret_gap = after + 1 < oldest || after > events->last_id;
	if (after > events->last_id)
		after = oldest - 1;
	/* n may be 0 while ids go on from those of the run before */
	if (after >= events->last_id || events->n == 0)
		return NULL;
	if (after + 1 < oldest)
		after = oldest - 1;
	return &events->ring[(start + (uint32_t)(after + 1 - oldest)) % events->size];
}

int skep_events_next(struct skep_events *events, struct skep_events_reader *reader, struct skep_event *ret)
{
	struct skep_event event = { 0 };
	const struct kept *kept;
	int r = 0;

	pthread_mutex_lock(&events->lock);
	kept = following(events, reader->after, &event.gap);
	if (kept) {
		event.id = kept->id;
		r = copy_texts(kept->name, kept->data, &event.name, &event.data);
		if (r == 0) {
			reader->after = kept->id;
			*ret = event;
			r = 1;
		}
	}
	pthread_mutex_unlock(&events->lock);
	return r;
}
