# SPDX-License-Identifier: BSD-2-Clause
"""Proves the arithmetic and the files of the benchmark's harness without measuring anything: every scenario file is one that the harness
understands; a result is refused if it is not what the schema says; goals come out as they should, and none is left out; the rule of
--compare raises no false alarm and does find a loss; a run that was killed goes on; pictures are well-formed and hold what they were
given."""
import json
import pathlib
import random
import sys
import xml.etree.ElementTree

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

from harness import compare, figures, flame, goals, pictures, profile, report, schema, svg  # noqa: E402
from harness.journal import Journal  # noqa: E402
from harness.measure import Spec  # noqa: E402
from harness.plan import load, load_all  # noqa: E402
from harness.rig import BenchError  # noqa: E402
from harness.scenarios import ROUTINES  # noqa: E402
from harness.tools import all_tools  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
HOST = {"cpu": "one", "cpus": 2, "memory_bytes": 2**34, "kernel": "6", "os": "some", "virtualization": "none", "governor": "none",
        "file_system": "ext4", "disk": "vda", "libraries": {"libc6": "2.36"}, "fingerprint": "f", "load_before": 0.1,
        "commit": "c", "changed": False, "sources": "s"}


def row(tool, scenario="disk", **values):
    base = {"scenario": scenario, "tool": tool, "size": "1500", "payload": "random", "rate": 0, "sink": "disk", "level": "auto",
            "flows": 1024, "filter": "", "count": 0, "round": 0, "sent": 1000, "refused": 0, "stored": 1000, "lost": 0,
            "duration_ns": 10**9, "offered_pps": 1000.0, "stored_pps": 1000.0, "sustained_pps": 1000.0, "drain_s": 0.0,
            "stored_bytes_per_s": 1.5e6, "cpu_s": 0.1, "cpu_share": 0.1, "cpu_ns_per_packet": 100.0, "rss_bytes": 10**8,
            "disk_bytes": 10**6,
            "killed": False, "sent_bytes": 1500000}
    return {**base, **values}


def result(rows=(), limits=(), found=(), missing=None):
    out = {"version": 2, "mode": "quick", "command": "scripts/bench --quick", "started": "2026-01-01T00:00:00+00:00", "seconds": 1.0,
           "host": dict(HOST),
           "versions": {"a": "1"},
           "plan": {}, "titles": {"disk": ["Flat out, to disk", "flat"], "curve": ["Loss", "curve"]}, "warnings": [],
           "missing": missing or {}, "limits": list(limits), "rows": list(rows), "figures": list(found), "goals": []}
    out["goals"] = goals.evaluate(out)
    return out


def of(number, out):
    return [g for g in out["goals"] if g["of"] == number]


# --- scenario files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["quick", "full"])
def test_every_scenario_file_is_understood(mode, tmp_path):
    tools = {*all_tools(tmp_path)}
    plans = load_all(mode)
    assert {"limits", "null", "disk", "compare"} <= set(plans)
    for plan in plans.values():
        assert plan.routine in ROUTINES, plan.name
        assert ROUTINES[plan.routine] or plan.specs, f"{plan.name}: {mode} measures nothing"
        assert {spec.tool for spec in plan.specs} <= tools, plan.name
        assert not plan.table or plan.table in report.MAKERS, plan.name


def scenario(tmp_path, text):
    path = tmp_path / "x.toml"
    path.write_text('about = "a"\ntitle = "t"\norder = 1\nroutine = "turns"\n' + text)
    return path


def test_lists_of_a_run_are_combined(tmp_path):
    plan = load(scenario(tmp_path, '[quick]\nduration_s = 2.5\n[[run]]\ntool = ["a", "b"]\nsize = ["64", "1500"]\nrate = ["none", 7]\n'),
                "quick")
    assert len(plan.specs) == 8
    assert {(s.tool, s.size, s.rate) for s in plan.specs} == {(t, s, r) for t in "ab" for s in ("64", "1500") for r in (None, 7)}
    assert {s.duration_s for s in plan.specs} == {2.5}


@pytest.mark.parametrize("text, says", [
    ('[[run]]\ntool = "a"\nsizes = ["64"]\n', "there is no sizes"), ('[[run]]\nsize = "64"\n', "tool is missing"),
    ('[[run]]\ntool = "a"\nrate = "fast"\n', "rate 'fast'"), ('[[run]]\ntool = "a"\nsize = 64\n', "size = 64"), ("typo = 1\n",
                                                                                                                 "there is no typo"),
    ("[quick\n", "x.toml")])
