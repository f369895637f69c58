/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef HIVE_EXPORT_CAGE_H
#define HIVE_EXPORT_CAGE_H
/*
 * A program that looks at bytes nobody vouches for: started so that it can read one folder and its own
 * libraries, write to the descriptors it is given, and reach nothing else.
 */
#include "common/err.h"

#include <sys/types.h>

struct hive_cage {
	const char *const *argv; /* argv[0]: the program's path; NULL-terminated */
	int folder;		 /* its working directory, and all that it may read */
	int in, out, errors;	 /* become 0, 1, 2; borrowed */
	uint64_t memory_bytes;	 /* of address space */
};

/* *ret is to be waited for. SKEP_E_NOT_FOUND: there is no such program. Any thread. */
int hive_cage_start(const struct hive_cage *cage, pid_t *ret, struct skep_err *err);

#endif
