/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves that a descriptor is read as its bytes come, one by one or all at once, plain or compressed: every
 * frame right and in order, nothing invented while bytes are missing, what is good before a fault delivered
 * and the fault reported in words; that receive never blocks; that the descriptor is left as it was and
 * closed in the end, also after a refusal.
 */
#include "tool.h"
#include "unit.h"

#include "capture/capinput.h"
#include "capture/capwrite.h"
#include "capture/mono.h"

#include <zstd.h>

#define N_FRAMES 200u

static uint8_t plain[1 << 16], packed[1 << 16];
static size_t plain_n, packed_n, first_n;
static char said[500];

static void say(void *arg, const char *sentence)
{
	(void)arg;
	(void)snprintf(said, sizeof(said), "%s", sentence);
}

static const struct cap_source_ops ops = { .name = "test" };
static const struct cap_source_cfg source_cfg = { .say = say };

static uint32_t length_of(uint32_t i)
{
	return 14 + i * 7 % 90;
}

/* 200 frames; the same in two zstd frames. */
static int make(void **state)
{
	size_t half, n;

	(void)state;
	cap_capwrite_pcap_header(plain, 262144, 1);
	plain_n = CAP_CAPWRITE_PCAP_HEADER_BYTES;
	for (uint32_t i = 0; i < N_FRAMES; i++) {
		cap_capwrite_pcap_record(plain + plain_n, 1700000000000000000 + i, length_of(i),
					 length_of(i) + i);
		memset(plain + plain_n + CAP_CAPWRITE_PCAP_RECORD_BYTES, (int)i, length_of(i));
		plain_n += CAP_CAPWRITE_PCAP_RECORD_BYTES + length_of(i);
	}
	half = plain_n / 2 + 1;
	n = ZSTD_compress(packed, sizeof(packed), plain, half, 3);
	first_n = n;
	packed_n = n + ZSTD_compress(packed + n, sizeof(packed) - n, plain + half, plain_n - half, 3);
	return ZSTD_isError(n) || ZSTD_isError(packed_n);
}

static int init(struct cap_capinput *in, int fd, int wait_ms, struct skep_err *err)
{
	memset(in, 0, sizeof(*in));
	return cap_capinput_init(in,
				 &(struct cap_capinput_cfg){ .ops = &ops,
							     .source = &source_cfg,
							     .fd = fd,
							     .file_name = "dir/a b.pcap",
							     .wait_ms = wait_ms },
				 err);
}

/* Receives what is there now; checks each frame against its number. Returns receive's last word. */
static int drain(struct cap_capinput *in, uint32_t *next)
{
	struct cap_batch batch;
	int r;

	while ((r = cap_capinput_receive(&in->src, &batch)) > 0) {
		assert_true(r <= (int)CAP_BATCH && batch.n == (uint32_t)r);
		for (int k = 0; k < r; k++, (*next)++) {
			const struct cap_frame *f = &batch.frames[k];

			assert_int_equal(f->cap_len, length_of(*next));
			assert_int_equal(f->wire_len, length_of(*next) + *next);
			assert_int_equal(f->ts_ns, 1700000000000000000 + *next);
			for (uint32_t at = 0; at < f->len; at++)
				assert_true(f->data[at] == (uint8_t)*next);
		}
		cap_capinput_release(&in->src, &batch);
		assert_int_equal(batch.n, 0);
	}
	assert_int_equal(batch.n, 0);
	return r;
}

/* Feeds the bytes in pieces through a pipe; head: so many at once, in which the link type is. */
static void feed(const uint8_t *data, size_t n, size_t head, size_t piece)
{
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_kernel_account account;
	struct cap_capinput in;
	uint32_t next = 0;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], data, head), (ssize_t)head);
	if (init(&in, fds[0], 1000, &err))
		fail_msg("%s", err.text);
	assert_int_equal(in.tap.linktype, 1);
	assert_string_equal(in.tap.link, "a_b.pcap");
	for (size_t at = head; at < n; at += piece) {
		assert_int_equal(drain(&in, &next), 0);
		assert_int_equal(write(fds[1], data + at, SKEP_MIN(piece, n - at)), SKEP_MIN(piece, n - at));
	}
	assert_int_equal(drain(&in, &next), 0);
	assert_int_equal(cap_capinput_check(&in.tap, &err), 0);
	assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
	close(fds[1]);
	assert_int_equal(drain(&in, &next), -ENODATA);
	assert_int_equal(drain(&in, &next), -ENODATA);
	assert_int_equal(next, N_FRAMES);
	cap_capinput_account(&in.tap, &account);
	assert_int_equal(account.offered, N_FRAMES);
	assert_int_equal(cap_capinput_check(&in.tap, &err), 0);
	cap_capinput_done(&in);
	assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed */
}

static void byte_by_byte(void **state)
{
	static const size_t pieces[] = { 1, 2, 3, 7, 16, 100, 4096, 1 << 16 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
		feed(plain, plain_n, CAP_CAPWRITE_PCAP_HEADER_BYTES + 1, pieces[i]);
		feed(packed, packed_n, first_n, pieces[i]); /* a block gives nothing before it is whole */
	}
}

