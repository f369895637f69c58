/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one table of skep-capture's options: it parses and it writes --help. Letters are tcpdump's and
 * dumpcap's.
 * Values are checked here one by one, against each other in options_check.c. Opens nothing but the filter
 * file, prints nothing.
 * Control thread, before anything else.
 */
#include "capture/options.h"

#include "capture/decap.h"
#include "capture/filter/inside.h"
#include "common/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* A filter longer than this is refused by the compiler's front anyway. */
#define FILTER_MAX_BYTES (64u * CAP_KIB)
/* The pool must hold what the writer keeps in flight and one block to fill: 12 + some. */
#define MEMORY_MIN_BYTES (16ull * CAP_MIB)
#define MEMORY_MAX_BYTES (64ull * 1024 * CAP_MIB)
#define RESERVE_BYTES (256ull * CAP_MIB)

/* "filesize:" counts in kB of 1000 bytes as dumpcap does, unless a unit is given. */
static int parse_filesize(const char *what, const char *text, uint64_t *ret, struct skep_err *err)
{
	uint64_t bytes;
	int r;

	if (text[0] && text[strspn(text, "0123456789")] == '\0') {
		r = skep_parse_uint(what, text, 1, UINT64_MAX / 1000, &bytes, err);
		bytes = r ? 0 : bytes * 1000;
	} else {
		r = skep_parse_size(what, text, &bytes, err);
	}
	if (r)
		return r;
	if (bytes < 1000) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s filesize:%s: less than 1 kB", what, text);
		return skep_err_hint(err, "a number without a unit is kB, as in dumpcap"), SKEP_E_USAGE;
	}
	*ret = bytes;
	return 0;
}

static int parse_positive_duration(const char *what, const char *text, uint64_t *ret, struct skep_err *err)
{
	uint64_t ns;
	int r = skep_parse_duration(what, text, &ns, err);

	if (r)
		return r;
	if (ns == 0) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s duration:%s: no time at all", what, text);
		return skep_err_hint(err, "leave the condition out for no limit"), SKEP_E_USAGE;
	}
	*ret = ns;
	return 0;
}

static int refuse_twice(const char *what, const char *value, struct skep_err *err)
{
	(void)skep_err_set(err, SKEP_E_USAGE, "%s %s: this condition was given before", what, value);
	return skep_err_hint(err, "give each condition once"), SKEP_E_USAGE;
}

/* Text behind "key:", or NULL. */
static const char *value_of(const char *text, const char *key)
{
	size_t n = strlen(key);

	return strncmp(text, key, n) == 0 && text[n] == ':' ? text + n + 1 : NULL;
}

static int parse_stop(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;
	const char *v;

	if ((v = value_of(value, "duration")))
		return o->stop_ns ? refuse_twice(what, value, err)
				  : parse_positive_duration(what, v, &o->stop_ns, err);
	if ((v = value_of(value, "filesize")))
		return o->stop_raw_bytes ? refuse_twice(what, value, err)
					 : parse_filesize(what, v, &o->stop_raw_bytes, err);
	if ((v = value_of(value, "packets")))
		return o->stop_pkts ? refuse_twice(what, value, err)
				    : skep_parse_uint(what, v, 1, INT64_MAX, &o->stop_pkts, err);
	(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" is not a condition to stop", what, value);
	return skep_err_hint(err, "write duration:SECONDS, filesize:KB or packets:N"), SKEP_E_USAGE;
}

static int parse_rotate(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;
	const char *v;

	if ((v = value_of(value, "duration")))
		return o->rotate_ns ? refuse_twice(what, value, err)
				    : parse_positive_duration(what, v, &o->rotate_ns, err);
	if ((v = value_of(value, "filesize")))
		return o->rotate_raw_bytes ? refuse_twice(what, value, err)
					   : parse_filesize(what, v, &o->rotate_raw_bytes, err);
	if ((v = value_of(value, "files"))) {
		uint64_t n = 0;
		int r = o->keep_files ? refuse_twice(what, value, err)
				      : skep_parse_uint(what, v, 1, 1000000, &n, err);

		o->keep_files = r ? o->keep_files : (uint32_t)n;
		return r;
	}
	(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" is not a condition to begin the next file", what, value);
	return skep_err_hint(err, "write duration:SECONDS, filesize:KB or files:N (keep the last N)"), SKEP_E_USAGE;
}

