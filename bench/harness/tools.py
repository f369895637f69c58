# SPDX-License-Identifier: BSD-2-Clause
"""How each program is started, and how many packets it says, and has proof, that it stored.

Every tool gets the options that its own documentation recommends for high rates. `stored` is what is in the file where that can be told
from the file (fixed frame size, blocks with counters), else the program's own count.
"""
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

from .rig import RX_LINK, BenchError

PCAP_HEADER_BYTES = 24
PCAP_RECORD_BYTES = 16


def number(pattern, text):
    found = re.search(pattern, text)
    return int(found.group(1)) if found else None


class Tool:
    name = ""
    program = ""
    ready = ""  # what it says when it captures
    stop_patience_s = 30.0
    # how long it may keep a last, partly filled buffer to itself after the traffic has ended
    settle_s = 0.6
    # each of its processes gets a SIGINT; else those behind the first end by themselves
    end_together = False
    # what the scenario asks for, as an expression of pcap-filter(7)
    filter = ""

    def __init__(self, bin_dir):
        self.bin_dir = Path(bin_dir)

    def path(self):
        own = self.bin_dir / self.program
        return str(own) if own.exists() else shutil.which(self.program) or shutil.which(self.program, path="/usr/sbin:/sbin")

    def version(self):
        for words in ([self.path(), "--version"], [self.path(), "-V"]):
            done = subprocess.run(words, capture_output=True, text=True)
            found = re.search(r"\d+\.\d+[\w.+~-]*", done.stdout + done.stderr)
            if found:
                return found.group(0)
        return "unknown"

    def start(self, rig, work, sink, level):
        """Returns the list of processes, the receiving one first."""
        return [rig.start(self.command(work, sink, level), work / f"{self.name}.log")]

    def command(self, work, sink, level):
        raise NotImplementedError

    def filter_words(self):
        return [self.filter] if self.filter else []

    def target(self, work, sink, suffix):
        return "/dev/null" if sink == "null" else str(work / f"out{suffix}")

    def account(self, processes, work, sink, frame_bytes):
        """{"stored", "dropped" (what the tool admits, or None), "disk_bytes"}"""
        raise NotImplementedError


def pcap_packets(path, frame_bytes):
    """Packets in a pcap whose frames all have the same size; None if they do not."""
    if frame_bytes is None or not path.exists():
        return None
    rest = path.stat().st_size - PCAP_HEADER_BYTES
    return rest // (PCAP_RECORD_BYTES + frame_bytes) if rest > 0 else 0


def disk_bytes(work):
    return sum(f.stat().st_size for f in work.rglob("*") if f.is_file() and f.suffix not in (".log", ".out"))


class Skep(Tool):
    name = "skep-capture"
    program = "skep-capture"
    ready = r"(?i)\bcapturing\b"

    def command(self, work, sink, level):
        return [self.path(), "-i", RX_LINK, "-w", self.target(work, sink, ".pcap.zst"), "--cpus", "1", "--stats",
                "json"] + (["--level", level] if level != "auto" else []) + self.filter_words()

    def account(self, processes, work, sink, frame_bytes):
        lines = processes[0].out().strip().splitlines()
        try:
            said = json.loads(lines[-1])
        except (IndexError, ValueError):
            how = "had to be killed" if processes[0].killed else f"ended with {processes[0].popen.returncode}"
            raise BenchError(f"skep-capture {how}, and its last line is no JSON object; it said: "
                             f"{processes[0].log().strip()[-600:]}") from None
        dropped = sum(said["dropped"].values())
        return {"stored": said["stored"], "dropped": dropped, "disk_bytes": said["bytes_disk"], "rejected": said["rejected"],
                "seen": said["seen"], "reasons": {k: v for k, v in said["dropped"].items() if v}, "raw_bytes": said["bytes_raw"]}


class SkepPlain(Skep):
    """The file as any reader takes it: nothing is compressed, nothing is tried."""

    name = "skep-capture, plain"

    def command(self, work, sink, level):
        return [self.path(), "-i", RX_LINK, "-w", self.target(work, sink, ".pcap"), "--cpus", "1", "--stats", "json"] + self.filter_words()