/* Cut at every byte: whole frames before the cut are delivered, then the cut is reported, never a guess. */
static void cut_anywhere(void **state)
{
	char path[] = "/tmp/skep-capinput-XXXXXX";
	const int fd = mkstemp(path);

	(void)state;
	assert_true(fd >= 0 && first_n > 512);
	for (int zst = 0; zst < 2; zst++) {
		const uint8_t *data = zst ? packed : plain;
		const size_t n = zst ? packed_n : plain_n;

		for (size_t cut = 512; cut < n; cut += zst ? 5 : 13) {
			struct skep_err err = SKEP_ERR_NULL;
			struct cap_capinput in;
			uint32_t next = 0, whole = 0;
			size_t at = CAP_CAPWRITE_PCAP_HEADER_BYTES;
			int r;

			assert_int_equal(ftruncate(fd, 0), 0);
			assert_int_equal(pwrite(fd, data, cut, 0), (ssize_t)cut);
			r = init(&in, open(path, O_RDONLY | O_CLOEXEC), -1, &err);
			if (r == 0)
				r = drain(&in, &next);
			for (; at + CAP_CAPWRITE_PCAP_RECORD_BYTES + length_of(whole) <= cut; whole++)
				at += CAP_CAPWRITE_PCAP_RECORD_BYTES + length_of(whole);
			if (zst) {
				assert_true(next <= N_FRAMES);
			} else {
				assert_int_equal(next, whole);
			}
			if (!zst && at == cut) {
				assert_int_equal(r, -ENODATA);
			} else if (r != -ENODATA) { /* a zstd file cut between its frames has only an end */
				if (in.file && atomic_load(&in.ended))
					r = cap_capinput_check(&in.tap, &err);
				assert_true(r > 0 && err.text[0]);
				assert_non_null(strstr(err.text, "a b.pcap"));
			} else {
				assert_true(zst);
			}
			cap_capinput_done(&in);
		}
	}
	close(fd);
	unlink(path);
}

static void stopping_and_waiting(void **state)
{
	struct cap_capinput in;
	uint32_t next = 0;
	uint64_t from_ns;
	int fds[2];

	(void)state;
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], plain, 1000), 1000);
	assert_int_equal(init(&in, fds[0], 1000, NULL), 0);
	assert_int_equal(cap_capinput_start(&in.tap, NULL), 0);
	assert_int_equal(drain(&in, &next), 0);
	from_ns = cap_mono_ns();
	cap_capinput_wait(&in.src, 30 * SKEP_NSEC_PER_MSEC);
	assert_true(cap_mono_ns() - from_ns >= 29 * SKEP_NSEC_PER_MSEC);
	assert_int_equal(write(fds[1], plain + 1000, 1000), 1000);
	cap_capinput_wait(&in.src, 3600 * SKEP_NSEC_PER_SEC); /* there is something: returns at once */
	cap_capinput_stop(&in.tap);
	assert_int_equal(drain(&in, &next), -ENODATA);
	assert_true(next > 0 && next < 20);
	cap_capinput_done(&in);
	close(fds[1]);
}

static void refusals_close_the_descriptor(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
		bool keep_open;
		const char *says;
	} cases[] = {
		{ "", 0, false, "" },
		{ "", 0, true, "no file header within 0 s" },
		{ "\xd4\xc3\xb2", 3, true, "no file header within 0 s" },
		{ "\xd4\xc3\xb2", 3, false, "" },
		{ "GET / HTTP/1.1\r\n\r\n12345678", 26, false, "neither pcap nor pcapng" },
		{ "\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff", 10, false, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct skep_err err = SKEP_ERR_NULL;
		struct cap_capinput in;
		int fds[2], r;

		assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
		assert_int_equal(write(fds[1], cases[i].bytes, cases[i].n), (ssize_t)cases[i].n);
		if (!cases[i].keep_open)
			close(fds[1]);
		r = init(&in, fds[0], 50, &err);
		if (r == 0)
			fail_msg("case %zu was taken", i);
		assert_true(err.text[0] && strstr(err.text, "a b.pcap"));
		if (!strstr(err.text, cases[i].says))
			fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].says);
		cap_capinput_done(&in);
		assert_int_equal(fcntl(fds[0], F_GETFD), -1);
		if (cases[i].keep_open)
			close(fds[1]);
	}
}

/* pcapng has 64 bits of time; what does not fit is stored as the nearest that does, and said once. */
static void odd_times_are_said_once(void **state)
{
	uint8_t file[500];
	struct cap_capinput in;
	struct cap_batch batch;
	size_t n = cap_capwrite_shb(file, sizeof(file), &(struct cap_capwrite_shb){ 0 });
	int fds[2];

	(void)state;
	n += cap_capwrite_idb(file + n, sizeof(file) - n, &(struct cap_capwrite_idb){ .linktype = 1 });
	for (int i = 0; i < 2; i++) {
		cap_capwrite_epb_header(file + n, 0, UINT64_MAX - 5, 16, 16);
		n += CAP_CAPWRITE_EPB_HEADER_BYTES;
		for (int k = 0; k < 16; k++)
			file[n++] = 1;
		n += cap_capwrite_epb_tail(file + n, 16);
	}
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(write(fds[1], file, n), (ssize_t)n);
	close(fds[1]);
	assert_int_equal(init(&in, fds[0], 1000, NULL), 0);
	said[0] = '\0';
	assert_int_equal(cap_capinput_receive(&in.src, &batch), 2);
	assert_true(batch.frames[0].ts_ns <= INT64_MAX);
	assert_int_equal(cap_capinput_check(&in.tap, NULL), 0);
	assert_non_null(strstr(said, "time stamps before 1970 or after 2262"));
	said[0] = '\0';
	assert_int_equal(cap_capinput_check(&in.tap, NULL), 0);
	assert_string_equal(said, "");
	cap_capinput_done(&in);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(byte_by_byte),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(stopping_and_waiting),
		cmocka_unit_test(refusals_close_the_descriptor),
		cmocka_unit_test(odd_times_are_said_once),
	};

	return cmocka_run_group_tests_name("capinput", tests, make, NULL);
}
