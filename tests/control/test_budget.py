# SPDX-License-Identifier: BSD-2-Clause
"""Proves what an engine's death leaves of a job's limits and account: what it had taken of a limit that links share, and not brought
to disk, is given back, so that the job still gets as many packets as it asked for and not one more; and the packets that it is
known to have had are in the account as dropped, beside the gap on the job."""
import os
import signal

import pytest

import frames
from test_crash import kill_engine, wait_alive
from test_jobs import balanced, segments, start
from test_packets import wait_for


@pytest.fixture
def two(new_daemon):
    import rig as rig_module
    rig = rig_module.Rig(links=2)
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n[link cap1]\nrole = tap\n").start()
    daemon.rig = rig
    yield daemon
    daemon.kill()
    for pid in daemon.engines().values():
        os.kill(pid, signal.SIGKILL)
    rig.close()


def send(daemon, link, count, seed):
    daemon.rig.send(frames.numbered(count, 150, seed=seed), link=link)


def running(daemon, job, lives):
    """Until the links have had so many engines, and run."""
    wait_for(lambda: all(link["state"] == "running" and link["lives"] == lives.get(link["name"], 1)
                         for link in daemon.job(job["id"])["links"]), lambda: daemon.job(job["id"]))


def whole(daemon, job, packets):
    job = daemon.wait_job(job["id"], "done")
    assert job["account"]["stored"] == packets and balanced(job["account"]), job
    assert all(balanced(link["account"]) for link in job["links"])
    assert job["outcome"] == "incomplete" and job["gaps"] and all(gap["from"] < gap["to"] for gap in job["gaps"]), job
    assert sum(segment["packets"] for segment in segments(daemon, job)) == packets
    return job


def test_shared_limit_is_given_back_when_an_engine_dies(two):
    job = start(two, links=["cap0", "cap1"], limits={"packets": 1000})
    send(two, "gen1", 200, 1)
    send(two, "gen0", 300, 2)
    kill_engine(two, "cap0")  # before it writes, if it is slow to: what is in memory is gone
    running(two, job, {"cap0": 2})
    send(two, "gen0", 600, 3)
    assert two.job(job["id"])["state"] == "running"
    send(two, "gen1", 1000, 4)
    job = whole(two, job, 1000)
    assert {gap["link"] for gap in job["gaps"]} == {"cap0"}


def test_link_that_had_stopped_at_the_limit_goes_on(two):
    """The daemon and one engine are dead while the other one finds the shared limit used up."""
    job = start(two, links=["cap0", "cap1"], limits={"packets": 500})
    pids = two.engines()
    two.rig.send(frames.numbered(300, 150), link="gen0", rate=100000)
    two.kill()
    os.kill(pids["cap0"], signal.SIGKILL)
    send(two, "gen1", 400, 2)  # 200 are left
    two.start()
    wait_for(lambda: two.job(job["id"])["state"] == "done" or two.job(job["id"])["links"][0]["lives"] == 2, "it is supervised")
    now = two.job(job["id"])
    if now["state"] != "done":  # else all was on disk already
        send(two, "gen0", 300, 3)
        send(two, "gen1", 300, 4)
    whole(two, job, 500)


def test_bytes_that_links_share_are_given_back_too(two):
    limit = 300_000
    job = start(two, links=["cap0", "cap1"], limits={"bytes": limit})
    send(two, "gen0", 500, 1)  # 83 kB
    kill_engine(two, "cap0")
    running(two, job, {"cap0": 2})
    for n in range(2, 5):
        send(two, "gen0", 1000, n)
    job = two.wait_job(job["id"], "done")
    assert limit - 400 <= job["account"]["bytes_raw"] <= limit and balanced(job["account"]), job


def test_packets_that_the_engine_had_are_dropped_in_the_account(probe):
    job = start(probe)
    pid = probe.engines()["cap0"]
    sent = 0
    while not probe.job(job["id"])["account"]["pending"]:  # in memory, and we know of it
        probe.rig.send(frames.numbered(50, 150, seed=sent))
        sent += 50
        assert sent < 5000
    os.kill(pid, signal.SIGKILL)
    wait_alive(probe, 2, job)
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    job = probe.wait_job(job["id"], "done")
    account = job["account"]
    assert balanced(account) and account["stored"] == sum(segment["packets"] for segment in segments(probe, job))
    assert account["seen"] <= sent and (account["stored"] == sent or account["dropped"]["engine_died"] > 0), job
