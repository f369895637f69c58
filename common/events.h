/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_EVENTS_H
#define SKEP_EVENTS_H
/*
 * Events for whoever listens: a bounded memory of the last ones, each with an ascending id, and readers that
 * come and go. Who was away for too long is told so.
 */
#include "common/util.h"

#include <stdbool.h>

#define SKEP_EVENT_MAX_BYTES 16384u

struct skep_events;

/*
 * Keeps the last `keep` events. Ids go on from the time of the day in microseconds, so those of a restarted
 * program are larger than those before; below 2^53, so JSON numbers hold them. NULL: no memory.
 */
struct skep_events *skep_events_new(uint32_t keep);
/* Readers must be gone. Returns NULL. */
struct skep_events *skep_events_free(struct skep_events *events);
/*
 * Any thread. name is a word, data one line (JSON). 0; -E2BIG: longer than SKEP_EVENT_MAX_BYTES; -EINVAL: it
 * has line ends; -ENOMEM.
 */
int skep_events_publish(struct skep_events *events, const char *name, const char *data);
/* Id of the newest event. */
uint64_t skep_events_last(struct skep_events *events);

/* A reader: called after each publish, on the publisher's thread, under the hub's lock: only wake somebody.
 */
struct skep_events_reader {
	struct skep_events_reader *next;
	void (*wake)(void *arg);
	void *arg;
	uint64_t after; /* id of the last event that was read */
};

/* Joins: events after reader->after (0: from now on). wake and arg are set. */
void skep_events_join(struct skep_events *events, struct skep_events_reader *reader);
void skep_events_leave(struct skep_events *events, struct skep_events_reader *reader);

struct skep_event {
	uint64_t id;
	char *name, *data; /* the caller's, freed together: free(event.name) */
	bool gap;	   /* events between the last one read and this one are forgotten */
};

/* The next event for the reader. 1: ret is one; 0: there is none now; -ENOMEM. */
int skep_events_next(struct skep_events *events, struct skep_events_reader *reader, struct skep_event *ret);

#endif
