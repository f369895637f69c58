/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keeper: see keeper.h. It is the only place where segment files are opened, allocated, ended and
 * renamed.
 *
 * Space: a worker never writes beyond what the keeper granted, and the keeper grants nothing that would eat
 * into the reserve; with fallocate the extents are real, so a granted write cannot meet ENOSPC. When nothing
 * can be granted the lane is marked blocked, packets wait in memory and are then dropped by name; the keeper
 * looks again some times a second. A segment is completed in the order end, truncate, fsync, sidecar, rename,
 * fsync of the directory: a name without .part is always a whole file. If any of it fails, the file stays
 * .part, and its packets are taken back from "stored".
 */
#include "capture/keeper.h"

#include "capture/digest.h"
#include "capture/keeper_sidecar.h"
#include "capture/mono.h"
#include "capture/level.h"
#include "capture/sketch.h"
#include "capture/source.h"
#include "capture/zframe.h"
#include "common/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/*
 * How often a full or failing disk is tried again, and how often the keeper looks around without being woken.
 */
#define RETRY_NS (200 * SKEP_NSEC_PER_MSEC)
#define IDLE_MS 1000
/*
 * Without real allocation (tmpfs, some network file systems) grants are smaller: others can eat into what was
 * promised.
 */
#define VIRTUAL_GRANT (64ull * CAP_MIB)
#define NAME_TRIES 100u
#define SMALLEST_GRANT (1ull * CAP_MIB)
#define TMPFS_MAGIC 0x01021994

static void say(struct cap_keeper *keeper, const char *fmt, ...) SKEP_PRINTF(2, 3);
static void say(struct cap_keeper *keeper, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (keeper->say)
		keeper->say(keeper->say_arg, text);
}

static void block_lane(struct cap_keeper *keeper, struct cap_keeper_lane *lane, enum cap_drop why, int error,
		       bool behind)
{
	uint64_t free_bytes = 0;

	lane->retry_ns = cap_mono_ns() + keeper->retry_ns;
	/* A segment that broke after the next one was opened says nothing about that one. */
	if (!behind)
		atomic_store_explicit(&lane->files.blocked, 1u + (uint32_t)why, memory_order_relaxed);
	if (why == CAP_DROP_DISK_FULL && !lane->full_said) {
		lane->full_said = true;
		(void)keeper->io->free_bytes(keeper->io->arg, lane->output->dirfd, &free_bytes);
		say(keeper, "%s: the disk is full (%llu MB free, %llu MB are kept free): %s",
		    lane->output->dir, (unsigned long long)(free_bytes / 1000000),
		    (unsigned long long)(lane->output->reserve_bytes / 1000000),
		    keeper->stop_when_full ? "stopping" : "packets are dropped until there is space");
	} else if (why != CAP_DROP_DISK_FULL && !lane->error_said) {
		lane->error_said = true;
		say(keeper, "%s: cannot write: %s; packets are dropped until it works again", lane->output->dir,
		    strerror(-error));
	}
	if (why == CAP_DROP_DISK_FULL && keeper->stop_when_full)
		cap_job_end(lane->job, CAP_JOB_END_DISK_FULL);
}

static void unblock_lane(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	if (lane->full_said || lane->error_said)
		say(keeper, "%s: writing goes on", lane->output->dir);
	lane->full_said = lane->error_said = false;
	atomic_store_explicit(&lane->files.blocked, 0, memory_order_relaxed);
}

/*
 * Bytes that were granted without extents behind them and are not written yet: free space that is spoken for.
 */
static uint64_t promised(const struct cap_keeper *keeper)
{
	uint64_t sum = 0;

	for (const struct cap_segment *seg = keeper->open; seg; seg = seg->peer) {
		uint64_t have = atomic_load_explicit(&seg->granted, memory_order_relaxed), real;
		struct stat st;

		if (seg->stream || seg->prealloc || fstat(seg->fd, &st) < 0)
			continue;
		real = (uint64_t)st.st_blocks * 512;
		sum += have - SKEP_MIN(have, real);
	}
	return sum;
}

