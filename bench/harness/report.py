# SPDX-License-Identifier: BSD-2-Clause
"""Tables for people. The JSON file holds every single measurement; the tables hold the medians."""
import statistics

from . import jobs, pictures
from .figures import median, spread
from .scenarios import DROP, SIZES


def rate(pps):
    return "-" if pps is None else f"{pps / 1e6:.3f}"


def volume(bytes_per_s):
    return "-" if bytes_per_s is None else f"{bytes_per_s / 1e6:.0f}"


def percent(part, whole):
    if not whole:
        return "-"
    return "0" if part == 0 else f"{100 * part / whole:.2f} %"


def table(head, rows, pad=True):
    """Markdown; without `pad` for tables whose cells are sentences."""
    widths = [max(len(str(row[i])) for row in [head] + rows) if pad else max(3, len(head[i])) for i in range(len(head))]
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


def off(rows, field):
    """How far the rounds lie apart, as people read it."""
    found = spread([r[field] for r in rows if r.get(field) is not None])
    return "-" if found is None else f"± {100 * found:.0f} %"


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
                    off(group, "sustained_pps"), volume(middle(group, "stored_bytes_per_s")),
                    percent(sum(r["lost"] for r in group), sum(r["sent"] for r in group)), "-" if cpu is None else f"{cpu:.0f}",
                    f"{middle(group, 'rss_bytes') / 1e6:.0f}", "-" if ratio is None else f"{ratio:.3f}"])
    return table(["size", "payload", "tool", "offered Mpps", "stored Mpps", "sustained Mpps", "spread", "stored MB/s", "lost",
                  "CPU ns/packet", "memory MB", "ratio"], out)


def classify_table(rows):
    drop = median(rows, "offered_pps", tool=DROP)
    out = []
    for (tool,), group in grouped(rows, "tool"):
        pps = middle(group, "offered_pps")
        compared = [f"{pps / drop:.3f}", f"{1e9 / pps - 1e9 / drop:.0f}"] if drop and pps else ["-", "-"]
        out.append([tool, rate(pps), off(group, "offered_pps")] + compared)
    return table(["at the receiving end", "offered Mpps", "spread", "of XDP_DROP", "ns more a frame"], out)


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
        out.append([f"{(wanted or 0) / 1e3:.0f} kpps", tool, f"{100 * middle(group, 'cpu_share'):.2f} %", off(group, "cpu_share"),
                    percent(sum(r["lost"] for r in group), sum(r["sent"] for r in group))])
    return table(["rate", "tool", "share of a core", "spread", "lost"], out)


def account_table(rows):
    out = [[f"{r['sent']:,}", r["level"], rate(r["offered_pps"]), f"{r['stored']:,}", f"{r['rejected']:,}",
            ", ".join(f"{k} {v:,}" for k, v in r["reasons"].items()) or "none", r["residual"]] for r in rows]
    return table(["sent", "level", "offered Mpps", "stored", "rejected", "dropped, by reason", "residual"], out)


def quantity(value, unit=""):
    if value is None:
        return "-"
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if 1 < abs(value) < 1.01 else f"{value:.3g}"
    return f"{shown} {unit}".strip()


def verdict(g):
    if g["met"] is None:
        return "not measured"
    if not g["met"]:
        by = g["short_by"]
        return "missed" + ("" if by is None else f" by {100 * by:.0f} %" if by < 2 else f", {by + 1:.0f} times")
    return "met" + {None: "", True: ", the wish too", False: ", the wish not"}[g["stretch_met"]]


def goals_table(goals):
    """One line for each goal; what it was compared with in the same run stands beside it."""
    out = []
    for g in goals:
        sign = "≥" if g["at_least"] else "≤"
        wanted = "-" if g["target"] is None else f"{sign} {quantity(g['target'], g['unit'])}"
        if g["stretch"] is not None:
            wanted += f" (wish {sign} {quantity(g['stretch'])})"
        out.append([g["of"] or "-", g["name"], quantity(g["ours"]),
                    ", ".join(f"{n} {quantity(v)}" for n, v in g["peers"].items()) or "-",
                    f"{g['limit']['name']} {quantity(g['limit']['value'])}" if g["limit"] else "-",
                    quantity(g["value"], g["unit"]), wanted, verdict(g), g["why"] or "-"])
    return table(["", "goal", "ours", "peers", "limit", "result", "wanted", "", "note"], out, pad=False)


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


def sent_cost(group):
    """Nanoseconds of CPU for each frame that was sent: also those count that a job did not take."""
    return middle([{"ns": 1e9 * r["cpu_s"] / r["sent"]} for r in group if r["sent"]], "ns")


