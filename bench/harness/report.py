# SPDX-License-Identifier: BSD-2-Clause
"""Tables for people. The JSON file holds every single measurement; the tables hold the medians."""
import statistics

from . import jobs
from .goals import median
from .scenarios import DROP, SIZES


def rate(pps):
    return "-" if pps is None else f"{pps / 1e6:.3f}"


def volume(bytes_per_s):
    return "-" if bytes_per_s is None else f"{bytes_per_s / 1e6:.0f}"


def percent(part, whole):
    if not whole:
        return "-"
    return "0" if part == 0 else f"{100 * part / whole:.2f} %"


def table(head, rows):
    widths = [max(len(str(row[i])) for row in [head] + rows) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(str(c).ljust(w) for c, w in zip(row, widths)) + " |"  # noqa: E731
    return "\n".join([line(head), "|" + "|".join("-" * (w + 2) for w in widths) + "|"] + [line(r) for r in rows])


def grouped(rows, *fields):
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row.get(f) for f in fields), []).append(row)
    return groups.items()


def middle(rows, field):
    values = [r[field] for r in rows if r.get(field) is not None]
    return statistics.median(values) if values else None


def limits_table(limits):
    rows = [[l["limit"], l["size"], l["payload"], rate(l["pps"]), volume(l["bytes_per_s"]),
             f"{l['ratio']:.2f}" if "ratio" in l else "-"]
            for l in limits]
    return table(["limit", "size", "payload", "Mpps", "MB/s", "ratio"], rows)


def flat_table(rows):
    out = []
    for (size, payload, tool, level), group in grouped(rows, "size", "payload", "tool", "level"):
        cpu, ratio = middle(group, "cpu_ns_per_packet"), middle(group, "ratio")
        out.append([size, payload, tool + (f" --level {level}" if level not in ("auto", "1") or tool == "skep-capture" else ""),
                    rate(middle(group, "offered_pps")), rate(middle(group, "stored_pps")), rate(middle(group, "sustained_pps")),
                    volume(middle(group, "stored_bytes_per_s")),
                    percent(sum(r["lost"] for r in group), sum(r["sent"] for r in group)), "-" if cpu is None else f"{cpu:.0f}",
                    f"{middle(group, 'rss_bytes') / 1e6:.0f}", "-" if ratio is None else f"{ratio:.3f}"])
    return table(["size", "payload", "tool", "offered Mpps", "stored Mpps", "sustained Mpps", "stored MB/s", "lost", "CPU ns/packet",
                  "memory MB", "ratio"], out)


def classify_table(rows):
    drop = median(rows, "offered_pps", tool=DROP)
    out = []
    for (tool,), group in grouped(rows, "tool"):
        pps = middle(group, "offered_pps")
        compared = [f"{pps / drop:.3f}", f"{1e9 / pps - 1e9 / drop:.0f}"] if drop and pps else ["-", "-"]
        out.append([tool, rate(pps)] + compared)
    return table(["at the receiving end", "offered Mpps", "of XDP_DROP", "ns more a frame"], out)


def frame_table(limits):
    """One frame over and over: nanoseconds by kind of job and number of jobs."""
    found = {(l["kind"], l["jobs"]): l["ns"] for l in limits if "kind" in l and "ns" in l}
    counts = sorted({jobs for _, jobs in found})
    return table(["jobs, none of which matches"] + [str(c) for c in counts],
                 [[kind] + [f"{found[kind, c]:.0f} ns" for c in counts] for kind in dict.fromkeys(k for k, _ in found)])


def change_table(limits):
    return table(["set", "compile and load, median", "99th percentile", "load alone, median", "99th percentile"],
                 [[f"{l['jobs']} {l['kind']}"] + [f"{l[k]:.1f} ms" for k in ("p50_ms", "p99_ms", "load_p50_ms", "load_p99_ms")]
                  for l in limits if "p99_ms" in l])


def curve_table(rows):
    tools = list(dict.fromkeys(r["tool"] for r in rows))
    out = []
    for (size, payload, offered), group in grouped(rows, "size", "payload", "rate"):
        cells = []
        for tool in tools:
            of_tool = [r for r in group if r["tool"] == tool]
            cells.append(percent(sum(r["lost"] for r in of_tool), sum(r["sent"] for r in of_tool)) if of_tool else "-")
        out.append([size, payload, rate(offered), rate(middle(group, "offered_pps"))] + cells)
    return table(["size", "payload", "wanted Mpps", "offered Mpps"] + [f"lost by {t}" for t in tools], out)


