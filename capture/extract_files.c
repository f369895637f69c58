/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which captures are to be read: files, folders of them, and lists of both. Of each only the sidecar is read
 * here; one that lies costs the index, never the packets. Opens no capture. One thread.
 */
#include "capture/extract_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define FILES_MAX 1000000u

static bool is_capture(const char *name)
{
	static const char *const ends[] = { ".pcap", ".pcapng", ".pcap.zst", ".pcapng.zst", ".cap" };
	size_t n = strlen(name);

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		size_t m = strlen(ends[i]);

		if (n > m && strcmp(name + n - m, ends[i]) == 0)
			return true;
	}
	return false;
}

/* What we write may lie in a folder that we read. */
static bool is_output(const struct extract *x, int dirfd, const char *name)
{
	struct stat a, b;

	return fstat(x->cfg->out_fd, &a) == 0 && S_ISREG(a.st_mode) && fstatat(dirfd, name, &b, 0) == 0 &&
	       a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* What the sidecar counts goes into the statistics of the link, also of a file that has no packet in the
 * span. */
static void take_account(struct extract_cursor *c, const struct cap_sidecar *sc)
{
	c->counted = sc && sc->account.seen_pkts != CAP_SIDECAR_UNKNOWN &&
		     sc->account.stored_pkts != CAP_SIDECAR_UNKNOWN &&
		     sc->account.rejected_pkts != CAP_SIDECAR_UNKNOWN;
	if (!c->counted)
		return;
	c->seen_pkts = sc->account.seen_pkts;
	c->stored_pkts = sc->account.stored_pkts;
	c->rejected_pkts = sc->account.rejected_pkts;
}

static int add_file(struct extract *x, int dirfd, const char *name, char *path, struct skep_err *err)
{
	struct extract_cursor *c;
	struct skep_err why = SKEP_ERR_NULL;
	struct cap_sidecar *sc = NULL;
	int r;

	if (is_output(x, dirfd, name)) {
		free(path);
		return 0;
	}
	if (x->n == FILES_MAX) {
		free(path);
		return skep_err_set(err, SKEP_E_USAGE, "more than %u files", FILES_MAX);
	}
	if (x->n == x->room) {
		uint32_t room = x->room ? 2 * x->room : 64;
		struct extract_cursor *more = reallocarray(x->cursors, room, sizeof(*more));

		if (!more) {
			free(path);
			return skep_err_set(err, -ENOMEM, "no memory for %u files", room);
		}
		x->cursors = more;
		x->room = room;
	}
	r = cap_sidecar_read(dirfd, name, &sc, &why);
	if (r && r != -ENOENT) { /* a sidecar that lies is no reason to lose the packets */
		sc = cap_sidecar_free(sc);
		r = 0;
	}
	c = &x->cursors[x->n++];
	*c = (struct extract_cursor){
		.path = path, .sc = sc, .fd = -1, .link = sc && sc->link ? strdup(sc->link) : NULL
	};
	take_account(c, sc);
	x->account.files++;
	if (!sc || !sc->n_index) {
		x->account.files_unindexed += sc == NULL;
		if (sc && sc->first_ns == CAP_SIDECAR_UNKNOWN && sc->account.stored_pkts == 0)
			c->ended = true; /* a file without packets */
		c->sc = cap_sidecar_free(sc);
		return 0;
	}
	x->account.blocks += sc->n_index;
	c->first_ns = sc->first_ns == CAP_SIDECAR_UNKNOWN ? 0 : sc->first_ns;
	if (c->first_ns > x->cfg->to_ns ||
	    (sc->last_ns != CAP_SIDECAR_UNKNOWN && sc->last_ns < x->cfg->from_ns))
		c->ended = true;
	return 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int capture_only(const struct dirent *e)
{
	return e->d_name[0] != '.' && is_capture(e->d_name);
}

static int add_folder(struct extract *x, const char *folder, struct skep_err *err)
{
	_skep_close_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **names = NULL;
	int n = fd < 0 ? -1 : scandir(folder, &names, capture_only, by_name), r = 0;

	if (n < 0)
		return skep_err_set(err, -errno, "%s: %s", folder, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (r == 0 && asprintf(&path, "%s/%s", folder, names[i]->d_name) < 0)
			r = skep_err_set(err, -ENOMEM, "%s: no memory", folder);
		if (r == 0)
			r = add_file(x, fd, names[i]->d_name, path, err);
		free(names[i]);
	}
	free(names);
	return r;
}

static int add_path(struct extract *x, const char *path, struct skep_err *err)
{
	_skep_close_ int dirfd = -1;
	_skep_free_ char *dir = NULL;
	const char *slash = strrchr(path, '/');
	struct stat st;
	char *copy;

	if (stat(path, &st) < 0)
		return skep_err_set(err, errno == ENOENT ? SKEP_E_NOT_FOUND : -errno, "%s: %s", path,
				    strerror(errno));
	if (S_ISDIR(st.st_mode))
		return add_folder(x, path, err);
	dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	copy = strdup(path);
	dirfd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (!copy || dirfd < 0) {
		free(copy);
		return skep_err_set(err, dir ? -errno : -ENOMEM, "%s: %s", path, strerror(errno));
	}
	return add_file(x, dirfd, slash ? slash + 1 : path, copy, err);
}

/* A line of the list: PATH, or PATH, tab, LINK. */
static int add_line(struct extract *x, char *line, struct skep_err *err)
{
	uint32_t first = x->n;
	char *tab = strchr(line, '\t');
	int r;

	line[strcspn(line, "\n")] = '\0';
	if (tab)
		*tab = '\0';
	if (!*line)
		return 0;
	r = add_path(x, line, err);
	for (uint32_t i = first; r == 0 && tab && i < x->n; i++) {
		free(x->cursors[i].link);
		x->cursors[i].link = strdup(tab + 1);
		if (!x->cursors[i].link)
			r = skep_err_set(err, -ENOMEM, "%s: no memory", line);
	}
	return r;
}

static int add_list(struct extract *x, const char *list, struct skep_err *err)
{
	FILE *in = strcmp(list, "-") == 0 ? stdin : fopen(list, "re");
	char *line = NULL;
	size_t room = 0;
	int r = in ? 0 : skep_err_set(err, -errno, "%s: %s", list, strerror(errno));

	while (r == 0 && getline(&line, &room, in) > 0)
		r = add_line(x, line, err);
	free(line);
	if (in && in != stdin)
		fclose(in);
	return r;
}

int cap_extract_files(struct extract *x, struct skep_err *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < x->cfg->n_paths; i++)
		r = add_path(x, x->cfg->paths[i], err);
	return r == 0 && x->cfg->list ? add_list(x, x->cfg->list, err) : r;
}
