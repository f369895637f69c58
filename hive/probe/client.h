/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_PROBE_CLIENT_H
#define HIVE_PROBE_CLIENT_H
/*
 * A probe's API (control/api/openapi.yaml), as the hive uses it. A capture is known by its name, which is
 * also its Idempotency-Key; the probe's own ids stay in here. Each call opens what it needs and has a
 * deadline.
 */
#include "common/err.h"

#include <stdatomic.h>
#include <stdbool.h>

struct hive_client;

/*
 * address "https://HOST:PORT" with key_pin "sha256//…" of the probe's public key, or "http://127.0.0.1:PORT"
 * without.
 */
int hive_client_new(const char *address, const char *key_pin, const char *token, struct hive_client **ret);
struct hive_client *hive_client_free(struct hive_client *client);

static inline void hive_client_freep(struct hive_client **client)
{
	hive_client_free(*client);
}

#define _hive_client_ SKEP_CLEANUP(hive_client_freep)

/* Another one to the same probe, for another thread. */
int hive_client_copy(const struct hive_client *client, struct hive_client **ret);

/* What a probe says of a capture. */
enum hive_capture_at {
	HIVE_CAPTURE_ABSENT,
	HIVE_CAPTURE_BUSY, /* beginning or draining: neither running for sure nor over */
	HIVE_CAPTURE_RUNNING,
	HIVE_CAPTURE_PAUSED,
	HIVE_CAPTURE_OVER,
};

struct hive_capture {
	char name[64];
	char id[32]; /* the probe's */
	enum hive_capture_at at;
	int64_t seen_pkts, stored_pkts, rejected_pkts, dropped_pkts, stored_bytes;
	struct {
		char reason[24];
		int64_t pkts;
	} drops[8]; /* those that are not 0 */
	uint32_t n_drops;
	bool gap, failed;
	bool ring; /* its segments come and go */
	char text[512]; /* why it is incomplete or failed; "": nothing to say */
};

struct hive_capture_wish {
	const char *name, *interface, *filter; /* filter NULL: everything */
	int64_t limit_pkts, limit_bytes, limit_duration_ns; /* 0: none */
	int64_t snaplen, sample_every;
	bool sample_by_flow;
	const char *trim; /* NULL: none */
	const char *format;
	int64_t ring_bytes, ring_duration_ns; /* one of them: a ring */
};

enum hive_capture_verb { HIVE_CAPTURE_PAUSE, HIVE_CAPTURE_RESUME, HIVE_CAPTURE_STOP, HIVE_CAPTURE_DELETE };

/*
 * 0: *ret is how it is now. Positive: the probe refused for good, err says why. -errno: no answer, or one
 * that says "not now": it may have been carried out, or be carried out yet.
 */
int hive_client_create(struct hive_client *client, const struct hive_capture_wish *wish,
		       struct hive_capture *ret, struct skep_err *err);
int hive_client_get(struct hive_client *client, const char *name, struct hive_capture *ret,
		    struct skep_err *err);
int hive_client_do(struct hive_client *client, const char *name, enum hive_capture_verb verb,
		   struct hive_capture *ret, struct skep_err *err);
/*
 * Saves what the ring of that name has from before_ns ago until after_ns from now, as a capture of its own.
 * With the same name again: the same capture. SKEP_E_NOT_FOUND: there is no such ring any more.
 */
struct hive_trigger_wish {
	const char *ring, *name, *filter; /* filter NULL: everything, whole files */
	int64_t before_ns, after_ns;
};
int hive_client_trigger(struct hive_client *client, const struct hive_trigger_wish *wish,
			struct hive_capture *ret, struct skep_err *err);
/* Those whose names begin with prefix; *ret is the caller's. */
int hive_client_list(struct hive_client *client, const char *prefix, struct hive_capture **ret,
		     uint32_t *ret_n, struct skep_err *err);

/* ---- what a probe says of itself (about.c) ---- */

struct hive_checked {
	bool ok;
	int column;                    /* of the error, from 1; 0: none */
	char error[512], hint[512];    /* "": none */
	int64_t cbpf_insns, ebpf_insns; /* 0: not said */
	bool verified;
};
int hive_client_check(struct hive_client *client, const char *filter, struct hive_checked *ret,
		      struct skep_err *err);

struct hive_rate {
	char interface[64];
	double pkts, pkts_per_s, bits_per_s, bytes_per_hour;
};
/* Takes `seconds`, and some more. filter NULL: everything. *ret is the caller's, one for each interface. */
struct hive_estimate_wish {
	const char *const *interfaces;
	uint32_t n;
	const char *filter;
	int64_t seconds;
};
int hive_client_estimate(struct hive_client *client, const struct hive_estimate_wish *wish,
			 struct hive_rate **ret, uint32_t *ret_n, struct skep_err *err);

struct hive_interface {
	char name[64], alias[64], description[128];
	bool configured, up;
	int64_t speed_bps, max_jobs, expected_bps; /* 0: not said */
	char *info; /* JSON, the caller's */
};
/* What the probe says of itself, JSON; the caller's. */
int hive_client_about(struct hive_client *client, char **ret, struct skep_err *err);
int hive_client_interfaces(struct hive_client *client, struct hive_interface **ret, uint32_t *ret_n,
			   struct skep_err *err);
/* Takes NULL. */
void hive_interfaces_free(struct hive_interface *interfaces, uint32_t n);

/* ---- segments ---- */

struct hive_segment {
	char name[128];
	char sha256[65]; /* "": the probe has not computed it yet */
	int64_t bytes, pkts, raw_bytes;
	int64_t first_ns, last_ns; /* 0: no packets */
};

int hive_client_segments(struct hive_client *client, const char *id, struct hive_segment **ret,
			 uint32_t *ret_n, struct skep_err *err);
/* What the probe says of the capture, and what lies beside a segment: as JSON text, the caller's. */
int hive_client_capture_text(struct hive_client *client, const char *id, char **ret, struct skep_err *err);
int hive_client_sidecar(struct hive_client *client, const char *id, const char *segment, char **ret,
			struct skep_err *err);
/* The segment is safe here: the probe may remove it when it needs room. */
int hive_client_collected(struct hive_client *client, const char *id, const struct hive_segment *segment,
			  struct skep_err *err);
struct hive_fetch {
	const char *id, *segment;
	int64_t offset;
	int fd;
	const atomic_bool *stop; /* given up when it becomes true: -ECANCELED */
};

/* Appends the segment's bytes from `offset` on to fd, as far as they come; *ret_bytes of them. */
int hive_client_fetch(struct hive_client *client, const struct hive_fetch *what, int64_t *ret_bytes,
		      struct skep_err *err);

#endif
