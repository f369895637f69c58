# SPDX-License-Identifier: BSD-2-Clause
"""Proves jobs over HTTP: what is accepted is in the queue and survives kill -9 of the hive, once; what is wrong is said all at once with
the field; links, quotas and forced filters of the groups hold; jobs are steered only in states in which that means something; lists page,
filter and sort; If-Match and Idempotency-Key keep two clients from treading on each other."""
import threading

import pytest

from hive import RIGHTS, wait_for

JOB = {"name": "quic", "links": ["tap-a"], "filter": "udp port 443", "limit_bytes": 10_000_000_000, "limit_duration_s": 86400}


@pytest.fixture
def links(hive):
    return {name: hive.link(name) for name in ("tap-a", "tap-b", "tap-c")}


def state_of(client, job, state):
    return wait_for(lambda: (seen := client.get(f"/jobs/{job}").json)["state"] == state and seen)


def test_a_job_is_queued_with_all_its_links(hive, links):
    bob = hive.person("bob", ["jobs"], all_links=True)
    made = bob.post("/jobs", {**JOB, "links": "*", "priority": "low", "start_mode": "together", "missing": "skip", "format": "pcapng"})
    assert made.status == 201, made.body
    assert made.headers["Location"] == f"/api/v1/jobs/{made.json['id']}"
    assert {part["link_name"] for part in made.json["links"]} == set(links)
    job = bob.get(f"/jobs/{made.json['id']}").json
    for field, value in (("filter", "udp port 443"), ("limit_bytes", 10_000_000_000), ("limit_duration_s", 86400), ("priority", "low"),
                         ("start_mode", "together"), ("missing", "skip"), ("format", "pcapng"), ("owner_id", bob.id), ("state", "queued")):
        assert job[field] == value


@pytest.mark.parametrize("change,pointers", [
    ({"name": ""}, {"/name"}),
    ({"links": []}, {"/links"}),
    ({"links": ["no-such"]}, {"/links"}),
    ({"links": ["tap-a", "tap-a"]}, {"/links"}),
    ({"links": "tap-a"}, {"/links"}),
    ({"links": [1]}, {"/links"}),
    ({"limit_bytes": 0, "limit_duration_s": 0}, {"/limit_duration_s"}),
    ({"limit_bytes": -1, "limit_pkts": -1, "snaplen": 10**9}, {"/limit_bytes", "/limit_pkts", "/snaplen"}),
    ({"limit_bytes": "10GB"}, {"/limit_bytes"}),
    ({"priority": "urgent", "missing": 3, "format": None}, {"/priority", "/missing"}),
    ({"format": "csv"}, {"/format"}),
    ({"start": "tomorrow"}, {"/start"}),
    ({"start": "2026-02-31T00:00:00Z"}, {"/start"}),
    ({"start": "2020-01-01T00:00:00Z"}, {"/start"}),
    ({"state": "done", "owner_id": 1, "kept_pkts": 5, "colour": "red"}, {"/state", "/owner_id", "/kept_pkts", "/colour"}),
    ({"script_name": "anonymise"}, {"/script_name"}),
])
def test_what_is_wrong_is_said_at_once(hive, links, change, pointers):
    answer = hive.admin.post("/jobs", {**JOB, **change})
    assert answer.status == 422, answer.body
    assert answer.pointers == pointers
    assert hive.admin.get("/jobs").json["items"] == []


def test_links_of_the_groups_hold(hive, links):
    bob = hive.person("bob", ["jobs"])
    assert bob.post("/jobs", JOB).status == 422
    assert bob.post("/jobs", {**JOB, "links": "*"}).status == 422
    assert bob.get("/links").json["items"] == []
    assert hive.admin.put(f"/groups/{bob.group}/links/{links['tap-a']}").status == 204
    assert [link["name"] for link in bob.get("/links").json["items"]] == ["tap-a"]
    assert bob.post("/jobs", JOB).status == 201
    star = bob.post("/jobs", {**JOB, "links": "*"})
    assert [part["link_name"] for part in star.json["links"]] == ["tap-a"]
    refused = bob.post("/jobs", {**JOB, "links": ["tap-a", "tap-b"]})
    assert refused.status == 422 and "tap-b" in refused.json["detail"]
    assert hive.admin.delete(f"/groups/{bob.group}/links/{links['tap-a']}").status == 204
    assert bob.post("/jobs", JOB).status == 422