def over_table(rows, field, head):
    out = []
    for (tool, x), group in grouped(rows, "tool", field):
        cost = sent_cost(group)
        out.append([tool, x or "none", rate(middle(group, "offered_pps")), off(group, "offered_pps"),
                    "-" if cost is None else f"{cost:.0f}",
                    f"{middle(group, 'rss_bytes') / 1e6:.0f}"])
    return table(["tool", head, "offered Mpps", "spread", "CPU ns/packet sent", "memory MB"], out)


def flows_table(rows):
    return over_table(rows, "flows", "flows")


def filters_table(rows):
    return over_table(rows, "filter", "filter")


def figures_table(figures):
    """Anything that is no row: medians over what has the same name, series and place."""
    out = []
    for (name, series, x, unit), group in grouped(figures, "name", "series", "x", "unit"):
        out.append([name, series or "-", "-" if x is None else x, quantity(middle(group, "value"), unit), off(group, "value")])
    return table(["what", "of", "at", "measured", "spread"], out)


# by the word `table` in a scenario's file
MAKERS = {"flat": flat_table, "low": low_table, "zero_loss": zero_loss_table, "curve": curve_table, "account": account_table,
          "classify": classify_table, "flows": flows_table, "filters": filters_table}


def about_host(host, result):
    return (f"{host['cpu']}, {host['cpus']} CPUs, {host['memory_bytes'] / 2**30:.0f} GiB, Linux {host['kernel']} "
            f"({host['virtualization']}), governor {host['governor']}, {host['os']}, {host['file_system']} on {host['disk']}; fingerprint "
            f"{host['fingerprint']}, commit {host['commit']}{' and changes' if host['changed'] else ''}, load before "
            f"{host['load_before']:.2f}, {result['seconds']:.0f} s.")


def sections(result):
    """[(title, table)] of what was measured, in the order of the scenarios."""
    out = []
    plain = [l for l in result["limits"] if "ns" not in l and "p99_ms" not in l and not jobs.is_ours(l)]
    memory = [l for l in result["limits"] if l["limit"] == "gather in memory"]
    if plain + memory:
        out.append(("Limits", limits_table(plain + memory)))
    for scenario, (title, kind) in result["titles"].items():
        rows = [r for r in result["rows"] if r["scenario"] == scenario]
        if rows and kind in MAKERS:
            out.append((title, MAKERS[kind](rows)))
        found = [f for f in result["figures"] if f["scenario"] == scenario]
        if found:
            out.append((title, figures_table(found)))
    extra = jobs.tables(result["limits"], table)
    out += [(title.removeprefix("## "), text) for title, text in zip(extra[::2], extra[1::2])]
    if any("p99_ms" in l for l in result["limits"]):
        out += [("Job filters, one frame over and over", frame_table(result["limits"])),
                ("One job of a set exchanged", change_table(result["limits"]))]
    ratios = ratios_table(result["rows"])
    return out + [("Ratios", ratios)] if ratios else out


def markdown(result, pictures_at="pictures"):
    parts = [f"# Benchmark, {result['mode']}, {result['started']}", about_host(result["host"], result),
             "Versions: " + ", ".join(f"{k} {v}" for k, v in {**result["versions"], **result["host"]["libraries"]}.items()) + "."]
    parts += [f"**{w}**" for w in result["warnings"]]
    late = [name for name, why in result["missing"].items() if why.startswith("the time was over")]
    parts += [f"**The time was over before these had all their rounds (`--resume` goes on): {', '.join(late)}.**"] if late else []
    parts += [f"**{name}: {why}**" for name, why in result["missing"].items() if name not in late]
    if result["goals"]:
        parts += ["## Goals", goals_table(result["goals"])]
    drawn = pictures.draw(result)
    if drawn:
        parts += ["## Pictures", "\n".join(f"![{title}]({pictures_at}/{name})" for name, (title, _) in drawn.items())]
    for title, text in sections(result):
        parts += [f"## {title}", text]
    return "\n\n".join(parts) + "\n"


def write_docs(result, folder, flames=()):
    """The page of results and its pictures, as a repository keeps them; `flames` are pictures that only their own run could draw."""
    pictures.write(result, folder / "pictures")
    for path in flames:
        (folder / "pictures" / path.name).write_text(path.read_text())
    text = markdown(result, "../pictures").split("\n", 1)[1]
    page = folder / "reference" / "bench-results.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    stacks = "".join(f"\n![Stacks, {path.stem.removeprefix('flame-').replace('-', ' ')}](../pictures/{path.name})" for path in flames)
    page.write_text(f"# Results of the benchmark\n\nWritten by `sudo ./{result['command']}` with `--docs docs`, {result['started']}; what "
                    f"the words mean is in [bench/README.md](../../bench/README.md). Do not edit: run it again.\n{text}"
                    + (f"\n## Flame graphs\n{stacks}\n" if flames else ""))
