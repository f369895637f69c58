/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The listening socket, made here and not by the HTTP library, so that a refusal says what is wrong.
 * Addresses only, never names: nothing asks the DNS. "[::]" also takes IPv4.
 */
#include "common/http_priv.h"
#include "common/parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int parse_address(const char *text, union address *ret, socklen_t *ret_len, struct skep_err *err)
{
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len = colon ? (size_t)(colon - text) : 0;
	uint64_t port;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!colon || len == 0 || len >= sizeof(host)) {
		skep_err_set(err, SKEP_E_USAGE, "%s: is no address to listen on", text);
		return skep_err_hint(err, "write ADDRESS:PORT, for example 0.0.0.0:8443 or [::]:8443");
	}
	memcpy(host, text, len);
	host[len] = '\0';
	r = skep_parse_uint("port", colon + 1, 0, 65535, &port, err);
	if (r)
		return r;
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		ret->in6 =
			(struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port) };
		*ret_len = sizeof(ret->in6);
		r = inet_pton(AF_INET6, host + 1, &ret->in6.sin6_addr);
	} else {
		ret->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
		*ret_len = sizeof(ret->in);
		r = inet_pton(AF_INET, host, &ret->in.sin_addr);
	}
	if (r == 1)
		return 0;
	skep_err_set(err, SKEP_E_USAGE, "%s: \"%s\" is no IPv4 or IPv6 address", text, host);
	return skep_err_hint(err, "names are not looked up; IPv6 goes in brackets: [::1]:8443");
}

static bool is_loopback(const union address *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

int skep_http_listen(const char *address, int *ret_fd, uint16_t *ret_port, bool *ret_loopback,
		     struct skep_err *err)
{
	_skep_close_ int fd = -1;
	union address a;
	socklen_t len;
	int r, on = 1, off = 0;

	r = parse_address(address, &a, &len, err);
	if (r)
		return r;
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return skep_err_set(err, -errno, "%s: no socket: %s", address, strerror(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a.sa.sa_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &a.sa, len) < 0 || listen(fd, 512) < 0 || getsockname(fd, &a.sa, &len) < 0) {
		r = -errno;
		skep_err_set(err, r, "%s: cannot listen: %s", address, strerror(-r));
		if (r == -EADDRINUSE)
			(void)skep_err_hint(err, "another program has this port; ss -ltnp shows which");
		return r;
	}
	*ret_port = ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	*ret_loopback = is_loopback(&a);
	*ret_fd = TAKE_FD(fd);
	return 0;
}
