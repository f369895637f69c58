# SPDX-License-Identifier: BSD-2-Clause
"""Frames made from a seed, for machines without a folder of captures: every kind of thing a link carries.

All are complete Ethernet frames without FCS. Addresses are from the documentation ranges (RFC 5737, RFC 3849); checksums are right unless
a frame is called malformed. The same seed gives the same bytes on every machine.
"""
import random
import struct

MAC_A = bytes.fromhex("02 00 5e 00 00 01")
MAC_B = bytes.fromhex("02 00 5e 00 00 02")
ETH_IPV4, ETH_IPV6, ETH_VLAN, ETH_QINQ = 0x0800, 0x86DD, 0x8100, 0x88A8


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(ethertype, payload, tags=()):
    """tags: (TPID, TCI) from the outside in."""
    head = MAC_B + MAC_A
    for tpid, tci in tags:
        head += struct.pack("!HH", tpid, tci)
    return head + struct.pack("!H", ethertype) + payload


def addresses(version, flow):
    if version == 4:
        return bytes((192, 0, 2, flow % 250 + 1)), bytes((198, 51, 100, flow // 250 % 250 + 1))
    prefix = bytes.fromhex("20010db8") + bytes(8)
    return prefix + struct.pack("!I", flow + 1), prefix + struct.pack("!I", 0x10000 + flow)


def ip(version, protocol, flow, transport, checksum_at):
    """An IP packet; the transport's checksum field at byte checksum_at is filled in (RFC 768, 9293, 8200)."""
    src, dst = addresses(version, flow)
    if version == 4:
        pseudo = src + dst + struct.pack("!BBH", 0, protocol, len(transport))
    else:
        pseudo = src + dst + struct.pack("!IxxxB", len(transport), protocol)
    value = checksum(pseudo + transport) or 0xFFFF
    transport = transport[:checksum_at] + struct.pack("!H", value) + transport[checksum_at + 2:]
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, len(transport), protocol, 64) + src + dst + transport
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(transport), flow & 0xFFFF, 0x4000, 64, protocol, 0) + src + dst
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + transport


def tcp(version, flow, sequence, payload, port=443):
    segment = struct.pack("!HHIIBBHHH", 10000 + flow % 50000, port, sequence & 0xFFFFFFFF, 1, 0x50, 0x18, 65535, 0, 0) + payload
    return ip(version, 6, flow, segment, 16)


def udp(version, flow, payload, port=53):
    return ip(version, 17, flow, struct.pack("!HHHH", 10000 + flow % 50000, port, 8 + len(payload), 0) + payload, 6)


def quic(version, flow, rng, size):
    """Looks like a QUIC Initial (long header, version 1, RFC 9000 17.2.2) or a short-header packet; the rest is noise, as TLS is."""
    if size >= 1200:
        head = bytes((0xC3,)) + struct.pack("!IB", 1, 8) + rng.randbytes(8) + bytes((0, 0)) + struct.pack("!H", 0x4000 | (size - 18))
    else:
        head = bytes((0x43,)) + rng.randbytes(8)
    return udp(version, flow, (head + rng.randbytes(size))[:size], port=443)


def packet(version, kind, flow, rng, size):
    if kind == "quic":
        return quic(version, flow, rng, max(size, 20))
    if kind == "udp":
        return udp(version, flow, rng.randbytes(size))
    text = (b"GET /%d HTTP/1.1\r\nHost: example.org\r\n\r\n" % flow) * (size // 40 + 1)
    return tcp(version, flow, flow * 1460, text[:size], port=80)


def ether(version):
    return ETH_IPV4 if version == 4 else ETH_IPV6


def mixed(count, seed=1, largest=1500):
    """count frames of TCP, UDP and QUIC, IPv4 and IPv6, plain, VLAN and QinQ, with IP packets of up to `largest` bytes."""
    rng = random.Random(seed)
    tags = ((), (), ((ETH_VLAN, 0x2064),), ((ETH_QINQ, 0x0065), (ETH_VLAN, 0x0066)))
    frames = []
    for flow in range(count):
        version, kind = rng.choice((4, 6)), rng.choice(("tcp", "udp", "quic"))
        size = rng.choice((0, 1, 18, 64, 256, 512, 1200, largest - 60))
        frames.append(ethernet(ether(version), packet(version, kind, flow, rng, max(0, min(size, largest - 60))), rng.choice(tags)))
    return frames


def jumbo(count, seed=2, mtu=9000):
    """Frames whose IP packets are exactly mtu bytes long."""
    rng = random.Random(seed)
    return [ethernet(ETH_IPV4, udp(4, flow, rng.randbytes(mtu - 28), port=443)) for flow in range(count)]


def shortest():
    """14 bytes: a header and nothing; and a few bytes more, up to the 60 that a wire pads to."""
    return [ethernet(ethertype, b"") for ethertype in (ETH_IPV4, ETH_IPV6, 0x88B5, 0)] + \
        [ethernet(0x88B5, bytes(range(n))) for n in range(1, 47)]


def malformed(seed=3):
    """Frames whose fields lie: lengths beyond the end, headers cut short, tags without end, impossible header lengths."""
    rng = random.Random(seed)
    good4, good6 = tcp(4, 1, 1, b"x" * 64), tcp(6, 1, 1, b"x" * 64)
    frames = [ethernet(ETH_IPV4, good4[:n]) for n in range(0, 44, 3)]
    frames += [ethernet(ETH_IPV6, good6[:n]) for n in range(0, 64, 5)]
    frames += [ethernet(ETH_IPV4, bytes((0x40 | ihl,)) + good4[1:]) for ihl in range(16)]
    frames += [ethernet(ETH_IPV4, good4[:2] + b"\xff\xff" + good4[4:]), ethernet(ETH_IPV6, good6[:4] + b"\xff\xff" + good6[6:])]
    frames += [ethernet(ETH_VLAN, b"", ((ETH_VLAN, 1),) * depth) for depth in (2, 8, 60)]
    frames += [ethernet(ETH_IPV6, good6[:6] + b"\0" + good6[7:40] + b"\0\xff" + bytes(6))]  # hop-by-hop header beyond the end
    frames += [rng.randbytes(rng.randint(14, 1514)) for _ in range(50)]
    return frames


def torn_tags():
    """VLAN tags cut short. An XDP program sees these; the kernel's stack drops them before an AF_PACKET socket could."""
    return [ethernet(ETH_VLAN, bytes(n)) for n in range(6)]


def numbered(count, size, seed=4):
    """UDP frames of `size` bytes each with its number in the first four bytes of the payload, for order and gaps."""
    rng = random.Random(seed)
    return [ethernet(ETH_IPV4, udp(4, 7, struct.pack("!I", n) + rng.randbytes(size - 46), port=9)) for n in range(count)]
