/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_THINGS_H
#define HIVE_SVC_THINGS_H
/*
 * Reading and changing what the hive knows, as somebody: each kind of thing has its rules (who sees it, who
 * may change it, what a change must hold to) in one table, and every way in goes through them. What somebody
 * may not see does not exist for them.
 *
 * Returns: 0, -errno, or SKEP_E_NOT_FOUND, SKEP_E_PRIVILEGE, SKEP_E_BUSY (in use, or -ESTALE: changed
 * meanwhile), SKEP_E_USAGE; why is in complaints.
 */
#include "hive/svc/hive.h"

enum hive_kind_of {
	HIVE_USER,
	HIVE_GROUP,
	HIVE_TOKEN,
	HIVE_SESSION,
	HIVE_PROBE,
	HIVE_LINK,
	HIVE_JOB,
	HIVE_FILTER,
	HIVE_DATASET,
	HIVE_SHARE,
	HIVE_NOTE,
	HIVE_IMPORT,
	HIVE_DESTINATION,
	HIVE_COPY,
	HIVE_AUDIT,
	HIVE_TEMPLATE,
	HIVE_SCHEDULE,
	HIVE_WEBHOOK,
	HIVE_KINDS,
};

const struct hive_table *hive_thing_table(enum hive_kind_of kind);
const char *hive_thing_word(enum hive_kind_of kind); /* "user" */

/* What the actor may see of those that the list asks for. */
int hive_thing_list(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind,
		    const struct hive_list *list, struct hive_rows *ret, struct hive_complaints *complaints);
/* ret is empty, the caller's. */
int hive_thing_get(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind, int64_t id,
		   void *ret, struct hive_complaints *complaints);

/* A wish to make or to change something; the row is filled by the caller, and by what is decided here. */
struct hive_change {
	enum hive_kind_of kind;
	void *row; /* with id and version for a change */
	const char *password; /* users: the new one; NULL: as it was */
	/* Idempotency-Key of a creation and the digest of its request; NULL: none */
	const char *key, *request;
	bool again; /* out: the key had made this row before */
	char secret[HIVE_SECRET_TEXT]; /* out, tokens: the token, shown once */
};

int hive_thing_create(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		      struct hive_complaints *complaints);
int hive_thing_change(struct hive *hive, const struct hive_actor *actor, struct hive_change *change,
		      struct hive_complaints *complaints);
/* version 0: whichever it has. */
int hive_thing_delete(struct hive *hive, const struct hive_actor *actor, enum hive_kind_of kind, int64_t id,
		      int64_t version, struct hive_complaints *complaints);

/* ---- relations ---- */

int hive_group_join(struct hive *hive, const struct hive_actor *actor, int64_t group_id, int64_t user_id,
		    bool in, struct hive_complaints *complaints);
int hive_group_use_link(struct hive *hive, const struct hive_actor *actor, int64_t group_id, int64_t link_id,
			bool in, struct hive_complaints *complaints);
int hive_group_members(struct hive *hive, const struct hive_actor *actor, int64_t group_id,
		       struct hive_rows *ret, struct hive_complaints *complaints);

#endif
