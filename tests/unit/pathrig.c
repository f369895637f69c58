/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bench of pathrig.h. It sets a capture up as capture/engine.c does, but for the source, which is a
 * loop of its own. Nothing on the packet path is replaced. The threads are the worker's and the keeper's;
 * rig_* functions belong to the test's thread.
 */
#include "pathrig.h"
#include "tool.h"

#include "capture/capwrite.h"
#include "capture/mono.h"

#include <stdarg.h>
#include <sys/eventfd.h>

#define NOISE_BYTES (1u << 20)
/* A paced source may be late by so much and still keep its rate. */
#define CATCH_UP_NS (10 * SKEP_NSEC_PER_MSEC)

void rig_fail(struct rig *rig, const char *fmt, ...)
{
	va_list ap;

	if (atomic_exchange(&rig->failed, true))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(rig->failure, sizeof(rig->failure), fmt, ap);
	va_end(ap);
}

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static bool is_random(const struct rig_cfg *cfg, uint64_t number)
{
	return cfg->payload == RIG_RANDOM ||
	       (cfg->payload == RIG_PHASES && number / cfg->phase_pkts % 2 == 0);
}

uint32_t rig_frame(const struct rig *rig, uint32_t queue, uint64_t number, uint8_t *buf)
{
	const struct rig_cfg *cfg = &rig->cfg;
	uint64_t h = mix(cfg->seed ^ mix(number * RIG_MAX_WORKERS + queue));
	uint32_t len = cfg->size_min + (uint32_t)(h % (cfg->size_max - cfg->size_min + 1));
	uint64_t head[3] = { 0x0000020000000002u, 0xb588010000000000u, number };

	if (cfg->payload == RIG_ZERO) {
		memset(buf, 0, len);
	} else {
		const uint8_t *from = is_random(cfg, number) ? rig->noise : rig->text;

		for (uint32_t at = 0; at < len;) {
			uint32_t n = SKEP_MIN(len - at, NOISE_BYTES / 2);

			memcpy(buf + at, from + (h >> 20) % (NOISE_BYTES / 2), n);
			at += n;
			h = mix(h);
		}
		/*
		 * the noise itself repeats after a megabyte: let the number make a difference every 256
		 * bytes
		 */
		for (uint32_t at = 0; is_random(cfg, number) && at + 8 <= len; at += 256)
			memcpy(buf + at, &(uint64_t){ mix(h + at) }, 8);
	}
	memcpy(buf, head, SKEP_MIN(len, (uint32_t)sizeof(head)));
	return len;
}

bool rig_wanted(const struct rig *rig, uint64_t number)
{
	return !rig->cfg.reject_every || number % rig->cfg.reject_every != 0;
}

static void check_identity(struct rig *rig, uint32_t w)
{
	const struct cap_lane *lane = &rig->channels[w].lane;
	const struct cap_account *a = &lane->account;
	uint64_t sum = a->stored + a->rejected + cap_account_dropped(a) + a->pending;
	struct cap_account p;

	if (lane->received != sum)
		rig_fail(rig, "worker %u: received %llu, but stored + rejected + dropped + pending is %llu",
			 w, (unsigned long long)lane->received, (unsigned long long)sum);
	cap_account_read(&rig->channels[w].slot, &p);
	if (p.seen != p.stored + p.rejected + cap_account_dropped(&p))
		rig_fail(rig, "worker %u: published seen %llu is not the sum of its parts", w,
			 (unsigned long long)p.seen);
}

