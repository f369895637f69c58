# SPDX-License-Identifier: BSD-2-Clause
"""Proves the stream of events: states and progress of real captures, with rates, drops and an estimated end, each event as the description
says; a stream that broke is taken up where it was left; nobody sees jobs that they may not, and who loses a right loses the stream; many
watchers and one that never reads hold up nothing."""
import http.client
import threading

from hive import API, Client, inside, wait_for
from test_capture import create, net, reach, udp  # noqa: F401 (net is a fixture)

JOB = {"name": "quic", "links": ["tap-a"], "limit_pkts": 100}


def until(events, condition, most=400):
    seen = []
    for event in events:
        seen.append(event)
        if condition(*event[:2]):
            return seen
        assert len(seen) < most, seen[-5:]
    raise AssertionError(f"the stream ended: {seen[-5:]}")


def test_states_and_progress_of_a_capture(net):
    with net.admin.events() as events:
        job = create(net, limit_pkts=400, limit_duration_s=600)
        seen = until(events, lambda name, data: name == "link" and data["state"] == "running")
        states = [data["state"] for name, data, _ in seen if name == "job"]
        assert states[0] == "queued" and states[-1] == "running" and seen[-1][1]["link"] == "tap-a"
        stop = threading.Event()

        def send():
            while not stop.wait(0.2):
                net.rig.send(udp(20))

        sender = threading.Thread(target=send)
        sender.start()
        try:
            seen = until(events, lambda name, data: name == "progress" and data["pkts_per_s"] > 0 and data["stored_pkts"] > 100)
            end = seen[-1][1]
            assert end["estimated_end"] and end["job_id"] == job and end["dropped_pkts"] == sum(end["drops"].values())
            assert end["seen_pkts"] >= end["stored_pkts"] and end["stored_bytes"] > 0
            assert net.admin.get(f"/jobs/{job}").json["links"][0]["progress"]["stored_pkts"] > 0
            seen = until(events, lambda name, data: name == "job" and data["state"] == "done")
        finally:
            stop.set()
            sender.join()
        assert seen[-1][1]["outcome"] == "complete"
        ids = [int(number) for _, _, number in seen]
        assert ids == sorted(set(ids))
    assert "progress" not in net.admin.get(f"/jobs/{job}").json["links"][0]


def test_a_broken_stream_goes_on_where_it_was(hive):
    hive.link("tap-a")
    with hive.admin.events() as events:
        first = hive.admin.post("/jobs", {**JOB, "name": "first"}).json["id"]
        last = until(events, lambda name, data: name == "job" and data["job_id"] == first)[-1][2]
    second = hive.admin.post("/jobs", {**JOB, "name": "second"}).json["id"]
    assert hive.admin.post(f"/jobs/{second}/cancel").status == 200
    for path, headers in (("/events", {"Last-Event-ID": last}), (f"/events?last_event_id={last}", None)):
        with hive.admin.events(path, headers) as events:
            seen = until(events, lambda name, data: name == "job" and data["state"] == "cancelled")
            assert {data["job_id"] for _, data, _ in seen} == {second}
    with hive.admin.events("/events", {"Last-Event-ID": "1"}) as events:  # long forgotten
        third = hive.admin.post("/jobs", {**JOB, "name": "third"}).json["id"]
        seen = until(events, lambda name, data: name == "job" and data["job_id"] == third)
        assert seen[0][0] == "gap"
    hive.kill()
    hive.start()
    with hive.admin.events("/events", {"Last-Event-ID": last}) as events:
        assert hive.admin.post(f"/jobs/{third}/cancel").status == 200
        assert until(events, lambda name, data: name == "job" and data["job_id"] == third)[0][0] == "gap"


