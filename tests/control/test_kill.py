# SPDX-License-Identifier: BSD-2-Clause
"""Proves what kill -9 costs, at seeded points of a job's life: the daemon, the engine, or both die while a job is asked for, captures, or
is stopped. The same Idempotency-Key gives the one job; it ends in one end state; its account balances and is what its segments hold, packet
by packet; nothing is there twice or out of order; without the engine's death nothing is missing, and with it that is said.

SKEP_SOAK=1: a hundred points instead of eight."""
import http.client
import os
import random
import signal
import threading
import time

import pytest

import frames
import pcapfile
from conftest import PATIENCE
from test_crash import END_STATES
from test_jobs import balanced, fetch, segments

SOAK = bool(os.environ.get("SKEP_SOAK"))
POINTS = 100 if SOAK else 8
FRAMES = 400
RATE = 1000
# the payload of frames.numbered() begins with the number
NUMBER_AT = 14 + 20 + 8


class Killer(threading.Thread):
    """Kills after a time; `killed` says who was there to be killed."""

    def __init__(self, daemon, victim, after_s):
        super().__init__()
        self.daemon_, self.victim, self.after_s, self.killed = daemon, victim, after_s, set()

    def run(self):
        time.sleep(self.after_s)
        engines = self.daemon_.engines() if self.victim in ("engine", "both") else {}
        if self.victim in ("daemon", "both"):
            self.daemon_.kill()
            self.killed.add("daemon")
        for pid in engines.values():
            os.kill(pid, signal.SIGKILL)
            self.killed.add("engine")


def attempt(daemon, method, path, **more):
    """None if the daemon died meanwhile, in the middle of an answer or before."""
    process = daemon.process
    try:
        return daemon.ask(method, path, **more)
    except (OSError, http.client.HTTPException, ValueError, AssertionError):
        # its sockets are closed a moment before it can be seen to have ended
        until = time.monotonic() + 5 * PATIENCE
        while process.poll() is None:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        return None


def ended(daemon, job_id):
    """The job in its end state; it is stopped for that."""
    until = time.monotonic() + 40 * PATIENCE
    while (job := daemon.job(job_id))["state"] not in END_STATES:
        assert time.monotonic() < until, f"the job does not end: {job}\n{daemon.said()}"
        daemon.ask("POST", f"/v1/jobs/{job_id}/stop")
        time.sleep(0.05)
    return job


def stored_numbers(daemon, job, folder):
    folder.mkdir()
    found = []
    for path in sorted(fetch(daemon, job, folder)):
        for record in pcapfile.read(path)[1]:
            found.append(int.from_bytes(record.data[NUMBER_AT:NUMBER_AT + 4], "big"))
    return found


def one_point(daemon, rng, number, folder):
    """A job from its request to its removal, with somebody killed at a random moment; returns what was found out."""
    victim, limit = rng.choice(("daemon", "engine", "both")), rng.choice((None, None, FRAMES // 2))
    body = {"links": ["cap0"], "filter": "udp", **({"limits": {"packets": limit}} if limit else {})}
    key = {"Idempotency-Key": f"point-{number}"}
    killer = Killer(daemon, victim, rng.random() * 0.8)
    sent = frames.numbered(FRAMES, 200, seed=number + 1)
    killer.start()
    first = attempt(daemon, "POST", "/v1/jobs", body=body, headers=key)
    daemon.rig.send(sent, rate=RATE)
    if first and first.status == 201:
        time.sleep(rng.random() * 0.6)
        attempt(daemon, "POST", f"/v1/jobs/{first.json()['id']}/stop")
    killer.join()
    if daemon.process.poll() is not None:
        daemon.start()
    again = daemon.ask("POST", "/v1/jobs", body=body, headers=key)
    assert again.status in (200, 201), again.body
    job = ended(daemon, again.json()["id"])
    where = f"point {number}: {victim} killed after {killer.after_s:.3f} s: {job}\n{daemon.said()[-3000:]}"
    assert not first or first.status != 201 or first.json()["id"] == job["id"], where
    account, listed = job["account"], segments(daemon, job)
    numbers = stored_numbers(daemon, job, folder / str(number))
    assert balanced(account) and sum(segment["packets"] for segment in listed) == account["stored"] == len(numbers), where
    assert numbers == sorted(set(numbers)), where
    assert (job["outcome"] == "incomplete") == bool(job["reasons"]), where
    if "engine" not in killer.killed and first and first.status == 201:
        dropped = sum(account["dropped"].values())  # by a machine that is too busy
        assert job["gaps"] == [] and (job["outcome"] == "complete") == (dropped == 0), where
        assert len(numbers) == (limit or FRAMES - dropped) and (dropped or numbers == list(range(len(numbers)))), where
    if job["gaps"]:
        assert "engine" in killer.killed and job["outcome"] == "incomplete", where
    assert daemon.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204, where
    return victim, FRAMES - len(numbers), bool(job["gaps"])


@pytest.mark.timeout(1200 if SOAK else 180)
def test_kill_at_seeded_points(probe, tmp_path):
    rng = random.Random(20261121)
    found = [one_point(probe, rng, number, tmp_path) for number in range(POINTS)]
    assert {victim for victim, _, _ in found} == {"daemon", "engine", "both"}
    assert [job for job in probe.get("/v1/jobs").json()["jobs"]] == [] and list(probe.spool.iterdir()) == []
    print(f"{POINTS} points, {sum(gap for _, _, gap in found)} jobs with a gap")
