/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_NETLINK_H
#define CAP_NETLINK_H
/*
 * One netlink request at a time: build, send, read every answer. Needs no privilege for what skep asks (GET
 * requests only). A socket belongs to one thread, and to the network namespace in which it was opened.
 */
#include "common/util.h"

#include <linux/netlink.h>
#include <stdbool.h>

struct cap_netlink {
	int fd;
	uint32_t seq;
	uint8_t *buf; /* answers; 32 KiB is what the kernel fills at most in one piece of a dump */
};

#define CAP_NETLINK_NULL \
	{                \
		.fd = -1 \
	}
#define CAP_NETLINK_BUF_BYTES 32768u

/* A request under construction: header, family header, attributes. */
struct cap_netlink_msg {
	struct nlmsghdr head;
	uint8_t body[1024];
};

/* protocol: NETLINK_ROUTE or NETLINK_GENERIC. */
int cap_netlink_open(struct cap_netlink *nl, int protocol);
void cap_netlink_close(struct cap_netlink *nl);

/* Starts a request with the family's own header (copied, padded). */
void cap_netlink_begin(struct cap_netlink_msg *msg, uint16_t type, uint16_t flags, const void *family,
		       size_t len);
void cap_netlink_put(struct cap_netlink_msg *msg, uint16_t attr, const void *data, size_t len);
/*
 * Sends and calls on_answer for every data message; a non-zero return of it ends the calls (not the reading)
 * and is returned. -errno as the kernel says, -ENODEV etc.
 */
int cap_netlink_call(struct cap_netlink *nl, struct cap_netlink_msg *msg,
		     int (*on_answer)(const struct nlmsghdr *answer, void *arg), void *arg);

/* Points tb[type] at the attributes of one level; types above max are ignored, absent ones are NULL. */
void cap_netlink_attrs(const void *start, size_t len, const struct nlattr **tb, int max);
/* Attributes of a message after its family header of `family` bytes. */
void cap_netlink_msg_attrs(const struct nlmsghdr *h, size_t family, const struct nlattr **tb, int max);

static inline const void *cap_netlink_data(const struct nlattr *a)
{
	return (const uint8_t *)a + NLA_HDRLEN;
}

static inline size_t cap_netlink_len(const struct nlattr *a)
{
	return a->nla_len - (size_t)NLA_HDRLEN;
}

/* The value of an integer attribute, or otherwise where it is absent or too short. */
uint32_t cap_netlink_u32(const struct nlattr *a, uint32_t otherwise);
uint64_t cap_netlink_u64(const struct nlattr *a, uint64_t otherwise);

#endif
