# SPDX-License-Identifier: BSD-2-Clause
"""The link that everything is measured on, and the processes that run at its two ends.

Two namespaces of our own, named by pid, with a veth pair between them. Whatever happens, close() ends the processes that were started
here, by their pids, and deletes the namespaces, and with them the link and every XDP program on it.
"""
import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

TX_LINK = "gen0"
RX_LINK = "cap0"
CPU_TX = 0
CPU_RX = 1
# how long a program may take until it receives, and to end after SIGINT
READY_S = 10.0
STOP_S = 30.0


class BenchError(Exception):
    """Something that the person who runs the benchmark must know; the text is the whole message."""


class Unavailable(BenchError):
    """A scenario that this machine, or what is installed on it, cannot run. It is named in the result, and no failure."""


class OutOfTime(Exception):
    """The time that the run was given is over: what is measured stays, nothing more is begun."""


def run(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise BenchError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Process:
    """One program that was started here. Its CPU time and memory are read from /proc while it lives."""

    def __init__(self, words, log, stdin=None, stdout=None, cpu=CPU_RX, namespace=None):
        self.log_path = Path(log)
        self.out_path = self.log_path.with_suffix(".out")
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        prefix += ["taskset", "-c", str(cpu)]
        with open(self.log_path, "wb") as err, open(self.out_path, "wb") as out:
            # its own session: a Ctrl-C on the terminal is ours to pass on
            self.popen = subprocess.Popen(prefix + words, stdin=stdin or subprocess.DEVNULL, stdout=stdout or out, stderr=err,
                                          start_new_session=True)
        self.pid = self.popen.pid
        self.killed = False

    def log(self):
        return self.log_path.read_text(errors="replace")

    def out(self):
        return self.out_path.read_text(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def cpu_ns(self):
        total = 0
        for task in Path(f"/proc/{self.pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (OSError, IndexError):
                pass
        return total

    def rss_peak_bytes(self):
        try:
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        except OSError:
            pass
        return 0

    def stop(self, patience_s=STOP_S):
        """SIGINT, patience, SIGKILL; returns the exit code."""
        if self.alive():
            self.popen.send_signal(signal.SIGINT)
        try:
            return self.popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.killed = True
            self.popen.kill()
            return self.popen.wait()

    def kill(self):
        if self.alive():
            self.popen.kill()
            self.popen.wait()


def remove_left_over():
    """Ends what runs in the namespaces of benchmarks that were killed (their pid is in the name and nobody has it), and removes them."""
    for line in run("ip", "netns", "list", check=False).splitlines():
        name = line.split()[0] if line.split() else ""
        found = re.fullmatch(r"skep-bench\w*-[rt]x-(\d+)", name)
        if not found or Path(f"/proc/{found[1]}").exists():
            continue
        for pid in run("ip", "netns", "pids", name, check=False).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "del", name, check=False)


class Rig:
    """`label` tells rigs of one process apart. Frames of the generator arrive on the queue that has the number of its CPU."""

    def __init__(self, mtu=1500, queues=1, label=""):
        self.tx = f"skep-bench{label}-tx-{os.getpid()}"
        self.rx = f"skep-bench{label}-rx-{os.getpid()}"
        self.mtu = mtu
        self.queues = queues
        self.processes = []

    def __enter__(self):
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def _build(self):
        for namespace in (self.tx, self.rx):
            run("ip", "netns", "add", namespace)
            # no router solicitations or multicast reports among the counted frames
            run("ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1")
        many = ("numrxqueues", str(self.queues), "numtxqueues", str(self.queues))
        run("ip", "-n", self.tx, "link", "add", TX_LINK, "mtu", str(self.mtu), *many, "type", "veth", "peer", "name", RX_LINK, "mtu",
            str(self.mtu), *many, "netns", self.rx)
        run("ip", "-n", self.tx, "link", "set", TX_LINK, "up")
        run("ip", "-n", self.rx, "link", "set", RX_LINK, "up")
        # without XDP or GRO at the receiving end, a veth throws redirected frames away
        run("ip", "netns", "exec", self.rx, "ethtool", "-K", RX_LINK, "gro", "on")

    def close(self):
        for process in self.processes:
            process.kill()
        for namespace in (self.tx, self.rx):
            run("ip", "netns", "del", namespace, check=False)

    def start(self, words, log, cpu=CPU_RX, **kwargs):
        process = Process(words, log, cpu=cpu, namespace=self.rx, **kwargs)
        self.processes.append(process)
        return process

    def forget(self, processes):
        self.processes = [p for p in self.processes if p not in processes]

    def wait_ready(self, process, says):
        """Waits until the program says that it captures. A packet socket alone is no proof: half a gigabyte of ring comes after it."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if re.search(says, process.log() + process.out()):
                time.sleep(0.2)
                return
            if not process.alive():
                raise BenchError(f"{process.popen.args[-20:]}: ended before it received anything: {process.log().strip()[-600:]}")
            time.sleep(0.02)
        raise BenchError(f"{process.popen.args[-20:]}: does not receive after {READY_S:.0f} s: {process.log().strip()[-600:]}")
