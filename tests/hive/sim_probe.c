/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The probes of the simulated world, and the network to them. A request is lost, or executed up to
 * SIM_DELAY_MAX_NS after it was sent, also when the hive has given it up; its answer may be lost by itself. A
 * probe keeps its captures over a restart, as the real one's journal does, and ends a capture at exactly its
 * packet. Knows nothing of the logic.
 */
#include "tests/hive/sim_priv.h"

#include <assert.h>
#include <string.h>

#define TIMEOUT_NS (3 * S)

static struct sim_capture *capture_of(struct sim *sim, int64_t job_id, int64_t link_id)
{
	return &sim->jobs[job_id - 1].captures[link_id - 101];
}

bool sim_probe_running(const struct sim_capture *capture)
{
	return capture->exists && (capture->at == HIVE_AT_RUNNING || capture->at == HIVE_AT_PENDING);
}

static bool reaches(const struct sim *sim, int p)
{
	return sim->probes[p].alive && !sim->probes[p].removed && !sim->probes[p].requests_cut;
}

/* ---- the network ---- */

static uint64_t delay(struct sim *sim)
{
	if (sim->chaos && sim_chance(sim, 60))
		return sim_random(sim, SIM_DELAY_MAX_NS);
	return sim_random(sim, 100 * MS);
}

/* The hive hears an answer or, after its own deadline, that there was none: always exactly one. */
static void answer_late(struct sim *sim, const struct hive_effect *effect)
{
	struct msg *msg = sim_send(sim, MSG_REPLY, sim->now_ns + TIMEOUT_NS);

	msg->effect = *effect;
	msg->reply = (struct hive_reply){ .job_id = effect->job_id,
					  .link_id = effect->link_id,
					  .serial = effect->serial,
					  .kind = HIVE_REPLY_LOST };
}

void sim_probe_request(struct sim *sim, const struct hive_effect *effect)
{
	struct msg *msg;

	answer_late(sim, effect);
	if (sim->chaos && sim_chance(sim, 80)) {
		sim->seen->lost_requests++;
		return;
	}
	msg = sim_send(sim, MSG_REQUEST, sim->now_ns + delay(sim));
	msg->effect = *effect;
	sim->seen->late_requests += msg->at_ns > sim->now_ns + TIMEOUT_NS;
}

static void create(struct sim *sim, struct sim_capture *capture, const struct hive_effect *effect)
{
	struct sim_job *job = &sim->jobs[effect->job_id - 1];

	if (capture->exists)
		return;
	if (capture->lost) { /* the hive may not know yet that it was there */
		capture->account = (struct hive_status){ .at = HIVE_AT_PENDING };
		capture->lost = false;
	}
	if (capture->deleted)
		sim_wrong(sim, "job %lld on link %lld is captured a second time", (long long)effect->job_id, (long long)effect->link_id);
	*capture = (struct sim_capture){ .exists = true, .at = HIVE_AT_PENDING, .breaks = capture->breaks,
					 .saved = job->row.kind == HIVE_KIND_SAVED,
					 .limit_pkts = effect->limit_pkts, .limit_bytes = effect->limit_bytes,
					 .limit_ns = job->row.limit_duration_s * (int64_t)S };
	if (sim_chance(sim, 700))
		capture->at = HIVE_AT_RUNNING;
}

static void execute(struct sim *sim, struct sim_capture *capture, const struct hive_effect *effect)
{
	switch (effect->request) {
	case HIVE_REQUEST_CREATE:
		create(sim, capture, effect);
		break;
	case HIVE_REQUEST_PAUSE:
		if (sim_probe_running(capture))
			capture->at = HIVE_AT_PAUSED;
		break;
	case HIVE_REQUEST_RESUME:
		if (capture->exists && capture->at == HIVE_AT_PAUSED)
			capture->at = HIVE_AT_RUNNING;
		break;
	case HIVE_REQUEST_STOP:
		if (capture->exists)
			capture->at = HIVE_AT_ENDED;
		break;
	case HIVE_REQUEST_DELETE:
		if (capture->exists && capture->at == HIVE_AT_ENDED) {
			capture->exists = false;
			capture->deleted = true;
		}
		break;
	case HIVE_REQUEST_QUERY:
	case HIVE_REQUEST_NONE:
		break;
	}
}

static struct hive_status status_of(const struct sim_capture *capture)
{
	struct hive_status status = capture->account;

	if (!capture->exists)
		return (struct hive_status){ .at = HIVE_AT_ABSENT };
	status.at = capture->at;
	return status;
}

static void request_arrives(struct sim *sim, const struct msg *msg)
{
	struct sim_capture *capture = capture_of(sim, msg->effect.job_id, msg->effect.link_id);
	int p = sim->links[msg->effect.link_id - 101].probe;
	struct msg *answer;

	if (!reaches(sim, p))
		return;
	if (!(capture->refuses && msg->effect.request == HIVE_REQUEST_CREATE))
		execute(sim, capture, &msg->effect);
	if (sim->probes[p].replies_cut || (sim->chaos && sim_chance(sim, 80)))
		return;
	answer = sim_send(sim, MSG_REPLY, sim->now_ns + sim_random(sim, 100 * MS));
	answer->effect = msg->effect;
	answer->life = msg->life;
	answer->reply = (struct hive_reply){ .job_id = msg->effect.job_id,
					     .link_id = msg->effect.link_id,
					     .serial = msg->effect.serial,
					     .kind = HIVE_REPLY_OK,
					     .status = status_of(capture) };
	if (capture->refuses && msg->effect.request == HIVE_REQUEST_CREATE) {
		answer->reply.kind = HIVE_REPLY_REFUSED;
		answer->reply.text = "no such filter";
		sim->seen->refused++;
	}
}

