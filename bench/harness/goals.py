# SPDX-License-Identifier: BSD-2-Clause
"""The goals: what was measured, each peer, the physical limit of the same run, the ratio, the goal, met or not; and where there is no
number, why. A goal has a floor (`target`: met or missed) and mostly a wish beyond it (`stretch`). Nothing is left out."""
from . import jobs
from .figures import Data, best_peer, lowest_limit, median, zstd_speed_at_ratio
from .scenarios import AFXDP, DROP, PEERS, PIPE, PLAIN, SKEP
from .tools import FEW_JOBS, JOBS

MEMORY_LIMIT_BYTES = 300e6
RECORD_BYTES = 1500 + 16  # of a 1,500-byte frame in a pcap


def is_met(value, target, at_least):
    return value >= target if at_least else value <= target


def shortfall(value, target):
    """By which part of the target it was missed; None where a part of nothing means nothing."""
    return abs(target - value) / abs(target) if target else None


def goal(name, value, target, at_least=True, unit="x", **more):
    """`more`: of (the goal's number), stretch, peers {name: value}, limit (name, value): what `value` is compared with, and why (words)."""
    met = is_met(value, target, at_least)
    stretch = more.get("stretch")
    limit = more.get("limit")
    return {"of": more.get("of", ""), "name": name, "value": value, "target": target, "stretch": stretch, "at_least": at_least,
            "unit": unit, "met": met, "short_by": None if met else shortfall(value, target),
            "stretch_met": None if stretch is None else is_met(value, stretch, at_least), "ours": more.get("ours"),
            "peers": more.get("peers", {}), "limit": {"name": limit[0], "value": limit[1]} if limit else None, "why": more.get("why", "")}


def unmeasured(of, name, why):
    return {"of": of, "name": name, "value": None, "target": None, "stretch": None, "at_least": True, "unit": "", "met": None,
            "short_by": None, "stretch_met": None, "ours": None, "peers": {}, "limit": None, "why": why}


def rates(data, field, tools=PEERS, **where):
    found = {tool: median(data.rows, field, tool=tool, **where) for tool in tools}
    return {tool: value for tool, value in found.items() if value is not None}


def g1(data):
    where = {"scenario": "disk", "size": "1500", "payload": "random"}
    ours = median(data.rows, "sustained_pps", tool=SKEP, **where)
    if not ours:
        return []
    peers = rates(data, "sustained_pps", **where)
    out, mega = [], {tool: v / 1e6 for tool, v in peers.items()}
    peer, name = best_peer(data.rows, "sustained_pps", PEERS, **where)
    if peer:
        out.append(goal(f"1500 B random to disk, flat out, Mpps: of the best peer ({name})", ours / peer, 2.3, stretch=3, of="G1",
                        ours=ours / 1e6, peers=mega))
    limit = lowest_limit(data)
    if limit:
        out.append(goal(f"the same: of the lower limit, {limit[1]}", ours * RECORD_BYTES / limit[0], 0.7, stretch=0.9, of="G1",
                        ours=ours / 1e6, limit=(f"{limit[1]}, Mpps", limit[0] / RECORD_BYTES / 1e6)))
    of = [r for r in data.rows if r["tool"] == SKEP and all(r[k] == v for k, v in where.items())]
    lost = 100 * sum(r["lost"] for r in of) / max(sum(r["sent"] for r in of), 1)
    out.append(goal("the same: lost", lost, 0.1, at_least=False, unit="%", of="G1", ours=lost))
    zero = rates(data, "zero_loss_pps", (SKEP, *PEERS), scenario="zero-loss", size="1500", payload="random")
    others = {t: v for t, v in zero.items() if t != SKEP and v}
    if zero.get(SKEP) and others:
        name = max(others, key=others.get)
        out.append(goal(f"1500 B random, highest rate without loss to disk: of the best peer ({name})", zero[SKEP] / others[name], 2.3,
                        stretch=3, of="G1", ours=zero[SKEP] / 1e6, peers={t: v / 1e6 for t, v in others.items()}))
    return out


