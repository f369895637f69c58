/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A relay whose bytes come from a confined child, `skep-capture extract` on the directories of the job's
 * lives. The child is ended when the client has gone, at the latest with the thread. The stream is whole
 * only if the child says so with its exit code, or if the client's own limit was reached.
 */
#include "control/packets.h"

#include "common/format.h"
#include "control/pcap.h"
#include "control/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#define CPU_S 3600
#define LIVES_MAX (CTL_ARGS_MAX - 16u)

struct packets {
	const struct ctl_config *cfg;
	struct ctl_packets_ask ask;
	uint64_t left_bytes; /* of max_bytes */
	bool full;
	struct ctl_pcap pcap;
	struct ctl_pipes child;
};

static void free_packets(struct packets *p)
{
	if (p->child.pid > 0)
		ctl_process_end(p->child.pid);
	skep_closep(&p->child.out);
	skep_closep(&p->child.errors);
	ctl_pcap_fini(&p->pcap);
	free(p->ask.filter);
	free(p);
}

/* The directories of the job's lives that are there, open. */
struct places {
	int fds[LIVES_MAX];
	char paths[LIVES_MAX][32]; /* as the child has them */
	uint32_t n;
	struct stat st; /* of the first */
};

static void close_places(struct places *places)
{
	while (places->n)
		skep_closep(&places->fds[--places->n]);
}

static int find_places(const struct packets *p, struct places *ret, struct skep_err *err)
{
	char path[400];

	ret->n = 0;
	for (uint32_t life = 1; life <= p->ask.lives; life++) {
		int fd;

		if (life <= 1)
			(void)snprintf(path, sizeof(path), "%s/%s", p->cfg->spool_dir, p->ask.job);
		else
			(void)snprintf(path, sizeof(path), "%s/%s.%u", p->cfg->spool_dir, p->ask.job, life);
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (fd < 0)
			continue;
		ret->fds[ret->n++] = fd;
		(void)snprintf(ret->paths[ret->n - 1], sizeof(ret->paths[0]), "/proc/self/fd/%d", fd);
		if (ret->n == LIVES_MAX)
			return skep_err_set(
				err, SKEP_E_UNSUPPORTED,
				"its engines died too often (%u times): fetch the segments one by one", life);
	}
	return ret->n ? fstat(ret->fds[0], &ret->st) : 0;
}

static int start_child(struct packets *p, const struct places *places, struct skep_err *err)
{
	char from[SKEP_FORMAT_MAX], to[SKEP_FORMAT_MAX];
	struct ctl_run run = {
		.dir = p->cfg->program_dir,
		.args = { "skep-capture", "extract", "--stats", "none", "--format",
			  p->ask.pcapng ? "pcapng" : "pcap" },
		.cpu_s = CPU_S,
		.owner_uid = places->st.st_uid,
		.owner_gid = places->st.st_gid,
		.fds = places->fds,
		.n_fds = places->n,
	};
	size_t n = 6;

	if (p->ask.from_ns) {
		run.args[n++] = "--from";
		run.args[n++] = skep_format_time(from, p->ask.from_ns);
	}
	if (p->ask.to_ns != UINT64_MAX) {
		run.args[n++] = "--to";
		run.args[n++] = skep_format_time(to, p->ask.to_ns);
	}
	if (p->ask.filter && p->ask.filter[0]) {
		run.args[n++] = "--filter";
		run.args[n++] = p->ask.filter;
	}
	run.args[n++] = "--";
	for (uint32_t i = 0; i < places->n; i++)
		run.args[n++] = places->paths[i];
	return ctl_process_confined(&run, &p->child, err);
}

