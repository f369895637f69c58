/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a descriptor to batches. Frames are views into the parser's buffer: nothing is copied here, and
 * nothing allocated after cap_capinput_init. Never blocks in receive: a pipe with nothing in it gives 0
 * frames, so that the worker can flush what it has; the descriptor's own flags stay as they are, because
 * standard input is shared with the shell. Never drops: who writes into a pipe waits.
 *
 * Threads: receive, release and wait are the worker's; the rest is the control thread's; between them,
 * atomics only.
 */
#include "capture/capinput.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ZIN_BYTES (256u * CAP_KIB)


static struct cap_capinput *of_tap(struct cap_tap *tap)
{
	return (struct cap_capinput *)tap;
}

static struct cap_capinput *of_source(struct cap_source *src)
{
	return of_tap(src->tap);
}

/* > 0: bytes; 0: the end; -EAGAIN: none now; other -errno. timeout_ms as for poll. */
static ssize_t read_some(struct cap_capinput *in, uint8_t *p, size_t n, int timeout_ms)
{
	struct pollfd pfd = { .fd = in->fd, .events = POLLIN };

	for (;;) {
		const int r = poll(&pfd, 1, timeout_ms);
		ssize_t got;

		if (r == 0)
			return -EAGAIN;
		if (r < 0)
			return errno == EINTR && timeout_ms == 0 ? -EAGAIN : -errno;
		got = read(in->fd, p, n);
		if (got >= 0)
			return got;
		if (errno != EINTR)
			return -errno;
	}
}

static int refuse(struct cap_capinput *in, const char *why, const char *hint)
{
	skep_err_set(&in->lost, SKEP_E_BAD_DATA, "%s: %s", in->name, why);
	return skep_err_hint(&in->lost, "%s", hint);
}

static int refill_plain(struct cap_capinput *in, int timeout_ms)
{
	size_t room;
	uint8_t *p = cap_capfile_room(in->file, &room);
	const ssize_t n = read_some(in, p, room, timeout_ms);

	if (n < 0)
		return (int)n;
	cap_capfile_fed(in->file, (size_t)n);
	if (n == 0)
		cap_capfile_finish(in->file);
	return 0;
}

static int refill_zin(struct cap_capinput *in, int timeout_ms)
{
	ssize_t n;

	in->zin_head = 0;
	in->zin_tail = 0;
	n = read_some(in, in->zin, ZIN_BYTES, timeout_ms);
	if (n < 0)
		return (int)n;
	in->zin_tail = (size_t)n;
	in->input_ended = n == 0;
	return 0;
}

/* One step of the decoder; it may give nothing (a block that is not whole yet), then the caller comes again.
 */
static int refill_zstd(struct cap_capinput *in, int timeout_ms)
{
	size_t room;
	uint8_t *p = cap_capfile_room(in->file, &room);
	struct cap_zread_io io = { .in = in->zin, .out = p, .out_end = room };
	const char *wrong;

	if (in->zin_head == in->zin_tail) {
		const int r = refill_zin(in, timeout_ms);

		if (r < 0)
			return r;
	}
	io.in_at = in->zin_head;
	io.in_end = in->zin_tail;
	if (in->input_ended && !in->zstd_open) {
		cap_capfile_fed(in->file, 0);
		cap_capfile_finish(in->file);
		return 0;
	}
	wrong = cap_zread_step(in->zstd, &io);
	in->zin_head = io.in_at;
	cap_capfile_fed(in->file, io.out_at);
	if (wrong)
		return refuse(in, wrong,
			      "the packets before are good; skep-capture recover mends a segment of ours");
	if (in->input_ended && io.out_at == 0)
		return refuse(in, "the zstd data does not end: cut off, or still being written",
			      "the packets before are good; skep-capture recover mends a segment of ours");
	if (io.in_at > 0 || io.out_at > 0)
		in->zstd_open = !io.whole;
	return 0;
}

static int refill(struct cap_capinput *in, int timeout_ms)
{
	return in->zstd ? refill_zstd(in, timeout_ms) : refill_plain(in, timeout_ms);
}