def test_nobody_sees_what_is_not_theirs(hive):
    hive.link("tap-a")
    bob, eve = hive.person("bob", ["jobs"], all_links=True), hive.person("eve", ["jobs"], all_links=True)
    with bob.events() as events, eve.events() as others:
        theirs = eve.post("/jobs", JOB).json["id"]
        mine = bob.post("/jobs", JOB).json["id"]
        seen = until(events, lambda name, data: name == "job" and data["job_id"] == mine)
        assert theirs not in {data["job_id"] for _, data, _ in seen}
        assert until(others, lambda name, data: True)[0][1]["job_id"] == theirs
    assert bob.get(f"/events?job_id={theirs}").status == 404
    assert bob.get("/events?job_id=x").status == 400 and bob.get("/events?colour=red").status == 400
    assert bob.get(f"/jobs/{theirs}/events", headers={"Accept": "text/event-stream"}).status == 404
    for path in (f"/events?job_id={mine}", f"/jobs/{mine}/events"):
        with bob.events(path) as events:
            other = bob.post("/jobs", JOB).json["id"]
            assert bob.post(f"/jobs/{mine}/{'pause' if 'jobs' in path else 'resume'}").status in (200, 409)
            assert bob.post(f"/jobs/{other}/cancel").status == 200
            assert bob.post(f"/jobs/{mine}/{'resume' if 'jobs' in path else 'pause'}").status in (200, 409)
            assert until(events, lambda name, data: name == "job")[-1][1]["job_id"] == mine


def test_who_loses_the_right_loses_the_stream(hive):
    """A logged-out session, a revoked token and a group that was left: what is published more than two seconds later is not theirs."""
    hive.link("tap-a")
    mate = hive.person("mate", ["jobs-group"])
    member = hive.person("member", ["jobs"], all_links=True)
    assert hive.admin.put(f"/groups/{member.group}/members/{mate.id}").status == 204
    token = member.post("/tokens", {"name": "t", "rights": ["jobs"], "expires": "2027-06-01T00:00:00Z"}).json
    robot = Client(hive, token=token["token"])
    with mate.events() as events, robot.events() as streams, hive.admin.events() as all_events:
        first = member.post("/jobs", JOB).json["id"]
        for stream in (events, streams, all_events):
            until(stream, lambda name, data: name == "job" and data["job_id"] == first)
        assert hive.admin.delete(f"/groups/{member.group}/members/{mate.id}").status == 204
        assert member.delete(f"/tokens/{token['id']}").status == 204
        later = []

        def make():
            later.append(member.post("/jobs", JOB).json["id"])
            until(all_events, lambda name, data: name == "job" and data["job_id"] == later[-1])
            return len(later) >= 8

        wait_for(lambda: threading.Event().wait(0.3) or make(), 30)
        assert hive.admin.put(f"/groups/{member.group}/members/{mate.id}").status == 204
        threading.Event().wait(3)
        last = member.post("/jobs", JOB).json["id"]
        seen = until(events, lambda name, data: name == "job" and data["job_id"] == last)
        assert not {data["job_id"] for _, data, _ in seen} & set(later[-3:]), "what happened meanwhile was shown"
    assert robot.get("/events").status == 401


def test_watchers_who_do_not_read_hold_up_nobody(hive):
    hive.link("tap-a")
    deaf = []
    try:
        for _ in range(20):
            connection = http.client.HTTPConnection("127.0.0.1", hive.port, timeout=30)
            with inside(hive.namespace):
                connection.connect()
            connection.request("GET", f"{API}/events", headers={"Cookie": f"__Host-skep={hive.admin.cookie}"})
            assert connection.getresponse().status == 200
            deaf.append(connection)
        with hive.admin.events() as events:
            for n in range(30):
                job = hive.admin.post("/jobs", {**JOB, "name": f"n{n}"}).json["id"]
                assert hive.admin.post(f"/jobs/{job}/cancel").status == 200
            until(events, lambda name, data: name == "job" and data["job_id"] == job and data["state"] == "cancelled")
    finally:
        for connection in deaf:
            connection.close()
