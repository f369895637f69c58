/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proves, on real links of an own namespace: frames are lent byte for byte, with the VLAN tag that the kernel
 * took out; what the kernel counted is what was received plus ring full, exactly, with a full ring and with a
 * stop in the middle of traffic; fanout and loopback double nothing; "any" has a right cooked header; a link
 * that goes down and up, or away.
 */
#include "capture/source.h"

#include "netns.h"
#include "tool.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

static bool in_netns;
static const struct cap_source_ops *const ops = &cap_source_afpacket;

static struct cap_tap *open_tap(const char *link, uint32_t n)
{
	struct cap_source_cfg cfg = {
		.link = link, .kind = CAP_SOURCE_AFPACKET, .promisc = true, .n_queues = n
	};
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;
	int r;

	if (!in_netns)
		skip();
	r = ops->open(&cfg, &tap, &err);
	if (r)
		print_message("# %s; %s\n", err.text, err.hint);
	assert_int_equal(r, 0);
	assert_int_equal(ops->start(tap, &err), 0);
	return tap;
}

static int sender(const char *link)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(link) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), big = 8 << 20;

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	return fd;
}

/* UDP over IPv4 with a number, so that fanout has flows and the receiver can tell frames apart. */
static void make_frame(uint8_t *f, size_t len, uint32_t number)
{
	memset(f, (int)(number & 0xff), len);
	memset(f, 0x02, 12);
	f[12] = 0x08;
	f[13] = 0x00;
	f[14] = 0x45;
	f[23] = 17;
	memset(f + 26, 10, 8);
	f[26 + 3] = (uint8_t)number;
	memcpy(f + 38, &number, 4);
}

static uint32_t send_frames(int fd, uint32_t n, size_t len)
{
	uint8_t f[2000];
	uint32_t sent = 0;

	for (uint32_t i = 0; i < n; i++) {
		make_frame(f, len, i);
		sent += send(fd, f, len, 0) == (ssize_t)len;
	}
	return sent;
}

/* Receives until nothing is there; returns frames; fails on a frame of another length than len (0: any). */
static uint64_t drain(struct cap_tap *tap, size_t len)
{
	struct cap_batch *b = calloc(1, sizeof(*b));
	uint64_t n = 0;

	for (uint32_t i = 0; i < tap->n_sources; i++) {
		while (ops->receive(tap->sources[i], b) > 0) {
			for (uint32_t k = 0; k < b->n; k++)
				if (len)
					assert_int_equal(b->frames[k].cap_len, len);
			n += b->n;
			ops->release(tap->sources[i], b);
		}
	}
	free(b);
	return n;
}

static size_t flatten(const struct cap_batch *b, uint32_t k, uint8_t *out)
{
	const struct cap_frame *f = &b->frames[k];
	size_t n = f->len;

	memcpy(out, f->data, f->len);
	for (uint16_t i = 0; i < f->frag_n; i++) {
		memcpy(out + n, b->frags[f->frag_first + i].data, b->frags[f->frag_first + i].len);
		n += b->frags[f->frag_first + i].len;
	}
	assert_int_equal(n, f->cap_len);
	return n;
}

