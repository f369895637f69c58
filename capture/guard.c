/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See guard.h. The guard is a child process at the other end of a socket pair; it serves one request at a
 * time, and takes the end of the connection, for whatever reason it ends, as the end of its engine. It
 * ignores the signals that a terminal or a service manager sends to all; if it is killed as well (kill -9 of
 * everything), the state file tells the next engine.
 *
 * The state directory is locked (flock) while a file in it is read and acted upon, so that two engines cannot
 * both take a link, and an engine that starts cannot get in the way of a guard that is putting things back.
 */
#include "capture/guard.h"

#include "capture/beside.h"
#include "capture/ethtool.h"
#include "capture/guard_state.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define LINKS_MAX 16 /* CAP_MAX_LINKS */

enum op { OP_CLAIM, OP_OFFLOAD, OP_END };

struct request {
	enum op op;
	char link[IF_NAMESIZE];
	char feature[32];
	bool on;
};

struct reply {
	int code;
	struct skep_err err;
};

struct cap_guard {
	int fd;
	pid_t pid;
};

/* What the guard process works with. */
struct guardian {
	int fd;
	int dir_fd;
	int ioctl_fd;
	uint64_t netns;
	struct cap_guard_engine engine;
	uint32_t n;
	struct cap_guard_state links[LINKS_MAX];
};

static void unlock_fd(const int *fd)
{
	(void)flock(*fd, LOCK_UN);
}

/* Undoes and removes; the file is gone afterwards unless something could not be put back. */
static int undo_and_remove(int dir_fd, int ioctl_fd, const struct cap_guard_state *s, struct skep_err *err)
{
	char said[400] = "", path[96];
	int r = cap_guard_state_undo(ioctl_fd, s, said, sizeof(said));

	if (r < 0)
		return skep_err_set(err, r, "%s", said);
	cap_guard_state_path(s, path, sizeof(path));
	(void)unlinkat(dir_fd, path, 0);
	return 0;
}

/* ---- the guard process ---- */

static int refuse_busy(const struct cap_guard_state *other, struct skep_err *err)
{
	(void)skep_err_set(err, SKEP_E_BUSY, "link %s: it is captured by another skep-capture, pid %d",
			   other->link, (int)other->engine.pid);
	(void)skep_err_hint(err, "give that one another job, or stop it: kill %d", (int)other->engine.pid);
	return SKEP_E_BUSY;
}

/* The state of a link that is ours, made if need be. The directory is locked. */
static int claim(struct guardian *g, const char *link, struct cap_guard_state **ret, struct skep_err *err)
{
	struct cap_guard_state mine = { .engine = g->engine, .netns = g->netns }, other;
	char path[96];
	int r;

	for (uint32_t i = 0; i < g->n; i++) {
		if (strcmp(g->links[i].link, link) == 0) {
			*ret = &g->links[i];
			return 0;
		}
	}
	if (g->n == LINKS_MAX)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "link %s: one engine serves at most %d links",
				    link, LINKS_MAX);
	(void)snprintf(mine.link, sizeof(mine.link), "%s", link);
	mine.ifindex = (int)if_nametoindex(link);
	if (!mine.ifindex)
		return skep_err_set(err, SKEP_E_NOT_FOUND, "link %s: no such interface", link);
	cap_guard_state_path(&mine, path, sizeof(path));
	r = cap_guard_state_read(g->dir_fd, path, &other, err);
	if (r == 0 && cap_guard_engine_alive(&other.engine))
		return refuse_busy(&other, err);
	if (r == 0)
		r = undo_and_remove(g->dir_fd, g->ioctl_fd, &other, err);
	if (r && r != -ENOENT)
		return r;
	r = cap_guard_state_write(g->dir_fd, &mine, err);
	if (r)
		return r;
	g->links[g->n] = mine;
	*ret = &g->links[g->n++];
	return 0;
}

static int refuse_feature(const char *link, const char *feature, int r, struct skep_err *err)
{
	if (r == -EPERM)
		return skep_err_set(err, SKEP_E_PRIVILEGE, "link %s: switching %s needs CAP_NET_ADMIN", link,
				    feature);
	if (r == -EOPNOTSUPP)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "link %s: the driver cannot switch %s", link,
				    feature);
	if (r == -EBUSY)
		return skep_err_set(err, SKEP_E_UNSUPPORTED,
				    "link %s: the driver took the switch of %s without effect", link,
				    feature);
	return skep_err_set(err, r, "link %s: switching %s: %s", link, feature, strerror(-r));
}