/* Makes more of the file writable; 0, or the -errno that stands in the way (-ENOSPC: the reserve). */
static int grant(struct cap_keeper *keeper, const struct cap_output *output, struct cap_segment *seg)
{
	uint64_t have = atomic_load_explicit(&seg->granted, memory_order_relaxed);
	uint64_t chunk = seg->prealloc ? CAP_GRANT_BYTES : VIRTUAL_GRANT;
	uint64_t free_bytes, spoken_for;
	int r;

	r = keeper->io->free_bytes(keeper->io->arg, seg->fd, &free_bytes);
	if (r < 0)
		return r;
	spoken_for = output->reserve_bytes + promised(keeper);
	while (free_bytes < spoken_for + chunk) {
		if (chunk <= SMALLEST_GRANT)
			return -ENOSPC;
		chunk /= 2;
	}
	while (seg->prealloc) {
		r = keeper->io->fallocate(keeper->io->arg, seg->fd, have, chunk);
		if (r == -EINTR)
			continue;
		if (r == 0)
			break;
		if (r == -EOPNOTSUPP || r == -ENOSYS || r == -EINVAL) {
			seg->prealloc = false;
			chunk = SKEP_MIN(chunk, VIRTUAL_GRANT);
		} else if ((r == -ENOSPC || r == -EDQUOT || r == -EFBIG) && chunk > SMALLEST_GRANT) {
			chunk /= 2;
		} else {
			return r;
		}
	}
	atomic_store_explicit(&seg->granted, have + chunk, memory_order_release);
	return 0;
}

static int lock_part(int fd)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* The .part goes, and the note with it. */
static void remove_part(struct cap_keeper *keeper, const struct cap_segment *seg)
{
	(void)keeper->io->unlinkat(keeper->io->arg, seg->dirfd, seg->part);
	cap_sidecar_drop_note(seg->dirfd, seg->part);
}