static void bytes_and_tags(void **state)
{
	static const size_t lens[] = { 14, 60, 61, 1514, 64, 100 };
	static const uint8_t tag[4] = { 0x81, 0x00, 0x20, 0x07 }, stag[4] = { 0x88, 0xa8, 0x00, 0x64 };
	struct cap_tap *tap = open_tap("vb", 1);
	struct cap_batch *b = calloc(1, sizeof(*b));
	uint8_t f[6][1600], got[1600];
	struct timespec now;
	uint32_t at = 0;
	int fd = sender("va");

	(void)state;
	for (uint32_t i = 0; i < 6; i++) {
		make_frame(f[i], 100 > lens[i] ? 100 : lens[i], i);
		f[i][12] = 0x88; /* an experimental type: nothing on the way interprets it */
		f[i][13] = 0xb5;
		if (i == 4)
			memcpy(f[i] + 12, tag, 4);
		if (i == 5) { /* QinQ */
			memcpy(f[i] + 12, stag, 4);
			memcpy(f[i] + 16, tag, 4);
		}
		assert_int_equal(send(fd, f[i], lens[i], 0), (ssize_t)lens[i]);
	}
	clock_gettime(CLOCK_REALTIME, &now);
	ops->stop(tap);
	while (ops->receive(tap->sources[0], b) > 0) {
		for (uint32_t k = 0; k < b->n; k++) {
			if (b->frames[k].data[12] == 0x86) /* IPv6 of the kernel itself */
				continue;
			assert_true(at < 6);
			assert_int_equal(flatten(b, k, got), lens[at]);
			assert_memory_equal(got, f[at], lens[at]);
			assert_int_equal(b->frames[k].wire_len, lens[at]);
			assert_true(llabs((long long)b->frames[k].ts_ns - now.tv_sec * 1000000000ll -
					  now.tv_nsec) < 5000000000ll);
			at++;
		}
		ops->release(tap->sources[0], b);
	}
	assert_int_equal(at, 6);
	assert_int_equal(tap->linktype, 1);
	close(fd);
	free(b);
	assert_null(ops->close(tap));
}

static void full_ring_is_exact(void **state)
{
	struct cap_tap *tap = open_tap("vb", 1);
	struct cap_kernel_account a;
	int fd = sender("va");
	uint32_t sent = send_frames(fd, 60000, 1500); /* 90 MB into 64 MiB */
	uint64_t received;

	(void)state;
	ops->stop(tap);
	received = drain(tap, 0);
	ops->account(tap, &a);
	assert_true(a.afpacket_ring_full > 0);
	assert_true(received > 30000);
	assert_int_equal(a.offered, received + a.afpacket_ring_full);
	assert_true(a.offered >= sent && a.offered <= sent + 100);
	send_frames(fd, 100, 100);
	assert_int_equal(drain(tap, 0), 0); /* after stop nothing comes */
	ops->account(tap, &a);
	assert_int_equal(a.offered, received + a.afpacket_ring_full);
	close(fd);
	assert_null(ops->close(tap));
}

struct traffic {
	int fd;
	bool end;
	uint64_t sent;
};

static void *keep_sending(void *arg)
{
	struct traffic *t = arg;

	while (!__atomic_load_n(&t->end, __ATOMIC_RELAXED))
		t->sent += send_frames(t->fd, 50, 700);
	return NULL;
}

static void stop_in_traffic_is_exact(void **state)
{
	(void)state;
	for (int round = 0; round < 8; round++) {
		struct cap_tap *tap = open_tap("vb", 1 + (uint32_t)round % 2);
		struct traffic t = { .fd = sender("va") };
		struct cap_kernel_account a;
		uint64_t received = 0;
		pthread_t thread;

		assert_int_equal(pthread_create(&thread, NULL, keep_sending, &t), 0);
		for (int i = 0; i < 5; i++) {
			usleep(10000);
			received += drain(tap, 0);
		}
		ops->stop(tap);
		received += drain(tap, 0);
		usleep(1000);
		assert_int_equal(drain(tap, 0), 0);
		ops->account(tap, &a);
		__atomic_store_n(&t.end, true, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		assert_true(received > 0);
		assert_int_equal(a.offered, received + a.afpacket_ring_full);
		close(t.fd);
		assert_null(ops->close(tap));
	}
}

static void fanout_doubles_nothing(void **state)
{
	struct cap_tap *tap = open_tap("vb", 2);
	struct cap_batch *b = calloc(1, sizeof(*b));
	uint8_t seen[2000] = { 0 };
	uint64_t of[2] = { 0 };
	int fd = sender("va");

	(void)state;
	assert_int_equal(tap->n_sources, 2);
	assert_int_equal(send_frames(fd, 2000, 200), 2000);
	ops->stop(tap);
	for (uint32_t i = 0; i < 2; i++) {
		while (ops->receive(tap->sources[i], b) > 0) {
			for (uint32_t k = 0; k < b->n; k++) {
				uint32_t number;

				if (b->frames[k].len != 200)
					continue;
				memcpy(&number, b->frames[k].data + 38, 4);
				assert_true(number < 2000);
				seen[number]++;
				of[i]++;
			}
			ops->release(tap->sources[i], b);
		}
	}
	for (uint32_t i = 0; i < 2000; i++)
		assert_int_equal(seen[i], 1);
	assert_true(of[0] > 0 && of[1] > 0);
	close(fd);
	free(b);
	assert_null(ops->close(tap));
}

static void send_udp(const char *to_ip, uint32_t n)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, to_ip, &to.sin_addr);
	while (n--)
		(void)sendto(fd, "skep-udp", 8, 0, (struct sockaddr *)&to, sizeof(to));
	close(fd);
}

