/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A live stream never stands in the way of a capture: its job writes into the spool like any other, and
 * keeps only its last few files; this reads each file when it is complete, merges those of all queues by
 * time, and removes it. Who reads too slowly, or sees more than the rate that is allowed, loses packets,
 * never others their time; what was lost is counted by reason and published once a second.
 *
 *	rate         more than live_rate came
 *	client       the client did not take them within a second
 *	overtaken    not read: the job threw the file away before, or there was far too much of it
 *	and what the engine says of the job itself
 *
 * On the relay's thread. Memory: a reader of 400 KiB for each file of a turn, and there are at most
 * FILES_MAX.
 */
#include "control/live.h"

#include "common/clock.h"
#include "common/json.h"
#include "control/pcap.h"
#include "control/process.h"
#include "control/segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_NS 200000000
#define FILE_BYTES (4 << 20)
#define FILES_KEPT 8
#define FILES_MAX 64
#define LOOK_MS 100
#define READER_CPU_S 60
/* Packets over the rate that are counted one by one in a turn. */
#define OVER_MAX 10000u
#define CLIENT_MS 1000u
#define CHUNK_BYTES (512u << 10)
#define RECORD_HEADER_BYTES 16u

struct live {
	struct ctl_live_ask ask;
	struct ctl_relay *relay;
	uint64_t read_pkts, sent_pkts, sent_bytes, over_rate, too_slow;
	uint64_t tokens, refilled_ns; /* bytes that may be sent now */
	uint64_t said_ns;
	uint64_t totalled_sent, totalled_bytes, totalled_dropped;
	uint64_t patience_ms; /* until when the client may take what this turn has; 0: no turn */
	uint8_t *chunk;
	size_t chunk_n;
	uint32_t chunk_pkts;
};

json_t *ctl_live_job(const char *link, uint64_t duration_ns)
{
	return json_pack("{s:s,s:[s],s:i,s:i,s:{s:i,s:i},s:{s:I}}", "name", "live", "links", link, "level", 0,
			 "keep_files", FILES_KEPT, "rotate", "bytes", FILE_BYTES, "ns", FILE_NS, "limits",
			 "duration_ns", (json_int_t)duration_ns);
}

static uint64_t now_ns(void)
{
	return skep_clock_now_ns(&skep_clock_system, CLOCK_MONOTONIC);
}

/* ---- what is said ---- */

static json_t *losses(const struct live *live, const json_t *account, bool over)
{
	json_t *dropped = json_object_get(account, "dropped");
	json_int_t stored = json_integer_value(json_object_get(account, "stored"));

	dropped = dropped ? json_copy(dropped) : json_object();
	json_object_set_new(dropped, "rate", json_integer((json_int_t)live->over_rate));
	json_object_set_new(dropped, "client", json_integer((json_int_t)live->too_slow));
	/* Before the end, what was not read may still be. */
	json_object_set_new(dropped, "overtaken",
			    json_integer(over && stored > (json_int_t)live->read_pkts
						 ? stored - (json_int_t)live->read_pkts
						 : 0));
	return dropped;
}

static void add_up(struct live *live, const json_t *dropped)
{
	uint64_t lost = 0;
	const char *reason;
	json_t *n;

	json_object_foreach((json_t *)(uintptr_t)dropped, reason, n) lost += (uint64_t)json_integer_value(n);
	live->ask.totals->sent_pkts += live->sent_pkts - live->totalled_sent;
	live->ask.totals->sent_bytes += live->sent_bytes - live->totalled_bytes;
	live->ask.totals->dropped_pkts += lost - SKEP_MIN(lost, live->totalled_dropped);
	live->totalled_sent = live->sent_pkts;
	live->totalled_bytes = live->sent_bytes;
	live->totalled_dropped = SKEP_MAX(lost, live->totalled_dropped);
}

static void say(struct live *live, const json_t *job, bool over)
{
	json_t *dropped = losses(live, json_object_get(job, "account"), over), *event;
	_skep_free_ char *text = NULL;

	add_up(live, dropped);
	event = json_pack("{s:s,s:s,s:I,s:I,s:o,s:b}", "id", live->ask.job, "link", live->ask.link, "sent",
			  (json_int_t)live->sent_pkts, "sent_bytes", (json_int_t)live->sent_bytes, "dropped",
			  dropped, "over", over);
	text = event ? json_dumps(event, JSON_COMPACT) : NULL;
	json_decref(event);
	if (text)
		(void)skep_events_publish(live->ask.events, "live", text);
}

/* ---- to the client ---- */

