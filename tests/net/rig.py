# SPDX-License-Identifier: BSD-2-Clause
"""A link to test on: two network namespaces with a veth between them, and skep-capture on one end.

Names end in the pid of the test run (skep-cap1-PID, skep-gen1-PID), so that only our own are ever removed; they are removed by the
fixture, at exit, and once more by tests/run.py. Everything that waits has a time limit. Interfaces are cap0 (the capturing end) and gen0.
"""
import atexit
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_BIN", ROOT / "build" / "bin"))
PYTHON = "/usr/bin/python3"
# A sanitized program is several times slower; limits are for hangs, not for speed.
PATIENCE = 4 if os.environ.get("SKEP_SANITIZED") else 1
READY = re.compile(r"\bcapturing\b", re.IGNORECASE)

_count = 0


def run_pid():
    return os.environ.get("SKEP_RUN_PID", str(os.getpid()))


def command(argv, timeout_s=20, check=True, **kwargs):
    """subprocess.run with a limit and text in the exception when it fails."""
    done = subprocess.run([str(word) for word in argv], timeout=timeout_s * PATIENCE, capture_output=True, check=False, **kwargs)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit code {done.returncode}: {done.stderr!r}")
    return done


def why_not():
    """Why this machine cannot have a rig; None if it can. Finds out by doing."""
    if os.geteuid() != 0:
        return "needs root for network namespaces"
    for tool in ("ip", "ethtool", "tcpdump", "zstd"):
        if not shutil.which(tool):
            return f"needs the program {tool}"
    name = f"skep-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, timeout=20, check=False)
    if made.returncode:
        return f"cannot make network namespaces: {made.stderr.strip()}"
    try:
        made = subprocess.run(["ip", "-n", name, "link", "add", "cap0", "type", "veth", "peer", "name", "gen0"],
                              capture_output=True, text=True, timeout=20, check=False)
        return f"cannot make veth links: {made.stderr.strip()}" if made.returncode else None
    finally:
        subprocess.run(["ip", "netns", "del", name], timeout=20, check=False)


class Rig:
    """mtu and queues are those of both ends. gro=True: frames redirected by XDP (skep-gen) arrive also without an XDP program on cap0;
    off by default, because GRO merges TCP segments before an AF_PACKET socket sees them. links=2 adds cap1 and gen1."""

    def __init__(self, mtu=1500, queues=1, gro=False, links=1):
        global _count
        _count += 1
        self.cap, self.gen = f"skep-cap{_count}-{run_pid()}", f"skep-gen{_count}-{run_pid()}"
        self.mtu, self.queues = mtu, queues
        self.started = []
        atexit.register(self.close)
        for name in (self.cap, self.gen):
            command(["ip", "netns", "add", name])
            # A kernel without IPv6 has no such keys; with it, router solicitations would disturb counts.
            self.run(["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"], ns=name, check=False)
            command(["ip", "-n", name, "link", "set", "lo", "up"])
        end = ["mtu", mtu, "numrxqueues", queues, "numtxqueues", queues]
        for n in range(links):
            command(["ip", "-n", self.cap, "link", "add", f"cap{n}", *end, "type", "veth", "peer", "name", f"gen{n}", *end,
                     "netns", self.gen])
            for name, link in ((self.cap, f"cap{n}"), (self.gen, f"gen{n}")):
                self.run(["ethtool", "-K", link, "tso", "off", "gso", "off", "tx", "off", "gro", "on" if gro else "off"], ns=name)
                command(["ip", "-n", name, "link", "set", link, "up"])
        for n in range(links):
            self.wait_for(lambda n=n: self.link(f"cap{n}")["operstate"] == "UP", "the link to come up")

    def close(self):
        """Ends what runs inside and removes both namespaces. May be called twice."""
        atexit.unregister(self.close)
        for capture in self.started:
            capture.kill()
        for name in (self.cap, self.gen):
            if not os.path.exists(f"/run/netns/{name}"):
                continue
            for pid in command(["ip", "netns", "pids", name], check=False, text=True).stdout.split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            command(["ip", "netns", "del", name], check=False)

    def wait_for(self, condition, what, timeout_s=10):
        deadline = time.monotonic() + timeout_s * PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s * PATIENCE} s for {what}")
            time.sleep(0.02)

    # --- programs and links ------------------------------------------------------------------------------------------

    def run(self, argv, ns=None, timeout_s=20, check=True, **kwargs):
        """Runs a program to its end in a namespace (cap by default)."""
        return command(["ip", "netns", "exec", ns or self.cap, *argv], timeout_s, check, **kwargs)

    def start(self, argv, ns=None, **kwargs):
        """Starts a program in a namespace (cap by default) as a Process."""
        process = Process(["ip", "netns", "exec", ns or self.cap, *argv], **kwargs)
        self.started.append(process)
        return process

    def link(self, name):
        """What `ip` says about cap0 or gen0, statistics and XDP program included."""
        ns = self.cap if name.startswith("cap") else self.gen
        return json.loads(command(["ip", "-n", ns, "-j", "-d", "-s", "link", "show", "dev", name], text=True).stdout)[0]

    def arrived(self):
        """Frames that reached cap0 (XDP or stack) and frames that its queue had no room for, since the link was made."""
        stats = self.link("cap0")["stats64"]["rx"]
        return stats["packets"], stats["dropped"]

    # --- traffic -----------------------------------------------------------------------------------------------------

    def send(self, frames, rate=20000, ns=None, link="gen0", timeout_s=60):
        """Sends frames (bytes) on gen0, exactly as they are and in order, and makes sure that the link lost none."""
        data = b"".join(struct.pack("!I", len(frame)) + frame for frame in frames)
        before = self.link("gen0")["stats64"]["tx"]
        done = self.run([PYTHON, "-B", ROOT / "tests" / "net" / "send.py", link, rate], ns=ns or self.gen, timeout_s=timeout_s, input=data)
        assert int(done.stdout) == len(frames)
        after = self.link("gen0")["stats64"]["tx"]
        lost = after["dropped"] - before["dropped"]
        assert lost == 0, f"the link lost {lost} of {len(frames)} frames before the capture could see them"

    # --- capture -----------------------------------------------------------------------------------------------------

    def capture(self, *args, link="cap0", ready=True, **kwargs):
        """Starts skep-capture on cap0 with --stats json and waits until it says that it captures."""
        where = ["-i", link] if link else []
        process = self.start([BIN / "skep-capture", *where, "--stats", "json", *args], **kwargs)
        if ready:
            process.wait_for_line(READY)
        return process


