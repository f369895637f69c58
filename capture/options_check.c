/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What follows from several options together: the kind of output, its format, the source; and the
 * contradictions, as a list of rules that is read from top to bottom. Only looks (stat, isatty), never opens
 * or creates.
 */
#include "capture/jobspec.h"
#include "capture/options.h"

#include <net/if.h>
#include <string.h>
#include <sys/stat.h>

struct rule {
	bool broken;
	const char *text; /* what and why */
	const char *hint; /* what to do */
};

static int first_broken(const struct rule *rules, size_t n, struct skep_err *err)
{
	for (size_t i = 0; i < n; i++) {
		if (!rules[i].broken)
			continue;
		(void)skep_err_set(err, SKEP_E_USAGE, "%s", rules[i].text);
		(void)skep_err_hint(err, "%s", rules[i].hint);
		return SKEP_E_USAGE;
	}
	return 0;
}

static int check_links(const struct cap_options *o, struct skep_err *err)
{
	for (uint32_t i = 0; i < o->links.n; i++) {
		const char *name = o->links.items[i];

		if (name[0] == '\0' || strlen(name) >= IF_NAMESIZE || strpbrk(name, "/ \t\n")) {
			(void)skep_err_set(err, SKEP_E_USAGE, "-i %.80s: cannot be the name of an interface", name);
			return skep_err_hint(err, "-D lists the interfaces"), SKEP_E_USAGE;
		}
		for (uint32_t j = 0; j < i; j++)
			if (strcmp(name, o->links.items[j]) == 0) {
				(void)skep_err_set(err, SKEP_E_USAGE, "-i %s: given twice", name);
				return skep_err_hint(err, "name each interface once"), SKEP_E_USAGE;
			}
	}
	if (o->links.n > CAP_MAX_LINKS)
		return skep_err_set(err, SKEP_E_USAGE, "-i: more than %u interfaces", CAP_MAX_LINKS);
	return 0;
}

