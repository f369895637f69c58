# SPDX-License-Identifier: BSD-2-Clause
"""scripts/bench --compare BASE: two revisions, built alike, measured in turns on one link; fails on a real loss.

What "real" means. A pair is one run of each revision, one directly after the other, who is first changing from pair to pair; its ratio
says how much the new one lost. The machine is noisy, so one pair says nothing. A loss of more than 10 % is real when the sign test over
the pairs refuses, at 5 %, that it is at most 10 %: all of 5 pairs lost more, or 7 of 8, or 9 of 11. It is refuted likewise. As long as
neither holds, more pairs are measured, up to 11; then it is undecided, which is said and is no failure. The chance of a false alarm at a
true loss of just 10 % is below one in ten for each number; without any loss it is that of noise beyond 10 % in one direction,
five times in a row.
Instructions (callgrind, where valgrind is) have no noise to speak of: there one run decides.
"""
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from . import callgrind
from .measure import RUN_NAME, Bench, program_missing
from .plan import load_all
from .report import quantity, table
from .rig import BenchError, OutOfTime, Rig
from .tools import Skep

ALLOWED = 0.10
ALPHA = 0.05
LOOKS = (5, 8, 11)  # pairs after which it is judged
# field of a row: more is better
FIELDS = {"stored_pps": True, "cpu_ns_per_packet": False}
WORDS = {"stored_pps": "packets a second", "cpu_ns_per_packet": "CPU time a packet"}


def at_least(k, n):
    """Chance of k or more heads in n throws."""
    return sum(math.comb(n, i) for i in range(k, n + 1)) / 2 ** n


def loss(base, new, more_is_better):
    """What the new one lost, as a part of the base; less than 0: it gained. Of a cost: how much less work the same time does."""
    return 1 - new / base if more_is_better else 1 - base / new


def judge(losses, allowed=ALLOWED, alpha=ALPHA):
    """"lost", "kept" or "undecided", by the sign test over the pairs."""
    n, more = len(losses), sum(l > allowed for l in losses)
    if n and at_least(more, n) <= alpha:
        return "lost"
    if n and at_least(n - more, n) <= alpha:
        return "kept"
    return "undecided"


def command(*words, cwd=None):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, cwd=cwd, env=callgrind.OWN_LINES)
    if done.returncode:
        raise BenchError(f"{' '.join(map(str, words))}: {(done.stderr + done.stdout).strip()[-1200:]}")
    return done.stdout.strip()


class Revision:
    """A tree and its build. The base is a worktree in the scratch folder, the new one is the tree as it is."""

    def __init__(self, name, tree, build):
        self.name, self.tree, self.build = name, tree, build

    def make(self, with_path):
        command("meson", "setup", "-Ddebug=true", self.build, self.tree)
        targets = command("ninja", "-C", self.build, "-t", "targets", "all")
        wanted = [t for t in ("capture/skep-capture.linked", "bench/skep-gen.linked") if f"{t}:" in targets]
        if len(wanted) < 2:
            raise BenchError(f"{self.name}: it has no skep-capture or no skep-gen; there is nothing to compare")
        self.path = self.build / "tests" / "unit" / "pathcost" if with_path and "tests/unit/pathcost:" in targets else None
        command("ninja", "-C", self.build, *wanted, *(["tests/unit/pathcost"] if self.path else []))

    def tool(self):
        tool = Skep(self.build / "bin")
        tool.name = self.name
        return tool


def measure_pair(bench, spec, number):
    """One run of each; the first of this pair is the second of the next."""
    rows = {}
    for name in ("base", "new") if number % 2 == 0 else ("new", "base"):
        rows[name] = bench.measure(spec.__class__(**{**vars(spec), "tool": name}))
        bench.say(rows[name])
    return rows["base"], rows["new"]


def compare_spec(bench, spec, most):
    """Pairs until everything is decided, at most `most` of them: {field: ([(base, new)], verdict)}."""
    pairs = {field: [] for field in FIELDS}
    for number in range(most):
        base, new = measure_pair(bench, spec, number)
        for field, found in pairs.items():
            if base[field] and new[field]:
                found.append((base[field], new[field]))
        verdicts = {f: judge([loss(b, n, FIELDS[f]) for b, n in found]) for f, found in pairs.items()}
        if number + 1 in LOOKS and "undecided" not in verdicts.values():
            break
    return {field: (found, verdicts[field]) for field, found in pairs.items()}


