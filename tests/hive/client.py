# SPDX-License-Identifier: BSD-2-Clause
"""The Python client for tests: every request that it makes is noted, and every answer checked against the API's description."""
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

from hive import ROOT, SPEC, Answer, check_answer, find_operation

PACKAGE = ROOT / "hive" / "client" / "python"
sys.path.insert(0, str(PACKAGE))

import skep  # noqa: E402
import skep.cli  # noqa: E402

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
        """A process of its own, but forked off this one, which has read the modules already."""
        with tempfile.TemporaryFile("w+") as given, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            process = multiprocessing.get_context("fork").Process(target=self._run, args=(words, (given, out, err), environment))
            process.start()
            process.join(120)
            if process.is_alive():
                process.kill()
                raise TimeoutError(f"skep {words}")
            for file in (out, err):
                file.seek(0)
            return subprocess.CompletedProcess(words, process.exitcode, out.read(), err.read())

    def _run(self, words, files, environment):
        for number, file in enumerate(files):
            os.dup2(file.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = open(0, encoding="utf-8"), open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8")
        os.environ.clear()
        os.environ.update({**self.environment, **environment})
        code = skep.cli.main([str(word) for word in words])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