/* Cuts the frame into buffers, as multi-buffer XDP and a VLAN tag that was put back do. */
static void cut(struct cap_batch *batch, struct cap_frame *f, uint32_t slot, uint64_t number)
{
	uint8_t *data = (uint8_t *)f->data;
	uint32_t rest;

	if (f->cap_len < 60 || number % 3 == 0)
		return;
	f->frag_first = (uint16_t)batch->frag_n;
	f->len = 12;
	rest = 12;
	if (number % 3 == 1) {
		memcpy(batch->tags[slot], data + 12, 4);
		batch->frags[batch->frag_n++] = (struct cap_frag){ batch->tags[slot], 4 };
		rest = 16;
	} else {
		batch->frags[batch->frag_n++] = (struct cap_frag){ data + rest, 37 };
		rest += 37;
	}
	batch->frags[batch->frag_n++] = (struct cap_frag){ data + rest, f->cap_len - rest };
	f->frag_n = (uint16_t)(batch->frag_n - f->frag_first);
}

static int rig_receive(struct cap_source *head, struct cap_batch *batch)
{
	struct rig_source *src = (struct rig_source *)head;
	struct rig *rig = src->rig;
	const struct rig_cfg *cfg = &rig->cfg;
	uint32_t n = cfg->batch ? cfg->batch : CAP_BATCH;

	if (cfg->n_sources == 1) /* in the middle of a merge the others' frames are on the way */
		check_identity(rig, src->worker);
	if (cfg->each_turn)
		cfg->each_turn(rig, src->worker, src->next);
	batch->n = batch->frag_n = 0;
	if (src->next == cfg->n_pkts || atomic_load(&src->stop))
		return -ENODATA;
	if (cfg->pace_ns) {
		uint64_t now_ns = cap_mono_ns();

		if (now_ns < src->due_ns)
			return 0;
		/* Who was not run for long does not make up for it: a burst has no pace. */
		src->due_ns = SKEP_MAX(src->due_ns, now_ns - CATCH_UP_NS) + cfg->pace_ns;
	}
	for (; batch->n < n && src->next < cfg->n_pkts; batch->n++, src->next++) {
		struct cap_frame *f = &batch->frames[batch->n];
		uint8_t *data = src->bytes + (size_t)batch->n * cfg->size_max;

		memset(f, 0, sizeof(*f));
		f->data = data;
		f->len = f->cap_len = f->wire_len = rig_frame(rig, src->index, src->next, data);
		f->ts_ns = RIG_EPOCH_NS + src->next * cfg->ts_step_ns;
		f->jobs = rig_wanted(rig, src->next) ? UINT64_MAX : 0;
		if (cfg->frags)
			cut(batch, f, batch->n, src->next);
	}
	atomic_store(&src->given, src->next);
	return (int)batch->n;
}

static void rig_release(struct cap_source *head, struct cap_batch *batch)
{
	struct rig_source *src = (struct rig_source *)head;

	/* A view that is kept after release shows. */
	memset(src->bytes, 0xdd, (size_t)batch->n * src->rig->cfg.size_max);
}

static const struct cap_source_ops rig_ops = { .name = "rig",
					       .receive = rig_receive,
					       .release = rig_release };

static void rig_say(void *arg, const char *sentence)
{
	struct rig *rig = arg;

	rig->said++;
	(void)snprintf(rig->last_said, sizeof(rig->last_said), "%s", sentence);
}

/* Made once for each seed in a row: thousands of rigs are made, most with the same. */
static void make_payload(struct rig *rig)
{
	static const char words[][12] = { "GET ",	 "HTTP/1.1\r\n", "Host: ",    "example",
					  ".org",	 "Accept: ",	 "*/*;q=0.8", "\r\n",
					  "Cookie: id=", "Content-",	 "Length: ",  "gzip, ",
					  "deflate",	 "0123",	 "77",	      "x" };
	static uint8_t noise[NOISE_BYTES], text[NOISE_BYTES + 16];
	static uint64_t made_for = UINT64_MAX;
	uint64_t h = rig->cfg.seed + 1;

	rig->noise = noise;
	rig->text = text;
	if (made_for == rig->cfg.seed)
		return;
	made_for = rig->cfg.seed;
	for (uint32_t i = 0; i < NOISE_BYTES; i += 8) {
		h = mix(h);
		memcpy(noise + i, &h, 8);
	}
	for (uint32_t at = 0; at < NOISE_BYTES;) {
		const char *w;

		h = mix(h);
		w = words[h % ARRAY_LEN(words)];
		memcpy(text + at, w, strlen(w));
		at += (uint32_t)strlen(w);
	}
}