static int parse_count(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;

	if (o->stop_pkts)
		return refuse_twice(what, value, err);
	return skep_parse_uint(what, value, 1, INT64_MAX, &o->stop_pkts, err);
}

static int parse_snaplen(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	uint64_t n;
	int r = skep_parse_uint(what, value, 0, CAP_SNAPLEN_MAX, &n, err);

	if (r == 0) /* 0 is everything, as in tcpdump */
		((struct cap_options *)cfg)->snaplen = n ? (uint32_t)n : CAP_SNAPLEN_MAX;
	return r;
}

static int parse_trim(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	(void)what;
	return cap_trim_parse(value, &((struct cap_options *)cfg)->trim, err);
}

static int parse_inside(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	return flt_inside_parse(what, value, SKEP_INNER_ALL, &((struct cap_options *)cfg)->inside, err);
}

static int parse_decap(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	(void)what;
	return cap_decap_parse(value, &((struct cap_options *)cfg)->decap, err);
}

/* N, N:packet, N:flow */
static int parse_sample(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct flt_reduction *reduction = &((struct cap_options *)cfg)->reduction;
	const char *colon = strchr(value, ':');
	char number[24];
	uint64_t n = 0;
	bool flow = colon && strcmp(colon, ":flow") == 0;

	(void)snprintf(number, sizeof(number), "%.*s", colon ? (int)SKEP_MIN(colon - value, 23) : 23, value);
	if ((colon && !flow && strcmp(colon, ":packet") != 0) ||
	    skep_parse_uint(what, number, 1, UINT32_MAX, &n, NULL)) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" says nothing about how many", what, value);
		return skep_err_hint(err, "write 100 or 100:packet for one packet of 100, 100:flow for one flow of 100"), SKEP_E_USAGE;
	}
	reduction->sample_every = (uint32_t)n;
	reduction->sample_by_flow = flow;
	return 0;
}

/* packets:N, bytes:SIZE; may repeat */
static int parse_cutoff(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct flt_reduction *reduction = &((struct cap_options *)cfg)->reduction;

	if (strncmp(value, "packets:", 8) == 0)
		return skep_parse_uint(what, value + 8, 1, INT64_MAX, &reduction->cutoff_pkts, err);
	if (strncmp(value, "bytes:", 6) == 0)
		return skep_parse_size(what, value + 6, &reduction->cutoff_bytes, err);
	(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" is no limit of a flow", what, value);
	return skep_err_hint(err, "write packets:N or bytes:SIZE"), SKEP_E_USAGE;
}

static int parse_queues(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;
	struct skep_u16_list list = { .items = o->queues, .room = CAP_MAX_QUEUES };
	int r = skep_parse_list(what, value, CAP_MAX_QUEUES - 1, &list, err);

	o->n_queues = r ? 0 : list.n;
	return r;
}

static int parse_cpus(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;
	struct skep_u16_list list = { .items = o->cpus, .room = CAP_MAX_QUEUES };
	/* 8191: CONFIG_NR_CPUS of the largest distribution kernels, minus one. */
	int r = skep_parse_list(what, value, 8191, &list, err);

	o->n_cpus = r ? 0 : list.n;
	return r;
}

static int parse_level(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct cap_options *o = cfg;
	bool negative = value[0] == '-';
	uint64_t n;

	if (strcmp(value, "auto") == 0) {
		o->level = CAP_LEVEL_AUTO;
		return 0;
	}
	if (skep_parse_uint(what, value + negative, 0, negative ? -CAP_LEVEL_LOWEST : CAP_LEVEL_HIGHEST, &n,
			    NULL)) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s: \"%.80s\" is neither auto nor a level from %d to %d", what, value,
				   CAP_LEVEL_LOWEST, CAP_LEVEL_HIGHEST);
		return skep_err_hint(err, "-5 is fast, 1 is usual, 9 is small and slow"), SKEP_E_USAGE;
	}
	o->level = negative ? -(int32_t)n : (int32_t)n;
	return 0;
}

