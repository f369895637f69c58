# SPDX-License-Identifier: BSD-2-Clause
"""One emulated machine: qemu without acceleration in a network namespace of its own, four processors on two NUMA nodes, and the host's end
of its cables. The guest's console is copied to a log; on its second serial port it asks for what only the host can do (send frames, pull a
cable, cut the power), one JSON object a line.

NICs: n0 is virtio-net with four queues on node 1, n1 is igb (where qemu emulates it) on node 0. Their other ends are tap0 and tap1.
"""
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

MACS = {"n0": "52:54:00:5e:00:01", "n1": "52:54:00:5e:00:02"}


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

    def __init__(self, qemu, version, files, folder, requests):
        """files: kernel, initramfs, root, data; requests: a function (request) -> answer, both dicts."""
        self.qemu, self.files, self.folder, self.requests = qemu, files, folder, requests
        self.igb = int(version.split(".")[0]) >= 8
        self.namespace = f"skep-vm{folder.name.replace('.', '')}-{os.environ.get('SKEP_RUN_PID', os.getpid())}"
        self.console = folder / "console.log"
        self.process = None

    def words(self):
        qmp, ask = self.folder / "qmp", self.folder / "ask"
        return [
            *self.qemu, "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "tcg,thread=multi",
            "-cpu", "max", "-m", "3072", "-smp", "4",
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
            "-append", f"console=ttyS0 quiet panic=1 net.ifnames=0 ipv6.disable=1 skep.only={os.environ.get('SKEP_VM_ONLY', '')}",
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
            self.process = subprocess.Popen(["ip", "netns", "exec", self.namespace, *self.words()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log)
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

    def wait(self, limit_s, silent_s=150):
        """Why it did not end by itself; None if it did."""
        deadline, size, changed = time.monotonic() + limit_s, -1, time.monotonic()
        while self.process.poll() is None:
            now = time.monotonic()
            if self.console.stat().st_size != size:
                size, changed = self.console.stat().st_size, now
            if re.search(r"Kernel panic|Bail out!", self.text()):
                time.sleep(2)
                return "the guest's kernel or script gave up; see the end of its console"
            if now > deadline:
                return f"stopped after {limit_s:.0f} s"
            if now - changed > silent_s:
                return f"the guest said nothing for {silent_s} s"
            time.sleep(0.25)
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
