# SPDX-License-Identifier: BSD-2-Clause
"""One emulated machine: qemu without acceleration in a network namespace of its own, four processors on two NUMA nodes, and the host's end
of its cables. The guest's console is copied to a log; on its second serial port it asks for what only the host can do (send frames, pull a
cable, cut the power), one JSON object a line.

NICs: n0 is virtio-net with four queues on node 1, n1 is igb (where qemu emulates it) on node 0. Their other ends are tap0 and tap1.
"""
import ctypes
import json
import mmap
import os
import pathlib
import platform
import re
import signal
import socket
import subprocess
import threading
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)
# Set when the run is to end: no machine starts any more, those that run are stopped.
STOP = threading.Event()
# Five levels of page tables are one more to walk at each miss of an emulated TLB, and prove nothing.
CPU = "max,la57=off"
# What an emulated processor need not be protected from; not mitigations=off, with which the verifier checks less than on real machines.
FASTER = "no_timer_check nokaslr spectre_v2=off spec_store_bypass_disable=off retbleed=off init_on_alloc=0 audit=0 apparmor=0"
MACS = {"n0": "52:54:00:5e:00:01", "n1": "52:54:00:5e:00:02"}


def clock_words():
    """For the kernel's command line. The guest's time stamp counter is the host's (qemu/TCG on x86): as the clock it costs nothing to read.
    The guest would measure how fast it is, and on a busy host be wrong by a factor of 8; so we measure, by the shortest of some looks."""
    if platform.machine() != "x86_64":
        return ""
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\x0f\x31\x48\xc1\xe2\x20\x48\x09\xd0\xc3")  # rdtsc; shl rdx, 32; or rax, rdx; ret
    counter = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def look():
        looks = []
        for _ in range(50):
            before, ticks, after = time.monotonic_ns(), counter(), time.monotonic_ns()
            looks.append((after - before, ticks, (before + after) // 2))
        return min(looks)[1:]

    first = look()
    time.sleep(0.2)
    second = look()
    return f"tsc=reliable tsc_early_khz={round((second[0] - first[0]) * 1e6 / (second[1] - first[1]))}"


def nic_words(igb):
    words = [
        "-netdev", "tap,id=t0,ifname=tap0,script=no,downscript=no,queues=4,vhost=off",
        # A switch that writes nothing into the frames: no offloads that merge or leave checksums to the guest.
        "-device", f"virtio-net-pci,id=n0,netdev=t0,bus=port1,mac={MACS['n0']},mq=on,vectors=10,iommu_platform=on,disable-legacy=on,"
                   "guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off,rss=on",
    ]
    if igb:
        words += ["-netdev", "tap,id=t1,ifname=tap1,script=no,downscript=no,vhost=off",
                  "-device", f"igb,id=n1,netdev=t1,bus=port0,mac={MACS['n1']}"]
    return words


class Machine:
    """start() and wait() until the guest has turned itself off."""

    def __init__(self, qemu, files, folder, requests, patience=1):
        """qemu: (words that start it, its version); files: kernel, initramfs, root, data; folder: named like the kernel; requests: a
        function (request) -> answer, both dicts; patience: so many times longer the checks inside wait."""
        self.qemu, self.files, self.folder, self.requests = qemu[0], files, folder, requests
        self.name, self.patience = folder.name, patience
        self.igb = int(qemu[1].split(".")[0]) >= 8
        self.namespace = f"skep-vm{folder.name.replace('.', '')}-{os.environ.get('SKEP_RUN_PID', os.getpid())}"
        self.console = folder / "console.log"
        self.process = None
        self.cpu_s = 0.0  # of qemu, so far
        self.costs = []   # (CPU seconds, seconds, line of a check) in the order of the checks

    def words(self):
        qmp, ask = self.folder / "qmp", self.folder / "ask"
        return [
            *self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi",
            "-cpu", CPU, "-m", "3072", "-smp", "4",
            "-object", "memory-backend-ram,id=m0,size=1536M", "-object", "memory-backend-ram,id=m1,size=1536M",
            "-numa", "node,nodeid=0,cpus=0-1,memdev=m0", "-numa", "node,nodeid=1,cpus=2-3,memdev=m1",
            "-device", "pxb-pcie,id=far,bus=pcie.0,bus_nr=128,numa_node=1",
            "-device", "pxb-pcie,id=near,bus=pcie.0,bus_nr=64,numa_node=0",
            "-device", "pcie-root-port,id=port0,bus=near,chassis=1,slot=1",
            "-device", "pcie-root-port,id=port1,bus=far,chassis=2,slot=2",
            *nic_words(self.igb),
            "-drive", f"file={self.files['root']},format=raw,if=none,id=d0,readonly=on", "-device", "virtio-blk-pci,bus=pcie.0,drive=d0",
            "-drive", f"file={self.files['data']},format=raw,if=none,id=d1", "-device", "virtio-blk-pci,bus=pcie.0,drive=d1",
            "-serial", f"file:{self.console}", "-serial", f"unix:{ask},server=on,wait=off", "-qmp", f"unix:{qmp},server=on,wait=off",
            "-kernel", str(self.files["kernel"]), "-initrd", str(self.files["initramfs"]),
            "-append", f"console=ttyS0 quiet panic=1 net.ifnames=0 ipv6.disable=1 {FASTER} {clock_words()} "
                       f"skep.kernel={self.name} skep.patience={self.patience} "
                       f"skep.only={os.environ.get('SKEP_VM_ONLY', '')} skep.all={os.environ.get('SKEP_VM_ALL', '')}",
        ]

    def in_namespace(self, *argv, **kwargs):
        return subprocess.run(["ip", "netns", "exec", self.namespace, *map(str, argv)], capture_output=True, text=True, check=False,
                              timeout=kwargs.pop("timeout", 120), **kwargs)

    def start(self):
        def ip(*words):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"ip {' '.join(words)}: {done.stderr.strip()}")
        ip("netns", "add", self.namespace)
        self.in_namespace("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for name, words in (("tap0", ["multi_queue"]), ("tap1", [])):
            ip("-n", self.namespace, "tuntap", "add", name, "mode", "tap", *words)
            # 9000 from the start: what the guest's MTU lets through is the guest's affair
            ip("-n", self.namespace, "link", "set", name, "mtu", "9000", "up")
        self.console.write_bytes(b"")
        with open(self.folder / "qemu.log", "wb") as log:
            # However this process ends, qemu does not outlive it.
            self.process = subprocess.Popen(["ip", "netns", "exec", self.namespace, *self.words()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self.ask = self._connect(self.folder / "ask")
        self.qmp = self._connect(self.folder / "qmp")
        self.qmp_stream = self.qmp.makefile("rw")
        try:
            self.qmp_stream.readline()
            self.command("qmp_capabilities")
        except (OSError, ValueError):
            raise RuntimeError(self._died()) from None
        threading.Thread(target=self._serve, daemon=True).start()

    def _connect(self, path):
        for _ in range(200):
            if self.process.poll() is not None:
                break
            try:
                end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                end.connect(str(path))
                return end
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(self._died())

    def _died(self):
        return f"qemu did not start: {(self.folder / 'qemu.log').read_text().strip()[-500:]}"

    def command(self, execute, **arguments):
        """A QMP command; what it returns."""
        self.qmp_stream.write(json.dumps({"execute": execute, "arguments": arguments}) + "\n")
        self.qmp_stream.flush()
        while True:
            answer = json.loads(self.qmp_stream.readline())
            if "event" not in answer:
                return answer

    def _serve(self):
        kept = b""
        while True:
            try:
                data = self.ask.recv(4096)
            except OSError:
                return
            if not data:
                return
            kept += data
            while b"\n" in kept:
                line, _, kept = kept.partition(b"\n")
                try:
                    answer = self.requests(self, json.loads(line))
                except Exception as error:  # pylint: disable=broad-except
                    answer = {"error": f"{type(error).__name__}: {error}"}
                if answer is not None:
                    self.ask.sendall(json.dumps(answer).encode() + b"\n")

    def text(self):
        return self.console.read_bytes().decode(errors="replace").replace("\r", "")

    def _look(self, state):
        """Counts what qemu used until the newest check was done."""
        try:
            fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            return
        self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        done = re.findall(r"^(?:not )?ok \d+ - .*$", self.text(), re.MULTILINE)
        if len(done) > len(self.costs):
            now = time.monotonic()
            self.costs += [(0.0, 0.0, line) for line in done[len(self.costs):]]
            self.costs[-1] = (self.cpu_s - state["cpu_s"], now - state["s"], done[-1])
            state.update(cpu_s=self.cpu_s, s=now)

    def wait(self, limit_s, silent_s):
        """Why it did not end by itself; None if it did."""
        now = time.monotonic()
        deadline, size, changed, state = now + limit_s, -1, now, {"cpu_s": 0.0, "s": now}
        while self.process.poll() is None:
            now = time.monotonic()
            if self.console.stat().st_size != size:
                size, changed = self.console.stat().st_size, now
                if re.search(r"Kernel panic|Bail out!", self.text()):
                    time.sleep(2)
                    return "the guest's kernel or script gave up; see the end of its console"
            self._look(state)
            if STOP.is_set():
                return "the run was ended"
            if now > deadline:
                return f"stopped after {limit_s:.0f} s"
            if now - changed > silent_s:
                return f"the guest said nothing for {silent_s} s"
            STOP.wait(0.25)
        return None

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        if pathlib.Path(f"/run/netns/{self.namespace}").exists():
            subprocess.run(["ip", "netns", "del", self.namespace], check=False)
