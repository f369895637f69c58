# SPDX-License-Identifier: BSD-2-Clause
"""A client of the engine's job socket (docs/reference/job-socket.md), and an engine that serves on a rig's link."""
import json
import socket

import rig as rig_module


class Refused(AssertionError):
    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['text']} ({error['hint']})")
        self.error = error


class Client:
    def __init__(self, path, timeout_s=20):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s * rig_module.PATIENCE)
        self.socket.connect(str(path))
        self.stream = self.socket.makefile("rb")

    def close(self):
        self.stream.close()
        self.socket.close()

    def read(self):
        line = self.stream.readline()
        assert line.endswith(b"\n"), f"the engine closed the connection: {line!r}"
        return json.loads(line)

    def raw(self, line):
        self.socket.sendall(line + b"\n")
        return self.read()

    def ask(self, do, **fields):
        """The answer; Refused if it is a refusal."""
        answer = self.raw(json.dumps({"do": do, **fields}).encode())
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer

    def add(self, name, filter=None, **job):  # pylint: disable=redefined-builtin
        return self.ask("add", job={"name": name, **({"filter": filter} if filter else {}), **job})["job"]

    def stop(self, name, wait=True):
        return self.ask("stop", name=name, wait=wait)["job"]

    def status(self, name):
        return self.ask("status", name=name)["jobs"][0]


class Engine:
    """skep-capture --serve on cap0; its files are in `root`, one folder a job."""

    def __init__(self, rig, root, *args, link="cap0", source="xdp"):
        root.mkdir(exist_ok=True)
        root.chmod(0o777)
        self.root, self.path = root, root / f"{link}.sock"
        role = ["--link-role", "tap"] if source == "xdp" else []
        self.process = rig.start([rig_module.BIN / "skep-capture", "-i", link, "--source", source, *role, "--serve", self.path,
                                  "-w", root, "--digest", "off", *args])
        self.process.wait_for_line(rig_module.READY)
        self.client = Client(self.path)

    def files(self, name):
        return sorted((self.root / name).glob("*.pcap*.zst"))

    def close(self):
        self.client.close()
        return self.process.stop()


def residual(job):
    """What the account does not explain; 0 when seen = stored + rejected + dropped."""
    account = job["account"]
    return account["seen"] - account["stored"] - account["rejected"] - sum(account["dropped"].values())