static void make_header(struct rig *rig)
{
	size_t n;

	if (!rig->cfg.pcapng) {
		cap_capwrite_pcap_header(rig->header, rig->job.snaplen, 1);
		rig->header_bytes = CAP_CAPWRITE_PCAP_HEADER_BYTES;
		return;
	}
	n = cap_capwrite_shb(rig->header, sizeof(rig->header),
			     &(struct cap_capwrite_shb){ .application = "rig" });
	for (uint32_t i = 0; i < SKEP_MAX(rig->cfg.n_workers, rig->cfg.n_sources); i++)
		n += cap_capwrite_idb(rig->header + n, sizeof(rig->header) - n,
				      &(struct cap_capwrite_idb){
					      .linktype = 1, .snaplen = rig->job.snaplen, .name = "rig" });
	rig->header_bytes = (uint32_t)n;
}

static void make_output(struct rig *rig)
{
	struct cap_output *out = &rig->output;

	out->pcapng = rig->cfg.pcapng;
	out->compressed = !rig->cfg.plain;
	assert_int_equal(cap_output_open(out, rig->dir, NULL), 0);
	out->sidecar = rig->cfg.sidecar;
	out->direct_io = rig->cfg.buffered ? CAP_OFF : CAP_AUTO;
	out->reserve_bytes = rig->cfg.reserve_bytes;
	out->keep_files = rig->cfg.keep_files;
	if (rig->cfg.stream_fd > 0) {
		out->kind = CAP_OUTPUT_STREAM;
		out->stream_fd = fcntl(rig->cfg.stream_fd, F_DUPFD_CLOEXEC, 3);
		assert_true(out->stream_fd >= 0);
	}
}

static void make_job(struct rig *rig)
{
	const struct rig_cfg *cfg = &rig->cfg;
	struct cap_job *job = &rig->job;

	cap_job_init(job);
	job->pcapng = cfg->pcapng;
	job->snaplen = cfg->snaplen ? cfg->snaplen : CAP_SNAPLEN_MAX;
	job->limits_pkts = cfg->limit_pkts > 0;
	atomic_store(&job->budget->pkts_left, (int64_t)cfg->limit_pkts);
	job->limits_bytes = cfg->limit_bytes > 0;
	atomic_store(&job->budget->bytes_left, (int64_t)cfg->limit_bytes);
	job->duration_ns = cfg->duration_ns;
	job->clock_from_packets = true;
	job->rotate_raw_bytes = cfg->rotate_raw;
	job->rotate_disk_bytes = cfg->rotate_disk;
	job->rotate_ns = cfg->rotate_ns;
}

static void make_source(struct rig *rig, uint32_t worker, uint32_t i)
{
	struct rig_source *src = &rig->sources[i];

	src->head = (struct cap_source){
		.ops = rig->cfg.ops ? rig->cfg.ops : &rig_ops,
		.tap = &rig->tap,
		.queue = i,
	};
	src->rig = rig;
	src->index = i;
	src->worker = worker;
	src->bytes = malloc((size_t)CAP_BATCH * rig->cfg.size_max + 1);
	assert_non_null(src->bytes);
	rig->worker_sources[i] =
		(struct cap_worker_source){ .src = &src->head, .interface_id = rig->cfg.pcapng ? i : 0 };
}

