/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_VERIFIER_H
#define FLT_VERIFIER_H
/* What the kernel's verifier says of a program that it refuses. */
#include <stddef.h>

/* A log of this size holds the end also where the kernel keeps only the beginning (before 6.4). */
#define FLT_VERIFIER_LOG_BYTES (1u << 20)

/* The last line that is about the program: the reason. Cuts the log. */
void flt_verifier_words(char *log, char *ret, size_t size);

#endif
