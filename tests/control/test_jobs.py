# SPDX-License-Identifier: BSD-2-Clause
"""Proves the life of a job on a real link with a real engine: limits hold at the packet, the account balances, segments arrive with the
right digest, and what is refused leaves nothing behind."""
import base64
import hashlib
import json
import threading
import time

import pytest

import frames
import pcapfile
from conftest import BIN
from rig import first_difference, tcpdump_count


def balanced(account):
    return account["seen"] == account["stored"] + account["rejected"] + sum(account["dropped"].values())


def start(daemon, **fields):
    answer = daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"], **fields})
    assert answer.status == 201, answer.body
    assert answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}"
    return answer.json()


def segments(daemon, job):
    answer = daemon.get(f"/v1/jobs/{job['id']}/segments")
    assert answer.status == 200
    return answer.json()["segments"]


def fetch(daemon, job, folder):
    """All segments, verified; returns their paths."""
    paths = []
    for segment in segments(daemon, job):
        answer = daemon.get(f"/v1/jobs/{job['id']}/segments/{segment['name']}")
        assert answer.status == 200 and len(answer.body) == segment["bytes"]
        path = folder / segment["name"]
        path.write_bytes(answer.body)
        paths.append(path)
    return paths


def test_job_stops_at_the_exact_packet_and_its_segments_are_the_packets(probe, tmp_path):
    job = start(probe, filter="udp", limits={"packets": 100}, name="dns or so")
    assert job["state"] == "running" and job["name"] == "dns or so" and job["outcome"] is None
    sent = [frames.ethernet(0x0800, frames.udp(4, n, bytes([n % 256]) * 64)) for n in range(300)]
    probe.rig.send(sent)
    job = probe.wait_job(job["id"], "done")
    assert job["outcome"] == "complete" and job["account"]["stored"] == 100 and balanced(job["account"]), job
    assert job["links"][0]["why"] == "packets" and job["gaps"] == []
    paths = fetch(probe, job, tmp_path)
    got = [record[2] for path in paths for record in pcapfile.read(path)[1]]
    assert first_difference(sent[:100], got) is None
    assert sum(tcpdump_count(path) for path in paths) == 100


def test_two_jobs_at_once_on_one_link(probe):
    udp, tcp = start(probe, filter="udp"), start(probe, filter="tcp")
    mixed = [frames.ethernet(0x0800, (frames.udp if n % 3 else frames.tcp)(4, n, *(() if n % 3 else (n,)), b"x" * 50)) for n in range(300)]
    probe.rig.send(mixed)
    time.sleep(0.7)
    for job in (udp, tcp):
        assert probe.ask("POST", f"/v1/jobs/{job['id']}/stop").status == 200
    udp, tcp = probe.wait_job(udp["id"], "done"), probe.wait_job(tcp["id"], "done")
    assert (udp["account"]["stored"], tcp["account"]["stored"]) == (200, 100)
    assert balanced(udp["account"]) and balanced(tcp["account"]) and len(probe.engines()) == 1


def test_time_that_is_paused_does_not_count_whoever_dies(probe):
    """2 s of duration, 3 s of pause, in the middle of which the daemon is killed: the job goes on with what was left."""
    job = start(probe, limits={"duration_ns": 2_000_000_000})
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/pause").json()["state"] == "paused"
    time.sleep(1)
    probe.kill()
    probe.start()
    time.sleep(2)
    assert probe.job(job["id"])["state"] == "paused"
    resumed = time.monotonic()
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/resume").json()["state"] == "running"
    job = probe.wait_job(job["id"], "done")
    assert job["links"][0]["why"] == "duration" and time.monotonic() - resumed > 1, job


def test_pause_and_resume_keep_the_limit_exact(probe):
    job = start(probe, limits={"packets": 50})
    sent = frames.numbered(30, 100)
    probe.rig.send(sent)
    time.sleep(0.3)
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/pause").json()["state"] == "paused"
    time.sleep(0.2)
    probe.rig.send(frames.numbered(100, 100))
    time.sleep(0.3)
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/resume").json()["state"] == "running"
    time.sleep(0.2)
    probe.rig.send(frames.numbered(100, 100))
    job = probe.wait_job(job["id"], "done")
    assert job["account"]["stored"] == 50 and balanced(job["account"])
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/pause").status == 409


