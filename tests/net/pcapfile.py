# SPDX-License-Identifier: BSD-2-Clause
"""Reads what was captured and what is to be sent, without the code under test: classic pcap and pcapng, plain or compressed.

A record is (time in ns since 1970, length on the wire, bytes). Anything that is not exactly the format raises BadFile: torn records too,
unless torn=True says that the tail may be cut.
"""
import collections
import pathlib
import struct
import subprocess

Record = collections.namedtuple("Record", "ts_ns wire_len data")
LINKTYPE_ETHERNET = 1


class BadFile(Exception):
    pass


def read_bytes(path):
    """The file's bytes, decompressed by the zstd program where the name says so. A torn zstd frame gives what can be had."""
    path = pathlib.Path(path)
    if path.suffix == ".zst" or path.name.endswith(".zst.part"):
        done = subprocess.run(["zstd", "-dc", "--quiet", str(path)], capture_output=True, timeout=120, check=False)
        if done.returncode and not path.name.endswith(".part"):
            raise BadFile(f"{path}: zstd -dc: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout
    return path.read_bytes()


def parse_pcap(data, torn=False):
    magics = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
    for order in "<>":
        magic = struct.unpack_from(order + "I", data)[0]
        if magic in magics:
            break
    else:
        raise BadFile("not a pcap file")
    linktype = struct.unpack_from(order + "I", data, 20)[0] & 0xFFFF
    records, at = [], 24
    while at < len(data):
        if at + 16 > len(data):
            if torn:
                break
            raise BadFile(f"torn record header at byte {at}")
        sec, frac, cap_len, wire_len = struct.unpack_from(order + "IIII", data, at)
        if at + 16 + cap_len > len(data):
            if torn:
                break
            raise BadFile(f"torn record at byte {at}")
        records.append(Record(sec * 10**9 + frac * magics[magic], wire_len, data[at + 16:at + 16 + cap_len]))
        at += 16 + cap_len
    return linktype, records


def interface_resolution(order, options):
    """Nanoseconds per tick from if_tsresol (option 9); the default is microseconds."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(order + "HH", options, at)
        if code == 0:
            break
        if code == 9:
            value = options[at + 4]
            ticks = 2 ** (value & 0x7F) if value & 0x80 else 10 ** value
            return 10**9 / ticks if 10**9 % ticks else 10**9 // ticks
        at += 4 + (length + 3) // 4 * 4
    return 1000


def parse_pcapng(data, torn=False):
    order, at, records, interfaces = "<", 0, [], []
    while at < len(data):
        if at + 12 > len(data):
            if torn:
                break
            raise BadFile(f"torn block at byte {at}")
        kind = struct.unpack_from(order + "I", data, at)[0]
        if kind == 0x0A0D0D0A:
            order = "<" if data[at + 8:at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        length = struct.unpack_from(order + "I", data, at + 4)[0]
        if at + length > len(data) and torn:
            break
        if length < 12 or length % 4 or at + length > len(data) or \
                struct.unpack_from(order + "I", data, at + length - 4)[0] != length:
            raise BadFile(f"bad block length at byte {at}")
        body = data[at + 8:at + length - 4]
        if kind == 1:
            interfaces.append((struct.unpack_from(order + "H", body)[0], interface_resolution(order, body[8:])))
        elif kind == 6:
            which, high, low, cap_len, wire_len = struct.unpack_from(order + "IIIII", body)
            records.append(Record(int(((high << 32) | low) * interfaces[which][1]), wire_len, body[20:20 + cap_len]))
        elif kind == 3:
            wire_len = struct.unpack_from(order + "I", body)[0]
            records.append(Record(0, wire_len, body[4:4 + min(wire_len, len(body) - 4)]))
        at += length
    return interfaces[0][0] if interfaces else LINKTYPE_ETHERNET, records


def parse(data, torn=False):
    if torn and len(data) < 24:
        return LINKTYPE_ETHERNET, []
    if len(data) < 24:
        raise BadFile(f"only {len(data)} bytes: not a capture file")
    if data[:4] == b"\x0a\x0d\x0d\x0a":
        return parse_pcapng(data, torn)
    return parse_pcap(data, torn)


def read(path, torn=False):
    """(linktype, records) of a file."""
    return parse(read_bytes(path), torn)


def write(path, frames, linktype=LINKTYPE_ETHERNET, first_ns=1_700_000_000_000_000_000, step_ns=1000):
    """Writes frames (bytes) as a classic nanosecond pcap, little endian."""
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, linktype))
        for n, frame in enumerate(frames):
            ts_ns = first_ns + n * step_ns
            out.write(struct.pack("<IIII", ts_ns // 10**9, ts_ns % 10**9, len(frame), len(frame)) + frame)