class Process:
    """A running program whose output is collected by threads, so that it can never block on a full pipe."""

    def __init__(self, argv, **kwargs):
        self.argv = [str(word) for word in argv]
        self.lines = []      # of stderr
        self.out = b""
        self.popen = subprocess.Popen(self.argv, stdin=kwargs.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, **kwargs)
        self.readers = [threading.Thread(target=self._read_out, daemon=True), threading.Thread(target=self._read_err, daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read_out(self):
        for chunk in iter(lambda: self.popen.stdout.read1(65536), b""):
            self.out += chunk

    def _read_err(self):
        for line in self.popen.stderr:
            self.lines.append(line.decode(errors="replace").rstrip("\n"))

    @property
    def pid(self):
        return self.popen.pid  # `ip netns exec` execs: it is the program's own

    @property
    def err(self):
        return "\n".join(self.lines)

    def describe(self):
        return f"{' '.join(self.argv)}: exit code {self.popen.poll()}, stderr:\n{self.err}"

    def wait_for_line(self, pattern, timeout_s=10):
        """Waits for a line of stderr; fails with everything it said if it ends before or takes too long."""
        deadline = time.monotonic() + timeout_s * PATIENCE
        while not any(re.search(pattern, line) for line in list(self.lines)):
            if self.popen.poll() is not None:
                self.finish(check=False)
                raise AssertionError(f"ended before it said {pattern}: {self.describe()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"did not say {pattern} in time: {self.describe()}")
            time.sleep(0.01)

    def finish(self, timeout_s=20, check=True):
        """Waits for the end by itself. Returns the exit code."""
        try:
            code = self.popen.wait(timeout_s * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end in time: {self.describe()}") from None
        for reader in self.readers:
            reader.join(5)
        if check and code:
            raise AssertionError(self.describe())
        return code

    def stop(self, sig=signal.SIGINT, timeout_s=20, check=True):
        """Sends the signal, waits for the end, returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        return self.finish(timeout_s, check)

    def kill(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait(10)

    def stats(self):
        """The JSON object on the last line of stdout, after the end."""
        lines = self.out.decode().strip().splitlines()
        assert lines, f"nothing on stdout: {self.describe()}"
        return json.loads(lines[-1])


def balanced(stats):
    """The account's first rule: seen = stored + rejected + dropped, exactly."""
    return stats["seen"] == stats["stored"] + stats["rejected"] + sum(stats["dropped"].values())


# --- oracles: other people's programs on our files --------------------------------------------------------------------

def tcpdump_count(path, *expression):
    """Packets that tcpdump reads from a file (decompressed by zstd); fails if either complains."""
    script = 'set -o pipefail; f=$1; shift; case $f in *.zst) zstd -dc "$f" ;; *) cat "$f" ;; esac | tcpdump -nr - --count "$@"'
    done = command(["bash", "-c", script, "tcpdump_count", path, *expression], timeout_s=60, text=True)
    return int(re.search(r"(\d+) packets?", done.stdout)[1])


def tshark_lengths(path):
    """Captured length of each frame as tshark reads the file itself, compressed or not; fails if it complains."""
    done = command(["tshark", "-n", "-r", path, "-T", "fields", "-e", "frame.cap_len"], timeout_s=120, text=True)
    assert "cut short" not in done.stderr and "appears" not in done.stderr, done.stderr
    return [int(line) for line in done.stdout.split()]


def first_difference(sent, stored):
    """None if both lists of frames are the same; else where and how they differ, short enough to read."""
    for n, (want, have) in enumerate(zip(sent, stored)):
        if want != have:
            at = next((i for i, (a, b) in enumerate(zip(want, have)) if a != b), min(len(want), len(have)))
            return (f"frame {n}: {len(want)} bytes sent, {len(have)} stored, first difference at byte {at}: "
                    f"{want[at:at + 16].hex()} became {have[at:at + 16].hex()}")
    if len(sent) != len(stored):
        return f"{len(sent)} frames sent, {len(stored)} stored"
    return None


if __name__ == "__main__":
    sys.exit("rig.py is a library; run: scripts/test net")
