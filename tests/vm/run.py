# SPDX-License-Identifier: BSD-2-Clause
"""Boots Debian's kernels in an emulated machine and says as TAP what the checks inside saw; started by scripts/test-vm and tests/run.py.

Exit code 0: nothing failed (also if the machine cannot do it: then everything is one skip with the reason); 1: something did.
"""
import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import threading
import time

import cable
import image
import machine
import packages

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SKEP_BUILD", ROOT / "build"))
LOGS = BUILD / "test-logs"
KERNEL_LIMIT_S, SILENT_LIMIT_S = 440, 150
# So many times longer, on a machine that does much else besides.
PATIENCE = int(os.environ.get("SKEP_VM_PATIENCE", "1"))
FETCHING = threading.Lock()


class Tap:
    """The lines of all kernels with one numbering."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.RLock()

    def say(self, ok, text, skip=""):
        with self.lock:
            self._say(ok, text, skip)

    def _say(self, ok, text, skip):
        number = self.passed + self.failed + self.skipped + 1
        if skip:
            self.skipped += 1
            print(f"# {skip}\nok {number} - {text} # SKIP {skip}", flush=True)
            return
        self.passed, self.failed = self.passed + bool(ok), self.failed + (not ok)
        print(f"{'ok' if ok else 'not ok'} {number} - {text}", flush=True)

    def copy(self, kernel, console):
        """What a guest said; the reason if its plan was not kept."""
        plan = re.findall(r"^1\.\.(\d+)", console, re.MULTILINE)
        found = re.findall(r"^(not )?ok \d+ - (.*)$", console, re.MULTILINE)
        for bad, text in found:
            text, _, skip = text.partition(" # SKIP ")
            self.say(not bad, f"[{kernel}] {text}", skip)
        if not plan:
            return f"the guest did not finish its checks ({len(found)} were done)"
        return None if int(plan[-1]) == len(found) else f"{plan[-1]} checks were planned, {len(found)} are on the console"


def why_not():
    if os.geteuid() != 0:
        return "needs root for a network namespace and tap devices"
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun, so no tap devices"
    for tool in ("ip", "mke2fs", "dpkg-deb", "ldd", "tcpdump"):
        if not shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            return f"needs the program {tool}"
    if not (BUILD / "bin" / "skep-capture").exists():
        return f"{BUILD}/bin/skep-capture is not built"
    return None


def summary(kernel, console, vm, seconds):
    """One line for people: how each NIC was read, and what it cost."""
    ways = []
    for driver, said in re.findall(r"^ok \d+ - (\w+): every frame.*?: (.*)$", console, re.MULTILINE):
        ways.append(f"{driver} {'zero copy' if 'zero copy' in said else 'copy'}")
    print(f"# {kernel}: {', '.join(ways) or 'nothing received'}; {len(vm.costs)} checks in {seconds:.0f} s, {vm.cpu_s:.0f} s of processor",
          flush=True)


def keep(vm):
    """The console, and what each check cost."""
    if vm.console.exists():
        shutil.copy(vm.console, LOGS / f"vm-{vm.name}.console.log")
    (LOGS / f"vm-{vm.name}.cost.txt").write_text("".join(f"{cpu_s:7.1f} {s:7.1f} {line[:120]}\n" for cpu_s, s, line in vm.costs))


def boot(tap, cache, shared, folder):
    """One kernel, all checks."""
    start = time.monotonic()
    with FETCHING:
        kernel = cache.kernel(folder.name)
    short = (kernel / "version").read_text().replace("-amd64", "")
    image.initramfs(kernel, cache.tools(), folder / "initramfs")
    image.make_ext4(folder / "data", 16384)
    vm = machine.Machine(cache.qemu(), {"kernel": kernel / "vmlinuz", "initramfs": folder / "initramfs", "root": shared / "root",
                                        "data": folder / "data"}, folder, cable.Cable(BUILD / "bin", shared).answer, PATIENCE)
    try:
        vm.start()
        why = vm.wait(KERNEL_LIMIT_S * PATIENCE, SILENT_LIMIT_S * PATIENCE)
    finally:
        vm.close()
        keep(vm)
    broken = tap.copy(short, vm.text())
    if why or broken:
        tap.say(False, f"[{short}] the machine runs all checks and turns itself off: {why or broken}; "
                       f"see {LOGS}/vm-{folder.name}.console.log")
    summary(short, vm.text(), vm, time.monotonic() - start)


def try_boot(tap, name, cache, shared):
    if machine.STOP.is_set():
        return
    (shared / name).mkdir()
    try:
        boot(tap, cache, shared, shared / name)
    except packages.Unavailable as reason:
        tap.say(True, f"[{name}] the kernel", str(reason))
    except (OSError, RuntimeError) as error:
        tap.say(False, f"[{name}] the machine starts: {error}")


def end(number, _frame):
    """The threads stop their machines; the main thread waits for them and then removes what is left."""
    machine.STOP.set()
    sys.exit(128 + number)


def main():
    parser = argparse.ArgumentParser(description="Boots Debian kernels under qemu; called by scripts/test-vm.")
    parser.add_argument("kernel", nargs="*", help=f"any of: {' '.join(packages.KERNELS)} (default: all)")
    names = parser.parse_args().kernel or list(packages.KERNELS)
    for name in names:
        if name not in packages.KERNELS:
            parser.error(f"no such kernel: {name}")
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    LOGS.mkdir(parents=True, exist_ok=True)
    tap, cache = Tap(), packages.Cache()
    with tempfile.TemporaryDirectory(prefix="skep-vm-") as folder:
        shared = pathlib.Path(folder)
        try:
            reason = why_not()
            if reason:
                raise packages.Unavailable(reason)
            cache.qemu()
            (shared / "stage").mkdir()
            image.root_disk(BUILD, cache.tools(), shared / "stage", shared / "root")
            cable.make_sets(BUILD / "bin", shared)
        except packages.Unavailable as reason:
            tap.say(True, "the emulated machine", str(reason))
            names = []
        # The machines mostly wait (for a link, for frames, for a flush), so two do not disturb each other.
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: try_boot(tap, name, cache, shared), names))
    print(f"1..{tap.passed + tap.failed + tap.skipped}")
    print(f"{tap.passed} passed, {tap.failed} failed, {tap.skipped} skipped", flush=True)
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
