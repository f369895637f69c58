/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order of things: open what needs privileges, give them up, make files, start threads, capture, detach,
 * drain, report. Everything that can be refused is refused before the link is touched. Control thread.
 */
#include "capture/run.h"

#include "capture/engine.h"
#include "capture/guard.h"
#include "capture/mono.h"
#include "capture/priv.h"
#include "capture/report.h"
#include "capture/serve.h"
#include "common/format.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define WORKER_NICE (-10)

struct run {
	const struct cap_options *opts;
	struct cap_engine engine;
	struct cap_engine_job ej;
	struct cap_trim trim;
	struct cap_serve *serve; /* NULL: one job */
	struct cap_guard *guard;
	struct cap_priv_plan plan;
	struct cap_report_live live;
	/* report */
	char **files;
	uint32_t n_files;
	char links[CAP_MAX_LINKS][200];
	const char *link_ptrs[CAP_MAX_LINKS];
	const char *reason_ptrs[CAP_REASONS_MAX];
	struct cap_engine_totals totals;
};

static void run_say(void *arg, const char *sentence)
{
	struct run *run = arg;

	cap_report_live_clear(&run->live);
	if (!run->opts->quiet)
		skep_log(SKEP_LOG_INFO, "%s", sentence);
	if (run->serve)
		cap_serve_say(run->serve, sentence);
}

static void fill_source(struct run *run, struct cap_source_cfg *cfg, const char *link)
{
	const struct cap_options *o = run->opts;

	*cfg = (struct cap_source_cfg){
		.link = link,
		.stream_command = o->stream_command,
		.kind = (enum cap_source_kind)o->source,
		.role = (enum cap_role)o->role,
		.xdp_mode = (enum cap_xdp_mode)o->xdp_mode,
		.zero_copy = (enum cap_tristate)o->zero_copy,
		.timestamps = (enum cap_timestamps)o->timestamps,
		.promisc = !o->no_promisc,
		.force = o->force,
		.busy_poll = o->busy_poll,
		.need_wakeup = !o->no_need_wakeup,
		.snaplen = o->snaplen == CAP_SNAPLEN_MAX ? 0 : o->snaplen,
		.serves = o->serve != NULL,
		.job_filters = o->serve || (o->filter && *o->filter) || flt_reduction_any(&o->reduction),
		.n_queues = o->n_queues,
		.say = run_say,
		.say_arg = run,
	};
	memcpy(cfg->queues, o->queues, sizeof(cfg->queues));
}

static void fill_engine(struct run *run)
{
	const struct cap_options *o = run->opts;
	struct cap_engine_cfg *cfg = &run->engine.cfg;
	struct cap_job *job = &run->ej.job;

	for (uint32_t i = 0; i < o->links.n && i < CAP_MAX_LINKS; i++)
		fill_source(run, &cfg->links[cfg->n_links++], o->links.items[i]);
	if (o->links.n == 0)
		fill_source(run, &cfg->links[cfg->n_links++], o->read_file);
	cfg->n_cpus = o->n_cpus;
	memcpy(cfg->cpus, o->cpus, sizeof(cfg->cpus));
	cfg->loader = o->serve;
	cfg->pool_bytes = o->memory_bytes;
	if (o->serve && cfg->pool_bytes == (uint64_t)CAP_POOL_BLOCKS * CAP_BLOCK_BYTES)
		cfg->pool_bytes *= 2; /* not said: two blocks for each of many jobs, and some to wait in */
	cfg->pack_threads = o->pack_threads;
	run->ej.level_auto = o->level == CAP_LEVEL_AUTO;
	run->ej.level = o->level == 0 ? CAP_LEVEL_STORE : o->level;
	cfg->stop_when_full = o->on_full == CAP_FULL_STOP;
	cfg->digest = o->digest;
	cfg->say = run_say;
	cfg->say_arg = run;

	cap_job_init(job);
	(void)snprintf(job->name, sizeof(job->name), "%s", o->job ? o->job : "");
	job->filter_text = o->filter;
	job->snaplen = o->snaplen;
	run->trim = o->trim;
	run->ej.inside = o->inside;
	run->ej.decap = o->decap;
	run->ej.reduction = o->reduction;
	job->trim = o->trim.kind ? &run->trim : NULL;
	job->pcapng = o->format == CAP_FORMAT_PCAPNG;
	job->limits_pkts = o->stop_pkts > 0;
	job->budget->pkts_left = (int64_t)SKEP_MIN(o->stop_pkts, (uint64_t)INT64_MAX);
	job->limits_bytes = o->stop_raw_bytes > 0;
	job->budget->bytes_left = (int64_t)SKEP_MIN(o->stop_raw_bytes, (uint64_t)INT64_MAX);
	job->duration_ns = o->stop_ns;
	job->clock_from_packets = o->source == CAP_SOURCE_FILE;
	job->rotate_raw_bytes = o->rotate_raw_bytes;
	job->rotate_ns = o->rotate_ns;
}

