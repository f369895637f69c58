/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_DB_CAPTURES_H
#define HIVE_DB_CAPTURES_H
/*
 * Rows of captures: probes, links, jobs, their part on each link, what happened to them; saved filters.
 */
#include "hive/db/row.h"

enum hive_priority { HIVE_LOW, HIVE_NORMAL, HIVE_HIGH, HIVE_CRITICAL };
enum hive_start { HIVE_START_EACH, HIVE_START_TOGETHER };
enum hive_missing { HIVE_MISSING_WAIT, HIVE_MISSING_SKIP, HIVE_MISSING_FAIL };
enum hive_finish {
	HIVE_FINISH_NOT,
	HIVE_FINISH_LIMIT,
	HIVE_FINISH_STOP,
	HIVE_FINISH_FAIL,
	HIVE_FINISH_CANCEL
};
enum hive_job_kind {
	HIVE_KIND_CAPTURE,
	HIVE_KIND_RING,  /* keeps the last of each link at its probe, until it is stopped */
	HIVE_KIND_SAVED, /* what a ring had when somebody pulled the trigger */
};
enum hive_outcome { HIVE_OUTCOME_NONE, HIVE_OUTCOME_COMPLETE, HIVE_OUTCOME_INCOMPLETE };

/* The last three are end states; archived is an end state that is out of the way (archived_ns is set). */
enum hive_job_state {
	HIVE_JOB_SCHEDULED,
	HIVE_JOB_QUEUED,
	HIVE_JOB_STARTING,
	HIVE_JOB_RUNNING,
	HIVE_JOB_PAUSED,
	HIVE_JOB_DRAINING,
	HIVE_JOB_COLLECTING,
	HIVE_JOB_PROCESSING,
	HIVE_JOB_DONE,
	HIVE_JOB_FAILED,
	HIVE_JOB_CANCELLED,
};

/* One link of a job. */
enum hive_part_state {
	HIVE_PART_WAITING,    /* for its turn */
	HIVE_PART_STARTING,   /* the probe is being asked */
	HIVE_PART_RUNNING,
	HIVE_PART_PAUSING,
	HIVE_PART_PAUSED,
	HIVE_PART_RESUMING,
	HIVE_PART_STOPPING,
	HIVE_PART_COLLECTING, /* the probe has its final account, segments are fetched */
	HIVE_PART_ENDED,      /* with a result */
};

enum hive_result {
	HIVE_RESULT_NONE,
	HIVE_RESULT_COLLECTED,
	HIVE_RESULT_UNNEEDED,  /* the job was over before it had to start */
	HIVE_RESULT_SKIPPED,   /* the probe was missing, and the job said skip */
	HIVE_RESULT_FAILED,    /* the probe refused or the capture failed, and there is no data */
	HIVE_RESULT_LOST,      /* there was a capture, and it could not be collected, or not all of it */
	HIVE_RESULT_CANCELLED,
	HIVE_RESULT_RELEASED,  /* a ring that has ended: what it held is gone, as it was meant to be */
};

extern const char *const hive_priority_names[];
extern const char *const hive_start_names[];
extern const char *const hive_missing_names[];
extern const char *const hive_finish_names[];
extern const char *const hive_job_kind_names[];
extern const char *const hive_outcome_names[];
extern const char *const hive_job_state_names[];
extern const char *const hive_part_state_names[];
extern const char *const hive_result_names[];

struct hive_probe {
	struct hive_row head;
	char *name;
	char *address; /* "https://HOST:PORT" */
	char *key_pin; /* "sha256//…" of the probe's public key; NULL: loopback without TLS */
	char *token; /* bearer token; the hive must send it, so it is stored as it is */
	char *description;
	int64_t disabled;
	int64_t created_ns;
	int64_t seen_ns;
	char *info; /* what the probe said of itself last, JSON */
};

struct hive_link {
	struct hive_row head;
	int64_t probe_id;
	char *name; /* what people call it, unique in the hive */
	char *interface; /* the probe's name of it */
	char *description;
	int64_t speed_bps;
	int64_t max_jobs; /* captures at once; 0: no limit */
	int64_t max_bps; /* sum of what running jobs expect; 0: no limit */
	int64_t disabled;
	int64_t created_ns;
	char *info;
};

