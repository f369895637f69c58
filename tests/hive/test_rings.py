# SPDX-License-Identifier: BSD-2-Clause
"""Proves the administrator's story with a real probe and real packets: a ring keeps the last of a link; when the alarm comes, its trigger
makes a dataset in which the packets from before the alarm are; the ring goes on, and leaves nothing when it is stopped. And who may pull
the trigger, how often, and of what."""
import time

from hive import wait_for
from test_capture import create, net, nothing_left, packets, reach, udp  # noqa: F401 (net is a fixture)


def make_ring(hive, **fields):
    made = hive.admin.post("/rings", {"name": "recorder", "links": ["tap-a"], "filter": "udp", "ring_duration_s": 60, **fields})
    assert made.status == 201, made.body
    return made.json["id"]


def held(hive, ring, count):
    """The ring has seen that many packets."""
    wait_for(lambda: hive.admin.get(f"/jobs/{ring}").json["stored_pkts"] >= count, 20)


def test_packets_from_before_the_alarm_are_in_the_dataset(net, tmp_path):
    ring = make_ring(net)
    reach(net, ring, "running")
    before, after = udp(40), udp(20, start=1000)
    net.rig.send(before)
    held(net, ring, 40)
    alarm = net.admin.post(f"/rings/{ring}/trigger", {"before_s": 30, "after_s": 5, "name": "port scan"},
                           headers={"Idempotency-Key": "alarm-1"})
    assert alarm.status == 201, alarm.body
    saved = alarm.json
    assert (saved["kind"], saved["ring_id"], saved["name"]) == ("saved", ring, "port scan")
    assert saved["from"] < saved["created"] < saved["to"]
    net.rig.send(after)
    done = reach(net, saved["id"], "done")
    assert done["kept_pkts"] == 60, done
    assert packets(net, saved["id"], tmp_path)[1] == before + after
    assert net.admin.get(f"/jobs/{ring}").json["state"] == "running"
    again = net.admin.post(f"/rings/{ring}/trigger", {"before_s": 30, "after_s": 5, "name": "port scan"},
                           headers={"Idempotency-Key": "alarm-1"})
    assert (again.status, again.json["id"]) == (200, saved["id"])
    assert net.admin.post(f"/jobs/{ring}/stop").status == 200
    ended = reach(net, ring, "done")
    assert (ended["outcome"], ended["links"][0]["result"], ended["kept_pkts"]) == ("complete", "released", 0)
    assert net.admin.get(f"/datasets?job_id={ring}").json["items"] == []
    nothing_left(net)


def test_a_trigger_takes_no_room_on_the_link_and_survives_kill_9(net, tmp_path):
    link = net.admin.get("/links").json["items"][0]["id"]
    assert net.admin.patch(f"/links/{link}", {"max_jobs": 1}).status == 200
    ring = make_ring(net)
    reach(net, ring, "running")
    sent = udp(30)
    net.rig.send(sent)
    held(net, ring, 30)
    saved = net.admin.post(f"/rings/{ring}/trigger", {"before_s": 60, "after_s": 2}).json["id"]
    net.kill()
    net.start()
    assert reach(net, saved, "done")["kept_pkts"] == 30
    assert packets(net, saved, tmp_path)[1] == sent
    assert len(net.admin.get(f"/jobs?ring_id={ring}").json["items"]) == 1


def test_rings_and_triggers_that_are_refused(net):
    base = {"name": "r", "links": ["tap-a"]}
    for change, pointer in (({}, "/ring_duration_s"), ({"ring_duration_s": 5, "ring_bytes": 1 << 30}, "/ring_duration_s"),
                            ({"ring_bytes": 5}, "/ring_bytes"), ({"ring_duration_s": 5, "limit_pkts": 5}, "/limit_bytes")):
        answer = net.admin.post("/rings", {**base, **change})
        assert answer.status == 422 and pointer in answer.pointers, answer.body
    assert net.admin.post("/jobs", {**base, "limit_pkts": 1, "ring_duration_s": 5}).pointers == {"/ring_duration_s"}
    assert net.admin.post("/jobs", {**base, "kind": "saved", "limit_pkts": 1}).pointers == {"/kind"}
    job = create(net, limit_pkts=5)
    assert net.admin.post(f"/rings/{job}/trigger").status == 409
    assert net.admin.get(f"/rings/{job}").status == 404
    assert net.admin.post("/rings/999/trigger").status == 404
    waiting = make_ring(net, start="2099-01-01T00:00:00Z")
    assert net.admin.post(f"/rings/{waiting}/trigger").status == 409
    assert net.admin.post(f"/rings/{waiting}/trigger", {"before_s": -1}).pointers == {"/before_s"}
    assert net.admin.post(f"/rings/{waiting}/trigger", {"before": 1}).pointers == {"/before"}
    assert [ring["id"] for ring in net.admin.get("/rings").json["items"]] == [waiting]


def test_who_may_pull_the_trigger(net):
    """One must see the ring, be allowed its links, and be allowed as much of them as the ring holds."""
    ring = make_ring(net)
    reach(net, ring, "running")
    stranger = net.person("stranger", ["jobs"], all_links=True)
    assert stranger.post(f"/rings/{ring}/trigger").status == 404
    outsider = net.person("outsider", ["jobs", "jobs-all"])
    assert outsider.post(f"/rings/{ring}/trigger").status == 404
    bounded = net.person("bounded", ["jobs", "jobs-all"], all_links=True, forced_filter="net 192.0.2.0/24")
    refused = bounded.post(f"/rings/{ring}/trigger")
    assert refused.status == 422 and "more of the links" in refused.json["detail"], refused.body
    other = net.person("other", ["jobs", "jobs-all"], all_links=True)
    saved = other.post(f"/rings/{ring}/trigger", {"before_s": 1})
    assert saved.status == 201 and saved.json["owner_id"] == other.id
    assert other.post(f"/jobs/{saved.json['id']}/pause").status in (409, 422)


def test_a_ring_that_is_too_short_says_so(net):
    ring = make_ring(net, ring_duration_s=2)
    reach(net, ring, "running")
    net.rig.send(udp(5))
    time.sleep(1)
    saved = net.admin.post(f"/rings/{ring}/trigger", {"before_s": 3600}).json["id"]
    done = reach(net, saved, "done", "failed")
    assert done["outcome"] == "incomplete" and "goes back only to" in done["reasons"], done