static void make_worker(struct rig *rig, uint32_t i)
{
	const struct rig_cfg *cfg = &rig->cfg;
	struct cap_worker *w = &rig->workers[i];
	struct cap_lane *lane = &rig->channels[i].lane;

	(void)snprintf(w->name, sizeof(w->name), "worker-%u", i % RIG_MAX_WORKERS);
	w->cpu = -1;
	w->numa_node = -1;
	w->pool_blocks = cfg->pool_blocks;
	w->io = cfg->io;
	w->sources = &rig->worker_sources[i];
	w->n_sources = cfg->n_sources;
	for (uint32_t k = 0; k < cfg->n_sources; k++)
		make_source(rig, i, i + k);
	w->lossless = !cfg->lossy;
	w->pack_threads = cfg->plain ? 0 : cfg->pack_threads;
	w->sleep_max_ns = cfg->sleep_max_ns ? cfg->sleep_max_ns : CAP_SLEEP_MAX_NS;
	lane->job = &rig->job;
	lane->files = &rig->keeper_lanes[i].files;
	lane->compressed = !cfg->plain;
	lane->header_raw_bytes = lane->segment_raw_bytes = rig->header_bytes;
	cap_level_init(&lane->level, !cfg->fixed_level && !cfg->plain, cfg->level);
	assert_int_equal(cap_worker_init(w, NULL), 0);
	assert_int_equal(cap_channel_init(&rig->channels[i], w, NULL), 0);
}

static void make_keeper_lane(struct rig *rig, uint32_t i)
{
	struct cap_keeper_lane *kl = &rig->keeper_lanes[i];

	kl->output = &rig->output;
	kl->job = &rig->job;
	kl->tap = &rig->tap;
	kl->template = (struct cap_sidecar)CAP_SIDECAR_NULL;
	kl->template.link = "rig";
	kl->template.format = rig->cfg.pcapng ? "pcapng" : "pcap";
	kl->template.compression = rig->cfg.plain ? "none" : "zstd";
	(void)snprintf(kl->link, sizeof(kl->link), "rig");
	kl->queue = i;
	kl->header_bytes = rig->header_bytes;
	memcpy(kl->header, rig->header, rig->header_bytes);
}

struct rig *rig_new(const struct rig_cfg *cfg, struct skep_err *err)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	rig->cfg = *cfg;
	if (!rig->cfg.pool_blocks)
		rig->cfg.pool_blocks = 32;
	if (!rig->cfg.n_workers)
		rig->cfg.n_workers = 1;
	if (!rig->cfg.n_sources)
		rig->cfg.n_sources = 1;
	assert_true(rig->cfg.n_sources == 1 || (rig->cfg.n_workers == 1 && rig->cfg.pcapng));
	if (!rig->cfg.ts_step_ns)
		rig->cfg.ts_step_ns = 1000;
	if (!rig->cfg.io)
		rig->cfg.io = &cap_io_kernel;
	if (!rig->cfg.stuck_ms)
		rig->cfg.stuck_ms = 3000;
	assert_true(rig->cfg.n_workers <= RIG_MAX_WORKERS && rig->cfg.size_min <= rig->cfg.size_max);
	(void)snprintf(rig->dir, sizeof(rig->dir), "%s/skep-path-XXXXXX", cfg->base ? cfg->base : "/dev/shm");
	assert_non_null(mkdtemp(rig->dir));
	make_payload(rig);
	make_job(rig);
	make_header(rig);
	make_output(rig);
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		make_keeper_lane(rig, i);
		make_worker(rig, i);
	}
	rig->keeper.io = rig->cfg.io;
	rig->keeper.stop_when_full = rig->cfg.stop_when_full;
	rig->keeper.retry_ns = rig->cfg.retry_ns ? rig->cfg.retry_ns : 2 * SKEP_NSEC_PER_MSEC;
	rig->keeper.say = rig_say;
	rig->keeper.say_arg = rig;
	assert_int_equal(cap_keeper_init(&rig->keeper, NULL), 0);
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		if (cap_keeper_open(&rig->keeper, &rig->keeper_lanes[i], err) != 0) {
			rig_free(rig);
			return NULL;
		}
	return rig;
}