def test_a_scenario_file_with_a_fault_is_refused_in_words(tmp_path, text, says):
    with pytest.raises(BenchError, match=says):
        load(scenario(tmp_path, text), "quick")


def test_a_number_that_the_mode_does_not_have_is_named(tmp_path):
    plan = load(scenario(tmp_path, ""), "quick")
    with pytest.raises(AttributeError, match="x.toml: .quick. has no jobs_adds"):
        plan.jobs_adds


# --- schema -----------------------------------------------------------------------------------------------------------------


def test_a_result_is_what_the_schema_says():
    out = result([row("skep-capture"), row("tcpdump", sustained_pps=400.0)],
                 found=[{"scenario": "x", "name": "n", "series": "", "x": None, "value": 1.0, "unit": "s"}])
    schema.check(json.loads(json.dumps(out)), ROOT / "bench" / "schema.json")


@pytest.mark.parametrize("spoil, says", [
    (lambda r: r.pop("figures"), "figures missing"), (lambda r: r.update(version=1), "version"),
    (lambda r: r["rows"][0].update(stored="many"), "rows.0..stored"), (lambda r: r["goals"][0].update(met="yes"), "goals.0..met"),
    (lambda r: r["host"].pop("disk"), "disk missing"), (lambda r: r["rows"][0].update(sink="tape"), "tape")])
def test_a_result_that_is_not_is_refused(spoil, says):
    out = result([row("skep-capture")])
    spoil(out)
    with pytest.raises(BenchError, match=says):
        schema.check(out, ROOT / "bench" / "schema.json")


# --- goals ------------------------------------------------------------------------------------------------------------------


def test_no_goal_is_left_out():
    out = result(missing={"crash": "no generator"})
    assert [g["of"] for g in out["goals"]] == [f"G{n}" for n in range(1, 17)]
    assert all(g["met"] is None and g["why"] for g in out["goals"])
    assert of("G13", out)[0]["why"] == "no generator"


def test_a_goal_says_by_how_much_it_was_missed():
    out = result([row("skep-capture", sustained_pps=2000.0), row("tcpdump", sustained_pps=1000.0), row("stenotype", sustained_pps=500.0)])
    first = of("G1", out)[0]
    assert (first["value"], first["target"], first["met"]) == (2.0, 2.3, False)
    assert first["short_by"] == pytest.approx(0.3 / 2.3)
    assert set(first["peers"]) == {"tcpdump", "stenotype"} and "tcpdump" in first["name"]


def test_a_goal_knows_floor_and_wish():
    out = result([row("skep-capture", sustained_pps=2500.0), row("tcpdump", sustained_pps=1000.0)])
    assert (of("G1", out)[0]["met"], of("G1", out)[0]["stretch_met"]) == (True, False)
    assert report.verdict(of("G1", out)[0]) == "met, the wish not"


def test_losses_count_for_at_most_goals():
    out = result([row("skep-capture", lost=10, stored=990)])
    lost = next(g for g in of("G1", out) if g["name"].endswith("lost"))
    assert lost["value"] == pytest.approx(1.0) and not lost["met"] and lost["short_by"] == pytest.approx(9.0)


def test_the_median_of_the_rounds_counts():
    out = result([row("skep-capture", sustained_pps=v, round=n) for n, v in enumerate((3000.0, 1.0, 2900.0))] + [row("tcpdump")])
    assert of("G1", out)[0]["value"] == pytest.approx(2.9)


def test_zstd_speed_between_levels_and_below_the_fastest():
    limits = [{"limit": f"zstd level {n}", "size": "1500", "payload": "compressible", "ratio": r, "bytes_per_s": s}
              for n, r, s in ((1, 2.0, 500e6), (-5, 1.5, 1000e6))]
    assert figures.zstd_speed_at_ratio(limits, 1.75) == pytest.approx(750e6)
    assert figures.zstd_speed_at_ratio(limits, 3.0) == 500e6
    # half of the bytes stored as they are: 1/ratio = (1/1.5 + 1)/2, and half of the time
    assert figures.zstd_speed_at_ratio(limits, 1.2) == pytest.approx(2000e6)