static int open_output(struct run *run, struct skep_err *err)
{
	const struct cap_options *o = run->opts;
	struct cap_output *out = &run->ej.output;
	int r;

	out->compressed = o->compressed;
	out->pcapng = o->format == CAP_FORMAT_PCAPNG;
	out->sidecar = true;
	out->digest = o->digest;
	out->direct_io = o->direct_io;
	out->reserve_bytes = o->reserve_bytes;
	out->keep_files = o->keep_files;
	out->numbered = o->rotate_ns || o->rotate_raw_bytes;
	r = cap_output_open(out, o->write, err);
	if (r == 0)
		r = cap_output_check(out, err);
	run->engine.cfg.one_worker = out->kind != CAP_OUTPUT_DIR;
	if (out->kind == CAP_OUTPUT_DIR && !out->numbered)
		run->ej.job.rotate_disk_bytes = CAP_SEGMENT_DISK_BYTES;
	return r;
}

static void describe_links(struct run *run)
{
	for (uint32_t i = 0; i < run->engine.n_taps; i++) {
		(void)snprintf(run->links[i], sizeof(run->links[i]), "%s: %s", run->engine.taps[i]->link,
			       run->engine.taps[i]->how);
		run->link_ptrs[i] = run->links[i];
	}
}

static void list_files(struct run *run)
{
	struct cap_engine *engine = &run->engine;
	const char *dir = run->ej.output.dir;

	run->files = calloc(engine->keeper.n_kept + 1, sizeof(*run->files));
	for (size_t i = 0; run->files && i < engine->keeper.n_kept; i++) {
		const struct cap_kept *k = &engine->keeper.kept[i];
		bool bare = run->ej.output.kind == CAP_OUTPUT_STREAM || strcmp(dir, ".") == 0;

		if (asprintf(&run->files[run->n_files], "%s%s%s", bare ? "" : dir, bare ? "" : "/", k->name) > 0)
			run->n_files++;
	}
}

static struct cap_report make_report(struct run *run)
{
	struct cap_engine *engine = &run->engine;
	struct cap_engine_totals *t = &run->totals;
	struct cap_report report;

	cap_engine_totals(engine, &run->ej, t);
	report = (struct cap_report){
		.seen = t->account.seen,
		.stored = t->account.stored,
		.rejected = t->account.rejected,
		.sampled_out = t->account.sampled_out,
		.cut_off = t->account.cut_off,
		.bytes_wire = t->account.bytes_wire,
		.bytes_raw = t->account.bytes_raw,
		.bytes_disk = t->account.bytes_disk,
		.duration_ns = t->duration_ns,
		.files = (const char *const *)run->files,
		.n_files = run->n_files,
		.links = run->link_ptrs,
		.n_links = engine->n_taps,
		.reasons = run->reason_ptrs,
		.n_reasons = t->n_reasons,
		.complete = t->complete,
		.compressed = run->ej.output.compressed,
		.has_level = run->ej.output.compressed && t->level_now != CAP_LEVEL_STORE,
		.level_last = t->level_now,
	};
	for (unsigned i = 0; i < CAP_DROP_N; i++)
		if (t->account.dropped[i])
			report.dropped[report.n_dropped++] =
				(struct cap_report_drop){ cap_drop_name((enum cap_drop)i),
							  t->account.dropped[i] };
	for (uint32_t i = 0; i < t->n_reasons; i++)
		run->reason_ptrs[i] = t->reasons[i];
	return report;
}

static void tick(void *arg, struct cap_engine *engine)
{
	struct run *run = arg;
	struct cap_report report;

	(void)engine;
	if (!run->live.on)
		return;
	report = make_report(run);
	cap_report_live(&run->live, &report, cap_mono_ns());
}

