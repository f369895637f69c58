# SPDX-License-Identifier: BSD-2-Clause
"""Tests in the emulated machine: what each says goes to the console as TAP, with what was seen behind the name."""
import re
import sys
import time
import traceback


class Skip(Exception):
    pass


class Report:
    def __init__(self, first=0):
        self.number = first
        # SKEP_VM_ONLY of scripts/test-vm, for who works on one check
        with open("/proc/cmdline", encoding="ascii") as line:
            self.only = (re.search(r"skep\.only=(\S*)", line.read()) or ["", ""])[1]
        self.start = time.monotonic()

    def line(self, text):
        sys.stdout.write(text.replace("\r", "") + "\n")
        sys.stdout.flush()

    def note(self, text):
        for line in str(text).splitlines():
            self.line(f"# {line}")

    def wants(self, name):
        return re.search(self.only, name.replace(" ", "_"))

    def run(self, name, test, *args):
        """A test returns what it saw, raises Skip(reason), or fails by any other exception."""
        if not self.wants(name):
            return
        self.number += 1
        begin = time.monotonic()
        try:
            seen = test(*args)
        except Skip as reason:
            self.line(f"ok {self.number} - {name} # SKIP {reason}")
        except Exception as error:  # pylint: disable=broad-except
            self.note(traceback.format_exc())
            self.line(f"not ok {self.number} - {name}: {' '.join(str(error).split())[:400]}")
        else:
            self.line(f"ok {self.number} - {name}: {seen} ({time.monotonic() - begin:.1f} s)")
