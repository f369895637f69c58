/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FLT_LIMITS_H
#define FLT_LIMITS_H
/*
 * Every size of the filter compiler, with its arithmetic.
 */

/* A filter comes from a person or a form: 64 KiB are some 4,000 addresses; longer lists belong in a file. */
#define FLT_MAX_TEXT_BYTES 65536u
/* 64 KiB of short words; every step of the front end is linear in them. */
#define FLT_MAX_TOKENS 20000u
/* libpcap's parser and optimiser recurse; 200 levels need well under its 8 MiB of stack, and nobody writes
 * more. */
#define FLT_MAX_DEPTH 200u
/* Longest cBPF program taken from libpcap: 4,000 host terms unoptimised are 16 instructions each. */
#define FLT_MAX_CBPF_INSNS 65536u
/* IPv6 extension headers in a row that `protochain` follows; every stack gives up long before. 32 rounds are
 * 1,000 instructions. */
#define FLT_LOOP_ROUNDS 32u

/* Address lists. A million entries are 24 MiB here and some 100 MiB in the kernel; a line is at most
 * an IPv6 prefix of 49 characters and a comment of about as many. */
#define FLT_MAX_LIST_ENTRIES 1000000u
#define FLT_MAX_LIST_BYTES (96ul * 1024 * 1024)
/* The longest path in a filter. */
#define FLT_MAX_PATH_BYTES 4096u

/* The look stage, see look.h: QUIC flows that a link remembers (40 bytes of key, some 100 with the kernel's
 * own, so 7 MiB), and prefixes of all its lists, which take memory only when they are there. */
#define FLT_LOOK_FLOWS 65536u
#define FLT_LOOK_PREFIXES 4000000u
/* Look-up tables of a link's job filters: one value of an array map, which older kernels end at 4 MiB. */
#define FLT_MAX_TABLE_BYTES (3u << 20)

/*
 * The answer comes within a second: processor time of the optimising attempt, of the second one without the
 * optimiser (whose time is not bounded by the size of the filter: 2,000 hosts take 120 s), and the wall clock
 * of each.
 */
#define FLT_OPTIMISE_CPU_MS 350
#define FLT_PLAIN_CPU_MS 250
#define FLT_OPTIMISE_WALL_MS 500
#define FLT_PLAIN_WALL_MS 400
/* For a job that is to run, so much more of the wall clock: a busy probe is no reason to refuse it. */
#define FLT_PATIENT_WALL 10
/* Address space a compiler process may add to what it inherited. */
#define FLT_CHILD_BYTES (256ul * 1024 * 1024)

#endif
