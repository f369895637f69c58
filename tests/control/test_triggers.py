# SPDX-License-Identifier: BSD-2-Clause
"""Proves what triggers of a ring promise beyond one at a time (test_rings.py): with a filter only what matches is kept, also of the time
before; triggers that overlap, or come in a storm, each get all of their time and cost the ring nothing of its past; digests arrive;
and what is under way when the daemon is killed is done afterwards."""
import hashlib
import threading
import time

import pytest

import frames
import pcapfile
from test_crash import kill_engine, wait_alive, wait_on_disk
from test_jobs import balanced, fetch, segments, start
from test_packets import packets, records, wait_for

SECOND = 1_000_000_000


def trigger(daemon, ring, before_s, after_s=0, **more):
    answer = daemon.ask("POST", f"/v1/rings/{ring['id']}/trigger",
                        body={"before_ns": int(before_s * SECOND), "after_ns": int(after_s * SECOND), **more})
    assert answer.status == 201, answer.body
    return answer.json()


def kept(daemon, job, folder):
    folder.mkdir()
    return sorted(record[2] for path in fetch(daemon, job, folder) for record in pcapfile.read(path)[1])


def mixed(count, start_at=0):
    """UDP frames, and a TCP frame after each."""
    return [frame for n, udp in enumerate(frames.numbered(count, 200, seed=start_at)) for frame in
            (udp, frames.ethernet(0x0800, frames.tcp(4, start_at + n, n, b"x" * 60)))]


def test_filter_keeps_only_what_matches_also_of_the_past(probe, tmp_path):
    ring = start(probe, ring={"duration_ns": 20 * SECOND})
    before, after = mixed(100, 1), mixed(100, 1000)
    probe.rig.send(before)
    saved = trigger(probe, ring, 15, 1, filter="tcp")
    assert saved["saved"]["filter"] == "tcp" and saved["state"] == "running"
    assert any("goes back only to" in reason for reason in saved["reasons"]), "the answer says that the ring is younger than 15 s"
    probe.rig.send(after)
    probe.wait_job(saved["id"], "running", "draining", "done")
    saved = probe.wait_job(saved["id"], "done")
    assert saved["account"]["stored"] == 200 and balanced(saved["account"]), saved
    assert saved["outcome"] == "incomplete" and len(saved["reasons"]) == 1
    listed = segments(probe, saved)
    assert all(segment["link"] == "cap0" and segment["sha256"] for segment in listed)
    assert kept(probe, saved, tmp_path / "saved") == sorted((before + after)[1::2])
    assert [record[2] for record in records(packets(probe, saved))] == (before + after)[1::2]
    wait_for(lambda: {path.name for path in probe.spool.iterdir()} == {ring["id"], saved["id"]}, "nothing else is left")
    assert probe.ask("DELETE", f"/v1/jobs/{saved['id']}").status == 204


def test_time_is_exact_with_a_filter(probe, tmp_path):
    ring = start(probe, ring={"duration_ns": 30 * SECOND})
    probe.rig.send(frames.numbered(50, 200))
    time.sleep(1.5)
    late = frames.numbered(50, 200, seed=9)
    probe.rig.send(late)
    saved = probe.wait_job(trigger(probe, ring, 1, filter="udp")["id"], "done")
    assert kept(probe, saved, tmp_path / "saved") == sorted(late)  # both lie in one file of the ring


@pytest.mark.parametrize("more", [{}, {"filter": "udp"}])
def test_stopped_trigger_has_what_came_until_then(probe, tmp_path, more):
    ring = start(probe, ring={"duration_ns": 30 * SECOND})
    sent = frames.numbered(50, 200)
    probe.rig.send(sent[:30])
    saved = trigger(probe, ring, 20, 3600, **more)
    probe.rig.send(sent[30:])
    assert probe.ask("POST", f"/v1/jobs/{saved['id']}/stop").json()["state"] in ("draining", "done")
    assert kept(probe, probe.wait_job(saved["id"], "done"), tmp_path / "saved") == sorted(sent)


def test_filter_that_matches_nothing_is_a_job_without_packets(probe):
    ring = start(probe, ring={"duration_ns": 20 * SECOND})
    probe.rig.send(frames.numbered(50, 200))
    saved = probe.wait_job(trigger(probe, ring, 10, filter="host 203.0.113.77")["id"], "done")
    assert saved["account"]["stored"] == 0 and records(packets(probe, saved)) == []


