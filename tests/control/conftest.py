# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures for the daemon: a real skep-control in a folder of its own, on a free port of loopback, with a token; and clients for it, one
that speaks HTTP properly and one that sends what it is told."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

from openapi import Description

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_BIN", ROOT / "build" / "bin"))
PATIENCE = 4 if os.environ.get("SKEP_SANITIZED") else 1
TIMEOUT_S = 60 * PATIENCE

sys.path.insert(0, str(ROOT / "tests" / "net"))
from netns import inside  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): limit of this test, instead of the usual one")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """A limit for each test, set-up and removal included: SIGALRM raises in the main thread, so that fixtures still clean up."""
    mark = item.get_closest_marker("timeout")
    limit_s = mark.args[0] * PATIENCE if mark else TIMEOUT_S

    def expired(_signal, _frame):
        signal.alarm(15)
        raise TimeoutError(f"{item.nodeid}: not done after {limit_s} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(int(limit_s))
    try:
        yield
    finally:
        signal.alarm(0)


# Every answer of every test is checked against it.
DESCRIPTION = Description((ROOT / "control" / "api" / "openapi.yaml").read_text(encoding="utf-8"))


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def type(self):
        return self.headers.get_content_type()

    def json(self):
        return json.loads(self.body)


class Daemon:
    """A skep-control with its state in `folder`. tls: with the certificate that it makes itself; namespace: where it runs."""

    def __init__(self, folder, tls=False, extra="", namespace=None):
        self.folder, self.tls, self.namespace = pathlib.Path(folder), tls, namespace
        self.state, self.spool = self.folder / "state", self.folder / "spool"
        # Short: the sockets of engines are in it.
        self.run_folder = tempfile.TemporaryDirectory(prefix="skep-ctl-")
        self.run = pathlib.Path(self.run_folder.name)
        self.config = self.folder / "control.conf"
        self.config.write_text(f"""[probe]
name = test-probe
state = {self.state}
run = {self.run}
programs = {BIN}
[server]
listen = 127.0.0.1:0
tls = {"yes" if tls else "no"}
max_connections = 2048
max_per_address = 2048
[spool]
directory = {self.spool}
reserve = 16MiB
{extra}
""", encoding="utf-8")
        self.process = self.port = None
        self.wrapper = []  # a program that runs ours
        self.token = self.command("token", "new", "test").stdout.strip()

    def command(self, *words, check=True):
        return subprocess.run([BIN / "skep-control", "-c", self.config, *words], capture_output=True, text=True, check=check, timeout=30)

    def start(self):
        port_file = self.run / "port"
        port_file.unlink(missing_ok=True)
        self.log = open(self.folder / "log", "a", encoding="utf-8")
        where = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        self.process = subprocess.Popen([*where, *self.wrapper, BIN / "skep-control", "-v", "-c", self.config], stdout=self.log,
                                        stderr=self.log)
        until = time.monotonic() + 20 * PATIENCE
        while not port_file.exists() or not port_file.read_text().endswith("\n"):
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"skep-control did not start:\n{self.said()}")
            time.sleep(0.01)
        self.port = int(port_file.read_text())
        return self

    def said(self):
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20 * PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                pytest.fail(f"skep-control did not end after SIGTERM:\n{self.said()}")
        return self.process.returncode if self.process else None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def socket(self):
        with inside(self.namespace):
            plain = socket.create_connection(("127.0.0.1", self.port), timeout=30 * PATIENCE)
        if not self.tls:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)

    def connection(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.sock = self.socket()
        return connection

    def ask(self, method, path, body=None, headers=None, token=True):
        """One request with the token; body is sent as JSON unless it is bytes."""
        headers = dict(headers or {})
        if token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connection()
        try:
            connection.request(method, path, body, headers)
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        DESCRIPTION.check(method, path, answer)
        return answer

    def get(self, path, **more):
        return self.ask("GET", path, **more)

    def raw(self, data, timeout_s=3):
        """Sends bytes, returns what came until the end, or until nothing more came for timeout_s."""
        with self.socket() as peer:
            peer.settimeout(timeout_s * PATIENCE)
            got = b""
            try:
                peer.sendall(data)
                while chunk := peer.recv(65536):
                    got += chunk
            except (TimeoutError, ConnectionError):
                pass
            return got


    def job(self, job_id):
        answer = self.get(f"/v1/jobs/{job_id}")
        assert answer.status == 200, answer.body
        return answer.json()

    def wait_job(self, job_id, *states, timeout_s=20):
        """Waits until the job is in one of the states; returns it."""
        until = time.monotonic() + timeout_s * PATIENCE
        while (job := self.job(job_id))["state"] not in states:
            assert time.monotonic() < until, f"the job is not {states} in time: {job}\n{self.said()}"
            time.sleep(0.02)
        return job

    def engines(self):
        """Process ids of the engines, by link. An engine has children with the same command line; it is the one whose parent is not."""
        found = {}
        for path in self.run.glob("*.sock"):
            parents = {}
            for folder in pathlib.Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(OSError):
                    if str(path).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                        parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.update({path.stem: pid for pid, parent in parents.items() if parent not in parents})
        return found


def make_daemon(folder, **more):
    if not (BIN / "skep-control").exists():
        pytest.fail(f"{BIN}/skep-control is not built; run scripts/build")
    return Daemon(folder, **more)


@pytest.fixture
def daemon(tmp_path):
    """A running daemon without TLS."""
    made = make_daemon(tmp_path).start()
    yield made
    assert made.stop() == 0, made.said()  # a leak that a sanitizer finds is another code


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One running daemon for the tests of a file that leave no traces."""
    made = make_daemon(tmp_path_factory.mktemp("shared")).start()
    yield made
    assert made.stop() == 0, made.said()


@pytest.fixture
def new_daemon(tmp_path):
    made = []

    def make(**more):
        folder = tmp_path / f"daemon{len(made)}"
        folder.mkdir()
        made.append(make_daemon(folder, **more))
        return made[-1]

    yield make
    for one in made:
        try:
            assert one.stop() in (None, 0, -signal.SIGKILL), one.said()
        finally:
            for pid in one.engines().values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def rig():
    """A link to capture on (tests/net/rig.py): cap0 in one namespace, gen0 in another."""
    import rig as rig_module
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)
    made = rig_module.Rig()
    yield made
    made.close()


@pytest.fixture
def probe(rig, new_daemon):
    """A daemon that runs where cap0 is a tap."""
    made = new_daemon(namespace=rig.cap, extra="[link cap0]\nalias = uplink\nrole = tap\n").start()
    made.rig = rig
    return made
