/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_PROBES_H
#define HIVE_SVC_PROBES_H
/*
 * Probes as machines: enrolment, their links, are they there and what do they say of themselves.
 */
#include "hive/svc/things.h"

struct hive_client;

/*
 * The line that skep-control enrol prints, "skep-probe name=… url=… pin=… token=…", into the row (texts it
 * has already stay). SKEP_E_USAGE.
 */
int hive_enrol_parse(const char *line, struct hive_probe *ret, struct hive_complaints *complaints);
/*
 * Asks the probe of change->row who it is, makes it, and a link for each of its interfaces: those that its
 * administrator has configured, or if there are none, all but the loopback. SKEP_E_NOT_FOUND with complaints:
 * it cannot be reached, and nothing was made.
 */
int hive_probe_enrol(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		     struct hive_complaints *complaints);
/* The same for a probe that is there: makes the links that are new. *ret_n of them. */
int hive_probe_discover(struct hive *hive, const struct hive_actor *actor, int64_t probe_id, uint32_t *ret_n,
			struct hive_complaints *complaints);

/* A client for the probe; -EHOSTDOWN: it is disabled. *ret is the caller's. */
int hive_probe_client(struct hive *hive, int64_t probe_id, struct hive_client **ret);

struct hive_probe_state {
	int64_t probe_id;
	bool known, up; /* known: it was asked since the start */
	int64_t since_ns;
	char problem[256]; /* of the last attempt; "": none */
};

struct hive_probe_states *hive_probe_states_new(void); /* NULL: no memory */
struct hive_probe_states *hive_probe_states_free(struct hive_probe_states *states);
/* What came of asking it. err NULL: it answered. Any thread; so is the next. */
void hive_probe_heard(struct hive *hive, int64_t probe_id, const struct skep_err *err);
void hive_probe_state(struct hive *hive, int64_t probe_id, struct hive_probe_state *ret);
/* Asks it what it is, and keeps that: now and then. */
void hive_probe_refresh(struct hive *hive, struct hive_client *client, int64_t probe_id);

#endif
