# SPDX-License-Identifier: BSD-2-Clause
"""The machine outside, which holds the cables: one JSON object a line on the second serial port, and an answer to each."""
import json
import os
import termios
import tty


class Host:
    def __init__(self, path="/dev/ttyS1"):
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd, termios.TCSANOW)
        termios.tcflush(self.fd, termios.TCIFLUSH)
        self.kept = b""

    def ask(self, do, **fields):
        os.write(self.fd, json.dumps({"do": do, **fields}).encode() + b"\n")
        while b"\n" not in self.kept:
            self.kept += os.read(self.fd, 4096)
        line, _, self.kept = self.kept.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise AssertionError(f"the host could not {do}: {answer['error']}")
        return answer
