# SPDX-License-Identifier: BSD-2-Clause
"""Proves that a segment arrives whole whatever the network does: a link that becomes deaf in one direction in the middle of a large fetch
costs the connection and nothing else; the fetch goes on where it was, and what was put together has the segment's digest.

SKEP_SOAK=1: a gigabyte instead of 64 MiB."""
import contextlib
import hashlib
import http.client
import os
import socket
import ssl
import subprocess
import time

import pytest

from conftest import BIN, PATIENCE, inside
from test_jobs import segments, start

SOAK = bool(os.environ.get("SKEP_SOAK"))
SIZE = (1 << 30) if SOAK else (64 << 20)
PIECE = 1 << 16
NEAR, FAR = "198.18.77.1", "198.18.77.2"


def ip(*words):
    subprocess.run(["ip", *map(str, words)], check=True, capture_output=True, timeout=10)


@pytest.fixture
def far(rig):
    """A second link into the daemon's namespace. Returns the namespace at its far end, where the client is."""
    ip("-n", rig.cap, "link", "add", "near0", "type", "veth", "peer", "name", "far0", "netns", rig.gen)
    for namespace, link, address in ((rig.cap, "near0", NEAR), (rig.gen, "far0", FAR)):
        ip("-n", namespace, "address", "add", f"{address}/30", "dev", link)
        ip("-n", namespace, "link", "set", link, "up")
    return rig.gen


@contextlib.contextmanager
def one_way(namespace):
    """What the daemon sends is lost; what the client sends arrives."""
    ip("-n", namespace, "route", "add", "blackhole", f"{FAR}/32")
    try:
        yield
    finally:
        ip("-n", namespace, "route", "del", "blackhole", f"{FAR}/32")


def large_segment(daemon, rig):
    """A job with one segment of SIZE bytes that do not shrink, and its digest."""
    job = start(daemon, level=0, limits={"bytes": SIZE}, rotate={"bytes": 2 * SIZE})
    generate = [BIN / "skep-gen", "-i", "gen0", "--size", 1500, "--rate", "40kpps", "--count", SIZE // 1500 + 1000]
    until = time.monotonic() + SIZE / 10e6 * PATIENCE
    while daemon.job(job["id"])["state"] != "done":
        assert time.monotonic() < until, daemon.job(job["id"])
        rig.run(generate, ns=rig.gen, timeout_s=120)
    while not (found := segments(daemon, job)) or not found[0]["sha256"]:
        assert time.monotonic() < until, found
        time.sleep(0.1)
    assert len(found) == 1 and found[0]["bytes"] > 0.95 * SIZE
    return job, found[0]


@contextlib.contextmanager
def fetching(daemon, namespace, path, headers):
    """The answer to a GET, whose bytes are still to come."""
    with inside(namespace):
        plain = socket.create_connection((NEAR, daemon.port), timeout=3 * PATIENCE)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection(NEAR)
    connection.sock = context.wrap_socket(plain)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Authorization": f"Bearer {daemon.token}", **headers})
        yield connection.getresponse()


@pytest.mark.timeout(900 if SOAK else 120)
def test_a_fetch_goes_on_after_a_one_way_partition(rig, far, new_daemon):
    daemon = new_daemon(tls=True, namespace=rig.cap, extra="[link cap0]\nrole = tap\n")
    daemon.config.write_text(daemon.config.read_text().replace("listen = 127.0.0.1:0", "listen = 0.0.0.0:0"))
    daemon.start()
    job, segment = large_segment(daemon, rig)
    path, headers, etag = f"/v1/jobs/{job['id']}/segments/{segment['name']}", {}, None
    cuts, got = [segment["bytes"] // 5, segment["bytes"] // 2], bytearray()
    for _ in range(8):  # three, but for a machine that is so busy that it looks like a partition
        with fetching(daemon, far, path, headers) as answer, contextlib.ExitStack() as cut:
            assert answer.status == (206 if got else 200) and etag in (None, answer.headers["ETag"])
            etag = answer.headers["ETag"]
            try:
                while data := answer.read(PIECE):
                    got += data
                    if cuts and len(got) >= cuts[0]:
                        del cuts[0]
                        cut.enter_context(one_way(rig.cap))
                break
            except TimeoutError:
                assert len(got) < segment["bytes"]
            headers = {"Range": f"bytes={len(got)}-", "If-Range": etag}
    assert not cuts
    assert len(got) == segment["bytes"] and hashlib.sha256(got).hexdigest() == segment["sha256"]
    assert daemon.get("/healthz").status == 200