def test_a_figure_can_be_a_goal():
    out = result(found=[{"scenario": "crash", "name": "files that open", "series": "", "x": None, "value": 99.0, "unit": "", "of": "G13",
                         "target": 100.0}])
    assert [(g["met"], g["value"]) for g in of("G13", out)] == [(False, 99.0)]


# --- comparing two revisions --------------------------------------------------------------------------------------------------


def test_the_sign_test_needs_all_of_five_seven_of_eight_nine_of_eleven():
    assert compare.judge([0.2] * 5) == "lost"
    assert compare.judge([0.2] * 4) == "undecided"
    assert compare.judge([0.2] * 7 + [0.0]) == "lost"
    assert compare.judge([0.2] * 6 + [0.0]) == "undecided"
    assert compare.judge([0.2] * 9 + [0.0] * 2) == "lost"
    assert compare.judge([0.2] * 8 + [0.0] * 3) == "undecided"
    assert compare.judge([0.0] * 5) == "kept"
    assert compare.judge([0.09, 0.08, 0.095, 0.02, 0.05]) == "kept"


def judged(losses):
    """As a run judges: at each look, until it is decided."""
    for n in compare.LOOKS:
        verdict = compare.judge(losses[:n])
        if verdict != "undecided":
            return verdict
    return "undecided"


def test_noise_alone_is_no_alarm_and_a_slower_build_is_found():
    dice = random.Random(1)
    noisy = lambda cost: [1 - dice.gauss(1, 0.1) / dice.gauss(1, 0.1) / cost for _ in range(compare.LOOKS[-1])]  # noqa: E731
    runs = 1000
    assert sum(judged(noisy(1.0)) == "lost" for _ in range(runs)) / runs < 0.01
    assert sum(judged(noisy(1.1)) == "lost" for _ in range(runs)) / runs < 0.10
    assert sum(judged(noisy(1.5)) == "lost" for _ in range(runs)) / runs > 0.90


def test_a_loss_is_a_loss_of_speed_or_a_growth_of_cost():
    assert compare.loss(100, 80, more_is_better=True) == pytest.approx(0.2)
    assert compare.loss(80, 100, more_is_better=False) == pytest.approx(0.2)
    assert compare.loss(100, 120, more_is_better=True) < 0 and compare.loss(120, 100, more_is_better=False) < 0


def test_the_table_of_a_comparison_says_lost():
    text, lost = compare.report([("64 B", {"stored_pps": ([(100.0, 50.0)] * 5, "lost"), "cpu_ns_per_packet": ([], "undecided")})], [])
    assert lost and "-50.0 %" in text
    assert not compare.report([("64 B", {"stored_pps": ([(100.0, 99.0)] * 5, "kept")})], [(("64", "random", "store"), 300.0, 301.0,
                                                                                           "kept")])[1]


# --- a run that is killed -----------------------------------------------------------------------------------------------------


HEAD = {"version": 2, "mode": "full", "fingerprint": "f", "sources": "s", "changed": False, "other": 1}


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    path = tmp_path / "journal.jsonl"
    first = Journal(path, HEAD, resume=False)
    spec = Spec("disk", "skep-capture", size="1500", sink="disk")
    first.add_row(row("skep-capture"))
    first.add_scenario("jobs", [row("x", scenario="jobs")], [{"limit": "l"}], [])
    first.file.write('{"row": {"scenario": "di')  # killed in the middle of a line
    first.file.close()
    again = Journal(path, HEAD, resume=True)
    assert again.has(spec, 0) and not again.has(spec, 1)
    assert not again.has(Spec("disk", "skep-capture", size="64", sink="disk"), 0)
    assert again.done == {"jobs"} and len(again.rows) == 2 and len(again.limits) == 1


@pytest.mark.parametrize("differs", ["mode", "sources", "fingerprint"])
def test_a_run_does_not_go_on_from_another(tmp_path, differs):
    Journal(tmp_path / "j", HEAD, resume=False).file.close()
    with pytest.raises(BenchError, match=differs):
        Journal(tmp_path / "j", {**HEAD, differs: "else"}, resume=True)


# --- pictures and tables --------------------------------------------------------------------------------------------------------


def parsed(text):
    assert max(len(line) for line in text.splitlines()) <= 140
    return xml.etree.ElementTree.fromstring(text)