class SkepCutOff(Skep):
    """Keeps the beginning of each flow, so it has to remember every flow. What it takes of none is rejected, not lost."""

    name = "skep-capture, first 10 of a flow"

    def command(self, work, sink, level):
        return super().command(work, sink, level) + ["--cut-off", "packets:10"]


class Tcpdump(Tool):
    name = "tcpdump"
    program = "tcpdump"
    ready = "listening on"
    settle_s = 1.3  # its poll timeout is 1 s

    def command(self, work, sink, level):
        return [self.path(), "-n", "-i", RX_LINK, "-B", "524288", "-Z", "root", "-w", self.target(work, sink, ".pcap")] + \
            self.filter_words()

    def account(self, processes, work, sink, frame_bytes):
        log = processes[0].log()
        stored = pcap_packets(work / "out.pcap", frame_bytes) if sink == "disk" else None
        if stored is None:
            stored = number(r"(\d+) packets captured", log)
        return {"stored": stored, "dropped": number(r"(\d+) packets dropped by kernel", log), "disk_bytes": disk_bytes(work)}


class TcpdumpZstd(Tcpdump):
    name = "tcpdump + zstd -1"

    def start(self, rig, work, sink, level):
        words = [self.path(), "-n", "-i", RX_LINK, "-B", "524288", "-Z", "root", "-w", "-"]
        first = rig.start(words, work / "tcpdump.log", stdout=subprocess.PIPE)
        target = self.target(work, sink, ".pcap.zst")
        second = rig.start(["zstd", "-q", "-f", "-1", "-T1", "-", "-o", target], work / "zstd.log", stdin=first.popen.stdout)
        first.popen.stdout.close()
        return [first, second]

    def account(self, processes, work, sink, frame_bytes):
        log = processes[0].log()
        return {"stored": number(r"(\d+) packets captured", log), "dropped": number(r"(\d+) packets dropped by kernel", log),
                "disk_bytes": disk_bytes(work)}


class Dumpcap(Tool):
    name = "dumpcap"
    program = "dumpcap"
    ready = "File: "

    def command(self, work, sink, level):
        # -P: pcap, so that all write the same bytes
        return [self.path(), "-q", "-P", "-B", "512", "-i", RX_LINK, "-w", self.target(work, sink, ".pcap")]

    def account(self, processes, work, sink, frame_bytes):
        log = processes[0].log()
        stored = pcap_packets(work / "out.pcap", frame_bytes) if sink == "disk" else None
        if stored is None:
            stored = number(r"Packets captured: (\d+)", log)
        return {"stored": stored, "dropped": number(r"interface '[^']*': \d+/(\d+)", log), "disk_bytes": disk_bytes(work)}


class NetsniffNg(Tool):
    name = "netsniff-ng"
    program = "netsniff-ng"
    ready = "Running!"

    def command(self, work, sink, level):
        return [self.path(), "-i", RX_LINK, "-o", self.target(work, sink, ".pcap"), "-s", "-S", "512MiB"]

    def account(self, processes, work, sink, frame_bytes):
        said = processes[0].out() + processes[0].log()
        stored = pcap_packets(work / "out.pcap", frame_bytes) if sink == "disk" else None
        if stored is None:
            stored = number(r"(\d+)\s+packets incoming", said)
        return {"stored": stored, "dropped": number(r"(\d+)\s+packets failed filter", said), "disk_bytes": disk_bytes(work)}


class Stenotype(Tool):
    """Does not end on SIGINT before its last block is full, so it is killed; its packets are counted in its files' blocks."""

    name = "stenotype"
    program = "stenotype"
    ready = "starting to process packets"
    stop_patience_s = 1.0
    settle_s = 1.3
    block_bytes = 1 << 20

    def command(self, work, sink, level):
        for folder in ("PKT0", "IDX0"):
            (work / folder).mkdir()
        return [self.path(), f"--iface={RX_LINK}", f"--dir={work}", "--threads=1", "--blocks=512", "--aiops=128", "--seccomp=none",
                "--uid=root", "--gid=root", "-v"]

    def version(self):
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "stenographer"], capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    def account(self, processes, work, sink, frame_bytes):
        stored = 0
        for path in (work / "PKT0").iterdir():
            with open(path, "rb") as file:
                for at in range(0, path.stat().st_size, self.block_bytes):
                    file.seek(at)
                    head = file.read(16)
                    # struct tpacket_block_desc: version, offset_to_priv, status, num_pkts
                    stored += struct.unpack("=4I", head)[3] if len(head) == 16 else 0
        drops = re.findall(r"drops=(\d+)", processes[0].log())
        return {"stored": stored, "dropped": int(drops[-1]) if drops else None, "disk_bytes": disk_bytes(work)}