/* The records that are whole and fit. */
static int send_records(struct ctl_relay *relay, struct packets *p, bool *headed)
{
	struct ctl_pcap_record record;
	const uint8_t *first = NULL;
	size_t n = 0;
	int r;

	while ((r = ctl_pcap_next(&p->pcap, &record)) == 1) {
		if (p->ask.max_bytes && record.n > p->left_bytes) {
			p->full = true;
			break;
		}
		p->left_bytes -= p->ask.max_bytes ? record.n : 0;
		first = first ? first : record.bytes;
		n += record.n;
	}
	if (r == SKEP_E_BAD_DATA)
		return r;
	if (!*headed && p->pcap.headed) {
		*headed = true;
		r = ctl_relay_write(relay, p->pcap.header, CTL_PCAP_HEADER_BYTES, 0, NULL);
	} else {
		r = 0;
	}
	return r ?: n ? ctl_relay_write(relay, first, n, 0, NULL) : 0;
}

/* Until the child has said everything, or the limit is reached. */
static int pump(struct ctl_relay *relay, struct packets *p)
{
	bool headed = false;
	int r = 0;

	while (r == 0 && !p->full) {
		size_t room;
		void *to = ctl_pcap_room(&p->pcap, &room);
		ssize_t n;

		r = ctl_relay_poll(relay, p->child.out, -1);
		if (r < 0)
			return r;
		n = read(p->child.out, to, room);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0 && !p->ask.max_bytes) {
			r = ctl_relay_write(relay, to, (size_t)n, 0, NULL);
			continue;
		}
		ctl_pcap_fed(&p->pcap, n > 0 ? (size_t)n : 0);
		r = send_records(relay, p, &headed);
	}
	return r;
}

/* What the child's end says. */
static int judge(struct packets *p, struct skep_err *err)
{
	char words[512];
	int code;

	ctl_process_words(&p->child, words, sizeof(words));
	code = ctl_process_wait(p->child.pid);
	p->child.pid = 0;
	if (code == 0)
		return 0;
	return skep_err_set(err, code == 2 ? SKEP_E_USAGE : -EIO, "%s",
			    words[0] ? words : "the program that reads the segments was ended");
}

static int extract(struct ctl_relay *relay, struct packets *p, struct skep_err *err)
{
	SKEP_CLEANUP(close_places) struct places places = { 0 };
	uint8_t header[CTL_PCAP_HEADER_BYTES];
	int r;

	if (ctl_pcap_init(&p->pcap))
		return skep_err_set(err, -ENOMEM, "no memory");
	r = find_places(p, &places, err);
	if (r)
		return r;
	if (!places.n) { /* nothing was captured yet */
		ctl_pcap_make_header(header);
		return ctl_relay_write(relay, header, sizeof(header), 0, NULL);
	}
	r = start_child(p, &places, err);
	r = r ?: pump(relay, p);
	if (r == 0 && !p->full)
		r = judge(p, err);
	return r;
}

static int run(struct ctl_relay *relay, void *arg, struct skep_err *err)
{
	struct packets *p = arg;
	int r = relay ? extract(relay, p, err) : 0;

	if (r == SKEP_E_BAD_DATA)
		skep_err_set(err, -EIO, "the program that reads the segments wrote no pcap");
	free_packets(p);
	return r;
}

int ctl_packets_start(const struct ctl_config *cfg, struct ctl_relays *relays,
		      const struct ctl_packets_ask *ask, struct ctl_relay **ret, int *ret_fd,
		      struct skep_err *err)
{
	struct packets *p = calloc(1, sizeof(*p));

	if (!p) {
		free(ask->filter);
		return skep_err_set(err, -ENOMEM, "no memory");
	}
	*p = (struct packets){ .cfg = cfg, .ask = *ask, .child = { .out = -1, .errors = -1 } };
	p->left_bytes = ask->max_bytes > CTL_PCAP_HEADER_BYTES ? ask->max_bytes - CTL_PCAP_HEADER_BYTES : 0;
	return ctl_relay_start(relays,
			       &(struct ctl_relay_work){ .kind = CTL_RELAY_PACKETS, .run = run, .arg = p },
			       ret, ret_fd, err);
}
