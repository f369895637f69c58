# SPDX-License-Identifier: BSD-2-Clause
"""The goals, computed from the rows: value, target, met or by how much not. A goal whose rows were not measured is not in the list."""
import statistics

from .scenarios import AFXDP, PEERS, PIPE, SKEP

MEMORY_LIMIT_BYTES = 300e6


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
    """zstd's speed at the ratio that was reached: between the two levels that enclose it, linear."""
    points = sorted((l["ratio"], l["bytes_per_s"]) for l in limits if l["limit"].startswith("zstd") and l["size"] == "1500" and
                    l["payload"] == "compressible")
    if not points:
        return None
    if ratio <= points[0][0]:
        return points[0][1]
    for (r0, s0), (r1, s1) in zip(points, points[1:]):
        if ratio <= r1:
            return s0 + (s1 - s0) * (ratio - r0) / (r1 - r0)
    return points[-1][1]


def small_frames(rows):
    out = []
    afxdp = median(rows, "stored_pps", scenario="null", tool=AFXDP, size="64")
    for scenario, words in (("null", "nothing written"), ("disk", "to disk")):
        ours = median(rows, "stored_pps", scenario=scenario, tool=SKEP, size="64", payload="random")
        peer, name = best_peer(rows, "stored_pps", scenario=scenario, size="64", payload="random")
        if ours and afxdp:
            out.append(goal(f"64 B, {words}: of AF_XDP receive alone", ours / afxdp, 0.9))
        if ours and peer:
            out.append(goal(f"64 B, {words}: of the best peer ({name})", ours / peer, 2.5))
    return out


def large_frames(rows, limits):
    out = []
    where = {"scenario": "disk", "size": "1500", "payload": "random"}
    ours = median(rows, "stored_bytes_per_s", tool=SKEP, **where)
    afxdp = median(rows, "stored_bytes_per_s", scenario="null", tool=AFXDP, size="1500")
    disk = next((l["bytes_per_s"] for l in limits if l["limit"].startswith("disk")), None)
    peer, name = best_peer(rows, "stored_bytes_per_s", **where)
    ratio = median(rows, "ratio", tool=SKEP, **where)
    if ours and afxdp and disk:
        lower = "AF_XDP receive alone" if afxdp < disk else "the disk"
        out.append(goal(f"1500 B random to disk: of {lower}, the lower limit", ours / min(afxdp, disk), 0.9))
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
        ours = median(rows, "stored_pps", level=level, **where)
        ratio = median(rows, "ratio", level=level, **where)
        if not ours or not ratio:
            continue
        own = zstd_speed_at_ratio(limits, ratio) if level == "auto" else next(
            (l["bytes_per_s"] for l in limits if l["limit"] == f"zstd level {level}" and l["size"] == "1500" and
             l["payload"] == "compressible"), None)
        if own:
            name = "the level chosen (by its ratio)" if level == "auto" else f"level {level}"
            out.append(goal(f"1500 B compressible, one core: of zstd's own speed at {name}", ours * 1516 / own, 0.9))
    pipe = median(rows, "stored_pps", scenario="compress", tool=PIPE)
    pipe_ratio = median(rows, "ratio", scenario="compress", tool=PIPE)
    if pipe and pipe_ratio:
        candidates = []
        for level in ("auto", "1", "-3"):
            ratio = median(rows, "ratio", level=level, **where)
            if ratio and ratio >= 0.995 * pipe_ratio:
                candidates.append((median(rows, "stored_pps", level=level, **where), level))
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


def evaluate(rows, limits):
    return small_frames(rows) + large_frames(rows, limits) + compression(rows, limits) + economy(rows)