static int offload(struct guardian *g, const struct request *q, struct skep_err *err)
{
	const char *feature = q->feature;
	struct cap_guard_state *s = NULL;
	struct cap_guard_change *c;
	struct cap_ethtool_feature now = { 0 };
	int r = claim(g, q->link, &s, err);

	if (r)
		return r;
	r = cap_ethtool_features(g->ioctl_fd, s->link, &feature, 1, &now);
	if (r == 0 && !now.known)
		r = -EOPNOTSUPP;
	if (r == 0 && now.active == q->on)
		return 0;
	if (r == 0 && now.fixed)
		r = -EOPNOTSUPP;
	if (r < 0)
		return refuse_feature(q->link, feature, r, err);
	for (uint32_t i = 0; i < s->n; i++)
		if (strcmp(s->changes[i].feature, feature) == 0)
			return skep_err_set(err, SKEP_E_USAGE, "link %s: %s was switched already", q->link,
					    feature);
	if (s->n == CAP_GUARD_CHANGES)
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "link %s: more than %d changes", q->link,
				    CAP_GUARD_CHANGES);
	c = &s->changes[s->n++];
	*c = (struct cap_guard_change){ .was = now.wanted, .set = q->on };
	(void)snprintf(c->feature, sizeof(c->feature), "%s", feature);
	r = cap_guard_state_write(g->dir_fd, s, err);
	if (r) {
		s->n--;
		return r;
	}
	r = cap_ethtool_feature_set(g->ioctl_fd, s->link, feature, q->on);
	if (r == 0)
		return 0;
	(void)cap_ethtool_feature_set(g->ioctl_fd, s->link, feature, c->was);
	s->n--;
	(void)cap_guard_state_write(g->dir_fd, s, NULL);
	return refuse_feature(q->link, feature, r, err);
}

static int restore_all(struct guardian *g, struct skep_err *err)
{
	SKEP_CLEANUP(unlock_fd) int locked = g->dir_fd;
	int result = 0;

	(void)flock(locked, LOCK_EX);
	while (g->n > 0) {
		struct cap_guard_state *s = &g->links[--g->n], file;
		char path[96];
		int r;

		cap_guard_state_path(s, path, sizeof(path));
		/* A new engine may have been quicker, and the file may be its own by now. */
		if (cap_guard_state_read(g->dir_fd, path, &file, NULL) != 0 ||
		    file.engine.pid != s->engine.pid || file.engine.start != s->engine.start)
			continue;
		r = undo_and_remove(g->dir_fd, g->ioctl_fd, s, err);
		result = r ? r : result;
	}
	return result;
}

static int serve(struct guardian *g, const struct request *q, struct skep_err *err)
{
	SKEP_CLEANUP(unlock_fd) int locked = g->dir_fd;
	struct cap_guard_state *s;

	if (flock(locked, LOCK_EX) < 0)
		return skep_err_set(err, -errno, "locking the state directory: %s", strerror(errno));
	return q->op == OP_CLAIM ? claim(g, q->link, &s, err) : offload(g, q, err);
}

/* Nothing but CAP_NET_ADMIN remains, if it was there at all. */
static void detach(struct guardian *g)
{
	int keep[3] = { g->fd, g->dir_fd, g->ioctl_fd };

	cap_beside_begin("skep-guard");
	if (chdir("/") < 0)
		return; /* cannot happen */
	/* Also stdout: a reader of the engine's output must see its end when the engine ends. The three go to
	 * 3, 4, 5. */
	for (int i = 0; i < 3; i++)
		keep[i] = fcntl(keep[i], F_DUPFD_CLOEXEC, 64);
	for (int i = 0; i < 3; i++)
		(void)dup2(keep[i], 3 + i);
	(void)close_range(6, ~0u, 0);
	(void)close_range(0, 2, 0);
	g->fd = 3;
	g->dir_fd = 4;
	g->ioctl_fd = 5;
	(void)cap_beside_keep(1ull << CAP_NET_ADMIN);
}

static void guardian_main(struct guardian *g)
{
	struct request q;

	detach(g);
	for (;;) {
		struct reply a = { 0 };
		ssize_t n = recv(g->fd, &q, sizeof(q), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n != (ssize_t)sizeof(q))
			break;
		a.code = q.op == OP_END ? restore_all(g, &a.err) : serve(g, &q, &a.err);
		(void)send(g->fd, &a, sizeof(a), MSG_NOSIGNAL);
		if (q.op == OP_END)
			_exit(0);
	}
	_exit(restore_all(g, NULL) ? 1 : 0);
}

/* ---- the engine ---- */

static int open_state_dir(const char *path, int *ret, struct skep_err *err)
{
	int fd, r;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		r = -errno;
	else {
		fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) == 0) {
			*ret = fd;
			return 0;
		}
		r = -errno;
		skep_closep(&fd);
	}
	(void)skep_err_set(err, r, "state directory %s: %s", path, strerror(-r));
	(void)skep_err_hint(err, "without root, have it made for this user (systemd: RuntimeDirectory=skep)");
	return r;
}

