/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every program does with file descriptors; never blocks, never changes errno. Any thread; no state.
 */
#include "common/util.h"

#include <errno.h>

void skep_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

void skep_ring_bell(int fd)
{
	const uint64_t one = 1;
	int saved = errno;

	if (fd > 0 && write(fd, &one, sizeof(one)) < 0)
		errno = saved; /* the counter is full: who listens is awake */
}