static int check_job_name(const struct cap_options *o, struct skep_err *err)
{
	if (cap_jobspec_is_name(o->job))
		return 0;
	(void)skep_err_set(err, SKEP_E_USAGE, "--job %.80s: cannot be the name of a job", o->job);
	return skep_err_hint(err, "use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit"), SKEP_E_USAGE;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static void resolve_write_kind(struct cap_options *o)
{
	struct stat st;

	if (!o->write)
		o->write_kind = CAP_WRITE_NONE;
	else if (strcmp(o->write, "-") == 0)
		o->write_kind = CAP_WRITE_STDOUT;
	else if (ends_with(o->write, "/"))
		o->write_kind = CAP_WRITE_DIR;
	else if (stat(o->write, &st) < 0 || S_ISREG(st.st_mode))
		o->write_kind = CAP_WRITE_FILE;
	else
		o->write_kind = S_ISDIR(st.st_mode) ? CAP_WRITE_DIR : CAP_WRITE_DEVICE;
}

/*
 * Format and compression: said by the name of a file; segments in a folder are compressed; a stream is what
 * the options say.
 */
static int resolve_format(struct cap_options *o, struct skep_err *err)
{
	bool file = o->write_kind == CAP_WRITE_FILE;
	bool zst = file && ends_with(o->write, ".zst");
	bool pcapng = file && (ends_with(o->write, ".pcapng") || ends_with(o->write, ".pcapng.zst"));
	bool pcap = file && (ends_with(o->write, ".pcap") || ends_with(o->write, ".pcap.zst"));
	const struct rule rules[] = {
		{ o->write && o->write[0] == '\0', "-w: the name is empty",
		  "name a file, a folder, or - for standard output" },
		{ pcapng && o->format == CAP_FORMAT_PCAP, "--format pcap: the file's name ends in .pcapng",
		  "name it .pcap, or leave --format out" },
		{ pcap && o->format == CAP_FORMAT_PCAPNG, "--format pcapng: the file's name ends in .pcap",
		  "name it .pcapng, or leave --format out" },
		{ file && !zst && o->level != CAP_LEVEL_AUTO,
		  "--level: the file's name does not end in .zst, so it is not compressed",
		  "name it .pcap.zst, or leave --level out" },
		{ o->write_kind == CAP_WRITE_STDOUT && o->command == CAP_COMMAND_CAPTURE &&
			  isatty(STDOUT_FILENO),
		  "-w -: standard output is a terminal, and packets are not text",
		  "pipe it: skep-capture … -w - | tcpdump -r - -n" },
	};

	if (o->format < 0)
		o->format = pcapng ? CAP_FORMAT_PCAPNG : CAP_FORMAT_PCAP;
	o->compressed =
		zst || o->write_kind == CAP_WRITE_DIR || (!file && o->write && o->level != CAP_LEVEL_AUTO);
	return first_broken(rules, ARRAY_LEN(rules), err);
}

static int check_output(const struct cap_options *o, struct skep_err *err)
{
	bool rotates = o->rotate_ns || o->rotate_raw_bytes;
	bool stream = o->write_kind == CAP_WRITE_STDOUT || o->write_kind == CAP_WRITE_DEVICE;
	const struct rule rules[] = {
		{ !o->write && o->command == CAP_COMMAND_CAPTURE, "-w is missing: skep-capture stores packets, it does not print them",
		  "name a file (-w out.pcap.zst), or print with tcpdump: -w - | tcpdump -r - -n" },
		{ o->keep_files && !rotates, "-b files: nothing says when the next file begins",
		  "add -b duration:SECONDS or -b filesize:KB" },
		{ stream && (rotates || o->keep_files), "-b: standard output and devices cannot be rotated",
		  "write to a file or a folder, or leave -b out" },
		{ o->write_kind == CAP_WRITE_STDOUT && o->stats == CAP_STATS_JSON,
		  "--stats json: its line goes to standard output, and so do the packets of -w -",
		  "write the packets to a file, or leave --stats json out" },
		{ stream && o->direct_io == CAP_ON, "--direct-io on: standard output and devices have no direct I/O",
		  "write to a file or a folder, or leave --direct-io out" },
		{ o->quiet && o->verbose, "-q and -v contradict each other", "give one of them" },
	};

	return first_broken(rules, ARRAY_LEN(rules), err);
}

static bool same_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return a && b && stat(a, &sa) == 0 && stat(b, &sb) == 0 && S_ISREG(sa.st_mode) &&
	       sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* Which source, and that only one was named. */
static int resolve_source(struct cap_options *o, struct skep_err *err)
{
	const struct rule rules[] = {
		{ o->read_file && o->links.n, "-r and -i: packets come either from a file or from a link", "leave one of them out" },
		{ o->stream_command && o->links.n, "--stream-command and -i: packets come either from a command or from a link",
		  "leave one of them out" },
		{ o->stream_command && o->read_file, "--stream-command and -r: packets come either from a command or from a file",
		  "leave one of them out" },
		{ o->read_file && o->source != CAP_SOURCE_AUTO && o->source != CAP_SOURCE_FILE,
		  "-r: a file is read by --source file only", "leave --source out" },
		{ o->stream_command && o->source != CAP_SOURCE_AUTO && o->source != CAP_SOURCE_STREAM,
		  "--stream-command: a command is read by --source stream only", "leave --source out" },
		{ o->source == CAP_SOURCE_FILE && !o->read_file, "--source file: no file is named", "add -r FILE" },
		{ o->source == CAP_SOURCE_STREAM && o->links.n, "--source stream: reads standard input or --stream-command, not -i",
		  "leave -i out" },
		{ o->read_file && o->read_file[0] == '\0', "-r: the name is empty", "name a file, or - for standard input" },
		{ o->stream_command && o->stream_command[0] == '\0', "--stream-command: the command is empty",
		  "leave it out to read standard input with --source stream" },
		{ same_file(o->read_file, o->write), "-r and -w name the same file, which would be overwritten while it is read",
		  "write to another file" },
	};
	int r = first_broken(rules, ARRAY_LEN(rules), err);

	if (r)
		return r;
	if (o->read_file)
		o->source = CAP_SOURCE_FILE;
	else if (o->stream_command)
		o->source = CAP_SOURCE_STREAM;
	return 0;
}

static int check_nic_options(const struct cap_options *o, struct skep_err *err)
{
	bool nic = o->source != CAP_SOURCE_FILE && o->source != CAP_SOURCE_STREAM;
	const struct rule rules[] = {
		{ nic && !o->links.n &&
			  (o->command == CAP_COMMAND_CAPTURE || o->command == CAP_COMMAND_CHECK),
		  "-i is missing: no link to capture on", "-D lists the links; -r reads a file" },
		{ !nic && o->n_queues, "--queues: only a link has receive queues",
		  "leave it out, or give -i" },
		{ !nic && o->xdp_mode != CAP_XDP_AUTO, "--xdp: only a link has XDP",
		  "leave it out, or give -i" },
		{ !nic && o->zero_copy == CAP_ON, "--zero-copy on: only a link has zero copy",
		  "leave it out, or give -i" },
		{ !nic && o->role != CAP_ROLE_DEFAULT, "--link-role: only a link has a role",
		  "leave it out, or give -i" },
		{ !nic && o->timestamps != CAP_TS_AUTO,
		  "--timestamps: the packets bring their time stamps along", "leave it out, or give -i" },
		{ !nic && o->busy_poll, "--busy-poll: only a link can be polled",
		  "leave it out, or give -i" },
		{ !nic && o->no_need_wakeup, "--no-need-wakeup: only a link has a driver",
		  "leave it out, or give -i" },
		{ !nic && o->no_promisc, "-p: only a link has a promiscuous mode",
		  "leave it out, or give -i" },
		{ !nic && o->force, "--force: only a link can be taken away from the host",
		  "leave it out, or give -i" },
	};

	return first_broken(rules, ARRAY_LEN(rules), err);
}

static int check_source_options(const struct cap_options *o, struct skep_err *err)
{
	bool afpacket = o->source == CAP_SOURCE_AFPACKET, mirror = o->source == CAP_SOURCE_MIRROR;
	/* What passes packets on to the host is never AF_XDP. */
	bool no_xsk = afpacket || mirror || o->role == CAP_ROLE_HOST;
	static const char no_xsk_hint[] = "use --source xdp and --link-role tap, or leave it out";
	const struct rule rules[] = {
		{ afpacket && o->xdp_mode != CAP_XDP_AUTO, "--xdp: --source afpacket does not use XDP", "leave one of them out" },
		{ o->source == CAP_SOURCE_XDP && o->role == CAP_ROLE_HOST,
		  "--link-role host: --source xdp takes the packets away from the host", "use --source mirror or afpacket" },
		{ mirror && o->role == CAP_ROLE_TAP, "--link-role tap: --source mirror passes every packet on to the host",
		  "use --source xdp, or --link-role host" },
		{ no_xsk && o->zero_copy == CAP_ON, "--zero-copy on: only AF_XDP on a tap link has zero copy", no_xsk_hint },
		{ no_xsk && o->n_queues, "--queues: only AF_XDP on a tap link can choose receive queues", no_xsk_hint },
		{ no_xsk && o->busy_poll, "--busy-poll: only AF_XDP on a tap link is polled", no_xsk_hint },
		{ no_xsk && o->no_need_wakeup, "--no-need-wakeup: only AF_XDP on a tap link has it", no_xsk_hint },
		{ o->zero_copy == CAP_ON && o->xdp_mode == CAP_XDP_GENERIC,
		  "--zero-copy on: generic XDP runs behind the driver and always copies", "use --xdp native" },
		{ o->force && o->role == CAP_ROLE_HOST, "--force: a host link is not taken away from anybody",
		  "leave one of them out" },
	};

	return first_broken(rules, ARRAY_LEN(rules), err);
}

/* What belongs to one job is said on the socket. */
static int check_serve(const struct cap_options *o, struct skep_err *err)
{
	bool limits = o->stop_pkts || o->stop_ns || o->stop_raw_bytes || o->rotate_ns ||
		      o->rotate_raw_bytes || o->keep_files;
	const struct rule rules[] = {
		{ o->serve[0] == '\0', "--serve: the name of the socket is empty", "name a file" },
		{ o->links.n == 0, "--serve: jobs are for links", "give -i" },
		{ o->write_kind != CAP_WRITE_DIR, "--serve: each job gets a folder of its own below -w",
		  "name an existing folder with -w" },
		{ o->filter != NULL, "--serve: a filter belongs to a job", "give it on the socket, with the job" },
		{ limits, "--serve: -c, -a and -b belong to a job", "give them on the socket, with the job" },
		{ o->trim.kind || o->snaplen != CAP_SNAPLEN_MAX, "--serve: -s and --trim belong to a job",
		  "give them on the socket, with the job" },
		{ o->inside || o->decap || flt_reduction_any(&o->reduction),
		  "--serve: --inside, --decap, --sample and --cut-off belong to a job",
		  "give them on the socket, with the job" },
	};

	return first_broken(rules, ARRAY_LEN(rules), err);
}

int cap_options_resolve(struct cap_options *o, struct skep_err *err)
{
	int r;

	resolve_write_kind(o);
	r = check_links(o, err);
	if (r == 0 && o->serve)
		r = check_serve(o, err);
	if (r == 0)
		r = check_job_name(o, err);
	if (r == 0)
		r = resolve_source(o, err);
	if (r == 0)
		r = check_nic_options(o, err);
	if (r == 0)
		r = check_source_options(o, err);
	if (r == 0)
		r = resolve_format(o, err);
	return r ? r : check_output(o, err);
}
