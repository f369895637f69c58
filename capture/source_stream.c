/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stream source: pcap or pcapng from standard input or from a command, as it comes; the way to cards with
 * receivers of their own and to remote switches (ssh … tcpdump -w -). Reading is capinput.c, the command is
 * kept by child.c.
 *
 * The command starts when the tap is opened: its header is needed to know the link type. It runs with the
 * rights that we have then. Threads as in capinput.c.
 */
#include "capture/capinput.h"
#include "capture/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* A remote login may take its time; a person may type a password. */
#define HEAD_WAIT_MS 60000
/* Between the end of its output and the end of the command. */
#define STATUS_WAIT_MS 500

struct stream_tap {
	struct cap_capinput in; /* first */
	struct cap_child child;
};

static struct cap_tap *stream_close(struct cap_tap *tap)
{
	struct stream_tap *t = (struct stream_tap *)tap;

	if (t) {
		cap_capinput_done(&t->in);
		cap_child_stop(&t->child);
	}
	free(t);
	return NULL;
}

/* How the command ended, if that was not well; 0 otherwise. What was asked to stop by us does not count. */
static int check_status(struct stream_tap *t, int timeout_ms, struct skep_err *err)
{
	const char *command = t->in.tap.cfg.stream_command;

	if (t->child.pid < 0 || !cap_child_ended(&t->child, timeout_ms) || t->child.status == 0)
		return 0;
	if (WIFSIGNALED(t->child.status) && WTERMSIG(t->child.status) == SIGPIPE &&
	    atomic_load(&t->in.stopped))
		return 0;
	if (WIFSIGNALED(t->child.status))
		return skep_err_set(err, SKEP_E_BAD_DATA,
				    "stream command \"%.200s\": ended by signal %d (%s)", command,
				    WTERMSIG(t->child.status), strsignal(WTERMSIG(t->child.status)));
	if (WEXITSTATUS(t->child.status) == 127)
		return skep_err_set(err, SKEP_E_NOT_FOUND,
				    "stream command \"%.200s\": the shell did not find it (exit status 127)",
				    command);
	return skep_err_set(err, SKEP_E_BAD_DATA, "stream command \"%.200s\": ended with exit status %d",
			    command, WEXITSTATUS(t->child.status));
}

static int stream_check(struct cap_tap *tap, struct skep_err *err)
{
	struct stream_tap *t = (struct stream_tap *)tap;
	int r = check_status(
		t, atomic_load(&t->in.ended) && !atomic_load(&t->in.stopped) ? STATUS_WAIT_MS : 0, err);

	/* What is still in the pipe is read first. */
	if (r && !atomic_load(&t->in.ended))
		return 0;
	return r ? r : cap_capinput_check(tap, err);
}

static int start_input(struct stream_tap *t, const struct cap_source_cfg *cfg, int *ret_fd,
		       struct skep_err *err)
{
	int r;

	if (cfg->stream_command) {
		r = cap_child_run(cfg->stream_command, &t->child, err);
		if (r == 0)
			*ret_fd = TAKE_FD(t->child.out);
		return r;
	}
	if (isatty(STDIN_FILENO)) {
		skep_err_set(err, SKEP_E_USAGE, "stream: standard input is a terminal, not a pcap stream");
		skep_err_hint(
			err,
			"pipe one in (ssh HOST tcpdump -U -w - | skep-capture …), or give --stream-command");
		return SKEP_E_USAGE;
	}
	*ret_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	if (*ret_fd < 0)
		return skep_err_set(err, -errno, "stream: standard input: %s", strerror(errno));
	return 0;
}

static int stream_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	struct stream_tap *t = calloc(1, sizeof(*t));
	int fd = -1;
	int r;

	if (!t)
		return -ENOMEM;
	t->child = (struct cap_child)CAP_CHILD_NULL;
	t->in.fd = -1;
	r = start_input(t, cfg, &fd, err);
	if (r == 0)
		r = cap_capinput_init(&t->in, &(struct cap_capinput_cfg){
			.ops = &cap_source_stream, .source = cfg, .fd = fd, .wait_ms = HEAD_WAIT_MS,
			.file_name = cfg->stream_command ? "stream" : "stdin" }, err);
	if (r) {
		/* If the command has failed, that is the better reason. */
		const int why = check_status(t, STATUS_WAIT_MS, err);

		(void)stream_close(&t->in.tap);
		return why ? why : r;
	}
	*ret_tap = &t->in.tap;
	return 0;
}

const struct cap_source_ops cap_source_stream = {
	.name = "stream",
	.open = stream_open,
	.start = cap_capinput_start,
	.stop = cap_capinput_stop,
	.account = cap_capinput_account,
	.check = stream_check,
	.close = stream_close,
	.receive = cap_capinput_receive,
	.release = cap_capinput_release,
	.wait = cap_capinput_wait,
};