def test_quotas_of_the_groups_hold(hive, links):
    bob = hive.person("bob", ["jobs"], all_links=True, quota_jobs=2, quota_duration_s=3600, quota_bytes=2000, quota_priority="normal")
    answer = bob.post("/jobs", {**JOB, "priority": "high"})
    assert answer.status == 422 and answer.pointers == {"/priority", "/limit_duration_s", "/limit_bytes"}
    assert bob.post("/jobs", {"name": "x", "links": ["tap-a"], "limit_pkts": 5}).pointers == {"/limit_duration_s", "/limit_bytes"}
    small = {**JOB, "limit_bytes": 1000, "limit_duration_s": 3600}
    first = bob.post("/jobs", small)
    assert first.status == 201 and bob.post("/jobs", small).status == 201
    assert bob.post("/jobs", small).status == 422
    # what unfinished jobs may yet store counts, too
    assert bob.post("/jobs", {**small, "limit_bytes": 1}).pointers >= {"/limit_bytes"}
    assert bob.post(f"/jobs/{first.json['id']}/cancel").status == 200
    assert bob.post("/jobs", small).status == 201
    # of two groups the more generous counts
    more = hive.admin.post("/groups", {"name": "more", "quota_priority": "critical", "all_links": True}).json["id"]
    assert hive.admin.put(f"/groups/{more}/members/{bob.id}").status == 204
    assert bob.post("/jobs", {**JOB, "priority": "critical"}).status == 201


def test_forced_filters_cannot_be_left_by_another_group(hive, links):
    bob = hive.person("bob", ["jobs"], forced_filter="net 192.0.2.0/24")
    other = hive.admin.post("/groups", {"name": "other", "rights": ["jobs"]}).json["id"]
    assert hive.admin.put(f"/groups/{other}/members/{bob.id}").status == 204
    assert hive.admin.put(f"/groups/{bob.group}/links/{links['tap-a']}").status == 204
    assert hive.admin.put(f"/groups/{other}/links/{links['tap-b']}").status == 204
    assert bob.post("/jobs", JOB).json["forced_filter"] == "(net 192.0.2.0/24)"
    assert bob.post("/jobs", {**JOB, "links": ["tap-b"]}).json["forced_filter"] is None
    answer = bob.post("/jobs", {**JOB, "links": ["tap-a", "tap-b"]})
    assert answer.status == 422 and "another filter" in answer.json["detail"]


def test_jobs_are_steered_where_it_means_something(hive, links):
    job = hive.admin.post("/jobs", JOB).json["id"]
    assert hive.admin.post(f"/jobs/{job}/resume").status == 409
    assert hive.admin.post(f"/jobs/{job}/pause").json["state"] == "paused"
    assert hive.admin.post(f"/jobs/{job}/pause").status == 409
    assert hive.admin.post(f"/jobs/{job}/resume").json["state"] == "queued"
    assert hive.admin.post(f"/jobs/{job}/archive").status == 409
    ended = hive.admin.post(f"/jobs/{job}/cancel").json
    assert (ended["state"], ended["outcome"], ended["finish_by"]) == ("cancelled", "incomplete", "root")
    for action in ("stop", "cancel", "pause", "resume", "restore"):
        answer = hive.admin.post(f"/jobs/{job}/{action}")
        assert answer.status == 409 and "cancelled" in answer.json["detail"]
    assert hive.admin.post(f"/jobs/{job}/archive").json["archived"]
    assert hive.admin.post(f"/jobs/{job}/restore").json["archived"] is None
    events = [event["text"] for event in hive.admin.get(f"/jobs/{job}/events").json["items"]]
    assert "paused by root" in events and "cancelled, incomplete" in events


def test_a_missing_probe_skips_or_fails_or_is_waited_for(make_hive):
    """The probe is never there."""
    hive = make_hive("[jobs]\nmissing_after = 2s\n")
    hive.link("tap-a")
    ids = {way: hive.admin.post("/jobs", {**JOB, "missing": way}).json["id"] for way in ("wait", "skip", "fail")}
    for way in ("skip", "fail"):
        job = wait_for(lambda way=way: (seen := hive.admin.get(f"/jobs/{ids[way]}").json)["state"] == "failed" and seen, 45)
        assert job["outcome"] == "incomplete" and "could not be reached" in job["reasons"]
        assert job["links"][0]["result"] == "skipped"
    assert hive.admin.get(f"/jobs/{ids['wait']}").json["state"] == "queued"