static void say_check(struct run *run)
{
	struct cap_engine *engine = &run->engine;
	const struct cap_output *out = &run->ej.output;
	char name[300] = "", plan[256], reserve[SKEP_FORMAT_MAX];

	for (uint32_t i = 0; i < engine->n_taps; i++)
		printf("capture  %s\n", run->links[i]);
	printf("filter   %s\n", run->opts->filter && *run->opts->filter ? run->opts->filter : "none: every packet");
	for (uint32_t i = 0; i < engine->n_workers; i++)
		printf("worker   %u: %u source%s, CPU %d, NUMA node %d, %u MiB of blocks\n", i, engine->workers[i].n_sources,
		       engine->workers[i].n_sources == 1 ? "" : "s", engine->workers[i].cpu, engine->workers[i].numa_node,
		       engine->workers[i].pool_blocks);
	if (run->serve) {
		printf("serve    %s: jobs' files go to folders below %s\n", run->opts->serve, out->dir);
		printf("user     %s\n", cap_priv_describe(&run->plan, plan, sizeof(plan)));
		return;
	}
	if (out->kind == CAP_OUTPUT_STREAM)
		(void)snprintf(name, sizeof(name), "%s", out->stem);
	else
		cap_output_name(
			out, engine->taps[0]->link, run->ej.keeper_lanes[0].queue,
			cap_output_first_seq(out, engine->taps[0]->link, run->ej.keeper_lanes[0].queue), name,
			sizeof(name));
	printf("write    %s%s%s, %s, %s\n", out->kind == CAP_OUTPUT_STREAM ? "" : out->dir,
	       out->kind == CAP_OUTPUT_STREAM ? "" : "/", name, out->pcapng ? "pcapng" : "pcap",
	       out->compressed ? "zstd" : "not compressed");
	if (out->kind != CAP_OUTPUT_STREAM)
		printf("reserve  %s are kept free\n", skep_format_size(reserve, out->reserve_bytes));
	printf("user     %s\n", cap_priv_describe(&run->plan, plan, sizeof(plan)));
}

static bool is_live(const struct cap_options *o)
{
	return o->links.n > 0;
}

/* The links are ours from here on; what an engine that was killed has left changed is put back first. */
static int claim_links(struct run *run, struct skep_err *err)
{
	struct cap_guard_cfg cfg = { .say = run_say, .say_arg = run };
	struct skep_err why = SKEP_ERR_NULL;
	int r = cap_guard_start(&cfg, &run->guard, &why);

	if (r) {
		skep_log(SKEP_LOG_DEBUG, "offloads of the links are left as they are: %s", why.text);
		return 0;
	}
	for (uint32_t i = 0; i < run->opts->links.n; i++) {
		if (strcmp(run->opts->links.items[i], "any") == 0)
			continue;
		r = cap_guard_claim(run->guard, run->opts->links.items[i], err);
		if (r && r != SKEP_E_NOT_FOUND) /* who opens it knows the names that there are */
			return r;
	}
	return 0;
}

/* On a tap, frames shall be what they were on the wire: not merged by the NIC, and with their VLAN tags. */
static void set_offloads(struct run *run)
{
	static const char *const merging[] = { "rx-lro", "rx-gro-hw" };
	struct skep_err why = SKEP_ERR_NULL;

	for (uint32_t i = 0; run->guard && i < run->engine.n_taps; i++) {
		const struct cap_tap *tap = run->engine.taps[i];

		if (strcmp(tap->ops->name, "xdp") != 0)
			continue; /* a link that serves the host is not touched */
		for (unsigned k = 0; k < ARRAY_LEN(merging); k++)
			(void)cap_guard_offload(run->guard, tap->link, merging[k], false, NULL);
		if (!tap->tags_kept &&
		    cap_guard_offload(run->guard, tap->link, "rx-vlan-hw-parse", false, &why) < 0)
			run_say(run, why.text);
	}
}

static int open_serve(struct run *run, struct skep_err *err)
{
	const struct cap_options *o = run->opts;
	const struct cap_serve_cfg cfg = {
		.socket = o->serve,
		.root = run->ej.output.dir,
		.defaults = { .reserve_bytes = o->reserve_bytes,
			      .direct_io = o->direct_io,
			      .digest = o->digest },
	};
	int r = cap_serve_open(&cfg, &run->serve, err);

	run->engine.keeper.kept_one = cap_serve_kept;
	run->engine.keeper.kept_arg = run->serve;
	return r;
}

static int open_all(struct run *run, struct skep_err *err)
{
	const struct cap_output *out = &run->ej.output;
	struct cap_priv_cfg priv = { .user = run->opts->user };
	int r;

	r = cap_priv_require((enum cap_source_kind)run->opts->source, err);
	if (r)
		return r;
	r = open_output(run, err);
	if (r)
		return r;
	if (is_live(run->opts) && run->opts->command != CAP_COMMAND_CHECK)
		r = claim_links(run, err);
	if (r == 0)
		r = cap_engine_open(&run->engine, err);
	if (r)
		return r;
	describe_links(run);
	run->trim.linktype = run->engine.taps[0]->linktype;
	r = run->opts->serve ? open_serve(run, err) : cap_engine_add(&run->engine, &run->ej, err);
	if (r)
		return r;
	if (out->kind != CAP_OUTPUT_STREAM)
		priv.out_dir = out->dir;
	return cap_priv_plan(&priv, &run->plan, err);
}

