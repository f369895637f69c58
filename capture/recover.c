/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Turns NAME.part into NAME: salvage.c says what can be kept, this file does it. The writer of a segment
 * holds an OFD write lock on it, which the kernel takes back when the writer is gone, however it went; so
 * does this program while it works.
 *
 * Order, so that a crash at any point loses nothing: what has to be overwritten is written to NAME.part.mend
 * first (synced, renamed into place) and is applied from there, as often as need be; then the file is cut and
 * synced, the mend removed, the sidecar written, the file renamed. Never overwrites a NAME that exists, never
 * touches what does not begin as a segment of ours. One thread; allocates.
 */
#include "capture/recover.h"

#include "capture/capwrite.h"
#include "capture/salvage.h"
#include "capture/zframe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 4
#define PART ".part"
#define MEND ".mend"
/* "skep-mend 1 INODE OFFSET BYTES\n", padded with spaces; then the bytes. */
#define MEND_HEADER_BYTES 80
#define MEND_BYTES_MAX (CAP_ZBLOCK_MAX + 4096u)
/* A file header that is not whole is no longer than this. */
#define HEAD_BYTES_MAX 8192u

struct part {
	int dirfd;
	int fd;
	const char *shown; /* with the folder, for people */
	char name[256];	   /* the segment's; NAME.part is the file */
	char part[256 + sizeof(PART)];
	char mend[256 + sizeof(PART) + sizeof(MEND)];
	bool compressed; /* by name */
	bool pcapng;
	FILE *report;
	uint64_t inode;
};

struct walk {
	FILE *report;
	struct skep_err *err;
	int first_error;
};

static int write_all(int fd, const uint8_t *p, size_t n, uint64_t off)
{
	while (n > 0) {
		const ssize_t w = pwrite(fd, p, n, (off_t)off);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return w < 0 ? -errno : -EIO;
		p += w;
		n -= (size_t)w;
		off += (uint64_t)w;
	}
	return 0;
}

/* Some file systems cannot sync a folder. */
static int sync_dir(int dirfd)
{
	return fsync(dirfd) < 0 && errno != EINVAL ? -errno : 0;
}

/* ---- the mend ---- */

/* Puts the bytes where they belong and cuts the file behind them. */
static int apply(struct part *p, const uint8_t *bytes, size_t n, uint64_t off)
{
	int r = write_all(p->fd, bytes, n, off);

	if (r == 0 && ftruncate(p->fd, (off_t)(off + n)) < 0)
		r = -errno;
	if (r == 0 && fsync(p->fd) < 0)
		r = -errno;
	return r;
}

