# SPDX-License-Identifier: BSD-2-Clause
"""A hive for the scenarios hive-*: the real program with a state folder of its own on loopback, a client with an administrator's token, a
database filled by copying what the hive itself has written, and probes that are only answers of a server in this process."""
import contextlib
import copy
import datetime
import http.client
import http.server
import json
import re
import socket
import socketserver
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

from .control_probe import inside
from .rig import BenchError

PASSWORD = "correct horse battery"
START_S = 20.0
RIGHTS = ["jobs", "jobs-group", "jobs-all", "download", "users", "groups", "probes", "audit"]
API = "/api/v1"


class Hive:
    def __init__(self, bin_dir, folder, namespace=None, cpu=None):
        self.bin_dir, self.folder, self.namespace, self.cpu = bin_dir, Path(folder), namespace, cpu
        self.state = self.folder / "hive"
        self.config = self.folder / "hive.conf"
        self.process = self.token = self.connection = None
        self.config.write_text(f"[hive]\nlisten = 127.0.0.1:0\nstate_dir = {self.state}\nprograms = {bin_dir}\n[store]\nreserve = 64MiB\n")

    def __enter__(self):
        try:
            self.start()
            self._claim()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc):
        self.close()

    def start(self):
        words = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        words += ["taskset", "-c", str(self.cpu)] if self.cpu is not None else []
        self.log = open(self.folder / "hive.log", "a", encoding="utf-8")
        self.process = subprocess.Popen([*words, str(self.bin_dir / "skep-hive"), "-c", str(self.config)], stdout=subprocess.PIPE,
                                        stderr=self.log, text=True, start_new_session=True)
        line = self.process.stdout.readline()
        if "listening" not in line:
            raise BenchError(f"skep-hive does not start: {line}{(self.folder / 'hive.log').read_text()[-600:]}")
        self.port = int(line.rpartition(":")[2])
        return self

    def another_client(self):
        """With the same token and a connection of its own; for one thread."""
        other = copy.copy(self)
        other.connection = None
        return other

    def hang_up(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def stop(self):
        self.hang_up()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(START_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def close(self):
        if self.process and not self.process.stdout.closed:
            self.stop()

    def rss_bytes(self):
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) * 1024

    def _claim(self):
        secret = self.process.stdout.readline().partition("#claim=")[2].strip()
        status, body, head = self._call("POST", "/session/claim", {"secret": secret, "name": "root", "password": PASSWORD}, {})
        if status != 201:
            raise BenchError(f"the hive cannot be claimed: {status} {body}")
        cookie = head["Set-Cookie"].partition(";")[0]
        until = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status, body, _ = self._call("POST", "/tokens", {"name": "bench", "rights": RIGHTS, "expires": until},
                                     {"Cookie": cookie, "X-CSRF-Token": body["csrf"]})
        if status != 201:
            raise BenchError(f"no token: {status} {body}")
        self.token = body["token"]

    def _call(self, method, path, body, headers):
        """On one connection that is kept: (status, object or bytes, headers)."""
        if not self.connection:
            with inside(self.namespace) if self.namespace else contextlib.nullcontext():
                sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = http.client.HTTPConnection("127.0.0.1")
            self.connection.sock = sock
        try:
            data = None if body is None else json.dumps(body).encode()
            self.connection.request(method, API + path, data, {**headers, **({"Content-Type": "application/json"} if data else {})})
            answer = self.connection.getresponse()
            got = answer.read()
        except (OSError, http.client.HTTPException):
            self.hang_up()
            raise
        if answer.will_close:
            self.hang_up()
        return answer.status, json.loads(got) if got and answer.headers.get_content_type().endswith("json") else got, answer.headers

    def want(self, method, path, body=None, status=200):
        got, answer, _ = self._call(method, path, body, {"Authorization": f"Bearer {self.token}"})
        if got != status:
            raise BenchError(f"hive: {method} {path}: {got} {answer}")
        return answer

    def wait_job(self, job, *states, seconds=60.0):
        until = time.monotonic() + seconds
        while (seen := self.want("GET", f"/jobs/{job}"))["state"] not in states:
            if time.monotonic() > until:
                raise BenchError(f"hive: the job is {seen['state']}, not {states}, after {seconds:.0f} s: {seen.get('reasons')}")
            time.sleep(0.005)
        return seen

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{API}{path}"


# --- a database as large as one wants ---------------------------------------------------------------------------------------


def copy_rows(db, table, key, to, count):
    """Copies all rows of `table` whose column `key` is `to[0]` count times, for the ids to[1], to[1] + 1, …; other columns stay."""
    columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
    kept = [c for c in columns if c not in ("id", key)]
    db.execute(f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
               f"INSERT INTO {table} ({key}, {', '.join(kept)}) SELECT {to[1]} + n.i, {', '.join('t.' + c for c in kept)} "
               f"FROM n, {table} t WHERE t.{key} = {to[0]}")


def multiply_jobs(hive, job, count):
    """Makes of one job that the hive has written `count` (not while it runs), with links and events, a second apart."""
    db = sqlite3.connect(hive.state / "hive.db")
    try:
        first = db.execute("SELECT max(id) + 1 FROM jobs").fetchone()[0]
        db.execute("CREATE TEMP TABLE one AS SELECT * FROM jobs WHERE id = ?", (job,))
        columns = [row[1] for row in db.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
        values = [{"name": "'job ' || n.i", "created_ns": "t.created_ns + n.i * 1000000000"}.get(c, f"t.{c}") for c in columns]
        db.execute(f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {count - 1}) "
                   f"INSERT INTO jobs (id, {', '.join(columns)}) SELECT {first} + n.i, {', '.join(values)} FROM n, one t")
        for table in ("job_links", "job_events"):
            copy_rows(db, table, "job_id", (job, first), count)
        db.commit()
        return list(range(first, first + count))
    finally:
        db.close()


# --- probes that are only answers ---------------------------------------------------------------------------------------------


class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked += 1
        body = b'{"jobs":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 256


@contextlib.contextmanager
def silent_probes():
    """A server that answers as a probe without jobs does; any number of probes of a hive may have its address."""
    server = Server(("127.0.0.1", 0), Answers)
    server.asked = 0
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
