# SPDX-License-Identifier: BSD-2-Clause
"""Which pictures a result has: loss over rate, CPU per packet by stage, cost over jobs, queues and flows, rates of the tools."""
from . import svg
from .figures import Data, median

STAGES = "CPU time a packet, by stage"
INSTRUCTIONS = "instructions a packet"
MEMORY = "memory"


def note(result):
    return (f"Made by {result['command']} (commit {result['host']['commit']}, {result['started']}, fingerprint "
            f"{result['host']['fingerprint']}). Do not edit.")


def loss(data, size):
    series = {}
    for tool in dict.fromkeys(r["tool"] for r in data.rows if r["scenario"] == "curve"):
        where = {"scenario": "curve", "tool": tool, "size": size, "payload": "random"}
        wanted = sorted({r["rate"] for r in data.rows if all(r[k] == v for k, v in where.items())})
        points = []
        for rate in wanted:
            sent, stored = (median(data.rows, field, rate=rate, **where) for field in ("sent", "stored"))
            points.append((median(data.rows, "offered_pps", rate=rate, **where) / 1e6, 100 * (sent - stored) / sent if sent else 0))
        if len(points) > 1:
            series[tool] = points
    return {"title": f"Packets lost on their way to disk, {size} B", "x": "offered, million packets a second", "y": "lost, %",
            "series": series}


def rates(data, scenario, size, title):
    groups = {}
    for r in data.rows:
        if r["scenario"] == scenario and r["size"] == size:
            groups.setdefault(r["payload"], {})[r["tool"]] = None
    for payload, tools in groups.items():
        for tool in tools:
            tools[tool] = (median(data.rows, "sustained_pps", scenario=scenario, size=size, payload=payload, tool=tool) or 0) / 1e6
    return {"title": title, "y": "million packets a second, kept up", "groups": groups}


def stages(data):
    groups = {}
    for f in data.figures:
        if f["name"] == STAGES:
            groups.setdefault(f["x"], {})[f["series"]] = f["value"]
    return {"title": STAGES, "y": "nanoseconds of the worker's core", "groups": groups, "stacked": True}


def classified(data):
    series = {}
    for l in data.limits:
        if "kind" in l and "ns" in l:
            series.setdefault(f"{l['kind']} jobs", []).append((l["jobs"], l["ns"]))
    return {"title": "One frame through the filters of jobs that do not match, in XDP", "x": "jobs", "y": "nanoseconds a frame",
            "series": {name: points for name, points in series.items() if len(points) > 1}}


def over_flows(data):
    series = {}
    for r in data.rows:
        if r["scenario"] == "flows" and r["sent"]:
            series.setdefault(r["tool"], {}).setdefault(r["flows"], []).append(1e9 / r["offered_pps"])
    return {"title": "Cost over the number of flows, 256 B", "x": "flows", "by_place": True,
            "y": "nanoseconds of the core that sends, receives and filters, a packet",
            "series": {tool: [(x, sorted(v)[len(v) // 2]) for x, v in points.items()] for tool, points in series.items()}}


def over(data, scenario, name, title, x, y):
    return {"title": title, "x": x, "y": y, "series": data.series(scenario, name)}


def wanted(data):
    yield "loss-1500.svg", svg.lines, loss(data, "1500")
    yield "loss-64.svg", svg.lines, loss(data, "64")
    yield "rate-64.svg", svg.bars, rates(data, "null", "64", "Flat out at 64 B, nothing written")
    yield "rate-1500.svg", svg.bars, rates(data, "disk", "1500", "Flat out at 1500 B, to disk")
    yield "stages.svg", svg.bars, stages(data)
    yield "jobs-filter.svg", svg.lines, classified(data)
    yield "jobs-path.svg", svg.lines, over(data, "scale-path", f"{INSTRUCTIONS}, over jobs",
                                           "Instructions a packet over jobs that take it, 64 B",
                                           "jobs", "instructions")
    yield "queues-path.svg", svg.lines, over(data, "scale-path", f"{INSTRUCTIONS}, over queues", "Instructions a packet over queues, 64 B",
                                             "queues", "instructions")
    yield "memory-jobs.svg", svg.lines, over(data, "scale-memory", f"{MEMORY}, over jobs", "Resident memory of the engine over jobs",
                                             "jobs", "MB")
    yield "memory-queues.svg", svg.lines, over(data, "scale-memory", f"{MEMORY}, over queues", "Resident memory of the engine over queues",
                                               "queues", "MB")
    yield "flows.svg", svg.lines, over_flows(data)
    for name, what, title, y in (("hive-answers.svg", "median answer, over jobs", "Answers of the hive over its jobs, 50 clients",
                                  "milliseconds"),
                                 ("hive-memory.svg", f"{MEMORY}, over jobs", "Resident memory of the hive over its jobs", "MB")):
        yield name, svg.lines, {**over(data, "hive-api", what, title, "jobs in the database", y), "by_place": True}


def draw(result):
    """{file name: (title, text)} of the pictures that there are numbers for."""
    out = {}
    for name, how, chart in wanted(Data(result)):
        if any(chart.get("series", chart.get("groups", {})).values()):
            out[name] = (chart["title"], how({**chart, "note": note(result)}))
    return out


def write(result, folder):
    """Writes them into the folder; returns their names."""
    drawn = draw(result)
    if drawn:
        folder.mkdir(parents=True, exist_ok=True)
    for name, (_, text) in drawn.items():
        (folder / name).write_text(text)
    return list(drawn)
