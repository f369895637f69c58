# SPDX-License-Identifier: BSD-2-Clause
"""Proves what the hive shows those who run it: its own log, without secrets, a page at a time; figures that add up; a systemd unit that is
closed, with which the program says when it is ready and alive; settings that are refused with the file and the line."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

import pytest

from hive import BIN, PASSWORD, ROOT, Client, wait_for

UNIT = ROOT / "hive" / "skep-hive.service.in"


# ---- the log ----

def test_the_log_is_read_a_page_at_a_time(make_hive):
    hive = make_hive("[jobs]\nmissing_after = 1s\n")
    hive.link("tap-a")
    first = wait_for(lambda: (page := hive.admin.get("/logs").json)["items"] and page)
    assert "probe=1 away" in first["items"][0]["text"] and first["items"][0]["level"] == "warning"
    assert hive.admin.get(f"/logs?cursor={first['next']}").json == {"items": [], "next": first["next"]}
    hive.link("tap-b", probe="p2")
    second = wait_for(lambda: (page := hive.admin.get(f"/logs?cursor={first['next']}").json)["items"] and page)
    assert "probe=2 away" in second["items"][0]["text"] and second["items"][0]["id"] == first["items"][-1]["id"] + 1
    assert len(hive.admin.get("/logs?limit=1").json["items"]) == 1
    assert hive.admin.get("/logs?level=error").json["items"] == []
    for query in ("level=loud", "limit=0", "cursor=x", "colour=red"):
        assert hive.admin.get(f"/logs?{query}").status == 400, query
    bob = hive.person("bob", ["jobs", "probes"])
    assert bob.get("/logs").status == 403


def test_neither_the_log_nor_the_command_line_has_secrets(hive):
    """Whatever passed through: passwords, tokens, the secret of the first link, a probe's token."""
    probe = "probe-token-" + "x" * 20
    assert hive.admin.post("/probes", {"name": "p", "address": "http://127.0.0.1:9", "token": probe}).status == 201
    bob = hive.person("bob", ["jobs"])
    token = bob.post("/tokens", {"name": "t", "rights": ["jobs"], "expires": "2027-06-01T00:00:00Z"}).json["token"]
    Client(hive).post("/session", {"name": "bob", "password": "wrong-password-1"})
    assert Client(hive, token=token).get("/session").status == 200
    wait_for(lambda: hive.admin.get("/logs").json["items"])
    seen = hive.admin.get("/logs").body.decode() + (hive.folder / "log").read_text()
    seen += "".join(open(f"/proc/{hive.process.pid}/{name}", encoding="utf-8").read() for name in ("cmdline", "environ"))
    for secret in (PASSWORD, token, probe, hive.secret, hive.admin.cookie, "wrong-password-1"):
        assert secret not in seen


# ---- figures ----

def figures(hive):
    text = hive.admin.call("GET", "/metrics").body.decode()
    for name in re.findall(r"^# TYPE (\S+) \w+$", text, re.MULTILINE):
        assert f"# HELP {name} " in text
    return {match[1]: float(match[2]) for match in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) ([0-9.e+-]+)$", text, re.MULTILINE)}


def test_figures_add_up(hive):
    hive.link("tap-a")
    job = hive.admin.post("/jobs", {"name": "j", "links": ["tap-a"], "limit_pkts": 1}).json["id"]
    before = figures(hive)
    assert before['skep_hive_jobs{state="queued"}'] == 1 and before["skep_hive_links"] == 1 and before["skep_hive_users"] == 1
    wait_for(lambda: figures(hive)['skep_hive_probes{state="away"}'] == 1)
    assert hive.admin.post(f"/jobs/{job}/cancel").status == 200
    Client(hive).post("/session", {"name": "root", "password": "wrong-password-1"})
    with hive.admin.events():
        now = wait_for(lambda: (seen := figures(hive))["skep_hive_watchers"] == 1 and not seen["skep_hive_jobs_held"] and seen)
    assert now['skep_hive_jobs{state="queued"}'] == 0 and now['skep_hive_jobs{state="cancelled"}'] == 1
    assert now["skep_hive_audit_entries"] > before["skep_hive_audit_entries"]
    assert now['skep_hive_http_requests_total{class="4xx"}'] > before['skep_hive_http_requests_total{class="4xx"}']
    for name in ("skep_hive_database_bytes", "skep_hive_store_free_bytes", "skep_hive_start_time_seconds", "skep_hive_resident_bytes"):
        assert now[name] > 0, name
    assert now['skep_hive_deliveries{state="waiting"}'] == 0 and now["skep_hive_schedules"] == 0
    assert now['skep_hive_packets_total{kind="stored"}'] == 0


