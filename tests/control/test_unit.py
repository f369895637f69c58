# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the systemd unit is as closed as it says, that the daemon and its engines can work with the capabilities it leaves them, and
that the daemon says when it is ready and that it is alive."""
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import pytest

import frames
from conftest import BIN, PATIENCE, ROOT, make_daemon
from test_jobs import balanced, start
from test_packets import packets, records
from test_triggers import trigger

UNIT = ROOT / "control" / "skep-control.service.in"


def setting(name):
    return re.search(rf"^{name}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)[1]


def test_exposure_is_below_three(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "skep-control.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("@bindir@", str(BIN)), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", unit], capture_output=True, text=True, check=False, timeout=60)
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert level and float(level[1]) < 3.0, done.stdout[-300:] + done.stderr
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False, timeout=60)
    assert "Unknown" not in done.stderr and "skep-control.service:" not in done.stderr, done.stderr


def test_capabilities_of_the_unit_suffice(rig):
    """As the unit runs it: not root, no way to become it, and five capabilities."""
    if not shutil.which("setpriv"):
        pytest.skip("setpriv (util-linux) is not installed")
    assert setting("AmbientCapabilities") == setting("CapabilityBoundingSet") and setting("User") != "root"
    names = [name.removeprefix("CAP_").lower() for name in setting("CapabilityBoundingSet").split()]
    left = ",".join(f"+{name}" for name in names)
    user = pwd.getpwnam("nobody")
    with tempfile.TemporaryDirectory(prefix="skep-unit-") as folder:
        daemon = make_daemon(folder, namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
        for path in [folder, *pathlib.Path(folder).rglob("*"), daemon.run, *daemon.run.rglob("*")]:
            os.chown(path, user.pw_uid, user.pw_gid)
        daemon.wrapper = ["setpriv", "--reuid", "nobody", "--regid", str(user.pw_gid), "--clear-groups", "--bounding-set", f"-all,{left}",
                          "--inh-caps", f"-all,{left}", "--ambient-caps", f"-all,{left}", "--no-new-privs"]
        daemon.rig = rig
        try:
            daemon.start()
            status = open(f"/proc/{daemon.process.pid}/status", encoding="ascii").read()
            assert bin(int(re.search(r"CapEff:\s*(\w+)", status)[1], 16)).count("1") == len(names)
            assert re.search(r"Uid:\s*(\d+)", status)[1] == str(user.pw_uid)
            assert daemon.get("/v1/links").status == 200
            job = start(daemon, limits={"packets": 100})
            rig.send(frames.numbered(200, 100))
            job = daemon.wait_job(job["id"], "done")
            assert job["outcome"] == "complete" and job["account"]["stored"] == 100 and balanced(job["account"]), job
            assert len(records(packets(daemon, job))) == 100  # read by a child that has none of them
            ring = start(daemon, ring={"duration_ns": 30 * 10**9})
            rig.send(frames.numbered(50, 100))
            saved = daemon.wait_job(trigger(daemon, ring, 20, filter="udp")["id"], "done")
            assert saved["account"]["stored"] == 50, saved
        finally:
            daemon.stop()


def test_systemd_is_told_that_it_is_ready_alive_and_ending(new_daemon):
    with tempfile.TemporaryDirectory(prefix="skep-sd-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"{folder}/notify")
        heard.settimeout(10 * PATIENCE)
        daemon = new_daemon()
        os.environ.update(NOTIFY_SOCKET=f"{folder}/notify", WATCHDOG_USEC="3000000")
        try:
            daemon.start()
        finally:
            del os.environ["NOTIFY_SOCKET"], os.environ["WATCHDOG_USEC"]
        assert heard.recv(100) == b"READY=1"
        assert heard.recv(100) == b"WATCHDOG=1"
        began = time.monotonic()
        assert heard.recv(100) == b"WATCHDOG=1" and time.monotonic() - began < 3 * PATIENCE
        daemon.process.send_signal(signal.SIGTERM)
        while (word := heard.recv(100)) == b"WATCHDOG=1":
            pass
        assert word == b"STOPPING=1"
        assert daemon.process.wait(10 * PATIENCE) == 0


def test_engines_survive_the_end_of_the_service():
    """KillMode=process: systemd ends the daemon only; and the sockets of the engines stay where they are."""
    assert setting("KillMode") == "process" and setting("RuntimeDirectoryPreserve") == "yes"
