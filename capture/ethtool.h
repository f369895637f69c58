/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CAP_ETHTOOL_H
#define CAP_ETHTOOL_H
/*
 * The ethtool ioctls that skep uses. `fd` is any socket of the link's network namespace. Reading needs no
 * privilege, setting needs CAP_NET_ADMIN. -EOPNOTSUPP: the driver does not say; -ENODEV: no such link.
 */
#include <stdbool.h>
#include <stdint.h>

struct cap_ethtool_driver {
	char driver[32];
	char version[32];
	char bus[32];
};

struct cap_ethtool_ts {
	bool hw_rx;	/* the NIC stamps received frames ... */
	bool hw_rx_all; /* ... all of them, not only PTP */
	int phc_index;	/* -1: no clock of its own */
};

int cap_ethtool_driver(int fd, const char *name, struct cap_ethtool_driver *ret);
/* Mbit/s; -1 inside *ret: the link does not say (virtual, or down). */
int cap_ethtool_speed(int fd, const char *name, int64_t *ret_mbps);
/* RX queues in use and possible (RX plus combined channels). */
int cap_ethtool_channels(int fd, const char *name, uint32_t *ret_rx, uint32_t *ret_rx_max);
int cap_ethtool_rings(int fd, const char *name, uint32_t *ret_rx, uint32_t *ret_rx_max);
int cap_ethtool_timestamps(int fd, const char *name, struct cap_ethtool_ts *ret);

/* Offloads by the kernel's own names ("rx-gro", "rx-lro", "rx-gro-hw", "rx-vlan-hw-parse"). */
struct cap_ethtool_feature {
	bool known; /* the kernel has this name */
	bool fixed; /* cannot be changed on this device */
	bool active;
	bool wanted; /* what the administrator asked for; differs from active where another feature forbids it
		      */
};

#define CAP_ETHTOOL_FEATURES_MAX 4

int cap_ethtool_features(int fd, const char *name, const char *const *features, uint32_t n,
			 struct cap_ethtool_feature *ret);
/* -EOPNOTSUPP: unknown or fixed. Returns 0 once the device has it as asked, -EBUSY if it was accepted but has
 * no effect. */
int cap_ethtool_feature_set(int fd, const char *name, const char *feature, bool on);

/* The driver's own counters; on_counter is called for each, in the driver's order. */
int cap_ethtool_counters(int fd, const char *name,
			 void (*on_counter)(const char *counter, uint64_t value, void *arg), void *arg);

#endif