class RxNull(Tool):
    """A limit: XDP_DROP, or AF_XDP receive alone. "Stored" is what it received."""

    program = "skep-rxnull"
    ready = "ready"

    def __init__(self, bin_dir, mode):
        super().__init__(bin_dir)
        self.mode = mode
        self.name = {"drop": "limit: XDP_DROP", "afxdp": "limit: AF_XDP receive"}[mode]

    def command(self, work, sink, level):
        # sleeping 0.2 ms is never too long for a ring of 16,384 and leaves the other core alone: faster than spinning on two cores
        return [self.path(), "-i", RX_LINK, "--mode", self.mode, "--sleep", "200us"]

    def start(self, rig, work, sink, level):
        return [rig.start(self.command(work, sink, level), work / "rxnull.log")]

    def account(self, processes, work, sink, frame_bytes):
        said = json.loads(processes[0].out().strip().splitlines()[-1])
        stored = said["seen"] if self.mode == "drop" else said["received"]
        return {"stored": stored, "dropped": said["seen"] - stored, "disk_bytes": 0}


class Classify(Tool):
    """The prefilter with a set of jobs that match nothing, and nobody behind it. "Stored" is what it judged."""

    program = "skep-classify"
    ready = "ready"
    settle_s = 0.2

    def __init__(self, bin_dir, jobs, kind):
        super().__init__(bin_dir)
        self.jobs = jobs
        self.kind = kind
        self.name = f"classify: {jobs} {kind} jobs"

    def command(self, work, sink, level):
        return [self.path(), "-i", RX_LINK, "--jobs", str(self.jobs), "--kind", self.kind]

    def account(self, processes, work, sink, frame_bytes):
        said = json.loads(processes[0].out().strip().splitlines()[-1])
        if said["seen"] != said["rejected"]:
            raise BenchError(f"{self.name}: {said['seen']} frames seen, {said['rejected']} rejected, though no job matches any")
        return {"stored": said["seen"], "dropped": 0, "disk_bytes": 0}


class TcpdumpMany(Tcpdump):
    """As many processes as there are jobs, each with a filter that matches nothing. The kernel runs all filters for each packet."""

    end_together = True
    settle_s = 0.2

    def __init__(self, bin_dir, jobs):
        super().__init__(bin_dir)
        self.jobs = jobs
        self.name = f"tcpdump, {jobs} processes"

    def start(self, rig, work, sink, level):
        found = []
        for i in range(self.jobs):
            words = [self.path(), "-n", "-i", RX_LINK, "-Z", "root", "-w", "/dev/null", f"udp port {30000 + i}"]
            found.append(rig.start(words, work / f"tcpdump-{i}.log"))
        for process in found:
            rig.wait_ready(process, self.ready)
        return found

    def account(self, processes, work, sink, frame_bytes):
        dropped = sum(number(r"(\d+) packets dropped by kernel", p.log()) or 0 for p in processes)
        return {"stored": sum(number(r"(\d+) packets captured", p.log()) or 0 for p in processes), "dropped": dropped, "disk_bytes": 0}


JOBS = 64
FEW_JOBS = 16
KINDS = ("merged", "mixed", "general")
PEERS = (Tcpdump, Dumpcap, NetsniffNg, Stenotype)


def all_tools(bin_dir):
    tools = [cls(bin_dir) for cls in (Skep, SkepPlain, SkepCutOff) + PEERS + (TcpdumpZstd,)] + [RxNull(bin_dir, mode)
                                                                                             for mode in ("drop", "afxdp")]
    tools += [Classify(bin_dir, n, "merged") for n in (0, FEW_JOBS)] + [Classify(bin_dir, JOBS, kind) for kind in KINDS]
    tools += [TcpdumpMany(bin_dir, n) for n in (FEW_JOBS, JOBS)]
    return {tool.name: tool for tool in tools}