def test_lines_have_a_point_for_each_value():
    tree = parsed(svg.lines({"title": "a < b & c", "x": "x", "y": "y", "note": "--docs -- x",
                             "series": {"one": [(1, 2), (3, 4)], "limit: two": [(2, 1)]}}))
    assert [len(p.get("points").split()) for p in tree.iter(f"{SVG}polyline")] == [2, 1]
    assert "a < b & c" in [t.text for t in tree.iter(f"{SVG}text")]


def test_bars_are_as_high_as_their_values():
    tree = parsed(svg.bars({"title": "t", "y": "y", "groups": {"g": {"a": 50.0, "b": 100.0}}}))
    found = {r.find(f"{SVG}title").text: float(r.get("height")) for r in tree.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None}
    assert found["g, b: 100"] == pytest.approx(2 * found["g, a: 50"], abs=0.2)


def test_stacked_bars_stand_on_one_another():
    tree = parsed(svg.bars({"title": "t", "y": "y", "stacked": True, "groups": {"g": {"a": 30.0, "b": 70.0}}}))
    low, high = [r for r in tree.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None]
    assert float(high.get("y")) + float(high.get("height")) == pytest.approx(float(low.get("y")), abs=0.2)


@pytest.mark.parametrize("low, high", [(0, 0.004), (0, 1), (0, 7.3), (0, 99), (0, 123456)])
def test_ticks_are_round_and_reach_the_top(low, high):
    found = svg.ticks(low, high)
    assert found[0] <= low and found[-1] >= high * 0.999 and 3 <= len(found) <= 12


SCRIPT = """worker-0  1234/1235  100.5: cpu-clock:
\t    55d0 cap_lane_take+0x12 (/usr/bin/skep-capture)
\t    55d1 cap_worker_turn+0x4 (/usr/bin/skep-capture)

worker-0  1234/1235  100.6: cpu-clock:
\tffffffff81 copy_user+0x1 ([kernel.kallsyms])
\t    55d1 cap_worker_turn+0x4 (/usr/bin/skep-capture)

keeper one 1234/1236  100.7: cpu-clock:
\t    55d9 std::map<int, int> [clone]+0x4 (/usr/lib/x.so)
"""


def test_stacks_are_folded_and_drawn():
    stacks = flame.fold(SCRIPT)
    assert stacks == {("worker-0", "cap_worker_turn", "cap_lane_take"): 1, ("worker-0", "cap_worker_turn", "copy_user_[k]"): 1,
                      ("keeper one", "std::map<int, int> [clone]"): 1}
    tree = parsed(svg.flame("t", stacks))
    widths = {r.find(f"{SVG}title").text: float(r.get("width")) for r in tree.iter(f"{SVG}rect") if r.find(f"{SVG}title") is not None}
    assert widths["cap_worker_turn: 66.7 %"] > 1.9 * widths["cap_lane_take: 33.3 %"] > 0


def test_counters_that_the_machine_does_not_have_are_left_out():
    text = "# started\n\n<not supported>,,cycles,0,100.00,,\n1234567,,instructions:u,99,100.00,,\n12.5,,LLC-load-misses,1,9.00,,\n"
    assert profile.read_counters(text) == {"instructions": 1234567.0, "LLC-load-misses": 12.5}


def test_a_result_becomes_a_page_with_pictures(tmp_path):
    rows = [row("skep-capture", scenario="curve", rate=r, offered_pps=r, sent=r, stored=r) for r in (1000, 2000)]
    rows += [row("tcpdump", scenario="curve", rate=r, offered_pps=r, sent=r, stored=r // 2) for r in (1000, 2000)]
    out = result(rows + [row("skep-capture"), row("tcpdump", sustained_pps=400.0)])
    (tmp_path / "flame-64.svg").write_text("<svg/>")
    report.write_docs(out, tmp_path, [tmp_path / "flame-64.svg"])
    page = (tmp_path / "reference" / "bench-results.md").read_text()
    assert "](../pictures/loss-1500.svg)" in page and "| G16 |" in page and "](../pictures/flame-64.svg)" in page
    assert (tmp_path / "pictures" / "flame-64.svg").exists()
    for name in pictures.draw(out):
        parsed((tmp_path / "pictures" / name).read_text())
        assert name in page


def test_spread_is_half_of_the_range():
    assert figures.spread([90, 100, 120]) == pytest.approx(0.15)
    assert figures.spread([5]) is None
    assert figures.spread([]) is None
