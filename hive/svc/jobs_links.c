/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names of links into links, as far as the groups of the actor allow: what somebody may not use does not
 * exist for them. All links of one job must have the same forced filter. Changes nothing. Any thread with a
 * transaction.
 */
#include "hive/svc/jobs_links.h"

#include "hive/svc/things_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * The filter that the groups force on this link: none if one of those that may use it forces none, else any
 * of theirs. *ret is the caller's.
 */
static int forced_filter_of(const struct hive_rows *groups, char **ret)
{
	char *all = NULL;

	for (uint32_t i = 0; i < groups->n; i++) {
		const char *one = ((const struct hive_group *)hive_rows_at(groups, i))->forced_filter;
		char *more = NULL;

		if (!one || !*one) {
			free(all);
			*ret = NULL;
			return 0;
		}
		if (asprintf(&more, "%s%s(%s)", all ? all : "", all ? " or " : "", one) < 0)
			more = NULL;
		free(all);
		all = more;
		if (!all)
			return -ENOMEM;
	}
	*ret = all;
	return 0;
}

void hive_chosen_free(struct hive_chosen *chosen)
{
	for (uint32_t i = 0; chosen && i < chosen->n; i++)
		hive_row_clear(&hive_job_links, &chosen->parts[i]);
	free(chosen ? chosen->forced_filter : NULL);
	free(chosen);
}

int hive_choose_link(struct hive_tx *tx, const struct hive_actor *actor, const struct hive_link *link,
		     struct hive_chosen *chosen, struct hive_complaints *complaints)
{
	_hive_rows_ struct hive_rows groups = { .table = &hive_groups };
	_hive_probe_ struct hive_probe probe = { 0 };
	_skep_free_ char *forced = NULL;
	struct hive_job_link *part = &chosen->parts[chosen->n];
	int r = hive_groups_for_link(tx, actor->user_id, link->head.id, &groups);

	if (r == 0 && !groups.n)
		return SKEP_E_NOT_FOUND;
	if (r == 0)
		r = hive_row_get(tx, &hive_probes, link->probe_id, &probe);
	if (r == 0)
		r = forced_filter_of(&groups, &forced);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < chosen->n; i++)
		if (chosen->parts[i].link_id == link->head.id)
			return hive_complain(complaints, "links", "links: \"%s\" is named twice", link->name);
	if (chosen->n == HIVE_JOB_LINKS_MAX)
		return hive_complain(complaints, "links", "links: more than %d", HIVE_JOB_LINKS_MAX);
	if (chosen->n && strcmp(forced ? forced : "", chosen->forced_filter ? chosen->forced_filter : "") != 0)
		return hive_complain(complaints, "links",
				     "links: on \"%s\" your groups force another filter than on the others; make a job for each",
				     link->name);
	if (!chosen->n)
		chosen->forced_filter = TAKE_PTR(forced);
	*part = (struct hive_job_link){ .link_id = link->head.id,
					.probe_id = link->probe_id,
					.link_name = strdup(link->name),
					.probe_name = strdup(probe.name) };
	chosen->n++;
	return part->link_name && part->probe_name ? 0 : -ENOMEM;
}

static int choose_all(struct hive_tx *tx, const struct hive_actor *actor, struct hive_chosen *chosen,
		      struct hive_complaints *complaints)
{
	_hive_rows_ struct hive_rows links = { .table = &hive_links };
	struct hive_list list = { .limit = HIVE_JOB_LINKS_MAX };
	int r;

	hive_narrow(&list, &hive_links, "id", HIVE_MY_LINKS, actor->user_id);
	hive_narrow(&list, &hive_links, "disabled", HIVE_EQ, 0);
	r = hive_row_list(tx, &hive_links, &list, &links);
	for (uint32_t i = 0; r == 0 && i < links.n; i++)
		r = hive_choose_link(tx, actor, hive_rows_at(&links, i), chosen, complaints);
	if (r == 0 && !links.n)
		return hive_complain(complaints, "links", "links: there is none that you may use");
	return r;
}

int hive_choose_links(struct hive_tx *tx, const struct hive_actor *actor,
		      const struct hive_link_names *names, struct hive_chosen *chosen,
		      struct hive_complaints *complaints)
{
	int r = 0;

	if (!names->n)
		return hive_complain(complaints, "links", "links: name at least one, or \"*\" for all that you may use");
	if (names->n == 1 && strcmp(names->names[0], "*") == 0)
		return choose_all(tx, actor, chosen, complaints);
	for (uint32_t i = 0; i < names->n && r == 0; i++) {
		_hive_link_ struct hive_link link = { 0 };

		r = hive_row_find(tx, &hive_links, "name", names->names[i], &link);
		if (r == 0)
			r = hive_choose_link(tx, actor, &link, chosen, complaints);
		/* one that somebody may not use does not exist for them */
		if (r == -ENOENT || r == SKEP_E_NOT_FOUND)
			r = hive_complain(complaints, "links", "links: there is no link \"%s\" that you may use", names->names[i]);
		if (r > 0)
			r = 0; /* the others may be wrong as well */
	}
	return r;
}

int hive_filter_both(const char *own, const char *forced, char **ret)
{
	int n = 0;

	own = own && *own ? own : NULL;
	*ret = NULL;
	if (own && forced)
		n = asprintf(ret, "(%s) and (%s)", own, forced);
	else if (own || forced)
		n = asprintf(ret, "%s", own ? own : forced);
	return n < 0 ? -ENOMEM : 0;
}
