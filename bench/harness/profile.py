# SPDX-License-Identifier: BSD-2-Clause
"""Where the time of a packet goes: perf on the running capture, its symbols put together by stage."""
import re
import shutil
import subprocess
import time

from .measure import Bench, Spec
from .rig import BenchError, Rig
from .tools import Skep

# first match wins; names are those of functions
STAGES = (
    ("receive", r"^(cap_xsk|cap_source|cap_ringbuf|cap_meta|xsk_|source_|receive|release|mirror_)"),
    ("route", r"^(cap_filter|cap_lane_route|cap_worker|flt_|bpf_filter|pcap_|worker_|route|turn)"),
    ("copy", r"^(cap_lane|cap_capwrite|cap_block|cap_trim|lane_|__mem|mem|put_record)"),
    ("pack", r"^(ZSTD|HUF|FSE|HIST|XXH|cap_pack|cap_level|cap_zframe|pack_|FASTCOVER)"),
    ("submit", r"^(io_uring|__io_uring|cap_sink|cap_io|cap_segment|cap_digest|cap_writer|crypto_|SHA256|sha256|sink_)"),
)
CASES = (("64", "random", "null"), ("1500", "random", "disk"), ("1500", "compressible", "disk"))
SECONDS = 3.0


def stage_of(dso, symbol):
    if dso.startswith("[kernel") or symbol.startswith("[k]"):
        return "kernel"
    name = symbol.removeprefix("[.] ").strip()
    return next((stage for stage, pattern in STAGES if re.match(pattern, name)), "other")


def read_report(data):
    text = subprocess.run(["perf", "report", "-i", str(data), "--stdio", "--no-children", "-F", "overhead,dso,symbol", "-t", "\t"],
                          capture_output=True, text=True).stdout
    for line in text.splitlines():
        cells = [c.strip() for c in line.split("\t")]
        if len(cells) == 3 and cells[0].endswith("%"):
            yield float(cells[0][:-1]), cells[1], cells[2]


class ProfiledSkep(Skep):
    """skep-capture with perf looking on from its own process."""

    def __init__(self, bin_dir, data):
        super().__init__(bin_dir)
        self.data = data
        self.perf = None

    def start(self, rig, work, sink, level):
        processes = super().start(rig, work, sink, level)
        rig.wait_ready(processes[0], self.ready)
        self.perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "2000", "-p", str(processes[0].pid), "-o",
                                      str(self.data), "--", "sleep", str(SECONDS + 0.5)], stderr=subprocess.PIPE)
        time.sleep(0.3)
        return processes


def profile(rig, bin_dir, work_dir, size, payload, sink):
    data = work_dir / "perf.data"
    tool = ProfiledSkep(bin_dir, data)
    bench = Bench(rig, {tool.name: tool}, bin_dir, work_dir, print)
    try:
        row = bench.measure(Spec("profile", tool.name, size=size, payload=payload, duration_s=SECONDS, sink=sink))
        tool.perf.wait(SECONDS + 10)
        lines = list(read_report(data))
    finally:
        if tool.perf and tool.perf.poll() is None:
            tool.perf.kill()
            tool.perf.wait()
        data.unlink(missing_ok=True)
        (work_dir / "perf.data.old").unlink(missing_ok=True)
    if not lines:
        raise BenchError(f"perf recorded nothing: {tool.perf.stderr.read().decode(errors='replace').strip()}")
    return row, lines


def main(bin_dir, work_dir):
    if not shutil.which("perf"):
        raise BenchError("perf is not installed (package linux-perf)")
    with Rig() as rig:
        for size, payload, sink in CASES:
            row, lines = profile(rig, bin_dir, work_dir, size, payload, sink)
            total = row["cpu_ns_per_packet"]
            print(f"\n{size} B {payload}, sink {sink}: {row['stored_pps'] / 1e6:.3f} Mpps stored, {row['lost']} lost, "
                  f"{total:.0f} ns of CPU per packet\n")
            print("| stage | share | ns/packet |\n|---|---|---|")
            shares = {}
            for share, dso, symbol in lines:
                stage = stage_of(dso, symbol)
                shares[stage] = shares.get(stage, 0) + share
            for stage in [s for s, _ in STAGES] + ["kernel", "other"]:
                share = shares.get(stage, 0)
                print(f"| {stage} | {share:.1f} % | {share * total / 100:.0f} |")
            print("\nlargest: " + ", ".join(f"{s.split(' ', 1)[-1]} {p:.1f} %" for p, _, s in lines[:8]))
    return 0
