/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See beside.h. In the child, right after fork, before it has threads; sees nothing of the engine's.
 */
#include "capture/beside.h"

#include "common/util.h"

#include <errno.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

void cap_beside_begin(const char *name)
{
	static const int ignored[] = { SIGINT,	SIGTERM, SIGHUP,  SIGQUIT, SIGPIPE,
				       SIGTSTP, SIGUSR1, SIGUSR2, SIGALRM };
	/* The engine may have handlers for these, which are no business of the child. */
	static const int defaults[] = { SIGSEGV, SIGBUS, SIGABRT };
	sigset_t none;

	(void)setsid();
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		(void)signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		(void)signal(defaults[i], SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

int cap_beside_keep(uint64_t capabilities)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		data[i].permitted &= (uint32_t)(capabilities >> 32 * i);
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}
