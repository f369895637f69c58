# SPDX-License-Identifier: BSD-2-Clause
"""What arrives: every frame, intact, on every queue; on which processors and in whose memory; and what happens to the link meanwhile."""
import json
import os
import pathlib
import re
import struct
import subprocess
import time

import capture
import pcapfile
import tap
from capture import how
from nic import kernel

COUNTS = {"small": 2000, "imix": 3000, "vlan": 600, "jumbo": 300, "both": 1280}
XDP = ("--source", "xdp", "--link-role", "tap")
# Toeplitz with this key gives both directions of a flow the same hash (Woo and Park 2012).
SYMMETRIC_KEY = ":".join(["6d:5a"] * 20)
# It cannot tell the generator's flows apart, so this one (the sample key of Microsoft's RSS papers) takes its place again.
COMMON_KEY = ("6d:5a:56:da:25:5b:0e:c2:41:67:25:3d:43:a3:8f:b0:d0:ca:2b:cb:ae:7b:30:b4:77:cb:2d:a3:80:30:f2:0c:6a:42:b7:3b:be:ac:01:fa")


class Receive:
    def __init__(self, outside, nic):
        self.outside, self.nic = outside, nic

    def send(self, name, rate=1000):
        """Sends a set and makes sure that the cable lost nothing."""
        answer = self.outside.ask("send", tap=self.nic.tap, name=name, rate=rate)
        assert answer["sent"] == COUNTS[name] and answer["lost"] == 0, f"the emulated NIC did not take every frame: {answer}"
        return COUNTS[name]

    def gather(self, name, *words, sets=None):
        """Captures a set; (statistics, Capture)."""
        with capture.Capture(self.nic.name, *words) as running:
            sent = sum(self.send(one) for one in sets or [name])
            stats = running.stop()
        capture.lossless(stats, sent)
        return stats, running

    # --- checks ------------------------------------------------------------------------------------------------------

    def every_queue(self):
        """Byte-exact on all queues, zero copy where this kernel's driver has it."""
        self.nic.up()
        stats, running = self.gather("imix", *XDP)
        capture.seqcheck(running.files(), COUNTS["imix"] - 1)
        spread = {queue: len(frames) for queue, frames in running.frames().items()}
        assert all(spread.get(queue) for queue in range(self.nic.queues())), f"a queue got nothing: {spread}"
        way = how(stats)
        assert ("zero copy" in way) == self.nic.zero_copy(), f"expected {'zero copy' if self.nic.zero_copy() else 'copy'}: {way}"
        return f"{way}; {stats['stored']} of {COUNTS['imix']} frames intact, per queue {spread}"

    def zero_copy_demanded(self):
        """--zero-copy on is kept, or refused in words."""
        self.nic.up()
        if self.nic.zero_copy():
            stats, running = self.gather("small", *XDP, "--zero-copy", "on")
            capture.seqcheck(running.files(), COUNTS["small"] - 1)
            return how(stats)
        with capture.Capture(self.nic.name, *XDP, "--zero-copy", "on", ready=False) as running:
            code, _ = running.end()
        assert code == 1 and "no zero copy" in running.text(), f"exit code {code}: {running.text()[-300:]}"
        return f"copy only on this kernel, refused: {running.said[-1] if running.said else ''}"

    def copy_mode(self):
        self.nic.up()
        stats, running = self.gather("small", *XDP, "--zero-copy", "off")
        capture.seqcheck(running.files(), COUNTS["small"] - 1)
        assert "zero copy" not in how(stats), how(stats)
        return how(stats)

    def other_source(self, *words):
        self.nic.up()
        stats, running = self.gather("small", *words)
        capture.seqcheck(running.files(), COUNTS["small"] - 1)
        return how(stats)

    def hardware_stamps(self):
        """The NIC has a clock and stamps, but its driver has none for XDP: never promised, refused where they are demanded."""
        self.nic.up()
        shown = capture.command("ethtool", "-T", self.nic.name).stdout
        index = re.search(r"PTP Hardware Clock: (\d+)", shown)
        assert index, f"no clock: {' '.join(shown.split())[:300]}"
        with open(f"/dev/ptp{index[1]}", "rb") as clock:
            first, second = (time.clock_gettime_ns(~clock.fileno() << 3 | 3) for _ in range(2))
        assert second > first, f"the NIC's clock stands still at {first}"
        with capture.Capture(self.nic.name, *XDP, "--timestamps", "hw", ready=False) as running:
            code, _ = running.end()
        assert code == 1 and "no hardware time stamps" in running.text(), f"exit code {code}: {running.text()[-300:]}"
        refused = running.said[0] if running.said else ""
        begin = time.time_ns()
        _, running = self.gather("small", *XDP)
        files = running.files()
        said = {json.loads(path.with_name(path.name + ".json").read_text())["timestamps"] for path in files}
        stamps = [record.ts_ns for path in files for record in pcapfile.read(path)[1]]
        assert said == {"kernel"} and begin <= min(stamps) and max(stamps) <= time.time_ns(), f"{said}, {min(stamps)} to {max(stamps)}"
        return f"/dev/ptp{index[1]} runs; refused: \"{refused}\"; without --timestamps the files say kernel"

    def node(self):
        """Workers run on the processors of the NIC's node, and packet memory is there."""
        self.nic.up()
        cpus = pathlib.Path(f"/sys/devices/system/node/node{self.nic.node}/cpulist").read_text().strip()
        first, last = (int(number) for number in cpus.split("-"))
        with capture.Capture(self.nic.name, *XDP) as running:
            self.send("small")
            threads = {}
            for status in open_all(f"/proc/{running.popen.pid}/task"):
                name = re.search(r"^Name:\s*(.*)$", status, re.MULTILINE)[1]
                threads.setdefault(name, []).append(re.search(r"^Cpus_allowed_list:\s*(.*)$", status, re.MULTILINE)[1])
            with open(f"/proc/{running.popen.pid}/numa_maps", encoding="ascii") as maps:
                text = maps.read()
                pages = big_mappings(text)
                heap = " ".join(re.findall(r" heap .*?((?: N\d+=\d+)+)", text)).strip() + " pages"
                wrong = [line for line in text.splitlines() if re.search(rf" N{1 - self.nic.node}=\d\d\d", line)]
            running.stop()
        # Whatever the threads are called: those pinned to one processor are the workers.
        pinned = {cpu for lists in threads.values() for cpu in lists if cpu.isdigit()}
        assert pinned and all(first <= int(cpu) <= last for cpu in pinned), \
            f"workers on {sorted(pinned)}, the node has {cpus}: {threads}"
        here, elsewhere = pages.get(self.nic.node, 0), sum(n for node, n in pages.items() if node != self.nic.node)
        assert here > 0 and elsewhere * 50 < here, \
            f"MiB of packet memory by node: {pages}, the NIC is on node {self.nic.node}; {wrong}"
        return f"NIC on node {self.nic.node}, workers on CPUs {','.join(sorted(pinned))} (node has {cpus}), " \
               f"packet memory in MiB by node {pages}; heap: {heap}"

    def both_directions(self):
        """A hash that is symmetric, and both directions of each flow are on one queue."""
        self.nic.up()
        set_key = subprocess.run(["ethtool", "-X", self.nic.name, "hkey", SYMMETRIC_KEY], capture_output=True, text=True, check=False)
        try:
            _, running = self.gather("both", *XDP)
        finally:
            if set_key.returncode == 0:
                capture.command("ethtool", "-X", self.nic.name, "hkey", COMMON_KEY)
        queues = {}
        for queue, frames in running.frames().items():
            for frame in frames:
                queues.setdefault(flow(frame), set()).add(queue)
        torn = [key for key, where in queues.items() if len(where) > 1]
        used = set().union(*queues.values())
        way = f"RSS with a symmetric key on {self.nic.name}" if set_key.returncode == 0 else \
            f"{self.nic.driver} takes no key on this kernel ({set_key.stderr.strip()[:80]}); what the cable hashes"
        assert len(queues) >= 32 and len(used) > 1, f"{len(queues)} flows on queues {used}"
        if torn and set_key.returncode:
            raise tap.Skip(f"{way}: {len(torn)} of {len(queues)} flows are on two queues; no symmetric hash can be had here")
        assert not torn, f"{way}: {len(torn)} of {len(queues)} flows are on two queues"
        return f"{way}: {len(queues)} flows, none on two of the queues {sorted(used)}"

    def cable_pulled(self):
        """The link goes down and comes back, and the same capture goes on."""
        self.nic.up()
        with capture.Capture(self.nic.name, *XDP) as running:
            sent = self.send("small")
            self.outside.ask("plug", nic=self.nic.plug, up=False)
            down = running.wait_for(r"[^\n]*the link is down[^\n]*")[0]
            self.outside.ask("plug", nic=self.nic.plug, up=True)
            running.wait_for(r"the link is up again")
            self.nic.wait()
            sent += self.send("small")
            stats = running.stop()
        capture.lossless(stats, sent)
        return f"\"{down.strip()}\", and {stats['stored']} of {sent} frames"

    def jumbo(self):
        """Frames of 9,014 bytes in several buffers; a kernel without them says so."""
        self.nic.up(9000)
        try:
            with capture.Capture(self.nic.name, *XDP, ready=False) as running:
                capture.until(lambda: "capturing" in running.text() or running.popen.poll() is not None, "an answer")
                if running.popen.poll() is not None:
                    running.end()
                    assert kernel() < (6, 6), running.text()[-400:]
                    return f"refused on this kernel: {running.text()[-300:]}"
                sent = self.send("jumbo", 200)
                if "multi-buffer" not in running.text():
                    assert kernel() < (6, 6), running.text()[-400:]
                    return self.too_long(running, sent)
                stats = running.stop()
            capture.lossless(stats, sent)
            capture.seqcheck(running.files(), sent - 1)
            return f"{how(stats)}: {sent} frames of 9014 bytes intact"
        finally:
            self.nic.up()

    @staticmethod
    def too_long(running, sent):
        """Before 6.6 a socket has no frames of several buffers: each is counted as dropped for that reason, and the end says so."""
        running.popen.send_signal(2)
        code, stats = running.end()
        assert code == 3 and stats["stored"] == 0 and stats["seen"] == sum(stats["dropped"].values()) == sent, f"{code}: {stats}"
        return f"not on this kernel: {how(stats)}; exit code 3, dropped {stats['dropped']}, \"{' '.join(stats['reasons'])}\""

    def vlan(self):
        """Frames keep their tag, whatever the NIC does with it."""
        self.nic.up()
        features = capture.command("ethtool", "-k", self.nic.name).stdout
        strip = re.search(r"^rx-vlan-offload: (.*)$", features, re.MULTILINE)[1]
        with capture.Capture(self.nic.name, *XDP) as running:
            sent = self.send("vlan")
            stats = running.stop()
        capture.lossless(stats, sent)
        frames = [frame for frames in running.frames().values() for frame in frames]
        tagged = sum(frame[12:14] == b"\x81\x00" and struct.unpack_from("!H", frame, 14)[0] & 0xFFF == 42 for frame in frames)
        assert tagged == sent, f"rx-vlan-offload {strip}: {tagged} of {sent} frames have their tag; it said: {running.text()[-400:]}"
        capture.seqcheck(running.files(), sent - 1)
        return f"rx-vlan-offload is {strip}; {tagged} of {sent} frames with tag 42, intact"

    def set_queues(self, count):
        """Whether the driver took it; its refusal."""
        done = capture.command("ethtool", "-L", self.nic.name, "combined", count, check=False)
        return done.returncode == 0, " ".join((done.stderr.strip().splitlines() or [""])[-1].split())

    def queues_changed(self):
        """ethtool -L under a running capture. Fewer: refused, as each queue has its socket, and the capture goes on. More: the capture ends
        and says why, or the driver refuses that too."""
        self.nic.up()
        before = self.nic.queues()
        assert self.set_queues(before // 2)[0]
        try:
            self.nic.wait()
            with capture.Capture(self.nic.name, *XDP) as running:
                taken, fewer = self.set_queues(1)
                assert not taken, "queues with sockets can be taken away"
                sent = self.send("small")
                taken, more = self.set_queues(before)
                code, stats = running.end() if taken else (None, running.stop())
            capture.lossless(stats, sent)
            went_on = f"1 of {before // 2} is refused (\"{fewer}\"), the capture goes on: {stats['stored']} of {sent} frames"
            if not taken:
                return f"{went_on}; {before} too (\"{more}\")"
            said = [line for line in running.said if "RX queues changed" in line]
            assert said and code == 3, f"exit code {code}: {running.text()[-400:]}"
            return f"{went_on}; with {before} it ends: exit code 3, \"{said[-1].strip()}\""
        finally:
            self.set_queues(before)
            self.nic.up()

def open_all(folder):
    for task in os.listdir(folder):
        with open(f"{folder}/{task}/status", encoding="ascii") as status:
            yield status.read()


def big_mappings(text, least_kib=8192):
    """MiB by node of the private anonymous mappings that are at least so large: packet buffers and blocks."""
    nodes = {}
    for line in text.splitlines():
        if re.search(r" file=| heap | stack ", line):
            continue
        size = int((re.search(r"kernelpagesize_kB=(\d+)", line) or [0, 4])[1])
        found = [(int(node), int(pages) * size) for node, pages in re.findall(r" N(\d+)=(\d+)", line)]
        if sum(kib for _, kib in found) < least_kib:
            continue
        for node, kib in found:
            nodes[node] = nodes.get(node, 0) + kib
    return {node: round(kib / 1024) for node, kib in sorted(nodes.items())}


def flow(frame):
    """What both directions of a flow have in common (UDP over IPv4)."""
    ends = sorted([(frame[26:30], frame[34:36]), (frame[30:34], frame[36:38])])
    return tuple(ends)
