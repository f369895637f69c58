# SPDX-License-Identifier: BSD-2-Clause
"""The command line: chooses plans, runs them on one rig, writes the result as JSON, Markdown and pictures, cleans up."""
import argparse
import datetime
import json
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from . import compare, goals, host, pictures, report, schema
from .journal import Journal
from .measure import FIO_NAME, RUN_NAME, Bench, free_bytes, program_missing
from .plan import load_all
from .rig import BenchError, OutOfTime, Rig, Unavailable, remove_left_over
from .scenarios import ROUTINES, turn
from .tools import all_tools

SOURCE = Path(__file__).resolve().parents[2]
# the generator reaches 3 million frames of 1,500 bytes a second
WRITE_BYTES_PER_S = 3_000_000 * 1516
BUSY_LOAD = 0.7
VERSION = 2
ABOUT = "Measures skep-capture, its peers and the limits of the machine in one run. Scenarios are the files in bench/scenarios."


def parse(argv):
    names = ", ".join(load_all("quick"))
    parser = argparse.ArgumentParser(prog="scripts/bench", description=ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog=f"Scenarios: {names}.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="one short round, under five minutes (default)")
    how.add_argument("--full", action="store_true", help="three rounds, all scenarios; about half an hour")
    how.add_argument("--compare", metavar="BASE", help="build revision BASE and this one, measure both in turns, fail on a real loss")
    how.add_argument("--render", metavar="RESULT", type=Path, help="measure nothing: tables and pictures of this result.json")
    parser.add_argument("--minutes", type=float, metavar="N", help="begin nothing more after N minutes; what is measured is written")
    parser.add_argument("--resume", action="store_true",
                        help="go on where the last run of the same mode and sources ended, was stopped or killed")
    parser.add_argument("--build", default=SOURCE / "build", type=Path, help="build folder (default: build)")
    parser.add_argument("--dir", type=Path, help="where captures are written and removed (default: build/bench/tmp)")
    parser.add_argument("--out", type=Path, help="folder for the result (default: build/bench)")
    parser.add_argument("--docs", type=Path, metavar="DIR", help="also write the page of results and its pictures there, for a repository")
    parser.add_argument("--without", action="append", default=[], metavar="TOOL", help="leave this tool out; may be repeated")
    parser.add_argument("--duration", type=float, metavar="SEC", help="of each run, instead of the plan's")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of the plan's")
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="only these (default: those of the mode)")
    args = parser.parse_intermixed_args(argv)
    unknown = [s for s in args.scenario if s not in load_all("quick")]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {names}")
    args.mode = "full" if args.full else "quick"
    args.words = [word for word in argv if word not in ("--resume", str(args.docs), "--docs")]
    args.out = args.out or args.build / "bench"
    return args


def choose_plans(args):
    plans = load_all(args.mode)
    chosen = [plan for plan in plans.values() if (plan.name in args.scenario if args.scenario else plan.unasked)]
    for plan in chosen:
        if plan.routine not in ROUTINES:
            raise BenchError(f"bench/scenarios/{plan.name}.toml: there is no routine {plan.routine!r}; there are {', '.join(ROUTINES)}")
        if args.rounds:
            plan.values["rounds"] = args.rounds
        if args.duration:
            plan.values["duration_s"] = args.duration
            plan.specs = [spec if spec.count else spec.__class__(**{**vars(spec), "duration_s": args.duration}) for spec in plan.specs]
    return chosen


def choose_tools(args, bin_dir, warnings):
    tools = all_tools(bin_dir)
    for name in args.without:
        if tools.pop(name, None) is None:
            raise BenchError(f"--without {name}: there is no such tool; there are {', '.join(all_tools(bin_dir))}")
    for name, tool in list(tools.items()):
        if tool.path() is None:
            warnings.append(f"{name} is not installed or not built: left out")
            del tools[name]
    return tools


def check(args, plans, work_dir):
    if os.geteuid() != 0:
        raise BenchError("needs root: it makes network namespaces and runs XDP programs; run it with sudo")
    if os.cpu_count() < 2:
        raise BenchError("needs two CPUs: the generator has one, the capture the other")
    writing = [plan.duration_s for plan in plans if plan.rig and (not plan.specs or any(s.sink == "disk" for s in plan.specs))]
    need = int(WRITE_BYTES_PER_S * max(writing)) if writing else 0
    if free_bytes(work_dir) < need:
        raise BenchError(f"{work_dir}: {free_bytes(work_dir) / 1e9:.1f} GB free, {need / 1e9:.1f} GB needed; "
                         "free some or choose another place with --dir")


def need_programs(args):
    if not (args.build / "bin" / "skep-gen").exists():
        raise BenchError(f"{args.build}/bin/skep-gen is missing: build first (scripts/build)")


def say_row(row):
    rate = f"{row['offered_pps'] / 1e6:6.3f} Mpps offered" if row["rate"] is not None or row["sent"] else "idle"
    print(f"  {row['scenario']:9} {row['tool']:22} {row['size']:>4} {row['payload']:12} {row['sink']:4} {rate}, "
          f"{row['stored_pps'] / 1e6:6.3f} stored, {row['lost']} lost, CPU {100 * row['cpu_share']:.1f} %", file=sys.stderr, flush=True)