/* Fills frames from what is in the buffer. As cap_capfile_next, but n > 0 for frames. */
static int fill(struct cap_capinput *in, struct cap_batch *batch)
{
	struct cap_capfile_packet p;
	uint32_t n = 0;
	int r = 0;

	while (n < CAP_BATCH) {
		r = cap_capfile_next(in->file, &p, &in->lost);
		if (r != 0)
			break;
		batch->frames[n++] = (struct cap_frame){
			.data = p.data,
			.len = p.cap_len,
			.cap_len = p.cap_len,
			.wire_len = SKEP_MAX(p.wire_len, p.cap_len),
			.ts_ns = p.ts_ns,
			.jobs = UINT64_MAX,
		};
	}
	batch->n = n;
	batch->frag_n = 0;
	return n > 0 ? (int)n : r;
}

/* in->lost is filled already if r is a refusal. */
static int lose(struct cap_capinput *in, int r)
{
	if (r < 0)
		skep_err_set(&in->lost, r, "%s: reading: %s", in->name, strerror(-r));
	atomic_store_explicit(&in->is_lost, true, memory_order_release);
	atomic_store(&in->ended, true);
	return r < 0 ? r : -EBADMSG;
}

int cap_capinput_receive(struct cap_source *src, struct cap_batch *batch)
{
	struct cap_capinput *in = of_source(src);
	int r;

	batch->n = 0;
	batch->frag_n = 0;
	if (atomic_load_explicit(&in->is_lost, memory_order_relaxed))
		return -EBADMSG;
	if (atomic_load_explicit(&in->stopped, memory_order_relaxed)) {
		atomic_store(&in->ended, true);
		return -ENODATA;
	}
	for (;;) {
		r = fill(in, batch);
		if (r != -EAGAIN)
			break;
		r = refill(in, 0);
		if (r == -EAGAIN)
			return 0;
		if (r != 0)
			return lose(in, r);
	}
	if (r > 0 && batch->n > 0) {
		atomic_fetch_add_explicit(&in->offered, (uint64_t)r, memory_order_relaxed);
		atomic_store_explicit(&in->odd_times, cap_capfile_odd_times(in->file), memory_order_relaxed);
		return r;
	}
	if (r == -ENODATA) {
		atomic_store(&in->ended, true);
		return r;
	}
	return lose(in, r);
}

void cap_capinput_release(struct cap_source *src, struct cap_batch *batch)
{
	(void)src;
	batch->n = 0;
}

void cap_capinput_wait(struct cap_source *src, uint64_t max_ns)
{
	struct cap_capinput *in = of_source(src);
	const struct timespec ts = { (time_t)(max_ns / SKEP_NSEC_PER_SEC),
				     (long)(max_ns % SKEP_NSEC_PER_SEC) };
	struct pollfd pfd = { .fd = in->fd, .events = POLLIN };

	(void)ppoll(&pfd, 1, &ts, NULL);
}

int cap_capinput_start(struct cap_tap *tap, struct skep_err *err)
{
	(void)tap;
	(void)err;
	return 0;
}

void cap_capinput_stop(struct cap_tap *tap)
{
	atomic_store(&of_tap(tap)->stopped, true);
}

void cap_capinput_account(struct cap_tap *tap, struct cap_kernel_account *ret)
{
	*ret = (struct cap_kernel_account){ .offered = atomic_load(&of_tap(tap)->offered) };
}

int cap_capinput_check(struct cap_tap *tap, struct skep_err *err)
{
	struct cap_capinput *in = of_tap(tap);
	char sentence[400];

	if (!in->odd_said && atomic_load(&in->odd_times) > 0 && tap->cfg.say) {
		(void)snprintf(
			sentence, sizeof(sentence),
			"%s: has time stamps before 1970 or after 2262; they are stored as the nearest "
			"one possible",
			in->name);
		tap->cfg.say(tap->cfg.say_arg, sentence);
		in->odd_said = true;
	}
	if (!atomic_load_explicit(&in->is_lost, memory_order_acquire))
		return 0;
	if (err)
		*err = in->lost;
	return in->lost.code;
}

