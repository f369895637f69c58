# SPDX-License-Identifier: BSD-2-Clause
"""Proves enrolment with the line that skep-control enrol prints: pasted as it is, the probe is there with its pinned key and its links,
with what it says of itself and whether it is up; a line that is wrong, or a probe with another key, is refused and makes nothing. And that
filters are checked and measured by the probes of the links, with what groups force."""
import subprocess
import threading

import pytest

from hive import BIN, wait_for
from test_capture import control, rig_module, udp


@pytest.fixture
def place(tmp_path, make_hive):
    """A link, a probe with TLS on it, and a hive that does not know it."""
    reason = rig_module.why_not()
    if reason:
        pytest.skip(reason)
    rig = rig_module.Rig()
    (tmp_path / "probe").mkdir()
    probe = control.make_daemon(tmp_path / "probe", tls=True, namespace=rig.cap,
                                extra="[link cap0]\nalias = uplink\ndescription = to the Internet\nrole = tap\njobs = 7\n").start()
    hive = make_hive(namespace=rig.cap)
    hive.rig, hive.probe = rig, probe
    try:
        yield hive
    finally:
        hive.stop()
        probe.stop()
        for pid in probe.engines().values():
            control.os.kill(pid, control.signal.SIGKILL)
        rig.close()


def line_of(probe):
    """What enrol prints, with the port that the kernel has chosen for this test."""
    line = probe.command("enrol", "our-hive").stdout.strip()
    return line.replace("127.0.0.1:0", f"127.0.0.1:{probe.port}")


def test_one_pasted_line_makes_the_probe_and_its_links(place):
    line = line_of(place.probe)
    assert line.startswith("skep-probe name=test-probe url=https://127.0.0.1:") and "pin=sha256//" in line
    made = place.admin.post("/probes", {"enrol": f"  {line}\n", "description": "in the basement"})
    assert made.status == 201, made.body
    probe = made.json
    assert (probe["name"], probe["description"]) == ("test-probe", "in the basement") and probe["key_pin"].startswith("sha256//")
    assert probe["info"]["version"] and probe["info"]["kernel"] and probe["seen"] and "token" not in probe
    links = place.admin.get(f"/links?probe_id={probe['id']}").json["items"]
    assert [(link["name"], link["interface"], link["description"], link["max_jobs"]) for link in links] == \
        [("uplink", "cap0", "to the Internet", 7)]
    assert links[0]["info"]["driver"] == "veth"
    up = wait_for(lambda: (seen := place.admin.get(f"/probes/{probe['id']}").json)["up"] and seen, 20)
    assert up["since"] and up["problem"] is None
    job = place.admin.post("/jobs", {"name": "j", "links": ["uplink"], "limit_pkts": 10, "limit_duration_s": 60}).json["id"]
    wait_for(lambda: place.admin.get(f"/jobs/{job}").json["state"] == "running", 30)
    place.rig.send(udp(10))
    wait_for(lambda: place.admin.get(f"/jobs/{job}").json["state"] == "done", 30)
    again = place.admin.post("/probes", {"enrol": line})
    assert again.status == 409, again.body
    assert place.admin.post(f"/probes/{probe['id']}/discover").json == {"links_made": 0}
    assert place.admin.delete(f"/links/{links[0]['id']}").status == 204
    assert place.admin.post(f"/probes/{probe['id']}/discover").json == {"links_made": 1}
    place.probe.kill()
    away = wait_for(lambda: (seen := place.admin.get(f"/probes/{probe['id']}").json)["up"] is False and seen, 30)
    assert "connect" in away["problem"].lower() and place.admin.post(f"/probes/{probe['id']}/discover").status == 502
    assert line.split("token=")[1] not in (place.folder / "log").read_text()


