# SPDX-License-Identifier: BSD-2-Clause
"""Proves that the dataset of a trigger is what it asked for, over two probes: the time and the filter, to the packet; and that quotas hold
for rings and triggers as for other jobs."""
import time

from hive import Client
from test_limits import look, merged, numbered, running, two, until, wait_for  # noqa: F401 (two is a fixture)


def test_a_trigger_takes_what_it_asks_for_and_no_more(two, tmp_path):
    """The ring keeps whole files; the dataset is the time and the filter of the trigger."""
    ring = two.post("/rings", {"name": "recorder", "links": "*", "filter": "udp", "ring_duration_s": 60}).json["id"]
    running(two, ring)
    two.world.send("A", numbered(20, 0))
    wait_for(lambda: look(two, ring)["stored_pkts"] == 20, 30)
    time.sleep(4)  # more than the second or two that rounding adds
    near, began = numbered(30, 5000), time.monotonic()
    two.world.send("B", near)
    wait_for(lambda: look(two, ring)["stored_pkts"] == 50, 30)
    ports = " or ".join(f"src port {10000 + 5000 + n}" for n in range(7))
    some = two.post(f"/rings/{ring}/trigger", {"before_s": int(time.monotonic() - began) + 2, "filter": ports,
                                                "name": "some"}).json["id"]
    every = two.post(f"/rings/{ring}/trigger", {"before_s": 50, "name": "every"}).json["id"]
    done = until(two, some, "done")
    assert done["kept_pkts"] == 7, done
    dataset, got = merged(two, some, tmp_path)
    assert dataset["pkts"] == 7 and [record[2] for record in got] == near[:7]
    assert [record[2] for record in merged(two, some, tmp_path, "format=pcap&filter=src%20port%2015003")[1]] == [near[3]]
    assert until(two, every, "done")["kept_pkts"] == 50
    assert len(merged(two, every, tmp_path)[1]) == 50
    assert two.post(f"/jobs/{ring}/cancel").status == 200


def test_quotas_hold_for_rings_and_triggers(two):
    _, password = two.world.person("short", rights=["jobs"])
    group = next(group["id"] for group in two.get("/groups").json["items"] if group["name"] == "shorts")
    assert two.patch(f"/groups/{group}", {"quota_duration_s": 60, "quota_jobs": 2, "quota_priority": "low"}).status == 200
    bob = Client(two.hive).login("short", password)
    ring = {"name": "r", "links": ["A"], "ring_duration_s": 5, "priority": "low"}
    assert bob.post("/rings", ring).pointers == {"/limit_duration_s"}
    assert bob.post("/rings", {**ring, "limit_duration_s": 60, "priority": "normal"}).pointers == {"/priority"}
    made = bob.post("/rings", {**ring, "limit_duration_s": 60})
    assert made.status == 201, made.body
    running(two, made.json["id"], "A")
    path = f"/rings/{made.json['id']}/trigger"
    assert bob.post(path, {"before_s": 50, "after_s": 11}).pointers == {"/before_s"}
    assert bob.post(path, {"before_s": 2, "after_s": 50}).status == 201
    full = bob.post(path, {"before_s": 2, "after_s": 50})
    assert full.status == 422 and "2 jobs that have not ended" in full.json["detail"]
