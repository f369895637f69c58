# SPDX-License-Identifier: BSD-2-Clause
"""Proves clones, templates and schedules over HTTP: what is made of them is the job that was meant, with the rights and quotas of now; a
run of a schedule makes one job, also when the hive is killed; runs that were missed while it was down follow the rule that was asked for;
a job with an end is over then."""
import sqlite3
import time
from datetime import datetime, timedelta, timezone

import pytest

from hive import RIGHTS, wait_for

JOB = {"name": "quic", "links": ["tap-a", "tap-b"], "filter": "udp port 443", "limit_bytes": 10_000, "limit_duration_s": 600,
       "priority": "low", "start_mode": "together", "missing": "skip", "snaplen": 96, "sample_every": 10, "format": "pcapng"}


@pytest.fixture
def links(hive):
    return {name: hive.link(name) for name in ("tap-a", "tap-b")}


def stamp(seconds):
    return (datetime.now(timezone.utc) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def same(job, other):
    return all(job[field] == other[field] for field in JOB if field not in ("links", "name")) and \
        [part["link_name"] for part in job["links"]] == [part["link_name"] for part in other["links"]]


def test_a_clone_is_the_same_but_for_what_was_asked(hive, links):
    first = hive.admin.post("/jobs", {**JOB, "start": stamp(3600)}).json
    clone = hive.admin.post(f"/jobs/{first['id']}/clone")
    assert clone.status == 201, clone.body
    assert clone.json["cloned_from"] == first["id"] and clone.json["name"] == "quic" and same(clone.json, first)
    assert clone.json["start"] is None and clone.json["state"] == "queued"
    other = hive.admin.post(f"/jobs/{first['id']}/clone", {"name": "again", "links": ["tap-b"], "filter": None, "priority": "high"})
    assert (other.json["name"], other.json["filter"], other.json["priority"]) == ("again", None, "high")
    assert [part["link_name"] for part in other.json["links"]] == ["tap-b"] and other.json["limit_bytes"] == 10_000
    assert hive.admin.post(f"/jobs/{first['id']}/clone", {"colour": "red"}).pointers == {"/colour"}
    head = {"Idempotency-Key": "k"}
    ids = {hive.admin.post(f"/jobs/{first['id']}/clone", headers=head).json["id"] for _ in range(2)}
    assert len(ids) == 1
    assert hive.admin.post(f"/jobs/{clone.json['id']}/clone", headers=head).status == 422  # the key was another job's
    bob = hive.person("bob", ["jobs"], all_links=True)
    assert bob.post(f"/jobs/{first['id']}/clone").status == 404
    looker = hive.person("looker", ["jobs", "jobs-all"])
    assert looker.post(f"/jobs/{first['id']}/clone").pointers == {"/links"}  # sees the job, may not use its links


def test_a_template_makes_jobs(hive, links):
    bob, eve = hive.person("bob", ["jobs"], all_links=True), hive.person("eve", ["jobs"], all_links=True)
    made = bob.post("/templates", {"name": "quic", "job": JOB})
    assert made.status == 201 and made.json["job"] == JOB, made.body
    path = f"/templates/{made.json['id']}"
    job = bob.post(f"{path}/jobs", {"name": "today", "limit_bytes": 5})
    assert job.status == 201 and (job.json["name"], job.json["limit_bytes"], job.json["owner_id"]) == ("today", 5, bob.id), job.body
    assert same({**job.json, "limit_bytes": 10_000}, hive.admin.post("/jobs", JOB).json)
    assert eve.post(f"{path}/jobs").status == 404 and eve.get(path).status == 404
    assert bob.patch(path, {"shared": True}).status == 200
    assert eve.post(f"{path}/jobs").json["owner_id"] == eve.id
    assert eve.patch(path, {"shared": False}).status == 403 and eve.delete(path).status == 403
    assert bob.post("/templates", {"name": "quic", "job": JOB}).status == 409
    for wrong, pointer in (({"filter": 5}, "/job/filter"), ({"colour": "red", "links": []}, "/job/colour"), ({}, "/job/links")):
        answer = bob.post("/templates", {"name": "x", "job": wrong})
        assert answer.status == 422 and pointer in answer.pointers, answer.body
    assert bob.post("/templates", {"name": "x", "job": "udp"}).pointers == {"/job"}
    assert bob.post("/templates", {"name": "x"}).pointers == {"/job"}
    assert bob.delete(path).status == 204


def set_next(hive, schedule, seconds):
    """As if the run were due that many seconds from now."""
    with sqlite3.connect(hive.state / "hive.db", timeout=20) as db:
        db.execute("UPDATE schedules SET next_ns = ?, version = version + 1 WHERE id = ?", (time.time_ns() + int(seconds * 1e9), schedule))
    db.close()


def schedule(hive, who=None, **fields):
    made = (who or hive.admin).post("/schedules", {"name": "mornings", "cron": "0 8 * * 1-5", "job": JOB, **fields})
    assert made.status == 201, made.body
    return made.json["id"]


def runs_of(hive, one):
    return hive.admin.get(f"/jobs?schedule_id={one}&sort=id").json["items"]


def test_a_run_makes_one_job_within_its_window(hive, links):
    one = schedule(hive, window_s=300, repeat=2)
    seen = hive.admin.get(f"/schedules/{one}").json
    following = datetime.fromisoformat(seen["next"].replace("Z", "+00:00").replace(".000000000", ""))
    assert following > datetime.now(timezone.utc) and (following.hour, following.minute, following.weekday() < 5) == (8, 0, True)
    set_next(hive, one, 0.5)
    wait_for(lambda: hive.admin.get(f"/schedules/{one}").json["runs"] == 1)
    hive.kill()
    hive.start()
    time.sleep(1)
    jobs = runs_of(hive, one)
    assert len(jobs) == 1 and jobs[0]["name"].startswith("quic 20") and jobs[0]["limit_duration_s"] == 300 and jobs[0]["end"]
    after = hive.admin.get(f"/schedules/{one}").json
    assert (after["last_job_id"], after["missed"], after["next"]) == (jobs[0]["id"], 0, seen["next"])
    set_next(hive, one, 0)
    wait_for(lambda: hive.admin.get(f"/schedules/{one}").json["next"] is None)
    assert len(runs_of(hive, one)) == 2  # and that was the last


def test_runs_of_a_time_when_the_hive_was_down(hive, links):
    ids = {rule: schedule(hive, name=rule, cron="*/10 * * * *", missed_runs=rule, window_s=1200) for rule in ("skip", "last")}
    over = schedule(hive, name="over", cron="0 0 1 1 *", missed_runs="last", window_s=60)
    hive.stop()
    for one in ids.values():
        set_next(hive, one, -3000)
    set_next(hive, over, -3000)
    hive.start()
    wait_for(lambda: hive.admin.get(f"/schedules/{over}").json["missed"] == 1)
    skipped, last = [wait_for(lambda one=one: (seen := hive.admin.get(f"/schedules/{one}").json)["missed"] and seen)
                     for one in ids.values()]
    # the last of the calendar's times may be less than a minute ago: then it is not missed but late
    assert len(runs_of(hive, ids["skip"])) == skipped["runs"] <= 1 and skipped["missed"] + skipped["runs"] in (5, 6)
    jobs = runs_of(hive, ids["last"])
    assert len(jobs) == last["runs"] == 1 and last["missed"] in (4, 5) and "not running" in last["reason"]
    assert runs_of(hive, over) == [] and hive.admin.get(f"/schedules/{over}").json["next"]


def test_a_run_has_the_rights_of_that_moment(hive, links):
    bob = hive.person("bob", ["jobs"], all_links=True, quota_duration_s=600, quota_bytes=10_000)
    one = schedule(hive, bob)
    assert hive.admin.patch(f"/groups/{bob.group}", {"quota_duration_s": 60}).status == 200
    set_next(hive, one, 0)
    seen = wait_for(lambda: (seen := hive.admin.get(f"/schedules/{one}").json)["missed"] == 1 and seen)
    assert "your groups allow at most 60 s" in seen["reason"] and runs_of(hive, one) == []
    assert hive.admin.patch(f"/users/{bob.id}", {"disabled": True}).status == 200
    set_next(hive, one, 0)
    wait_for(lambda: "disabled" in hive.admin.get(f"/schedules/{one}").json["reason"])
    assert hive.admin.get(f"/schedules/{one}").json["next"]


def test_schedules_that_are_refused_changed_and_paused(hive, links):
    base = {"name": "s", "cron": "0 8 * * *", "job": JOB}
    for change, pointer in (({"cron": "0 25 * * *"}, "/cron"), ({"cron": "0 0 30 2 *"}, "/cron"),
                            ({"job": {**JOB, "links": 5}}, "/job/links"),
                            ({"window_s": -1}, "/window_s"), ({"repeat": -1}, "/repeat"), ({"name": ""}, "/name"),
                            ({"from": stamp(100), "until": stamp(50)}, "/until"), ({"missed_runs": "all"}, "/missed_runs"),
                            ({"until": stamp(1)}, "/cron")):
        answer = hive.admin.post("/schedules", {**base, **change})
        assert answer.status == 422 and pointer in answer.pointers, answer.body
    wrong = hive.admin.post("/schedules", {**base, "cron": "0 25 * * *"}).json
    assert wrong["column"] == 3 and wrong["hint"]
    one = schedule(hive)
    before = hive.admin.get(f"/schedules/{one}").json["next"]
    assert hive.admin.patch(f"/schedules/{one}", {"cron": "0 9 * * 1-5"}).json["next"] != before
    assert hive.admin.patch(f"/schedules/{one}", {"disabled": True}).status == 200
    set_next(hive, one, -10)
    time.sleep(1)
    assert runs_of(hive, one) == []
    assert hive.admin.patch(f"/schedules/{one}", {"disabled": False}).json["next"] > stamp(0)
    boss = hive.person("boss", RIGHTS, all_links=True)
    eve = hive.person("eve", ["jobs"])
    assert eve.get(f"/schedules/{one}").status == 404
    assert boss.patch(f"/schedules/{one}", {"disabled": True}).status == 200  # may stop it, may not say what runs as somebody else
    assert boss.patch(f"/schedules/{one}", {"job": {**JOB, "filter": "tcp"}}).status == 403
    assert hive.admin.delete(f"/schedules/{one}").status == 204


def test_a_job_is_over_at_its_end(hive, links):
    job = hive.admin.post("/jobs", {"name": "short", "links": ["tap-a"], "end": stamp(3)})
    assert job.status == 201, job.body  # an end is limit enough
    ended = wait_for(lambda: (seen := hive.admin.get(f"/jobs/{job.json['id']}").json)["state"] == "failed" and seen, 20)
    assert "its time was over before it captured anything" in ended["reasons"] and ended["finish"] == "limit"
    assert hive.admin.post("/jobs", {"name": "x", "links": ["tap-a"], "end": stamp(-5)}).pointers == {"/end"}
    assert hive.admin.post("/jobs", {"name": "x", "links": ["tap-a"], "start": stamp(60), "end": stamp(50)}).pointers == {"/end"}