def test_removing_a_probe_ends_what_waits_for_it(hive, links):
    job = hive.admin.post("/jobs", JOB).json["id"]
    assert hive.admin.delete(f"/links/{links['tap-a']}").status == 422
    probe = hive.admin.get("/probes").json["items"][0]["id"]
    assert hive.admin.delete(f"/probes/{probe}").status == 204
    assert "removed" in state_of(hive.admin, job, "failed")["reasons"]
    assert hive.admin.get("/links").json["items"] == []


def test_what_was_accepted_survives_kill_9(hive, links):
    """Jobs are made from four clients while the hive is killed; each that was answered with 201 is there afterwards, exactly once."""
    token = hive.admin.post("/tokens", {"name": "t", "rights": ["jobs"], "expires": "2027-06-01T00:00:00Z"}).json["token"]
    accepted, lock, enough = [], threading.Lock(), threading.Event()

    def make(number):
        import hive as hive_module
        client = hive_module.Client(hive, token=token)
        for i in range(1000):
            try:
                answer = client.post("/jobs", {**JOB, "name": f"{number}-{i}"})
            except (OSError, ValueError, AssertionError, Exception):  # the hive is gone in the middle of an answer
                return
            assert answer.status == 201
            with lock:
                accepted.append(answer.json["id"])
                if len(accepted) >= 30:
                    enough.set()

    threads = [threading.Thread(target=make, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    assert enough.wait(30)
    hive.kill()
    for thread in threads:
        thread.join()
    hive.start()
    there, path = [], "/jobs?limit=50"
    while path:
        page = hive.admin.get(path).json
        there += page["items"]
        path = page["next"] and f"/jobs?limit=50&cursor={page['next']}"
    ids = [job["id"] for job in there]
    assert len(ids) == len(set(ids)) and set(accepted) <= set(ids)
    assert len({job["name"] for job in there}) == len(there)
    assert {job["state"] for job in there} == {"queued"}
    assert hive.admin.post(f"/jobs/{accepted[0]}/cancel").json["state"] == "cancelled"
    hive.kill()
    hive.start()
    assert hive.admin.get(f"/jobs/{accepted[0]}").json["state"] == "cancelled"


def test_a_key_makes_one_job(hive, links):
    head = {"Idempotency-Key": "alarm-17"}
    first = hive.admin.post("/jobs", JOB, headers=head)
    again = hive.admin.post("/jobs", JOB, headers=head)
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"] and len(hive.admin.get("/jobs").json["items"]) == 1
    other = hive.admin.post("/jobs", {**JOB, "name": "other"}, headers=head)
    assert other.status == 422 and other.pointers == {"/Idempotency-Key"}
    bob = hive.person("bob", RIGHTS, all_links=True)
    assert bob.post("/jobs", JOB, headers=head).status == 201


def test_changes_need_to_know_what_they_change(hive, links):
    path = f"/links/{links['tap-a']}"
    before = hive.admin.get(path).headers["ETag"]
    assert hive.admin.call("PATCH", "/api/v1" + path, {"max_jobs": 1}).status == 428
    assert hive.admin.patch(path, {"max_jobs": 1}, etag=before).status == 200
    assert hive.admin.patch(path, {"max_jobs": 2}, etag=before).status == 412
    assert hive.admin.patch(path, {"max_jobs": 2}, etag="W/x").status == 412
    assert hive.admin.get(path).json["max_jobs"] == 1


def test_lists_filter_sort_and_refuse_what_they_do_not_know(hive, links):
    for name in ("delta", "alpha", "charlie", "bravo"):
        assert hive.admin.post("/jobs", {**JOB, "name": name, "priority": "high" if name < "b" else "low"}).status == 201
    names = lambda query: [job["name"] for job in hive.admin.get(f"/jobs?{query}").json["items"]]
    assert names("sort=name") == ["alpha", "bravo", "charlie", "delta"]
    assert names("sort=-name&limit=2") == ["delta", "charlie"]
    assert names("priority=high") == ["alpha"]
    assert names("name.has=HA&sort=name") == ["alpha", "charlie"]
    assert names("state=running") == []
    assert names("created.ge=2020-01-01T00:00:00Z&created.le=2021-01-01T00:00:00Z") == []
    for query in ("colour=red", "sort=filter", "limit=0", "limit=1001", "limit=x", "state=odd", "created.ge=now", "cursor=x",
                  "name.ge.ge=x", "state=queued&state=done"):
        assert hive.admin.get(f"/jobs?{query}").status in (400, 422), query
