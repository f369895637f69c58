# SPDX-License-Identifier: BSD-2-Clause
"""The first process of the emulated machine: mounts what is missing, runs the checks, turns the machine off."""
import ctypes
import os
import platform
import subprocess
import traceback

import host
import tap

RB_POWER_OFF = 0x4321FEDC


def mount(kind, at, source="none"):
    os.makedirs(at, exist_ok=True)
    subprocess.run(["busybox", "mount", "-t", kind, source, at], check=True)


def off():
    os.sync()
    ctypes.CDLL(None).reboot(RB_POWER_OFF)


def main():
    os.environ.update(PATH="/skep/bin:/usr/bin:/usr/sbin", HOME="/root", PYTHONDONTWRITEBYTECODE="1")
    mount("tmpfs", "/tmp")
    mount("tmpfs", "/run")
    mount("bpf", "/sys/fs/bpf")
    report = tap.Report()
    report.note(f"kernel {platform.release()}")
    outside = host.Host()
    report.run("the machine has two nodes", lambda: open("/sys/devices/system/node/online").read().strip())
    report.note(outside.ask("hello"))
    report.line(f"1..{report.number}")


try:
    main()
except BaseException:  # pylint: disable=broad-except
    print("Bail out! the guest's own script failed", flush=True)
    traceback.print_exc()
finally:
    off()
