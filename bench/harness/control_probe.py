# SPDX-License-Identifier: BSD-2-Clause
"""A probe for the scenarios control-*: skep-control on the rig's receiving end, with a folder of its own, and a client that speaks to it in
that namespace. Whatever happens, close() ends the daemon and the engines that it started, by their pids."""
import contextlib
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from .jobs import fresh
from .rig import CPU_RX, CPU_TX, RX_LINK, TX_LINK, BenchError, run

CLONE_NEWNET = 0x40000000
ANSWER_S = 60.0
IDLE_S = 20.0
END_STATES = ("done", "failed", "cancelled")


@contextlib.contextmanager
def inside(namespace):
    """Sockets that this thread makes in here belong to the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net", encoding="ascii") as home, open(f"/run/netns/{namespace}", encoding="ascii") as there:
        if libc.setns(there.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            libc.setns(home.fileno(), CLONE_NEWNET)


def pids_in(namespace):
    return [int(pid) for pid in run("ip", "netns", "pids", namespace, check=False).split()]


def in_cmdline(pid, word):
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


class Probe:
    def __init__(self, bench, tls=False, extra=""):
        self.bench, self.tls, self.extra = bench, tls, extra
        self.folder = fresh(bench)
        # short, because the sockets of engines are in it
        self.run_folder = Path(tempfile.mkdtemp(prefix="skep-bench-"))
        self.spool = self.folder / "spool"
        self.config = self.folder / "control.conf"
        self.process = self.connection = None
        self.asked_s = 0.0
        self.write_config()
        self.token = self.command("token", "new", "bench").strip()

    def write_config(self):
        self.config.write_text(f"""[probe]
name = bench
state = {self.folder / "state"}
run = {self.run_folder}
programs = {self.bench.bin_dir}
[server]
listen = 127.0.0.1:8443
tls = {"yes" if self.tls else "no"}
max_connections = 2048
max_per_address = 2048
[spool]
directory = {self.spool}
reserve = 64MiB
{self.extra}
[link {RX_LINK}]
role = tap
jobs = 64
""")

    def command(self, *words):
        return run(str(self.bench.bin_dir / "skep-control"), "-c", str(self.config), *words)

    def __enter__(self):
        try:
            run("ip", "-n", self.bench.rig.rx, "link", "set", "lo", "up")
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *exc):
        self.close()

    def start(self):
        (self.run_folder / "port").unlink(missing_ok=True)
        words = [str(self.bench.bin_dir / "skep-control"), "-c", str(self.config)]
        self.process = self.bench.rig.start(words, self.folder / "control.log", cpu=CPU_RX)
        until = time.monotonic() + ANSWER_S
        while not (self.run_folder / "port").exists():
            if not self.process.alive() or time.monotonic() > until:
                raise BenchError(f"skep-control does not start: {self.process.log().strip()[-600:]}")
            time.sleep(0.02)
        return self

    def stop(self):
        """The daemon only; engines go on."""
        if self.connection:
            self.connection.close()
            self.connection = None
        self.process.popen.send_signal(signal.SIGTERM)
        self.process.popen.wait(ANSWER_S)
        self.bench.rig.forget([self.process])

    def restart(self, tls):
        self.stop()
        self.tls = tls
        self.write_config()
        return self.start()

    def engines(self):
        """Pids of the engines, and of the children that they have."""
        return [pid for pid in pids_in(self.bench.rig.rx) if in_cmdline(pid, b"--serve")]

    def close(self):
        with contextlib.suppress(BenchError, OSError, subprocess.TimeoutExpired):
            if self.process and self.process.alive():
                self.stop()
        if self.process:
            self.process.kill()
            self.bench.rig.forget([self.process])
        for pid in self.engines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.run_folder, ignore_errors=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the client ----------------------------------------------------------------------------------------------------

    def socket(self):
        with inside(self.bench.rig.rx):
            plain = socket.create_connection(("127.0.0.1", 8443), timeout=ANSWER_S)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not self.tls:
            return plain
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context.wrap_socket(plain)

    def headers(self):
        return {"Authorization": f"Bearer {self.token}"}

    def ask(self, method, path, body=None):
        """On one connection that is kept, but not until the daemon closes it; returns (status, object or bytes)."""
        if self.connection and time.monotonic() - self.asked_s > IDLE_S:
            self.connection.close()
            self.connection = None
        self.asked_s = time.monotonic()
        if not self.connection:
            self.connection = http.client.HTTPConnection("127.0.0.1")
            self.connection.sock = self.socket()
        headers = self.headers()
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            self.connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self.connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException):
            self.connection.close()
            self.connection = None
            raise
        is_json = answer.headers.get_content_type().endswith("json")
        return answer.status, json.loads(data) if is_json and data else data

    def want(self, method, path, body=None, status=200):
        got, answer = self.ask(method, path, body)
        if got != status:
            raise BenchError(f"{method} {path}: {got} {answer}")
        return answer

    def add(self, **job):
        return self.want("POST", "/v1/jobs", {"links": [RX_LINK], **job}, 201)

    def wait(self, job, *states, timeout_s=ANSWER_S):
        until = time.monotonic() + timeout_s
        while (now := self.want("GET", f"/v1/jobs/{job['id']}"))["state"] not in (states or END_STATES):
            if time.monotonic() > until:
                raise BenchError(f"the job is not {states or 'over'} in time: {now}")
            time.sleep(0.01)
        return now

    def end(self, job):
        self.want("POST", f"/v1/jobs/{job['id']}/stop")
        return self.wait(job)

    def segments(self, job):
        return self.want("GET", f"/v1/jobs/{job['id']}/segments")["segments"]

    def drop(self, job):
        self.want("DELETE", f"/v1/jobs/{job['id']}", status=204)


class Traffic:
    """A generator that goes on until the block ends. What it says then is in `said`."""

    def __init__(self, bench, size, rate=0, payload="random", flows=1024, cpu=CPU_TX):
        self.words = ["ip", "netns", "exec", bench.rig.tx, str(bench.bin_dir / "skep-gen"), "-i", TX_LINK, "--json", "--cpu", str(cpu),
                      "--size", size, "--payload", payload, "--flows", str(flows), "--duration", "86400"]
        self.words += ["--rate", f"{rate}pps"] if rate else []
        self.said = None

    def __enter__(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(0.5)
        if self.process.poll() is not None:
            raise BenchError(f"the generator ended with {self.process.returncode}")
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            out, _ = self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
        self.said = json.loads(out) if out.strip() else None
