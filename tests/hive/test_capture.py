# SPDX-License-Identifier: BSD-2-Clause
"""Proves jobs from the request to the bytes, with a real probe (skep-control), a real link and real packets: the dataset holds exactly
the packets asked for, verified, and nothing stays on the probe; a job survives kill -9 of the hive and of the probe's daemon; a critical
job pauses a lesser one, which goes on with what was left."""
import hashlib
import importlib.util
import pathlib
import sys
import time

import pytest

from hive import Client, wait_for

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "control"), str(TESTS / "net")]
_spec = importlib.util.spec_from_file_location("control_fixtures", TESTS / "control" / "conftest.py")
control = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(control)

import frames  # noqa: E402
import pcapfile  # noqa: E402
import rig as rig_module  # noqa: E402


@pytest.fixture
def net(tmp_path, make_hive):
    """A link, a probe on it, a hive that knows it as tap-a, and an administrator."""
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)
    rig = rig_module.Rig()
    (tmp_path / "probe").mkdir()
    probe = control.make_daemon(tmp_path / "probe", namespace=rig.cap, extra="[link cap0]\nalias = uplink\nrole = tap\n").start()
    hive = make_hive("[jobs]\nmissing_after = 3s\n", namespace=rig.cap)
    hive.rig, hive.probe = rig, probe
    made = hive.admin.post("/probes", {"name": "p1", "address": f"http://127.0.0.1:{probe.port}", "token": probe.token})
    assert made.status == 201, made.body
    hive.probe_id = made.json["id"]
    assert hive.admin.post("/links", {"name": "tap-a", "interface": "cap0", "probe_id": hive.probe_id}).status == 201
    try:
        yield hive
    finally:
        hive.stop()
        probe.stop()
        for pid in probe.engines().values():
            control.os.kill(pid, control.signal.SIGKILL)
        rig.close()


def udp(count, start=0):
    return [frames.ethernet(0x0800, frames.udp(4, start + n, bytes([n % 256]) * 64)) for n in range(count)]


def create(hive, **fields):
    made = hive.admin.post("/jobs", {"name": "udp", "links": ["tap-a"], "filter": "udp", "limit_duration_s": 60, **fields})
    assert made.status == 201, made.body
    return made.json["id"]


def reach(hive, job, *states, seconds=30):
    try:
        return wait_for(lambda: (seen := hive.admin.get(f"/jobs/{job}").json)["state"] in states and seen, seconds)
    except TimeoutError:
        job = hive.admin.get(f"/jobs/{job}").json
        pytest.fail(f"not {states}: {job}\n{(hive.folder / 'log').read_text()}\n{hive.probe.said()[-3000:]}")


def packets(hive, job, folder):
    """The packets of the job's dataset, each file checked against its row."""
    dataset = hive.admin.get(f"/datasets?job_id={job}").json["items"][0]
    got = []
    for file in hive.admin.get(f"/datasets/{dataset['id']}/files?sort=name").json["items"]:
        answer = hive.admin.get(f"/datasets/{dataset['id']}/files/{file['id']}")
        assert answer.status == 200 and hashlib.sha256(answer.body).hexdigest() == file["sha256"]
        assert answer.headers["ETag"] == f'"{file["sha256"]}"' and len(answer.body) == file["bytes"]
        part = hive.admin.get(f"/datasets/{dataset['id']}/files/{file['id']}", headers={"Range": "bytes=5-14"})
        assert part.status == 206 and part.body == answer.body[5:15]
        path = folder / file["name"]
        path.write_bytes(answer.body)
        records = pcapfile.read(path)[1]
        assert len(records) == file["pkts"]
        got += [record[2] for record in records]
    assert dataset["pkts"] == len(got)
    return dataset, got


def nothing_left(hive):
    return wait_for(lambda: hive.probe.get("/v1/jobs").json()["jobs"] == [])


def test_a_dataset_is_exactly_what_was_asked_for(net, tmp_path):
    job = create(net, limit_pkts=100)
    reach(net, job, "running")
    sent = udp(300)
    net.rig.send(sent)
    done = reach(net, job, "done")
    assert (done["outcome"], done["finish"], done["kept_pkts"], done["reasons"]) == ("complete", "limit", 100, None), done
    assert done["seen_pkts"] == done["stored_pkts"] + done["rejected_pkts"] + done["dropped_pkts"]
    assert done["links"][0]["result"] == "collected" and done["links"][0]["collected_pkts"] == 100
    dataset, got = packets(net, job, tmp_path)
    assert got == sent[:100] and dataset["state"] == "whole"
    nothing_left(net)
    audit = net.admin.get("/audit?action=dataset.download").json["items"]
    assert audit and audit[0]["object"] == f"dataset {dataset['id']}"


def test_somebody_without_the_right_downloads_nothing(net):
    job = create(net, limit_pkts=5)
    reach(net, job, "running")
    net.rig.send(udp(10))
    reach(net, job, "done")
    looker = net.person("looker", ["jobs-all"])
    dataset = looker.get("/datasets").json["items"][0]["id"]
    file = looker.get(f"/datasets/{dataset}/files").json["items"][0]["id"]
    assert looker.get(f"/datasets/{dataset}/files/{file}").status == 403
    stranger = net.person("stranger", ["jobs", "download"])
    assert stranger.get(f"/datasets/{dataset}/files/{file}").status == 404


