/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * skep-send: sends the frames of capture files through an interface, in order, each exactly once, byte for
 * byte, and says what could not be sent. Nothing is padded, cut, rewritten or silently left out.
 *
 * A packet socket without its own queue: when send() returns, the frame is at the peer or was dropped, and
 * the interface has counted which.
 */
#include "bench/args.h"
#include "bench/link_stats.h"
#include "bench/pcap_in.h"
#include "common/opts.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct send_options {
	const char *link;
	double rate;
	bool rate_is_bits;
	uint32_t repeat;
};

struct send_account {
	uint64_t sent;
	uint64_t bytes;
	uint64_t too_short;
	uint64_t too_long;
	uint64_t cut; /* sent, but the file holds only their beginning */
	double due_ns;
	uint64_t start_ns;
};

static int call_rate(void *cfg, const char *what, const char *value, struct skep_err *err)
{
	struct send_options *o = cfg;

	return bench_args_rate(what, value, &o->rate, &o->rate_is_bits, err);
}

static const struct skep_opt table[] = {
	BENCH_ARGS_INTERFACE(struct send_options, "send there"),
	{ .name = "rate",
	  .type = SKEP_OPT_CALL,
	  .arg = "N[pps|bps]",
	  .call = call_rate,
	  .fallback = "as fast as possible" },
	{ .name = "repeat",
	  .type = SKEP_OPT_UINT32,
	  .arg = "N",
	  .min = 1,
	  .offset = offsetof(struct send_options, repeat),
	  .fallback = "1",
	  .help = "send all files that often" },
	BENCH_ARGS_HELP,
};

static const struct skep_opts opts = {
	.program = "skep-send",
	.usage = (const char *const[]){ "-i IF [OPTION...] FILE...", NULL },
	.about = "Sends the frames of pcap or pcapng files (also .zst) through an interface, in order, each "
		 "exactly once, and prints "
		 "what was sent and what could not be.",
	.table = table,
	.n = ARRAY_LEN(table),
};

static void pace(const struct send_options *o, uint32_t len, struct send_account *account)
{
	uint64_t due = account->start_ns + (uint64_t)account->due_ns, now = bench_args_now_ns();
	struct timespec until = { .tv_sec = (time_t)(due / SKEP_NSEC_PER_SEC),
				  .tv_nsec = (long)(due % SKEP_NSEC_PER_SEC) };

	if (due > now)
		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	account->due_ns += o->rate_is_bits ? len * 8e9 / o->rate : 1e9 / o->rate;
}

static int send_frame(int fd, const struct bench_pcap_frame *frame, struct send_account *account,
		      struct skep_err *err)
{
	while (send(fd, frame->data, frame->len, 0) < 0) {
		if (errno == EMSGSIZE) {
			account->too_long++;
			return 0;
		}
		/* dropped by a full ring: in the interface's counter */
		if (errno == ENOBUFS)
			break;
		if ((errno == EINTR || errno == EAGAIN) && !bench_args_stop)
			continue;
		return skep_err_set(err, -errno, "cannot send a frame of %u bytes: %s", frame->len,
				    strerror(errno));
	}
	account->sent++;
	account->bytes += frame->len;
	account->cut += frame->len < frame->wire_len;
	return 0;
}

static int send_file(int fd, const struct send_options *o, const char *path, struct send_account *account,
		     struct skep_err *err)
{
	struct bench_pcap_frame frame;
	struct bench_pcap_in *in;
	int r;

	r = bench_pcap_in_open(path, &in, err);
	if (r)
		return r;
	while (!bench_args_stop && (r = bench_pcap_in_next(in, &frame, err)) == 1) {
		if (frame.len < ETH_HLEN) {
			account->too_short++;
			continue;
		}
		if (o->rate > 0)
			pace(o, frame.len, account);
		r = send_frame(fd, &frame, account, err);
		if (r)
			break;
	}
	bench_pcap_in_close(in);
	return bench_args_stop ? 0 : r;
}

static int open_socket(const char *link, int *ret_fd, struct skep_err *err)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(link) };
	_skep_close_ int fd = -1;
	int on = 1;

	if (!to.sll_ifindex)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: no such interface", link);
	fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: receives nothing */
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)))
		return skep_err_set(err, -errno, "%s: cannot send there: %s", link, strerror(errno));
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int run(const struct send_options *o, const struct skep_opts_words *files, struct skep_err *err)
{
	struct send_account account = { .start_ns = bench_args_now_ns() };
	struct bench_link_stats before, after;
	_skep_close_ int fd = -1;
	uint64_t dropped;
	uint32_t round;
	int i, r;

	r = open_socket(o->link, &fd, err);
	if (!r)
		r = bench_link_stats_read(o->link, &before, err);
	for (round = 0; !r && !bench_args_stop && round < o->repeat; round++) {
		for (i = 0; !r && i < files->n; i++)
			r = send_file(fd, o, files->words[i], &account, err);
	}
	if (!r)
		r = bench_link_stats_read(o->link, &after, err);
	if (r)
		return r;
	dropped = after.tx_dropped - before.tx_dropped;
	r = bench_args_print(json_pack(
		"{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)(account.sent - dropped),
		"skipped", (json_int_t)(account.too_short + account.too_long), "too_short",
		(json_int_t)account.too_short, "too_long", (json_int_t)account.too_long, "dropped",
		(json_int_t)dropped, "cut", (json_int_t)account.cut, "bytes", (json_int_t)account.bytes));
	return r	 ? skep_err_set(err, r, "cannot write the result: %s", strerror(-r))
	       : dropped ? -ECANCELED
			 : 0;
}

int main(int argc, char **argv)
{
	struct send_options o = { .repeat = 1 };
	struct skep_opts_words words = { 0 };
	struct skep_err err = SKEP_ERR_NULL;
	int r;

	bench_args_catch_signals();
	r = bench_args_parse(&opts, argc, argv, &o, &words, &err);
	if (words.help)
		return 0;
	if (!r && (!o.link || !words.n))
		r = skep_err_set(&err, SKEP_E_USAGE, "say where to send with -i IF, and which FILE");
	if (!r)
		r = run(&o, &words, &err);
	if (r == -ECANCELED) {
		(void)fputs("skep-send: incomplete: the interface dropped frames\n", stderr);
		return 3;
	}
	return bench_args_exit("skep-send", r, &err);
}