/* Every link of this namespace whose engine is dead is put back. */
static int clean(struct guardian *g, const struct cap_guard_cfg *cfg, struct skep_err *err)
{
	SKEP_CLEANUP(unlock_fd) int locked = g->dir_fd;
	char prefix[64], sentence[200];
	struct dirent *e;
	int r = 0, fd = openat(g->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		r = skep_err_set(err, -errno, "reading the state directory: %s", strerror(errno));
		skep_closep(&fd);
		return r;
	}
	(void)flock(locked, LOCK_EX);
	(void)snprintf(prefix, sizeof(prefix), "link-%llu-", (unsigned long long)g->netns);
	while (r == 0 && (e = readdir(d))) {
		struct cap_guard_state s;
		const char *dot = strrchr(e->d_name, '.');

		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0 || !dot || strcmp(dot, ".json") != 0 ||
		    cap_guard_state_read(g->dir_fd, e->d_name, &s, NULL) != 0 ||
		    cap_guard_engine_alive(&s.engine))
			continue;
		r = undo_and_remove(g->dir_fd, g->ioctl_fd, &s, err);
		if (r == 0 && s.n && cfg->say) {
			(void)snprintf(
				sentence, sizeof(sentence),
				"link %s: put back what a skep-capture that was killed (pid %d) had changed",
				s.link, (int)s.engine.pid);
			cfg->say(cfg->say_arg, sentence);
		}
	}
	(void)closedir(d);
	return r;
}

static int prepare(struct guardian *g, const struct cap_guard_cfg *cfg, struct skep_err *err)
{
	struct stat ns;
	int r = open_state_dir(cfg->state_dir ? cfg->state_dir : CAP_GUARD_STATE_DIR, &g->dir_fd, err);

	if (r)
		return r;
	if (stat("/proc/self/ns/net", &ns) < 0)
		return skep_err_set(err, -errno, "reading /proc/self/ns/net: %s", strerror(errno));
	g->netns = ns.st_ino;
	g->ioctl_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (g->ioctl_fd < 0)
		return skep_err_set(err, -errno, "opening a socket: %s", strerror(errno));
	r = cap_guard_engine_of(getpid(), &g->engine);
	if (r < 0)
		return skep_err_set(err, r, "reading /proc/%d/stat: %s", (int)getpid(), strerror(-r));
	return clean(g, cfg, err);
}

int cap_guard_start(const struct cap_guard_cfg *cfg, struct cap_guard **ret, struct skep_err *err)
{
	_skep_free_ struct guardian *g = calloc(1, sizeof(*g));
	_skep_free_ struct cap_guard *guard = calloc(1, sizeof(*guard));
	_skep_close_ int ours = -1;
	int pair[2], r;

	if (!g || !guard)
		return skep_err_set(err, -ENOMEM, "starting the guard: out of memory");
	g->fd = g->dir_fd = g->ioctl_fd = -1;
	r = prepare(g, cfg, err);
	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = skep_err_set(err, -errno, "starting the guard: %s", strerror(errno));
	if (r == 0) {
		ours = pair[0];
		g->fd = pair[1];
		guard->pid = fork();
		if (guard->pid == 0) {
			skep_closep(&ours);
			guardian_main(g);
		}
		if (guard->pid < 0)
			r = skep_err_set(err, -errno, "starting the guard: %s", strerror(errno));
	}
	skep_closep(&g->fd);
	skep_closep(&g->dir_fd);
	skep_closep(&g->ioctl_fd);
	if (r)
		return r;
	guard->fd = TAKE_FD(ours);
	*ret = TAKE_PTR(guard);
	return 0;
}

static int ask(struct cap_guard *g, const struct request *q, struct skep_err *err)
{
	struct reply a;
	ssize_t n = send(g->fd, q, sizeof(*q), MSG_NOSIGNAL);

	while (n >= 0) {
		n = recv(g->fd, &a, sizeof(a), 0);
		if (n >= 0 || errno != EINTR)
			break;
		n = 0;
	}
	if (n != (ssize_t)sizeof(a))
		return skep_err_set(err, -EPIPE, "link %s: the guard process is gone",
				    q->link[0] ? q->link : "?");
	if (a.code && err)
		*err = a.err;
	return a.code;
}

static int set_link(struct request *q, const char *link, struct skep_err *err)
{
	if (strlen(link) >= sizeof(q->link))
		return skep_err_set(err, SKEP_E_NOT_FOUND, "link %.32s: no such interface", link);
	(void)snprintf(q->link, sizeof(q->link), "%s", link);
	return 0;
}

int cap_guard_claim(struct cap_guard *g, const char *link, struct skep_err *err)
{
	struct request q = { .op = OP_CLAIM };
	int r = set_link(&q, link, err);

	return r ? r : ask(g, &q, err);
}

int cap_guard_offload(struct cap_guard *g, const char *link, const char *feature, bool on,
		      struct skep_err *err)
{
	struct request q = { .op = OP_OFFLOAD, .on = on };
	int r = set_link(&q, link, err);

	assert(strlen(feature) < sizeof(q.feature));
	(void)snprintf(q.feature, sizeof(q.feature), "%s", feature);
	return r ? r : ask(g, &q, err);
}

int cap_guard_end(struct cap_guard **g, struct skep_err *err)
{
	struct request q = { .op = OP_END };
	int r;

	if (!*g)
		return 0;
	r = ask(*g, &q, err);
	skep_closep(&(*g)->fd);
	while (waitpid((*g)->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(*g);
	*g = NULL;
	return r;
}