/* Where the record ends in which byte `at` of the chunk lies, and how many records that makes. */
static size_t record_end(const struct live *live, size_t at, uint32_t *ret_pkts)
{
	size_t end = 0;
	uint32_t len;

	for (*ret_pkts = 0; end < at; (*ret_pkts)++) {
		memcpy(&len, live->chunk + end + 8, sizeof(len));
		end += RECORD_HEADER_BYTES + len;
	}
	return end;
}

/* A client that is too slow gets a record that was begun to its end, and none of the others. 0 or -EPIPE. */
static int send_chunk(struct live *live)
{
	uint64_t now = now_ns() / SKEP_NSEC_PER_MSEC;
	uint32_t wait = (uint32_t)(live->patience_ms > now ? live->patience_ms - now : 1),
		 pkts = live->chunk_pkts;
	size_t written = 0, end = live->chunk_n;
	int r = ctl_relay_write(live->relay, live->chunk, live->chunk_n, wait, &written);

	if (r == -ETIME) {
		end = record_end(live, written, &pkts);
		r = ctl_relay_write(live->relay, live->chunk + written, end - written, 0, NULL);
	}
	if (r)
		return r;
	live->sent_pkts += pkts;
	live->sent_bytes += end;
	live->too_slow += live->chunk_pkts - pkts;
	live->chunk_n = 0;
	live->chunk_pkts = 0;
	return 0;
}

static bool within_rate(struct live *live, size_t n)
{
	uint64_t rate = live->ask.cfg->live_bps / 8, now = now_ns(), past = now - live->refilled_ns;

	if (past >= SKEP_NSEC_PER_MSEC) { /* less would be lost in rounding */
		live->tokens += (uint64_t)((double)rate * (double)past / (double)SKEP_NSEC_PER_SEC);
		/* A burst: one second. */
		live->tokens = SKEP_MIN(live->tokens, SKEP_MAX(rate, (uint64_t)CHUNK_BYTES));
		live->refilled_ns = now;
	}
	if (live->tokens < n)
		return false;
	live->tokens -= n;
	return true;
}

static int send_record(struct live *live, const struct ctl_pcap_record *record)
{
	int r;

	live->read_pkts++;
	if (!within_rate(live, record->n)) {
		live->over_rate++;
		return 0;
	}
	if (live->chunk_n + record->n > CHUNK_BYTES) {
		r = send_chunk(live);
		if (r)
			return r;
	}
	memcpy(live->chunk + live->chunk_n, record->bytes, record->n);
	live->chunk_n += record->n;
	live->chunk_pkts++;
	return 0;
}

/* ---- one turn: the files that are complete ---- */

struct turn {
	int dir;
	struct dirent **names;
	int n;
};

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

/* A name without .part is a whole file. */
static int is_complete(const struct dirent *entry)
{
	return ctl_segment_is_one(entry->d_name);
}

