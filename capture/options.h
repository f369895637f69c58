/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_OPTIONS_H
#define CAP_OPTIONS_H
/*
 * The command line of skep-capture: what the user asked for, checked for ranges and contradictions, nothing
 * opened yet.
 */
#include "capture/filter/reduce.h"
#include "capture/source.h"
#include "capture/trim.h"
#include "common/opts.h"

enum cap_command {
	CAP_COMMAND_CAPTURE,
	CAP_COMMAND_LIST,     /* -D */
	CAP_COMMAND_CHECK,    /* --check: everything of a capture but the capture */
	CAP_COMMAND_PROBE,    /* --probe: JSON; links may be empty (all) */
	CAP_COMMAND_RECOVER,  /* recover DIR */
	CAP_COMMAND_HELP,
	CAP_COMMAND_VERSION,
};

enum cap_write_kind {
	CAP_WRITE_NONE,    /* no -w: only with --check and the like */
	CAP_WRITE_FILE,
	CAP_WRITE_DIR,     /* segments per queue */
	CAP_WRITE_STDOUT,
	CAP_WRITE_DEVICE,  /* a character device or FIFO, /dev/null above all */
};

enum cap_format { CAP_FORMAT_PCAP, CAP_FORMAT_PCAPNG };
enum cap_on_full { CAP_FULL_WAIT, CAP_FULL_STOP };
enum cap_stats { CAP_STATS_TEXT, CAP_STATS_JSON };

#define CAP_LEVEL_AUTO INT32_MAX
/* zstd: negative levels are "fast" ones; above 9 no core keeps up with a link. */
#define CAP_LEVEL_LOWEST (-50)
#define CAP_LEVEL_HIGHEST 9

/* 0 in a limit: none. Strings are borrowed from argv but for filter. */
struct cap_options {
	enum cap_command command;
	/* what */
	struct skep_strings links;       /* interfaces; the same one never twice */
	const char *read_file;           /* -r; "-" is stdin */
	const char *filter_file;         /* -F, already read into filter */
	char *filter;                    /* owned; NULL: everything */
	uint32_t snaplen;                /* 1..CAP_SNAPLEN_MAX */
	struct cap_trim trim;
	uint32_t inside;                 /* SKEP_INNER_* kinds the filter also looks inside */
	uint32_t decap;                  /* kinds that are taken off */
	struct flt_reduction reduction;  /* sampling, per-flow cut-off */
	bool no_promisc;
	const char *job;
	const char *serve;               /* path of the job socket; NULL: one job, from these options */
	/* how long */
	uint64_t stop_pkts;              /* -c or -a packets: */
	uint64_t stop_ns;
	uint64_t stop_raw_bytes;         /* of the uncompressed capture, file header included */
	uint64_t rotate_ns;
	uint64_t rotate_raw_bytes;
	uint32_t keep_files;
	/* where to */
	const char *write;
	enum cap_write_kind write_kind;
	int format;                      /* enum cap_format, resolved */
	bool compressed;                 /* resolved */
	int32_t level;                   /* or CAP_LEVEL_AUTO */
	int on_full;                     /* enum cap_on_full */
	uint64_t reserve_bytes;
	int direct_io;                   /* enum cap_tristate */
	int digest;                      /* 0 or 1 */
	/* how */
	int source; /* enum cap_source_kind; FILE and STREAM resolved from -r and --stream-command */
	const char *stream_command;      /* NULL with STREAM: stdin */
	int role;                        /* enum cap_role */
	int xdp_mode;                    /* enum cap_xdp_mode */
	int zero_copy;                   /* enum cap_tristate */
	int timestamps;                  /* enum cap_timestamps */
	bool busy_poll;
	bool no_need_wakeup;
	bool force;
	uint32_t n_queues;               /* 0: all */
	uint16_t queues[CAP_MAX_QUEUES];
	uint32_t n_cpus;                 /* 0: chosen by NUMA node */
	uint16_t cpus[CAP_MAX_QUEUES];
	uint32_t pack_threads;           /* 0: workers compress */
	uint64_t memory_bytes;           /* block pool per worker, a multiple of CAP_BLOCK_BYTES */
	const char *user;                /* NULL: chosen by cap_priv_plan */
	/* what is said */
	int stats;                       /* enum cap_stats */
	bool quiet, verbose;
	const char *recover_dir;
};

/*
 * Reads argv[1..argc), which it reorders. SKEP_E_USAGE and the like with what, why and what to do; ret is
 * untouched then. Looks at the file system (is -w a directory?, -F) and at the terminal, changes nothing.
 */
int cap_options_parse(int argc, char **argv, struct cap_options *ret, struct skep_err *err);
void cap_options_fini(struct cap_options *opts);
void cap_options_help(FILE *out);

/* For options.c: resolves what follows from other options, and refuses contradictions. */
int cap_options_resolve(struct cap_options *opts, struct skep_err *err);

#endif