static int parse_memory(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	uint64_t bytes;
	int r = skep_parse_size(what, value, &bytes, err);

	if (r)
		return r;
	if (bytes < MEMORY_MIN_BYTES || bytes > MEMORY_MAX_BYTES) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s: %.80s is out of range", what, value);
		return skep_err_hint(err, "write 16MiB to 64GiB; it is for each worker"), SKEP_E_USAGE;
	}
	((struct cap_options *)cfg)->memory_bytes = bytes / CAP_BLOCK_BYTES * CAP_BLOCK_BYTES;
	return 0;
}

/* In the order of the enums in source.h and options.h: the parsed index is the value. */
static const char *const source_names[] = { "auto", "xdp", "mirror", "afpacket", "file", "stream", NULL };
static const char *const tristate_names[] = { "auto", "on", "off", NULL };
static const char *const switch_names[] = { "off", "on", NULL };
static const char *const role_names[] = { "auto", "tap", "host", NULL };
static const char *const xdp_names[] = { "auto", "native", "generic", NULL };
static const char *const timestamps_names[] = { "auto", "hw", "kernel", NULL };
static const char *const format_names[] = { "pcap", "pcapng", NULL };
static const char *const stats_names[] = { "text", "json", NULL };
static const char *const on_full_names[] = { "wait", "stop", NULL };

#define FIELD(f) .offset = offsetof(struct cap_options, f)

/* Rows that only choose the command go through here: -D, --check, --probe exclude each other. */
static int choose_command(struct cap_options *o, enum cap_command command, const char *what,
			  struct skep_err *err)
{
	if (o->command != CAP_COMMAND_CAPTURE) {
		(void)skep_err_set(err, SKEP_E_USAGE, "%s: -D, --check and --probe exclude each other", what);
		return skep_err_hint(err, "give one of them"), SKEP_E_USAGE;
	}
	o->command = command;
	return 0;
}

static int parse_list(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	(void)value;
	return choose_command(cfg, CAP_COMMAND_LIST, what, err);
}

static int parse_check(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	(void)value;
	return choose_command(cfg, CAP_COMMAND_CHECK, what, err);
}

static int parse_probe(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	(void)value;
	return choose_command(cfg, CAP_COMMAND_PROBE, what, err);
}

