# SPDX-License-Identifier: BSD-2-Clause
"""Runs the suites, counts what they say, and sums it up in one line.

Each suite runs in a session of its own with a time limit and a log; when it is over, or has been stopped, the network namespaces that it
made (named skep-*-PID with the pid of this runner) are removed and what ran inside is ended. Nothing else is ever touched.
A suite in which nothing ran has failed: a test that silently is not there is worse than one that is red.
"""
import argparse
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("SKEP_BUILD", ROOT / "build"))
SANITIZED = BUILD.with_name(BUILD.name + "-sanitize")
LOGS = BUILD / "test-logs"
TOTAL_S = 38 * 60
VM_S = 9 * 60  # what the emulated machines need on a quiet machine with two cores, and some more
PYTHON = "/usr/bin/python3"

SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
}


class Count:
    """What a suite said: numbers, and a line for each failure and each skip."""

    def __init__(self):
        self.passed = 0
        self.failed = []
        self.skipped = []
        self.red_for_meson = 0  # programs that meson calls failed; that is its exit code

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def total(self):
        return self.passed + len(self.failed) + len(self.skipped)


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def count_tap(name, text, count):
    """Counts the TAP lines in text; a comment in front of a skip is its reason. Returns None if there is no TAP, else whether the plan was
    kept. cmocka writes a skip as "not ok 1 # SKIP name", which is a skip here and a failure to meson."""
    seen, comment = 0, ""
    plan = re.search(r"^1\.\.(\d+)", text, re.MULTILINE)
    for line in text.splitlines():
        match = re.match(r"(not )?ok\b\s*\d*\s*-?\s*(.*)", line)
        if not match:
            if line.startswith("#"):
                comment = line.lstrip("# ")
            continue
        seen += 1
        title, _, directive = match[2].partition("#")
        title, directive = title.strip(), directive.strip()
        if directive.lower().startswith("skip"):
            word = directive[4:].strip()  # TAP: the reason; cmocka: the case's name
            title, reason = (title, comment or word) if title else (word or "case", comment)
            count.skipped.append(f"{name}: {title}: {reason or 'no reason given'}")
        elif match[1]:
            count.failed.append(f"{name}: {title or 'case'}")
        else:
            count.passed += 1
        comment = ""
    return seen == int(plan[1]) if plan else (None if not seen else False)


def count_meson(log):
    """Counts a meson testlog.json: TAP cases one by one, other programs by their exit code (77: skipped, last line says why)."""
    count = Count()
    for line in log.read_text().splitlines():
        test = json.loads(line)
        name = test["name"].rpartition(" / ")[2]
        text = test.get("stdout", "") or ""
        failures = len(count.failed)
        kept = count_tap(name, text, count)
        tap = kept is not None
        only_skips = kept and test.get("returncode") == 0
        red = test["result"] not in ("OK", "SKIP", "EXPECTEDFAIL")
        count.red_for_meson += red
        bad = red and not only_skips
        skip = not tap and (test["result"] == "SKIP" or test.get("returncode") == 77)
        if bad and not skip and len(count.failed) == failures:
            count.failed.append(f"{name}: {test['result'].lower()}, exit code {test.get('returncode')}")
        elif skip:
            reason = last_line(text) or last_line(test.get("stderr", "") or "") or "no reason given"
            count.skipped.append(f"{name}: {reason}")
        elif not tap and not bad:
            count.passed += 1
    return count


def count_junit(path):
    count = Count()
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '').rpartition('.')[2]}: {case.get('name')}"
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed.append(name)
        elif skipped is not None:
            count.skipped.append(f"{name}: {skipped.get('message') or 'no reason given'}")
        else:
            count.passed += 1
    return count


def own_namespaces():
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [name for name in names if re.fullmatch(rf"skep-.*-{os.getpid()}", name)]


def remove_namespaces():
    for name in own_namespaces():
        pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split()
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        subprocess.run(["ip", "netns", "del", name], check=False)