def test_segment_by_range_with_etag_and_digest(probe):
    job = start(probe, limits={"packets": 2000}, level=-1)
    probe.rig.send(frames.mixed(2000, largest=1400))
    job = probe.wait_job(job["id"], "done")
    until = time.monotonic() + 10
    while not (segment := segments(probe, job)[0])["sha256"]:
        assert time.monotonic() < until
        time.sleep(0.05)
    path = f"/v1/jobs/{job['id']}/segments/{segment['name']}"
    whole = probe.get(path)
    etag = whole.headers["ETag"]
    digest = hashlib.sha256(whole.body)
    assert digest.hexdigest() == segment["sha256"]
    assert whole.headers["Repr-Digest"] == "sha-256=:" + base64.b64encode(digest.digest()).decode() + ":"
    assert whole.headers["Accept-Ranges"] == "bytes" and len(whole.body) == segment["bytes"] > 1000
    size = len(whole.body)
    for asked, first, last in (("bytes=0-0", 0, 0), ("bytes=100-499", 100, 499), ("bytes=500-", 500, size - 1),
                               ("bytes=-10", size - 10, size - 1), (f"bytes=7-{size + 1000}", 7, size - 1)):
        part = probe.get(path, headers={"Range": asked})
        assert part.status == 206 and part.headers["Content-Range"] == f"bytes {first}-{last}/{size}"
        assert part.body == whole.body[first:last + 1] and part.headers["ETag"] == etag
    assert probe.get(path, headers={"Range": f"bytes={size}-"}).status == 416
    assert probe.get(path, headers={"Range": "bytes=5-2"}).status == 200
    assert probe.get(path, headers={"Range": "lines=1-2"}).status == 200
    assert probe.get(path, headers={"Range": "bytes=0-9", "If-Range": etag}).status == 206
    assert probe.get(path, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status == 200
    assert probe.get(path, headers={"If-None-Match": etag}).status == 304
    assert probe.get(path, headers={"If-Match": '"other"'}).status == 412
    head = probe.ask("HEAD", path)
    assert head.status == 200 and int(head.headers["Content-Length"]) == size and not head.body
    assert probe.ask("DELETE", path).status == 204
    assert probe.get(path).status == 404 and segments(probe, job) == []
    assert probe.job(job["id"])["account"]["stored"] == 2000


@pytest.mark.parametrize("name", ["x.pcap.zst", "..%2fcontrol.conf", "cap0-q0-000001.pcap.zst.json", "tokens.json", ".part",
                                  "r2.x.pcap.zst"])
def test_names_that_are_no_segments(probe, name):
    job = start(probe)
    assert probe.get(f"/v1/jobs/{job['id']}/segments/{name}").status in (400, 404)


def test_key_makes_a_job_once(probe):
    body = {"links": ["cap0"], "filter": "tcp"}
    headers = {"Idempotency-Key": "abc-1"}
    first = probe.ask("POST", "/v1/jobs", body=body, headers=headers)
    again = probe.ask("POST", "/v1/jobs", body=body, headers=headers)
    assert (first.status, again.status) == (201, 200) and first.json()["id"] == again.json()["id"]
    other = probe.ask("POST", "/v1/jobs", body={**body, "filter": "udp"}, headers=headers)
    assert other.status == 409 and other.json()["code"] == "key-reused"
    assert len(probe.get("/v1/jobs").json()["jobs"]) == 1
    probe.kill()
    probe.start()
    assert probe.ask("POST", "/v1/jobs", body=body, headers=headers).json()["id"] == first.json()["id"]


@pytest.mark.parametrize("fields,status,codes", [
    ({"links": []}, 422, {"/links": "bad-value"}),
    ({"links": "cap0"}, 422, {"/links": "bad-value"}),
    ({"links": ["nosuch0"]}, 422, {"/links/0": "no-such-link"}),
    ({"links": ["cap0", "../x"]}, 422, {"/links/1": "no-such-link"}),
    ({"links": ["cap0", "cap0"]}, 422, {"/links/1": "bad-value"}),
    ({"color": 1, "limits": {"packets": 0, "meters": 2}, "name": 5}, 422,
     {"/color": "unknown-field", "/limits/packets": "bad-value", "/limits/meters": "unknown-field", "/name": "bad-value"}),
    ({"limits": {"bytes": -1}}, 422, {"/limits/bytes": "bad-value"}),
    ({"limits": {"bytes": "1GB"}}, 422, {"/limits/bytes": "bad-value"}),
    ({"limits": 7}, 422, {"/limits": "bad-value"}),
    ({"start_at": "tomorrow"}, 422, {"/start_at": "bad-value"}),
    ({"end_at": "2001-01-01T00:00:00Z"}, 422, {"/end_at": "bad-value"}),
    ({"filter": "tcp and host foo"}, 422, {"/filter": "bad-filter"}),
    ({"filter": "tcp and ("}, 422, {"/filter": "bad-filter"}),
    ({"filter": 1}, 422, {"/filter": "bad-value"}),
    ({"snaplen": -1}, 422, {"/snaplen": "bad-value"}),
    ({"format": "pdf"}, 422, {"/format": "bad-value"}),
    ({"trim": "l9"}, 422, None),
    ({"sample": {"every": 0}}, 422, None),
])
def test_refused_jobs_say_what_and_leave_nothing(probe, fields, status, codes):
    answer = probe.ask("POST", "/v1/jobs", body={"links": ["cap0"], **fields})
    problem = answer.json()
    assert answer.status == status, problem
    if codes:
        assert {error["pointer"]: error["code"] for error in problem["errors"]} == codes
    assert probe.get("/v1/jobs").json()["jobs"] == [] and list(probe.spool.iterdir()) == []


def test_filter_refused_by_the_engine_says_the_column(probe):
    problem = probe.ask("POST", "/v1/jobs", body={"links": ["cap0"], "filter": "tcp port 80 and host foo"}).json()
    assert problem["column"] == 22 and problem["pointer"] == "/filter" and "DNS" in problem["detail"], problem


def test_verbs_on_jobs_that_are_not_there(probe):
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/stop"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/rotate"),
                         ("GET", "/segments"), ("GET", "/segments/x.pcap"), ("DELETE", "/segments/x.pcap")):
        answer = probe.ask(method, f"/v1/jobs/j000000000000000000{path}")
        assert answer.status == 404 and answer.json()["code"].startswith("no-such"), (method, path, answer.body)