static const struct skep_opt table[] = {
	SKEP_OPT_HEADING("What to capture"),
	{ .name = "interface", .letter = 'i', .type = SKEP_OPT_STRINGS, .arg = "IF", FIELD(links),
	  .help = "capture on this interface; may be given several times" },
	{ .name = "read-file", .letter = 'r', .type = SKEP_OPT_STRING, .arg = "FILE", FIELD(read_file),
	  .help = "read packets from a pcap or pcapng file instead; - is standard input" },
	{ .name = "filter-file", .letter = 'F', .type = SKEP_OPT_STRING, .arg = "FILE", FIELD(filter_file),
	  .help = "read the filter from FILE" },
	{ .name = "snapshot-length", .letter = 's', .type = SKEP_OPT_CALL, .arg = "N", .call = parse_snaplen,
	  .fallback = "262144", .help = "keep at most N bytes of each packet; 0 is everything" },
	{ .name = "trim", .type = SKEP_OPT_CALL, .arg = "WHAT", .call = parse_trim,
	  .help = "keep headers only: l4 (through TCP, UDP and the like), l3+N (through IP and N bytes), N (the first N bytes)" },
	{ .name = "inside", .type = SKEP_OPT_CALL, .arg = "KINDS", .call = parse_inside,
	  .help = "let the filter also look at packets inside: vlan,qinq,mpls,gre,erspan,vxlan" },
	{ .name = "decap", .type = SKEP_OPT_CALL, .arg = "KINDS", .call = parse_decap,
	  .help = "store the frame inside instead: gre,erspan,vxlan" },
	{ .name = "sample", .type = SKEP_OPT_CALL, .arg = "N[:flow]", .call = parse_sample,
	  .help = "keep one of N packets, or all packets of one of N flows" },
	{ .name = "cut-off", .type = SKEP_OPT_CALL, .repeat = true, .arg = "LIMIT", .call = parse_cutoff,
	  .help = "keep the beginning of each flow: packets:N, bytes:SIZE, or both" },
	{ .name = "no-promiscuous-mode", .letter = 'p', .type = SKEP_OPT_FLAG, FIELD(no_promisc),
	  .help = "do not ask the interface for packets to other hosts" },
	{ .name = "job", .type = SKEP_OPT_STRING, .arg = "NAME", FIELD(job), .fallback = "capture",
	  .help = "name of the job, as recorded beside each file" },
	{ .name = "serve", .type = SKEP_OPT_STRING, .arg = "SOCKET", FIELD(serve),
	  .help = "take jobs from the UNIX socket SOCKET, up to 64 at a time, until stopped; -w names the folder for their files" },
	SKEP_OPT_HEADING("When to stop, when to begin the next file"),
	{ .name = "count", .letter = 'c', .type = SKEP_OPT_CALL, .arg = "N", .call = parse_count,
	  .help = "stop after exactly N packets" },
	{ .name = "autostop", .letter = 'a', .type = SKEP_OPT_CALL, .repeat = true, .arg = "COND", .call = parse_stop,
	  .help = "stop at duration:SECONDS, filesize:KB (of uncompressed capture) or packets:N; units may be written: "
		  "duration:5m, filesize:2GiB" },
	{ .name = "ring-buffer", .letter = 'b', .type = SKEP_OPT_CALL, .repeat = true, .arg = "COND", .call = parse_rotate,
	  .help = "begin the next file at duration:SECONDS or filesize:KB; files:N keeps the last N" },
	SKEP_OPT_HEADING("Where to write"),
	{ .name = "write", .letter = 'w', .type = SKEP_OPT_STRING, .arg = "FILE|DIR|-", FIELD(write),
	  .help = "write to FILE (compressed if it ends in .zst, pcapng if in .pcapng), to segments for each queue in DIR, "
		  "or to standard output" },
	{ .name = "format", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = format_names, FIELD(format),
	  .help = "file format; the name decides if this is left out" },
	{ .name = "level", .type = SKEP_OPT_CALL, .arg = "auto|N", .call = parse_level, .fallback = "auto",
	  .help = "zstd level, -50 to 9; auto goes down before packets are lost" },
	{ .name = "on-full", .type = SKEP_OPT_CHOICE, .arg = "DO", .choices = on_full_names, FIELD(on_full), .fallback = "wait",
	  .help = "when the disk is full" },
	{ .name = "reserve", .type = SKEP_OPT_SIZE, .arg = "SIZE", FIELD(reserve_bytes), .fallback = "256MiB",
	  .help = "disk space that stays free" },
	{ .name = "direct-io", .type = SKEP_OPT_CHOICE, .arg = "D", .choices = tristate_names, FIELD(direct_io),
	  .fallback = "auto", .help = "write past the page cache" },
	{ .name = "digest", .type = SKEP_OPT_CHOICE, .arg = "D", .choices = switch_names, FIELD(digest), .fallback = "on",
	  .help = "SHA-256 of each file, recorded beside it" },
	SKEP_OPT_HEADING("How to receive"),
	{ .name = "source", .type = SKEP_OPT_CHOICE, .arg = "S", .choices = source_names, FIELD(source), .fallback = "auto",
	  .help = "where packets come from" },
	{ .name = "stream-command", .type = SKEP_OPT_STRING, .arg = "CMD", FIELD(stream_command),
	  .help = "read a pcap stream from this shell command ('ssh switch tcpdump -w -')" },
	{ .name = "link-role", .type = SKEP_OPT_CHOICE, .arg = "R", .choices = role_names, FIELD(role), .fallback = "auto",
	  .help = "tap: the link is there to be captured, nothing of it reaches the host; host: the host needs it too" },
	{ .name = "xdp", .type = SKEP_OPT_CHOICE, .arg = "M", .choices = xdp_names, FIELD(xdp_mode), .fallback = "auto",
	  .help = "where the XDP program runs: in the driver or in the network stack" },
	{ .name = "zero-copy", .type = SKEP_OPT_CHOICE, .arg = "Z", .choices = tristate_names, FIELD(zero_copy),
	  .fallback = "auto", .help = "let the NIC write into our memory" },
	{ .name = "queues", .type = SKEP_OPT_CALL, .arg = "LIST", .call = parse_queues,
	  .help = "only these receive queues (0,2-5)" },
	{ .name = "cpus", .type = SKEP_OPT_CALL, .arg = "LIST", .call = parse_cpus,
	  .help = "run the workers on these CPUs, in this order; else on the NIC's NUMA node" },
	{ .name = "pack-threads", .type = SKEP_OPT_UINT32, .arg = "N", .max = 64, FIELD(pack_threads), .fallback = "0",
	  .help = "threads that compress; 0: each worker does" },
	{ .name = "memory", .type = SKEP_OPT_CALL, .arg = "SIZE", .call = parse_memory, .fallback = "96MiB",
	  .help = "buffers of each worker" },
	{ .name = "timestamps", .type = SKEP_OPT_CHOICE, .arg = "T", .choices = timestamps_names, FIELD(timestamps),
	  .fallback = "auto", .help = "who stamps the time" },
	{ .name = "busy-poll", .type = SKEP_OPT_FLAG, FIELD(busy_poll), .help = "poll the NIC instead of interrupts; uses whole cores" },
	{ .name = "no-need-wakeup", .type = SKEP_OPT_FLAG, FIELD(no_need_wakeup),
	  .help = "let the driver spin for buffers instead of waiting for a call" },
	{ .name = "force", .type = SKEP_OPT_FLAG, FIELD(force),
	  .help = "take a link as tap even if it carries the default route or your connection" },
	{ .name = "user", .letter = 'Z', .type = SKEP_OPT_STRING, .arg = "USER", FIELD(user),
	  .help = "become this user once everything is open (default: who may write the output, you, skep, nobody)" },
	SKEP_OPT_HEADING("What to say"),
	{ .name = "list-interfaces", .letter = 'D', .type = SKEP_OPT_CALL, .call = parse_list,
	  .help = "list the links and what they can do, and end" },
	{ .name = "check", .type = SKEP_OPT_CALL, .call = parse_check, .help = "say what would be done, change nothing, and end" },
	{ .name = "probe", .type = SKEP_OPT_CALL, .call = parse_probe,
	  .help = "print what this machine and the links can do as JSON, and end" },
	{ .name = "stats", .type = SKEP_OPT_CHOICE, .arg = "F", .choices = stats_names, FIELD(stats), .fallback = "text",
	  .help = "form of the summary; json is one object on the last line of standard output" },
	{ .name = "quiet", .letter = 'q', .type = SKEP_OPT_FLAG, FIELD(quiet), .help = "no live line, only warnings and the summary" },
	{ .name = "verbose", .letter = 'v', .type = SKEP_OPT_FLAG, FIELD(verbose), .help = "say more" },
	{ .name = "version", .letter = 'V', .type = SKEP_OPT_VERSION, .help = "show the version" },
	{ .name = "help", .letter = 'h', .type = SKEP_OPT_HELP, .help = "show this text" },
};

