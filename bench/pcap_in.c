/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libpcap reads, libzstd uncompresses where the file begins with zstd's magic; the two are joined by a stdio
 * stream (fopencookie). A test tool: it uses the libraries that others use, not ours, so that it is an
 * independent witness of what we wrote.
 */
#include "bench/pcap_in.h"

#include <errno.h>
#include <pcap/pcap.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>

struct unzstd {
	FILE *file;
	ZSTD_DStream *stream;
	ZSTD_inBuffer in;
	uint8_t room[1 << 17];
};

struct bench_pcap_in {
	char *path;
	pcap_t *pcap;
};

static ssize_t unzstd_read(void *cookie, char *buf, size_t size)
{
	struct unzstd *u = cookie;
	ZSTD_outBuffer out = { .dst = buf, .size = size };
	size_t r;

	while (out.pos == 0) {
		if (u->in.pos == u->in.size) {
			u->in.pos = 0;
			u->in.size = fread(u->room, 1, sizeof(u->room), u->file);
			if (u->in.size == 0)
				return 0;
		}
		r = ZSTD_decompressStream(u->stream, &out, &u->in);
		if (ZSTD_isError(r)) {
			errno = EBADMSG;
			return -1;
		}
	}
	return (ssize_t)out.pos;
}

static int unzstd_close(void *cookie)
{
	struct unzstd *u = cookie;

	if (u->file && u->file != stdin)
		(void)fclose(u->file);
	(void)ZSTD_freeDStream(u->stream);
	free(u);
	return 0;
}

/* Takes the file. */
static FILE *unzstd_open(FILE *file)
{
	cookie_io_functions_t io = { .read = unzstd_read, .close = unzstd_close };
	struct unzstd *u = calloc(1, sizeof(*u));
	FILE *out = NULL;

	if (u) {
		u->file = file;
		u->in.src = u->room;
		u->stream = ZSTD_createDStream();
		out = u->stream ? fopencookie(u, "r", io) : NULL;
		if (!out)
			(void)unzstd_close(u);
	} else {
		(void)fclose(file);
	}
	return out;
}

static FILE *open_any(const char *path)
{
	FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	int first;

	if (!file)
		return NULL;
	/* only zstd's magic (28 b5 2f fd) of all that is read here begins with 0x28 */
	first = getc(file);
	if (first != EOF)
		(void)ungetc(first, file);
	return first == 0x28 ? unzstd_open(file) : file;
}

int bench_pcap_in_open(const char *path, struct bench_pcap_in **ret, struct skep_err *err)
{
	char text[PCAP_ERRBUF_SIZE] = "";
	struct bench_pcap_in *in = calloc(1, sizeof(*in));
	FILE *file;
	int link;

	if (in)
		in->path = strdup(path);
	if (!in || !in->path) {
		bench_pcap_in_close(in);
		return skep_err_set(err, -ENOMEM, "no memory");
	}
	file = open_any(path);
	if (!file) {
		bench_pcap_in_close(in);
		return skep_err_set(err, SKEP_E_NOT_FOUND, "%s: cannot open it: %s", path, strerror(errno));
	}
	in->pcap = pcap_fopen_offline(file, text);
	if (!in->pcap) {
		if (file != stdin)
			(void)fclose(file);
		bench_pcap_in_close(in);
		return skep_err_set(err, SKEP_E_BAD_DATA, "%s: not a capture file: %s", path, text);
	}
	link = pcap_datalink(in->pcap);
	if (link != DLT_EN10MB) {
		bench_pcap_in_close(in);
		return skep_err_set(err, SKEP_E_UNSUPPORTED, "%s: its frames are not Ethernet but %s", path,
				    pcap_datalink_val_to_name(link) ?: "of an unknown kind");
	}
	*ret = in;
	return 0;
}

struct bench_pcap_in *bench_pcap_in_close(struct bench_pcap_in *in)
{
	if (!in)
		return NULL;
	if (in->pcap)
		pcap_close(in->pcap);
	free(in->path);
	free(in);
	return NULL;
}

int bench_pcap_in_next(struct bench_pcap_in *in, struct bench_pcap_frame *ret, struct skep_err *err)
{
	struct pcap_pkthdr *head;
	const uint8_t *data;
	int r = pcap_next_ex(in->pcap, &head, &data);

	if (r == PCAP_ERROR_BREAK)
		return 0;
	if (r != 1)
		return skep_err_set(err, -EBADMSG, "%s: %s", in->path, pcap_geterr(in->pcap));
	*ret = (struct bench_pcap_frame){ .data = data, .len = head->caplen, .wire_len = head->len };
	return 1;
}
