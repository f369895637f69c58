/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_NEWS_H
#define HIVE_SVC_NEWS_H
/*
 * What has just happened, for those who watch: told after it is on disk, in order, on the dispatcher's
 * thread. Nothing depends on it: news that nobody hears are lost.
 */
#include "hive/svc/hive.h"
#include "hive/svc/progress.h"

enum hive_news_kind {
	HIVE_NEWS_JOB,      /* a job is new, or its state is */
	HIVE_NEWS_LINK,     /* the same of one link of a job */
	HIVE_NEWS_PROGRESS, /* of one link */
	HIVE_NEWS_MISSED,   /* there were more than could be kept */
};

struct hive_news {
	struct hive_news *next;
	enum hive_news_kind kind;
	int64_t time_ns, owner_id, job_id, link_id;
	char name[HIVE_NAME_MAX + 1]; /* of the job, or of the link */
	int64_t state, outcome;       /* JOB: of the job; LINK: state and result of the part */
	struct hive_progress progress;
};

/* One listener; NULL: none any more, and when this returns the last call is over. */
void hive_news_listen(struct hive *hive, void (*tell)(void *arg, const struct hive_news *news), void *arg);
/* Copies it; dropped, and HIVE_NEWS_MISSED told, if too many wait. Any thread. */
void hive_news_add(struct hive *hive, const struct hive_news *news);
/* Tells what there is. The dispatcher's thread. */
void hive_news_tell(struct hive *hive);
bool hive_news_heard(struct hive *hive); /* is there a listener? */
struct hive_news_room *hive_news_new(void); /* NULL: no memory */
struct hive_news_room *hive_news_free(struct hive_news_room *room);

#endif