void sim_probe_poll(struct sim *sim)
{
	for (int p = 0; p < sim->n_probes; p++) {
		struct sim_probe *probe = &sim->probes[p];

		if (reaches(sim, p) && !probe->replies_cut)
			probe->answered_ns = sim->now_ns;
		if (probe->answered_ns == sim->now_ns && !probe->believed_up) {
			probe->believed_up = true;
			hive_jobs_probe(sim->logic, PROBE_ID(p), true);
		} else if (probe->believed_up && sim->now_ns - probe->answered_ns > 2 * S) {
			probe->believed_up = false;
			hive_jobs_probe(sim->logic, PROBE_ID(p), false);
		}
	}
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			struct sim_probe *probe = &sim->probes[sim->links[l].probe];
			struct sim_capture *capture = &sim->jobs[j].captures[l];
			struct msg *msg;

			if (!capture->exists || probe->answered_ns != sim->now_ns)
				continue;
			msg = sim_send(sim, MSG_POLL,
				       sim->now_ns + (sim->chaos ? sim_random(sim, 1000 * MS) : 0));
			msg->effect = (struct hive_effect){ .job_id = JOB_ID(j), .link_id = LINK_ID(l) };
			msg->reply.status = status_of(capture);
		}
}

/* ---- what the hive does with segments ---- */

static void count_fetched(const struct sim_capture *capture, int64_t fetched, struct msg *msg)
{
	msg->pkts = fetched;
	for (int64_t i = 0; i < fetched; i++)
		msg->bytes += capture->pkts[i].bytes;
}

void sim_probe_collect(struct sim *sim, const struct hive_effect *effect)
{
	struct sim_capture *capture = capture_of(sim, effect->job_id, effect->link_id);
	int l = (int)effect->link_id - 101, p = sim->links[l].probe;
	struct msg *msg = sim_send(sim, MSG_COLLECTED, sim->now_ns + sim_random(sim, 1500 * MS));
	int64_t *fetched = &sim->jobs[effect->job_id - 1].fetched[l];

	msg->effect = *effect;
	msg->done = HIVE_DONE_RETRY;
	if (!(reaches(sim, p) && !sim->probes[p].replies_cut)) {
		count_fetched(capture, *fetched, msg);
		return;
	}
	if (capture->lost) {
		msg->done = HIVE_DONE_LOST;
		msg->reply.text = "the probe no longer has it";
		count_fetched(capture, *fetched, msg);
		return;
	}
	if (!capture->exists || capture->at != HIVE_AT_ENDED)
		sim_wrong(sim, "job %lld on link %lld is collected, and its capture is not there or not over",
			  (long long)effect->job_id, (long long)effect->link_id);
	if (sim->chaos && sim_chance(sim, 200)) { /* the connection breaks: what is here stays */
		*fetched += (int64_t)sim_random(sim, (uint64_t)(capture->account.stored_pkts - *fetched) + 1);
		count_fetched(capture, *fetched, msg);
		return;
	}
	msg->done = HIVE_DONE_OK;
	*fetched = capture->account.stored_pkts;
	if (sim->chaos && *fetched && sim_chance(sim, 10)) { /* a segment is damaged on the probe's disk */
		*fetched = (int64_t)sim_random(sim, (uint64_t)*fetched);
		msg->done = HIVE_DONE_LOST;
		msg->reply.text = "a segment does not have the digest that was announced";
	}
	count_fetched(capture, *fetched, msg);
}

/* As the hive knows it, from its disk. */
static bool is_collected(const struct sim_job *job, int l)
{
	for (int i = 0; i < job->n_parts; i++)
		if (job->links[i] == l)
			return job->parts[i].result == HIVE_RESULT_COLLECTED;
	return false;
}

/* The merge: the earliest packet of all links, again and again, until a limit. */
void sim_probe_build(struct sim *sim, const struct hive_effect *effect)
{
	struct sim_job *job = &sim->jobs[effect->job_id - 1];
	struct msg *msg = sim_send(sim, MSG_BUILT, sim->now_ns + sim_random(sim, 500 * MS));
	int64_t at[MAX_LINKS] = { 0 };

	msg->effect = *effect;
	msg->done = sim->chaos && sim_chance(sim, 150) ? HIVE_DONE_RETRY : HIVE_DONE_OK;
	for (;;) {
		const struct pkt *best = NULL;
		int from = -1;

		for (int l = 0; l < sim->n_links; l++)
			if (is_collected(job, l) && at[l] < job->fetched[l] &&
			    (!best || job->captures[l].pkts[at[l]].time_ns < best->time_ns)) {
				best = &job->captures[l].pkts[at[l]];
				from = l;
			}
		if (!best)
			break;
		if ((effect->limit_pkts && msg->pkts == effect->limit_pkts) ||
		    (effect->limit_bytes && msg->bytes + best->bytes > effect->limit_bytes)) {
			sim->seen->cuts++;
			break;
		}
		at[from]++;
		msg->pkts++;
		msg->bytes += best->bytes;
	}
}