void rig_start(struct rig *rig)
{
	assert_int_equal(cap_keeper_start(&rig->keeper, NULL), 0);
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		assert_int_equal(cap_worker_add(&rig->workers[i], &rig->channels[i], NULL), 0);
		assert_int_equal(cap_worker_start(&rig->workers[i], NULL), 0);
	}
}

static bool all_done(struct rig *rig)
{
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		if (!cap_worker_done(&rig->workers[i]))
			return false;
	return true;
}

static uint64_t progress(struct rig *rig)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		struct cap_account a;

		cap_account_read(&rig->channels[i].slot, &a);
		sum += a.stored + a.bytes_disk;
	}
	for (uint32_t i = 0; i < RIG_MAX_WORKERS; i++)
		sum += atomic_load(&rig->sources[i].given);
	return sum;
}

static void ask(struct rig *rig, enum cap_worker_state state)
{
	for (uint32_t i = 0; i < RIG_MAX_WORKERS; i++)
		atomic_store(&rig->sources[i].stop, true);
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		cap_worker_ask(&rig->workers[i], state);
}

/*
 * Being stuck is measured in turns of this loop, a millisecond at least each: on a machine that is busy with
 * something else it gets as few of them as the worker that it judges.
 */
void rig_wait(struct rig *rig)
{
	uint64_t last = 0;
	uint32_t still = 0;

	while (!all_done(rig)) {
		uint64_t now = progress(rig);

		(void)usleep(1000);
		still = now == last ? still + 1 : 0;
		last = now;
		if (atomic_load(&rig->job.done) && !rig->stopped) {
			ask(rig, CAP_WORKER_DRAIN);
			rig->stopped = true;
		}
		if (still < rig->cfg.stuck_ms)
			continue;
		ask(rig, rig->stopped ? CAP_WORKER_ABORT : CAP_WORKER_DRAIN);
		rig->aborted |= rig->stopped;
		rig->stopped = true;
		still = 0;
	}
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++)
		cap_worker_join(&rig->workers[i]);
	cap_keeper_stop(&rig->keeper);
}

void rig_stop(struct rig *rig)
{
	rig->stopped = true;
	ask(rig, CAP_WORKER_DRAIN);
}

void rig_run(struct rig *rig)
{
	rig_start(rig);
	rig_wait(rig);
}

void rig_free(struct rig *rig)
{
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		cap_worker_join(&rig->workers[i]);
		cap_channel_fini(&rig->channels[i]);
		cap_worker_fini(&rig->workers[i]);
	}
	for (uint32_t i = 0; i < RIG_MAX_WORKERS; i++)
		free(rig->sources[i].bytes);
	cap_keeper_fini(&rig->keeper);
	cap_output_close(&rig->output);
	(void)nftw(rig->dir, tool_unlink, 16, FTW_DEPTH | FTW_PHYS);
	free(rig);
}

void rig_totals(struct rig *rig, struct cap_account *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		struct cap_files *files = &rig->keeper_lanes[i].files;
		uint64_t lost = atomic_load(&files->lost_pkts);
		struct cap_account a;

		cap_account_read(&rig->channels[i].slot, &a);
		cap_account_add(ret, &a);
		ret->stored -= lost;
		ret->dropped[CAP_DROP_WRITE_ERROR] += lost;
		ret->bytes_wire -= atomic_load(&files->lost_bytes_wire);
		ret->bytes_raw -= atomic_load(&files->lost_bytes_raw);
	}
}

void rig_assert_ok(struct rig *rig)
{
	struct cap_account a;
	uint64_t received = 0;

	for (uint32_t i = 0; i < rig->cfg.n_workers; i++) {
		check_identity(rig, i);
		received += rig->channels[i].lane.received;
	}
	if (atomic_load(&rig->failed))
		fail_msg("%s", rig->failure);
	rig_totals(rig, &a);
	assert_int_equal(a.seen, a.stored + a.rejected + cap_account_dropped(&a));
	if (all_done(rig)) {
		assert_int_equal(a.pending, 0);
		assert_int_equal(a.seen, received);
	}
}
