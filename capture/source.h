/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_SOURCE_H
#define CAP_SOURCE_H
/*
 * Where frames come from. A tap is everything that is attached to one link (programs, maps, sockets, a file,
 * a command); it offers one source per RX queue (xdp, mirror), fanout member (afpacket), or just one (file,
 * stream).
 *
 * Threads: tap functions are called by the control thread only; receive, release and wait of a source by its
 * one worker. receive, release and wait never allocate, lock or log, and cannot fail per packet: they count.
 */
#include "capture/frame.h"
#include "common/err.h"

#include <stdbool.h>

enum cap_source_kind {
	CAP_SOURCE_AUTO,
	CAP_SOURCE_XDP,
	CAP_SOURCE_MIRROR,
	CAP_SOURCE_AFPACKET,
	CAP_SOURCE_FILE,
	CAP_SOURCE_STREAM
};
enum cap_tristate { CAP_AUTO, CAP_ON, CAP_OFF };
enum cap_role { CAP_ROLE_DEFAULT, CAP_ROLE_TAP, CAP_ROLE_HOST };
enum cap_xdp_mode { CAP_XDP_AUTO, CAP_XDP_NATIVE, CAP_XDP_GENERIC };
enum cap_timestamps { CAP_TS_AUTO, CAP_TS_HW, CAP_TS_KERNEL };

/* What the user asked for about one link; strings are borrowed and outlive the tap. */
struct cap_source_cfg {
	/* interface name; file name for CAP_SOURCE_FILE ("-" is stdin); NULL for stream from stdin */
	const char *link;
	/* CAP_SOURCE_STREAM: run by /bin/sh -c, its stdout is the pcap stream; NULL: stdin */
	const char *stream_command;
	enum cap_source_kind kind;
	enum cap_role role;
	enum cap_xdp_mode xdp_mode;
	enum cap_tristate zero_copy;
	enum cap_timestamps timestamps;
	bool promisc;                /* default true */
	/* take a link as tap though it carries the default route or the control connection */
	bool force;
	bool busy_poll;              /* preferred busy polling on the AF_XDP sockets */
	bool need_wakeup;            /* XDP_USE_NEED_WAKEUP; default true */
	uint32_t snaplen;            /* afpacket may cut at this; 0: everything */
	uint32_t n_queues;           /* 0: all queues of the link */
	uint16_t queues[CAP_MAX_QUEUES];
	/* Called for things worth telling the user once ("falls back to afpacket: …"); control thread. */
	void (*say)(void *arg, const char *sentence);
	void *say_arg;
	/*
	 * Job filters are wanted before the frames reach us, where the source can; see cap_tap.filters_jobs.
	 */
	bool job_filters;
	bool serves; /* jobs come and go while it runs */
};

struct cap_classify;

/* What the filters of a tap did for a job since it joined. Final when it has left. */
struct cap_filter_count {
	uint64_t seen;     /* frames that were judged for it */
	uint64_t wanted;   /* and handed to our sockets */
	uint64_t unserved; /* and wanted, but of a queue without a socket */
	/* of the others, those that the filter wanted, and sampling or the cut-off took away */
	uint64_t sampled_out;
	uint64_t cut_off;
};

/* What the kernel side says about a tap; all counts since start. Exact after stop(), a snapshot before. */
struct cap_kernel_account {
	/* frames that reached the tap: counted by the XDP program or the socket */
	uint64_t offered;
	uint64_t rx_ring_full;        /* AF_XDP RX ring full (worker too slow) */
	uint64_t fill_ring_empty;     /* AF_XDP fill ring empty (worker too slow to give buffers back) */
	/* AF_XDP: frame longer than a buffer and no multi-buffer support, and other rx_dropped */
	uint64_t rx_oversize;
	uint64_t mirror_ring_full;
	uint64_t mirror_too_long;
	uint64_t afpacket_ring_full;
	/* NIC or driver dropped before XDP (rx_missed_errors, veth queue drops); not in offered */
	uint64_t nic_missed;
	/* frames of queues that nobody asked for; not in offered, not dropped: informative */
	uint64_t unserved;
};

struct cap_source;
struct cap_tap;

struct cap_source_ops {
	const char *name; /* "xdp", "mirror", "afpacket", "file", "stream" */

