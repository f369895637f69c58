# SPDX-License-Identifier: BSD-2-Clause
"""Instructions of a packet, by stage: callgrind on tests/unit/pathcost.c, which drives the path as shipped, from the AF_XDP rings in
memory to the file. Counts do not depend on the machine's load; they say nothing about memory. What the kernel does is not in them."""
import collections
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from .measure import program_missing
from .rig import BenchError, Unavailable

SOURCE = Path(__file__).resolve().parents[2]
STAGES = ("receive", "route", "copy", "pack", "submit", "loop")
# by file; lane.c and worker.c are split by function
FILES = {
    "xsk.c": "receive", "xsk.h": "receive", "meta.h": "receive",
    "job.c": "route", "job.h": "route", "filter_user.c": "route", "channel.h": "route",
    "lane.c": "copy", "lane.h": "copy", "capwrite.h": "copy", "block.c": "copy", "trim.c": "copy",
    "pack.c": "pack", "zframe.c": "pack", "zframe.h": "pack", "level.c": "pack", "crew.c": "pack",
    "writer.c": "submit", "sink.c": "submit", "segment.c": "submit", "segment.h": "submit", "io.c": "submit",
    "worker.c": "loop", "account.c": "loop", "account.h": "loop", "mono.h": "loop", "grace.c": "loop",
}
ROUTE = {"choose", "is_plain", "scan", "scan_plain", "wants", "survives", "keep_bytes", "record_bytes", "cap_lane_take", "route",
         "route_lossless", "offer"}
# a compiler cache that is shared by several trees hands out objects whose line numbers are of another one's files
OWN_LINES = {**os.environ, "CCACHE_HASHDIR": "true", "CCACHE_BASEDIR": ""}
FIGURE = "instructions a packet, by stage"


def functions_of(path):
    """[(first line, last line, name)] of a source file of ours, in which a body begins and ends in column 0."""
    lines, found, begin = path.read_text().splitlines(), [], 0
    for n, line in enumerate(lines, 1):
        if line == "{":
            head = n - 1
            while head > 1 and lines[head - 2] and not lines[head - 2].startswith(("}", "#", " */", "*/")):
                head -= 1
            name = re.search(r"(\w+)\(", " ".join(lines[head - 1:n - 1]))
            begin = (head, name[1] if name else "?")
        elif line == "}" and begin:
            found.append((begin[0], n, begin[1]))
            begin = 0
    return found


class Sources:
    """Says to which function of ours a line belongs; None for lines of others (libc, zstd, system headers)."""

    def __init__(self, root=SOURCE):
        self.root, self.cache = root, {}

    def find(self, name, line):
        if name.endswith("/xdp/xsk.h"):
            return "xsk.h", "libxdp's rings", "capture"
        path = Path(name).resolve()
        if self.root not in path.parents or not path.is_file():
            return None
        if path not in self.cache:
            self.cache[path] = functions_of(path)
        where = next((f for first, last, f in self.cache[path] if first <= line <= last), "?")
        return path.name, where, path.relative_to(self.root).parts[0]


def read(out, root=SOURCE):
    """Instructions by (file, function) of ours. What others' code costs counts where ours calls it; a line of a system header counts for
    the function of ours that was seen last, into which it was inlined."""
    sources, cost = Sources(root), collections.Counter()
    own = current = callee = last = None
    calls = False
    for text in out.read_text().splitlines():
        key, _, value = text.partition("=")
        if key in ("fl", "fi", "fe"):
            current = value
            if key == "fl":
                own, last = value, None
        elif key in ("cfi", "cfl"):
            callee = value
        elif key == "calls":
            calls = True
        elif re.match(r"\d+ \d+$", text):
            line, count = map(int, text.split())
            place = sources.find(current, line) or last
            last = place or last
            ours = calls and sources.find(callee or own, 1) is not None
            if not ours and place:
                cost[place] += count
            calls, callee = False, None
        elif key == "fn":
            last = None
    return cost


def stage_of(place):
    name, function, folder = place
    if folder == "tests":
        return None
    if name in ("lane.c", "worker.c") and function in ROUTE:
        return "route"
    return FILES.get(name, "loop")


def run(program, out, words, root=SOURCE):
    command = ["valgrind", "--tool=callgrind", "--compress-strings=no", "--compress-pos=no", f"--callgrind-out-file={out}",
               "--collect-atstart=no", "--toggle-collect=cap_worker_turn", program, *words]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        raise BenchError(f"callgrind: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
    return json.loads(done.stdout.strip().splitlines()[-1]), read(out, root)


def build_pathcost(source, build, target="tests/unit/pathcost"):
    """With line numbers, which the stages are told by."""
    for command in (["meson", "setup", "-Ddebug=true", build, source], ["ninja", "-C", build, target]):
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=OWN_LINES)
        if done.returncode:
            raise BenchError(f"{' '.join(map(str, command))}: {done.stdout[-1000:]}")
    return build / target


def count(program, out, case, source=SOURCE):
    """Instructions a packet by stage and by function, for one case (size, payload, level, frames, more words of pathcost)."""
    size, payload, level, frames, *more = case
    said, cost = run(program, out, (size, payload, level, frames, *more), source)
    stages, functions = collections.Counter(), collections.Counter()
    for place, instructions in cost.items():
        if stage_of(place):
            stages[stage_of(place)] += instructions / said["stored"]
            functions[place[1]] += instructions / said["stored"]
    if not stages["copy"]:
        raise BenchError("callgrind: no instruction was counted for the copy: the program's line numbers are not those of this tree")
    return said, stages, functions


def callgrind(bench, plan):
    """Instructions of a packet by stage, of the path as shipped."""
    if program_missing("valgrind"):
        raise Unavailable("valgrind is not installed (package valgrind)")
    build, out = bench.work_dir / "callgrind-build", bench.work_dir / "callgrind.out"
    try:
        program = build_pathcost(SOURCE, build)
        for case in plan.of:
            bench.check_time()
            said, stages, functions = count(program, out, case)
            name = f"{case[0]} B {case[1]}, level {case[2]}"
            for stage in STAGES:
                bench.figure(plan.name, FIGURE, stages[stage], "instructions", series=stage, x=name)
            bench.figure(plan.name, FIGURE, sum(stages.values()), "instructions", series="all", x=name)
            bench.figure(plan.name, "file of raw", said["bytes_disk"] / said["bytes_raw"], "", series=name)
            for function, n in functions.most_common(plan.largest):
                bench.figure(plan.name, f"largest, {name}", n, "instructions", series=function)
    finally:
        out.unlink(missing_ok=True)
        shutil.rmtree(build, ignore_errors=True)
    return [], []
