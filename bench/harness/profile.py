# SPDX-License-Identifier: BSD-2-Clause
"""Where the time of a packet goes: perf on the running capture, its symbols put together by stage, its stacks as a flame graph."""
import re
import shutil
import subprocess
import time

from . import flame, svg
from .measure import Spec
from .pictures import STAGES as FIGURE
from .rig import BenchError, Unavailable
from .tools import Skep

COUNTERS = ("cycles", "instructions", "LLC-load-misses")
# first match wins; names are those of functions
STAGES = (
    ("receive", r"^(cap_xsk|cap_source|cap_ringbuf|cap_meta|xsk_|source_|receive|release|mirror_)"),
    ("route", r"^(cap_filter|cap_lane_route|cap_worker|flt_|bpf_filter|pcap_|worker_|route|turn)"),
    ("copy", r"^(cap_lane|cap_capwrite|cap_block|cap_trim|lane_|__mem|mem|put_record)"),
    ("pack", r"^(ZSTD|HUF|FSE|HIST|XXH|cap_pack|cap_level|cap_zframe|pack_|FASTCOVER)"),
    ("submit", r"^(io_uring|__io_uring|cap_sink|cap_io|cap_segment|cap_digest|cap_writer|crypto_|SHA256|sha256|sink_)"),
)


def stage_of(dso, symbol):
    if dso.startswith("[kernel") or symbol.startswith("[k]"):
        return "kernel"
    name = symbol.removeprefix("[.] ").strip()
    return next((stage for stage, pattern in STAGES if re.match(pattern, name)), "other")


def read_report(data):
    text = subprocess.run(["perf", "report", "-i", str(data), "--stdio", "--no-children", "-g", "none", "-F", "overhead,dso,symbol", "-t",
                           "\t"],
                          capture_output=True, text=True).stdout
    for line in text.splitlines():
        cells = [c.strip() for c in line.split("\t")]
        if len(cells) == 3 and cells[0].endswith("%"):
            yield float(cells[0][:-1]), cells[1], cells[2]


def read_counters(text):
    """{event: count} of what `perf stat -x,` prints; what the machine does not count is not in it."""
    found = {}
    for line in text.splitlines():
        cells = line.split(",")
        if len(cells) > 2 and cells[0].replace(".", "", 1).isdigit():
            found[cells[2].partition(":")[0]] = float(cells[0])
    return found


def counters_here():
    """The events of COUNTERS that this machine counts: none in most virtual machines."""
    done = subprocess.run(["perf", "stat", "-x,", "-e", ",".join(COUNTERS), "true"], capture_output=True, text=True)
    return [event for event in COUNTERS if event in read_counters(done.stderr)]


def read_stacks(data):
    text = subprocess.run(["perf", "script", "-i", str(data), "--no-inline", "-F", "comm,pid,tid,time,event,ip,sym,dso"],
                          capture_output=True, text=True, errors="replace").stdout
    return flame.fold(text)


class ProfiledSkep(Skep):
    """skep-capture with perf looking on from its own process."""

    name = "skep-capture, profiled"

    def __init__(self, bin_dir, data, seconds):
        super().__init__(bin_dir)
        self.data, self.seconds, self.counters = data, seconds, counters_here()
        self.counts = data.with_name("perf.stat")
        self.perf = self.stat = None

    def start(self, rig, work, sink, level):
        processes = super().start(rig, work, sink, level)
        rig.wait_ready(processes[0], self.ready)
        until = ["-p", str(processes[0].pid), "--", "sleep", str(self.seconds + 0.5)]
        event = "cycles" if "cycles" in self.counters else "cpu-clock"
        self.perf = subprocess.Popen(["perf", "record", "-q", "-e", event, "-F", "1999", "--call-graph", "dwarf,4096", "-o", str(self.data),
                                      *until], stderr=subprocess.PIPE)
        if self.counters:
            self.stat = subprocess.Popen(["perf", "stat", "-x,", "-e", ",".join(self.counters), "-o", str(self.counts), *until],
                                         stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        return processes


def record(bench, plan, size, payload, sink):
    data = bench.work_dir / "perf.data"
    tool = ProfiledSkep(bench.bin_dir, data, plan.duration_s)
    bench.tools[tool.name] = tool
    try:
        row = bench.measure(Spec(plan.name, tool.name, size=size, payload=payload, duration_s=plan.duration_s, sink=sink))
        tool.perf.wait(plan.duration_s + 10)
        lines, stacks, counts = list(read_report(data)), read_stacks(data), {}
        if tool.stat:
            tool.stat.wait(plan.duration_s + 10)
            counts = read_counters(tool.counts.read_text())
    finally:
        for process in (tool.perf, tool.stat):
            if process and process.poll() is None:
                process.kill()
                process.wait()
        for path in (data, data.with_name("perf.data.old"), tool.counts):
            path.unlink(missing_ok=True)
    if not lines:
        raise BenchError(f"perf recorded nothing: {tool.perf.stderr.read().decode(errors='replace').strip()}")
    return row, lines, stacks, counts


def profile(bench, plan):
    """perf record of three captures: figures by stage, and a picture of the stacks of each."""
    if not shutil.which("perf"):
        raise Unavailable("perf is not installed (package linux-perf)")
    rows, folder = [], bench.out_dir / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    for size, payload, sink in plan.of:
        row, lines, stacks, counts = record(bench, plan, size, payload, sink)
        bench.say(row)
        rows.append(row)
        total, shares = row["cpu_ns_per_packet"], {}
        for share, dso, symbol in lines:
            stage = stage_of(dso, symbol)
            shares[stage] = shares.get(stage, 0) + share
        case = f"{size} B {payload}, {'nothing written' if sink == 'null' else 'to disk'}"
        for stage in [s for s, _ in STAGES] + ["kernel", "other"]:
            bench.figure(plan.name, FIGURE, shares.get(stage, 0) * total / 100, "ns", series=stage, x=case)
        for event, count in counts.items():
            bench.figure(plan.name, f"{event} a packet", count / row["stored"], "", series=case)
        # by name of the program's functions; what lies below them is in the picture
        for share, _, symbol in lines[:plan.largest]:
            bench.figure(plan.name, f"largest, {case}", share * total / 100, "ns", series=symbol.split(" ", 1)[-1][:60])
        if stacks:
            (folder / f"flame-{size}-{payload}-{sink}.svg").write_text(
                svg.flame(f"skep-capture, {case}", stacks, "Made by scripts/bench profile. Do not edit."))
    return rows, []
