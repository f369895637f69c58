# SPDX-License-Identifier: BSD-2-Clause
"""Sends frames exactly as they are on an interface: runs inside a namespace, started by rig.py.

Usage: send.py INTERFACE FRAMES_PER_SECOND < frames   (each a 4-byte length, network order, and the bytes)
Prints the number of frames sent. A frame that the kernel refuses ends it with a sentence and exit code 1. Paced in small steps, because
the ring of a veth end holds 256 frames.
"""
import socket
import struct
import sys
import time

BURST = 32


def read_frames(stream):
    data, at = stream.read(), 0
    while at < len(data):
        length = struct.unpack_from("!I", data, at)[0]
        yield data[at + 4:at + 4 + length]
        at += 4 + length


def send(sock, frame):
    while True:
        try:
            return sock.send(frame)
        except OSError as error:
            if error.errno != 105:  # ENOBUFS: the queue is full for the moment
                raise
            time.sleep(0.0005)


def main():
    interface, rate = sys.argv[1], float(sys.argv[2])
    sent = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((interface, 0))
        start = time.monotonic()
        for frame in read_frames(sys.stdin.buffer):
            try:
                send(sock, frame)
            except OSError as error:
                print(f"frame {sent} of {len(frame)} bytes: {error}", file=sys.stderr)
                return 1
            sent += 1
            if sent % BURST == 0:
                time.sleep(max(0.0, start + sent / rate - time.monotonic()))
    print(sent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
