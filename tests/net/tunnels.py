# SPDX-License-Identifier: BSD-2-Clause
"""Packets in packets: each function puts an Ethernet frame, or the IP packet in it, into one of the encapsulations that skep looks into,
with right lengths and checksums, over IPv4 or IPv6. Layouts: IEEE 802.1Q, RFC 3032, 2784, 2890, 7348, draft-foschiano-erspan-03."""
import struct

import frames

KINDS = ("vlan", "qinq", "mpls", "gre", "erspan", "vxlan")


def outer_udp(version, flow, port, payload):
    segment = struct.pack("!HHHH", 50000 + flow % 1000, port, 8 + len(payload), 0) + payload
    return frames.ethernet(frames.ether(version), frames.ip(version, 17, flow, segment, 6))


def outer_gre(version, flow, flags, protocol, payload):
    """flags: of checksum (left 0: tshark does not mind), key and sequence number; each adds four bytes."""
    segment = struct.pack("!HH", flags, protocol) + bytes(4 * bin(flags & 0xB000).count("1")) + payload
    src, dst = frames.addresses(version, flow)
    if version == 6:
        return frames.ethernet(frames.ETH_IPV6, struct.pack("!IHBB", 6 << 28, len(segment), 47, 64) + src + dst + segment)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), flow & 0xFFFF, 0x4000, 64, 47, 0) + src + dst
    return frames.ethernet(frames.ETH_IPV4, head[:10] + struct.pack("!H", frames.checksum(head)) + head[12:] + segment)


def wrap(kind, frame, rng, flow):
    """An untagged Ethernet frame with IP in it, carried by a new one."""
    version = rng.choice((4, 6))
    ethertype, packet = struct.unpack("!H", frame[12:14])[0], frame[14:]
    if kind == "vlan":
        return frame[:12] + struct.pack("!HH", 0x8100, rng.randrange(1, 4095)) + frame[12:]
    if kind == "qinq":
        tags = rng.choice(((0x88A8, 0x8100), (0x8100, 0x8100), (0x88A8,), (0x9100, 0x8100, 0x8100)))
        return frame[:12] + b"".join(struct.pack("!HH", tpid, rng.randrange(1, 4095)) for tpid in tags) + frame[12:]
    if kind == "mpls":
        labels = [rng.randrange(16, 1 << 20) << 12 | 64 for _ in range(rng.randrange(1, 4))]
        return frame[:12] + b"\x88\x47" + b"".join(struct.pack("!I", label) for label in labels[:-1]) + \
            struct.pack("!I", labels[-1] | 0x100) + packet
    if kind == "gre":
        flags = rng.choice((0, 0x2000, 0x1000, 0x3000))
        if rng.random() < 0.5:
            return outer_gre(version, flow, flags, ethertype, packet)
        return outer_gre(version, flow, flags, 0x6558, frame)
    if kind == "erspan":
        form = rng.choice((1, 2, 3, 4))
        if form == 1:
            return outer_gre(version, flow, 0, 0x88BE, frame)
        if form == 2:
            head = struct.pack("!HHI", 0x1000 | rng.randrange(4096), rng.randrange(1024), 0)
            return outer_gre(version, flow, 0x1000, 0x88BE, head + frame)
        tail = 0 if form == 3 else 1
        return outer_gre(version, flow, 0x1000, 0x22EB, struct.pack("!HHIHH", 0x2000, rng.randrange(1024), 1, 0, tail) + bytes(8 * tail) +
                         frame)
    return outer_udp(version, flow, rng.choice((4789, 8472)), b"\x08\0\0\0\0\0\x2a\0" + frame)
