# SPDX-License-Identifier: BSD-2-Clause
"""A running hive for tests: its own state folder and port on loopback, a client over http.client that sees headers and cookies, and the
API's description, against which every answer is checked."""
import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("SKEP_BIN", ROOT / "build" / "bin"))
API = "/api/v1"
PASSWORD = "correct horse battery"
SPEC = yaml.safe_load((ROOT / "hive" / "api" / "openapi.yaml").read_text(encoding="utf-8"))
RIGHTS = ["jobs", "jobs-group", "jobs-all", "download", "users", "groups", "probes", "audit"]

sys.path.insert(0, str(ROOT / "tests" / "net"))
from netns import inside  # noqa: E402


def find_operation(method, path):
    """(pattern, operation) of the description for a request."""
    for pattern, operations in SPEC["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(pattern)), path) and method.lower() in operations:
            return pattern, operations[method.lower()]
    return None, None


def check_answer(method, path, answer):
    """The answer is one that the description promises."""
    _, operation = find_operation(method, path.partition("?")[0])
    assert operation, f"{method} {path} is not described"
    promised = operation["responses"].get(str(answer.status)) or operation["responses"].get("default")
    assert promised, f"{method} {path}: {answer.status} is not described"
    if answer.status == 200 and operation.get("x-created") is None and "200" not in operation["responses"]:
        promised = operation["responses"]["201"]  # the same key again
    if "$ref" in promised:
        promised = SPEC["components"]["responses"]["Problem"]
    kind = (answer.headers.get("Content-Type") or "").partition(";")[0]
    if answer.status in (204, 304):
        assert not answer.body
        return
    assert kind in promised["content"], f"{method} {path}: {answer.status} {kind}: {answer.body!r}"
    schema = promised["content"][kind]["schema"]
    if kind.endswith("json"):
        jsonschema.Draft202012Validator({**schema, "components": SPEC["components"]}).validate(answer.json)


NEWS = {"job": "JobNews", "link": "LinkNews", "progress": "ProgressNews"}


def parse_events(response):
    """Server-sent events as the HTML standard reads them; each is checked against the description."""
    fields = {}
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(": ")
        if name:
            fields[name] = value
        elif "event" in fields:
            data = json.loads(fields["data"]) if fields.get("data") else {}
            if fields["event"] in NEWS:
                schema = {"$ref": f"#/components/schemas/{NEWS[fields['event']]}", "components": SPEC["components"]}
                jsonschema.Draft202012Validator(schema).validate(data)
            yield fields["event"], data, fields.get("id")
            fields = {}


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.json = json.loads(body) if body and "json" in (headers.get("Content-Type") or "") else None

    @property
    def codes(self):
        return [error["code"] for error in self.json["errors"]]

    @property
    def pointers(self):
        return {error.get("pointer", "") for error in self.json["errors"]}


class Client:
    """Somebody who calls the API: nobody, by a session, or by a token."""

    def __init__(self, hive, token=None):
        self.hive, self.token, self.cookie, self.csrf, self.id = hive, token, None, None, None

    def call(self, method, path, body=None, headers=None, raw=None):
        head = {}
        if self.token:
            head["Authorization"] = f"Bearer {self.token}"
        if self.cookie:
            head["Cookie"] = f"__Host-skep={self.cookie}"
            if method != "GET" and self.csrf:
                head["X-CSRF-Token"] = self.csrf
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            head["Content-Type"] = "application/json"
        head.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.hive.port, timeout=30)
        try:
            with inside(self.hive.namespace):
                connection.connect()
            connection.request(method, path, body=data, headers={k: v for k, v in head.items() if v is not None})
            got = connection.getresponse()
            endless = got.headers.get_content_type() == "text/event-stream"
            answer = Answer(got.status, got.headers, b"" if endless else got.read())
        finally:
            connection.close()
        if method != "HEAD":
            check_answer(method, path, answer)
        return answer

    @contextlib.contextmanager
    def events(self, path="/events", headers=None):
        """A generator of (event, data, id) while the context lasts; ends with the stream, or when nothing comes for half a minute."""
        head = {"Authorization": f"Bearer {self.token}"} if self.token else {"Cookie": f"__Host-skep={self.cookie}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.hive.port, timeout=30)
        try:
            with inside(self.hive.namespace):
                connection.connect()
            connection.request("GET", API + path, headers={**head, "Accept": "text/event-stream", **(headers or {})})
            got = connection.getresponse()
            assert got.status == 200 and got.headers.get_content_type() == "text/event-stream", got.read()
            yield parse_events(got)
        finally:
            connection.close()

    def get(self, path, **kwargs):
        return self.call("GET", API + path, **kwargs)

    def post(self, path, body=None, **kwargs):
        return self.call("POST", API + path, body, **kwargs)

    def delete(self, path, **kwargs):
        return self.call("DELETE", API + path, **kwargs)

    def put(self, path, **kwargs):
        return self.call("PUT", API + path, **kwargs)

    def patch(self, path, body, etag=None, **kwargs):
        """With the ETag that is there now, if none is given."""
        if etag is None:
            etag = self.get(path).headers.get("ETag") or '"1"'
        return self.call("PATCH", API + path, body, headers={"If-Match": etag}, **kwargs)

    def take_session(self, answer):
        assert answer.status == 201, answer.body
        self.cookie = re.match(r"__Host-skep=([^;]+)", answer.headers["Set-Cookie"])[1]
        self.csrf, self.id = answer.json["csrf"], answer.json["user_id"]
        return self

    def login(self, name, password=PASSWORD):
        return self.take_session(self.post("/session", {"name": name, "password": password}))


class Hive:
    def __init__(self, folder, conf="", namespace=None):
        self.folder, self.namespace = pathlib.Path(folder), namespace
        self.state = self.folder / "state"
        self.wrapper = []  # a program that runs ours
        self.conf = self.folder / "hive.conf"
        self.conf.write_text(f"[hive]\nlisten = 127.0.0.1:0\nstate_dir = {self.state}\nprograms = {BIN}\n{conf}", encoding="utf-8")
        self.process, self.port, self.secret, self.admin = None, None, None, None
        self.start()

    def start(self):
        self.log = open(self.folder / "log", "a", encoding="utf-8")
        where = (["ip", "netns", "exec", self.namespace] if self.namespace else []) + self.wrapper
        self.process = subprocess.Popen([*where, BIN / "skep-hive", "-c", self.conf], stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        assert "listening" in line, (line, (self.folder / "log").read_text())
        self.port = int(line.rpartition(":")[2])
        return self

    def claim(self):
        """The first administrator, by the secret of the one-time link."""
        line = self.process.stdout.readline()
        self.secret = line.partition("#claim=")[2].strip()
        assert self.secret.startswith("skep_first_"), line
        self.admin = Client(self)
        self.admin.take_session(self.admin.post("/session/claim", {"secret": self.secret, "name": "root", "password": PASSWORD}))
        return self.admin

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            assert self.process.wait(20) == 0, (self.folder / "log").read_text()
        self.process.stdout.close()
        self.log.close()

    def run(self, *words):
        return subprocess.run([BIN / "skep-hive", "-c", self.conf, *map(str, words)], capture_output=True, text=True, timeout=60,
                              check=False)

    def person(self, name, rights=(), all_links=False, **group):
        """A user in a group of their own with those rights, logged in."""
        user = self.admin.post("/users", {"name": name, "password": PASSWORD})
        assert user.status == 201, user.body
        made = self.admin.post("/groups", {"name": f"{name}-group", "rights": list(rights), "all_links": all_links, **group})
        assert made.status == 201, made.body
        assert self.admin.put(f"/groups/{made.json['id']}/members/{user.json['id']}").status == 204
        client = Client(self).login(name)
        client.group = made.json["id"]
        return client

    def link(self, name, probe="p1", **values):
        """A link on a probe that is not there: enough for everything but a capture."""
        probes = {one["name"]: one["id"] for one in self.admin.get("/probes").json["items"]}
        if probe not in probes:
            made = self.admin.post("/probes", {"name": probe, "address": "http://127.0.0.1:9", "token": "x" * 32})
            assert made.status == 201, made.body
            probes[probe] = made.json["id"]
        made = self.admin.post("/links", {"name": name, "interface": name, "probe_id": probes[probe], **values})
        assert made.status == 201, made.body
        return made.json["id"]


def wait_for(condition, seconds=10):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s")
