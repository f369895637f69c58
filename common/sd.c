/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The notify protocol is one datagram to $NOTIFY_SOCKET; a library for it would bring what this program does
 * not need. Never fails: who does not listen misses it. Any thread.
 */
#include "common/sd.h"

#include "common/parse.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void skep_sd_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	_skep_close_ int fd = -1;
	size_t n = path ? strlen(path) : 0;

	if (n < 2 || n >= sizeof(to.sun_path) || !strchr("/@", path[0]))
		return;
	memcpy(to.sun_path, path, n);
	if (path[0] == '@')
		to.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
}

uint64_t skep_sd_watchdog_ns(void)
{
	const char *usec = getenv("WATCHDOG_USEC");
	uint64_t value;

	if (!usec || skep_parse_uint("WATCHDOG_USEC", usec, 1, UINT64_MAX / 1000, &value, NULL))
		return 0;
	return value * 1000;
}
