/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SKEP_TESTS_HIVE_SIM_PRIV_H
#define SKEP_TESTS_HIVE_SIM_PRIV_H
/*
 * What sim.c (world and hive), sim_probe.c (probes and network) and sim_check.c (what must never be) share.
 */
#include "tests/hive/sim.h"

#include "hive/svc/schedules.h"

#define MAX_PROBES 3
#define MAX_LINKS 5
#define MAX_JOBS 10
#define MAX_ASKED 7 /* by people; the others are runs of the schedule */
#define MAX_PKTS 600 /* of one capture; its limits are below */
#define MAX_MSGS 512
#define S SKEP_NSEC_PER_SEC
#define MS SKEP_NSEC_PER_MSEC

struct pkt {
	uint64_t time_ns;
	uint32_t bytes;
};

struct sim_probe {
	bool alive, requests_cut, replies_cut, removed;
	bool believed_up;
	uint64_t answered_ns; /* the last ping that came back */
};

struct sim_link {
	int probe;
	int64_t max_jobs, max_bps;
};

struct sim_capture {
	bool exists, deleted, lost;
	enum hive_at_probe at;
	bool refuses; /* every attempt to create it */
	bool breaks;  /* it fails after a while */
	bool saved;   /* of a ring: nobody can pause it */
	int64_t limit_pkts, limit_bytes, limit_ns;
	struct hive_status account;
	struct pkt pkts[MAX_PKTS];
};

struct sim_job {
	struct hive_job draft; /* what a person is going to ask for */
	int64_t priority;      /* what they ask for, also if the logic is lied to */
	struct hive_job row;   /* on disk; id 0: not made yet */
	struct hive_job_link parts[MAX_LINKS];
	int n_parts;
	int links[MAX_LINKS];
	uint64_t made_ns;
	bool ended;
	struct hive_job end;             /* as it was when it ended */
	int64_t fetched[MAX_LINKS];      /* packets in the hive's store */
	struct sim_capture captures[MAX_LINKS]; /* at the probes, by the index of the link */
};

enum msg_kind { MSG_REQUEST, MSG_REPLY, MSG_POLL, MSG_COLLECTED, MSG_BUILT };

struct msg {
	enum msg_kind kind;
	uint64_t at_ns, sent_ns;
	uint32_t life; /* of the hive that sent it; later ones do not hear the answer */
	struct hive_effect effect;
	struct hive_reply reply;
	int64_t pkts, bytes;
	enum hive_done done;
};

struct sim {
	const struct sim_options *options;
	struct sim_seen *seen;
	uint64_t random;
	uint64_t now_ns, last_ns;
	bool chaos;
	bool removed; /* a probe was removed in this run */
	uint64_t calm_ns;
	struct hive_jobs *logic;
	uint32_t life;
	uint64_t polled_ns;
	int n_probes, n_links, n_jobs;
	struct sim_probe probes[MAX_PROBES];
	struct sim_link links[MAX_LINKS];
	struct sim_job *jobs; /* MAX_JOBS */
	bool has_schedule;
	struct hive_schedule schedule; /* on disk */
	struct hive_cron cron;
	int first_run, n_runs; /* jobs from first_run on are its runs; so many are made */
	uint32_t n_msgs;
	struct msg msgs[MAX_MSGS];
	char wrong[512];
};

#define JOB_ID(j) ((int64_t)(j) + 1)
#define LINK_ID(l) ((int64_t)(l) + 101)
#define PROBE_ID(p) ((int64_t)(p) + 201)

uint64_t sim_random(struct sim *sim, uint64_t below);
static inline bool sim_chance(struct sim *sim, uint32_t per_thousand)
{
	return sim_random(sim, 1000) < per_thousand;
}
void sim_wrong(struct sim *sim, const char *fmt, ...) SKEP_PRINTF(2, 3);
struct msg *sim_send(struct sim *sim, enum msg_kind kind, uint64_t at_ns);

/* sim_probe.c */
void sim_probe_request(struct sim *sim, const struct hive_effect *effect); /* into the network */
void sim_probe_collect(struct sim *sim, const struct hive_effect *effect);
void sim_probe_build(struct sim *sim, const struct hive_effect *effect);
void sim_probe_poll(struct sim *sim);
void sim_probe_messages(struct sim *sim); /* what is due arrives */
void sim_probe_capture(struct sim *sim);  /* packets of the time since the last step */
void sim_probe_lose(struct sim *sim, int p); /* its disk is replaced */
bool sim_probe_running(const struct sim_capture *capture);

/* sim_plans.c */
void sim_plans_draw(struct sim *sim); /* before the jobs are drawn */
void sim_plans_step(struct sim *sim); /* as hive/svc/schedules.c at each turn */
void sim_plans_check(struct sim *sim); /* at the end */
bool sim_plans_over(const struct sim *sim);
/* sim.c: as POST /jobs does */
void sim_make_job(struct sim *sim, int j);
void sim_crash(struct sim *sim);

/* sim_check.c */
void sim_check_links(struct sim *sim);
void sim_check_starts(struct sim *sim, const enum hive_part_state before[MAX_JOBS][MAX_LINKS]);
void sim_check_critical(struct sim *sim);
void sim_check_time(struct sim *sim); /* what must be over is */
void sim_check_committed(struct sim *sim, struct sim_job *job);
void sim_check_all_over(struct sim *sim);
bool sim_all_over(const struct sim *sim);

#endif
