# SPDX-License-Identifier: BSD-2-Clause
"""How a scenario is measured: the routines that the files in bench/scenarios name. `turns` does whatever a file lists; the others are for
what needs more than that: each takes the bench and the plan and returns rows (measurements) and limits; bench.figure() takes the rest.

Within a scenario the tools take turns, round by round, so that a machine that gets slower gets slower for all of them.
"""
from . import control, control_soak, hive, scale, starts
from .callgrind import callgrind
from .crash import crash
from .intrusive import intrusive
from .jobs import jobs
from .measure import Spec
from .profile import profile
from .rig import BenchError
from .vm import vm

SIZES = ("64", "256", "512", "1500", "imix")
PEERS = ("tcpdump", "dumpcap", "netsniff-ng", "stenotype")
DROP, AFXDP, SKEP, PIPE = "limit: XDP_DROP", "limit: AF_XDP receive", "skep-capture", "tcpdump + zstd -1"
PLAIN = "skep-capture, plain"
ZSTD_LEVELS = (1, -1, -3, -5, -7)


def turn(bench, plan, number, journal):
    """One round of all that the scenario's file lists, but for what a run before has measured."""
    for spec in plan.specs:
        if spec.tool not in bench.known:
            raise BenchError(f"bench/scenarios/{plan.name}.toml: there is no tool {spec.tool!r}; there are {', '.join(bench.known)}")
        if spec.tool not in bench.tools or journal.has(spec, number):
            continue
        row = bench.measure(spec)
        row["round"] = number
        bench.say(row)
        journal.add_row(row)


def limits(bench, plan):
    """Generator alone, memory, disk, zstd in memory. XDP_DROP and AF_XDP receive are measured among the tools, in `null`."""
    found = [bench.limit_generator(size, "random", plan.limit_s) for size in ("64", "1500")]
    found += bench.limit_memory(plan.limit_s)
    if not bench.no_disk:
        found.append(bench.limit_disk(plan.disk_s))
    for size, payload in plan.zstd_of:
        found += bench.limit_zstd(size, payload, ZSTD_LEVELS, plan.limit_s)
    return [], found


def zero_loss(bench, plan):
    """The highest rate without a single lost packet on its way to disk, by bisection between 0 and what was stored flat out."""
    rows = []
    for size, payload in plan.of:
        searches = {}
        for tool in (SKEP,) + PEERS[:3]:
            if tool in bench.tools:
                flat = bench.measure(Spec(plan.name, tool, size=size, payload=payload, duration_s=plan.duration_s, sink="disk"))
                good = flat["offered_pps"] if flat["lost"] == 0 else 0
                searches[tool] = {"good": good, "bad": None if good else max(flat["stored_pps"] * 1.15, 1000), "flat": flat,
                                  "found": flat if good else None}
        for _ in range(plan.steps):
            for tool, search in searches.items():
                if search["bad"] is None:
                    continue  # no higher rate could be offered to it
                rate = (search["good"] + search["bad"]) / 2
                row = bench.measure(Spec(plan.name, tool, size=size, payload=payload, rate=rate, duration_s=plan.duration_s, sink="disk"))
                # the generator must have reached the rate, or it is no proof for it
                if row["lost"] == 0 and row["offered_pps"] > 0.98 * rate:
                    search["good"], search["found"] = row["offered_pps"], row
                elif row["lost"] == 0:
                    search["good"], search["found"], search["bad"] = max(search["good"], row["offered_pps"]), row, None
                else:
                    search["bad"] = rate
                bench.say(row)
        for tool, search in searches.items():
            row = dict(search["found"] or search["flat"])
            row.update(round=0, rate=None if search["found"] is None else row["offered_pps"], zero_loss_pps=search["good"],
                       upper_pps=search["bad"])
            rows.append(row)
    return rows, []


def jobs_frames(bench, plan):
    """One frame over and over through the job filters, and one job after the other exchanged in a full set."""
    return [], bench.limit_classify()


# Name in the files: routine. None: rounds of what the file lists, then nothing more.
ROUTINES = {"turns": None, "limits": limits, "zero_loss": zero_loss, "jobs": jobs, "jobs_frames": jobs_frames, "profile": profile,
            "callgrind": callgrind, "scale_path": scale.path, "scale_memory": scale.memory, "crash": crash,
            "intrusive": intrusive, "vm": vm, "control_serve": control.serve, "control_start": control.start,
            "control_ring": control.ring, "control_extract": control.extract, "control_soak": control_soak.soak,
            "hive_api": hive.api, "hive_path": hive.path, "peer_start": starts.peers}