def test_job_is_removed_with_its_files_only_after_its_end(probe):
    job = start(probe)
    assert probe.ask("DELETE", f"/v1/jobs/{job['id']}").status == 409
    probe.rig.send(frames.numbered(10, 100))
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/stop").json()["state"] in ("draining", "done")
    probe.wait_job(job["id"], "done")
    assert (probe.spool / job["id"]).exists()
    assert probe.ask("DELETE", f"/v1/jobs/{job['id']}").status == 204
    assert not (probe.spool / job["id"]).exists() and probe.get(f"/v1/jobs/{job['id']}").status == 404


def test_job_for_later_begins_by_itself_and_can_be_cancelled(probe):
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    later = start(probe, start_at=at, limits={"duration_ns": 300_000_000})
    cancelled = start(probe, start_at=at.replace("20", "21", 1))
    assert later["state"] == cancelled["state"] == "scheduled" and not probe.engines()
    assert probe.ask("POST", f"/v1/jobs/{cancelled['id']}/stop").json()["state"] == "cancelled"
    job = probe.wait_job(later["id"], "done")
    assert job["outcome"] == "complete" and job["links"][0]["why"] == "duration"
    assert job["started_at"] >= at.replace("Z", "")


def test_rotate_makes_what_was_taken_readable_while_the_job_runs(probe, tmp_path):
    job = start(probe)
    probe.rig.send(frames.numbered(40, 200))
    time.sleep(0.3)
    assert segments(probe, job) == []
    assert probe.ask("POST", f"/v1/jobs/{job['id']}/rotate").status == 204
    assert sum(tcpdump_count(path) for path in fetch(probe, job, tmp_path)) == 40
    assert probe.job(job["id"])["state"] == "running"


def test_events_tell_a_job_from_beginning_to_end_and_resume(probe):
    with probe.socket() as peer:
        peer.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {probe.token}\r\n\r\n".encode())
        peer.settimeout(10)
        assert b"200 OK" in peer.recv(4096)
        job = start(probe, limits={"packets": 20})
        probe.rig.send(frames.numbered(20, 100))
        probe.wait_job(job["id"], "done")
        text = b""
        while b'"done"' not in text:
            text += peer.recv(65536)
    events = read_events(text)
    states = [event["state"] for name, event, _ in events if name == "job" and event["id"] == job["id"]]
    assert states == ["running", "done"]
    # Listening again with the id of the first: what came after it, and nothing twice.
    with probe.socket() as peer:
        peer.sendall(f"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {probe.token}\r\nLast-Event-ID: {events[0][2]}\r\n\r\n"
                     .encode())
        peer.settimeout(10)
        text = b""
        while b'"done"' not in text:
            text += peer.recv(65536)
    again = read_events(text)
    assert [event[2] for event in again][:len(events) - 1] == [event[2] for event in events[1:]]


def read_events(text):
    """(name, data, id) of each complete event; the chunks' lengths are taken out first."""
    body = text.split(b"\r\n\r\n", 1)[-1] if text.startswith(b"HTTP") else text
    lines = [line for line in body.replace(b"\r\n", b"\n").decode().split("\n")]
    found, now = [], {}
    for line in lines:
        key, colon, value = line.partition(": ")
        if colon and key in ("event", "data", "id"):
            now[key] = value
        if len(now) == 3:
            found.append((now["event"], json.loads(now["data"]), int(now["id"])))
            now = {}
    return found