struct hive_job {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	char *filter; /* NULL: everything */
	char *forced_filter; /* the group's, ANDed to it */
	char *description;
	int64_t priority;
	int64_t start_mode;
	int64_t missing;
	int64_t limit_duration_s; /* all limits: 0 is none; duration is of each link, from its start */
	int64_t limit_bytes; /* of all links together */
	int64_t limit_pkts;
	int64_t link_limit_bytes;
	int64_t link_limit_pkts;
	int64_t snaplen;
	char *trim;
	int64_t sample_every;
	int64_t sample_by_flow;
	char *format; /* "pcap" or "pcapng" */
	int64_t expected_bps;
	int64_t start_ns; /* not before */
	int64_t created_ns;
	int64_t state;
	int64_t outcome;
	char *reasons; /* sentences, one a line */
	int64_t held; /* paused by a person */
	int64_t finish; /* why it is being brought to its end */
	char *finish_by;
	int64_t started_ns;
	int64_t ended_ns;
	int64_t archived_ns;
	int64_t cloned_from;
	int64_t seen_pkts;
	int64_t stored_pkts;
	int64_t rejected_pkts;
	int64_t dropped_pkts;
	int64_t stored_bytes;
	int64_t kept_pkts; /* in the dataset: stored, less what was beyond a total limit */
	int64_t kept_bytes;
	int64_t kind;
	int64_t ring_duration_s; /* of a ring: how much it keeps, one of the two */
	int64_t ring_bytes;
	int64_t ring_id; /* of a saved job: the ring, and the time that was asked for */
	int64_t from_ns;
	int64_t to_ns;
	int64_t end_ns; /* over at the latest */
	int64_t schedule_id;
};

struct hive_job_link {
	struct hive_row head;
	int64_t job_id;
	int64_t link_id;
	int64_t probe_id;
	char *link_name; /* as they were called then */
	char *probe_name;
	int64_t state;
	int64_t result;
	int64_t on_probe; /* the probe may know it */
	int64_t capturing; /* the probe may be capturing: it takes room on the link */
	int64_t alive; /* the probe has confirmed it */
	int64_t preempted; /* paused for a critical job, goes on when there is room */
	int64_t hot_ns; /* until then a start that was given up may still arrive */
	char *reason;
	int64_t started_ns;
	int64_t ended_ns;
	int64_t seen_pkts;
	int64_t stored_pkts;
	int64_t rejected_pkts;
	int64_t dropped_pkts;
	int64_t stored_bytes;
	int64_t captured_ns;
	int64_t gap; /* the engine was restarted, something is missing */
	int64_t collected_pkts;
	int64_t collected_bytes;
};

struct hive_job_event {
	struct hive_row head;
	int64_t job_id;
	int64_t time_ns;
	int64_t link_id;
	char *text;
};

struct hive_filter {
	struct hive_row head;
	int64_t owner_id;
	char *name;
	char *expression;
	char *description;
	int64_t shared; /* everybody may use it */
	int64_t created_ns;
};

extern const struct hive_table hive_probes;
extern const struct hive_table hive_links;
extern const struct hive_table hive_jobs_table;
extern const struct hive_table hive_job_links;
extern const struct hive_table hive_job_events;
extern const struct hive_table hive_filters;

void hive_probe_clear(struct hive_probe *probe);
void hive_link_clear(struct hive_link *link);
void hive_job_clear(struct hive_job *job);
void hive_job_link_clear(struct hive_job_link *job_link);
void hive_job_event_clear(struct hive_job_event *job_event);
void hive_filter_clear(struct hive_filter *filter);

#define _hive_probe_ SKEP_CLEANUP(hive_probe_clear)
#define _hive_link_ SKEP_CLEANUP(hive_link_clear)
#define _hive_job_ SKEP_CLEANUP(hive_job_clear)
#define _hive_job_link_ SKEP_CLEANUP(hive_job_link_clear)
#define _hive_job_event_ SKEP_CLEANUP(hive_job_event_clear)
#define _hive_filter_ SKEP_CLEANUP(hive_filter_clear)

/* The job's rows of links, in the order of their ids. */
int hive_job_links_of(struct hive_tx *tx, int64_t job_id, struct hive_rows *ret);
/*
 * Ids, ascending, of the jobs that the logic must hold: those that have not ended, and those of which a probe
 * may still know something. *ret is the caller's.
 */
int hive_jobs_open(struct hive_tx *tx, int64_t **ret, uint32_t *ret_n);
/* Are all links open to the user, or this one, by one of the user's groups? */
int hive_link_allowed(struct hive_tx *tx, int64_t user_id, int64_t link_id, bool *ret);
int hive_group_link_add(struct hive_tx *tx, int64_t group_id, int64_t link_id);
int hive_group_link_remove(struct hive_tx *tx, int64_t group_id, int64_t link_id); /* -ENOENT */
/* The user's groups that may use the link; each once. */
int hive_groups_for_link(struct hive_tx *tx, int64_t user_id, int64_t link_id, struct hive_rows *ret);
/* It answered just now; info NULL: as it was. Not a change that somebody made, so the version stays. */
int hive_probe_seen(struct hive_tx *tx, int64_t probe_id, int64_t now_ns, const char *info);
int hive_jobs_by_state(struct hive_tx *tx, int64_t ret[static HIVE_JOB_CANCELLED + 1]);
/* Out of the way (at now_ns) or back (0). */
int hive_job_archive(struct hive_tx *tx, int64_t job_id, int64_t now_ns);
/* Unfinished jobs of a user. */
int hive_jobs_unfinished_of(struct hive_tx *tx, int64_t user_id, int64_t *ret);

#endif
