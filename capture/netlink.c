/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The little of netlink that skep needs, without a library: see netlink.h. It never changes anything in the
 * kernel; never trusts a length without checking it. Every request asks for an acknowledgement or is a dump,
 * so the end of the answers is always known. Control thread only.
 */
#include "capture/netlink.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

int cap_netlink_open(struct cap_netlink *nl, int protocol)
{
	static const struct timeval patience = { .tv_sec = 5 };
	static const int one = 1;
	_skep_free_ uint8_t *buf = malloc(CAP_NETLINK_BUF_BYTES);
	_skep_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	if (!buf)
		return -ENOMEM;
	/* Errors without an echo of the request; an old kernel without the option just sends more. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	/* The kernel answers before sendto returns; nobody shall hang if it ever does not. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	nl->fd = TAKE_FD(fd);
	nl->buf = TAKE_PTR(buf);
	nl->seq = 1;
	return 0;
}

void cap_netlink_close(struct cap_netlink *nl)
{
	skep_closep(&nl->fd);
	free(nl->buf);
	nl->buf = NULL;
}

void cap_netlink_begin(struct cap_netlink_msg *msg, uint16_t type, uint16_t flags, const void *family,
		       size_t len)
{
	assert(len <= sizeof(msg->body));
	memset(msg, 0, sizeof(*msg));
	memcpy(msg->body, family, len);
	msg->head.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + NLMSG_ALIGN(len));
	msg->head.nlmsg_type = type;
	msg->head.nlmsg_flags = NLM_F_REQUEST | flags;
	/* All bits of it: NLM_F_EXCL of a request that creates is one of them. */
	if ((flags & NLM_F_DUMP) != NLM_F_DUMP)
		msg->head.nlmsg_flags |= NLM_F_ACK;
}

void cap_netlink_put(struct cap_netlink_msg *msg, uint16_t attr, const void *data, size_t len)
{
	size_t at = msg->head.nlmsg_len - NLMSG_HDRLEN;
	struct nlattr head = { .nla_len = (uint16_t)(NLA_HDRLEN + len), .nla_type = attr };

	assert(at + NLA_HDRLEN + NLA_ALIGN(len) <= sizeof(msg->body));
	memcpy(msg->body + at, &head, sizeof(head));
	memcpy(msg->body + at + NLA_HDRLEN, data, len);
	msg->head.nlmsg_len += (uint32_t)(NLA_HDRLEN + NLA_ALIGN(len));
}

/* Handles one received piece: 1 when the request is answered completely. */
static int handle_piece(struct cap_netlink *nl, size_t n, int *result,
			int (*on_answer)(const struct nlmsghdr *answer, void *arg), void *arg)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)nl->buf;

	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_seq != nl->seq)
			continue;
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			int e = 0;

			if (h->nlmsg_len >= NLMSG_HDRLEN + sizeof(e))
				memcpy(&e, NLMSG_DATA(h), sizeof(e));
			if (e && !*result)
				*result = e;
			return 1;
		}
		if (!*result && on_answer)
			*result = on_answer(h, arg);
	}
	return 0;
}

int cap_netlink_call(struct cap_netlink *nl, struct cap_netlink_msg *msg,
		     int (*on_answer)(const struct nlmsghdr *answer, void *arg), void *arg)
{
	int result = 0;

	msg->head.nlmsg_seq = ++nl->seq;
	if (send(nl->fd, msg, msg->head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(nl->fd, nl->buf, CAP_NETLINK_BUF_BYTES, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		if (handle_piece(nl, (size_t)n, &result, on_answer, arg))
			return result;
	}
}

void cap_netlink_attrs(const void *start, size_t len, const struct nlattr **tb, int max)
{
	const uint8_t *p = start;

	memset(tb, 0, sizeof(*tb) * ((size_t)max + 1));
	while (len >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)p;
		size_t step;
		int type = a->nla_type & NLA_TYPE_MASK;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > len)
			return;
		if (type <= max)
			tb[type] = a;
		step = NLA_ALIGN(a->nla_len);
		if (step > len)
			return;
		p += step;
		len -= step;
	}
}

void cap_netlink_msg_attrs(const struct nlmsghdr *h, size_t family, const struct nlattr **tb, int max)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(family);
	size_t len = h->nlmsg_len > skip ? h->nlmsg_len - skip : 0;

	cap_netlink_attrs((const uint8_t *)h + skip, len, tb, max);
}

uint32_t cap_netlink_u32(const struct nlattr *a, uint32_t otherwise)
{
	uint32_t v;

	if (!a || cap_netlink_len(a) < sizeof(v))
		return otherwise;
	memcpy(&v, cap_netlink_data(a), sizeof(v));
	return v;
}

uint64_t cap_netlink_u64(const struct nlattr *a, uint64_t otherwise)
{
	uint64_t v;

	if (!a || cap_netlink_len(a) < sizeof(v))
		return otherwise;
	memcpy(&v, cap_netlink_data(a), sizeof(v));
	return v;
}