static const char *const usage[] = {
	"-i IF… -w FILE|DIR|- [OPTION…] [FILTER]",
	"-r FILE -w FILE [OPTION…] [FILTER]",
	"--stream-command CMD -w FILE [OPTION…] [FILTER]",
	"-i IF… -w DIR --serve SOCKET [OPTION…]",
	"-D | --probe [-i IF]",
	"recover DIR",
	"extract [OPTION…] FILE|DIR…",
	NULL,
};

static const struct skep_opts opts = {
	.program = "skep-capture",
	.usage = usage,
	.about = "Captures packets from links to pcap or pcapng files, at line rate, and accounts for every packet: "
		 "seen = stored + rejected by the filter + dropped (with the reason).",
	.table = table,
	.n = ARRAY_LEN(table),
	.epilogue = "FILTER is a tcpdump expression (pcap-filter(7)). `recover DIR` ends files that a crash left as .part.\n"
		    "Exit codes: 0 done, 1 failed, 2 wrong use, 3 done but incomplete.\n"
		    "Examples:\n"
		    "  skep-capture -i eth1 -w out.pcap.zst 'udp port 443'\n"
		    "  skep-capture -i eth1 -w - -a duration:10 | tcpdump -r - -n\n"
		    "  zstd -dc out.pcap.zst | tcpdump -r -",
};