/* Enough of the first bytes to tell zstd from the rest; they go to whoever reads the rest. */
static int look_at_start(struct cap_capinput *in, int wait_ms)
{
	uint8_t magic[CAP_ZREAD_MAGIC_BYTES];
	size_t n = 0;
	size_t room;

	while (n < sizeof(magic)) {
		const ssize_t got = read_some(in, magic + n, sizeof(magic) - n, wait_ms);

		if (got < 0)
			return (int)got;
		if (got == 0)
			break;
		n += (size_t)got;
	}
	if (!cap_zread_is_zstd(magic, n)) {
		memcpy(cap_capfile_room(in->file, &room), magic, n);
		cap_capfile_fed(in->file, n);
		return 0;
	}
	in->zstd = cap_zread_new();
	in->zin = malloc(ZIN_BYTES);
	if (!in->zstd || !in->zin)
		return -ENOMEM;
	memcpy(in->zin, magic, n);
	in->zin_tail = n;
	return 0;
}

static int read_head(struct cap_capinput *in, int wait_ms)
{
	int r = look_at_start(in, wait_ms);

	while (r == 0) {
		r = cap_capfile_head(in->file, &in->lost);
		if (r != -EAGAIN)
			return r;
		r = refill(in, wait_ms);
	}
	return r;
}

/* The base name, with nothing in it that would be odd in the name of a file of ours. */
static void make_link_name(struct cap_tap *tap, const char *file_name)
{
	const char *slash = strrchr(file_name, '/');
	const char *s = slash && slash[1] ? slash + 1 : file_name;
	size_t n = 0;

	for (; *s && n < sizeof(tap->link) - 1; s++, n++)
		tap->link[n] = isalnum((unsigned char)*s) || (strchr("._-", *s) && n > 0) ? *s : '_';
	tap->link[n] = '\0';
}

static void describe(struct cap_capinput *in)
{
	const struct cap_capfile_info *info = cap_capfile_info(in->file);

	(void)snprintf(in->tap.how, sizeof(in->tap.how), "%s %.60s, %s%s", in->tap.ops->name, in->name,
		       info->format == CAP_CAPFILE_PCAPNG ? "pcapng"
		       : info->nanoseconds		  ? "pcap with nanoseconds"
							  : "pcap with microseconds",
		       in->zstd ? ", zstd" : "");
}

int cap_capinput_init(struct cap_capinput *in, const struct cap_capinput_cfg *cfg, struct skep_err *err)
{
	int r;

	in->fd = cfg->fd;
	in->tap = (struct cap_tap){
		.ops = cfg->ops, .cfg = *cfg->source, .n_sources = 1, .numa_node = -1, .lossless = true
	};
	in->src = (struct cap_source){ .ops = cfg->ops, .tap = &in->tap };
	in->src_ptr = &in->src;
	in->tap.sources = &in->src_ptr;
	(void)snprintf(in->name, sizeof(in->name), "%s", cfg->file_name);
	make_link_name(&in->tap, cfg->file_name);
	r = cap_capfile_new(in->name, false, &in->file);
	if (r == 0)
		r = read_head(in, cfg->wait_ms);
	if (r == -EAGAIN)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: no file header within %d s", in->name,
				    cfg->wait_ms / 1000);
	if (r < 0)
		return skep_err_set(err, r, "%s: reading: %s", in->name, strerror(-r));
	if (r > 0) {
		if (err)
			*err = in->lost;
		return r;
	}
	in->tap.linktype = cap_capfile_info(in->file)->linktype;
	describe(in);
	return 0;
}

void cap_capinput_done(struct cap_capinput *in)
{
	in->file = cap_capfile_free(in->file);
	in->zstd = cap_zread_free(in->zstd);
	free(in->zin);
	in->zin = NULL;
	skep_closep(&in->fd);
}
