# SPDX-License-Identifier: BSD-2-Clause
"""Proves that an accepted job ends in exactly one end state whatever is killed: the daemon, the engine, both, at any point; that a
running capture does not notice the daemon's death; and that what an engine's death costs is said."""
import fcntl
import json
import os
import random
import signal
import threading
import time

import pytest

import frames
from test_jobs import balanced, fetch, segments, start
from rig import tcpdump_count

END_STATES = ("done", "failed", "cancelled")


def kill_engine(daemon, link="cap0"):
    pid = daemon.engines()[link]
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 10
    while os.path.exists(f"/proc/{pid}") and "Z" not in open(f"/proc/{pid}/stat", encoding="ascii").read().rpartition(")")[2]:
        assert time.monotonic() < until
        time.sleep(0.01)


def wait_alive(daemon, lives, job, timeout_s=20):
    until = time.monotonic() + timeout_s
    while (now := daemon.job(job["id"]))["links"][0]["lives"] < lives or now["links"][0]["state"] != "running":
        assert time.monotonic() < until, f"the job is not back: {now}\n{daemon.said()}"
        time.sleep(0.05)


def wait_on_disk(daemon, job):
    """Until what was taken is in the file: what kill -9 cannot take away any more."""
    until = time.monotonic() + 20
    while (account := daemon.job(job["id"])["account"])["bytes_disk"] == 0 or account["pending"]:
        assert time.monotonic() < until, account
        time.sleep(0.05)


def test_daemon_dies_and_the_capture_does_not_notice(probe, tmp_path):
    job = start(probe, filter="udp")
    engine = probe.engines()["cap0"]
    probe.rig.send(frames.numbered(500, 200))
    probe.kill()
    probe.rig.send(frames.numbered(500, 200))  # nobody supervises
    probe.start()
    probe.wait_job(job["id"], "running")
    probe.rig.send(frames.numbered(500, 200))
    time.sleep(0.7)
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    job = probe.wait_job(job["id"], "done")
    assert job["outcome"] == "complete" and job["account"]["stored"] == 1500 and job["gaps"] == [], job
    assert probe.engines()["cap0"] == engine and job["links"][0]["lives"] == 1
    assert sum(tcpdump_count(path) for path in fetch(probe, job, tmp_path)) == 1500


def test_job_that_ends_while_the_daemon_is_dead_is_found_ended(probe):
    job = start(probe, limits={"packets": 100})
    probe.kill()
    probe.rig.send(frames.numbered(300, 200))
    time.sleep(1)
    probe.start()
    job = probe.wait_job(job["id"], "done")
    assert job["outcome"] == "complete" and job["account"]["stored"] == 100 and job["links"][0]["why"] == "packets"


def test_engine_dies_and_the_job_goes_on_with_a_gap(probe, tmp_path):
    job = start(probe, limits={"packets": 1000})
    probe.rig.send(frames.numbered(400, 300))
    wait_on_disk(probe, job)
    kill_engine(probe)
    wait_alive(probe, 2, job)
    probe.rig.send(frames.numbered(1000, 300))
    job = probe.wait_job(job["id"], "done")
    assert job["outcome"] == "incomplete" and "died" in job["reasons"][0], job
    assert [gap["link"] for gap in job["gaps"]] == ["cap0"] and job["gaps"][0]["from"] < job["gaps"][0]["to"]
    assert job["account"]["stored"] == 1000 and balanced(job["account"]), job
    listed = segments(probe, job)
    assert any(segment["name"].startswith("r2.") for segment in listed) and any(segment["recovered"] for segment in listed)
    assert sum(segment["packets"] for segment in listed) == 1000
    assert sum(tcpdump_count(path) for path in fetch(probe, job, tmp_path)) == 1000


def test_both_die(probe, tmp_path):
    job = start(probe, filter="udp")
    probe.rig.send(frames.numbered(300, 300))
    wait_on_disk(probe, job)
    probe.kill()
    kill_engine(probe)
    probe.start()
    wait_alive(probe, 2, job)
    probe.rig.send(frames.numbered(300, 300))
    time.sleep(0.7)
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    job = probe.wait_job(job["id"], "done")
    assert job["outcome"] == "incomplete" and job["account"]["stored"] == 600 and len(job["gaps"]) == 1, (job, segments(probe, job))
    assert sum(tcpdump_count(path) for path in fetch(probe, job, tmp_path)) == 600


def test_a_file_that_is_still_held_is_waited_for(probe):
    """Who died may hold its files for a while (the kernel ends its writes; a recovery goes on after the daemon that began it). What is
    in them belongs into the account all the same."""
    job = start(probe, filter="udp")
    probe.rig.send(frames.numbered(300, 300))
    wait_on_disk(probe, job)
    probe.kill()
    kill_engine(probe)
    part, = (probe.spool / job["id"]).glob("*.part")
    with part.open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        release = threading.Timer(1.5, fcntl.lockf, (held, fcntl.LOCK_UN))
        release.start()
        probe.start()
        wait_alive(probe, 2, job)
        release.join()
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    job = probe.wait_job(job["id"], "done")
    assert job["account"]["stored"] == 300 == sum(segment["packets"] for segment in segments(probe, job)), job


