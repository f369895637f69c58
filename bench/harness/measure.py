# SPDX-License-Identifier: BSD-2-Clause
"""One measurement: a tool receives, the generator sends, the tool drains and ends, and what it stored is compared with what was sent."""
import copy
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass

from .rig import CPU_RX, CPU_TX, TX_LINK, BenchError, OutOfTime, run

# A tool is drained when it used less than this much of a core and its files did not grow, step after step, for as long as it
# may sit on a buffer.
DRAIN_STEP_S = 0.15
DRAIN_IDLE = 0.2
DRAIN_MAX_S = 20.0
FLOWS = 1024
# of this process only: two benchmarks may share a folder
RUN_NAME = f"run-{os.getpid()}"
FIO_NAME = f"fio-{os.getpid()}.tmp"


@dataclass(frozen=True)
class Spec:
    """What to measure. rate 0: flat out; None: no traffic at all."""

    scenario: str
    tool: str
    size: str = "64"
    payload: str = "random"
    rate: float | None = 0
    duration_s: float = 1.5
    sink: str = "null"
    level: str = "auto"
    count: int = 0
    flows: int = FLOWS
    filter: str = ""  # of the tool, as its users write it


class Bench:
    """The rig with its tools. `bin_dir` is where the generator is; a tool knows where its own program is."""

    def __init__(self, rig, tools, bin_dir, work_dir, say):
        self.rig = rig
        self.tools = tools
        self.known = list(tools)
        self.bin_dir = bin_dir
        self.work_dir = work_dir
        self.say = say
        self.figures = []
        self.deadline = None  # time.monotonic() at which nothing more is begun
        self.no_disk = False

    def on(self, rig):
        """The same on another rig."""
        other = copy.copy(self)
        other.rig = rig
        return other

    def check_time(self):
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise OutOfTime

    def figure(self, scenario, name, value, unit, series="", x=None, **more):
        """Something measured that is no row: `name` says what it is, `series` and `x` place it in a picture."""
        self.figures.append({"scenario": scenario, "name": name, "series": series, "x": x, "value": value, "unit": unit, **more})
        print(f"  {scenario:9} {name}{' ' + series if series else ''}{f' {x}' if x is not None else ''}: {value:.6g} {unit}",
              file=sys.stderr,
              flush=True)

    def generate(self, size, payload, rate, duration_s, count=0, dry=False, flows=FLOWS):
        words = [str(self.bin_dir / "skep-gen"), "-i", TX_LINK, "--json", "--cpu", str(CPU_TX), "--size", size, "--payload", payload,
                 "--flows", str(flows)]
        words += ["--count", str(count)] if count else ["--duration", f"{duration_s}s"]
        words += ["--rate", f"{rate:.0f}pps"] if rate else []
        words += ["--dry"] if dry else []
        return json.loads(run("ip", "netns", "exec", self.rig.tx, *words))

    def _drain(self, processes, work, settle_s):
        """Waits until the tool has worked off what it had buffered; returns the seconds that took."""
        busy = 0
        end, idle = time.monotonic() + DRAIN_MAX_S, 0
        before = None
        while idle * DRAIN_STEP_S < settle_s and time.monotonic() < end:
            now = (sum(p.cpu_ns() for p in processes), sum(f.stat().st_size for f in work.rglob("*") if f.is_file()))
            if before and now[0] - before[0] < DRAIN_IDLE * DRAIN_STEP_S * 1e9 and now[1] == before[1]:
                idle += 1
            else:
                idle = 0
                busy += before is not None
            before = now
            time.sleep(DRAIN_STEP_S)
        return busy * DRAIN_STEP_S

    def measure(self, spec):
        self.check_time()
        tool = self.tools[spec.tool]
        tool.filter = spec.filter
        work = self.work_dir / RUN_NAME
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o777)
        os.chmod(work, 0o777)
        if spec.sink == "disk":
            os.sync()  # the run before must not be written during this one
        processes = tool.start(self.rig, work, spec.sink, spec.level)
        try:
            self.rig.wait_ready(processes[0], tool.ready)
            row = self._traffic(spec, tool, processes, work)
        finally:
            for process in processes:
                process.kill()
            self.rig.forget(processes)
        row["killed"] = any(p.killed for p in processes)
        frame_bytes = int(spec.size) if spec.size.isdigit() else None
        row.update(tool.account(processes, work, spec.sink, frame_bytes))
        shutil.rmtree(work, ignore_errors=True)
        return self._derive(row)

    def _traffic(self, spec, tool, processes, work):
        cpu = [p.cpu_ns() for p in processes]
        start = time.monotonic()
        if spec.rate is None:
            time.sleep(spec.duration_s)
            sent = {"sent": 0, "refused": 0, "duration_ns": int(spec.duration_s * 1e9), "bytes": 0}
        else:
            sent = self.generate(spec.size, spec.payload, spec.rate, spec.duration_s, spec.count, flows=spec.flows)
        in_traffic = sum(p.cpu_ns() for p in processes) - sum(cpu)
        wall_s = time.monotonic() - start
        drain_s = self._drain(processes, work, tool.settle_s)
        row = {"drain_s": drain_s,
               "scenario": spec.scenario, "tool": spec.tool, "size": spec.size, "payload": spec.payload, "rate": spec.rate,
               "sink": spec.sink, "level": spec.level, "flows": spec.flows, "filter": spec.filter, "count": spec.count,
               "sent": sent["sent"], "refused": sent["refused"],
               "duration_ns": sent["duration_ns"], "sent_bytes": sent["bytes"],
               "cpu_s": (sum(p.cpu_ns() for p in processes) - sum(cpu)) / 1e9, "cpu_share": in_traffic / 1e9 / wall_s,
               "rss_bytes": sum(p.rss_peak_bytes() for p in processes)}
        if processes[0].stop(tool.stop_patience_s) not in (0, 3) and not processes[0].killed:
            raise BenchError(f"{tool.name} failed: {processes[0].log().strip()[-600:]}")
        # what reads from it ends by itself; a signal would make zstd throw its file away
        for process in processes[1:]:
            if tool.end_together:
                process.stop(tool.stop_patience_s)
            else:
                process.popen.wait(tool.stop_patience_s)
        return row

    @staticmethod
    def _derive(row):
        if row["stored"] is None:
            raise BenchError(f"{row['tool']}: cannot tell how many packets it stored")
        seconds = row["duration_ns"] / 1e9
        mean = row["sent_bytes"] / row["sent"] if row["sent"] else 0
        row["lost"] = row["sent"] - row["stored"]
        row["offered_pps"] = row["sent"] / seconds if seconds else 0
        row["stored_pps"] = row["stored"] / seconds if seconds else 0
        row["stored_bytes_per_s"] = row["stored_pps"] * mean
        row["sustained_pps"] = row["stored"] / (seconds + row["drain_s"]) if seconds else 0
        row["cpu_ns_per_packet"] = row["cpu_s"] * 1e9 / row["stored"] if row["stored"] else None
        if "seen" in row:
            row["residual"] = row["sent"] - row["stored"] - row["rejected"] - row["dropped"]
        if row["sink"] == "disk" and row.get("disk_bytes") and row["stored"]:
            row["ratio"] = (row["stored"] * (mean + 16) + 24) / row["disk_bytes"]
        return row

    # limits that are not a receiver

    def limit_generator(self, size, payload, duration_s):
        said = self.generate(size, payload, 0, duration_s, dry=True)
        return {"limit": "generator alone", "size": size, "payload": payload, "pps": said["pps"],
                "bytes_per_s": said["bytes"] * 1e9 / said["duration_ns"]}

    def limit_memory(self, duration_s):
        """The one copy of a packet that no capture can do without: out of a ring of 16,384 buffers, one after the other."""
        said = json.loads(run("taskset", "-c", str(CPU_RX), str(self.bin_dir / "skep-memspeed"), "-d", f"{duration_s}s"))
        found = [{"limit": "gather in memory", "size": str(g["size"]), "payload": "-", "pps": 1e9 / g["ns"],
                  "bytes_per_s": g["size"] * 1e9 / g["ns"], "ns": g["ns"]} for g in said["gather"]]
        return found + [{"limit": "memcpy, 32 MiB pieces", "size": "-", "payload": "-", "pps": None,
                         "bytes_per_s": said["copy_bytes_per_s"]}]

    def limit_disk(self, duration_s):
        """Sequential O_DIRECT writes of 1 MiB, 4 in flight, into the directory that the captures go to."""
        path = self.work_dir / FIO_NAME
        os.sync()
        try:
            said = json.loads(run("taskset", "-c", str(CPU_RX), "fio", "--name=write", f"--filename={path}", "--rw=write", "--bs=1M",
                                  "--iodepth=4", "--ioengine=io_uring", "--direct=1", "--fixedbufs", "--fallocate=none", "--size=4G",
                                  f"--runtime={duration_s}", "--time_based", "--output-format=json"))
        finally:
            path.unlink(missing_ok=True)
        return {"limit": "disk, O_DIRECT", "size": "-", "payload": "-", "pps": None, "bytes_per_s": said["jobs"][0]["write"]["bw_bytes"]}

    def limit_zstd(self, size, payload, levels, duration_s):
        words = [str(self.bin_dir / "skep-zspeed"), "--size", size, "--payload", payload, "-d", f"{duration_s}s"]
        for level in levels:
            words += ["--level", str(level)]
        said = json.loads(run("taskset", "-c", str(CPU_RX), *words))
        return [{"limit": f"zstd level {r['level']}", "size": size, "payload": payload, "pps": None, "bytes_per_s": r["bytes_per_s"],
                 "ratio": r["ratio"], "level": r["level"]} for r in said]

    def limit_classify(self):
        """One frame over and over through the job filters, and one job after the other exchanged in a full set."""
        said = json.loads(run("taskset", "-c", str(CPU_RX), str(self.bin_dir / "skep-classify")))
        found = [{"limit": "one frame: XDP_DROP", "size": "60", "payload": "-", "pps": 1e9 / said["drop_ns"], "bytes_per_s": None,
                  "ns": said["drop_ns"]}]
        found += [{"limit": f"one frame: {f['jobs']} {f['kind']} jobs", "size": "60", "payload": "-", "pps": 1e9 / f["ns"],
                   "bytes_per_s": None, "ns": f["ns"], "jobs": f["jobs"], "kind": f["kind"]} for f in said["frames"]]
        return found + [{"limit": f"one of {c['jobs']} {c['kind']} jobs exchanged", "size": "-", "payload": "-", "pps": None,
                         "bytes_per_s": None, **c} for c in said["changes"]]


def free_bytes(path):
    stat = os.statvfs(path)
    return stat.f_bavail * stat.f_frsize


def program_missing(name):
    return subprocess.run(["sh", "-c", f"command -v {name}"], capture_output=True).returncode != 0
