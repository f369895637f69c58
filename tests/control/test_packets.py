# SPDX-License-Identifier: BSD-2-Clause
"""Proves that /v1/jobs/{id}/packets gives exactly the packets of a job that match, in order, out of all its segments and while it goes on;
that what is wrong is said first; that a stream which was cut does not look whole; and that clients who go away, or are too many, cost
nothing: the child that reads has no privilege and is gone with them."""
import contextlib
import http.client
import os
import pathlib
import signal
import socket
import time

import pytest

import frames
import pcapfile
from conftest import PATIENCE, inside
from test_jobs import start


def wait_for(condition, what, timeout_s=20):
    until = time.monotonic() + timeout_s * PATIENCE
    while not (found := condition()):
        assert time.monotonic() < until, f"not in time: {what() if callable(what) else what}"
        time.sleep(0.02)
    return found


def packets(daemon, job, query="", **more):
    return daemon.get(f"/v1/jobs/{job['id']}/packets{query}", **more)


def records(answer):
    assert answer.status == 200 and answer.type == "application/vnd.tcpdump.pcap", answer.body
    return pcapfile.parse(answer.body)[1]


def moment(record):
    return f"@{record[0] // 10**9}.{record[0] % 10**9:09}"


def children(daemon):
    """Processes that read segments for the daemon."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == daemon.process.pid and b"extract" in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@contextlib.contextmanager
def held(daemon, path):
    """A client that asks and does not read; what it was given fits into no buffer."""
    with inside(daemon.namespace):
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(("127.0.0.1", daemon.port))
    with peer:
        peer.settimeout(30 * PATIENCE)
        peer.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.token}\r\n\r\n".encode())
        yield peer


def test_packets_of_many_segments_in_order_and_what_is_asked_for(probe):
    job = start(probe, rotate={"ns": 100_000_000}, filter="udp")
    sent = frames.numbered(400, 120)
    for n in range(0, 400, 100):
        probe.rig.send(sent[n:n + 100])
        time.sleep(0.15)
    # It runs, and what was just sent is in the answer as well.
    everything = records(packets(probe, job))
    assert [record[2] for record in everything] == sent
    assert len(probe.get(f"/v1/jobs/{job['id']}/segments").json()["segments"]) >= 4
    probe.ask("POST", f"/v1/jobs/{job['id']}/stop")
    probe.wait_job(job["id"], "done")
    part = records(packets(probe, job, f"?from={moment(everything[150])}&to={moment(everything[249])}"))
    assert part == everything[150:250]
    assert records(packets(probe, job, "?from=2040-01-01T00:00:00Z")) == []
    # The number of the frame is at offset 42: those up to 9.
    assert records(packets(probe, job, "?filter=ether%5B42:4%5D%20%3C%2010")) == everything[:10]
    assert records(packets(probe, job, "?filter=tcp")) == []
    few = packets(probe, job, "?max_bytes=1000")
    assert len(few.body) <= 1000 < len(few.body) + 136 and records(few) == everything[:7]
    assert records(packets(probe, job, "?max_bytes=1")) == []
    apart = packets(probe, job, "?format=pcapng")
    assert apart.status == 200 and pcapfile.parse(apart.body)[1] == everything


def test_segments_that_were_removed_are_said_to_be_missing(probe):
    job = start(probe)
    sent = frames.numbered(200, 120)
    for n in (0, 100):
        probe.rig.send(sent[n:n + 100])
        assert probe.ask("POST", f"/v1/jobs/{job['id']}/rotate").status == 204
    first = probe.get(f"/v1/jobs/{job['id']}/segments").json()["segments"][0]
    before = packets(probe, job)
    assert len(records(before)) == 200 and "Skep-Segments-Removed" not in before.headers
    assert probe.ask("DELETE", f"/v1/jobs/{job['id']}/segments/{first['name']}").status == 204
    after = packets(probe, job)
    assert records(after) == records(before)[first["packets"]:] and after.headers["Skep-Segments-Removed"] == "1"
    later = packets(probe, job, f"?from={moment(records(before)[-1])}")
    assert len(records(later)) == 1 and "Skep-Segments-Removed" not in later.headers


def test_job_that_has_captured_nothing_gives_an_empty_pcap(probe):
    job = start(probe, start_at="2040-01-01T00:00:00Z")
    assert records(packets(probe, job)) == []


@pytest.fixture(scope="module")
def refusing(shared):
    """A daemon with a job that is for later, so it needs no link of its own."""
    return shared, start(shared, links=["lo"], start_at="2040-01-01T00:00:00Z")


@pytest.mark.parametrize("query,status,code", [
    ("?filter=tcp%20and", 422, "bad-filter"),
    ("?filter=host%20www.example.org", 422, "bad-filter"),
    ("?from=yesterday", 422, "bad-value"),
    ("?from=@20&to=@10", 422, "bad-value"),
    ("?max_bytes=0", 422, "bad-value"),
    ("?max_bytes=-1", 422, "bad-value"),
    ("?format=pdf", 422, "bad-value"),
    ("?format=pcapng&max_bytes=100", 422, "bad-value"),
    ("?color=red", 400, "unknown-parameter"),
    ("?to=@1&to=@2", 400, "repeated-parameter"),
])
def test_what_is_wrong_is_said_first(refusing, query, status, code):
    daemon, job = refusing
    answer = packets(daemon, job, query)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert packets(daemon, {"id": "j000000000000000000"}).json()["code"] == "no-such-job"


def test_clients_that_are_too_many_or_go_away(new_daemon, rig):
    daemon = new_daemon(namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
    daemon.config.write_text(daemon.config.read_text().replace("[spool]", "extractions = 1\n[spool]"))
    daemon.start()
    job = start(daemon, limits={"packets": 14000})
    rig.send(frames.numbered(14000, 1400))  # 20 MB: more than all buffers on the way
    daemon.wait_job(job["id"], "done")
    path = f"/v1/jobs/{job['id']}/packets"
    with held(daemon, path) as peer:
        assert b" 200 OK" in peer.recv(1000)
        pid, = wait_for(lambda: children(daemon), "a child")
        status = dict(line.split(":\t", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)
        assert int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
        busy = daemon.get(path)
        assert busy.status == 503 and busy.json()["code"] == "busy" and int(busy.headers["Retry-After"]) > 0
    wait_for(lambda: not children(daemon), "the end of the child whose client has gone")
    assert wait_for(lambda: (answer := daemon.get(path)).status == 200 and answer, "its place").body.startswith(b"\x4d\x3c\xb2\xa1")
    # A child that dies: the client can tell that this is not all.
    with held(daemon, path) as peer:
        answer = http.client.HTTPResponse(peer, method="GET")
        answer.begin()
        assert answer.status == 200 and len(answer.read(1000)) == 1000
        os.kill(wait_for(lambda: children(daemon), "a child")[0], signal.SIGKILL)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    # We die: so does the child.
    with held(daemon, path) as peer:
        assert peer.recv(1000)
        pid, = wait_for(lambda: children(daemon), "a child")
        daemon.kill()
        wait_for(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2],
                 "the child's end")