def g2(data):
    out = []
    rate = lambda tool: median(data.rows, "offered_pps", scenario="jobs-classify", tool=tool)  # noqa: E731
    drop = rate(DROP)
    for n, target, stretch in ((JOBS, 10, 16), (FEW_JOBS, 3.5, 4.5)):
        ours, theirs = rate(f"classify: {n} merged jobs"), rate(f"tcpdump, {n} processes")
        if ours and theirs:
            out.append(goal(f"{n} jobs that match nothing, 64 B, Mpps: of {n} tcpdump processes", ours / theirs, target, stretch=stretch,
                            of="G2", ours=ours / 1e6, peers={f"tcpdump x {n}": theirs / 1e6}))
    ours = rate(f"classify: {JOBS} merged jobs")
    if ours and drop:
        out.append(goal(f"{JOBS} jobs that match nothing: of XDP_DROP", ours / drop, 0.8, stretch=0.95, of="G2", ours=ours / 1e6,
                        limit=("XDP_DROP, Mpps", drop / 1e6)))
    frame = {(l["kind"], l["jobs"]): l["ns"] for l in data.limits if "kind" in l and "ns" in l}
    for kind, target in (("merged", 2), ("general", 12)):
        if (kind, JOBS) in frame and (kind, 0) in frame:
            value = (frame[kind, JOBS] - frame[kind, 0]) / JOBS
            out.append(goal(f"a {kind} job that matches nothing, of {JOBS}", value, target, at_least=False, unit="ns", of="G2", ours=value))
    return out


def g3(data):
    out = []
    for payload in ("random", "compressible"):
        ours, theirs = (median(data.rows, "sustained_pps", scenario="jobs", tool=tool, payload=payload)
                        for tool in (jobs.OURS, jobs.THEIRS))
        if ours and theirs:
            out.append(goal(f"{len(jobs.MATCHING)} jobs that all match, 512 B {payload} to disk, Mpps of all jobs: of as many tcpdumps",
                            ours / theirs, 3, stretch=4, of="G3", ours=ours / 1e6, peers={f"tcpdump x {len(jobs.MATCHING)}": theirs / 1e6}))
    for entry in data.limits:
        if "same_files" in entry:
            out.append(goal("files of these jobs with exactly the frames of their own tcpdump's", entry["same_files"],
                            len(jobs.MATCHING), unit="", of="G3", ours=entry["same_files"]))
    written = [r["raw_bytes"] / (r["stored"] * 1500) for r in data.rows if r["tool"] == PLAIN and r.get("raw_bytes") and r["stored"]]
    if written:
        value = max(written)
        out.append(goal("bytes that the one copy of a packet writes, per byte of it (1500 B; the account's)", value, 1.1, at_least=False,
                        of="G3", ours=value, why="one copy a job: a packet that 8 jobs want is copied 8 times, each into its own file"))
    return out


def g4(data):
    where = {"scenario": "null", "size": "64", "payload": "random"}
    ours = median(data.rows, "sustained_pps", tool=SKEP, **where)
    if not ours:
        return []
    out, peers = [], rates(data, "sustained_pps", **where)
    if peers:
        name = max(peers, key=peers.get)
        out.append(goal(f"64 B, nothing written, Mpps: of the best peer ({name})", ours / peers[name], 1.5, stretch=2.5, of="G4",
                        ours=ours / 1e6, peers={t: v / 1e6 for t, v in peers.items()}))
    alone = data.limit("generator alone", "64")
    if alone and peers.get("tcpdump"):
        cost = lambda pps: 1e9 / pps - 1e9 / alone["pps"]  # noqa: E731
        out.append(goal("the kernel's time a packet beyond the generator's, ns: of tcpdump's", cost(ours) / cost(peers["tcpdump"]), 0.4,
                        stretch=0.3, at_least=False, of="G4", ours=cost(ours), peers={"tcpdump": cost(peers["tcpdump"])}))
    for tool, target, stretch in ((AFXDP, 0.9, None), (DROP, 0.75, 0.85)):
        limit = median(data.rows, "sustained_pps", tool=tool, **where)
        if limit:
            out.append(goal(f"64 B, nothing written: of {tool.removeprefix('limit: ')}", ours / limit, target, stretch=stretch, of="G4",
                            ours=ours / 1e6, limit=(f"{tool.removeprefix('limit: ')}, Mpps", limit / 1e6),
                            why="AF_XDP's own copy on the sender's core is in between" if tool == DROP else ""))
    return out