class Runner:
    def __init__(self):
        self.deadline = time.monotonic() + TOTAL_S
        self.child = None
        LOGS.mkdir(parents=True, exist_ok=True)

    def stop_child(self):
        if self.child is None:
            return
        for sig, wait_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            try:
                os.killpg(self.child.pid, sig)
                self.child.wait(wait_s)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def run(self, argv, log, limit_s, env=None):
        """Runs argv in a session of its own. Returns its exit code, or None if the time was over."""
        left_s = self.deadline - time.monotonic()
        with open(log, "a", encoding="utf-8") as out:
            out.write(f"$ {' '.join(map(str, argv))}\n")
            out.flush()
            if left_s <= 0:
                out.write("not started: the time of the whole run is over\n")
                return None
            self.child = subprocess.Popen(
                [str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT,
                start_new_session=True, env={**os.environ, "SKEP_RUN_PID": str(os.getpid()), **(env or {})})
            try:
                return self.child.wait(min(limit_s, left_s))
            except subprocess.TimeoutExpired:
                out.write(f"stopped: not done after {min(limit_s, left_s):.0f} s\n")
                return None
            finally:
                self.stop_child()
                self.child = None

    def meson(self, suite, log, limit_s, build=BUILD, env=None):
        """One meson suite of a build folder, counted."""
        base = f"{log.stem}-{suite}"
        out = build / "meson-logs" / f"{base}.json"
        out.unlink(missing_ok=True)
        code = self.run(["meson", "test", "-C", build, "--no-rebuild", "--suite", suite, "--logbase", base, "--print-errorlogs",
                         "--num-processes", "2"], log, limit_s, env)
        count = count_meson(out) if out.exists() else Count()
        if code is None:
            count.failed.append(f"{suite}: stopped, it took longer than its time limit (or the whole run did); see {log}")
        elif code != count.red_for_meson and not count.failed:
            count.failed.append(f"{suite}: meson test ended with exit code {code}; see {log}")
        elif not count.total():
            count.failed.append(f"{suite}: no test ran; see {log}")
        return count

    def pytest(self, path, log, limit_s, env=None):
        """One folder of pytest tests, counted."""
        out = LOGS / f"{log.stem}-{path.name}.xml"
        out.unlink(missing_ok=True)
        code = self.run([PYTHON, "-B", "-m", "pytest", "-p", "no:cacheprovider", "-q", "-ra", f"--junitxml={out}", path],
                        log, limit_s, env)
        try:
            count = count_junit(out)
        except (OSError, xml.etree.ElementTree.ParseError):
            count = Count()
        if code is None:
            count.failed.append(f"{path.name}: stopped, it took longer than its time limit (or the whole run did); see {log}")
        elif code and not count.failed:
            count.failed.append(f"{path.name}: pytest ended with exit code {code}; see {log}")
        elif not count.total():
            count.failed.append(f"{path.name}: no test ran; see {log}")
        return count


def suite_tidy(runner, log):
    return runner.pytest(ROOT / "tests" / "tidy", log, 120)


def suite_unit(runner, log):
    return runner.meson("unit", log, 420)


def suite_fuzz(runner, log):
    return runner.meson("fuzz", log, 180)


def suite_bpf(runner, log):
    return runner.meson("bpf", log, 240)


def suite_net(runner, log):
    return runner.pytest(ROOT / "tests" / "net", log, 900, {"SKEP_BIN": str(BUILD / "bin")})


def suite_hive(runner, log):
    """The layers, each by itself, and then the program and its clients."""
    count = runner.meson("hive", log, 300)
    if list((ROOT / "tests" / "hive").glob("test_*.py")):
        count.add(runner.pytest(ROOT / "tests" / "hive", log, 600, {"SKEP_BIN": str(BUILD / "bin")}))
    return count


def suite_control(runner, log):
    """The probe's daemon, through a real client."""
    return runner.pytest(ROOT / "tests" / "control", log, 480, {"SKEP_BIN": str(BUILD / "bin")})


def suite_sanitizers(runner, log):
    """Unit tests, corpus and network tests again, with a build in which every bad access and every leak is fatal."""
    count = Count()
    if runner.run([ROOT / "scripts" / "build", "--sanitize", SANITIZED], log, 900) != 0:
        count.failed.append(f"sanitizers: the build failed; see {log}")
        return count
    count.add(runner.meson("unit", log, 300, SANITIZED, SANITIZER_ENV))
    count.add(runner.meson("fuzz", log, 180, SANITIZED, SANITIZER_ENV))
    count.add(runner.meson("hive", log, 300, SANITIZED, SANITIZER_ENV))
    env = {**SANITIZER_ENV, "SKEP_BIN": str(SANITIZED / "bin"), "SKEP_SANITIZED": "1"}
    count.add(runner.pytest(ROOT / "tests" / "net", log, 720, env))
    return count


def suite_vm(runner, log):
    """Debian's kernels in an emulated machine: what this machine's own kernel and NICs cannot show."""
    count = Count()
    left_s = runner.deadline - time.monotonic()
    if left_s < VM_S:  # last of all suites: what a slow machine leaves out, rather than end in the middle
        count.skipped.append(f"vm: {left_s / 60:.0f} minutes are left of the whole run's time, too few; by itself: scripts/test vm")
        return count
    code = runner.run([PYTHON, "-B", ROOT / "tests" / "vm" / "run.py"], log, 15 * 60)
    kept = count_tap("vm", log.read_text(errors="replace"), count)
    if code is None:
        count.failed.append(f"vm: stopped, it took longer than its time limit (or the whole run did); see {log}")
    elif not kept or (code and not count.failed):
        count.failed.append(f"vm: ended with exit code {code}{'' if kept else ' and without a plan'}; see {log}")
    return count


SUITES = {
    "tidy": suite_tidy,
    "unit": suite_unit,
    "fuzz": suite_fuzz,
    "bpf": suite_bpf,
    "net": suite_net,
    "control": suite_control,
    "hive": suite_hive,
    "sanitizers": suite_sanitizers,
    "vm": suite_vm,
}


def run_suite(runner, name):
    log = LOGS / f"{name}.log"
    log.unlink(missing_ok=True)
    start = time.monotonic()
    try:
        count = SUITES[name](runner, log)
    except Exception as error:  # whatever is wrong with one suite, the others run and the last line is written
        count = Count()
        count.failed.append(f"{name}: the runner failed: {type(error).__name__}: {error}")
    finally:
        runner.stop_child()
        remove_namespaces()
    print(f"{name}: {count.passed} passed, {len(count.failed)} failed, {len(count.skipped)} skipped "
          f"({time.monotonic() - start:.0f} s, {log})", flush=True)
    for line in count.failed:
        print(f"  FAILED {line}", flush=True)
    for line in count.skipped:
        print(f"  skipped {line}", flush=True)
    return count


def main():
    parser = argparse.ArgumentParser(description="Runs the test suites; called by scripts/test.")
    parser.add_argument("suite", nargs="*", help=f"any of: {' '.join(SUITES)} (default: all)")
    names = parser.parse_args().suite or list(SUITES)
    for name in names:
        if name not in SUITES:
            parser.error(f"no such suite: {name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    runner, total = Runner(), Count()
    log = LOGS / "build.log"
    log.unlink(missing_ok=True)
    if runner.run([ROOT / "scripts" / "build", "--dir", BUILD], log, 600) != 0:
        total.failed.append("build")
        print(log.read_text()[-4000:], f"build: failed, so no suite was run ({log})", sep="\n", flush=True)
        names = []
    for name in names:
        total.add(run_suite(runner, name))
    print(f"{total.passed} passed, {len(total.failed)} failed, {len(total.skipped)} skipped", flush=True)
    return 0 if total.passed and not total.failed else 1


if __name__ == "__main__":
    sys.exit(main())
