# SPDX-License-Identifier: BSD-2-Clause
"""Reads the scenario files (bench/scenarios/*.toml) and makes of each what is to be measured in a mode.

A file says what is offered to whom; which routine measures it is `routine`. `[quick]` and `[full]` hold the numbers of the mode, `[[run]]`
one combination of lists each: every tool gets every size, payload, rate and level. bench/README.md lists the keys.
"""
import itertools
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from .measure import Spec
from .rig import BenchError

FOLDER = Path(__file__).resolve().parents[1] / "scenarios"
MODES = ("quick", "full")
TOP = {"about", "title", "order", "routine", "table", "modes", "rig", "run", *MODES}
# key of a run: what each of its values must be
RUN = {"tool": str, "size": str, "payload": str, "rate": (int, str), "level": str, "sink": str, "flows": int, "filter": str,
       "duration_s": (int, float),
       "count": int, "modes": str}


@dataclass
class Plan:
    """What one scenario does in one mode. Keys of the mode's table are attributes: plan.rounds, plan.duration_s, plan.adds …"""

    name: str
    mode: str
    about: str
    title: str
    routine: str
    table: str
    rig: bool
    order: int
    values: dict
    specs: list = field(default_factory=list)

    def __getattr__(self, key):
        try:
            return self.__dict__["values"][key]
        except KeyError:
            raise AttributeError(f"bench/scenarios/{self.__dict__.get('name')}.toml: [{self.__dict__.get('mode')}] has no {key}") from None

    def described(self):
        return {**self.values, "specs": len(self.specs)}


def refuse(path, what):
    raise BenchError(f"{path.name}: {what}")


def as_list(value):
    return value if isinstance(value, list) else [value]


def check_keys(path, where, table, allowed):
    unknown = sorted(set(table) - set(allowed))
    if unknown:
        refuse(path, f"{where}: there is no {', '.join(unknown)}; there are {', '.join(sorted(allowed))}")


def read_rate(path, value):
    if value == "none":
        return None
    if isinstance(value, str):
        refuse(path, f"rate {value!r}: frames per second, 0 (as fast as possible) or \"none\" (no traffic)")
    return value


def specs_of(path, name, mode, run, values):
    check_keys(path, "[[run]]", run, RUN)
    for key, kind in RUN.items():
        for value in as_list(run.get(key, [])):
            if not isinstance(value, kind) or isinstance(value, bool):
                refuse(path, f"[[run]]: {key} = {value!r} is not what it should be")
    if "tool" not in run:
        refuse(path, "[[run]]: tool is missing")
    if mode not in as_list(run.get("modes", list(MODES))):
        return []
    lists = [as_list(run.get(key, fallback)) for key, fallback in
             (("size", "64"), ("payload", "random"), ("rate", 0), ("flows", 1024), ("level", "auto"), ("tool", None))]
    common = {"sink": run.get("sink", "null"), "filter": run.get("filter", ""), "count": run.get("count", 0),
              "duration_s": 0 if run.get("count") else run.get("duration_s", values.get("duration_s", 1.5))}
    return [Spec(name, tool, size=size, payload=payload, rate=read_rate(path, rate), level=level, flows=flows, **common)
            for size, payload, rate, flows, level, tool in itertools.product(*lists)]


def load(path, mode):
    """The plan of one file. `modes` of a file names the modes that run it unasked; by name it runs in any."""
    try:
        text = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise BenchError(f"{path}: {error}") from None
    check_keys(path, "top", text, TOP)
    for key in ("about", "title", "order", "routine"):
        if key not in text:
            refuse(path, f"{key} is missing")
    values = {"rounds": 1, "duration_s": 1.5, **text.get(mode, {})}
    plan = Plan(name=path.stem, mode=mode, about=text["about"], title=text["title"], routine=text["routine"], rig=text.get("rig", True),
                table=text.get("table", ""), order=text["order"], values=values)
    for run in text.get("run", []):
        plan.specs += specs_of(path, plan.name, mode, run, values)
    plan.unasked = mode in as_list(text.get("modes", list(MODES)))
    return plan


def load_all(mode, folder=FOLDER):
    """{name: plan}, in the order in which they run."""
    plans = [load(path, mode) for path in sorted(Path(folder).glob("*.toml"))]
    return {plan.name: plan for plan in sorted(plans, key=lambda plan: (plan.order, plan.name))}
