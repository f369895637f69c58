/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The merge is skep-capture's (capture/extract.c): the hive never parses a packet, nor runs a filter over
 * one. A thread of each merge moves what the program writes on to the descriptor of whoever reads, through
 * zstd if asked, and waits for the program; so nobody else blocks on either. Whether it all came is known
 * before the reader sees the end. Memory does not depend on the size of the captures.
 */
#include "hive/export/merge.h"

#include "common/json.h"
#include "common/log.h"
#include "hive/export/cage.h"
#include "hive/export/cut.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <zstd.h>

#define PIPE_BYTES (1024 * 1024)
#define PIECE_BYTES ((size_t)256 * 1024)
#define SAID_BYTES 2048
#define STACK_BYTES ((size_t)256 * 1024)
/* The index of 10^6 segments' blocks takes some 60 MB; decoding a handful of files, little. */
#define CHILD_BYTES (UINT64_C(4) << 30)
#define ZSTD_LEVEL 3
#define STOP_MS 200

struct hive_merge {
	atomic_int refs; /* the reader and the thread */
	atomic_bool whole;
	bool zstd, cuts;
	struct hive_cut cut;
	int from, to, said; /* the thread's: pipe of the program, pipe to the reader, its standard error */
	pid_t pid;
};

static atomic_int running;

static void merge_unref(struct hive_merge *merge)
{
	if (atomic_fetch_sub(&merge->refs, 1) > 1)
		return;
	skep_closep(&merge->from);
	skep_closep(&merge->to);
	skep_closep(&merge->said);
	free(merge);
}

/* ---- the program ---- */

struct arguments {
	char program[400], from[32], to[32], skip[32];
	const char *argv[24];
};

static void time_argument(char ret[static 32], uint64_t ns)
{
	snprintf(ret, 32, "@%" PRIu64 ".%09" PRIu64, ns / SKEP_NSEC_PER_SEC, ns % SKEP_NSEC_PER_SEC);
}

static void make_arguments(const struct hive_merge_cfg *cfg, struct arguments *a)
{
	size_t n = 0;

	snprintf(a->program, sizeof(a->program), "%s/skep-capture", cfg->programs);
	a->argv[n++] = a->program;
	a->argv[n++] = "extract";
	a->argv[n++] = "--stats=json";
	a->argv[n++] = "--list=-";
	a->argv[n++] = "--write=-";
	a->argv[n++] = cfg->pcapng ? "--format=pcapng" : "--format=pcap";
	if (cfg->filter && *cfg->filter) {
		a->argv[n++] = "--filter";
		a->argv[n++] = cfg->filter;
	}
	if (cfg->from_ns) {
		time_argument(a->from, cfg->from_ns);
		a->argv[n++] = "--from";
		a->argv[n++] = a->from;
	}
	if (cfg->to_ns) {
		time_argument(a->to, cfg->to_ns);
		a->argv[n++] = "--to";
		a->argv[n++] = a->to;
	}
	if (cfg->skip_bytes) {
		snprintf(a->skip, sizeof(a->skip), "%" PRIu64, cfg->skip_bytes);
		a->argv[n++] = "--skip";
		a->argv[n++] = a->skip;
	}
	a->argv[n] = NULL;
}