def test_limits_hold_for_a_job_across_links(new_daemon):
    import rig as rig_module
    rig = rig_module.Rig(links=2)
    try:
        daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n[link cap1]\nrole = tap\n").start()
        answer = daemon.ask("POST", "/v1/jobs", body={"links": ["cap0", "cap1"], "limits": {"packets": 1000}})
        assert answer.status == 201, answer.body
        job = answer.json()
        for link in ("gen0", "gen1"):
            rig.send(frames.numbered(700, 120), link=link)
        job = daemon.wait_job(job["id"], "done")
        stored = {link["name"]: link["account"]["stored"] for link in job["links"]}
        assert sum(stored.values()) == job["account"]["stored"] == 1000 and all(stored.values()), job
        assert job["outcome"] == "complete" and all(balanced(link["account"]) for link in job["links"])
    finally:
        rig.close()


def test_metrics_tell_of_jobs_that_run(probe):
    job = start(probe, filter="udp")
    probe.rig.send(frames.numbered(25, 100))
    until = time.monotonic() + 10
    line = f'skep_job_packets_total{{job="{job["id"]}",fate="stored"}} 25'
    while line not in (text := probe.get("/metrics").body.decode()):
        assert time.monotonic() < until, text
        time.sleep(0.1)
    assert 'skep_jobs{state="running"} 1' in text


def test_full_spool_takes_no_new_jobs(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="quota = 1MiB\n[link cap0]\nrole = tap\n").start()
    first = start(daemon, limits={"packets": 2000}, level=0)
    rig.send(frames.numbered(2000, 1200))
    daemon.wait_job(first["id"], "done")
    until = time.monotonic() + 20
    while (answer := daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"]})).status == 201:
        assert time.monotonic() < until
        daemon.ask("POST", f"/v1/jobs/{answer.json()['id']}/stop")
        time.sleep(0.5)
    assert answer.status == 507 and answer.json()["code"] == "quota"
    assert daemon.ask("DELETE", f"/v1/jobs/{first['id']}").status == 204
    until = time.monotonic() + 20
    while daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"]}).status != 201:
        assert time.monotonic() < until
        time.sleep(0.5)


def test_link_takes_as_many_jobs_as_its_settings_say(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\njobs = 2\n").start()
    start(daemon)
    start(daemon)
    answer = daemon.ask("POST", "/v1/jobs", body={"links": ["cap0"]})
    assert answer.status == 409 and answer.json()["code"] == "link-full" and answer.json()["pointer"] == "/links/0"


def test_estimate_counts_what_would_match_and_leaves_nothing(probe):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(
        probe.ask("POST", "/v1/estimate", body={"links": ["cap0"], "filter": "udp", "seconds": 3})))
    asking.start()
    until = time.monotonic() + 10
    while not any(job["state"] == "running" for job in probe.get("/v1/jobs").json()["jobs"]):
        assert time.monotonic() < until
        time.sleep(0.02)
    probe.rig.send(frames.numbered(300, 500))
    assert probe.ask("POST", "/v1/estimate", body={"links": ["cap0"]}).status == 409
    asking.join()
    estimate = answers[0].json()
    assert answers[0].status == 200, estimate
    assert estimate["total"]["packets"] == 300 and estimate["total"]["pps"] == 100 and balanced(estimate["account"])
    assert estimate["total"]["bps"] == 300 * 500 * 8 / 3 and estimate["total"]["bytes_per_hour"] == 300 * 516 / 3 * 3600
    assert probe.get("/v1/jobs").json()["jobs"] == [] and list(probe.spool.iterdir()) == []


@pytest.mark.parametrize("fields", [{"seconds": 0}, {"seconds": 31}, {"seconds": "5"}, {"color": 1}, {"links": []}, {"filter": "host foo"}])
def test_estimates_that_are_refused(probe, fields):
    assert probe.ask("POST", "/v1/estimate", body={"links": ["cap0"], **fields}).status == 422


def test_files_begin_anew_when_they_are_large_enough_and_not_sooner(probe):
    """Flat out, so that blocks of the file that is to end still wait when the next one has begun."""
    job = start(probe, level=0, rotate={"bytes": 4 << 20})
    probe.rig.run([BIN / "skep-gen", "-i", "gen0", "--size", 1500, "--count", 60000], ns=probe.rig.gen, timeout_s=60)
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    job = probe.wait_job(job["id"], "done")
    sizes = [segment["bytes"] for segment in segments(probe, job)]
    assert len(sizes) >= 3 and all(4 << 20 <= size < 128 << 20 for size in sizes[:-1]), sizes
