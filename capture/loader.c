/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The loader process and its engine's side of the socket between them. One request, one answer, both of fixed
 * head and a text behind it; the two ends are the same binary, so the structs travel as they are. What the
 * engine says is trusted as little as what it was told itself: slots and sets are checked, and a filter is
 * compiled in a cage of its own (capture/filter/cage.c).
 */
#include "capture/loader.h"

#include "bpf/abi/skep_abi.h"
#include "capture/beside.h"
#include "capture/filter/limits.h"
#include "capture/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum op { OP_PUT, OP_DROP, OP_COMMIT };

struct request {
	uint32_t op;
	uint32_t set;
	uint32_t generation;
	uint32_t text_bytes; /* of the filter, behind this head */
	struct flt_job_spec spec;
};

struct reply {
	int32_t code;
	struct skep_err err;
};

struct cap_loader {
	pid_t pid;
	int fd;
};

struct server {
	int fd;
	const struct cap_loader_cfg *cfg;
	char *text; /* FLT_MAX_TEXT_BYTES + 1 */
};

static int send_all(int fd, const void *bytes, size_t n)
{
	const char *p = bytes;

	while (n > 0) {
		ssize_t k = send(fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return -EPIPE;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

static int recv_all(int fd, void *bytes, size_t n)
{
	char *p = bytes;

	while (n > 0) {
		ssize_t k = recv(fd, p, n, 0);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return -EPIPE;
		p += k;
		n -= (size_t)k;
	}
	return 0;
}

/* ---- the process ---- */

static int serve(struct server *s, struct request *q, struct skep_err *err)
{
	struct flt_jobset *set;

	if (q->set >= s->cfg->n || q->spec.slot >= SKEP_MAX_JOBS || q->generation >= SKEP_GENERATIONS)
		return skep_err_set(err, -EINVAL, "the loader was asked for what there is not");
	set = s->cfg->sets[q->set];
	switch (q->op) {
	case OP_PUT:
		q->spec.filter = s->text;
		return flt_jobset_put(set, &q->spec, err);
	case OP_DROP:
		flt_jobset_drop(set, q->spec.slot);
		return 0;
	case OP_COMMIT:
		return flt_jobset_commit(set, q->generation, err);
	default:
		return skep_err_set(err, -EINVAL, "the loader was asked for what it does not know");
	}
}

/* Another user, but with these capabilities; 0, or -errno: then it must not go on. */
static int become(const struct cap_loader_cfg *cfg)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (cfg->change_user && (setgroups(0, NULL) < 0 || setresgid(cfg->gid, cfg->gid, cfg->gid) < 0 ||
				 setresuid(cfg->uid, cfg->uid, cfg->uid) < 0))
		return -errno;
	return cap_beside_keep(1ull << CAP_NET_ADMIN | 1ull << CAP_BPF | 1ull << CAP_PERFMON);
}

static void loader_main(struct server *s)
{
	struct request q;

	cap_beside_begin("skep-loader");
	if (become(s->cfg) < 0)
		_exit(1); /* who asks is told that it is gone */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* changing the user would clear it */
	s->text = malloc(FLT_MAX_TEXT_BYTES + 1);
	while (s->text && recv_all(s->fd, &q, sizeof(q)) == 0) {
		struct reply a = { 0 };

		if (q.text_bytes > FLT_MAX_TEXT_BYTES || recv_all(s->fd, s->text, q.text_bytes) < 0)
			break;
		s->text[q.text_bytes] = '\0';
		a.code = serve(s, &q, &a.err);
		if (send_all(s->fd, &a, sizeof(a)) < 0)
			break;
	}
	_exit(0);
}

/* ---- the engine ---- */

int cap_loader_start(const struct cap_loader_cfg *cfg, struct cap_loader **ret, struct skep_err *err)
{
	_skep_free_ struct cap_loader *loader = calloc(1, sizeof(*loader));
	_skep_close_ int ours = -1, theirs = -1;
	int pair[2];

	if (!loader)
		return skep_err_set(err, -ENOMEM, "starting the loader: out of memory");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return skep_err_set(err, -errno, "starting the loader: %s", strerror(errno));
	ours = pair[0];
	theirs = pair[1];
	loader->pid = fork();
	if (loader->pid < 0)
		return skep_err_set(err, -errno, "starting the loader: %s", strerror(errno));
	if (loader->pid == 0) {
		struct server s = { .fd = theirs, .cfg = cfg };

		skep_closep(&ours);
		loader_main(&s);
	}
	loader->fd = TAKE_FD(ours);
	*ret = TAKE_PTR(loader);
	return 0;
}

struct cap_loader *cap_loader_stop(struct cap_loader *loader)
{
	if (!loader)
		return NULL;
	skep_closep(&loader->fd);
	while (waitpid(loader->pid, NULL, 0) < 0 && errno == EINTR)
		;
	free(loader);
	return NULL;
}

bool cap_loader_gone(const struct cap_loader *loader)
{
	struct pollfd pfd = { .fd = loader->fd };

	return poll(&pfd, 1, 0) > 0 && (pfd.revents & (POLLHUP | POLLERR));
}

static int ask(struct cap_loader *loader, struct request *q, const char *text, struct skep_err *err)
{
	struct reply a;
	size_t n = text ? strlen(text) : 0;

	if (n > FLT_MAX_TEXT_BYTES)
		return skep_err_set(err, SKEP_E_USAGE, "filter: longer than %u bytes", FLT_MAX_TEXT_BYTES);
	q->text_bytes = (uint32_t)n;
	q->spec.filter = NULL;
	if (send_all(loader->fd, q, sizeof(*q)) < 0 || send_all(loader->fd, text, n) < 0 ||
	    recv_all(loader->fd, &a, sizeof(a)) < 0)
		return skep_err_set(err, -EPIPE, "the process that loads filters is gone");
	if (a.code && err)
		*err = a.err;
	return a.code;
}

int cap_loader_put(struct cap_loader *loader, uint32_t set, const struct flt_job_spec *spec,
		   struct skep_err *err)
{
	struct request q = { .op = OP_PUT, .set = set, .spec = *spec };

	return ask(loader, &q, spec->filter, err);
}

int cap_loader_drop(struct cap_loader *loader, uint32_t set, uint32_t slot, struct skep_err *err)
{
	struct request q = { .op = OP_DROP, .set = set, .spec = { .slot = slot } };

	return ask(loader, &q, NULL, err);
}

int cap_loader_commit(struct cap_loader *loader, uint32_t set, uint32_t generation, struct skep_err *err)
{
	struct request q = { .op = OP_COMMIT, .set = set, .generation = generation };

	return ask(loader, &q, NULL, err);
}
