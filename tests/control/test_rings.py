# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a ring keeps the last of a link and no more, and that a trigger saves the packets from before and after it, out of the ring's
reach, and says when the ring did not go back far enough."""
import time

import pytest

import frames
import pcapfile
from test_jobs import balanced, fetch, segments, start

SECOND = 1_000_000_000


def seen_numbers(daemon, job, folder):
    """The frames of the job's segments, as a set of bytes."""
    folder.mkdir(exist_ok=True)
    return [record[2] for path in fetch(daemon, job, folder) for record in pcapfile.read(path)[1]]


def test_trigger_saves_what_was_before_and_what_comes_after(probe, tmp_path):
    ring = start(probe, ring={"duration_ns": 4 * SECOND})
    assert ring["kind"] == "ring" and ring["ring"] == {"bytes": None, "duration_ns": 4 * SECOND}
    sent = frames.numbered(300, 200)
    probe.rig.send(sent[:100])
    time.sleep(0.5)
    began = time.monotonic()
    answer = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={"before_ns": 2 * SECOND, "after_ns": SECOND})
    assert answer.status == 201 and time.monotonic() - began < 2, answer.body
    saved = answer.json()
    assert saved["kind"] == "saved" and saved["saved"]["ring"] == ring["id"] and saved["state"] == "running"
    assert saved["account"]["stored"] == 100  # at once: what was before
    probe.rig.send(sent[100:200])
    saved = probe.wait_job(saved["id"], "done")
    assert saved["account"]["stored"] == 200 and balanced(saved["account"])
    probe.rig.send(sent[200:])
    time.sleep(5)  # the ring has thrown the first ones away
    assert sorted(seen_numbers(probe, saved, tmp_path / "saved")) == sorted(sent[:200])
    assert probe.job(ring["id"])["state"] == "running"


def test_ring_throws_away_what_is_too_old(probe):
    ring = start(probe, ring={"duration_ns": SECOND})
    sizes = []
    for n in range(25):
        probe.rig.send(frames.numbered(20, 200, seed=n + 1))
        time.sleep(0.2)
        sizes.append(sum(segment["packets"] for segment in segments(probe, ring)))
    assert 60 <= max(sizes) <= 20 * 15 and max(sizes[-5:]) <= 1.6 * max(sizes[10:15]), sizes


def test_ring_that_does_not_go_back_far_enough_says_so(probe):
    ring = start(probe, ring={"duration_ns": 10 * SECOND})
    probe.rig.send(frames.numbered(10, 200))
    time.sleep(0.3)
    saved = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={"before_ns": 3600 * SECOND, "after_ns": 0}).json()
    saved = probe.wait_job(saved["id"], "done")
    assert saved["outcome"] == "incomplete" and "goes back only to" in saved["reasons"][0] and saved["account"]["stored"] == 10


def test_saved_job_survives_the_daemon_and_the_ring(probe, tmp_path):
    ring = start(probe, ring={"bytes": 16 << 20})
    sent = frames.numbered(50, 200)
    probe.rig.send(sent)
    time.sleep(0.3)
    saved = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={"before_ns": SECOND * 5, "after_ns": 2 * SECOND}).json()
    probe.kill()
    probe.start()
    saved = probe.wait_job(saved["id"], "done")
    assert saved["account"]["stored"] == 50
    probe.ask("POST", f"/v1/jobs/{ring['id']}/stop")
    probe.wait_job(ring["id"], "done")
    assert probe.ask("DELETE", f"/v1/jobs/{ring['id']}").status == 204
    assert sorted(seen_numbers(probe, saved, tmp_path / "saved")) == sorted(sent)


def test_a_name_makes_one_job_of_a_ring(probe):
    ring, other = start(probe, ring={"duration_ns": 10 * SECOND}), start(probe, ring={"duration_ns": 10 * SECOND})
    body = {"before_ns": SECOND, "name": "alarm-7"}
    first = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body=body)
    again = probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={**body, "after_ns": SECOND})
    assert (first.status, again.status) == (201, 200) and first.json()["id"] == again.json()["id"] and first.json()["name"] == "alarm-7"
    probe.kill()
    probe.start()
    assert probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body=body).json()["id"] == first.json()["id"]
    assert probe.ask("POST", f"/v1/rings/{other['id']}/trigger", body=body).status == 201
    for name in ("", 5, "x" * 121):
        assert probe.ask("POST", f"/v1/rings/{ring['id']}/trigger", body={"name": name}).status == 422


@pytest.mark.parametrize("ring", [{}, {"bytes": 1}, {"duration_ns": 5}, {"bytes": 1 << 30, "duration_ns": SECOND}, {"years": 1}, 7])
def test_rings_that_are_refused(probe, ring):
    answer = probe.ask("POST", "/v1/jobs", body={"links": ["cap0"], "ring": ring})
    assert answer.status == 422 and answer.json()["pointer"] == "/ring"


def test_triggers_that_are_refused(probe):
    job = start(probe)
    path = f"/v1/rings/{job['id']}/trigger"
    assert probe.ask("POST", path, body={}).status == 409
    assert probe.ask("POST", path, body={"before_ns": -1}).status == 422
    assert probe.ask("POST", path, body={"colour": "red"}).status == 422
    assert probe.ask("POST", "/v1/rings/j000000000000000000/trigger", body={}).status == 404