def run_plan(bench, plan, number, journal):
    """One round of a scenario, or the whole of one that has no rounds."""
    routine = ROUTINES[plan.routine]
    if routine is None:
        turn(bench, plan, number, journal)
    elif number == 0 and plan.name not in journal.done:
        bench.check_time()
        print(f"{plan.name}: {plan.about}", file=sys.stderr, flush=True)
        bench.figures = []
        rows, limits = routine(bench, plan)
        for row in rows:
            row.setdefault("round", 0)
        journal.add_scenario(plan.name, rows, limits, bench.figures)


def run_all(args, plans, tools, work_dir, journal):
    """Round by round over all scenarios, so that a run that ends early has measured everything at least once rather than some often.
    Returns the scenarios that were not finished, with the reason, and whether one of them failed."""
    missing, failed = {}, False
    remove_left_over()
    with Rig() as rig:
        bench = Bench(rig, tools, args.build / "bin", work_dir, say_row)
        bench.known = list(all_tools(args.build / "bin"))
        bench.no_disk = program_missing("fio")
        bench.out_dir, bench.source = args.out, SOURCE
        bench.deadline = time.monotonic() + args.minutes * 60 if args.minutes is not None else None
        for number in range(max(plan.rounds for plan in plans)):
            for plan in plans:
                if number >= plan.rounds or plan.name in missing:
                    continue
                try:
                    run_plan(bench, plan, number, journal)
                except OutOfTime:
                    missing[plan.name] = f"the time was over in round {number + 1} of {plan.rounds}"
                except Exception as error:  # whatever is wrong with one scenario must not cost the others their results
                    missing[plan.name] = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
                    failed |= not isinstance(error, Unavailable)
                    print(f"bench: {plan.name}: {missing[plan.name]}", file=sys.stderr, flush=True)
                    if not isinstance(error, BenchError):
                        traceback.print_exc()
    return missing, failed


def write(args, result):
    args.out.mkdir(parents=True, exist_ok=True)
    result["goals"] = goals.evaluate(result)
    schema.check(result, SOURCE / "bench" / "schema.json")
    # a killed run must not leave half a file
    for name, text in (("result.json", json.dumps(result, indent=1) + "\n"), ("result.md", report.markdown(result))):
        (args.out / f"{name}.new").write_text(text)
        os.replace(args.out / f"{name}.new", args.out / name)
    drawn = pictures.write(result, args.out / "pictures")
    if args.docs:
        report.write_docs(result, args.docs, sorted((args.out / "pictures").glob("flame-*.svg")))
    print((args.out / "result.md").read_text())
    print(f"written: {args.out}/result.json, {args.out}/result.md, {len(drawn)} pictures in {args.out}/pictures; "
          f"{result['seconds']:.0f} s of measuring", file=sys.stderr)


def new_result(args, plans, tools, work_dir, warnings):
    result = {"version": VERSION, "mode": args.mode, "command": " ".join(["scripts/bench", *args.words]),
              "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "seconds": 0.0, "host": host.describe(work_dir, SOURCE),
              "versions": {t.program: t.version() for n, t in tools.items() if not n.startswith(("limit", "classify"))},
              "plan": {plan.name: plan.described() for plan in plans}, "titles": {name: [plan.title, plan.table] for name,
                                                                                  plan in load_all(args.mode).items()},
              "warnings": warnings, "missing": {}, "limits": [], "rows": [], "figures": [], "goals": []}
    if result["host"]["load_before"] > BUSY_LOAD:
        warnings.append(f"The machine was busy before the run (load {result['host']['load_before']:.2f}): the numbers are too low.")
    return result


def bench_main(args):
    if args.render:
        result = json.loads(args.render.read_text())
        schema.check(result, SOURCE / "bench" / "schema.json")
        write(args, result)
        return 0
    plans = choose_plans(args)
    work_dir = args.dir or args.build / "bench" / "tmp"
    work_dir.mkdir(parents=True, exist_ok=True)
    check(args, plans, work_dir)
    if args.compare:
        return compare.main(args, SOURCE, work_dir)
    need_programs(args)
    warnings = []
    tools = choose_tools(args, args.build / "bin", warnings)
    result = new_result(args, plans, tools, work_dir, warnings)
    journal = Journal(args.out / "journal.jsonl", {**result, **result["host"]}, args.resume)
    start = time.monotonic()
    stopped = True
    try:
        result["missing"], failed = run_all(args, plans, tools, work_dir, journal)
        stopped = False
    finally:
        journal.add_spent(time.monotonic() - start)
        # what others have in that folder stays
        shutil.rmtree(work_dir / RUN_NAME, ignore_errors=True)
        (work_dir / FIO_NAME).unlink(missing_ok=True)
        result.update(rows=journal.rows, limits=journal.limits, figures=journal.figures, seconds=journal.spent_s)
        if stopped:
            result["missing"]["run"] = "it was stopped; --resume goes on"
        if result["rows"] or result["limits"] or result["figures"]:
            write(args, json.loads(json.dumps(result)))
    return 1 if failed else 0


def on_term(signum, frame):
    raise KeyboardInterrupt


def main(argv):
    # also where the shell that started this in the background ignores SIGINT
    signal.signal(signal.SIGINT, on_term)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGHUP, on_term)
    try:
        return bench_main(parse(argv))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; namespaces, processes and files are removed, what was measured is kept", file=sys.stderr)
        return 130
