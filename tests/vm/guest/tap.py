# SPDX-License-Identifier: BSD-2-Clause
"""Tests in the emulated machine: what each says goes to the console as TAP, with what was seen behind the name. A check that captured says
how (copy or zero copy), whether it thinks of it or not."""
import re
import sys
import time
import traceback

import capture


class Skip(Exception):
    pass


class Report:
    def __init__(self, first=0):
        self.number = first
        # SKEP_VM_ONLY and SKEP_VM_ALL of scripts/test-vm, for who works on one check
        self.only, self.all = capture.word("only"), capture.word("all") == "1"
        self.kernel = capture.word("kernel")

    def line(self, text):
        sys.stdout.write(text.replace("\r", "") + "\n")
        sys.stdout.flush()

    def note(self, text):
        for line in str(text).splitlines():
            self.line(f"# {line}")

    def wants(self, name, on=()):
        return (not on or self.all or self.kernel in on) and re.search(self.only, name.replace(" ", "_"))

    def run(self, name, test, *args, on=()):
        """A test returns what it saw, raises Skip(reason), or fails by any other exception. on: the kernels that it proves something on;
        none are all. Whether it was run and passed."""
        if not self.wants(name, on):
            return False
        self.number += 1
        capture.WAYS.clear()
        begin = time.monotonic()
        try:
            seen = test(*args)
        except Skip as reason:
            self.line(f"ok {self.number} - {name} # SKIP {' '.join(str(reason).split())}")
        except Exception as error:  # pylint: disable=broad-except
            self.note(traceback.format_exc())
            self.line(f"not ok {self.number} - {name}: {' '.join(str(error).split())[:400]}")
        else:
            ways = [way for way in capture.WAYS if way not in seen]
            self.line(f"ok {self.number} - {name}: {'; '.join([*ways, seen])} ({time.monotonic() - begin:.1f} s)")
            return True
        return False