def test_lines_that_are_refused_make_nothing(place):
    line = line_of(place.probe)
    other = subprocess.run([BIN / "skep-control", "--version"], capture_output=True, text=True, check=True).stdout
    pin = line.split("pin=")[1].split(" ")[0]
    wrong_pin = line.replace(pin, "sha256//" + "A" * 43 + "=")
    for bad, status, pointer in ((other, 422, "/enrol"), ("", 422, "/enrol"), (line.split(" token=")[0], 422, "/enrol"),
                                 (line + " colour=red", 422, "/enrol"), (line.replace("https://", "http://192.0.2.1:1/"), 422, "/address"),
                                 (line.replace(pin, "none"), 422, "/key_pin"), (wrong_pin, 502, "/enrol"),
                                 (line.replace(str(place.probe.port), "9"), 502, "/enrol"), (line[:-4] + "AAAA", 502, "/enrol")):
        answer = place.admin.post("/probes", {"enrol": bad})
        assert (answer.status, answer.pointers) == (status, {pointer}), (bad, answer.body)
        assert answer.json["detail"] and line.split("token=")[1] not in answer.body.decode()
    assert place.admin.post("/probes", {"enrol": line, "address": "https://x:1"}).pointers == {"/address"}
    assert place.admin.post("/probes", {"enrol": 5}).pointers == {"/enrol"}
    assert "the one that was enrolled" in place.admin.post("/probes", {"enrol": wrong_pin}).json["detail"]
    assert place.admin.get("/probes").json["items"] == [] and place.admin.get("/links").json["items"] == []


def test_filters_are_checked_and_measured_by_the_probes(place):
    assert place.admin.post("/probes", {"enrol": line_of(place.probe)}).status == 201
    wait_for(lambda: place.admin.get("/probes").json["items"][0]["up"], 20)
    right = place.admin.post("/filters/check", {"filter": "udp port 443"})
    assert right.status == 200 and right.json["ok"] and right.json["probe"] == "test-probe" and right.json["cbpf_insns"] > 0, right.body
    wrong = place.admin.post("/filters/check", {"filter": "udp prot 443", "links": ["uplink"]}).json
    assert wrong["ok"] is False and wrong["column"] == 5 and wrong["error"], wrong
    bob = place.person("bob", ["jobs"], all_links=True, forced_filter="udp src port 10003")
    stop = threading.Event()

    def send():
        while not stop.wait(0.05):
            place.rig.send(udp(10))

    sender = threading.Thread(target=send)
    sender.start()
    try:
        answers = [who.post("/filters/estimate", {"filter": "udp", "links": ["uplink"], "seconds": 2}) for who in (place.admin, bob)]
    finally:
        stop.set()
        sender.join()
    assert [answer.status for answer in answers] == [200, 200], answers[0].body
    every, some = [answer.json for answer in answers]
    assert every["seconds"] == 2 and every["links"][0]["link"] == "uplink" and every["total"]["pkts"] == every["links"][0]["pkts"] > 50
    assert every["total"]["pkts_per_s"] == every["total"]["pkts"] / 2
    assert 0 < some["total"]["pkts"] < every["total"]["pkts"] / 2, (some, every)
    refused = place.admin.post("/filters/estimate", {"filter": "udp prot", "links": ["uplink"], "seconds": 1}).json
    assert refused["total"]["pkts"] == 0 and "prot" in refused["links"][0]["problem"], refused


def test_questions_that_are_refused(hive):
    hive.link("tap-a")
    for path, body, pointer in (("check", {}, "/filter"), ("check", {"filter": 5}, "/filter"),
                                ("check", {"filter": "x", "seconds": 1}, "/seconds"),
                                ("check", {"filter": "x", "links": ["no"]}, "/links"), ("check", {"filter": "x" * 65537}, "/filter"),
                                ("estimate", {"filter": "x"}, "/links"), ("estimate", {"links": "*", "seconds": 31}, "/seconds"),
                                ("estimate", {"links": "*", "seconds": "1"}, "/seconds")):
        answer = hive.admin.post(f"/filters/{path}", body)
        assert answer.status == 422 and pointer in answer.pointers, (body, answer.body)
    assert hive.admin.post("/filters/check", {"filter": "udp"}).status == 409  # nobody there to ask
    away = hive.admin.post("/filters/estimate", {"links": "*", "seconds": 1})
    assert away.status == 200 and away.json["links"][0]["problem"], away.body
    bob = hive.person("bob", ["jobs"])
    assert bob.post("/filters/check", {"filter": "udp", "links": ["tap-a"]}).pointers == {"/links"}
