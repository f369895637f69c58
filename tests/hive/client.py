# SPDX-License-Identifier: BSD-2-Clause
"""The Python client for tests: every request that it makes is noted, and every answer checked against the API's description."""
import os
import pathlib
import subprocess
import sys
from datetime import datetime, timedelta, timezone

from hive import BIN, ROOT, SPEC, Answer, check_answer, find_operation

PACKAGE = ROOT / "hive" / "client" / "python"
sys.path.insert(0, str(PACKAGE))

import skep  # noqa: E402

OPERATIONS = {operation["operationId"]: (method, pattern) for pattern, operations in SPEC["paths"].items()
              for method, operation in operations.items() if "operationId" in operation}


def soon(days=1):
    return datetime.now(timezone.utc) + timedelta(days=days)


def watch(client):
    """client.seen: the operations that were asked for."""
    client.seen = []

    def note(response, **_):
        path = response.request.path_url
        _, operation = find_operation(response.request.method, path.partition("?")[0])
        assert operation, f"{response.request.method} {path} is not described"
        client.seen.append(operation["operationId"])
        if "event-stream" not in response.headers.get("Content-Type", "") and response.status_code != 304:
            body = b"" if "octet" in response.headers.get("Content-Type", "") else response.content
            check_answer(response.request.method, path, Answer(response.status_code, response.headers, body))

    client._http.session.hooks["response"].append(note)
    return client


def connect(hive, token=None, **options):
    """A client with everything the first administrator may do, or with a token."""
    url = f"http://127.0.0.1:{hive.port}"
    if token is None:
        made = hive.admin.post("/tokens", {"name": "client", "rights": [right for right in hive.admin.get("/session").json["rights"]],
                                           "expires": soon().isoformat().replace("+00:00", "Z")})
        assert made.status == 201, made.body
        token = made.json["token"]
    return watch(skep.Hive(url, token, **options))


class Command:
    """The command `skep` with settings of its own."""

    def __init__(self, folder, **environment):
        self.config = pathlib.Path(folder) / "skep-config"
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "SKEP_CONFIG": str(self.config), "LANG": "C.UTF-8",
                            **environment}

    def __call__(self, *words, stdin="", **environment):
        return subprocess.run([BIN / "skep", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=120, check=False,
                              env={**self.environment, **environment})