static uint64_t count_udp(struct cap_tap *tap, size_t header)
{
	struct cap_batch *b = calloc(1, sizeof(*b));
	uint8_t got[4096];
	uint64_t n = 0;

	while (ops->receive(tap->sources[0], b) > 0) {
		for (uint32_t k = 0; k < b->n; k++)
			if (flatten(b, k, got) == header + 36 &&
			    memcmp(got + header + 28, "skep-udp", 8) == 0)
				n++;
		ops->release(tap->sources[0], b);
	}
	free(b);
	return n;
}

static void both_directions_once(void **state)
{
	struct cap_tap *lo = open_tap("lo", 1), *va = open_tap("va", 1), *any = open_tap("any", 1);

	(void)state;
	assert_int_equal(netns_run("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev va"), 0);
	send_udp("127.0.0.1", 50);
	send_udp("10.9.0.2", 30); /* leaves through va, and arrives at vb */
	ops->stop(lo);
	ops->stop(va);
	ops->stop(any);
	/* The closed port answers each datagram: ICMP is not counted here. */
	assert_int_equal(count_udp(lo, 14), 50);
	assert_int_equal(count_udp(va, 14), 30);
	assert_int_equal(any->linktype, 276);
	assert_int_equal(count_udp(any, 20), 50 + 30 + 30); /* va out, vb in, lo once */
	assert_null(ops->close(lo));
	assert_null(ops->close(va));
	assert_null(ops->close(any));
}

static void cooked_header_and_tag(void **state)
{
	static const uint8_t inner[] = { 0x20, 0x07, 0x88, 0xb5 };
	struct cap_tap *tap = open_tap("any", 1);
	struct cap_batch *b = calloc(1, sizeof(*b));
	uint8_t f[100], got[4096];
	int fd = sender("va"), found = 0;

	(void)state;
	make_frame(f, sizeof(f), 7);
	f[12] = 0x81;
	f[13] = 0x00;
	memcpy(f + 14, inner, 4);
	assert_int_equal(send(fd, f, sizeof(f), 0), sizeof(f));
	ops->stop(tap);
	while (ops->receive(tap->sources[0], b) > 0) {
		for (uint32_t k = 0; k < b->n; k++) {
			size_t n = flatten(b, k, got);

			if (got[0] != 0x81 || got[1] != 0x00 ||
			    ntohl(*(uint32_t *)(void *)(got + 4)) != if_nametoindex("vb"))
				continue;
			assert_int_equal(n, 20 + sizeof(f) - 14);
			assert_memory_equal(got + 20, f + 14, sizeof(f) - 14);
			assert_int_equal(got[9], 1);  /* ARPHRD_ETHER */
			assert_int_equal(got[11], 6); /* address length */
			assert_memory_equal(got + 12, f + 6, 6);
			assert_int_equal(b->frames[k].wire_len, n);
			found++;
		}
		ops->release(tap->sources[0], b);
	}
	assert_int_equal(found, 1);
	close(fd);
	free(b);
	assert_null(ops->close(tap));
}

static void says(void *arg, const char *sentence)
{
	(void)snprintf(arg, 200, "%s", sentence);
}

