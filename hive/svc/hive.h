/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_HIVE_H
#define HIVE_SVC_HIVE_H
/*
 * The hive as a whole: what its services share, who is acting, and complaints about what was asked for.
 */
#include "common/clock.h"
#include "hive/auth/delay.h"
#include "hive/auth/ldap.h"
#include "hive/auth/rights.h"
#include "hive/auth/secret.h"
#include "hive/db/accounts.h"
#include "hive/db/captures.h"
#include "hive/db/results.h"

#include <pthread.h>
#include <stdatomic.h>

struct hive_job_reader;
struct hive_jobs;
struct hive_news_room;
struct hive_prefetch;
struct hive_probe_states;
struct hive_progresses;
struct hive_store;

#define HIVE_NAME_MAX 64

struct hive_config {
	const char *db_path;
	const char *store_path;       /* datasets; NULL: none, nothing can be collected */
	uint64_t store_reserve_bytes; /* stay free there */
	const char *programs;         /* the directory of skep-capture; NULL: no merged downloads */
	const struct hive_ldap *ldap; /* borrowed; NULL: none */
	/* of the job logic (jobs_logic.h: grace, lost, patience); 0: 30 s, 1 h, 15 min */
	uint64_t missing_after_ns, lost_after_ns, patience_ns;
	uint64_t session_idle_ns;     /* 0: 12 h */
	uint64_t session_max_ns;      /* 0: 7 d */
	bool webhooks_anywhere;       /* webhooks may also go to addresses that are not public */
	uint64_t webhooks_retry_ns;   /* 0: 10 s */
};

struct hive {
	struct hive_config cfg;
	char *programs; /* cfg's, kept */
	const struct skep_clock *clock;
	struct hive_db *db;
	struct hive_delay *delay;
	pthread_mutex_t jobs_lock; /* jobs */
	struct hive_jobs *jobs;
	struct hive_store *store; /* NULL: none */
	struct hive_prefetch *prefetch; /* while the dispatcher runs; set before and after its threads */
	struct hive_dispatch *dispatch; /* NULL: does not run; set before, cleared after who asks for jobs */
	atomic_bool stopping; /* long transfers are given up */
	struct hive_news_room *news;
	struct hive_probe_states *probe_states;
	const struct hive_job_reader *_Atomic reader; /* NULL: none yet */
	_Atomic int estimates; /* under way */
	struct hive_progresses *progresses;
	char id[9]; /* of this hive, in the names of its captures; for ever */
};

/* Opens and migrates the database, takes up the jobs. clock is borrowed. */
int hive_open(const struct hive_config *cfg, const struct skep_clock *clock, struct hive **ret,
	      struct skep_err *err);
struct hive *hive_close(struct hive *hive);
int64_t hive_now_ns(const struct hive *hive); /* UTC */

/* Who acts. rights are those of now: of the user, and no more than those of the token. */
struct hive_actor {
	int64_t user_id; /* 0: the system itself */
	char name[HIVE_NAME_MAX + 1];
	int64_t rights;
	char address[64];
	int64_t session_id; /* 0: none */
	int64_t token_id;   /* 0: none */
	char csrf[HIVE_SECRET_TEXT];
};

static inline bool hive_actor_can(const struct hive_actor *actor, int64_t rights)
{
	return (actor->rights & rights) == rights;
}

#define HIVE_COMPLAINTS_MAX 8

/* What is wrong with what was asked for, all at once. */
struct hive_complaints {
	uint32_t n;
	struct {
		char field[64]; /* "": no single one */
		struct skep_err err;
	} items[HIVE_COMPLAINTS_MAX];
};

/* Adds one; returns SKEP_E_USAGE. field NULL: no single one. */
int hive_complain(struct hive_complaints *complaints, const char *field, const char *fmt, ...)
	SKEP_PRINTF(3, 4);
int hive_complain_err(struct hive_complaints *complaints, const char *field, const struct skep_err *err);

#endif