def test_pause_stop_and_cancel(net, tmp_path):
    stopped, cancelled = create(net), create(net, name="other")
    reach(net, stopped, "running")
    reach(net, cancelled, "running")
    first, second = udp(40), udp(30, start=1000)
    net.rig.send(first)
    wait_for(lambda: net.admin.get(f"/jobs/{stopped}").json["stored_pkts"] == 40)
    assert net.admin.post(f"/jobs/{stopped}/pause").status == 200
    reach(net, stopped, "paused")
    wait_for(lambda: net.admin.get(f"/jobs/{stopped}").json["links"][0]["state"] == "paused")
    net.rig.send(udp(20, start=500))
    wait_for(lambda: net.admin.get(f"/jobs/{cancelled}").json["stored_pkts"] == 60)
    assert net.admin.post(f"/jobs/{stopped}/resume").status == 200
    wait_for(lambda: net.admin.get(f"/jobs/{stopped}").json["links"][0]["state"] == "running")
    net.rig.send(second)
    wait_for(lambda: net.admin.get(f"/jobs/{stopped}").json["stored_pkts"] == 70)
    assert net.admin.post(f"/jobs/{stopped}/stop").status == 200
    assert net.admin.post(f"/jobs/{cancelled}/cancel").status == 200
    done = reach(net, stopped, "done")
    assert (done["outcome"], done["finish_by"]) == ("complete", "root")
    assert packets(net, stopped, tmp_path)[1] == first + second
    assert reach(net, cancelled, "cancelled")["kept_pkts"] == 0
    nothing_left(net)


def test_a_wrong_filter_fails_in_words(net):
    job = create(net, filter="udp port https port")
    failed = reach(net, job, "failed")
    assert failed["outcome"] == "incomplete" and failed["reasons"].startswith("tap-a: "), failed
    nothing_left(net)


def test_a_job_survives_kill_9_of_the_hive_and_of_the_probe(net, tmp_path):
    job = create(net, limit_pkts=90)
    reach(net, job, "running")
    sent = udp(120)
    net.rig.send(sent[:30])
    wait_for(lambda: net.admin.get(f"/jobs/{job}").json["stored_pkts"] == 30)
    net.kill()
    net.rig.send(sent[30:60])
    net.start()
    wait_for(lambda: net.admin.get(f"/jobs/{job}").json["stored_pkts"] == 60, 20)
    net.probe.kill()
    net.rig.send(sent[60:80])
    net.probe.start()
    probe = net.admin.get(f"/probes/{net.probe_id}")
    changed = net.admin.patch(f"/probes/{net.probe_id}", {"address": f"http://127.0.0.1:{net.probe.port}"})
    assert probe.status == 200 and changed.status == 200
    wait_for(lambda: net.admin.get(f"/jobs/{job}").json["stored_pkts"] == 80, 20)
    net.rig.send(sent[80:])
    done = reach(net, job, "done")
    assert done["kept_pkts"] == 90, done
    assert packets(net, job, tmp_path)[1] == sent[:90]
    nothing_left(net)


def test_a_critical_job_goes_first(net, tmp_path):
    link = net.admin.get("/links").json["items"][0]["id"]
    assert net.admin.patch(f"/links/{link}", {"max_jobs": 1}).status == 200
    lesser = create(net, name="lesser", limit_pkts=50)
    reach(net, lesser, "running")
    sent = udp(100)
    net.rig.send(sent[:20])
    wait_for(lambda: net.admin.get(f"/jobs/{lesser}").json["stored_pkts"] == 20)
    waiting = create(net, name="waiting", priority="high", limit_pkts=5)
    critical = create(net, name="critical", priority="critical", limit_pkts=30)
    reach(net, critical, "running")
    assert net.admin.get(f"/jobs/{lesser}").json["links"][0]["preempted"] is True
    assert len([job for job in net.probe.get("/v1/jobs").json()["jobs"] if job["state"] == "running"]) == 1
    net.rig.send(sent[20:50])
    assert reach(net, critical, "done")["kept_pkts"] == 30
    reach(net, waiting, "running")
    net.rig.send(sent[50:55])
    reach(net, waiting, "done")
    wait_for(lambda: net.admin.get(f"/jobs/{lesser}").json["links"][0]["state"] == "running", 20)
    net.rig.send(sent[55:])
    assert reach(net, lesser, "done")["outcome"] == "complete"
    assert packets(net, lesser, tmp_path)[1] == sent[:20] + sent[55:85]
    nothing_left(net)


def test_a_wrong_token_leaves_the_probe_away(net):
    assert net.admin.patch(f"/probes/{net.probe_id}", {"token": "skep_wrong_token_0000"}).status == 200
    time.sleep(4)  # a start that was asked for before the hive noticed would have to be waited for: it may have happened
    job = create(net, missing="skip")
    failed = reach(net, job, "failed", seconds=50)
    assert "could not be reached" in failed["reasons"]
    assert Client(net).get("/jobs").status == 401
