# SPDX-License-Identifier: BSD-2-Clause
"""Proves the limits of jobs over links of two probes, with real packets: exact for each link, and exact in total, to the packet, in order
of time; the links start together or each for itself; a probe that is missing is waited for, left out and said, or fails the job; and a
critical job takes its room on both links, which goes back with what was left."""
import time
import types

import pytest

import frames
import pcapfile
from hive import Client, wait_for

UDP = {"filter": "udp", "limit_duration_s": 600}


@pytest.fixture
def two(world):
    """Somebody who may do all, over two links of two probes."""
    client = Client(types.SimpleNamespace(port=world.relay.listen, namespace=None), token=world.token)
    client.world = world
    client.links = {link["name"]: link["id"] for link in client.get("/links").json["items"]}
    yield client
    for job in client.get("/jobs?limit=1000").json["items"]:
        if job["state"] not in ("done", "failed", "cancelled"):
            client.post(f"/jobs/{job['id']}/cancel")
    for link in client.links.values():
        assert client.patch(f"/links/{link}", {"max_jobs": 8}).status == 200


def numbered(count, start):
    return [frames.ethernet(frames.ETH_IPV4, frames.udp(4, start + n, bytes([n % 256]) * 40)) for n in range(count)]


def create(two, links="*", **fields):
    made = two.post("/jobs", {"name": "j", "links": links, **UDP, **fields})
    assert made.status == 201, made.body
    return made.json["id"]


def look(two, job):
    return two.get(f"/jobs/{job}").json


def parts(two, job):
    return {part["link_name"]: part for part in look(two, job)["links"]}


def until(two, job, *states, seconds=40):
    return wait_for(lambda: (seen := look(two, job))["state"] in states and seen, seconds)


def running(two, job, links="AB"):
    wait_for(lambda: all(parts(two, job)[link]["state"] == "running" for link in links), 40)


def merged(two, job, folder, query="format=pcap"):
    dataset = two.get(f"/datasets?job_id={job}").json["items"][0]
    answer = two.get(f"/datasets/{dataset['id']}/download?{query}")
    assert answer.status == 200, answer.body
    path = folder / "merged.pcap"
    path.write_bytes(answer.body)
    return dataset, pcapfile.read(path)[1]


def test_the_total_is_exact_over_two_probes(two, tmp_path):
    job = create(two, limit_pkts=100)
    running(two, job)
    sent = {"A": numbered(80, 0), "B": numbered(90, 1000)}
    for part in range(2):  # in turns, so that the order of time is not that of the links
        for link in "AB":
            two.world.send(link, sent[link][40 * part:40 * part + 40] if link == "A" else sent[link][45 * part:45 * part + 45])
    done = until(two, job, "done")
    assert (done["kept_pkts"], done["finish"], done["outcome"]) == (100, "limit", "complete"), done
    assert done["stored_pkts"] > 100 and f"captured {done['stored_pkts'] - 100} packets more than the limit" in done["reasons"]
    dataset, got = merged(two, job, tmp_path)
    assert dataset["pkts"] == 100 and len(got) == 100
    times = [record[0] for record in got]
    everything = sent["A"][:40] + sent["B"][:45] + sent["A"][40:]
    assert times == sorted(times) and [record[2] for record in got] == everything[:100]
    assert len(merged(two, job, tmp_path, "format=pcap&filter=udp")[1]) == 100
    one = merged(two, job, tmp_path, "format=pcap&link=B")[1]
    assert [record[2] for record in one] == sent["B"][:45]


def test_bytes_in_total_and_the_limit_of_each_link(two, tmp_path):
    size = len(numbered(1, 0)[0]) + 16
    job = create(two, limit_bytes=size * 30 + 5, link_limit_pkts=25)
    running(two, job)
    for link, start in (("A", 0), ("B", 1000)):
        two.world.send(link, numbered(60, start))
    done = until(two, job, "done")
    assert {part["stored_pkts"] for part in done["links"]} == {25}, done
    dataset, got = merged(two, job, tmp_path)
    assert (dataset["pkts"], len(got), done["kept_pkts"], done["kept_bytes"]) == (30, 30, 30, size * 30)
    assert [record[2] for record in got] == numbered(60, 0)[:25] + numbered(60, 1000)[:5]


def test_together_waits_for_all_and_each_for_itself(two):
    assert two.patch(f"/links/{two.links['A']}", {"max_jobs": 1}).status == 200
    first = create(two, ["A"], limit_pkts=5)
    running(two, first, "A")
    together, each = create(two, start_mode="together", limit_pkts=5), create(two, start_mode="each", limit_pkts=5)
    running(two, each, "B")
    assert parts(two, each)["A"]["state"] == "waiting"
    assert {part["state"] for part in parts(two, together).values()} == {"waiting"}
    two.world.send("A", numbered(5, 0))
    until(two, first, "done")
    running(two, together)
    begun = [part["started"] for part in parts(two, together).values()]
    assert abs(int(begun[0][17:19]) - int(begun[1][17:19])) % 58 <= 2  # at once, but for two requests
    for job in (together, each):
        assert two.post(f"/jobs/{job}/cancel").status == 200


def test_a_missing_probe(two, tmp_path):
    two.world.kill("probeB")
    wait_for(lambda: [probe["up"] for probe in two.get("/probes?sort=id").json["items"]] == [True, False], 40)
    wait, skip, fail = [create(two, missing=way, limit_pkts=10) for way in ("wait", "skip", "fail")]
    running(two, skip, "A")
    assert until(two, fail, "failed", seconds=90)["reasons"].count("could not be reached") == 1
    two.world.send("A", numbered(10, 0))
    done = until(two, skip, "done", seconds=90)
    assert done["outcome"] == "incomplete" and "B: the probe probe-b could not be reached" in done["reasons"], done
    assert merged(two, skip, tmp_path)[0]["state"] == "incomplete"
    assert look(two, wait)["finish"] in ("no", "limit")
    two.world.start_probe("B")
    whole = create(two, ["A", "B"], limit_pkts=10, missing="wait")
    running(two, whole)
    two.world.send("B", numbered(10, 0))
    assert until(two, whole, "done")["outcome"] == "complete"


def test_a_critical_job_takes_its_room_on_both_links_and_gives_it_back(two, tmp_path):
    for link in two.links.values():
        assert two.patch(f"/links/{link}", {"max_jobs": 1}).status == 200
    lesser = create(two, priority="low", link_limit_pkts=40)
    running(two, lesser)
    first = {"A": numbered(15, 0), "B": numbered(20, 1000)}
    for link, sent in first.items():
        two.world.send(link, sent)
    wait_for(lambda: look(two, lesser)["stored_pkts"] == 35, 30)
    critical = create(two, priority="critical", start_mode="together", link_limit_pkts=10)
    running(two, critical)
    assert all(part["preempted"] and part["state"] == "paused" for part in parts(two, lesser).values())
    for link in "AB":
        two.world.send(link, numbered(10, 2000))
    assert until(two, critical, "done")["kept_pkts"] == 20
    running(two, lesser)
    second = {"A": numbered(50, 3000), "B": numbered(50, 4000)}
    for link, sent in second.items():
        two.world.send(link, sent)
    done = until(two, lesser, "done")
    assert done["outcome"] == "complete" and {part["stored_pkts"] for part in done["links"]} == {40}, done
    for link, left in (("A", 25), ("B", 20)):
        got = [record[2] for record in merged(two, lesser, tmp_path, f"format=pcap&link={link}")[1]]
        assert got == first[link] + second[link][:left]