static void down_up_and_gone(void **state)
{
	char said[200] = "";
	struct cap_source_cfg cfg = {
		.link = "wb", .kind = CAP_SOURCE_AFPACKET, .say = says, .say_arg = said
	};
	struct skep_err err = SKEP_ERR_NULL;
	struct rusage before, after;
	struct cap_tap *tap = NULL;
	int fd;

	(void)state;
	if (!in_netns)
		skip();
	assert_int_equal(netns_run("ip link add wa type veth peer name wb"), 0);
	assert_int_equal(netns_run("ip link set wa up"), 0);
	assert_int_equal(netns_run("ip link set wb up"), 0);
	assert_int_equal(ops->open(&cfg, &tap, &err), 0);
	assert_int_equal(ops->start(tap, &err), 0);
	assert_int_equal(ops->check(tap, &err), 0);
	assert_int_equal(netns_run("ip link set wb down"), 0);
	assert_int_equal(ops->check(tap, &err), 0);
	assert_non_null(strstr(said, "switched off"));
	(void)drain(tap, 0); /* what the kernel itself sent when the link came up: with it nobody waits */
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < 10; i++)
		ops->wait(tap->sources[0], 20000000);
	getrusage(RUSAGE_SELF, &after); /* a socket with an error pending must not make this a busy loop */
	assert_true(after.ru_nvcsw - before.ru_nvcsw >= 9);
	assert_int_equal(netns_run("ip link set wb up"), 0);
	assert_int_equal(ops->check(tap, &err), 0);
	assert_non_null(strstr(said, "up again"));
	fd = sender("wa");
	assert_int_equal(send_frames(fd, 10, 300), 10);
	close(fd);
	usleep(300000);
	assert_true(drain(tap, 0) >= 10);
	assert_int_equal(netns_run("ip link del wa"), 0);
	assert_int_not_equal(ops->check(tap, &err), 0);
	assert_non_null(strstr(err.text, "deleted"));
	ops->stop(tap);
	assert_null(ops->close(tap));
}

/* What `ip -d link` calls promiscuity, 0 or more. */
static int promiscuity(const char *link)
{
	char *out = NULL, *at;
	int n;

	assert_int_equal(tool_run(&out, NULL, "ip -d link show dev %s", link), 0);
	at = strstr(out, "promiscuity ");
	assert_non_null(at);
	n = (int)strtol(at + 12, NULL, 10);
	free(out);
	return n;
}

static void leaves_promisc_as_it_was(void **state)
{
	struct cap_tap *tap = open_tap("vb", 1);

	(void)state;
	assert_int_equal(promiscuity("vb"), 1);
	assert_null(ops->close(tap));
	assert_int_equal(promiscuity("vb"), 0);
}

static void refusals(void **state)
{
	struct cap_source_cfg cfg = { .link = "nothere", .kind = CAP_SOURCE_AFPACKET };
	struct skep_err err = SKEP_ERR_NULL;
	struct cap_tap *tap = NULL;

	(void)state;
	if (!in_netns)
		skip();
	assert_int_equal(ops->open(&cfg, &tap, &err), SKEP_E_NOT_FOUND);
	cfg.link = "vb";
	cfg.timestamps = CAP_TS_HW;
	assert_int_equal(ops->open(&cfg, &tap, &err), SKEP_E_UNSUPPORTED);
	assert_null(tap);
	assert_null(ops->close(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_and_tags),
		cmocka_unit_test(full_ring_is_exact),
		cmocka_unit_test(stop_in_traffic_is_exact),
		cmocka_unit_test(fanout_doubles_nothing),
		cmocka_unit_test(both_directions_once),
		cmocka_unit_test(cooked_header_and_tag),
		cmocka_unit_test(down_up_and_gone),
		cmocka_unit_test(leaves_promisc_as_it_was),
		cmocka_unit_test(refusals),
	};

	in_netns = netns_enter();
	return cmocka_run_group_tests_name("source_afpacket", tests, NULL, NULL);
}
