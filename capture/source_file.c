/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file source (-r): pcap or pcapng, plain or zstd, which the content tells and not the name; "-" is
 * standard input. Lossless: the reader goes at the pace of the disk that is written to. Everything else is
 * capinput.c.
 */
#include "capture/capinput.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static struct cap_tap *file_close(struct cap_tap *tap)
{
	if (tap)
		cap_capinput_done((struct cap_capinput *)tap);
	free(tap);
	return NULL;
}

static int open_fd(const char *name, int *ret, struct skep_err *err)
{
	_skep_close_ int fd = -1;
	struct stat st;

	if (strcmp(name, "-") == 0)
		fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	else
		fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%.200s: there is no such file", name);
	if (fd < 0 && errno == EACCES)
		return skep_err_set(err, SKEP_E_PRIVILEGE, "%.200s: not allowed to read it", name);
	if (fd < 0 || fstat(fd, &st) < 0)
		return skep_err_set(err, -errno, "%.200s: opening: %s", name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return skep_err_set(err, SKEP_E_USAGE, "%.200s: is a folder; one file can be read", name);
	*ret = TAKE_FD(fd);
	return 0;
}

static int file_open(const struct cap_source_cfg *cfg, struct cap_tap **ret_tap, struct skep_err *err)
{
	struct cap_capinput *in;
	int fd = -1;
	int r;

	if (!cfg->link)
		return skep_err_set(err, SKEP_E_USAGE, "no file to read");
	r = open_fd(cfg->link, &fd, err);
	if (r)
		return r;
	in = calloc(1, sizeof(*in));
	if (!in) {
		close(fd);
		return -ENOMEM;
	}
	r = cap_capinput_init(in, &(struct cap_capinput_cfg){
		.ops = &cap_source_file, .source = cfg, .fd = fd, .wait_ms = -1,
		.file_name = strcmp(cfg->link, "-") == 0 ? "stdin" : cfg->link }, err);
	if (r) {
		(void)file_close(&in->tap);
		return r;
	}
	*ret_tap = &in->tap;
	return 0;
}

const struct cap_source_ops cap_source_file = {
	.name = "file",
	.open = file_open,
	.start = cap_capinput_start,
	.stop = cap_capinput_stop,
	.account = cap_capinput_account,
	.check = cap_capinput_check,
	.close = file_close,
	.receive = cap_capinput_receive,
	.release = cap_capinput_release,
	.wait = cap_capinput_wait,
};
