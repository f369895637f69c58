/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A network of our own for the tests. Runs the ip program instead of speaking netlink: a test should look
 * like what an administrator does. Failures are bugs of the rig and end the test by assert; nothing outside
 * the namespace is touched.
 */
#include "tests/bpf/rig.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#define BURST 64
#define MAX_LEN 9100

extern char **environ;

bool rig_enter(void)
{
	if (geteuid() != 0)
		printf("1..0 # SKIP BPF programs need root\n");
	else if (unshare(CLONE_NEWNET))
		printf("1..0 # SKIP no network namespace of our own: %s\n", strerror(errno));
	else
		return rig_run((const char *const[]){ "ip", "link", "set", "lo", "up", NULL }) == 0;
	return false;
}

int rig_run(const char *const argv[])
{
	pid_t pid;
	int status;

	fflush(stdout);
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ))
		return -1;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void set_up(const char *ifname, const char *mtu)
{
	int r = rig_run((const char *const[]){ "ip", "link", "set", ifname, "mtu", mtu, "up", NULL });

	assert(r == 0);
}

void rig_make_pair(uint32_t mtu, uint32_t queues)
{
	char mtu_text[16], queues_text[16];
	int r;

	rig_delete_pair();
	snprintf(mtu_text, sizeof(mtu_text), "%u", mtu);
	snprintf(queues_text, sizeof(queues_text), "%u", queues);
	r = rig_run((const char *const[]){ "ip", "link", "add", RIG_NEAR, "numrxqueues", queues_text,
					   "numtxqueues", queues_text, "type", "veth", "peer", "name",
					   RIG_FAR, "numrxqueues", queues_text, "numtxqueues", queues_text,
					   NULL });
	assert(r == 0);
	set_up(RIG_NEAR, mtu_text);
	set_up(RIG_FAR, mtu_text);
}

void rig_delete_pair(void)
{
	if (if_nametoindex(RIG_NEAR))
		rig_run((const char *const[]){ "ip", "link", "del", RIG_NEAR, NULL });
}

int rig_packet_socket(const char *ifname)
{
	struct sockaddr_ll to = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = (int)if_nametoindex(ifname),
	};
	struct timeval limit = { .tv_usec = 200000 };
	int bytes = 4 << 20, fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert(!bind(fd, (struct sockaddr *)&to, sizeof(to)));
	return fd;
}

void rig_frame(uint32_t i, uint8_t *buf, uint32_t len)
{
	static const uint8_t head[14] = { 2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5 };
	uint32_t x = i * 2654435761u + 1;

	memcpy(buf, head, SKEP_MIN(len, (uint32_t)sizeof(head)));
	for (uint32_t k = sizeof(head); k < len; k++) {
		x = x * 1664525u + 1013904223u;
		buf[k] = (uint8_t)(x >> 24);
	}
}

void rig_send(int fd, const uint8_t *buf, uint32_t len)
{
	ssize_t r = send(fd, buf, len, 0);

	assert(r == (ssize_t)len);
}

void rig_send_many(int fd, uint32_t n, uint32_t len)
{
	static uint8_t frames[BURST][MAX_LEN];
	struct mmsghdr msgs[BURST] = { 0 };
	struct iovec iov[BURST];

	assert(len <= MAX_LEN);
	for (uint32_t sent = 0; sent < n;) {
		uint32_t burst = SKEP_MIN(n - sent, (uint32_t)BURST), done = 0;

		for (uint32_t i = 0; i < burst; i++) {
			rig_frame(sent + i, frames[i], len);
			iov[i] = (struct iovec){ frames[i], len };
			msgs[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
		}
		while (done < burst) {
			int r = sendmmsg(fd, msgs + done, burst - done, 0);

			if (r < 0 && errno == ENOBUFS)
				nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			else
				assert(r > 0);
			done += r > 0 ? (uint32_t)r : 0;
		}
		sent += burst;
	}
}

bool rig_is_ours(const struct cap_frame *frame)
{
	return frame->data[0] == 2 && frame->data[5] == 9;
}

uint32_t rig_gather(const struct cap_batch *batch, const struct cap_frame *frame, uint8_t *buf, uint32_t size)
{
	uint32_t at = frame->len;

	assert(frame->cap_len <= size);
	memcpy(buf, frame->data, frame->len);
	for (uint32_t i = 0; i < frame->frag_n; i++) {
		const struct cap_frag *frag = &batch->frags[frame->frag_first + i];

		memcpy(buf + at, frag->data, frag->len);
		at += frag->len;
	}
	assert(at == frame->cap_len);
	return at;
}
