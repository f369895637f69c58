# SPDX-License-Identifier: BSD-2-Clause
"""skep-control in the emulated machine, and what it promises: a job that was answered with 201 survives the loss of power, ends in exactly
one end state, and its account and its gap are said.

Four jobs meet the loss: one in the middle of its packets, one that was accepted a moment before, one whose time passes while the machine is
off, and one for later whose hour passes as well.
"""
import http.client
import json
import os
import pathlib
import subprocess
import time

import capture
import pcapfile

ROOT = pathlib.Path("/data/control")
RUN = pathlib.Path("/run/skep")
CONFIG, LOG = ROOT / "control.conf", ROOT / "log"
# Packets: those of "goes on" are used up by both lives, those of "for later" by the second set that is sent.
GOES_ON, FOR_LATER = 3000, 500


class Daemon:
    def __init__(self, link):
        for folder in (ROOT / "state", ROOT / "spool", RUN):
            folder.mkdir(parents=True, exist_ok=True)
        CONFIG.write_text(f"[probe]\nname = vm\nstate = {ROOT}/state\nrun = {RUN}\nprograms = /skep/bin\n"
                          "[server]\nlisten = 127.0.0.1:0\ntls = no\n"
                          f"[spool]\ndirectory = {ROOT}/spool\nreserve = 16MiB\n[link {link}]\nrole = tap\n")
        self.process = self.port = None

    def new_token(self):
        return capture.command("skep-control", "-c", CONFIG, "token", "new", "test").stdout.strip()

    def start(self, token):
        port = RUN / "port"
        port.unlink(missing_ok=True)
        with open(LOG, "ab") as log:
            self.process = subprocess.Popen(["skep-control", "-v", "-c", str(CONFIG)], stdout=log, stderr=log)
        capture.until(lambda: self.process.poll() is not None or (port.exists() and port.read_text().endswith("\n")), "skep-control")
        assert self.process.poll() is None, f"skep-control ended: {self.said()}"
        self.port, self.token = int(port.read_text()), token
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """The daemon, and its engines, which would outlive it."""
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(capture.PATIENCE_S)
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(str(RUN).encode()) and word.endswith(b".sock") for word in words):
                try:
                    os.kill(int(folder.name), 9)
                except ProcessLookupError:
                    pass

    @staticmethod
    def said():
        return " / ".join(LOG.read_text(errors="replace").splitlines()[-8:])

    def ask(self, method, path, body=None):
        """(status, the answer's bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=capture.PATIENCE_S)
        headers = {"Authorization": f"Bearer {self.token}", **({"Content-Type": "application/json"} if body is not None else {})}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path):
        status, body = self.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {body[:300]}"
        return json.loads(body)

    def add(self, name, **fields):
        """Again where the engine takes longer to start than the daemon waits: this machine is slow."""
        def accepted():
            nonlocal status, body
            status, body = self.ask("POST", "/v1/jobs", {"name": name, **fields})
            return status != 409 or b"in time" not in body

        status, body = 0, b""
        capture.until(accepted, "an engine that starts in time")
        assert status == 201, f"job \"{name}\": {status} {body[:300]}; {self.said()}"
        return json.loads(body)

    def jobs(self):
        """By name; each only once."""
        listed = self.get("/v1/jobs")["jobs"]
        named = {job["name"]: job for job in listed}
        assert len(named) == len(listed), listed
        return named

    def frames(self, job):
        """[numbers of the frames in the segments of each life], from what is fetched."""
        lives = {}
        for segment in self.get(f"/v1/jobs/{job['id']}/segments")["segments"]:
            status, body = self.ask("GET", f"/v1/jobs/{job['id']}/segments/{segment['name']}")
            assert status == 200 and len(body) == segment["bytes"], f"{segment}: {status}, {len(body)} bytes"
            path = pathlib.Path("/tmp/segment.pcap.zst")
            path.write_bytes(body)
            life = segment["name"].partition(".")[0] if segment["name"].startswith("r") else "r1"
            numbers = lives.setdefault(life, [])
            for record in pcapfile.read(path)[1]:
                assert record.data[42:46] == b"SKPG", f"{segment['name']}: a frame is damaged"
                numbers.append(int.from_bytes(record.data[46:54], "big"))
        return [sorted(lives[life]) for life in sorted(lives)]


def utc(seconds_from_now):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds_from_now))


def balanced(account):
    return account["seen"] == account["stored"] + account["rejected"] + sum(account["dropped"].values())


class Promise:
    def __init__(self, nic, receive):
        self.nic, self.receive = nic, receive
        self.daemon = None

    def begin(self):
        """The first two jobs and some frames, and wait until these are on disk: what a running engine has not flushed may be lost."""
        self.nic.up()
        self.daemon = Daemon(self.nic.name)
        self.daemon.start(self.daemon.new_token())
        job = self.daemon.add("goes on", links=[self.nic.name], limits={"packets": GOES_ON})
        sent = self.receive.send("small")

        def flushed():
            account = self.daemon.get(f"/v1/jobs/{job['id']}")["account"]
            return account["stored"] == sent and account["pending"] == 0 and account["bytes_disk"] > 0
        capture.until(flushed, f"{sent} frames on disk; {self.daemon.get('/v1/jobs')}")
        return f"a job is accepted, {sent} of {GOES_ON} frames are on disk"

    def mark(self):
        return {"token": self.daemon.token}

    def last_words(self):
        """Three more that are accepted; the power goes as soon as the last is."""
        self.daemon.add("time passes", links=[self.nic.name], limits={"duration_ns": 3 * 10**9})
        self.daemon.add("just begun", links=[self.nic.name])
        self.daemon.add("for later", links=[self.nic.name], start_at=utc(2), limits={"packets": FOR_LATER})

    def after(self, mark):
        self.nic.up()
        self.daemon = Daemon(self.nic.name)
        self.daemon.start(mark["token"])
        try:
            return self._after(mark)
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.daemon.said()}") from error
        finally:
            self.daemon.stop()

    def _running(self):
        jobs = self.daemon.jobs()
        assert set(jobs) == {"goes on", "time passes", "just begun", "for later"}, f"accepted, and not there: {sorted(jobs)}"
        return jobs["time passes"]["state"] == "done" and all(
            jobs[name]["state"] == "running" for name in ("goes on", "just begun", "for later"))

    def _after(self, mark):
        capture.until(self._running, "the jobs that go on")
        sent = self.receive.send("small")
        capture.until(lambda: self.daemon.jobs()["just begun"]["account"]["stored"] == sent, f"{sent} frames in the job that has no limit")
        status, body = self.daemon.ask("POST", f"/v1/jobs/{self.daemon.jobs()['just begun']['id']}/stop")
        assert status == 200, f"stop: {status} {body[:300]}"
        capture.until(lambda: all(job["state"] == "done" for job in self.daemon.jobs().values()), "the end of all jobs")
        jobs = self.daemon.jobs()
        self._accounts(jobs, sent)
        self.daemon.kill()
        self.daemon.start(mark["token"])
        again = self.daemon.jobs()
        assert again == jobs, f"after another start: {again}, before: {jobs}"
        for job in jobs.values():
            status, body = self.daemon.ask("DELETE", f"/v1/jobs/{job['id']}")
            assert status == 204, f"delete {job['name']}: {status} {body[:200]}"
        left = os.listdir(ROOT / "spool")
        assert not left, f"left in the spool: {left}"
        gap = jobs["goes on"]["gaps"][0]
        return f"4 jobs accepted, 4 done, each once; \"goes on\" stored {GOES_ON} in 2 lives, gap {gap['from']} to {gap['to']}; " \
               f"\"{jobs['goes on']['reasons'][0]}\"; \"{jobs['for later']['reasons'][0]}\""

    def _accounts(self, jobs, sent):
        stored = {name: job["account"]["stored"] for name, job in jobs.items()}
        assert stored == {"goes on": GOES_ON, "time passes": 0, "just begun": sent, "for later": FOR_LATER}, stored
        for name, job in jobs.items():
            assert job["outcome"] == "incomplete" and job["reasons"] and balanced(job["account"]), job
            if name == "for later":
                assert " late" in job["reasons"][0] and not job["gaps"], job
            else:
                assert len(job["gaps"]) == 1 and job["gaps"][0]["from"] < job["gaps"][0]["to"], job
        first, second = self.daemon.frames(jobs["goes on"])
        assert first == list(range(sent)), f"the first life has {len(first)} frames, {len(set(first))} different"
        # Four queues at once: a limit is exact in their number, not in which.
        assert len(second) == len(set(second)) == GOES_ON - sent and set(second) <= set(first), f"the second life: {len(second)} frames"