def g5(data):
    out = []
    where = {"scenario": "disk", "size": "1500", "payload": "random"}
    ours = median(data.rows, "cpu_ns_per_packet", tool=SKEP, **where)
    peers = rates(data, "cpu_ns_per_packet", **where)
    if ours and peers.get("tcpdump"):
        out.append(goal("CPU time a packet, 1500 B random to disk, ns: of tcpdump's", ours / peers["tcpdump"], 0.5, at_least=False,
                        of="G5", ours=ours, peers=peers))
    for size, scenario in (("64", "null"), ("1500", "disk")):
        ours = median(data.rows, "cpu_ns_per_packet", tool=SKEP, scenario=scenario, size=size, payload="random")
        limit = data.limit("gather in memory", size)
        if ours and limit:
            out.append(goal(f"CPU time a packet, {size} B{', nothing written' if scenario == 'null' else ' to disk'}: of the copy alone",
                            ours / limit["ns"], 1.5, at_least=False, of="G5", ours=ours, limit=("copy in memory, ns", limit["ns"]),
                            why="the copy alone has its frames in its own core's cache; a capture's were written by another core"))
    return out


def g6(data):
    out = []
    for rate, target in ((None, 0.2), (10_000, 2), (100_000, 2)):
        ours, theirs = (median(data.rows, "cpu_share", scenario="lowrate", tool=tool, rate=rate) for tool in (SKEP, "tcpdump"))
        if ours is not None and theirs is not None:
            out.append(goal(f"{(rate or 0) // 1000} kpps: share of a core", ours * 100, target, at_least=False, unit="%",
                            stretch=theirs * 100, of="G6", ours=ours * 100, peers={"tcpdump": theirs * 100}))
    return out


def g7(data):
    out = []
    where = {"scenario": "compress", "tool": SKEP}
    pipe, pipe_ratio = (median(data.rows, field, scenario="compress", tool=PIPE) for field in ("sustained_pps", "ratio"))
    equal = []
    for level in ("auto", "1", "-3"):
        ours, ratio = (median(data.rows, field, level=level, **where) for field in ("sustained_pps", "ratio"))
        if not ours or not ratio:
            continue
        if pipe_ratio and ratio >= 0.995 * pipe_ratio:
            equal.append((ours, level))
        own = data.limit(f"zstd level {level}", "1500", "compressible")
        if level != "auto" and own:
            out.append(goal(f"1500 B compressible, one core, level {level}, MB/s: of zstd itself", ours * RECORD_BYTES / own["bytes_per_s"],
                            0.9, stretch=0.97, of="G7", ours=ours * RECORD_BYTES / 1e6, limit=("zstd, MB/s", own["bytes_per_s"] / 1e6)))
        adaptive = lowest_limit(data, zstd_speed_at_ratio(data.limits, ratio)) if level == "auto" else None
        if adaptive:
            out.append(goal(f"1500 B compressible, one core, adaptive level (ratio {ratio:.2f}), MB/s: of {adaptive[1]}, the lowest limit",
                            ours * RECORD_BYTES / adaptive[0], 0.9, of="G7", ours=ours * RECORD_BYTES / 1e6,
                            limit=(f"{adaptive[1]}, MB/s", adaptive[0] / 1e6)))
    if pipe and equal:
        ours, level = max(equal)
        out.insert(0, goal(f"1500 B compressible at equal or better ratio (level {level}), Mpps: of tcpdump | zstd -1", ours / pipe, 1.4,
                           stretch=2, of="G7", ours=ours / 1e6, peers={PIPE: pipe / 1e6}))
    return out


def g8(data):
    where = {"scenario": "disk", "size": "1500", "payload": "random"}
    ours, plain = (median(data.rows, "sustained_pps", tool=tool, **where) for tool in (SKEP, PLAIN))
    ratio = median(data.rows, "ratio", tool=SKEP, **where)
    out = []
    if ours and plain:
        out.append(goal("1500 B random, adaptive level, Mpps: of our own plain file", ours / plain, 0.85, stretch=0.95, of="G8",
                        ours=ours / 1e6, limit=("plain file, Mpps", plain / 1e6)))
    if ratio:
        out.append(goal("1500 B random: file of raw", 1 / ratio, 1.001, at_least=False, of="G8", ours=1 / ratio))
    return out