/* Links that do not filter get their jobs' filters compiled here; the loader does it for the others. */
static bool compiles_later(const struct run *run)
{
	for (uint32_t i = 0; run->serve && i < run->engine.n_taps; i++)
		if (!run->engine.taps[i]->filters_jobs)
			return true;
	return false;
}

static int start_all(struct run *run, struct skep_err *err)
{
	int r;

	run->engine.cfg.change_user = run->plan.change_user;
	run->engine.cfg.uid = run->plan.uid;
	run->engine.cfg.gid = run->plan.gid;
	r = cap_engine_attach(&run->engine, err);
	if (r == 0)
		set_offloads(run);
	/*
	 * Ahead of other programs, where that is allowed: a worker that waits loses packets. Threads inherit
	 * it.
	 */
	(void)setpriority(PRIO_PROCESS, 0, WORKER_NICE);
	if (r == 0)
		r = cap_priv_drop(&run->plan, err);
	if (r == 0)
		r = cap_priv_seccomp(run->opts->verbose, compiles_later(run), err);
	describe_links(run); /* attaching may have chosen another mode */
	return r ? r : cap_engine_start(&run->engine, err);
}

static void report_end(struct run *run)
{
	struct cap_report report;
	/* With -w - standard output is the capture. */
	FILE *out = run->opts->write_kind == CAP_WRITE_STDOUT ? stderr : stdout;

	cap_report_live_clear(&run->live);
	list_files(run);
	report = make_report(run);
	if (run->opts->stats == CAP_STATS_JSON)
		(void)cap_report_json(out, &report);
	else
		cap_report_text(stderr, &report);
	(void)fflush(out);
}

static void run_fini(struct run *run)
{
	struct skep_err why = SKEP_ERR_NULL;

	run->serve = cap_serve_close(run->serve); /* still there only where the start failed */
	cap_engine_close(&run->engine);
	if (cap_guard_end(&run->guard, &why))
		skep_log(SKEP_LOG_WARNING, "%s", why.text);
	cap_output_close(&run->ej.output);
	for (uint32_t i = 0; i < run->n_files; i++)
		free(run->files[i]);
	free(run->files);
	free(run);
}

static void say_capturing(struct run *run)
{
	if (!run->opts->quiet)
		for (uint32_t i = 0; i < run->engine.n_taps; i++)
			skep_log(SKEP_LOG_INFO, "capturing on %s", run->links[i]);
}

static int serve_jobs(struct run *run, struct skep_err *err)
{
	int r = cap_serve_start(run->serve, &run->engine, err);

	if (r == 0) {
		say_capturing(run);
		r = cap_serve_run(run->serve) ? 3 : 0;
		if (r && !run->opts->quiet)
			skep_log(SKEP_LOG_WARNING, "%s", run->engine.lost.text);
	} else {
		r = skep_err_exit_code(r);
	}
	cap_engine_stop(&run->engine);
	run->serve = cap_serve_close(run->serve);
	return r;
}

int cap_run(const struct cap_options *opts, struct skep_err *err)
{
	struct run *run = calloc(1, sizeof(*run));
	bool started = false;
	int r;

	if (!run)
		return skep_err_exit_code(skep_err_set(err, -ENOMEM, "no memory"));
	run->opts = opts;
	run->ej.output.dirfd = run->ej.output.stream_fd = -1;
	fill_engine(run);
	r = open_all(run, err);
	if (r == 0 && opts->command == CAP_COMMAND_CHECK) {
		say_check(run);
		run_fini(run);
		return 0;
	}
	if (r == 0) {
		r = start_all(run, err);
		started = r == 0;
	}
	if (started && run->serve) {
		r = serve_jobs(run, err);
	} else if (started) {
		cap_report_live_init(&run->live, stderr, opts->stats == CAP_STATS_TEXT && !opts->quiet,
				     cap_mono_ns());
		say_capturing(run);
		cap_engine_run(&run->engine, &run->ej, run->live.on ? tick : NULL, run);
		cap_engine_stop(&run->engine);
		report_end(run);
		r = run->totals.complete ? 0 : 3;
	} else {
		r = skep_err_exit_code(r);
	}
	run_fini(run);
	return r;
}
