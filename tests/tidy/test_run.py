# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the runner counts what happened: a crash, an empty suite, a time-out and a missing log are failures, a skip keeps its
reason, and only namespaces of its own run are its own."""
import importlib.util
import json
import os
import pathlib
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("skep_run", ROOT / "tests" / "run.py")
run = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run)


def meson_log(tmp_path, *tests):
    path = tmp_path / "log.json"
    path.write_text("".join(json.dumps({"name": "skep:unit / " + name, "result": result, "returncode": code, "stdout": out}) + "\n"
                            for name, result, code, out in tests))
    return path


def numbers(count):
    return count.passed, len(count.failed), len(count.skipped)


def test_tap_cases_are_counted_one_by_one(tmp_path):
    text = "1..4\nok 1 - a\nnot ok 2 - b\n# no huge pages here\nok 3 # SKIP c\nok 4 - d\n"
    count = run.count_meson(meson_log(tmp_path, ("x", "FAIL", 1, text)))
    assert numbers(count) == (2, 1, 1)
    assert count.failed == ["x: b"] and "no huge pages here" in count.skipped[0]


def test_a_crash_after_good_cases_is_a_failure(tmp_path):
    count = run.count_meson(meson_log(tmp_path, ("x", "ERROR", -11, "1..2\nok 1 - a\n")))
    assert numbers(count) == (1, 1, 0) and "-11" in count.failed[0]


def test_a_skip_of_cmocka_is_no_failure(tmp_path):
    text = "1..2\nok 1 - a\n# no captures\nnot ok 2 # SKIP b\n"
    count = run.count_meson(meson_log(tmp_path, ("x", "FAIL", 0, text)))
    assert numbers(count) == (1, 0, 1) and count.skipped == ["x: b: no captures"]


@pytest.mark.parametrize("text", ["1..3\nok 1 - a\nok 2 - b\n", "ok 1 - a\n", "1..1\n"])
def test_a_plan_that_was_not_kept_is_a_failure(tmp_path, text):
    assert numbers(run.count_meson(meson_log(tmp_path, ("x", "FAIL", 0, text))))[1] == 1


def test_exit_codes_without_tap(tmp_path):
    count = run.count_meson(meson_log(tmp_path, ("a", "OK", 0, "fine\n"), ("b", "SKIP", 77, "loading\nneeds CAP_BPF\n"),
                                      ("c", "FAIL", 1, ""), ("d", "TIMEOUT", -15, ""), ("e", "ERROR", 77, "# not root\n")))
    assert numbers(count) == (1, 2, 2)
    assert count.skipped == ["b: needs CAP_BPF", "e: # not root"]


def test_junit(tmp_path):
    path = tmp_path / "x.xml"
    path.write_text('<testsuites><testsuite><testcase classname="a.b" name="t1"/><testcase classname="a.b" name="t2"><failure/></testcase>'
                    '<testcase classname="a.b" name="t3"><skipped message="no root"/></testcase>'
                    '<testcase classname="a.b" name="t4"><error/></testcase></testsuite></testsuites>')
    count = run.count_junit(path)
    assert numbers(count) == (1, 2, 1) and count.skipped == ["b: t3: no root"]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "LOGS", tmp_path)
    return run.Runner()


def test_a_suite_that_hangs_is_stopped(runner, tmp_path):
    start = time.monotonic()
    assert runner.run(["sh", "-c", "sleep 100 & sleep 100"], tmp_path / "log", 1) is None
    assert time.monotonic() - start < 15
    assert "stopped" in (tmp_path / "log").read_text()


def test_nothing_starts_after_the_end_of_the_whole_run(runner, tmp_path):
    runner.deadline = time.monotonic() - 1
    assert runner.run(["touch", tmp_path / "started"], tmp_path / "log", 10) is None
    assert not (tmp_path / "started").exists()


def test_a_folder_without_tests_is_a_failure(runner, tmp_path):
    (tmp_path / "empty").mkdir()
    assert numbers(runner.pytest(tmp_path / "empty", tmp_path / "x.log", 60)) == (0, 1, 0)


def test_a_file_that_does_not_import_is_a_failure(runner, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "test_bad.py").write_text("import nothing_like_this\n")
    assert numbers(runner.pytest(tmp_path / "bad", tmp_path / "x.log", 60))[1] == 1


def test_a_meson_folder_that_is_not_there_is_a_failure(runner, tmp_path):
    assert numbers(runner.meson("unit", tmp_path / "x.log", 60, build=tmp_path)) == (0, 1, 0)


def test_only_our_own_namespaces_are_removed(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    own, other = f"skep-x-{os.getpid()}", f"skep-x-{os.getpid()}0"
    try:
        for name in (own, other):
            if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
                pytest.skip("cannot make network namespaces")
        assert run.own_namespaces() == [own]
        run.remove_namespaces()
        assert not os.path.exists(f"/run/netns/{own}") and os.path.exists(f"/run/netns/{other}")
    finally:
        for name in (own, other):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def test_a_broken_suite_does_not_stop_the_run(runner, tmp_path, monkeypatch, capsys):
    def broken(_runner, _log):
        raise OSError("no disk")
    monkeypatch.setitem(run.SUITES, "tidy", broken)
    monkeypatch.setattr(run, "remove_namespaces", lambda: None)
    assert numbers(run.run_suite(runner, "tidy")) == (0, 1, 0)
    assert "no disk" in capsys.readouterr().out


@pytest.mark.parametrize("words,code", [(["nonsense"], 2), (["--nonsense"], 2), (["--help"], 0)])
def test_the_script_refuses_what_is_no_suite(words, code):
    done = subprocess.run([ROOT / "scripts" / "test", *words], capture_output=True, text=True, timeout=20, cwd="/", check=False)
    assert done.returncode == code
    assert "tidy unit fuzz bpf net control hive sanitizers" in done.stdout if code == 0 else "no suite" in done.stderr