static int write_mend(struct part *p, const uint8_t *bytes, size_t n, uint64_t off)
{
	char header[MEND_HEADER_BYTES + 1];
	char tmp[sizeof(p->mend) + 4];
	_skep_close_ int fd = -1;
	int r;

	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", p->mend);
	r = snprintf(header, sizeof(header), "skep-mend 1 %" PRIu64 " %" PRIu64 " %zu\n", p->inode, off, n);
	memset(header + r, ' ', (size_t)(MEND_HEADER_BYTES - r));
	fd = openat(p->dirfd, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	r = write_all(fd, (const uint8_t *)header, MEND_HEADER_BYTES, 0);
	if (r == 0)
		r = write_all(fd, bytes, n, MEND_HEADER_BYTES);
	if (r == 0 && (fsync(fd) < 0 || renameat(p->dirfd, tmp, p->dirfd, p->mend) < 0))
		r = -errno;
	if (r < 0)
		(void)unlinkat(p->dirfd, tmp, 0);
	return r < 0 ? r : sync_dir(p->dirfd);
}

/* A mend that an earlier run has left is applied if it is for this very file, and removed. */
static int finish_mend(struct part *p)
{
	_skep_close_ int fd = openat(p->dirfd, p->mend, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	_skep_free_ uint8_t *buf = NULL;
	uint64_t inode, off;
	size_t n;
	ssize_t got;
	int r = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	buf = calloc(1, MEND_HEADER_BYTES + MEND_BYTES_MAX + 1);
	if (!buf)
		return -ENOMEM;
	got = pread(fd, buf, MEND_HEADER_BYTES + MEND_BYTES_MAX, 0);
	if (got < 0)
		return -errno;
	if (got >= MEND_HEADER_BYTES &&
	    sscanf((const char *)buf, "skep-mend 1 %" SCNu64 " %" SCNu64 " %zu\n", &inode, &off, &n) == 3 &&
	    inode == p->inode && n == (size_t)(got - MEND_HEADER_BYTES) && off <= INT64_MAX - MEND_BYTES_MAX)
		r = apply(p, buf + MEND_HEADER_BYTES, n, off);
	if (r == 0 && unlinkat(p->dirfd, p->mend, 0) < 0)
		r = -errno;
	return r < 0 ? r : sync_dir(p->dirfd);
}

/* Overwrites the file's end in a way that survives a crash in the middle. */
static int replace_end(struct part *p, const uint8_t *bytes, size_t n, uint64_t off)
{
	int r = write_mend(p, bytes, n, off);

	return r < 0 ? r : finish_mend(p);
}

/* ---- one file ---- */

/* An ended, empty capture, for a file that its writer had not begun. Ethernet, because nothing says
 * otherwise. */
static int write_empty(struct part *p)
{
	static const struct cap_capwrite_shb shb = { .application = "skep-capture " SKEP_VERSION };
	static const struct cap_capwrite_idb idb = { .linktype = 1, .snaplen = CAP_SNAPLEN_MAX };
	uint8_t head[1024];
	uint8_t file[sizeof(head) + 64];
	uint8_t *to = file;
	size_t n;

	if (p->pcapng) {
		n = cap_capwrite_shb(head, sizeof(head), &shb);
		n += cap_capwrite_idb(head + n, sizeof(head) - n, &idb);
	} else {
		cap_capwrite_pcap_header(head, CAP_SNAPLEN_MAX, 1);
		n = CAP_CAPWRITE_PCAP_HEADER_BYTES;
	}
	if (!p->compressed)
		return replace_end(p, head, n, 0);
	cap_zframe_header(to);
	to += CAP_ZFRAME_HEADER_BYTES;
	to += cap_zframe_raw(to, head, n);
	cap_zframe_end(to);
	return replace_end(p, file, (size_t)(to - file) + CAP_ZFRAME_END_BYTES, 0);
}

static int end_frame(struct part *p, const struct cap_salvage *s)
{
	_skep_free_ uint8_t *bytes = malloc(cap_zframe_raw_bytes(s->tail_bytes) + CAP_ZFRAME_END_BYTES);
	size_t n;

	if (!bytes)
		return -ENOMEM;
	n = cap_zframe_raw(bytes, s->tail, s->tail_bytes);
	cap_zframe_end(bytes + n);
	n += CAP_ZFRAME_END_BYTES;
	/* Without a tail only what is given up is overwritten. With one, space comes first: a full disk is
	 * why many writers end. */
	if (s->tail_bytes == 0)
		return apply(p, bytes, n, s->keep);
	if (ftruncate(p->fd, (off_t)s->used) < 0)
		return -errno;
	return replace_end(p, bytes, n, s->keep);
}

static int mend_file(struct part *p, const struct cap_salvage *s)
{
	if (!s->has_head)
		return write_empty(p);
	if (!s->ended)
		return end_frame(p, s);
	/* Nothing to add, perhaps something to cut. */
	return apply(p, NULL, 0, s->keep);
}

/* LINK-qN-SEQ.EXT, as the writer names the files of a folder. */
static void read_name(const char *name, char *link, size_t room, struct cap_sidecar *sc)
{
	const char *queue = NULL;
	unsigned q, seq;

	for (const char *at = strstr(name, "-q"); at; at = strstr(at + 1, "-q"))
		queue = at;
	if (!queue || sscanf(queue, "-q%5u-%9u.", &q, &seq) != 2)
		return;
	(void)snprintf(link, room, "%.*s", (int)(queue - name), name);
	sc->link = link;
	sc->queue = q;
	sc->seq = seq;
}

/* What the writer noted when it began the file; NULL if there is nothing of the kind that can be believed. */
static struct cap_sidecar *read_note(const struct part *p)
{
	struct cap_sidecar *note = NULL;

	if (cap_sidecar_read(p->dirfd, p->part, &note, NULL) == 0 && note->segment &&
	    strcmp(note->segment, p->part) == 0)
		return note;
	return cap_sidecar_free(note);
}

static void take_facts(struct cap_sidecar *sc, const struct cap_sidecar *note)
{
	sc->job = note->job;
	sc->link = note->link;
	sc->queue = note->queue;
	sc->seq = note->seq;
	sc->filter = note->filter;
	sc->source = note->source;
	sc->driver = note->driver;
	sc->nic = note->nic;
	sc->kernel = note->kernel;
	sc->hostname = note->hostname;
	sc->software = note->software;
	sc->clock = note->clock;
	sc->timestamps = note->timestamps;
	sc->started_ns = note->started_ns;
}

static int write_sidecar(struct part *p, const struct cap_salvage *s)
{
	_cap_sidecar_free_ struct cap_sidecar *note = read_note(p);
	struct cap_sidecar sc = CAP_SIDECAR_NULL;
	char gave_up[400];
	const char *reasons[2] = {
		"the writer ended without closing the file; what it saw, rejected and dropped is not known",
		gave_up
	};
	char link[256];
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return -errno;
	read_name(p->name, link, sizeof(link), &sc);
	sc.segment = p->name;
	sc.compression = p->compressed ? "zstd" : "none";
	sc.format = p->pcapng ? "pcapng" : "pcap";
	sc.linktype = s->has_head ? s->info.linktype : 1;
	sc.snaplen = s->has_head ? s->info.snaplen : CAP_SNAPLEN_MAX;
	sc.software = "skep-capture " SKEP_VERSION;
	if (note)
		take_facts(&sc, note);
	sc.first_ns = s->first_ns;
	sc.last_ns = s->last_ns;
	sc.account.stored_pkts = s->pkts;
	sc.bytes_wire = s->bytes_wire;
	sc.bytes_raw = s->bytes_raw;
	sc.bytes_disk = (uint64_t)st.st_size;
	sc.index = s->index;
	sc.n_index = s->n_index;
	if (s->n_index > 0 && s->tail_bytes > 0)
		s->index[s->n_index - 1].file_bytes += cap_zframe_raw_bytes(s->tail_bytes);
	sc.complete = false;
	sc.reasons = reasons;
	sc.n_reasons = s->given_up_bytes > 0 ? 2 : 1;
	(void)snprintf(gave_up, sizeof(gave_up), "%" PRIu64 " bytes were given up: %s", s->given_up_bytes,
		       s->why);
	sc.recovered = true;
	return cap_sidecar_write(p->dirfd, p->name, &sc);
}

/* renameat2 where the file system has it, so that nothing is ever replaced. */
static int give_name(struct part *p)
{
	if (renameat2(p->dirfd, p->part, p->dirfd, p->name, RENAME_NOREPLACE) < 0) {
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
		if (faccessat(p->dirfd, p->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return -EEXIST;
		if (renameat(p->dirfd, p->part, p->dirfd, p->name) < 0)
			return -errno;
	}
	return sync_dir(p->dirfd);
}

/* Refusals are lines in the report: they say why a file stays as it is. */
static int refuse(struct part *p, const char *why)
{
	fprintf(p->report, "%s/%s: left as it is: %s\n", p->shown, p->part, why);
	return 0;
}

static int recover_locked(struct part *p)
{
	struct cap_salvage s;
	int r = finish_mend(p);

	if (r == 0)
		r = cap_salvage_read(p->fd, &s);
	if (r < 0)
		return r;
	if (!s.ours || (!s.has_head && s.given_up_bytes > HEAD_BYTES_MAX)) {
		r = refuse(p, s.ours ? "its beginning is damaged" : "it does not begin as a segment of ours");
		cap_salvage_done(&s);
		return r;
	}
	if (s.has_head) {
		p->compressed = s.compressed;
		p->pcapng = s.info.format == CAP_CAPFILE_PCAPNG;
	}
	r = mend_file(p, &s);
	if (r == 0)
		r = write_sidecar(p, &s);
	if (r == 0)
		r = give_name(p);
	if (r == 0) {
		cap_sidecar_drop_note(p->dirfd, p->part);
		fprintf(p->report, "%s/%s: %" PRIu64 " packets kept", p->shown, p->name, s.pkts);
		if (s.given_up_bytes > 0)
			fprintf(p->report, ", %" PRIu64 " bytes given up: %s", s.given_up_bytes, s.why);
		fputc('\n', p->report);
	}
	cap_salvage_done(&s);
	return r;
}

static bool ends_with(const char *s, const char *end)
{
	const size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

static int recover_part(struct part *p)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	struct stat st;

	if (fstat(p->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(p, "it is not a regular file");
	p->inode = st.st_ino;
	if (fcntl(p->fd, F_OFD_SETLK, &lock) < 0) {
		if (errno != EAGAIN && errno != EACCES)
			return -errno;
		return refuse(p, "a capture is writing it");
	}
	/* Somebody may have finished it between our look at the folder and the lock. */
	if (fstatat(p->dirfd, p->part, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != p->inode)
		return 0;
	if (faccessat(p->dirfd, p->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return refuse(p, "there is already a file of its final name");
	p->compressed = ends_with(p->name, ".zst");
	p->pcapng = ends_with(p->name, ".pcapng") || ends_with(p->name, ".pcapng.zst");
	return recover_locked(p);
}

/* A file that has no header of ours yet must at least be called like ours. */
static bool has_our_name(const char *name)
{
	return ends_with(name, ".pcap") || ends_with(name, ".pcap.zst") || ends_with(name, ".pcapng") ||
	       ends_with(name, ".pcapng.zst");
}

static int recover_name(struct walk *w, int dirfd, const char *shown, const char *part_name)
{
	struct part p = { .dirfd = dirfd, .fd = -1, .shown = shown, .report = w->report };
	_skep_close_ int fd = -1;

	if (strlen(part_name) > sizeof(p.name) - 1)
		return 0;
	(void)snprintf(p.name, sizeof(p.name), "%.*s", (int)(strlen(part_name) - strlen(PART)), part_name);
	(void)snprintf(p.part, sizeof(p.part), "%s", part_name);
	(void)snprintf(p.mend, sizeof(p.mend), "%s" MEND, part_name);
	if (!has_our_name(p.name))
		return refuse(&p, "it is not called .pcap or .pcapng (.zst)");
	fd = openat(dirfd, part_name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? 0 : errno == ELOOP ? refuse(&p, "it is a symbolic link") : -errno;
	p.fd = fd;
	return recover_part(&p);
}

/* A writer that died between the rename of its file and the removal of the note. */
static void drop_orphan(int dirfd, const char *note_name)
{
	struct part p = { .dirfd = dirfd };
	struct cap_sidecar *note;
	struct stat st;

	if (strlen(note_name) > sizeof(p.part) - 1)
		return;
	(void)snprintf(p.part, sizeof(p.part), "%.*s", (int)(strlen(note_name) - strlen(CAP_SIDECAR_SUFFIX)),
		       note_name);
	if (fstatat(dirfd, p.part, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
		return;
	note = read_note(&p);
	if (note)
		cap_sidecar_drop_note(dirfd, p.part);
	note = cap_sidecar_free(note);
}

static int walk_dir(struct walk *w, int fd, const char *shown, int depth);

static void visit(struct walk *w, int dirfd, const char *shown, const char *name, int depth)
{
	_skep_free_ char *path = NULL;
	struct stat st;
	int r = 0;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
		const int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (asprintf(&path, "%s/%s", shown, name) < 0)
			path = NULL;
		r = fd < 0 ? -errno : walk_dir(w, fd, path ? path : name, depth + 1);
	} else if (ends_with(name, PART) && !S_ISDIR(st.st_mode)) {
		r = recover_name(w, dirfd, shown, name);
	} else if (ends_with(name, PART CAP_SIDECAR_SUFFIX) && S_ISREG(st.st_mode)) {
		drop_orphan(dirfd, name);
	}
	if (r == 0)
		return;
	fprintf(w->report, "%s/%s: could not be recovered: %s\n", shown, name, strerror(-r));
	if (w->first_error == 0)
		w->first_error = skep_err_set(w->err, r, "%.200s/%.200s: could not be recovered: %s", shown,
					      name, strerror(-r));
}

/* Owns fd. Names are collected first: the folder changes while we work. */
static int walk_dir(struct walk *w, int fd, const char *shown, int depth)
{
	struct dirent **names = NULL;
	int n = scandirat(fd, ".", &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0)
			visit(w, fd, shown, names[i]->d_name, depth);
		free(names[i]);
	}
	free(names);
	close(fd);
	return n < 0 ? -errno : 0;
}

int cap_recover_dir(const char *path, FILE *report, struct skep_err *err)
{
	struct walk w = { .report = report, .err = err };
	const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%.300s: there is no such folder", path);
	if (fd < 0)
		return skep_err_set(err, -errno, "%.300s: %s", path, strerror(errno));
	r = walk_dir(&w, fd, path, 1);
	if (r < 0)
		return skep_err_set(err, r, "%.300s: %s", path, strerror(-r));
	return w.first_error;
}
