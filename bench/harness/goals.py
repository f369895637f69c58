# SPDX-License-Identifier: BSD-2-Clause
"""The goals, computed from the rows: value, target, met or by how much not. A goal whose rows were not measured is not in the list."""
import statistics

from . import jobs
from .scenarios import AFXDP, CLASSIFY, CLASSIFY_MANY, DROP, PEERS, PIPE, SKEP, TCPDUMP_MANY
from .tools import JOBS

MEMORY_LIMIT_BYTES = 300e6
RECORD_BYTES = 1500 + 16  # of a 1,500-byte frame in a pcap


def median(rows, field, **where):
    values = [r[field] for r in rows if all(r.get(k) == v for k, v in where.items()) and r.get(field) is not None]
    return statistics.median(values) if values else None


def goal(name, value, target, at_least=True, unit="x"):
    met = value >= target if at_least else value <= target
    short = None if met or not target else abs(target - value) / abs(target)
    return {"name": name, "value": value, "target": target, "at_least": at_least, "unit": unit, "met": met, "short_by": short}


def best_peer(rows, field, **where):
    found = [(median(rows, field, tool=p, **where), p) for p in PEERS]
    found = [f for f in found if f[0]]
    return max(found) if found else (None, None)


def zstd_speed_at_ratio(limits, ratio):
    """zstd's speed at the ratio that was reached: between the two levels that enclose it, linear. Below the ratio of the fastest level, a
    part of the blocks was stored as it is, at no cost: 1/ratio = f/ratio_fastest + 1 - f, and only that part f takes time."""
    points = sorted((l["ratio"], l["bytes_per_s"]) for l in limits if l["limit"].startswith("zstd") and l["size"] == "1500" and
                    l["payload"] == "compressible")
    if not points:
        return None
    lowest, speed = points[0]
    if ratio <= lowest:
        return speed * (1 - 1 / lowest) / max(1 - 1 / ratio, 1e-6)
    for (r0, s0), (r1, s1) in zip(points, points[1:]):
        if ratio <= r1:
            return s0 + (s1 - s0) * (ratio - r0) / (r1 - r0)
    return points[-1][1]


def lowest_limit(rows, limits, zstd=None):
    """(bytes per second, name) of the lowest of AF_XDP receive alone at 1,500 bytes, the disk, and zstd if given; None: unknown."""
    afxdp = median(rows, "stored_bytes_per_s", scenario="null", tool=AFXDP, size="1500")
    disk = next((l["bytes_per_s"] for l in limits if l["limit"].startswith("disk")), None)
    if not afxdp or not disk:
        return None
    found = [(afxdp, "AF_XDP receive alone"), (disk, "the disk")]
    return min(found + ([(zstd, "zstd at the ratio reached")] if zstd else []))


def small_frames(rows):
    out = []
    afxdp = median(rows, "stored_pps", scenario="null", tool=AFXDP, size="64")
    for scenario, words in (("null", "nothing written"), ("disk", "to disk")):
        ours = median(rows, "sustained_pps", scenario=scenario, tool=SKEP, size="64", payload="random")
        peer, name = best_peer(rows, "sustained_pps", scenario=scenario, size="64", payload="random")
        if ours and afxdp:
            out.append(goal(f"64 B, {words}: of AF_XDP receive alone", ours / afxdp, 0.9))
        if ours and peer:
            out.append(goal(f"64 B, {words}: of the best peer ({name})", ours / peer, 2.5))
    return out


def large_frames(rows, limits):
    out = []
    where = {"scenario": "disk", "size": "1500", "payload": "random"}
    ours = median(rows, "sustained_pps", tool=SKEP, **where)
    limit = lowest_limit(rows, limits)
    peer, name = best_peer(rows, "sustained_pps", **where)
    ratio = median(rows, "ratio", tool=SKEP, **where)
    if ours and limit:
        out.append(goal(f"1500 B random to disk: of {limit[1]}, the lower limit", ours * RECORD_BYTES / limit[0], 0.9))
    if ours and peer:
        out.append(goal(f"1500 B random to disk: of the best peer ({name})", ours / peer, 3))
    if ratio:
        out.append(goal("1500 B random: file larger than raw by", (1 / ratio - 1) * 100, 0.1, at_least=False, unit="%"))
    zero = median(rows, "zero_loss_pps", scenario="zero-loss", tool=SKEP, size="1500", payload="random")
    peer, name = best_peer(rows, "zero_loss_pps", scenario="zero-loss", size="1500", payload="random")
    if zero and peer:
        out.append(goal(f"1500 B random, highest rate without loss to disk: of the best peer ({name})", zero / peer, 3))
    return out


