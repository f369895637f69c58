# SPDX-License-Identifier: BSD-2-Clause
"""What is measured: one function per scenario. Each takes the bench and the plan and returns rows (measurements) and limits.

Within a scenario the tools take turns, round by round, so that a machine that gets slower gets slower for all of them.
"""
from dataclasses import dataclass, replace

from .jobs import jobs
from .measure import Spec
from .tools import JOBS, KINDS

SIZES = ("64", "256", "512", "1500", "imix")
PEERS = ("tcpdump", "dumpcap", "netsniff-ng", "stenotype")
CLASSIFY_NONE = "classify: 0 merged jobs"
CLASSIFY_MANY = {kind: f"classify: {JOBS} {kind} jobs" for kind in KINDS}
TCPDUMP_MANY = f"tcpdump, {JOBS} processes"
CLASSIFY = ("limit: XDP_DROP", CLASSIFY_NONE, *CLASSIFY_MANY.values(), TCPDUMP_MANY)
DROP, AFXDP, SKEP, PIPE = "limit: XDP_DROP", "limit: AF_XDP receive", "skep-capture", "tcpdump + zstd -1"
ZSTD_LEVELS = (1, -1, -3, -5, -7)


@dataclass(frozen=True)
class Plan:
    mode: str
    rounds: int
    duration_s: float
    limit_s: float
    null_sizes: tuple
    disk: tuple            # (size, payload)
    curve: tuple           # (size, payload)
    curve_rates: tuple
    curve_tools: tuple
    zero_loss: tuple       # (size, payload)
    zero_loss_s: float
    zero_loss_steps: int
    low_s: float
    account_packets: int
    jobs_same: int         # frames that eight jobs and eight tcpdumps both get
    jobs_adds: int
    jobs_changes: int


QUICK = Plan(mode="quick", rounds=1, duration_s=1.2, limit_s=0.4, null_sizes=("64",), disk=(("64", "random"), ("1500", "random")),
             curve=tuple((s, "random") for s in SIZES) + (("1500", "compressible"),), curve_rates=(1_000_000,),
             curve_tools=(SKEP, "tcpdump"), zero_loss=(("1500", "random"),), zero_loss_s=1.2, zero_loss_steps=3, low_s=2.0,
             account_packets=10_000_000, jobs_same=40_000, jobs_adds=20, jobs_changes=100)
FULL = Plan(mode="full", rounds=3, duration_s=4.0, limit_s=2.0, null_sizes=SIZES,
            disk=tuple((s, p) for p in ("random", "compressible") for s in SIZES),
            curve=tuple((s, p) for p in ("random", "compressible") for s in SIZES),
            curve_rates=(100_000, 300_000, 600_000, 900_000, 1_200_000, 1_600_000), curve_tools=(SKEP, "tcpdump", "dumpcap", "netsniff-ng"),
            zero_loss=(("64", "random"), ("1500", "random"), ("1500", "compressible"), ("imix", "random")), zero_loss_s=4.0,
            zero_loss_steps=6, low_s=10.0, account_packets=100_000_000,
            jobs_same=400_000, jobs_adds=200, jobs_changes=1000)


def rounds(bench, plan, specs):
    rows = []
    for turn in range(plan.rounds):
        for spec in specs:
            if spec.tool not in bench.tools:
                continue
            row = bench.measure(spec)
            row["round"] = turn
            rows.append(row)
            bench.say(row)
    return rows


def limits(bench, plan):
    """Generator alone, disk, zstd in memory. XDP_DROP and AF_XDP receive are measured among the tools, in `null`."""
    found = [bench.limit_generator(size, "random", plan.limit_s) for size in ("64", "1500")]
    if not bench.no_disk:
        found.append(bench.limit_disk(max(2, int(plan.duration_s))))
    for size, payload in (("1500", "compressible"), ("1500", "random")) + ((("imix", "compressible"),) if plan.rounds > 1 else ()):
        found += bench.limit_zstd(size, payload, ZSTD_LEVELS, plan.limit_s)
    return [], found


def null(bench, plan):
    """Flat out, nothing written: what receiving costs."""
    specs = [Spec("null", tool, size=size, duration_s=plan.duration_s)
             for size in plan.null_sizes for tool in (DROP, AFXDP, SKEP, "tcpdump", "dumpcap", "netsniff-ng")]
    if "1500" not in plan.null_sizes:
        specs += [Spec("null", tool, size="1500", duration_s=plan.duration_s) for tool in (DROP, AFXDP)]
    return rounds(bench, plan, specs), []