def compare_path(revisions, cases, out):
    """Instructions a packet of both: [(case, base, new, verdict)]."""
    found = []
    for case in cases:
        cost = [sum(callgrind.count(r.path, out, case, r.tree)[1].values()) for r in revisions]
        found.append((case, *cost, "lost" if loss(*cost, more_is_better=False) > ALLOWED else "kept"))
    out.unlink(missing_ok=True)
    return found


def words_of(spec):
    return f"{spec.size} B {spec.payload}, {'nothing written' if spec.sink == 'null' else 'to disk'}"


def report(measured, path):
    rows = []
    for case, fields in measured:
        for field, (pairs, verdict) in fields.items():
            losses = [loss(b, n, FIELDS[field]) for b, n in pairs]
            middle = [statistics.median(side) for side in zip(*pairs)] or [None, None]
            rows.append([case, WORDS[field], len(pairs), *map(quantity, middle),
                         f"{-100 * statistics.median(losses):+.1f} %" if losses else "-",
                         f"{-100 * max(losses):+.1f} to {-100 * min(losses):+.1f} %" if losses else "-", verdict])
    for case, base, new, verdict in path:
        gained = -100 * loss(base, new, more_is_better=False)
        rows.append([" ".join(map(str, case[:3])), "instructions a packet", 1, quantity(base), quantity(new), f"{gained:+.1f} %", "-",
                     verdict])
    return table(["case", "what", "pairs", "base", "new", "new does (median)", "pairs from, to", "result"], rows), \
        any(row[-1] == "lost" for row in rows)


def run(args, source, work_dir, scratch):
    plan = load_all("quick")["compare"]
    base = Revision("base", scratch / "tree", scratch / "build-base")
    new = Revision("new", source, scratch / "build-new")
    command("git", "-C", source, "worktree", "add", "--detach", base.tree, args.compare)
    with_path = not program_missing("valgrind")
    for revision in (base, new):
        print(f"building {revision.name} ({command('git', '-C', revision.tree, 'rev-parse', '--short', 'HEAD')})", flush=True)
        revision.make(with_path)
    path = compare_path((base, new), plan.path, scratch / "callgrind.out") if base.path and new.path else []
    measured = []
    with Rig() as rig:
        # one generator for both: it is no part of what is compared
        bench = Bench(rig, {r.name: r.tool() for r in (base, new)}, new.build / "bin", work_dir,
                      lambda row: print(f"  {row['tool']:5} {row['size']:>5} {row['stored_pps'] / 1e6:6.3f} Mpps stored, "
                                        f"{row['cpu_ns_per_packet'] or 0:.0f} ns a packet", flush=True))
        bench.deadline = time.monotonic() + args.minutes * 60 if args.minutes is not None else None
        for spec in plan.specs:
            if args.duration:
                spec = spec.__class__(**{**vars(spec), "duration_s": args.duration})
            measured.append((words_of(spec), compare_spec(bench, spec, args.rounds or LOOKS[-1])))
    return report(measured, path)


def main(args, source, work_dir):
    """0: no real loss; 1: a loss of more than 10 % is real."""
    if not (source / ".git").exists():
        raise BenchError(f"--compare: {source} is no git tree, so there is no revision {args.compare}")
    scratch = Path(tempfile.mkdtemp(prefix="skep-compare-"))
    try:
        text, lost = run(args, source, work_dir, scratch)
    except OutOfTime:
        raise BenchError("--compare: the time was over before it was decided") from None
    finally:
        shutil.rmtree(work_dir / RUN_NAME, ignore_errors=True)
        subprocess.run(["git", "-C", str(source), "worktree", "remove", "--force", str(scratch / "tree")], capture_output=True)
        shutil.rmtree(scratch, ignore_errors=True)
        subprocess.run(["git", "-C", str(source), "worktree", "prune"], capture_output=True)
    print(f"\n{text}\n")
    print(f"a loss of more than {100 * ALLOWED:.0f} % is real" if lost else f"no loss of more than {100 * ALLOWED:.0f} % is real")
    return 1 if lost else 0