def g10(data):
    return [goal(f"{e['changes']} changes at full load, {e['size']} B: packets of other jobs lost or doubled by them",
                 sum(e[key] for key in ("unexplained", "unbalanced", "uncounted", "doubled", "disturbed")), 0, at_least=False, unit="",
                 of="G10") for e in data.limits if "changes" in e and "unexplained" in e]


def g11(data):
    ours = [r for r in data.rows if r["tool"].startswith(SKEP) and "residual" in r]
    if not ours:
        return []
    sent = sum(r["sent"] for r in ours)
    why = "" if sent >= 100e6 else "the goal is over 100 million packets: scripts/bench --full"
    return [goal(f"accounting residual over {sent / 1e6:.0f} million packets, packets", sum(abs(r["residual"]) for r in ours), 0,
                 at_least=False, unit="", of="G11", why=why)]


def memory(data):
    ours = [r for r in data.rows if r["tool"] == SKEP]
    return [goal("memory, largest of all runs", max(r["rss_bytes"] for r in ours) / 1e6, MEMORY_LIMIT_BYTES / 1e6, at_least=False,
                 unit="MB", ours=max(r["rss_bytes"] for r in ours) / 1e6)] if ours else []


def changes_of_jobs(data):
    out = []
    for entry in data.limits:
        if "first_p99_ms" in entry:
            out.append(goal(f"from the request on the engine's socket to the job's first packet, beside {entry['others']} jobs, p99",
                            entry["first_p99_ms"], 10, at_least=False, unit="ms", of="G9", ours=entry["first_p99_ms"]))
        elif "p99_ms" in entry:
            out.append(goal(f"from a job's words to frames judged, one of {entry['jobs']} {entry['kind']} jobs, p99", entry["p99_ms"], 10,
                            at_least=False, unit="ms", of="G9", ours=entry["p99_ms"]))
    return out


def from_figures(data):
    """Goals that a scenario states itself, beside the number: of, target, at_least …"""
    out = []
    starts = {f["series"]: f["value"] for f in data.figures if f["scenario"] == "peer-start"}
    for f in data.figures:
        if "target" not in f:
            continue
        more = {k: f[k] for k in ("of", "stretch", "peers", "why", "ours") if k in f}
        more.setdefault("ours", f["value"])
        if f.get("limit"):
            more["limit"] = (f["limit"]["name"], f["limit"]["value"])
        if f.get("of") == "G9":
            more.setdefault("peers", starts)
        out.append(goal(f["name"] + (f", {f['series']}" if f["series"] else ""), f["value"], f["target"], f.get("at_least", True),
                        f["unit"], **more))
    return out


# number, what it is about, scenario that measures it
ALL = (("G1", "stored packets to disk", "disk"), ("G2", "64 jobs that match nothing", "jobs-classify"), ("G3", "8 jobs that match", "jobs"),
       ("G4", "64 B, nothing written", "null"), ("G5", "CPU time a packet", "disk"), ("G6", "low rates", "lowrate"),
       ("G7", "compressing in line", "compress"), ("G8", "payload that does not compress", "disk"),
       ("G9", "start of a job", "control-start"),
       ("G10", "changes of jobs under load", "jobs"), ("G11", "account", "account"),
       ("G12", "one flow out of a large capture", "control-extract"),
       ("G13", "kill -9", "crash"), ("G14", "flight recorder", "control-ring"), ("G15", "the host's own TCP", "intrusive"),
       ("G16", "emulated machine", "vm"))
BY_NUMBER = {"G1": g1, "G2": g2, "G3": g3, "G4": g4, "G5": g5, "G6": g6, "G7": g7, "G8": g8, "G10": g10, "G11": g11}
PLUGINS = []  # functions of (data, goal) in other modules


def evaluate(result):
    data = Data(result)
    found = [g for plugin in PLUGINS for g in plugin(data, goal)] + changes_of_jobs(data) + from_figures(data)
    out = []
    for number, about, scenario in ALL:
        of = BY_NUMBER.get(number, lambda data: [])(data) + [g for g in found if g["of"] == number]
        why = result["missing"].get(scenario) or f"needs the scenario {scenario}, which this run did not have"
        out += of or [unmeasured(number, about, why)]
    return out + memory(data) + [g for g in found if g["of"] not in {number for number, *_ in ALL}]