def compression(rows, limits):
    out = []
    where = {"scenario": "compress", "tool": SKEP}
    for level in ("auto", "1", "-3"):
        ours = median(rows, "sustained_pps", level=level, **where)
        ratio = median(rows, "ratio", level=level, **where)
        if not ours or not ratio:
            continue
        own = next((l["bytes_per_s"] for l in limits if l["limit"] == f"zstd level {level}" and l["size"] == "1500" and
                    l["payload"] == "compressible"), None)
        adaptive = lowest_limit(rows, limits, zstd_speed_at_ratio(limits, ratio)) if level == "auto" else None
        if own:
            out.append(goal(f"1500 B compressible, one core: of zstd's own speed at level {level}", ours * RECORD_BYTES / own, 0.9))
        elif adaptive:
            out.append(goal(f"1500 B compressible, one core, adaptive level (ratio {ratio:.2f}): of {adaptive[1]}, the lowest limit",
                            ours * RECORD_BYTES / adaptive[0], 0.9))
    pipe = median(rows, "sustained_pps", scenario="compress", tool=PIPE)
    pipe_ratio = median(rows, "ratio", scenario="compress", tool=PIPE)
    if pipe and pipe_ratio:
        candidates = []
        for level in ("auto", "1", "-3"):
            ratio = median(rows, "ratio", level=level, **where)
            if ratio and ratio >= 0.995 * pipe_ratio:
                candidates.append((median(rows, "sustained_pps", level=level, **where), level))
        if candidates:
            ours, level = max(candidates)
            out.append(goal(f"1500 B compressible at equal or better ratio (level {level}): of tcpdump | zstd -1", ours / pipe, 2))
    return out


def economy(rows):
    out = []
    for rate in (None, 10_000, 100_000):
        ours = median(rows, "cpu_share", scenario="lowrate", tool=SKEP, rate=rate)
        theirs = median(rows, "cpu_share", scenario="lowrate", tool="tcpdump", rate=rate)
        if ours is not None and theirs is not None:
            out.append(goal(f"{(rate or 0) // 1000} kpps: share of a core (tcpdump: {theirs * 100:.2f} %)", ours * 100, theirs * 100,
                            at_least=False, unit="%"))
    ours = [r for r in rows if r["tool"] == SKEP]
    if ours:
        sent = sum(r["sent"] for r in ours)
        out.append(goal(f"accounting residual over {sent / 1e6:.0f} million packets, packets", sum(abs(r["residual"]) for r in ours), 0,
                        at_least=False, unit=""))
        out.append(goal("memory, largest of all runs", max(r["rss_bytes"] for r in ours) / 1e6, MEMORY_LIMIT_BYTES / 1e6,
                        at_least=False, unit="MB"))
    return out


def job_filters(rows, limits):
    out = []
    rate = {tool: median(rows, "offered_pps", scenario="jobs-classify", tool=tool) for tool in CLASSIFY}
    merged = rate[CLASSIFY_MANY["merged"]]
    if merged and rate[DROP]:
        out.append(goal(f"{JOBS} jobs that match nothing: of XDP_DROP", merged / rate[DROP], 0.9))
    if merged and rate[TCPDUMP_MANY]:
        out.append(goal(f"{JOBS} jobs that match nothing: of {TCPDUMP_MANY}", merged / rate[TCPDUMP_MANY], 10))
    frame = {(l["kind"], l["jobs"]): l["ns"] for l in limits if "kind" in l and "ns" in l}
    for kind, target in (("merged", 2), ("general", 12)):
        if (kind, JOBS) in frame:
            out.append(goal(f"a {kind} job that matches nothing, of {JOBS}", (frame[kind, JOBS] - frame[kind, 0]) / JOBS, target,
                            at_least=False, unit="ns"))
    out += [goal(f"from a job's words to frames judged, one of {l['jobs']} {l['kind']} jobs, 99th percentile", l["p99_ms"], 10,
                 at_least=False, unit="ms") for l in limits if "p99_ms" in l]
    return out


def evaluate(rows, limits):
    return small_frames(rows) + large_frames(rows, limits) + compression(rows, limits) + economy(rows) + job_filters(rows, limits) + \
        jobs.goals(rows, limits, goal, median)