/* The list as a file without a name: a pipe could fill up while nobody reads. */
static int list_file(const char *list)
{
	_skep_close_ int fd = memfd_create("list", MFD_CLOEXEC);
	size_t n = strlen(list), at = 0;

	while (fd >= 0 && at < n) {
		ssize_t k = write(fd, list + at, n - at);

		if (k < 0 && errno != EINTR)
			return -errno;
		at += k > 0 ? (size_t)k : 0;
	}
	if (fd < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return TAKE_FD(fd);
}

/* out: its standard output; *ret_said reads its standard error. */
static int start_program(const struct hive_merge_cfg *cfg, int out, pid_t *ret_pid, int *ret_said,
			 struct skep_err *err)
{
	_skep_close_ int list = list_file(cfg->list), said = -1, errors = -1;
	struct arguments arguments;
	struct hive_cage cage = { .argv = arguments.argv,
				  .folder = cfg->folder,
				  .in = list,
				  .out = out,
				  .memory_bytes = CHILD_BYTES };
	int pipes[2], r;

	make_arguments(cfg, &arguments);
	if (list < 0 || pipe2(pipes, O_CLOEXEC) < 0)
		return skep_err_set(err, -EMFILE, "a merge cannot be started: %s", strerror(errno));
	said = pipes[0];
	errors = pipes[1];
	cage.errors = errors;
	r = hive_cage_start(&cage, ret_pid, err);
	if (r == 0)
		*ret_said = TAKE_FD(said);
	return r;
}

/* Something to read, or the end; false: *stop became true. */
static bool wait_for_words(int said, const atomic_bool *stop)
{
	struct pollfd fd = { .fd = said, .events = POLLIN };

	while (poll(&fd, 1, stop ? STOP_MS : -1) <= 0)
		if (stop && atomic_load(stop))
			return false;
	return true;
}

/*
 * What it said, and its exit code; -1: a signal ended it. stop: NULL, or it is killed when that becomes true.
 */
static int end_program(pid_t pid, int said, const atomic_bool *stop, char ret[static SAID_BYTES])
{
	size_t n = 0;
	ssize_t k = 1;
	int status = -1;

	while (k != 0 && n < SAID_BYTES - 1) {
		if (!wait_for_words(said, stop)) {
			(void)kill(pid, SIGKILL);
			break;
		}
		k = read(said, ret + n, SAID_BYTES - 1 - n);
		if (k < 0 && errno != EINTR)
			break;
		n += k > 0 ? (size_t)k : 0;
	}
	ret[n] = '\0';
	ret[n - (n && ret[n - 1] == '\n')] = '\0';
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- moving ---- */

/* Moves all of it. 0, or -errno: -EPIPE, the reader is gone. */
static int move_plain(struct hive_merge *merge)
{
	for (;;) {
		ssize_t n = splice(merge->from, NULL, merge->to, NULL, PIPE_BYTES, SPLICE_F_MOVE);

		if (n == 0)
			return 0;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

static int write_all(int fd, const uint8_t *data, size_t n)
{
	while (n > 0) {
		ssize_t k = write(fd, data, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			return -errno;
		data += k;
		n -= (size_t)k;
	}
	return 0;
}

struct zstd {
	ZSTD_CCtx *ctx;
	uint8_t *in, *out;
	int to;
};

static void zstd_clear(struct zstd *z)
{
	ZSTD_freeCCtx(z->ctx);
	free(z->in);
	free(z->out);
}

static int compress(struct zstd *z, const uint8_t *data, size_t n, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = { data, n, 0 };
	size_t left;
	int r;

	do {
		ZSTD_outBuffer out = { z->out, PIECE_BYTES, 0 };

		left = ZSTD_compressStream2(z->ctx, &out, &in, end);
		if (ZSTD_isError(left))
			return -EIO;
		r = write_all(z->to, z->out, out.pos);
		if (r < 0)
			return r;
	} while (in.pos < in.size || (end == ZSTD_e_end && left));
	return 0;
}

/* Reads all that the program writes, and hands over what stays of it. */
static int move_through(struct hive_merge *merge, uint8_t *buf, const struct hive_cut_to *to)
{
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = read(merge->from, buf, PIECE_BYTES)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		r = n < 0	  ? -errno
		    : merge->cuts ? hive_cut_feed(&merge->cut, buf, (size_t)n, to)
				  : to->put(to->arg, buf, (size_t)n);
	}
	return r;
}

static int put_zstd(void *arg, const uint8_t *data, size_t n)
{
	return compress(arg, data, n, ZSTD_e_continue);
}

/* One frame: Wireshark 4.0 reads no more than that. */
static int move_zstd(struct hive_merge *merge)
{
	SKEP_CLEANUP(zstd_clear)
	struct zstd z = { ZSTD_createCCtx(), malloc(PIECE_BYTES), malloc(PIECE_BYTES), merge->to };
	int r;

	if (!z.ctx || !z.in || !z.out)
		return -ENOMEM;
	(void)ZSTD_CCtx_setParameter(z.ctx, ZSTD_c_compressionLevel, ZSTD_LEVEL);
	(void)ZSTD_CCtx_setParameter(z.ctx, ZSTD_c_checksumFlag, 1);
	r = move_through(merge, z.in, &(struct hive_cut_to){ put_zstd, &z });
	return r < 0 ? r : compress(&z, NULL, 0, ZSTD_e_end);
}

static int put_plain(void *arg, const uint8_t *data, size_t n)
{
	return write_all(((struct hive_merge *)arg)->to, data, n);
}

static int move_cut(struct hive_merge *merge)
{
	_skep_free_ uint8_t *buf = malloc(PIECE_BYTES);

	return buf ? move_through(merge, buf, &(struct hive_cut_to){ put_plain, merge }) : -ENOMEM;
}

static void *move(void *arg)
{
	struct hive_merge *merge = arg;
	char said[SAID_BYTES];
	int r, code;

	r = merge->zstd ? move_zstd(merge) : merge->cuts ? move_cut(merge) : move_plain(merge);
	if (r < 0)
		(void)kill(merge->pid, SIGKILL);
	code = end_program(merge->pid, merge->said, NULL, said);
	if (r == 0 && code)
		skep_log(SKEP_LOG_ERROR, "a merge did not end well: %s", said);
	atomic_store(&merge->whole, r == 0 && code == 0);
	skep_closep(&merge->to); /* only now does the reader see the end */
	atomic_fetch_sub(&running, 1);
	merge_unref(merge);
	return NULL;
}

/* ---- start and end ---- */

static int make_pipe(int *ret_read, int *ret_write)
{
	int fds[2];

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(fds[0], F_SETPIPE_SZ, PIPE_BYTES); /* smaller is only slower */
	*ret_read = fds[0];
	*ret_write = fds[1];
	return 0;
}

/* The thread has its own reference; a write to a reader who is gone is an error there, not a signal. */
static int start_thread(struct hive_merge *merge)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	atomic_store(&merge->refs, 2);
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&thread, &attr, move, merge);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return r;
}

static int start(const struct hive_merge_cfg *cfg, struct hive_merge *merge, int *ret_fd,
		 struct skep_err *err)
{
	_skep_close_ int reads = -1, out = -1;
	char said[SAID_BYTES];
	int r = make_pipe(&reads, &merge->to);

	if (r == 0)
		r = make_pipe(&merge->from, &out);
	if (r < 0)
		return skep_err_set(err, r, "a merge cannot be started: %s", strerror(-r));
	r = start_program(cfg, out, &merge->pid, &merge->said, err);
	if (r != 0)
		return r;
	skep_closep(&out);
	r = start_thread(merge);
	if (r < 0) {
		(void)kill(merge->pid, SIGKILL);
		(void)end_program(merge->pid, merge->said, NULL, said);
		return skep_err_set(err, r, "no thread: %s", strerror(-r));
	}
	*ret_fd = TAKE_FD(reads);
	return 0;
}

int hive_merge_start(const struct hive_merge_cfg *cfg, struct hive_merge **ret, int *ret_fd,
		     struct skep_err *err)
{
	struct hive_merge *merge = calloc(1, sizeof(*merge));
	int r;

	if (!merge)
		return skep_err_set(err, -ENOMEM, "out of memory");
	merge->from = merge->to = merge->said = -1;
	merge->zstd = cfg->zstd;
	merge->cuts = cfg->pkts != 0;
	merge->cut = (struct hive_cut){ .pcapng = cfg->pcapng, .pkts_max = cfg->pkts };
	atomic_init(&merge->refs, 1);
	if (atomic_fetch_add(&running, 1) >= HIVE_MERGES_MAX)
		r = skep_err_set(err, SKEP_E_BUSY, "%d downloads are being merged already", HIVE_MERGES_MAX);
	else
		r = start(cfg, merge, ret_fd, err);
	if (r != 0) {
		atomic_fetch_sub(&running, 1);
		atomic_store(&merge->refs, 1);
		merge_unref(merge);
		return r;
	}
	*ret = merge;
	return 0;
}

bool hive_merge_whole(void *merge)
{
	return atomic_load(&((struct hive_merge *)merge)->whole);
}

void hive_merge_end(void *merge)
{
	/* The reader's end is closed: the thread finds that out when it next writes. */
	merge_unref(merge);
}

/* ---- checking ---- */

static int64_t number_of(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* Its sentence for people, without its name. */
static const char *words_of(const char *said)
{
	static const char name[] = "skep-capture extract: ";

	if (strncmp(said, name, sizeof(name) - 1) == 0)
		said += sizeof(name) - 1;
	return *said ? said : "the captures cannot be read";
}

int hive_merge_check(const struct hive_merge_cfg *cfg, struct hive_merge_account *ret, struct skep_err *err)
{
	_skep_close_ int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC), said = -1;
	_skep_json_ json_t *account = NULL;
	char text[SAID_BYTES];
	pid_t pid = -1;
	int r = nowhere < 0 ? skep_err_set(err, -errno, "/dev/null: %s", strerror(errno))
			    : start_program(cfg, nowhere, &pid, &said, err);

	if (r != 0)
		return r;
	r = end_program(pid, said, cfg->stop, text);
	if (r < 0 && cfg->stop && atomic_load(cfg->stop))
		return skep_err_set(err, -ECANCELED, "the hive is about to end");
	if (r < 0)
		return skep_err_set(err, -EIO, "skep-capture was ended by a signal");
	if (r > 0)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%.400s", words_of(text));
	if (skep_json_load("account", text, strlen(text), &account, err) != 0)
		return -EPROTO;
	*ret = (struct hive_merge_account){
		.pkts = number_of(account, "written"),
		.bytes = number_of(account, "bytes"),
		.first_ns = number_of(account, "first_ns"),
		.last_ns = number_of(account, "last_ns"),
		.in_order = json_is_true(json_object_get(account, "in_order")),
	};
	return 0;
}

int hive_merge_measure(const struct hive_merge_cfg *cfg, struct hive_cut *cut, struct skep_err *err)
{
	struct hive_merge merge = { .from = -1, .cuts = true, .cut = *cut };
	_skep_free_ uint8_t *buf = malloc(PIECE_BYTES);
	_skep_close_ int out = -1, in = -1, said = -1;
	char text[SAID_BYTES];
	pid_t pid = -1;
	int r = buf ? make_pipe(&in, &out) : -ENOMEM;

	if (r < 0)
		return skep_err_set(err, r, "a merge cannot be started: %s", strerror(-r));
	r = start_program(cfg, out, &pid, &said, err);
	if (r != 0)
		return r;
	skep_closep(&out);
	merge.from = in;
	r = move_through(&merge, buf, &(struct hive_cut_to){ 0 });
	skep_closep(&in);
	if (end_program(pid, said, cfg->stop, text) != 0 || r < 0)
		return skep_err_set(err, SKEP_E_BAD_DATA, "%.400s", text[0] ? text : "the captures cannot be read");
	*cut = merge.cut;
	return 0;
}