@pytest.mark.parametrize("body,code,pointer", [({"filter": "tcp and"}, "bad-filter", "/filter"), ({"filter": 7}, "bad-value", "/filter"),
                                               ({"filter": "host example.org"}, "bad-filter", "/filter")])
def test_filters_that_are_refused(probe, body, code, pointer):
    ring = start(probe, ring={"duration_ns": 20 * SECOND})
    answer = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body=body)
    assert answer.status == 422 and (answer.json()["code"], answer.json()["pointer"]) == (code, pointer), answer.body
    assert len(probe.get("/v1/jobs").json()["jobs"]) == 1


def test_overlapping_triggers_each_get_their_time_and_their_digests(probe, tmp_path):
    ring = start(probe, ring={"duration_ns": 30 * SECOND})
    sent = frames.numbered(400, 200)
    probe.rig.send(sent[:100])
    first = trigger(probe, ring, 20, 2)
    probe.rig.send(sent[100:200])
    second = trigger(probe, ring, 20, 2)
    filtered = trigger(probe, ring, 20, 1, filter="udp")
    probe.rig.send(sent[200:300])
    for n, (job, enough) in enumerate(((first, 300), (second, 300), (filtered, 300))):
        job = probe.wait_job(job["id"], "done")
        assert job["account"]["stored"] == enough and kept(probe, job, tmp_path / str(n)) == sorted(sent[:enough])
        listed = wait_for(lambda job=job: all(one["sha256"] for one in segments(probe, job)) and segments(probe, job), "the digests")
        for one in listed:
            body = probe.get(f"/v1/jobs/{job['id']}/segments/{one['name']}").body
            assert hashlib.sha256(body).hexdigest() == one["sha256"]
    assert probe.job(ring["id"])["state"] == "running"


def test_storm_of_triggers_costs_the_ring_none_of_its_past(probe, tmp_path):
    """More triggers than the engine keeps files."""
    ring = start(probe, ring={"duration_ns": 40 * SECOND})
    sent = frames.numbered(2400, 200)  # 75 bursts
    sender = threading.Thread(target=probe.rig.send, args=(sent,), kwargs={"rate": 400})
    sender.start()
    storm = 0
    while sender.is_alive():
        trigger(probe, ring, 35)
        storm += 1
        time.sleep(0.05)
    assert storm > 40
    job = probe.wait_job(trigger(probe, ring, 35)["id"], "done")
    assert kept(probe, job, tmp_path / "saved") == sorted(sent)


def test_killed_daemon_applies_the_filter_afterwards(probe, tmp_path):
    ring = start(probe, ring={"bytes": 64 << 20})
    sent = mixed(5000)
    probe.rig.send(sent)
    saved = trigger(probe, ring, 50, filter="tcp")
    wait_for(lambda: probe.job(saved["id"])["state"] != "running", "it is sifted")
    probe.kill()
    probe.start()
    job = probe.wait_job(saved["id"], "done")
    assert job["account"]["stored"] == 5000 and kept(probe, job, tmp_path / "saved") == sorted(sent[1::2])
    wait_for(lambda: {path.name for path in probe.spool.iterdir()} == {ring["id"], saved["id"]}, "nothing else is left")


def test_ring_whose_engine_died_gives_what_it_has_and_says_so(probe, tmp_path):
    ring = start(probe, ring={"duration_ns": 30 * SECOND})
    before, after = mixed(100, 1), mixed(100, 1000)
    probe.rig.send(before)
    wait_on_disk(probe, ring)
    kill_engine(probe)
    wait_alive(probe, 2, ring)
    probe.rig.send(after)
    for name, wanted, more in (("whole", before + after, {}), ("sifted", (before + after)[1::2], {"filter": "tcp"})):
        saved = probe.wait_job(trigger(probe, ring, 25, **more)["id"], "done")
        assert kept(probe, saved, tmp_path / name) == sorted(wanted)
        assert saved["outcome"] == "incomplete" and any("gap" in reason for reason in saved["reasons"]) and saved["gaps"], saved


def test_what_an_engine_left_when_it_died_grows_old_too(probe):
    ring = start(probe, ring={"duration_ns": 2 * SECOND})
    probe.rig.send(frames.numbered(50, 200))
    wait_on_disk(probe, ring)
    kill_engine(probe)
    wait_alive(probe, 2, ring)
    assert any(not segment["name"].startswith("r2.") for segment in segments(probe, ring))
    wait_for(lambda: not segments(probe, ring), "nothing of the first life is left")
