# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the spool keeps its quota and its reserve by removing what was collected, the oldest first; that nothing else is ever removed
but what a ring would throw away anyway; that marks survive a restart, accounts survive a removal, and that a spool which cannot be
emptied says so and takes no new jobs."""
import hashlib
import subprocess

import pytest

import frames
from test_jobs import balanced, read_events, segments, start
from test_live import Events
from test_packets import wait_for

MIB = 1 << 20


def quota(new_daemon, rig, size):
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
    daemon.config.write_text(daemon.config.read_text().replace("reserve =", f"quota = {size}\nreserve ="))
    daemon.rig = rig
    return daemon.start()


def captured(daemon, packets=2000):
    """A job that has ended, with one segment of 1,400 bytes for each packet, and its digest."""
    job = start(daemon, limits={"packets": packets})
    daemon.rig.send(frames.numbered(packets, 1400, seed=packets))
    job = daemon.wait_job(job["id"], "done")
    segment, = wait_for(lambda: (found := segments(daemon, job)) and all(one["sha256"] for one in found) and found, "the digest")
    return job, segment


def mark(daemon, job, segment, digest=None):
    path = f"/v1/jobs/{job['id']}/segments/{segment['name']}/collected"
    return daemon.ask("POST", path, body={"sha256": digest or segment["sha256"]})


def figures(daemon):
    lines = [line.split() for line in daemon.get("/metrics").body.decode().splitlines() if line.startswith("skep_spool_")]
    return {name: float(value) for name, value in lines}


def heard(events, name):
    more = events.peer.recv(65536)
    assert more, "the daemon has gone"
    events.text += more
    return [data for this, data, _ in read_events(events.text) if this == name]


def test_mark_needs_the_digest_that_was_verified_and_survives_a_restart(probe):
    job, segment = captured(probe, 100)
    assert segment["collected"] is False
    body = probe.get(f"/v1/jobs/{job['id']}/segments/{segment['name']}").body
    other = mark(probe, job, segment, hashlib.sha256(body + b"x").hexdigest())
    assert other.status == 409 and other.json()["code"] == "other-digest" and not segments(probe, job)[0]["collected"]
    assert mark(probe, job, segment, "abc").status == 422
    assert mark(probe, job, {"name": "x.pcap.zst"}, "0" * 64).status == 404
    for _ in range(2):
        assert mark(probe, job, segment, hashlib.sha256(body).hexdigest()).status == 204
    assert segments(probe, job)[0]["collected"] is True
    probe.kill()
    probe.start()
    assert segments(probe, job)[0]["collected"] is True
    assert probe.ask("DELETE", f"/v1/jobs/{job['id']}/segments/{segment['name']}").status == 204
    assert segments(probe, job) == [] and probe.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    assert list(probe.spool.iterdir()) == []


def test_oldest_collected_go_first_and_the_rest_stays(new_daemon, rig):
    daemon = quota(new_daemon, rig, "7MiB")
    events = Events(daemon)
    jobs = [captured(daemon) for _ in range(2)]
    for job, segment in reversed(jobs):  # the age of the segments counts, not that of the marks
        assert mark(daemon, job, segment).status == 204
    jobs.append(captured(daemon))  # 2.8 MB each
    wait_for(lambda: figures(daemon)["skep_spool_removed_segments_total"], "a removal")
    assert [len(segments(daemon, job)) for job, _ in jobs] == [0, 1, 1]
    removed = wait_for(lambda: heard(events, "removed"), "the event")[0]
    assert removed["id"] == jobs[0][0]["id"] and removed["segment"] == jobs[0][1]["name"] and removed["collected"]
    now = figures(daemon)
    assert now["skep_spool_full"] == 0 and now["skep_spool_removed_bytes_total"] > 2 * MIB and now["skep_spool_used_bytes"] < 7 * MIB, now
    assert now["skep_spool_collected_bytes"] > 2 * MIB
    # One that was removed still counts for its job, also when it is read again from disk.
    daemon.kill()
    daemon.start()
    job = daemon.job(jobs[0][0]["id"])
    assert job["account"]["stored"] == 2000 and balanced(job["account"]) and job["outcome"] == "complete"


def test_what_was_not_collected_is_never_removed(new_daemon, rig):
    daemon = quota(new_daemon, rig, "5MiB")
    events = Events(daemon)
    jobs = [captured(daemon) for _ in range(2)]
    wait_for(lambda: figures(daemon)["skep_spool_full"], "it says that it is full")
    assert [len(segments(daemon, job)) for job, _ in jobs] == [1, 1]
    assert wait_for(lambda: heard(events, "alarm"), "the alarm")[0]["code"] == "spool-full"
    refused = daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"]})
    assert refused.status == 507 and refused.json()["code"] == "quota"
    assert daemon.get("/v1/probe").json()["disk"]["full"] is True
    daemon.kill()
    daemon.start()
    wait_for(lambda: figures(daemon)["skep_spool_full"], "it is still full")
    mark(daemon, *jobs[1])
    wait_for(lambda: not figures(daemon)["skep_spool_full"], "room again")
    assert [len(segments(daemon, job)) for job, _ in jobs] == [1, 0]
    assert captured(daemon, 10)[0]["outcome"] == "complete"


def test_rings_give_way_but_not_what_was_saved_of_them(new_daemon, rig):
    daemon = quota(new_daemon, rig, "6MiB")
    ring = start(daemon, ring={"bytes": 64 * MIB})
    for n in range(2):
        rig.send(frames.numbered(1000, 1400, seed=n))
        assert daemon.ask("POST", f"/v1/jobs/{ring['id']}/rotate").status == 204
    saved = daemon.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={"before_ns": 10**12, "after_ns": 0}).json()
    saved = daemon.wait_job(saved["id"], "done")
    assert saved["account"]["stored"] == 2000
    for n in range(2, 5):
        rig.send(frames.numbered(1000, 1400, seed=n))
        assert daemon.ask("POST", f"/v1/jobs/{ring['id']}/rotate").status == 204
    wait_for(lambda: figures(daemon)["skep_spool_removed_segments_total"], "a removal")
    assert len(segments(daemon, saved)) >= 2 and sum(one["packets"] for one in segments(daemon, saved)) == 2000
    assert daemon.job(ring["id"])["state"] == "running" and figures(daemon)["skep_spool_used_bytes"] < 6 * MIB


@pytest.fixture
def small_disk(new_daemon, rig):
    """A probe whose spool is a file system of 64 MiB."""
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
    daemon.spool.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "skep-test", daemon.spool], capture_output=True, text=True,
                          check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    daemon.rig = rig
    yield daemon.start()
    daemon.kill()
    for pid in daemon.engines().values():
        subprocess.run(["kill", "-9", str(pid)], check=False)
    subprocess.run(["umount", "-l", daemon.spool], check=True)


def test_reserve_is_kept_by_removing_what_was_collected(small_disk):
    daemon = small_disk  # 16 MiB are the reserve: it begins to free below 24
    jobs = []
    for _ in range(6):  # 10.5 MB each: they do not all fit
        jobs.append(captured(daemon, 7500))
        mark(daemon, *jobs[-1])
    wait_for(lambda: figures(daemon)["skep_spool_free_bytes"] >= 24 * MIB, "space")
    left = [len(segments(daemon, job)) for job, _ in jobs]
    assert left == sorted(left) and left[0] == 0 and left[-1] == 1, left
    assert all(daemon.job(job["id"])["outcome"] == "complete" for job, _ in jobs)