@pytest.mark.timeout(300)
def test_killed_at_random_points_each_job_ends_once(probe, tmp_path):
    """Jobs come while the daemon, the engine, or both are killed at random moments. Each job that was acknowledged is there, ends in one
    end state, balances, and its segments hold what its account says; each that was not acknowledged is either there or not, once."""
    rng = random.Random(7)
    known = {}
    for turn in range(14):
        key = f"turn-{turn}"
        limits = {"duration_ns": rng.randrange(1, 30) * 100_000_000}
        body = {"links": ["cap0"], "filter": rng.choice(["udp", "tcp", "ip"]), "limits": limits}
        try:
            answer = probe.ask("POST", "/v1/jobs", body=body, headers={"Idempotency-Key": key})
            assert answer.status in (201, 409), answer.body
            if answer.status == 201:
                known[key] = answer.json()["id"]
        except (OSError, AssertionError):
            if probe.process.poll() is None:
                raise
        probe.rig.send(frames.numbered(50, 100))
        time.sleep(rng.random() * 0.3)
        what = rng.choice(["daemon", "engine", "both", "none"])
        if what in ("daemon", "both"):
            probe.kill()
        if what in ("engine", "both") and "cap0" in probe.engines():
            kill_engine(probe)
        if probe.process.poll() is not None:
            probe.start()
    until = time.monotonic() + 90
    jobs = probe.get("/v1/jobs").json()["jobs"]
    while any(job["state"] not in END_STATES for job in jobs):
        assert time.monotonic() < until, f"jobs that do not end: {json.dumps(jobs, indent=1)}\n{probe.said()}"
        time.sleep(0.2)
        jobs = probe.get("/v1/jobs").json()["jobs"]
    ids = [job["id"] for job in jobs]
    assert len(ids) == len(set(ids)) and set(known.values()) <= set(ids) and len(known) >= 10
    for job in jobs:
        assert balanced(job["account"]) and job["outcome"] in ("complete", "incomplete"), job
        assert (job["outcome"] == "incomplete") == bool(job["reasons"]), job
        assert sum(segment["packets"] for segment in segments(probe, job)) == job["account"]["stored"], job
    # And once more from the journal: nothing changes.
    probe.kill()
    probe.start()
    for before, after in zip(jobs, probe.get("/v1/jobs").json()["jobs"], strict=True):
        assert before == after, {key: (value, after[key]) for key, value in before.items() if after[key] != value}
    for job in jobs:
        assert probe.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    assert list(probe.spool.iterdir()) == []


def test_torn_journal_is_cut_at_the_last_whole_record(probe):
    first, second = start(probe, name="first"), start(probe, name="second")
    assert probe.stop() == 0
    journal = probe.state / "journal"
    journal.write_bytes(journal.read_bytes() + b"0123456789abcdef0123456789abcdef {\"job\":{\"id\":\"j0")
    probe.start()
    assert [job["id"] for job in probe.get("/v1/jobs").json()["jobs"]] == [first["id"], second["id"]]
    assert "never acknowledged" in probe.said()


def test_engine_that_does_not_start_refuses_the_job_in_words(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="[engine]\nuser = nosuchuser\n").start()
    answer = daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"]})
    assert answer.status == 409 and "does not start" in answer.json()["detail"] and "nosuchuser" in answer.json()["detail"], answer.body
    assert daemon.get("/v1/jobs").json()["jobs"] == []


def test_idle_engine_gives_its_link_back(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="[engine]\nidle = 1s\n[link cap0]\nrole = tap\n").start()
    daemon.rig = rig
    job = start(daemon, limits={"packets": 5})
    rig.send(frames.numbered(10, 100))
    daemon.wait_job(job["id"], "done")
    until = time.monotonic() + 15
    while daemon.engines():
        assert time.monotonic() < until, daemon.said()
        time.sleep(0.1)
    job = start(daemon, limits={"packets": 5})
    rig.send(frames.numbered(10, 100))
    assert daemon.wait_job(job["id"], "done")["outcome"] == "complete"


def test_a_job_waits_for_the_engine_that_is_leaving(new_daemon, rig):
    """An engine that was asked to end holds its link until its files are ended: the next one is started after that, not refused."""
    daemon = new_daemon(namespace=rig.cap, extra="[engine]\nidle = 1s\n[link cap0]\nrole = tap\n").start()
    daemon.rig = rig
    job = start(daemon, limits={"packets": 5})
    rig.send(frames.numbered(10, 100))
    daemon.wait_job(job["id"], "done")
    pid = daemon.engines()["cap0"]
    os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 15
    while "is asked to end" not in daemon.said():
        assert time.monotonic() < until, daemon.said()
        time.sleep(0.05)
    threading.Timer(1.5, os.kill, (pid, signal.SIGCONT)).start()
    start(daemon, limits={"packets": 5})
    assert daemon.engines()["cap0"] != pid