void cap_options_help(FILE *out)
{
	skep_opts_help(&opts, out);
}

static int read_filter_file(const char *path, char **ret, struct skep_err *err)
{
	_skep_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	_skep_free_ char *text = malloc(FILTER_MAX_BYTES + 1);
	size_t n = 0;
	ssize_t got = fd < 0 || !text ? -1 : 1;

	while (got > 0 && n <= FILTER_MAX_BYTES) {
		got = read(fd, text + n, FILTER_MAX_BYTES + 1 - n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (got < 0) {
		int r = errno == ENOENT ? SKEP_E_NOT_FOUND : -errno;

		return skep_err_set(err, r, "-F %s: cannot read it: %s", path, strerror(errno));
	}
	if (n > FILTER_MAX_BYTES || memchr(text, '\0', n)) {
		(void)skep_err_set(err, SKEP_E_BAD_DATA, "-F %s: %s", path,
				   n > FILTER_MAX_BYTES ? "longer than 64 KiB" : "holds a zero byte");
		return skep_err_hint(err, "a filter is a short text, see pcap-filter(7)"), SKEP_E_BAD_DATA;
	}
	text[n] = '\0';
	*ret = TAKE_PTR(text);
	return 0;
}

/* The words joined by single blanks, as tcpdump does. */
static char *join_words(char **words, int n)
{
	size_t room = 1, at = 0;
	char *text;

	for (int i = 0; i < n; i++)
		room += strlen(words[i]) + 1;
	text = malloc(room);
	for (int i = 0; text && i < n; i++)
		at += (size_t)snprintf(text + at, room - at, "%s%s", i ? " " : "", words[i]);
	return text;
}

static int take_filter(struct cap_options *o, const struct skep_opts_words *words, struct skep_err *err)
{
	if (o->filter_file && words->n) {
		(void)skep_err_set(err, SKEP_E_USAGE, "-F %s: a filter is also given in words: \"%.80s\"", o->filter_file,
				   words->words[0]);
		return skep_err_hint(err, "give one of the two"), SKEP_E_USAGE;
	}
	if (o->filter_file)
		return read_filter_file(o->filter_file, &o->filter, err);
	if (!words->n)
		return 0;
	o->filter = join_words(words->words, words->n);
	return o->filter ? 0 : skep_err_set(err, -ENOMEM, "not enough memory for the filter");
}

static int take_recover(struct cap_options *o, const struct skep_opts_words *words, struct skep_err *err)
{
	if (words->n != 2 || o->links.n || o->write || o->read_file || o->command != CAP_COMMAND_CAPTURE) {
		(void)skep_err_set(err, SKEP_E_USAGE, "recover: wants one folder and no capture options");
		return skep_err_hint(err, "write: skep-capture recover DIR"), SKEP_E_USAGE;
	}
	o->command = CAP_COMMAND_RECOVER;
	o->recover_dir = words->words[1];
	return 0;
}

static int parse_all(int argc, char **argv, struct cap_options *o, struct skep_err *err)
{
	struct skep_opts_words words;
	int r = skep_opts_parse(&opts, argc, argv, o, &words, err);

	if (r)
		return r;
	if (words.help || words.version) {
		o->command = words.help ? CAP_COMMAND_HELP : CAP_COMMAND_VERSION;
		return 0;
	}
	if (words.n && strcmp(words.words[0], "recover") == 0)
		return take_recover(o, &words, err);
	r = take_filter(o, &words, err);
	return r ? r : cap_options_resolve(o, err);
}

int cap_options_parse(int argc, char **argv, struct cap_options *ret, struct skep_err *err)
{
	struct cap_options o = {
		.snaplen = CAP_SNAPLEN_MAX,
		.job = "capture",
		.format = -1, /* the name decides */
		.level = CAP_LEVEL_AUTO,
		.reserve_bytes = RESERVE_BYTES,
		.digest = 1,
		.memory_bytes = (uint64_t)CAP_POOL_BLOCKS * CAP_BLOCK_BYTES,
	};
	int r = parse_all(argc, argv, &o, err);

	if (r)
		cap_options_fini(&o);
	else
		*ret = o;
	return r;
}

void cap_options_fini(struct cap_options *o)
{
	free(o->filter);
	o->filter = NULL;
}