def zero_loss_table(rows):
    out = [[r["size"], r["payload"], r["tool"], rate(r["zero_loss_pps"]), volume(r["zero_loss_pps"] * (r["sent_bytes"] / r["sent"])),
            "not reached" if r["upper_pps"] is None else rate(r["upper_pps"])] for r in rows]
    return table(["size", "payload", "tool", "Mpps without loss", "MB/s", "loses at Mpps"], out)


def low_table(rows):
    out = []
    for (wanted, tool), group in grouped(rows, "rate", "tool"):
        out.append([f"{(wanted or 0) / 1e3:.0f} kpps", tool, f"{100 * middle(group, 'cpu_share'):.2f} %",
                    percent(sum(r["lost"] for r in group), sum(r["sent"] for r in group))])
    return table(["rate", "tool", "share of a core", "lost"], out)


def account_table(rows):
    out = [[f"{r['sent']:,}", r["level"], rate(r["offered_pps"]), f"{r['stored']:,}", f"{r['rejected']:,}",
            ", ".join(f"{k} {v:,}" for k, v in r["reasons"].items()) or "none", r["residual"]] for r in rows]
    return table(["sent", "level", "offered Mpps", "stored", "rejected", "dropped, by reason", "residual"], out)


def goals_table(goals):
    out = []
    for g in goals:
        verdict = "met" if g["met"] else "missed" + (f" by {100 * g['short_by']:.0f} %" if g["short_by"] is not None else "")
        sign = "≥" if g["at_least"] else "≤"
        out.append([g["name"], f"{g['value']:.3g} {g['unit']}".strip(), f"{sign} {g['target']:.3g} {g['unit']}".strip(), verdict])
    return table(["goal", "measured", "wanted", "result"], out)


def ratios_table(rows):
    """Ours to each peer, flat out to disk and highest rate without loss."""
    out = []
    for scenario, field, words in (("null", "sustained_pps", "flat out, nothing written"),
                                   ("disk", "sustained_pps", "flat out, to disk"),
                                   ("zero-loss", "zero_loss_pps", "without loss, to disk")):
        of = [r for r in rows if r["scenario"] == scenario]
        for size in SIZES:
            for payload in ("random", "compressible"):
                ours = median(of, field, tool="skep-capture", size=size, payload=payload)
                others = [t for t in dict.fromkeys(r["tool"] for r in of) if t != "skep-capture"]
                cells = [(t, median(of, field, tool=t, size=size, payload=payload)) for t in others]
                cells = [f"{t} {ours / v:.2f}" for t, v in cells if ours and v]
                if cells:
                    out.append([words, size, payload, ", ".join(cells)])
    return table(["what", "size", "payload", "skep-capture divided by"], out) if out else ""


TABLES = {"null": ("Flat out, nothing written", flat_table), "disk": ("Flat out, to disk", flat_table),
          "compress": ("Compressing, one core for everything, to disk", flat_table), "lowrate": ("Low rates", low_table),
          "zero-loss": ("Highest rate without loss, to disk", zero_loss_table), "curve": ("Loss over offered rate, to disk", curve_table),
          "account": ("Account", account_table),
          "jobs": ("Eight jobs that all match, flat out, to disk; packets of all jobs together", flat_table),
          "jobs-classify": ("Jobs that match nothing, flat out", classify_table)}


def markdown(result):
    host = result["host"]
    parts = [f"# Benchmark, {result['mode']}, {result['started']}",
             f"{host['cpu']}, {host['cpus']} CPUs, {host['memory_bytes'] / 2**30:.0f} GiB, Linux {host['kernel']} "
             f"({host['virtualization']}), {host['os']}, {host['file_system']}; fingerprint {host['fingerprint']}, commit "
             f"{host['commit']}, load before {host['load_before']:.2f}.",
             "Versions: " + ", ".join(f"{k} {v}" for k, v in result["versions"].items()) + "."]
    parts += [f"**{w}**" for w in result["warnings"]]
    if result["goals"]:
        parts += ["## Goals", goals_table(result["goals"])]
    plain = [l for l in result["limits"] if "ns" not in l and "p99_ms" not in l and not jobs.is_ours(l)]
    if plain:
        parts += ["## Limits", limits_table(plain)]
    for scenario, (title, make) in TABLES.items():
        rows = [r for r in result["rows"] if r["scenario"] == scenario]
        if rows:
            parts += [f"## {title}", make(rows)]
    parts += jobs.tables(result["limits"], table)
    if any("p99_ms" in l for l in result["limits"]):
        parts += ["## Job filters, one frame over and over", frame_table(result["limits"]),
                  "## One job of a set exchanged", change_table(result["limits"])]
    ratios = ratios_table(result["rows"])
    if ratios:
        parts += ["## Ratios", ratios]
    return "\n\n".join(parts) + "\n"
