/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line of `skep-capture extract`. Needs no privilege but to read the files.
 */
#include "capture/extract.h"

#include "common/opts.h"
#include "common/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

struct options {
	const char *write;
	const char *filter;
	const char *list;
	uint64_t from_ns, to_ns, skip_bytes;
	int format, stats;
	uint32_t threads;
};

static int parse_from(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	return skep_parse_time(what, value, &((struct options *)cfg)->from_ns, err);
}

static int parse_to(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	return skep_parse_time(what, value, &((struct options *)cfg)->to_ns, err);
}

static const char *const formats[] = { "pcap", "pcapng", NULL };
static const char *const stats[] = { "text", "json", "none", NULL };

/* More would not be fed by one that merges; and who captures on the machine comes first. */
#define THREADS_DEFAULT_MAX 4
#define THREADS_MAX 16

static uint32_t threads_default(void)
{
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	return n > 1 ? (uint32_t)SKEP_MIN(n, THREADS_DEFAULT_MAX) : 0;
}

#define FIELD(f) .offset = offsetof(struct options, f)

static const struct skep_opt table[] = {
	{ .name = "write", .letter = 'w', .type = SKEP_OPT_STRING, .arg = "FILE|-", FIELD(write), .fallback = "-",
	  .help = "write there, uncompressed" },
	{ .name = "from", .type = SKEP_OPT_CALL, .arg = "TIME", .call = parse_from,
	  .help = "packets from this moment on: 2026-11-21T14:41:08.5Z, or @SECONDS since 1970" },
	{ .name = "to", .type = SKEP_OPT_CALL, .arg = "TIME", .call = parse_to, .help = "and up to this moment" },
	{ .name = "filter", .letter = 'f', .type = SKEP_OPT_STRING, .arg = "FILTER", FIELD(filter),
	  .help = "only what matches this tcpdump expression" },
	{ .name = "format", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = formats, FIELD(format), .fallback = "pcap",
	  .help = "file format; pcapng keeps the links apart" },
	{ .name = "list", .type = SKEP_OPT_STRING, .arg = "FILE|-", FIELD(list),
	  .help = "more files, one a line; behind a tab, what their link is to be called" },
	{ .name = "skip", .type = SKEP_OPT_UINT64, .arg = "BYTES", FIELD(skip_bytes),
	  .help = "leave out so many bytes at the beginning of the output, to go on with one that was cut off" },
	{ .name = "threads", .type = SKEP_OPT_UINT32, .arg = "N", .max = THREADS_MAX, FIELD(threads),
	  .fallback = "one for each CPU, 4 at most", .help = "threads that decode ahead; 0: none" },
	{ .name = "stats", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = stats, FIELD(stats), .fallback = "text",
	  .help = "form of the summary on standard error" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
};

static const char *const usage[] = { "[OPTION…] FILE|DIR…", NULL };

static const struct skep_opts opts = {
	.program = "skep-capture extract",
	.usage = usage,
	.about = "Writes the packets of a time span, or that match a filter, out of any number of captures, in order of time. Of "
		 "segments with an index only the blocks are read that can hold such packets.",
	.table = table,
	.n = ARRAY_LEN(table),
};

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode) && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

static int open_output(const char *path, struct skep_err *err)
{
	int fd = strcmp(path, "-") == 0 ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
					: open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	if (fd < 0)
		return skep_err_set(err, -errno, "cannot write to %s: %s", path, strerror(errno));
	if (isatty(fd)) {
		close(fd);
		skep_err_set(err, SKEP_E_USAGE, "standard output is a terminal, and packets are not text");
		skep_err_hint(err, "pipe it: … | tcpdump -r - -n, or write to a file with -w");
		return -SKEP_E_USAGE;
	}
	return fd;
}

static void say(const struct options *o, const struct cap_extract_account *a)
{
	if (o->stats == 0)
		fprintf(stderr,
			"%" PRIu64 " packets written of %" PRIu64 " looked at; %" PRIu64 " of %" PRIu64
			" blocks read, %" PRIu64 " files\n",
			a->written_pkts, a->looked_pkts, a->blocks_read, a->blocks, a->files);
	else if (o->stats == 1)
		fprintf(stderr,
			"{\"written\":%" PRIu64 ",\"looked\":%" PRIu64 ",\"blocks_read\":%" PRIu64
			",\"blocks\":%" PRIu64 ",\"files\":%" PRIu64 ",\"files_unindexed\":%" PRIu64
			",\"bytes\":%" PRIu64 ",\"first_ns\":%" PRIu64 ",\"last_ns\":%" PRIu64 ",\"in_order\":%s}\n",
			a->written_pkts, a->looked_pkts, a->blocks_read, a->blocks, a->files,
			a->files_unindexed, a->bytes, a->written_pkts ? a->first_ns : 0, a->last_ns, a->in_order ? "true" : "false");
}

static int extract(const struct options *o, const struct skep_opts_words *words, struct skep_err *err)
{
	struct cap_extract_cfg cfg = {
		.paths = (const char *const *)words->words,
		.n_paths = (uint32_t)words->n,
		.list = o->list,
		.skip_bytes = o->skip_bytes,
		.from_ns = o->from_ns,
		.to_ns = o->to_ns,
		.filter = o->filter,
		.pcapng = o->format == 1,
		.threads = o->threads,
	};
	struct cap_extract_account account = { 0 };
	_skep_close_ int fd = -1;
	int r;

	if (words->n == 0 && !o->list) {
		skep_err_set(err, SKEP_E_USAGE, "no file is named");
		skep_err_hint(err, "name captures, or folders of them");
		return SKEP_E_USAGE;
	}
	if (o->from_ns > o->to_ns)
		return skep_err_set(err, SKEP_E_USAGE, "--from is later than --to");
	for (int i = 0; i < words->n; i++)
		if (same_file(words->words[i], o->write)) {
			skep_err_set(err, SKEP_E_USAGE, "-w %s: it is also to be read, and would be overwritten", o->write);
			skep_err_hint(err, "write to another file");
			return SKEP_E_USAGE;
		}
	fd = open_output(o->write, err);
	if (fd < 0)
		return err->code;
	cfg.out_fd = fd;
	(void)signal(SIGPIPE, SIG_IGN);
	r = cap_extract(&cfg, &account, err);
	if (r == -EPIPE)
		return 0; /* the reader has had enough */
	if (r == 0)
		say(o, &account);
	return r;
}

int cap_extract_command(int argc, char **argv)
{
	struct options o = { .write = "-", .to_ns = UINT64_MAX, .threads = threads_default() };
	struct skep_opts_words words;
	struct skep_err err = SKEP_ERR_NULL;
	int r = skep_opts_parse(&opts, argc, argv, &o, &words, &err);

	if (r == 0 && words.help) {
		skep_opts_help(&opts, stdout);
		return 0;
	}
	if (r == 0)
		r = extract(&o, &words, &err);
	if (r)
		skep_err_print(stderr, "skep-capture extract", &err);
	return skep_err_exit_code(r);
}
