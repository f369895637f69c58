# SPDX-License-Identifier: BSD-2-Clause
"""What was measured, asked for by what it is: medians over rounds, spread, the limits that a number is compared with."""
import statistics

AFXDP = "limit: AF_XDP receive"


class Data:
    """A result's measurements: rows (a tool in a scenario), limits, figures (anything else)."""

    def __init__(self, result):
        self.rows, self.limits, self.figures = result["rows"], result["limits"], result.get("figures", [])

    def limit(self, name, size=None, payload=None):
        """The last one of that name; None: not measured."""
        found = [l for l in self.limits if l["limit"] == name and size in (None, l["size"]) and payload in (None, l["payload"])]
        return found[-1] if found else None

    def series(self, scenario, name):
        """{series: [(x, value)]} of the figures of that name, medians over rounds."""
        found = {}
        for f in self.figures:
            if f["scenario"] == scenario and f["name"] == name and f["x"] is not None:
                found.setdefault(f["series"], {}).setdefault(f["x"], []).append(f["value"])
        return {series: [(x, statistics.median(v)) for x, v in points.items()] for series, points in found.items()}


def values(rows, field, **where):
    return [r[field] for r in rows if all(r.get(k) == v for k, v in where.items()) and r.get(field) is not None]


def median(rows, field, **where):
    found = values(rows, field, **where)
    return statistics.median(found) if found else None


def spread(found):
    """Half of the distance between the least and the largest, as a part of the median; None for fewer than two."""
    middle = statistics.median(found) if found else 0
    return (max(found) - min(found)) / 2 / abs(middle) if len(found) > 1 and middle else None


def best_peer(rows, field, peers, **where):
    found = [(median(rows, field, tool=p, **where), p) for p in peers]
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


def lowest_limit(data, zstd=None):
    """(bytes per second, name) of the lowest of AF_XDP receive alone at 1,500 bytes, the disk, and zstd if given; None: unknown."""
    afxdp = median(data.rows, "stored_bytes_per_s", scenario="null", tool=AFXDP, size="1500")
    disk = data.limit("disk, O_DIRECT")
    if not afxdp or not disk:
        return None
    found = [(afxdp, "AF_XDP receive alone"), (disk["bytes_per_s"], "the disk")]
    return min(found + ([(zstd, "zstd at the ratio reached")] if zstd else []))