static int open_part(struct cap_keeper *keeper, const struct cap_output *output, struct cap_segment *seg)
{
	const int flags = O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
	struct statfs fs;

	seg->direct = output->compressed && output->direct_io != CAP_OFF;
	seg->fd = keeper->io->openat(keeper->io->arg, output->dirfd, seg->part,
				     flags | (seg->direct ? O_DIRECT : 0), 0640);
	if (seg->fd == -EINVAL && seg->direct) {
		/* The file may have been made before O_DIRECT was refused. */
		(void)keeper->io->unlinkat(keeper->io->arg, output->dirfd, seg->part);
		seg->direct = false;
		if (!keeper->direct_said)
			say(keeper, "%s: this file system refuses direct I/O; writing through the page cache", output->dir);
		keeper->direct_said = true;
		seg->fd = keeper->io->openat(keeper->io->arg, output->dirfd, seg->part, flags, 0640);
	}
	if (seg->fd < 0)
		return seg->fd;
	(void)lock_part(seg->fd);
	seg->prealloc = output->compressed && (fstatfs(seg->fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC);
	return 0;
}

/* The bytes every file begins with: zstd frame header, one raw zstd block with the capture file's header. */
static void make_preamble(const struct cap_keeper_lane *lane, struct cap_segment *seg)
{
	uint8_t *p = seg->preamble;

	if (seg->compressed) {
		cap_zframe_header(p);
		p += CAP_ZFRAME_HEADER_BYTES;
		cap_zframe_block(p, CAP_ZFRAME_RAW, lane->header_bytes, false);
		p += CAP_ZBLOCK_HEADER;
	}
	memcpy(p, lane->header, lane->header_bytes);
	seg->preamble_bytes = (uint32_t)(p - seg->preamble) + lane->header_bytes;
	seg->preamble_raw_bytes = lane->header_bytes;
}

static int make_segment(struct cap_keeper *keeper, struct cap_keeper_lane *lane, struct cap_segment **ret)
{
	const struct cap_output *output = lane->output;
	struct cap_segment *seg = cap_segment_new(NULL);
	int r;

	if (!seg)
		return -ENOMEM;
	seg->dirfd = output->dirfd;
	seg->lane = lane;
	seg->compressed = output->compressed;
	seg->seq = lane->seq;
	seg->started_ns = skep_clock_now_ns(&skep_clock_system, CLOCK_REALTIME);
	make_preamble(lane, seg);
	if (output->kind == CAP_OUTPUT_STREAM) {
		seg->stream = true;
		seg->fd = fcntl(output->stream_fd, F_DUPFD_CLOEXEC, 3);
		atomic_init(&seg->granted, UINT64_MAX);
		atomic_init(&seg->wanted, UINT64_MAX);
		r = seg->fd < 0 ? -errno : 0;
	} else {
		cap_output_name(output, lane->link, lane->queue, seg->seq, seg->name, sizeof(seg->name) - 8);
		(void)snprintf(seg->part, sizeof(seg->part), "%.263s.part", seg->name);
		r = open_part(keeper, output, seg);
		if (r == 0) {
			r = grant(keeper, output, seg);
			if (r < 0)
				remove_part(keeper, seg);
			else
				cap_keeper_note(lane, seg);
		}
	}
	if (r < 0) {
		cap_segment_free(seg);
		return r;
	}
	lane->seq++;
	seg->peer = keeper->open;
	keeper->open = seg;
	*ret = seg;
	return 0;
}

static enum cap_drop reason_of(int error)
{
	return error == -ENOSPC || error == -EDQUOT ? CAP_DROP_DISK_FULL : CAP_DROP_WRITE_ERROR;
}

static bool prepare_next(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	struct cap_segment *seg;
	int r;

	if (!atomic_load(&lane->files.want_next) || atomic_load(&lane->files.next))
		return false;
	if (cap_mono_ns() < lane->retry_ns)
		return true;
	for (unsigned tries = 0; (r = make_segment(keeper, lane, &seg)) == -EEXIST && tries < NAME_TRIES;
	     tries++)
		lane->seq++; /* somebody made that file meanwhile; nothing is overwritten */
	if (r < 0) {
		block_lane(keeper, lane, reason_of(r), r, false);
		return true;
	}
	unblock_lane(keeper, lane);
	/*
	 * In this order: the worker asks again as long as it finds none, so a wish that is cleared here is
	 * not lost.
	 */
	atomic_store_explicit(&lane->files.next, seg, memory_order_release);
	atomic_store(&lane->files.want_next, false);
	return false;
}

static bool extend_open(struct cap_keeper *keeper)
{
	bool waiting = false;

	for (struct cap_segment *seg = keeper->open; seg; seg = seg->peer) {
		struct cap_keeper_lane *lane = seg->lane;

		while (atomic_load_explicit(&seg->wanted, memory_order_relaxed) >
		       atomic_load_explicit(&seg->granted, memory_order_relaxed)) {
			int r;

			if (cap_mono_ns() < lane->retry_ns) {
				waiting = true;
				break;
			}
			r = grant(keeper, lane->output, seg);
			if (r < 0) {
				/* Short of what lies ahead only: what was granted can still be written. */
				lane->retry_ns = cap_mono_ns() + keeper->retry_ns;
				if (atomic_load(&seg->needed) > atomic_load(&seg->granted))
					block_lane(keeper, lane, reason_of(r), r, false);
				waiting = true;
				break;
			}
			if (atomic_load_explicit(&lane->files.blocked, memory_order_relaxed))
				unblock_lane(keeper, lane);
		}
	}
	return waiting;
}

/*
 * Ends a frame in place at the last settled entry: its last zstd block becomes the last of the frame. Needs
 * no space.
 */
static int end_in_place(struct cap_keeper *keeper, struct cap_segment *seg)
{
	const struct cap_index_entry *e = &seg->index[seg->n_settled - 1];
	_skep_close_ int fd = -1;
	uint8_t header;

	seg->end = e->file_offset + e->file_bytes;
	if (!seg->compressed)
		return 0;
	/* Not through seg->fd: one byte is no direct I/O. */
	fd = keeper->io->openat(keeper->io->arg, seg->dirfd, seg->part, O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	if (pread(fd, &header, 1, (off_t)e->zblock_last) != 1)
		return -EIO;
	cap_zframe_set_last(&header);
	return keeper->io->pwrite(keeper->io->arg, fd, &header, 1, e->zblock_last);
}

static void remember(struct cap_keeper *keeper, struct cap_keeper_lane *lane, const struct cap_segment *seg)
{
	struct cap_kept kept = { .lane = lane, .bytes = seg->end, .pkts = seg->account.stored,
				 .complete = cap_segment_is_whole(seg) };

	(void)snprintf(kept.name, sizeof(kept.name), "%s", seg->stream ? lane->output->stem : seg->name);
	lane->bytes_kept += seg->end;
	pthread_mutex_lock(&keeper->lock);
	if (keeper->n_kept == keeper->room_kept) {
		size_t room = keeper->room_kept ? 2 * keeper->room_kept : 64;
		struct cap_kept *more = reallocarray(keeper->kept, room, sizeof(*more));

		if (more) {
			keeper->kept = more;
			keeper->room_kept = room;
		}
	}
	if (keeper->n_kept < keeper->room_kept)
		keeper->kept[keeper->n_kept++] = kept;
	pthread_mutex_unlock(&keeper->lock);
	if (keeper->kept_one)
		keeper->kept_one(keeper->kept_arg, &kept);
}

static void remove_kept(struct cap_keeper *keeper, size_t i)
{
	keeper->n_kept--;
	memmove(&keeper->kept[i], &keeper->kept[i + 1], (keeper->n_kept - i) * sizeof(keeper->kept[0]));
}

void cap_keeper_forget(struct cap_keeper *keeper, const struct cap_keeper_lane *lane)
{
	pthread_mutex_lock(&keeper->lock);
	for (size_t i = keeper->n_kept; i-- > 0;)
		if (keeper->kept[i].lane == lane)
			remove_kept(keeper, i);
	pthread_mutex_unlock(&keeper->lock);
}

/* -b files:N: the oldest of this lane's files go. */
static void forget_oldest(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	uint32_t keep = lane->output->keep_files, have = 0;
	char side[288];

	if (!keep)
		return;
	pthread_mutex_lock(&keeper->lock);
	for (size_t i = keeper->n_kept; i-- > 0;) {
		struct cap_kept *k = &keeper->kept[i];

		if (k->lane != lane || ++have <= keep)
			continue;
		lane->bytes_kept -= k->bytes;
		(void)keeper->io->unlinkat(keeper->io->arg, lane->output->dirfd, k->name);
		(void)snprintf(side, sizeof(side), "%s%s", k->name, CAP_SIDECAR_SUFFIX);
		(void)keeper->io->unlinkat(keeper->io->arg, lane->output->dirfd, side);
		cap_sketch_remove(lane->output->dirfd, k->name);
		remove_kept(keeper, i);
	}
	pthread_mutex_unlock(&keeper->lock);
}

static void remove_sidecar(struct cap_keeper *keeper, const struct cap_segment *seg)
{
	char side[sizeof(seg->name) + sizeof(CAP_SIDECAR_SUFFIX)];

	(void)snprintf(side, sizeof(side), "%s%s", seg->name, CAP_SIDECAR_SUFFIX);
	(void)keeper->io->unlinkat(keeper->io->arg, seg->dirfd, side);
}

/* Truncate, fsync, sidecar, rename: who sees the name finds all of both. */
static int publish(struct cap_keeper *keeper, struct cap_keeper_lane *lane, struct cap_segment *seg)
{
	const struct cap_io *io = keeper->io;
	int r;

	if (!cap_segment_is_whole(seg)) {
		r = end_in_place(keeper, seg);
		if (r < 0)
			return r;
	}
	r = io->ftruncate(io->arg, seg->fd, seg->end);
	if (r == 0)
		r = io->fsync(io->arg, seg->fd);
	if (r < 0)
		return r;
	r = cap_keeper_sidecar(lane, seg);
	if (r < 0)
		say(keeper, "%s/%s%s could not be written: %s; the capture file itself is complete",
		    lane->output->dir, seg->name, CAP_SIDECAR_SUFFIX, strerror(-r));
	r = io->renameat(io->arg, seg->dirfd, seg->part, seg->name);
	if (r < 0) {
		remove_sidecar(keeper, seg);
		return r;
	}
	cap_sidecar_drop_note(seg->dirfd, seg->part);
	(void)io->fsync(io->arg, seg->dirfd); /* a lost name is found again by recover */
	if (keeper->digest && lane->output->sidecar && lane->output->digest)
		cap_digest_add(keeper->digest, seg->dirfd, seg->name);
	return 0;
}

static void complete(struct cap_keeper *keeper, struct cap_keeper_lane *lane, struct cap_segment *seg)
{
	int r;

	if (seg->stream) {
		seg->end = seg->durable;
		remember(keeper, lane, seg);
		if (seg->error)
			cap_job_end(lane->job, CAP_JOB_END_WRITE);
		return;
	}
	if (!cap_segment_is_whole(seg) && seg->n_settled == 0) {
		remove_part(keeper, seg);
		return;
	}
	r = publish(keeper, lane, seg);
	if (r < 0) {
		/* Nobody can say what is in it: not complete, not counted, but left for recover. */
		atomic_fetch_add(&lane->files.lost_pkts, seg->account.stored);
		atomic_fetch_add(&lane->files.lost_bytes_wire, seg->account.bytes_wire);
		atomic_fetch_add(&lane->files.lost_bytes_raw, seg->account.bytes_raw);
		lane->lost_files++;
		say(keeper, "%s/%s could not be completed: %s; its %llu packets are not counted as stored", lane->output->dir,
		    seg->part, strerror(-r), (unsigned long long)seg->account.stored);
		return;
	}
	remember(keeper, lane, seg);
	forget_oldest(keeper, lane);
}

static void close_open(struct cap_keeper *keeper, struct cap_segment *seg)
{
	struct cap_segment **p = &keeper->open;

	while (*p != seg)
		p = &(*p)->peer;
	*p = seg->peer;
	cap_segment_free(seg);
}

static bool has_newer(const struct cap_keeper *keeper, const struct cap_segment *than)
{
	for (const struct cap_segment *seg = keeper->open; seg; seg = seg->peer)
		if (seg->lane == than->lane && seg->seq > than->seq)
			return true;
	return false;
}

static void collect(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	struct cap_segment *seg = atomic_exchange_explicit(&lane->files.finished, NULL, memory_order_acquire);
	struct cap_segment *in_order = NULL;

	while (seg) {
		struct cap_segment *next = seg->next;

		seg->next = in_order;
		in_order = seg;
		seg = next;
	}
	while (in_order) {
		seg = in_order;
		in_order = seg->next;
		if (seg->error)
			block_lane(keeper, lane, reason_of(seg->error), seg->error, has_newer(keeper, seg));
		complete(keeper, lane, seg);
		close_open(keeper, seg);
		atomic_fetch_add(&lane->n_done, 1);
		skep_ring_bell(keeper->done_fd);
	}
}

static void add_lane(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	lane->files.wake_fd = keeper->wake_fd;
	lane->seq = cap_output_first_seq(lane->output, lane->link, lane->queue);
	lane->peer = keeper->lanes;
	keeper->lanes = lane;
}

static void take_incoming(struct cap_keeper *keeper)
{
	struct cap_keeper_lane *lane =
		atomic_exchange_explicit(&keeper->incoming, NULL, memory_order_acquire);

	while (lane) {
		struct cap_keeper_lane *next = lane->peer;

		add_lane(keeper, lane);
		lane = next;
	}
}

/* The segment that was made ahead and is not needed. */
static void discard_next(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	struct cap_segment *unused = atomic_exchange(&lane->files.next, NULL);

	if (!unused)
		return;
	if (!unused->stream)
		remove_part(keeper, unused);
	close_open(keeper, unused);
}

static void end_lane(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	struct cap_keeper_lane **p = &keeper->lanes;

	while (*p != lane)
		p = &(*p)->peer;
	*p = lane->peer;
	discard_next(keeper, lane);
	atomic_store_explicit(&lane->closed, true, memory_order_release);
	skep_ring_bell(keeper->done_fd);
}

bool cap_keeper_turn(struct cap_keeper *keeper)
{
	bool waiting = false;

	take_incoming(keeper);
	waiting |= extend_open(keeper); /* first: a worker may be waiting for it */
	for (struct cap_keeper_lane *lane = keeper->lanes, *next; lane; lane = next) {
		bool closing = atomic_load_explicit(&lane->closing, memory_order_acquire);

		next = lane->peer;
		if (!closing)
			waiting |= prepare_next(keeper, lane);
		collect(keeper, lane);
		if (closing)
			end_lane(keeper, lane);
	}
	return waiting;
}

static void *keeper_main(void *arg)
{
	struct cap_keeper *keeper = arg;
	struct pollfd pfd = { .fd = keeper->wake_fd, .events = POLLIN };
	bool waiting = false;
	uint64_t n;

	pthread_setname_np(pthread_self(), "keeper");
	for (;;) {
		(void)poll(&pfd, 1, waiting ? (int)(keeper->retry_ns / SKEP_NSEC_PER_MSEC / 2 + 1) : IDLE_MS);
		while (read(keeper->wake_fd, &n, sizeof(n)) > 0)
			;
		waiting = cap_keeper_turn(keeper);
		if (atomic_load(&keeper->stop))
			return NULL;
	}
}

int cap_keeper_init(struct cap_keeper *keeper, struct skep_err *err)
{
	pthread_mutex_init(&keeper->lock, NULL);
	if (!keeper->retry_ns)
		keeper->retry_ns = RETRY_NS;
	keeper->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (keeper->wake_fd < 0)
		return skep_err_set(err, -errno, "cannot make an eventfd: %s", strerror(errno));
	return 0;
}

int cap_keeper_open(struct cap_keeper *keeper, struct cap_keeper_lane *lane, struct skep_err *err)
{
	struct cap_segment *seg;
	int r;

	add_lane(keeper, lane);
	r = make_segment(keeper, lane, &seg);
	if (r == 0) {
		atomic_init(&lane->files.next, seg);
		return 0;
	}
	keeper->lanes = lane->peer;
	if (r == -ENOSPC) {
		skep_err_set(err, SKEP_E_NO_SPACE,
			     "not enough disk in %s: less than %llu MB are free above the reserve of %llu MB",
			     lane->output->dir, (unsigned long long)(SMALLEST_GRANT / 1000000),
			     (unsigned long long)(lane->output->reserve_bytes / 1000000));
		skep_err_hint(err, "free some space, write elsewhere, or lower --reserve");
		return SKEP_E_NO_SPACE;
	}
	skep_err_set(err, r, "cannot make a file in %s: %s", lane->output->dir, strerror(-r));
	if (r == -EACCES || r == -EROFS)
		skep_err_hint(err, "choose a directory that this user may write");
	return r;
}

void cap_keeper_add(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	atomic_store(&lane->files.want_next, true);
	lane->files.wake_fd = keeper->wake_fd;
	lane->peer = atomic_load_explicit(&keeper->incoming, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(&keeper->incoming, &lane->peer, lane,
						      memory_order_release, memory_order_relaxed))
		;
	skep_ring_bell(keeper->wake_fd);
}

void cap_keeper_close(struct cap_keeper *keeper, struct cap_keeper_lane *lane)
{
	atomic_store_explicit(&lane->closing, true, memory_order_release);
	skep_ring_bell(keeper->wake_fd);
}

int cap_keeper_start(struct cap_keeper *keeper, struct skep_err *err)
{
	int r = pthread_create(&keeper->thread, NULL, keeper_main, keeper);

	if (r)
		return skep_err_set(err, -r, "cannot start the keeper thread: %s", strerror(r));
	keeper->running = true;
	return 0;
}

void cap_keeper_stop(struct cap_keeper *keeper)
{
	if (keeper->running) {
		atomic_store(&keeper->stop, true);
		skep_ring_bell(keeper->wake_fd);
		pthread_join(keeper->thread, NULL);
		keeper->running = false;
	}
	take_incoming(keeper);
	for (struct cap_keeper_lane *lane = keeper->lanes; lane; lane = lane->peer) {
		collect(keeper, lane);
		discard_next(keeper, lane);
	}
	keeper->lanes = NULL; /* the lanes are their owners' again */
}

void cap_keeper_fini(struct cap_keeper *keeper)
{
	cap_keeper_stop(keeper);
	skep_closep(&keeper->wake_fd);
	free(keeper->kept);
	pthread_mutex_destroy(&keeper->lock);
}
