/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_SVC_THINGS_PRIV_H
#define HIVE_SVC_THINGS_PRIV_H
/*
 * The rules of a kind of thing, and what the files that hold them share (people.c, captures.c).
 */
#include "hive/svc/things.h"

enum hive_verb { HIVE_SEE, HIVE_ALTER, HIVE_REMOVE };

/* One wish on its way, inside a writer's transaction. */
struct hive_wish {
	struct hive *hive;
	struct hive_tx *tx;
	const struct hive_actor *actor;
	struct hive_change *change;
	const void *before; /* NULL: it is made */
	struct hive_complaints *complaints;
};

struct hive_rules {
	const struct hive_table *table;
	const char *word;
	bool fixed; /* made and changed by others than people: jobs, sessions, audit entries */
	/* Narrows a list to what the actor may see; SKEP_E_PRIVILEGE: nothing at all. */
	int (*scope)(const struct hive_actor *actor, struct hive_list *list);
	/* 0, SKEP_E_NOT_FOUND (may not even know of it), SKEP_E_PRIVILEGE */
	int (*may)(struct hive_tx *tx, const struct hive_actor *actor, const void *row, enum hive_verb verb);
	/* Is the wish fine? Fills what is not the client's to say. */
	int (*check)(struct hive_wish *wish);
	/*
	 * What else follows, in the same transaction. change->row is as it is stored now; NULL: it is gone.
	 */
	int (*after)(struct hive_wish *wish);
	/*
	 * It is on disk now. With this, hive->jobs_lock is held from before the transaction until afterwards.
	 */
	void (*committed)(struct hive_wish *wish);
};

extern const struct hive_rules hive_user_rules, hive_group_rules, hive_token_rules, hive_session_rules;
extern const struct hive_rules hive_probe_rules, hive_link_rules, hive_job_rules, hive_filter_rules,
	hive_dataset_rules, hive_audit_rules;
extern const struct hive_rules hive_schedule_rules, hive_template_rules, hive_webhook_rules;
extern const struct hive_rules hive_share_rules, hive_note_rules, hive_import_rules, hive_destination_rules,
	hive_copy_rules;

void hive_narrow(struct hive_list *list, const struct hive_table *table, const char *field, enum hive_op op,
		 int64_t number);
/* Somebody must remain who may do everything. */
int hive_keep_an_admin(struct hive_wish *wish);
int hive_check_name(struct hive_complaints *complaints, const char *field, const char *name);
void hive_check_probe(const struct hive_probe *probe, struct hive_complaints *complaints);
/* Of a job, a dataset: own, the group's, all. */
int hive_scope_owned(const struct hive_actor *actor, const struct hive_table *table, struct hive_list *list);
int hive_may_owned(struct hive_tx *tx, const struct hive_actor *actor, int64_t owner_id);

#endif
