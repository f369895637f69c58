/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TEST_NETNS_H
#define TEST_NETNS_H
/*
 * A network namespace for one test process: nameless, so nothing is left when the process ends, however it
 * ends.
 */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/wait.h>

/* Runs a command of whitespace-separated words without a shell; its exit code, or -1. */
static inline int netns_run(const char *command)
{
	char words[512], *argv[32], *save = NULL;
	int n = 0, status;
	pid_t pid;

	(void)snprintf(words, sizeof(words), "%s", command);
	for (char *w = strtok_r(words, " ", &save); w && n < 31; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	argv[n] = NULL;
	pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return -1;
	return WEXITSTATUS(status);
}

/* Moves this process into a namespace of its own with lo and the pair va (10.9.0.1/24) - vb, all up; false:
 * reason printed. */
static inline bool netns_enter(void)
{
	static const char *const commands[] = {
		"ip link set lo up",
		"ip link add va numrxqueues 2 numtxqueues 2 type veth peer name vb numrxqueues 2 numtxqueues "
		"2",
		"ip addr add 10.9.0.1/24 dev va",
		"ip link set va up",
		"ip link set vb up",
	};

	if (unshare(CLONE_NEWNET) < 0) {
		print_message("# no network namespace of our own: %s (needs root)\n", strerror(errno));
		return false;
	}
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (netns_run(commands[i]) != 0) {
			print_message("# '%s' failed\n", commands[i]);
			return false;
		}
	}
	return true;
}

#endif
