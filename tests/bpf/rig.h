/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_BPF_RIG_H
#define TESTS_BPF_RIG_H
/*
 * A network of our own for the tests that need a link: the process moves into a new network namespace, which
 * goes away with it however it ends; each test makes its veth pair there and deletes it.
 */
#include "capture/source.h"

#include <stdbool.h>
#include <stdint.h>

#define RIG_NEAR "near" /* where we capture */
#define RIG_FAR "far"	/* where we send */

/*
 * Moves into a new namespace with the loopback up; false, with the reason printed, if the machine does not
 * let us.
 */
bool rig_enter(void);
/* Runs a program with the given words, NULL-terminated; its exit code, or -1. */
int rig_run(const char *const argv[]);
/* Makes the pair (its old self is deleted first), both ends up. */
void rig_make_pair(uint32_t mtu, uint32_t queues);
void rig_delete_pair(void);

/* A packet socket that sends on the interface, or receives what the host's stack gets there. */
int rig_packet_socket(const char *ifname);
/* Frame number i of a seeded sequence: destination is a foreign address, the type 0x88b5 (for experiments).
 */
void rig_frame(uint32_t i, uint8_t *buf, uint32_t len);
void rig_send(int fd, const uint8_t *buf, uint32_t len);
/* Sends n frames of one length, 64 a call; frame i is rig_frame(i). */
void rig_send_many(int fd, uint32_t n, uint32_t len);

/* Only frames of the type that rig_frame writes are of interest: the stack sends some of its own (IPv6). */
bool rig_is_ours(const struct cap_frame *frame);
/* The bytes of a frame in one piece; returns their number. */
uint32_t rig_gather(const struct cap_batch *batch, const struct cap_frame *frame, uint8_t *buf,
		    uint32_t size);

#endif