void sim_probe_lose(struct sim *sim, int p)
{
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++) {
			struct sim_capture *capture = &sim->jobs[j].captures[l];

			if (sim->links[l].probe != p || !capture->exists)
				continue;
			capture->exists = false;
			capture->lost = true;
			sim->seen->disks++;
		}
}

/* ---- packets ---- */

static void one_packet(struct sim *sim, struct sim_capture *capture, uint64_t time_ns)
{
	struct hive_status *account = &capture->account;
	uint32_t bytes = 60 + (uint32_t)sim_random(sim, 1440);

	if (sim_chance(sim, 200)) {
		account->seen_pkts++;
		account->rejected_pkts++;
		return;
	}
	if (sim->chaos && sim_chance(sim, 4)) {
		account->seen_pkts++;
		account->dropped_pkts++;
		return;
	}
	if (capture->limit_bytes && account->stored_bytes + bytes > capture->limit_bytes) {
		capture->at = HIVE_AT_ENDED;
		return;
	}
	capture->pkts[account->stored_pkts] = (struct pkt){ .time_ns = time_ns, .bytes = bytes };
	account->seen_pkts++;
	account->stored_pkts++;
	account->stored_bytes += bytes;
	if (account->stored_pkts == capture->limit_pkts || account->stored_pkts == MAX_PKTS)
		capture->at = HIVE_AT_ENDED;
}

static void advance(struct sim *sim, struct sim_capture *capture)
{
	uint64_t dt = sim->now_ns - sim->last_ns,
		 left = (uint64_t)(capture->limit_ns - capture->account.captured_ns), n;

	if (capture->at == HIVE_AT_PENDING)
		capture->at = HIVE_AT_RUNNING;
	dt = SKEP_MIN(dt, left);
	n = dt ? sim_random(sim, 7) : 0;
	for (uint64_t i = 0; i < n && capture->at == HIVE_AT_RUNNING; i++)
		one_packet(sim, capture, sim->last_ns + dt * (i + 1) / (n + 1));
	capture->account.captured_ns += (int64_t)dt;
	if (capture->account.captured_ns >= capture->limit_ns)
		capture->at = HIVE_AT_ENDED;
	if (!sim->chaos || capture->at == HIVE_AT_ENDED)
		return;
	if (sim_chance(sim, 4)) {
		capture->account.gap = true;
		sim->seen->gaps++;
	}
	if (!capture->saved && sim_chance(sim, 4))
		capture->at = HIVE_AT_PAUSED; /* by somebody on the probe */
	if (capture->breaks && sim_chance(sim, 100)) {
		capture->at = HIVE_AT_ENDED;
		capture->account.failed = true;
		capture->account.text = "the interface has gone";
	}
}

void sim_probe_capture(struct sim *sim)
{
	for (int j = 0; j < sim->n_jobs; j++)
		for (int l = 0; l < sim->n_links; l++)
			if (sim_probe_running(&sim->jobs[j].captures[l]))
				advance(sim, &sim->jobs[j].captures[l]);
}

/* ---- arrivals ---- */

static void arrive(struct sim *sim, const struct msg *msg)
{
	bool hears = msg->life == sim->life;
	struct hive_collected collected;
	struct sim_job *job = &sim->jobs[msg->effect.job_id - 1];

	switch (msg->kind) {
	case MSG_REQUEST:
		request_arrives(sim, msg);
		break;
	case MSG_REPLY:
		if (hears)
			hive_jobs_reply(sim->logic, &msg->reply);
		break;
	case MSG_POLL:
		if (hears)
			hive_jobs_status(sim->logic, msg->effect.job_id, msg->effect.link_id,
					 &msg->reply.status, msg->sent_ns);
		break;
	case MSG_COLLECTED:
		collected = (struct hive_collected){ .job_id = msg->effect.job_id,
						     .link_id = msg->effect.link_id,
						     .done = msg->done,
						     .pkts = msg->pkts,
						     .bytes = msg->bytes,
						     .text = msg->reply.text };
		if (hears)
			hive_jobs_collected(sim->logic, &collected);
		break;
	case MSG_BUILT:
		if (hears && job->row.head.id)
			hive_jobs_built(sim->logic, msg->effect.job_id, msg->done, msg->pkts, msg->bytes,
					NULL);
		break;
	}
}

void sim_probe_messages(struct sim *sim)
{
	for (uint32_t i = 0; i < sim->n_msgs;) {
		struct msg msg = sim->msgs[i];

		if (msg.at_ns > sim->now_ns) {
			i++;
			continue;
		}
		sim->msgs[i] = sim->msgs[--sim->n_msgs];
		arrive(sim, &msg);
	}
}
