# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a configuration that is wrong is refused with file, line and reason before anything starts, and that a right one is taken."""
import subprocess

import pytest

from conftest import BIN


def check(tmp_path, text):
    path = tmp_path / "control.conf"
    path.write_text(text, encoding="utf-8")
    done = subprocess.run([BIN / "skep-control", "-c", path, "--check-config"], capture_output=True, text=True, check=False, timeout=30)
    return done, path


def test_right_one(tmp_path):
    done, _ = check(tmp_path, "# a comment\n[probe]\nname = p1\n[server]\nlisten = [::1]:8443\ntls = no\n[spool]\nquota = 1.5TB\n"
                              "[link eth1]\nalias = uplink\nrole = tap\njobs = 8\n[link eth2]\nrole = host\n[engine]\nidle = 5m\n")
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.mark.parametrize("text,line,words", [
    ("[server]\nlistne = x\n", 2, "has no setting"),
    ("[sever]\nlisten = x\n", 2, "no section"),
    ("[server]\ntls = perhaps\n", 2, "neither yes nor no"),
    ("[server]\n\nmax_connections = 1\n", 3, "max_connections"),
    ("[server]\nmax_connections = many\n", 2, "max_connections"),
    ("[spool]\nquota = 12XB\n", 2, "quota"),
    ("[engine]\nidle = 1ms\n", 2, "out of range"),
    ("[link eth1]\nrole = spy\n", 2, "not possible"),
    ("[link eth1]\njobs = 65\n", 2, "jobs"),
    ("[link a/b]\nrole = tap\n", 2, "cannot be the name"),
    ("[link this-name-is-too-long]\nrole = tap\n", 2, "cannot be the name"),
    ("[server]\ntls = yes\ntls = no\n", 3, "set twice"),
    ("[link eth1]\nrole = tap\n[link eth1]\nrole = host\n", 4, "set twice"),
    ("[server]\nthis is no setting\n", 2, "neither a [section]"),
    ("[probe]\nname = " + "x" * 100 + "\n", 2, "longer than"),
    ("[probe]\nname = " + "x" * 1000 + "\n", 2, "too long"),
    ("name = x\n", 1, "no section"),
])
def test_wrong_ones_say_file_line_and_reason(tmp_path, text, line, words):
    done, path = check(tmp_path, text)
    assert done.returncode == 2 and not done.stdout
    assert f"{path}:{line}: " in done.stderr and words in done.stderr, done.stderr


@pytest.mark.parametrize("text,words", [
    ("[spool]\ndirectory = here\n", "no absolute path"),
    ("[server]\ntls_key = /k\n", "go together"),
])
def test_settings_that_do_not_fit_together(tmp_path, text, words):
    done, path = check(tmp_path, text)
    assert done.returncode == 2 and str(path) in done.stderr and words in done.stderr


def test_file_that_is_not_there(tmp_path):
    done = subprocess.run([BIN / "skep-control", "-c", tmp_path / "none", "--check-config"], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "cannot be opened" in done.stderr


def test_address_that_is_none(new_daemon):
    for listen, words in (("probe.example:80", "no IPv4 or IPv6"), ("127.0.0.1", "no address"), ("127.0.0.1:99999", "port"),
                          ("[::1:80", "no IPv4")):
        daemon = new_daemon()
        daemon.config.write_text(daemon.config.read_text().replace("listen = 127.0.0.1:0", f"listen = {listen}"))
        done = daemon.command(check=False)
        assert done.returncode and words in done.stderr, done.stderr


def test_second_daemon_on_the_same_state_is_refused(daemon):
    done = daemon.command(check=False)
    assert done.returncode == 1 and "another skep-control" in done.stderr
