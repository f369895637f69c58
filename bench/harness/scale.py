# SPDX-License-Identifier: BSD-2-Clause
"""What more queues and more jobs cost: instructions a packet (callgrind on tests/unit/pathscale.c, the path as shipped with as many workers
as queues), because time over eight queues is no honest number on two cores; and memory of the real engine."""
import shutil
import time

from .callgrind import build_pathcost, run, stage_of
from .jobs import Client, engine_words, forget, fresh
from .measure import program_missing
from .pictures import INSTRUCTIONS, MEMORY
from .rig import BenchError, Rig, Unavailable
from .tools import Skep

SKEP = Skep.name
TAKEN = {"all": "each packet is every job's", "one": "each packet is one job's"}


def instructions(program, out, root, case):
    queues, jobs, size, taken, packets = case
    said, cost = run(program, out, case, root)
    if said["packets"] != packets * queues:
        raise BenchError(f"pathscale: {said['packets']} packets instead of {packets * queues}")
    return sum(n for place, n in cost.items() if stage_of(place)) / said["packets"]


def path(bench, plan):
    """Instructions a packet over queues and over jobs."""
    if program_missing("valgrind"):
        raise Unavailable("valgrind is not installed (package valgrind)")
    build, out = bench.work_dir / "callgrind-build", bench.work_dir / "callgrind.out"
    try:
        program = build_pathcost(bench.source, build, "tests/unit/pathscale")
        for taken, words in TAKEN.items():
            for jobs in plan.jobs:
                for queues in plan.queues if jobs in plan.jobs_over_queues else [1]:
                    bench.check_time()
                    # the same number of copies in each case
                    packets = max(plan.packets // (queues * (jobs if taken == "all" else 1)), 2000)
                    value = instructions(program, out, bench.source, (queues, jobs, plan.size, taken, packets))
                    if queues == 1:
                        bench.figure(plan.name, f"{INSTRUCTIONS}, over jobs", value, "instructions", series=words, x=jobs)
                    if jobs in plan.jobs_over_queues:
                        bench.figure(plan.name, f"{INSTRUCTIONS}, over queues", value, "instructions", series=f"{jobs} jobs, {words}",
                                     x=queues)
    finally:
        out.unlink(missing_ok=True)
        shutil.rmtree(build, ignore_errors=True)
    return [], []


def engine_memory(bench, plan, jobs):
    """Largest resident memory of an engine with so many jobs, under traffic that all of them take, in MB."""
    work = fresh(bench)
    engine = bench.rig.start(engine_words(bench.tools[SKEP].path(), work), work / "engine.log")
    try:
        bench.rig.wait_ready(engine, Skep.ready)
        client = Client(work / "socket")
        for n in range(jobs):
            client.add(f"job{n}", "")
        bench.generate("512", "compressible", plan.rate, plan.duration_s)
        time.sleep(Skep.settle_s)
        found = engine.rss_peak_bytes() / 1e6
        client.close()
        engine.stop()
    finally:
        forget(bench, [engine])
        shutil.rmtree(work, ignore_errors=True)
    return found


def memory(bench, plan):
    """Resident memory of the engine over jobs and over queues. A veth's queue is the sender's CPU, so one of several has the traffic."""
    if SKEP not in bench.tools:
        raise Unavailable("skep-capture is not built")
    for queues in plan.queues:
        with Rig(queues=queues, label="scale") as rig:
            here = bench.on(rig)
            for jobs in plan.jobs if queues == 1 else plan.jobs_over_queues:
                bench.check_time()
                value = engine_memory(here, plan, jobs)
                if queues == 1:
                    bench.figure(plan.name, f"{MEMORY}, over jobs", value, "MB", series="1 queue", x=jobs)
                if jobs in plan.jobs_over_queues:
                    bench.figure(plan.name, f"{MEMORY}, over queues", value, "MB", series=f"{jobs} jobs", x=queues)
    return [], []