def disk(bench, plan):
    """Flat out, to disk."""
    return rounds(bench, plan, [Spec("disk", tool, size=size, payload=payload, duration_s=plan.duration_s, sink="disk")
                                for size, payload in plan.disk for tool in (SKEP,) + PEERS]), []


def compress(bench, plan):
    """Flat out, compressible payload, one core for everything, to disk; ours also at fixed levels, to compare with zstd itself."""
    base = Spec("compress", SKEP, size="1500", payload="compressible", duration_s=plan.duration_s, sink="disk")
    specs = [base, replace(base, level="1"), replace(base, level="-3"), replace(base, tool=PIPE, level="1")]
    return rounds(bench, plan, specs), []


def lowrate(bench, plan):
    """What capturing costs when there is little or nothing to capture."""
    return rounds(bench, plan, [Spec("lowrate", tool, size="512", rate=rate, duration_s=plan.low_s)
                                for rate in (None, 10_000, 100_000) for tool in (SKEP, "tcpdump")]), []


def curve(bench, plan):
    """Loss over offered rate, to disk."""
    return rounds(bench, plan, [Spec("curve", tool, size=size, payload=payload, rate=rate, duration_s=plan.duration_s, sink="disk")
                                for size, payload in plan.curve for rate in plan.curve_rates for tool in plan.curve_tools]), []


def zero_loss(bench, plan):
    """The highest rate without a single lost packet on its way to disk, by bisection between 0 and what was stored flat out."""
    rows = []
    for size, payload in plan.zero_loss:
        searches = {}
        for tool in (SKEP,) + PEERS[:3]:
            if tool in bench.tools:
                flat = bench.measure(Spec("zero-loss", tool, size=size, payload=payload, duration_s=plan.zero_loss_s, sink="disk"))
                good = flat["offered_pps"] if flat["lost"] == 0 else 0
                searches[tool] = {"good": good, "bad": None if good else max(flat["stored_pps"] * 1.15, 1000), "flat": flat,
                                  "found": flat if good else None}
        for _ in range(plan.zero_loss_steps):
            for tool, search in searches.items():
                if search["bad"] is None:
                    continue  # no higher rate could be offered to it
                rate = (search["good"] + search["bad"]) / 2
                row = bench.measure(Spec("zero-loss", tool, size=size, payload=payload, rate=rate, duration_s=plan.zero_loss_s,
                                         sink="disk"))
                # the generator must have reached the rate, or it is no proof for it
                if row["lost"] == 0 and row["offered_pps"] > 0.98 * rate:
                    search["good"], search["found"] = row["offered_pps"], row
                elif row["lost"] == 0:
                    search["good"], search["found"], search["bad"] = max(search["good"], row["offered_pps"]), row, None
                else:
                    search["bad"] = rate
                bench.say(row)
        for tool, search in searches.items():
            row = dict(search["found"] or search["flat"])
            row.update(scenario="zero-loss", round=0, rate=None if search["found"] is None else row["offered_pps"],
                       zero_loss_pps=search["good"], upper_pps=search["bad"])
            rows.append(row)
    return rows, []


def account(bench, plan):
    """Does every packet have its place in the account? Overload by a level that is far too slow, then a rate that is not."""
    n = plan.account_packets
    base = Spec("account", SKEP, size="256", payload="compressible", sink="null", duration_s=0)
    specs = [replace(base, count=n * 6 // 10), replace(base, count=n * 3 // 10, level="9"),
             replace(base, count=n // 10, rate=400_000)]
    return rounds(bench, replace(plan, rounds=1), specs), []


def jobs_classify(bench, plan):
    """Jobs whose filters match nothing, on one link: merged ones, others, and a tcpdump process for each."""
    specs = [Spec("jobs-classify", tool, duration_s=plan.duration_s) for tool in CLASSIFY]
    return rounds(bench, plan, specs), bench.limit_classify()


SCENARIOS = {"limits": limits, "null": null, "disk": disk, "compress": compress, "lowrate": lowrate, "zero-loss": zero_loss,
             "curve": curve, "account": account, "jobs": jobs, "jobs-classify": jobs_classify}
# Many processes, many rounds: --quick leaves them out, to stay under five minutes; they run by name and with --full.
NOT_QUICK = {"jobs", "jobs-classify"}
