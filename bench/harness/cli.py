# SPDX-License-Identifier: BSD-2-Clause
"""The command line: chooses plan and scenarios, runs them on one rig, writes the result as JSON and Markdown, cleans up."""
import argparse
import datetime
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

from . import callgrind, goals, host, profile, report, schema
from .measure import FIO_NAME, RUN_NAME, Bench, free_bytes, program_missing
from .rig import BenchError, Rig
from .scenarios import FULL, NOT_QUICK, QUICK, SCENARIOS
from .tools import all_tools

SOURCE = Path(__file__).resolve().parents[2]
# the generator reaches 3 million frames of 1,500 bytes a second
WRITE_BYTES_PER_S = 3_000_000 * 1516

# no rows for the result: they print tables of their own
ALONE = (["profile"], ["callgrind"])


def parse(argv):
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="Scenarios: " + ", ".join(SCENARIOS) + ", profile, callgrind.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--quick", action="store_true", help="one short round, under five minutes (default)")
    how.add_argument("--full", action="store_true", help="three rounds, all sizes, 100 million packets; about an hour")
    parser.add_argument("--build", default=SOURCE / "build", type=Path, help="build folder (default: build)")
    parser.add_argument("--dir", type=Path, help="where captures are written and removed (default: build/bench/tmp)")
    parser.add_argument("--out", type=Path, help="folder for the result (default: build/bench)")
    parser.add_argument("--without", action="append", default=[], metavar="TOOL", help="leave this tool out; may be repeated")
    parser.add_argument("--duration", type=float, metavar="SEC", help="of each run, instead of the plan's")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of the plan's")
    parser.add_argument("scenario", nargs="*", metavar="SCENARIO", help="only these (default: all but profile and callgrind)")
    args = parser.parse_args(argv)
    unknown = [s for s in args.scenario if s not in SCENARIOS and [s] not in ALONE]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}, profile, callgrind")
    if len(args.scenario) > 1 and any([s] in ALONE for s in args.scenario):
        parser.error("profile and callgrind run alone")
    return args


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


def check(args, plan, work_dir):
    if os.geteuid() != 0:
        raise BenchError("needs root: it makes network namespaces and runs XDP programs; run it with sudo")
    if os.cpu_count() < 2:
        raise BenchError("needs two CPUs: the generator has one, the capture the other")
    if not (args.build / "bin" / "skep-gen").exists():
        raise BenchError(f"{args.build}/bin/skep-gen is missing: build first (scripts/build)")
    need = int(WRITE_BYTES_PER_S * max(plan.duration_s, plan.zero_loss_s, 2))
    if free_bytes(work_dir) < need:
        raise BenchError(f"{work_dir}: {free_bytes(work_dir) / 1e9:.1f} GB free, {need / 1e9:.1f} GB needed; "
                         "free some or choose another place with --dir")


def say_row(row):
    rate = f"{row['offered_pps'] / 1e6:6.3f} Mpps offered" if row["rate"] is not None or row["sent"] else "idle"
    print(f"  {row['scenario']:9} {row['tool']:22} {row['size']:>4} {row['payload']:12} {row['sink']:4} {rate}, "
          f"{row['stored_pps'] / 1e6:6.3f} stored, {row['lost']} lost, CPU {100 * row['cpu_share']:.1f} %", file=sys.stderr, flush=True)


def run_all(args, plan, tools, work_dir, result):
    with Rig() as rig:
        bench = Bench(rig, tools, args.build / "bin", work_dir, say_row)
        bench.no_disk = program_missing("fio")
        for name in args.scenario or [name for name in SCENARIOS if plan.mode == "full" or name not in NOT_QUICK]:
            print(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
            rows, limits = SCENARIOS[name](bench, plan)
            result["rows"] += rows
            result["limits"] += limits


def write(args, result):
    out = args.out or args.build / "bench"
    out.mkdir(parents=True, exist_ok=True)
    result["goals"] = goals.evaluate(result["rows"], result["limits"])
    schema.check(result, SOURCE / "bench" / "schema.json")
    text = report.markdown(result)
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "result.md").write_text(text)
    print(text)
    print(f"written: {out}/result.json, {out}/result.md; {result['seconds']:.0f} s", file=sys.stderr)


def bench_main(args):
    plan = FULL if args.full else QUICK
    if args.duration:
        plan = plan.__class__(**{**plan.__dict__, "duration_s": args.duration, "zero_loss_s": args.duration})
    if args.rounds:
        plan = plan.__class__(**{**plan.__dict__, "rounds": args.rounds})
    work_dir = args.dir or args.build / "bench" / "tmp"
    if args.scenario == ["callgrind"]:
        return callgrind.main(work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    check(args, plan, work_dir)
    warnings = []
    tools = choose_tools(args, args.build / "bin", warnings)
    result = {"version": 1, "mode": plan.mode, "started": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
              "host": host.describe(work_dir, SOURCE),
              "versions": {n: t.version() for n, t in tools.items() if not n.startswith(("limit", "classify"))},
              "plan": {k: v for k, v in plan.__dict__.items()}, "warnings": warnings, "limits": [], "rows": [], "goals": []}
    if result["host"]["load_before"] > 0.7:
        warnings.append(f"The machine was busy before the run (load {result['host']['load_before']:.2f}): the numbers are too low.")
    start = time.monotonic()
    try:
        if args.scenario == ["profile"]:
            return profile.main(args.build / "bin", work_dir)
        run_all(args, plan, tools, work_dir, result)
    finally:
        # what others have in that folder stays
        shutil.rmtree(work_dir / RUN_NAME, ignore_errors=True)
        (work_dir / FIO_NAME).unlink(missing_ok=True)
    result["seconds"] = time.monotonic() - start
    write(args, json.loads(json.dumps(result)))
    return 0


def on_term(signum, frame):
    raise KeyboardInterrupt


def main(argv):
    args = parse(argv)
    # also where the shell that started this in the background ignores SIGINT
    signal.signal(signal.SIGINT, on_term)
    signal.signal(signal.SIGTERM, on_term)
    signal.signal(signal.SIGHUP, on_term)
    try:
        return bench_main(args)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; namespaces, processes and files are removed", file=sys.stderr)
        return 130
