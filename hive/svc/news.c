/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A bounded queue of news between those who decide (under the locks of the jobs) and the one who tells
 * (without any). Never blocks the former. The listener is called with `telling` held and nothing else, so it
 * may read the database, and must not listen or stop listening itself.
 */
#include "hive/svc/news.h"

#include <stdatomic.h>

#define WAITING_MAX 8192u

struct hive_news_room {
	pthread_mutex_t lock; /* the queue */
	struct hive_news *first, **last;
	uint32_t n;
	bool missed;
	pthread_mutex_t telling; /* the listener; before lock */
	void (*tell)(void *arg, const struct hive_news *news);
	void *arg;
	atomic_bool heard;
};

struct hive_news_room *hive_news_new(void)
{
	struct hive_news_room *room = calloc(1, sizeof(*room));

	if (!room)
		return NULL;
	room->last = &room->first;
	pthread_mutex_init(&room->lock, NULL);
	pthread_mutex_init(&room->telling, NULL);
	return room;
}

static void free_all(struct hive_news *news)
{
	while (news) {
		struct hive_news *next = news->next;

		free(news);
		news = next;
	}
}

struct hive_news_room *hive_news_free(struct hive_news_room *room)
{
	if (!room)
		return NULL;
	free_all(room->first);
	pthread_mutex_destroy(&room->telling);
	pthread_mutex_destroy(&room->lock);
	free(room);
	return NULL;
}

void hive_news_listen(struct hive *hive, void (*tell)(void *arg, const struct hive_news *news), void *arg)
{
	struct hive_news_room *room = hive->news;

	pthread_mutex_lock(&room->telling);
	room->tell = tell;
	room->arg = arg;
	atomic_store(&room->heard, tell != NULL);
	pthread_mutex_unlock(&room->telling);
}

void hive_news_add(struct hive *hive, const struct hive_news *news)
{
	struct hive_news_room *room = hive->news;
	struct hive_news *copy = malloc(sizeof(*copy));

	if (copy) {
		*copy = *news;
		copy->next = NULL;
	}
	pthread_mutex_lock(&room->lock);
	if (!copy || room->n >= WAITING_MAX) {
		room->missed = true;
	} else {
		*room->last = copy;
		room->last = &copy->next;
		room->n++;
		copy = NULL;
	}
	pthread_mutex_unlock(&room->lock);
	free(copy);
}

void hive_news_tell(struct hive *hive)
{
	struct hive_news_room *room = hive->news;
	struct hive_news *all;
	bool missed;

	pthread_mutex_lock(&room->telling);
	pthread_mutex_lock(&room->lock);
	all = room->first;
	missed = room->missed;
	room->first = NULL;
	room->last = &room->first;
	room->n = 0;
	room->missed = false;
	pthread_mutex_unlock(&room->lock);
	for (const struct hive_news *news = all; news && room->tell; news = news->next)
		room->tell(room->arg, news);
	if (missed && room->tell)
		room->tell(room->arg,
			   &(struct hive_news){ .kind = HIVE_NEWS_MISSED, .time_ns = hive_now_ns(hive) });
	pthread_mutex_unlock(&room->telling);
	free_all(all);
}

bool hive_news_heard(struct hive *hive)
{
	return atomic_load(&hive->news->heard);
}