static int open_turn(struct turn *turn, const char *path)
{
	*turn = (struct turn){ .dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	if (turn->dir >= 0)
		turn->n = scandirat(turn->dir, ".", &turn->names, is_complete, by_name);
	turn->n = SKEP_MAX(turn->n, 0);
	return turn->n;
}

/* What was read, or could not be, is no longer needed. */
static void close_turn(struct turn *turn)
{
	char side[280];

	for (int i = 0; i < turn->n; i++) {
		if (i < FILES_MAX) {
			(void)ctl_segment_unlink(turn->dir, turn->names[i]->d_name);
			(void)snprintf(side, sizeof(side), "%s.json", turn->names[i]->d_name);
			(void)unlinkat(turn->dir, side, 0);
		}
		free(turn->names[i]);
	}
	free(turn->names);
	skep_closep(&turn->dir);
}

/* The program that knows how to read segments, on these: one pcap of all, in order of time. */
static int start_reader(const struct live *live, const struct turn *turn, struct ctl_pipes *ret,
			struct skep_err *err)
{
	struct ctl_run run = {
		.dir = live->ask.cfg->program_dir,
		.args = { "skep-capture", "extract", "--stats", "none", "--" },
		.cpu_s = READER_CPU_S,
		.fds = &turn->dir,
		.n_fds = 1,
	};
	char paths[FILES_MAX][300];
	struct stat st;
	size_t n = 5;

	for (int i = 0; i < turn->n && i < FILES_MAX; i++) {
		(void)snprintf(paths[i], sizeof(paths[i]), "/proc/self/fd/%d/%s", turn->dir,
			       turn->names[i]->d_name);
		run.args[n++] = paths[i];
	}
	if (fstat(turn->dir, &st) == 0) {
		run.owner_uid = st.st_uid;
		run.owner_gid = st.st_gid;
	}
	return ctl_process_confined(&run, ret, err);
}

/*
 * Everything that the reader says, unless it is far more than may be sent: what would only be counted is not
 * worth a processor. A file that vanishes meanwhile ends it early too. What was not read is counted at the
 * end.
 */
static int pass_on(struct live *live, const struct ctl_pipes *reader, struct ctl_pcap *pcap)
{
	uint64_t most = live->over_rate + OVER_MAX;
	struct ctl_pcap_record record;
	int r = 0;

	while (r >= 0 && live->over_rate < most) {
		size_t room;
		void *to = ctl_pcap_room(pcap, &room);
		ssize_t n = read(reader->out, to, room);

		if (n == 0 || (n < 0 && errno != EINTR))
			break;
		ctl_pcap_fed(pcap, n > 0 ? (size_t)n : 0);
		while (r >= 0 && ctl_pcap_next(pcap, &record) == 1)
			r = send_record(live, &record);
	}
	return r == 0 && live->chunk_n ? send_chunk(live) : r;
}

static int take_turn(struct live *live, const struct turn *turn, struct skep_err *err)
{
	struct ctl_pipes reader;
	struct ctl_pcap pcap;
	int r = ctl_pcap_init(&pcap);

	r = r ?: start_reader(live, turn, &reader, err);
	if (r == 0) {
		live->patience_ms = now_ns() / SKEP_NSEC_PER_MSEC + CLIENT_MS;
		r = pass_on(live, &reader, &pcap);
		ctl_process_end(reader.pid);
		skep_closep(&reader.out);
		skep_closep(&reader.errors);
	}
	ctl_pcap_fini(&pcap);
	return r;
}

/* All lives of the job's engine: usually one. */
static int take_turns(struct live *live, const json_t *job, struct skep_err *err)
{
	json_int_t lives = json_integer_value(
		json_object_get(json_array_get(json_object_get(job, "links"), 0), "lives"));
	struct turn turn;
	char path[400];
	int r = 0;

	for (json_int_t life = 1; life <= lives && r == 0; life++) {
		if (life == 1)
			(void)snprintf(path, sizeof(path), "%s/%s", live->ask.cfg->spool_dir, live->ask.job);
		else
			(void)snprintf(path, sizeof(path), "%s/%s.%lld", live->ask.cfg->spool_dir,
				       live->ask.job, (long long)life);
		do {
			bool more = open_turn(&turn, path) > FILES_MAX;

			r = turn.n ? take_turn(live, &turn, err) : 0;
			close_turn(&turn);
			if (!more)
				break;
		} while (r == 0);
	}
	return r;
}

/* Until the client has gone, or the job has ended and all of it was read. */
static int stream(struct live *live, struct skep_err *err)
{
	uint8_t header[CTL_PCAP_HEADER_BYTES];
	bool over = false;
	int r;

	ctl_pcap_make_header(header);
	r = ctl_relay_write(live->relay, header, sizeof(header), 0, NULL);
	while (r == 0 && !over) {
		_skep_json_ json_t *job = ctl_jobs_get(live->ask.jobs, live->ask.job);

		/* Asked before the files are looked at: what ended before that is all there. */
		over = !job || !json_is_null(json_object_get(job, "outcome"));
		r = job ? take_turns(live, job, err) : 0;
		if (r == 0 && !over)
			r = ctl_relay_poll(live->relay, -1, LOOK_MS);
		if (over || r || now_ns() - live->said_ns > SKEP_NSEC_PER_SEC) {
			live->said_ns = now_ns();
			say(live, job, over || r);
		}
	}
	return r;
}

static int run(struct ctl_relay *relay, void *arg, struct skep_err *err)
{
	struct live *live = arg;
	int r = -ENOMEM;

	live->relay = relay;
	live->chunk = relay ? malloc(CHUNK_BYTES) : NULL;
	live->said_ns = live->refilled_ns = now_ns();
	live->tokens = live->ask.cfg->live_bps / 8;
	if (live->chunk)
		r = stream(live, err);
	if (r && r != -EPIPE && !(err && err->text[0]))
		skep_err_set(err, r, "live stream of %s: %s", live->ask.link, strerror(-r));
	ctl_jobs_release(live->ask.jobs, live->ask.job);
	free(live->chunk);
	free(live);
	return r;
}

int ctl_live_start(struct ctl_relays *relays, const struct ctl_live_ask *ask, struct ctl_relay **ret,
		   int *ret_fd, struct skep_err *err)
{
	struct live *live = calloc(1, sizeof(*live));

	if (!live) {
		ctl_jobs_release(ask->jobs, ask->job);
		return skep_err_set(err, -ENOMEM, "no memory");
	}
	live->ask = *ask;
	return ctl_relay_start(relays,
			       &(struct ctl_relay_work){ .kind = CTL_RELAY_LIVE, .run = run, .arg = live },
			       ret, ret_fd, err);
}