	/*
	 * Opens everything that needs privileges. Nothing is captured and the link is not disturbed until
	 * start.
	 */
	int (*open)(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err);
	/* Frames arrive from now on. Needs privileges too; nothing after it does. */
	int (*start)(struct cap_tap *tap, struct skep_err *err);
	/*
	 * No frame arrives after this has returned; what is in the rings can still be received. Idempotent.
	 */
	void (*stop)(struct cap_tap *tap);
	void (*account)(struct cap_tap *tap, struct cap_kernel_account *ret);
	/*
	 * Called some times a second: mends what can be mended (a link that came back, a queue count that
	 * changed) and says so through cfg->say; returns 0, or a reason in err when the tap is lost for good
	 * (interface deleted, program replaced).
	 */
	int (*check)(struct cap_tap *tap, struct skep_err *err);
	/* Leaves the link as it was found. Takes NULL; returns NULL. */
	struct cap_tap *(*close)(struct cap_tap *tap);

	/*
	 * Fills the batch (n <= CAP_BATCH) with frames and returns n; 0: none now; -ENODATA: the end (file,
	 * stream, lost link); other -errno: the source is broken (said through check()). A batch with n > 0
	 * must be released before the next receive.
	 */
	int (*receive)(struct cap_source *src, struct cap_batch *batch);
	void (*release)(struct cap_source *src, struct cap_batch *batch);
	/*
	 * Sleeps at most max_ns, less if frames can be told to have come. NULL: the worker sleeps by itself.
	 */
	void (*wait)(struct cap_source *src, uint64_t max_ns);
};

/* The common head of every source; an implementation embeds it first. */
struct cap_source {
	const struct cap_source_ops *ops;
	struct cap_tap *tap;
	uint32_t queue;      /* RX queue, fanout member; 0 for file and stream */
	uint32_t ring_slots; /* frames the kernel can hold for us; 0 where there is no loss (file) */
	/*
	 * wait() for at most CAP_LONG_NAP_NS does not end with the first frame, but when many have come, long
	 * before the ring is full; a longer wait ends with the first.
	 */
	bool bursts_wake;
	int wake_fd; /* the worker's eventfd, by which others end a wait(); 0: none */
	/* Frames that are in the ring and not received yet, as far as can be told cheaply; NULL: unknown. */
	uint32_t (*backlog)(struct cap_source *src);
};

/* The common head of every tap; an implementation embeds it first. */
struct cap_tap {
	const struct cap_source_ops *ops;
	struct cap_source_cfg cfg;
	/* interface name, or the file's base name, made safe for a file name */
	char link[64];
	uint16_t linktype;             /* LINKTYPE_*: 1 = Ethernet */
	uint32_t n_sources;
	struct cap_source **sources;
	int numa_node;                 /* -1: unknown */
	/* a file: the worker may make it wait, nothing is dropped for want of buffers */
	bool lossless;
	char how[128];                 /* for people: "xdp native, zero copy, 4 queues" */
	char driver[32];
	bool hw_timestamps;
	bool zero_copy;                /* of at least one source */
	/* Jobs' filters run before the frames reach us: frame->jobs is exact. Fixed at open. */
	bool filters_jobs;
	struct cap_classify *classify; /* those filters, if so */
	bool tags_kept;                /* a VLAN tag that the NIC takes out of the frame is put back */
};

extern const struct cap_source_ops cap_source_xdp;
extern const struct cap_source_ops cap_source_mirror;
extern const struct cap_source_ops cap_source_afpacket;
extern const struct cap_source_ops cap_source_file;
extern const struct cap_source_ops cap_source_stream;

/*
 * Opens what cfg asks for. With CAP_SOURCE_AUTO and an interface: role tap -> xdp native, xdp generic,
 * afpacket; role host -> the less intrusive of mirror and afpacket; says through cfg->say what was chosen
 * where it is a fallback. Refuses (in words) an interface that does not exist, is down and stays down,
 * carries the default route or the control connection as tap (unless cfg->force), or has another XDP program.
 */
int cap_source_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err);

struct cap_link_info;
/*
 * The role that cap_source_open gives a link: the one in cfg, or the one that can be read from the interface.
 */
enum cap_role cap_source_role(const struct cap_source_cfg *cfg, const struct cap_link_info *info);

#endif
