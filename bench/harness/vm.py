# SPDX-License-Identifier: BSD-2-Clause
"""What the emulated machine proved (scripts/test vm): read from the log of its last run, with its age; nothing is booted here."""
import re
import time

from .rig import Unavailable


def vm(bench, plan):
    """The checks of the last run of the emulated machine."""
    log = bench.source / "build" / "test-logs" / "vm.log"
    if not log.exists():
        raise Unavailable("function, not speed: scripts/test vm proves it and has not run in this tree")
    text = log.read_text(errors="replace")
    failed = len(re.findall(r"^not ok(?!.*# SKIP)", text, re.MULTILINE))
    passed = len(re.findall(r"^ok(?!.*# SKIP)", text, re.MULTILINE))
    skipped = len(re.findall(r"# SKIP", text))
    if not passed + failed:
        raise Unavailable(f"{log} holds no check")
    hours = (time.time() - log.stat().st_mtime) / 3600
    bench.figure(plan.name, f"checks in the emulated machine that passed, of {passed + failed}", passed, "", of="G16",
                 target=passed + failed,
                 why=f"scripts/test vm, {hours:.0f} hours ago, {skipped} skipped")
    return [], []