def test_an_idle_hive_is_small(hive):
    assert figures(hive)["skep_hive_resident_bytes"] < 50e6


# ---- systemd ----

def test_exposure_is_below_three(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "skep-hive.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("@bindir@", str(BIN)), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", unit], capture_output=True, text=True, check=False, timeout=60)
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level and float(level[1]) < 3.0, done.stdout[-300:] + done.stderr
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=60)
    assert "Unknown" not in done.stderr and "skep-hive.service:" not in done.stderr, done.stderr


def test_it_works_as_nobody_without_capabilities(make_hive, tmp_path):
    """As the unit runs it."""
    text = UNIT.read_text(encoding="utf-8")
    assert re.search(r"^CapabilityBoundingSet=$", text, re.MULTILINE) and "User=skep-hive" in text
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed")
    hive = make_hive(claim=False)
    hive.stop()
    subprocess.run(["chown", "-R", "nobody", hive.state], check=True)
    for folder in [hive.folder, *hive.folder.parents]:
        if folder == pathlib.Path(tempfile.gettempdir()):
            break
        os.chmod(folder, os.stat(folder).st_mode | 0o011)
    hive.wrapper = ["setpriv", "--reuid", "nobody", "--clear-groups", "--bounding-set", "-all", "--inh-caps", "-all",
                    "--ambient-caps", "-all",
                    "--no-new-privs"]
    hive.start()
    status = open(f"/proc/{hive.process.pid}/status", encoding="ascii").read()
    assert int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) == 0
    hive.claim()
    assert hive.admin.get("/session").status == 200


def test_systemd_is_told_that_it_is_ready_alive_and_ending(make_hive, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="skep-sd-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{folder}/notify")
        heard.settimeout(30)
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "3000000")
        hive = make_hive()
        assert heard.recv(100) == b"READY=1" and heard.recv(100) == b"WATCHDOG=1"
        began = time.monotonic()
        assert heard.recv(100) == b"WATCHDOG=1" and time.monotonic() - began < 20
        hive.process.send_signal(signal.SIGTERM)
        while (word := heard.recv(100)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"


def test_a_hive_whose_jobs_stand_still_is_not_called_alive(make_hive, monkeypatch):
    """Another program holds the database, and a decision cannot be saved: HTTP answers, and systemd hears nothing."""
    with tempfile.TemporaryDirectory(prefix="skep-sd-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{folder}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        hive = make_hive("[jobs]\nmissing_after = 1s\n")
        hive.link("tap-a")
        assert hive.admin.post("/jobs", {"name": "j", "links": ["tap-a"], "limit_pkts": 1, "missing": "skip"}).status == 201
        with contextlib.closing(sqlite3.connect(hive.state / "hive.db", isolation_level=None, timeout=20)) as db:
            db.execute("BEGIN IMMEDIATE")
            heard.settimeout(6)
            with pytest.raises(TimeoutError):
                while True:
                    heard.recv(100)
            assert hive.admin.get("/jobs").json["items"][0]["state"] == "queued"
            db.execute("ROLLBACK")
        heard.settimeout(30)
        assert heard.recv(100) == b"WATCHDOG=1"
        wait_for(lambda: hive.admin.get("/jobs").json["items"][0]["state"] == "failed", 30)


# ---- settings ----

@pytest.mark.parametrize("text,line,words", [
    ("[hive]\nlisten = 127.0.0.1:0\ncolour = red\n", 3, "colour"),
    ("[hive]\ntls = perhaps\n", 2, "yes nor no"),
    ("[hive]\n\n[store]\nreserve = much\n", 4, "reserve"),
    ("[session]\nidle = 5 parsecs\n", 2, "idle"),
    ("[ldap]\ntls = maybe\n", 2, "tls"),
    ("[hive\n", 1, ""),
    ("[webhooks]\nanywhere = 1\n", 2, "anywhere"),
])
def test_settings_are_refused_with_file_and_line(tmp_path, text, line, words):
    conf = tmp_path / "hive.conf"
    conf.write_text(text, encoding="utf-8")
    done = subprocess.run([BIN / "skep-hive", "-c", conf, "--check-config"], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2 and f"{conf}:{line}: " in done.stderr and words in done.stderr, done.stderr
    conf.write_text("[hive]\nlisten = 127.0.0.1:0\n", encoding="utf-8")
    fine = subprocess.run([BIN / "skep-hive", "-c", conf, "--check-config"], capture_output=True, text=True, check=False, timeout=30)
    assert fine.returncode == 0, fine.stderr
